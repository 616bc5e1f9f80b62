"""The simulation's own claims: what it states came true, and a channel's effect is what closes less without it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.truths.companies import DAYS, HORIZON, NOW, Size
from simulation.company import Company
from simulation.law import EFFECTS, MOVING, WORLDS, Rules, World, rules
from simulation.lives import WON, Cohort, lives
from simulation.truth import close_probabilities

Floats = NDArray[np.float64]
HORIZONS = (30, 60, 90)
BAR = 3.0  # standard errors
OLDEST = 28  # days after their creation at which leads are looked at, at most


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
