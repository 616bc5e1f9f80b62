"""Whether what an experiment says a score has earned is what it has earned, on companies whose truth is known.

In each company sales calls leads of its own accord when it is shown their score; of a quarter of the leads it is shown
none, and calls only who asks for a demo. How much more often leads close that are shown follows from the simulator's
law, exactly. The report's 95 % interval has to hold that number in at least 90 of 100 companies, with a spread neither
wasted nor made up: the estimate's own scatter has to be as large as its intervals say.

The score that is held against the outcomes is the truth without calls, blurred as a model's is.

Run: .venv/bin/python benchmarks/exploration.py [RUNS]
"""

from __future__ import annotations

# ruff: noqa: E402, I001

import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # not this folder, whose features.py is no package

import numpy as np

from features.settings import Exploration
from serving.exploration import earned, withheld
from simulation.law import EFFECTS, World, rules
from simulation.lives import WON, lives
from simulation.people import births, lead_ids, people
from simulation.truth import close_probabilities

RUNS, LEADS, HORIZON, SHARE = 100, 2_000, 90, 0.25
DAYS = 1 + HORIZON  # after the last lead was created
WORLD = World(effects={**EFFECTS, "Sales outreach": 8 * EFFECTS["Sales outreach"]}, new_routing=True)
SHOWN, HIDDEN = 0, 1  # routings of the law: calls as sales sees fit, and calls for who asks
BLUR = 0.7  # standard deviation, in log-odds


class Run(NamedTuple):
    """What the report says of one company, and what is true."""

    truth: float
    effect: float
    low: float
    high: float


def run(seed: int) -> Run:
    """Return what the report says of a company's experiment, and what showing the score is truly worth a lead."""
    born = births(LEADS, 60, 0, seed)
    cohort = people(born, 0, 60 + DAYS, WORLD, seed).cohort.chosen(np.arange(LEADS))
    hidden = withheld(lead_ids(cohort.number).tolist(), Exploration(share=SHARE, key=f"run {seed}"))
    cohort = cohort._replace(routing=np.where(hidden, HIDDEN, SHOWN))
    law = rules(WORLD)
    lived = lives(cohort, law, 0, seed, cohort.born + 1, events=False)
    chance = {
        routing: close_probabilities(cohort._replace(routing=np.full(LEADS, routing)), lived.states, law, 0, [HORIZON])[
            :, 0
        ]
        for routing in (SHOWN, HIDDEN)
    }
    won = (lived.end == WON) & (lived.end_day < cohort.born + 1 + HORIZON)
    log_odds = np.log(chance[HIDDEN] / (1 - chance[HIDDEN])) + np.random.default_rng(seed).normal(0, BLUR, LEADS)
    said = 1 / (1 + np.exp(-log_odds))
    found = earned("closes", won.astype(float), said, hidden, np.full(LEADS, SHARE))
    if found is None:
        raise SystemExit("The experiment is too small.")
    return Run(float((chance[SHOWN] - chance[HIDDEN]).mean()), found.a_lead, found.low, found.high)


def main() -> None:
    """Print how often the interval holds the truth; fail below the bar."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    runs = [run(seed) for seed in range(count)]
    truth, effect, low, high = (np.array(column) for column in zip(*runs, strict=True))
    covered = (low <= truth) & (truth <= high)
    print(f"showing the score is truly worth   {truth.mean():.4f} closes a lead")
    print(f"the report says, on average        {effect.mean():.4f}")
    print(f"half an interval, on average       {(high - low).mean() / 2:.4f}")
    print(f"two standard deviations of error   {1.96 * (effect - truth).std():.4f}")
    met = covered.mean() >= 0.9
    print(f"the interval holds the truth       {covered.sum()} of {count} (bar 90 %)  {'MET' if met else 'MISSED'}")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
