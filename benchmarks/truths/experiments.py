"""Experiments on simulated companies: a registered hold-out of 5 % brings score-adjusted credit closer to the truth.

A hold-out of 3,000 leads errs by some 430 closes, the credit of a channel by 20 to 130: so it can bring credit closer
by one or two hundredths of its distance only. In one company that is mostly luck, as it takes away where chance had put
credit far off and adds where chance had put it near. So these are companies of their own, and the claim is of all of
them together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd

from attribution.adjusted import NORMAL_90
from attribution.deals import journeys_in
from attribution.experiments import shrunk
from attribution.journeys import Floats
from attribution.lead_days import adjusted, table
from attribution.models import SCORE_ADJUSTED
from attribution.runs import Baseline
from benchmarks.truths.attribution import BARS, SETTINGS, judged, learned_elsewhere, seen, true_effects
from benchmarks.truths.companies import DAYS, NOW, Size, ingested
from features.lake import Lake
from features.settings import Experiment
from simulation.company import Company
from simulation.law import MOVING, WORLDS, rules
from simulation.lives import WON, lives

HELD = 0.05  # share of a company's leads that is never touched by a channel
FIRST = 20  # seed: companies that nothing was chosen by


def experiments_help(size: Size) -> int:
    """Print how much closer hold-outs bring the credit, world by world, and return how many bars are missed."""
    found, first = [], FIRST
    for name in BARS:
        world = WORLDS[name]
        effects, baseline = true_effects(world, size.effects), learned_elsewhere(world, size.learned)
        for place, company, lake in ingested(name, world, size.tested, first):
            found.append(place | moved(lake, company, effects, baseline))
        first += max(size.tested.values())  # people of their own, too: the same ones have much the same luck
    return show(pd.DataFrame(found))


def moved(lake: Lake, company: Company, effects: pd.DataFrame, baseline: Baseline) -> dict[str, object]:
    """Return the distance of the credit from the true effects without hold-outs and, as a mean of draws, with them."""
    days, score = seen(lake, baseline)
    credit, (_, wins) = adjusted(days, score), journeys_in(lake, SETTINGS, NOW)
    ours = table(credit, days, wins, SCORE_ADJUSTED)
    unsure = pd.DataFrame(credit.covariance, days.channels, days.channels)
    scale, half_life_days = company.leads / effects.attrs["leads"], SETTINGS.attribution.experiment_half_life_days
    tested = [
        judged(shrunk(*ours, unsure, tests, NOW, half_life_days, credit.later).rows, effects, scale)["distance"]
        for tests in hold_outs(company)
    ]
    return {"distance": judged(ours[0], effects, scale)["distance"], "held_out": float(np.mean(tested))}


def hold_outs(company: Company) -> Iterator[list[Experiment]]:
    """Yield what hold-outs of all channels show, each beside the company's own closes, and again of other leads.

    A hold-out is ``HELD`` as many leads as the company has, never touched by the channel.
    """
    others = (replace(company, seed=1_000 * place + company.seed) for place in range(1, len(MOVING) + 1))
    apart = [won(other, frozenset([channel])) for other, channel in zip(others, MOVING, strict=True)]
    first, ours, draws = NOW.date() - timedelta(days=DAYS), won(company, frozenset()).mean(), round(1 / HELD)
    for draw in range(draws):
        tests = []
        for channel, flags in zip(MOVING, (one[draw::draws] for one in apart), strict=True):
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


def show(found: pd.DataFrame) -> int:
    """Print the distances without hold-outs and with them, and whether these bring credit closer."""
    print("\nScore-adjusted credit without hold-outs and with one of 5 % of each channel (mean of draws): distances")
    found = found.assign(change=found["held_out"] - found["distance"])
    print(found.drop(columns="leads").to_string(index=False, float_format="%.4f"))
    for name, change in [*found.groupby("world", sort=False)["change"], ("all", found["change"])]:
        print(f"{name}: {change.mean():+.5f} ± {change.sem():.5f}, {len(change)} companies")
    met = found["change"].mean() + found["change"].sem() < 0  # beyond its standard error
    print(f"hold-outs bring it closer {'MET' if met else 'MISSED'}")
    return int(not met)
