"""Attribution on simulated companies: how far each model's credit is from the channels' true effects."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from attribution.adjusted import NORMAL_90
from attribution.deals import journeys_in
from attribution.experiments import shrunk
from attribution.journeys import Floats
from attribution.lead_days import LeadDays, Probability, adjusted, kinds_of, lead_days, own_history, table
from attribution.models import COUNTERFACTUAL, MODELS, SCORE_ADJUSTED
from attribution.robustness import PLACEBO, asked_once, touches_of, with_placebo, with_touches
from attribution.runs import Baseline, attribute
from benchmarks.truths.companies import DAYS, HORIZON, NOW, Size, ingested
from features.history import History, microseconds
from features.ingestion import ingest
from features.lake import Lake
from features.matrix import feature_matrix
from features.reading import read_history
from features.settings import Experiment, Settings
from features.templates import learned_features
from features.verbs import Moments
from simulation.company import Company
from simulation.effects import channel_effects
from simulation.files import write
from simulation.law import MOVING, WORLDS, World, rules
from simulation.lives import WON, lives
from training.baseline import OWN
from training.ensemble import fit
from training.snapshots import labelled

BARS = {"no confounding": 0.08, "confounded retargeting": 0.20, "harvesting brand search": 0.15}  # distances
HELD, HELD_OUT = 0.05, "with hold-outs"  # score-adjusted, with a hold-out of so many leads of each channel registered
PLACEBOS = 3  # a company
DRAWS = 1_000  # of credit that errs by chance alone
OF_THEIR_OWN = ["page_view", "pricing_view", "email_open", "email_click", "demo_request", "sales_meeting"]


def the_credit_is_true(size: Size) -> int:
    """Print the distance of the credit, world by world, and return how many bars are missed."""
    earned: list[dict[str, object]] = []
    for name, world in WORLDS.items():
        if name not in BARS:
            continue
        effects = channel_effects(Company(NOW, size.effects, DAYS, seed=99, world=world)).set_index("channel")
        effects.attrs["leads"] = size.effects
        baseline = learned_elsewhere(world, size.learned)
        apart = held_apart(world, max(size.credited))
        for place, company, lake in ingested(name, world, size.credited):
            earned += [place | row for row in credited(lake, company, effects, baseline, apart)]
    return show_credit(pd.DataFrame(earned), size)


def learned_elsewhere(world: World, leads: int) -> Baseline:
    """Return the baseline of a model of another company of the world: it has not seen the answer."""
    settings, cut = Settings(), microseconds(NOW)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder) / "lake")
        ingest(lake, settings, write(Company(NOW, leads, DAYS, seed=100, world=world), Path(folder) / "files"), NOW)
        own = own_history(read_history(lake), settings.attribution.own_kinds)
    features = learned_features(own, cut, OWN)
    scorer = fit(labelled(own, settings, cut), features, HORIZON, settings.training).scorer()

    def baseline(history: History) -> Probability:
        return lambda lead, moment: scorer.probabilities(feature_matrix(features, Moments(history, lead, moment)))

    return baseline


def credited(
    lake: Lake, company: Company, effects: pd.DataFrame, baseline: Baseline, apart: Floats
) -> Iterator[dict[str, object]]:
    """Yield how far each attribution model is from the true effects, and last the score-adjusted one with hold-outs."""
    settings = Settings.model_validate({"attribution": {"exclude_kinds": OF_THEIR_OWN}})
    history, how = read_history(lake), settings.attribution
    days = lead_days(history, settings.goal, microseconds(NOW), kinds_of(history) - {*OF_THEIR_OWN, *how.own_kinds})
    score = asked_once(baseline(own_history(history, how.own_kinds)))
    run = attribute(lake, settings, NOW, [*MODELS, SCORE_ADJUSTED, COUNTERFACTUAL], lambda _: score)
    found, (_, wins) = adjusted(days, score), journeys_in(lake, settings, NOW)
    ours = table(found, days, wins, SCORE_ADJUSTED)
    unsure = pd.DataFrame(found.covariance, days.channels, days.channels)
    scale = company.leads / effects.attrs["leads"]
    once = {
        "harvests": ", ".join(run.answer.harvests),
        "placebo": [credit_of_placebo(days, score, company.seed + 100 * draw) for draw in range(PLACEBOS)],
        "by_chance": by_chance(unsure, effects, scale),
    }
    for name, rows in run.answer.channels.groupby("model", sort=False):
        yield {"model": name, **judged(rows, effects, scale), **once}
    with_tests = [
        judged(shrunk(*ours, unsure, tests, NOW, how.experiment_half_life_days, found.later).rows, effects, scale)
        for tests in hold_outs(company, apart)
    ]
    yield {"model": HELD_OUT, **pd.DataFrame(with_tests).mean(), **once}


def judged(rows: pd.DataFrame, effects: pd.DataFrame, scale: float) -> dict[str, float]:
    """Return how far a model's rows of channels are from the true effects."""
    credit = rows.set_index("channel")["credit"]
    true = effects["effect"].drop("all").reindex(credit.index.union(MOVING), fill_value=0).clip(lower=0)
    earned = credit.reindex(true.index, fill_value=0)
    bounds = rows.set_index("channel")[["low", "high"]].reindex(true.index, fill_value=0)
    shares = earned.clip(lower=0) / earned.clip(lower=0).sum()
    return {
        "distance": (shares - true / true.sum()).abs().sum() / 2,
        "rank": spearmanr(earned, true).statistic,
        "times": earned.sum() / (effects.loc["all", "effect"] * scale),
        "of_channels": earned.sum() / (true.sum() * scale),
        "covered": ((bounds["low"] <= true * scale) & (true * scale <= bounds["high"])).mean(),
        "to_idle": shares[true == 0].max() if (true == 0).any() else 0.0,
    }


def by_chance(unsure: pd.DataFrame, effects: pd.DataFrame, scale: float) -> float:
    """Return how far credit would be from true effects that it is right about but for its own standard errors."""
    true = effects["effect"].drop("all").reindex(unsure.index, fill_value=0).clip(lower=0)
    random = np.random.default_rng(0)
    value, axes = np.linalg.eigh(unsure.to_numpy())
    errors = random.standard_normal((DRAWS, len(true))) @ (axes * np.sqrt(value.clip(0))).T
    credit = (true.to_numpy() * scale * effects.loc["all", "effect"] / true.sum() + errors).clip(0)
    return float(
        np.abs(credit / credit.sum(axis=1, keepdims=True) - (true / true.sum()).to_numpy()).sum(axis=1).mean() / 2
    )


def held_apart(world: World, leads: int) -> Floats:
    """Return whether each of some leads of other companies is won without each channel (channels, leads)."""
    companies = (Company(NOW, leads, DAYS, seed=1_000 + place, world=world) for place in range(len(MOVING)))
    return np.stack([won(one, frozenset([channel])) for one, channel in zip(companies, MOVING, strict=True)])


def hold_outs(company: Company, apart: Floats) -> Iterator[list[Experiment]]:
    """Yield what hold-outs of all channels show, each beside the company's own closes, and again of other leads.

    A hold-out is ``HELD`` as many leads as the company has, never touched by the channel.
    """
    first, ours, draws = NOW.date() - timedelta(days=DAYS), won(company, frozenset()).mean(), round(1 / HELD)
    for draw in range(draws):
        tests = []
        for channel, flags in zip(MOVING, apart[:, draw::draws], strict=True):
            theirs = flags.mean()
            error = np.sqrt((1 / ours - 1) / company.leads + (1 / theirs - 1) / len(flags))
            lift, low, high = (float(ours / theirs * np.exp(z * error) - 1) for z in (0, -NORMAL_90, NORMAL_90))
            tests.append(Experiment(channel=channel, since=first, until=NOW.date(), lift=lift, low=low, high=high))
        yield tests


def won(company: Company, without: frozenset[str]) -> Floats:
    """Return whether each of the company's leads would be won without some channels."""
    law, weekday = rules(company.world, without), company.first_day.weekday()
    cohorts = (some.cohort.chosen(np.arange(len(some.leads))) for some in company.chapters())
    return np.concatenate([lives(one, law, weekday, company.seed, events=False).end == WON for one in cohorts])


def credit_of_placebo(days: LeadDays, score: Probability, seed: int) -> tuple[float, float]:
    """Return the interval of the credit of touches that were given to leads by chance."""
    other = with_touches(days, with_placebo(touches_of(days), np.random.default_rng(seed)))
    low, high = adjusted(other, score).low_and_high[:, other.channels.index(PLACEBO)]
    return round(float(low), 1), round(float(high), 1)


def show_credit(found: pd.DataFrame, size: Size) -> int:
    """Print distances, ranks and factors by world, and how score-adjusted credit meets its bars; return the misses."""
    print("\nAttribution: total variation distance of the credit's shares from the true effects' (negative ones as 0),")
    print(f"Spearman's ρ of the ranks, times the true increment that is handed out. Truth: {size.effects:,} leads.\n")
    by_world = found.pivot_table(["distance", "rank", "times"], ["world", "leads"], "model", sort=False)
    order = [*MODELS, COUNTERFACTUAL, SCORE_ADJUSTED, HELD_OUT]
    for figure, title in (("distance", "distance"), ("rank", "Spearman's ρ"), ("times", "times the true increment")):
        print(f"{title}\n{by_world[figure][order].to_string(float_format='%.2f')}\n")
    print("score_adjusted by seed. times: of what all channels win together; of_channels: of their effects one by one;")
    print(
        "by_chance: the distance that its own standard errors alone would make; held_out: with hold-outs, mean of draws"
    )
    ours, tested = found[found["model"] == SCORE_ADJUSTED], found[found["model"] == HELD_OUT]
    columns = ["world", "seed", "distance", "by_chance", "held_out", "times", "of_channels", "covered", "to_idle",
               "harvests", "placebo"]  # fmt: skip
    ours = ours.assign(held_out=tested["distance"].to_numpy())
    print(ours[columns].to_string(index=False, float_format="%.3f"))
    missed = 0
    for name, rows in ours.groupby("world", sort=False):
        harvest = "Brand Search" if WORLDS[str(name)].harvest else ""
        claims = {
            f"distance ≤ {BARS[str(name)]}": rows["distance"].mean() <= BARS[str(name)],
            "0.85 to 1.25 times the increment": rows["times"].between(0.85, 1.25).all(),
            "at most 10 % to an idle channel": (rows["to_idle"] <= 0.1).all(),
            "the guard flags the harvest alone": (rows["harvests"] == harvest).all(),
            "intervals cover 80 %": rows["covered"].mean() >= 0.8,
            "hold-outs bring it closer": rows["held_out"].mean() < rows["distance"].mean(),
            "three in four intervals of a placebo cover zero": np.mean([a <= 0 <= b for a, b in rows["placebo"].sum()])
            >= 0.75,
        }
        print(f"{name}: " + "; ".join(f"{claim} {'MET' if met else 'MISSED'}" for claim, met in claims.items()))
        missed += sum(not met for met in claims.values())
    return missed
