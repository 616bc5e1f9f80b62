"""Attribution on simulated companies: how far each model's credit is from the channels' true effects."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from attribution.lead_days import LeadDays, Probability, adjusted, kinds_of, lead_days, own_history
from attribution.models import COUNTERFACTUAL, MODELS, SCORE_ADJUSTED
from attribution.robustness import PLACEBO, asked_once, touches_of, with_placebo, with_touches
from attribution.runs import Baseline, attribute
from benchmarks.truths.companies import DAYS, HORIZON, NOW, Size, ingested
from features.history import History, microseconds
from features.ingestion import ingest
from features.lake import Lake
from features.matrix import feature_matrix
from features.reading import read_history
from features.settings import Settings
from features.templates import learned_features
from features.verbs import Moments
from simulation.company import Company
from simulation.effects import channel_effects
from simulation.files import write
from simulation.law import MOVING, WORLDS, World
from training.baseline import OWN
from training.ensemble import fit
from training.snapshots import labelled

BARS = {"no confounding": 0.08, "confounded retargeting": 0.20, "harvesting brand search": 0.15}  # distances
PLACEBOS, AT_ONCE = 30, 10  # a company: with three, chance would miss a bar in every third run
DRAWS = 1_000  # of credit that errs by chance alone
OF_THEIR_OWN = ["page_view", "pricing_view", "email_open", "email_click", "demo_request", "sales_meeting"]
SETTINGS = Settings.model_validate({"attribution": {"exclude_kinds": OF_THEIR_OWN}})


def the_credit_is_true(size: Size) -> int:
    """Print the distance of the credit, world by world, and return how many bars are missed."""
    earned: list[dict[str, object]] = []
    for name, world in WORLDS.items():
        if name not in BARS:
            continue
        effects, baseline = true_effects(world, size.effects), learned_elsewhere(world, size.learned)
        for place, company, lake in ingested(name, world, size.credited):
            earned += [place | row for row in credited(lake, company, effects, baseline)]
    return show_credit(pd.DataFrame(earned), size)


def true_effects(world: World, leads: int) -> pd.DataFrame:
    """Return what each channel's touches bring about among so many leads of the world."""
    effects = channel_effects(Company(NOW, leads, DAYS, seed=99, world=world)).set_index("channel")
    effects.attrs["leads"] = leads
    return effects


def learned_elsewhere(world: World, leads: int) -> Baseline:
    """Return the baseline of a model of another company of the world: it has not seen the answer."""
    settings, cut = Settings(), microseconds(NOW)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder) / "lake")
        ingest(lake, settings, write(Company(NOW, leads, DAYS, seed=100, world=world), Path(folder) / "files"), NOW)
        own = own_history(read_history(lake), settings.attribution.own_kinds)
    features = learned_features(own, cut, OWN)
    scorer = fit(labelled(own, settings, cut), features, HORIZON, settings.training).scorer()
    kept = scorer.spec.features

    def baseline(history: History) -> Probability:
        return lambda lead, moment: scorer.probabilities(feature_matrix(kept, Moments(history, lead, moment)))

    return baseline


def credited(lake: Lake, company: Company, effects: pd.DataFrame, baseline: Baseline) -> Iterator[dict[str, object]]:
    """Yield how far each attribution model is from the true effects."""
    days, score = seen(lake, baseline)
    run = attribute(lake, SETTINGS, NOW, [*MODELS, SCORE_ADJUSTED, COUNTERFACTUAL], lambda _: score)
    unsure = pd.DataFrame(adjusted(days, score).covariance, days.channels, days.channels)
    scale = company.leads / effects.attrs["leads"]
    once = {
        "harvests": ", ".join(run.answer.harvests),
        "placebo": placebos_covered(days, score, company.seed),
        "by_chance": by_chance(unsure, effects, scale),
    }
    for name, rows in run.answer.channels.groupby("model", sort=False):
        yield {"model": name, **judged(rows, effects, scale), **once}


def seen(lake: Lake, baseline: Baseline) -> tuple[LeadDays, Probability]:
    """Return what score-adjusted attribution sees of a company."""
    history, how = read_history(lake), SETTINGS.attribution
    days = lead_days(history, SETTINGS.goal, microseconds(NOW), kinds_of(history) - {*OF_THEIR_OWN, *how.own_kinds})
    return days, asked_once(baseline(own_history(history, how.own_kinds)))


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


def placebos_covered(days: LeadDays, score: Probability, seed: int) -> float:
    """Return of how many placebos, touches that were given to leads by chance, the credit's interval covers zero."""
    random, touches, covered = np.random.default_rng((seed, PLACEBOS)), touches_of(days), []
    named = [f"{PLACEBO} {n}" for n in range(AT_ONCE)]
    for _ in range(PLACEBOS // AT_ONCE):
        drawn = [with_placebo(touches, random)[len(touches) :].assign(channel=name) for name in named]
        other = with_touches(days, pd.concat([touches, *drawn], ignore_index=True))
        low, high = adjusted(other, score).low_and_high[:, np.isin(other.channels, named)]
        covered.append((low <= 0) & (high >= 0))
    return float(np.mean(covered))


def show_credit(found: pd.DataFrame, size: Size) -> int:
    """Print distances, ranks and factors by world, and how score-adjusted credit meets its bars; return the misses."""
    print("\nAttribution: total variation distance of the credit's shares from the true effects' (negative ones as 0),")
    print(f"Spearman's ρ of the ranks, times the true increment that is handed out. Truth: {size.effects:,} leads.\n")
    by_world = found.pivot_table(["distance", "rank", "times"], ["world", "leads"], "model", sort=False)
    order = [*MODELS, COUNTERFACTUAL, SCORE_ADJUSTED]
    for figure, title in (("distance", "distance"), ("rank", "Spearman's ρ"), ("times", "times the true increment")):
        print(f"{title}\n{by_world[figure][order].to_string(float_format='%.2f')}\n")
    print("score_adjusted by seed. times: of what all channels win together; of_channels: of their effects one by one;")
    print("by_chance: the distance that its own standard errors alone would make")
    print(f"placebo: of {PLACEBOS} placebos, the share whose interval covers zero")
    ours = found[found["model"] == SCORE_ADJUSTED]
    columns = ["world", "seed", "distance", "by_chance", "times", "of_channels", "covered", "to_idle", "harvests",
               "placebo"]  # fmt: skip
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
            "three in four intervals of a placebo cover zero": rows["placebo"].mean() >= 0.75,
        }
        print(f"{name}: " + "; ".join(f"{claim} {'MET' if met else 'MISSED'}" for claim, met in claims.items()))
        missed += sum(not met for met in claims.values())
    return missed
