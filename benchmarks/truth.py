"""Judged against truth: the simulation's own claims first, then the score and the attribution on its companies.

Questions: all of them have bars, and a missed one ends with status 1. ``--quick`` asks all of them of small companies;
naming some asks only those.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # not this folder, whose simulation.py is no package

from sklearn.metrics import roc_auc_score  # noqa: E402

from attribution.lead_days import Probability, adjusted, kinds_of, lead_days, own_history  # noqa: E402
from attribution.models import MODELS, SCORE_ADJUSTED  # noqa: E402
from attribution.robustness import PLACEBO, touches_of, with_placebo, with_touches  # noqa: E402
from attribution.runs import Baseline, attribute  # noqa: E402
from benchmarks.rivals import rivals  # noqa: E402
from features.history import History, microseconds  # noqa: E402
from features.ingestion import ingest  # noqa: E402
from features.lake import Lake  # noqa: E402
from features.matrix import feature_matrix  # noqa: E402
from features.reading import read_history  # noqa: E402
from features.settings import Experiment, Settings  # noqa: E402
from features.templates import learned_features  # noqa: E402
from features.verbs import Moments  # noqa: E402
from simulation.company import Company  # noqa: E402
from simulation.effects import channel_effects  # noqa: E402
from simulation.files import write  # noqa: E402
from simulation.law import EFFECTS, MOVING, WORLDS, Rules, World, rules  # noqa: E402
from simulation.lives import WON, Cohort, lives  # noqa: E402
from simulation.truth import close_probabilities, truth  # noqa: E402
from training.baseline import OWN  # noqa: E402
from training.ensemble import fit  # noqa: E402
from training.learning import model_of  # noqa: E402
from training.snapshots import labelled  # noqa: E402

Floats = NDArray[np.float64]
NOW = datetime(2026, 3, 2, tzinfo=UTC)
DAYS, HORIZON, HORIZONS = 240, 90, (30, 60, 90)
BAR = 3.0  # standard errors
RATIO = 0.8  # of our regret to that of the conservative model, at most
COVERED = (0.85, 0.95)  # share of true probabilities in a 90 % interval
OLDEST = 28  # days after their creation at which leads are looked at, at most
BARS = {"no confounding": 0.08, "confounded retargeting": 0.20, "harvesting brand search": 0.15}  # distances
HELD_OUT = "with hold-outs"  # score-adjusted, with a hold-out of 5 % of each channel registered
OF_THEIR_OWN = ["page_view", "pricing_view", "email_open", "email_click", "demo_request", "sales_meeting"]


class Size(NamedTuple):
    """How much is simulated."""

    judged: int  # leads whose truth is held against what became of them
    switched: int  # leads that live with and without a channel
    effects: int  # leads whose effects are the true ones
    companies: dict[int, int]  # leads → seeds, for the score
    credited: dict[int, int]  # leads → seeds, for the attribution
    learned: int  # leads of another company that the attribution's baseline has learned from


FULL = Size(200_000, 10_000, 100_000, {2_000: 5, 20_000: 2}, {60_000: 3}, 20_000)
QUICK = Size(2_000, 500, 2_000, {500: 1}, {2_000: 1}, 1_000)


def main() -> None:
    """Answer the questions, and end with status 1 when a bar is missed."""
    asked = [word for word in sys.argv[1:] if word != "--quick"] or ["truth", "channels", "score", "attribution"]
    size = QUICK if "--quick" in sys.argv else FULL
    missed = 0
    if "truth" in asked:
        missed += the_truth_is_true(size)
    if "channels" in asked:
        missed += the_channels_are_true(size)
    if {"score", "attribution"} & set(asked):
        missed += score_and_credit(size, asked)
    print(f"\n{time.process_time():.0f} CPU s, {missed} bars missed")
    sys.exit(1 if missed else 0)


# The truth


def the_truth_is_true(size: Size) -> int:
    """Print what was stated beside what came of it, and return how many bars are missed."""
    print(f"Truth: {size.judged:,} leads a world, each open one looked at once, 1 to {OLDEST} days after its creation.")
    print(f"Stated, realised, and their distance in standard errors; bar {BAR}\n")
    print(f"{'world':24} days    open   stated  realised   all | in every tenth of the stated")
    missed = 0
    for name in ("no confounding", "confounded retargeting"):
        stated, realised = stated_and_realised(WORLDS[name], size.judged)
        for at, days in enumerate(HORIZONS):
            p, won = stated[:, at], realised[:, at]
            tenth = np.argsort(np.argsort(p)) * 10 // len(p)
            errors = [distance(p, won), *(distance(p[tenth == k], won[tenth == k]) for k in range(10))]
            failed = max(map(abs, errors)) > BAR
            missed += failed
            print(
                f"{name:24} {days:4} {len(p):7,}  {p.mean():.5f}   {won.mean():.5f}  {errors[0]:+.1f} | "
                f"{' '.join(f'{error:+.1f}' for error in errors[1:])}  {'MISSED' if failed else 'MET'}"
            )
    return missed


def stated_and_realised(world: World, leads: int) -> tuple[Floats, Floats]:
    """Return the probabilities (n, 3) of the open leads within each horizon, and whether they closed (n, 3)."""
    company, law = Company(NOW, leads, days=DAYS, world=world), rules(world)
    weekday, stated, realised = company.first_day.weekday(), [], []
    for some in company.chapters():
        cohort = some.cohort.chosen(np.arange(len(some.leads)))
        look = cohort.born + 1 + cohort.number % OLDEST
        cohort = cohort._replace(ends=look + max(HORIZONS))
        lived = lives(cohort, law, weekday, company.seed, look, events=False)
        chance = close_probabilities(cohort, lived.states, law, weekday, HORIZONS)
        won = (lived.end == WON)[:, None] & (lived.end_day[:, None] < look[:, None] + HORIZONS)
        stated.append(chance[lived.states.still_open])
        realised.append(won[lived.states.still_open])
    return np.concatenate(stated), np.concatenate(realised)


def distance(stated: Floats, realised: Floats) -> float:
    """Return by how many standard errors more closed than was stated."""
    return float((realised.sum() - stated.sum()) / np.sqrt((stated * (1 - stated)).sum()))


def the_channels_are_true(size: Size) -> int:
    """Print the channels' effects by simulation beside the exact ones, and return how many bars are missed."""
    print(f"\nChannels: {size.switched:,} leads for {HORIZON} days from their creation, with and without a channel.")
    print(f"Closes lost per 1,000 leads; the bars are {BAR} standard errors\n")
    print("without              simulated  exact      distance in s.e.  with its effect at zero")
    cohort, weekday = newborn(size.switched)
    missed = 0
    for channel in (*MOVING, "all"):
        without = frozenset(MOVING if channel == "all" else [channel])
        simulated, exact = switched_off(cohort, weekday, rules(World()), rules(World(), without))
        apart = simulated - exact
        spread = max((apart**2).sum(), np.abs(exact).sum())  # the least for whole closes, should too few differ
        off = float(apart.sum() / np.sqrt(spread))
        missed += abs(off) > BAR
        zero, failed = at_zero(cohort, weekday, channel, without)
        missed += failed
        print(
            f"{channel:20} {1000 * simulated.mean():8.2f}  {1000 * exact.mean():6.2f}     {off:+5.1f} "
            f"{'MISSED' if abs(off) > BAR else 'MET':10}  {zero}"
        )
    return missed


def at_zero(cohort: Cohort, weekday: int, channel: str, without: frozenset[str]) -> tuple[str, bool]:
    """Return what the channel still wins in a world where its touches have no effect, in words; whether that fails."""
    if channel == "all":
        return "", False
    world = World(effects={**EFFECTS, channel: 0.0})
    lost = won(cohort, weekday, rules(world)) - won(cohort, weekday, rules(world, without))
    if not lost.any():
        return "0 exactly, lead by lead  MET", False
    off = float(lost.sum() / np.sqrt((lost**2).sum()))
    said = f"{1000 * lost.mean():.2f}, {off:+.1f} s.e."
    return f"{said}  {'MISSED' if abs(off) > BAR else 'MET'}", abs(off) > BAR


def newborn(leads: int) -> tuple[Cohort, int]:
    """Return leads who live until ``HORIZON`` days after the day of their creation; the weekday of day 0."""
    company = Company(NOW, leads, days=DAYS)
    parts = [some.cohort.chosen(np.arange(len(some.leads))) for some in company.chapters()]
    cohort = Cohort(*map(np.concatenate, zip(*parts, strict=True)))
    return cohort._replace(ends=cohort.born + 1 + HORIZON), company.first_day.weekday()


def switched_off(cohort: Cohort, weekday: int, with_it: Rules, without: Rules) -> tuple[Floats, Floats]:
    """Return of each lead what it closes less without a channel: as it lived, and by the exact formula."""
    lived, stated = [], []
    for law in (with_it, without):
        found = lives(cohort, law, weekday, Company(NOW).seed, cohort.born + 1, events=False)
        lived.append((found.end == WON).astype(np.float64))
        stated.append(close_probabilities(cohort, found.states, law, weekday, [HORIZON])[:, 0])
    return lived[0] - lived[1], stated[0] - stated[1]


def won(cohort: Cohort, weekday: int, law: Rules) -> Floats:
    """Return whether each lead is won."""
    return (lives(cohort, law, weekday, Company(NOW).seed, events=False).end == WON).astype(np.float64)


# The score and the attribution


def score_and_credit(size: Size, asked: list[str]) -> int:
    """Print the regret of the scores and the distance of the credit, world by world; return the missed bars."""
    regrets, ranks, earned = [], [], []
    for name, world in WORLDS.items():
        if "score" in asked:
            for place, company, lake in ingested(name, world, size.companies):
                regret, rank = judged(lake, company)
                regrets.append(place | regret)
                ranks.append(place | rank)
                print(pd.DataFrame(regrets[-1:]).to_string(index=False, float_format="%.4f"), flush=True)
        if "attribution" in asked and name in BARS:
            effects = channel_effects(Company(NOW, size.effects, DAYS, seed=99, world=world)).set_index("channel")
            effects.attrs["leads"] = size.effects
            baseline = learned_elsewhere(world, size.learned)
            for place, company, lake in ingested(name, world, size.credited):
                earned += [place | row for row in credited(lake, company, effects, baseline)]
                print(pd.DataFrame(earned[-2:]).drop(columns=["rank"]).to_string(index=False), flush=True)
    missed = show_scores(pd.DataFrame(regrets), pd.DataFrame(ranks), size) if regrets else 0
    return missed + (show_credit(pd.DataFrame(earned), size) if earned else 0)


def ingested(name: str, world: World, companies: dict[int, int]) -> Iterator[tuple[dict[str, Any], Company, Lake]]:
    """Yield companies of a world and their lakes."""
    for leads, seeds in companies.items():
        for seed in range(seeds):
            company = Company(NOW, leads, DAYS, seed=seed, world=world)
            with tempfile.TemporaryDirectory() as folder:
                lake = Lake(Path(folder) / "lake")
                ingest(lake, Settings(), write(company, Path(folder) / "files"), NOW)
                yield {"world": name, "leads": leads, "seed": seed}, company, lake


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


def judged(lake: Lake, company: Company) -> tuple[dict[str, float], dict[str, float]]:
    """Return each model's regret in nats on the leads open at the last midnight, and its expected ROC AUC.

    Beside the regrets stands the share of leads whose true probability lies in our 90 % interval.
    """
    history, cut = read_history(lake), microseconds(NOW)
    known, features = labelled(history, Settings(), cut), learned_features(history, cut)
    exact = truth(company, NOW, [HORIZON])
    p, lead = exact["probability"].to_numpy(), history.positions(list(exact["lead_id"]), cut)
    now = feature_matrix(features, Moments(history, lead, np.full(len(lead), cut)))
    regret, rank = {}, {"truth": expected_auc(p, p)}
    for name, says in rivals(known, features):
        q = says(now)
        regret[name], rank[name] = divergence(p, q), expected_auc(p, q)
    scorer = model_of(history, Settings(), cut)[0].scorer()
    margins = scorer.margins(now[:, [features.index(one) for one in scorer.spec.features]])
    regret["ours"], rank["ours"] = (
        divergence(p, scorer.calibrated(margins)),
        expected_auc(p, scorer.calibrated(margins)),
    )
    low, high = scorer.intervals(margins)
    regret["covered"] = float(np.mean((low <= p) & (p <= high)))
    return regret, rank


def divergence(p: Floats, q: Floats) -> float:
    """Return the mean of KL(truth ‖ prediction) in nats: what is lost for not knowing the truth."""
    q = q.clip(1e-9, 1 - 1e-9)
    return float(np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))))


def expected_auc(p: Floats, q: Floats) -> float:
    """Return the ROC AUC of predictions q over all that may become of leads that close with probability p."""
    outcome = np.repeat([1, 0], len(p))
    return float(roc_auc_score(outcome, np.tile(q, 2), sample_weight=np.concatenate([p, 1 - p])))


def credited(lake: Lake, company: Company, effects: pd.DataFrame, baseline: Baseline) -> Iterator[dict[str, object]]:
    """Yield how far each attribution model is from the true effects, and last the score-adjusted one with hold-outs."""
    settings = Settings.model_validate({"attribution": {"exclude_kinds": OF_THEIR_OWN}})
    scale = company.leads / effects.attrs["leads"]
    answer = attribute(lake, settings, NOW, [*MODELS, SCORE_ADJUSTED], baseline).answer
    tests = [test.model_dump() for test in hold_outs(company)]
    asked = Settings.model_validate({"attribution": {"exclude_kinds": OF_THEIR_OWN, "experiments": tests}})
    with_tests = attribute(lake, asked, NOW, [SCORE_ADJUSTED], baseline).answer.channels
    table = pd.concat([answer.channels, with_tests[with_tests["model"] == SCORE_ADJUSTED].assign(model=HELD_OUT)])
    placebo = credit_of_placebo(lake, settings, baseline, company.seed)
    for name, rows in table.groupby("model", sort=False):
        credit = rows.set_index("channel")["credit"]
        true = effects["effect"].drop("all").reindex(credit.index.union(MOVING), fill_value=0).clip(lower=0)
        earned = credit.reindex(true.index, fill_value=0)
        positive = earned.clip(lower=0)
        shares, deserved = positive / positive.sum(), true / true.sum()
        bounds = rows.set_index("channel")[["low", "high"]].reindex(true.index, fill_value=0)
        most = (shares - deserved).idxmax()
        yield {
            "model": name,
            "distance": (shares - deserved).abs().sum() / 2,
            "rank": spearmanr(earned, true).statistic,
            "times": earned.sum() / (effects.loc["all", "effect"] * scale),
            "of_channels": earned.sum() / (true.sum() * scale),
            "covered": ((bounds["low"] <= true * scale) & (true * scale <= bounds["high"])).mean(),
            "to_idle": shares[true == 0].max() if (true == 0).any() else 0.0,
            "harvests": ", ".join(answer.harvests),
            "placebo": placebo,
            "most": most,
            "given": shares[most],
            "deserved": deserved[most],
        }


def hold_outs(company: Company) -> Iterator[Experiment]:
    """Yield what a hold-out of each channel shows: 5 % as many leads, never touched by it, beside the company's own."""
    first, ours = NOW.date() - timedelta(days=DAYS), closes(company, frozenset())
    for place, channel in enumerate(MOVING):
        apart = Company(NOW, company.leads // 20, DAYS, seed=1_000 + 20 * company.seed + place, world=company.world)
        theirs = closes(apart, frozenset([channel]))
        ratio = np.log(ours / company.leads) - np.log(theirs / apart.leads)
        error = np.sqrt(1 / ours - 1 / company.leads + 1 / theirs - 1 / apart.leads)
        lift, low, high = (float(np.exp(ratio + z * error) - 1) for z in (0, -1.645, 1.645))
        yield Experiment(channel=channel, since=first, until=NOW.date(), lift=lift, low=low, high=high)


def closes(company: Company, without: frozenset[str]) -> int:
    """Return how many of the company's leads would be won without some channels."""
    law, weekday, found = rules(company.world, without), company.first_day.weekday(), 0
    for some in company.chapters():
        cohort = some.cohort.chosen(np.arange(len(some.leads)))
        found += int((lives(cohort, law, weekday, company.seed, events=False).end == WON).sum())
    return found


def credit_of_placebo(lake: Lake, settings: Settings, baseline: Baseline, seed: int) -> tuple[float, float]:
    """Return the interval of the credit of touches that were given to leads by chance."""
    history, how = read_history(lake), settings.attribution
    days = lead_days(history, settings.goal, microseconds(NOW), kinds_of(history) - {*OF_THEIR_OWN, *how.own_kinds})
    other = with_touches(days, with_placebo(touches_of(days), np.random.default_rng(seed)))
    bounds = adjusted(other, baseline(own_history(history, how.own_kinds))).low_and_high
    low, high = bounds[:, other.channels.index(PLACEBO)]
    return float(low), float(high)


def show_scores(regrets: pd.DataFrame, ranks: pd.DataFrame, size: Size) -> int:
    """Print the mean over seeds, and the standard error of the mean where there are several; return the bars missed."""
    by = ["world", "leads"]
    print(
        f"\nScore: regret to the truth in nats on the leads open at the last midnight; {DAYS} days, horizon {HORIZON}."
    )
    print(f"Seeds: {size.companies}.\n")
    groups = regrets.groupby(by, sort=False)
    print(pd.concat([groups.mean(), groups.sem().add_suffix(" ±")], axis=1).to_string(float_format="%.4f"))
    print("\nExpected ROC AUC (over all that may become of these leads)\n")
    print(ranks.groupby(by, sort=False).mean().to_string(float_format="%.3f"))
    missed = 0
    for place, row in groups.mean().iterrows():
        ratio, covered = row["ours"] / row["conservative"], row["covered"]
        failed = ratio > RATIO or not COVERED[0] <= covered <= COVERED[1]
        missed += failed
        print(
            f"{place}: regret {ratio:.2f} times the conservative model's, {covered:.1%} covered "
            f"{'MISSED' if failed else 'MET'}"
        )
    return missed


def show_credit(found: pd.DataFrame, size: Size) -> int:
    """Print distances, ranks and factors by world, and how score-adjusted credit meets its bars; return the misses."""
    print("\nAttribution: total variation distance of the credit's shares from the true effects' (negative ones as 0),")
    print(f"Spearman's ρ of the ranks, times the true increment that is handed out. Truth: {size.effects:,} leads.\n")
    table = found.pivot_table(["distance", "rank", "times"], ["world", "leads"], "model", sort=False)
    order = [*MODELS, SCORE_ADJUSTED, HELD_OUT]
    for figure, title in (("distance", "distance"), ("rank", "Spearman's ρ"), ("times", "times the true increment")):
        print(f"{title}\n{table[figure][order].to_string(float_format='%.2f')}\n")
    print("score_adjusted by seed (times: of what all channels win together; of_channels: of their effects one by one)")
    ours, tested = found[found["model"] == SCORE_ADJUSTED], found[found["model"] == HELD_OUT]
    columns = ["world", "seed", "distance", "times", "of_channels", "covered", "to_idle", "harvests", "placebo"]
    print(ours[columns].to_string(index=False, float_format="%.2f"))
    closer = tested.groupby("world")["distance"].mean() < ours.groupby("world")["distance"].mean()
    missed = 0
    for name, rows in ours.groupby("world", sort=False):
        harvest = "Brand Search" if WORLDS[str(name)].harvest else ""
        claims = {
            f"distance ≤ {BARS[str(name)]}": rows["distance"].mean() <= BARS[str(name)],
            "0.85 to 1.25 times the increment": rows["times"].between(0.85, 1.25).all(),
            "at most 10 % to an idle channel": (rows["to_idle"] <= 0.1).all(),
            "the guard flags the harvest alone": (rows["harvests"] == harvest).all(),
            "intervals cover 80 %": rows["covered"].mean() >= 0.8,
            "hold-outs bring it closer": closer[name],
            "a placebo's intervals cover zero, all but one": sum(not a <= 0 <= b for a, b in rows["placebo"]) <= 1,
        }
        print(f"{name}: " + "; ".join(f"{claim} {'MET' if met else 'MISSED'}" for claim, met in claims.items()))
        missed += sum(not met for met in claims.values())
    return missed


if __name__ == "__main__":
    main()
