"""The effect of every channel: what would not have closed without its touches.

The same leads live twice with the same dice, once without the channel: the difference is its effect. Switching
off several channels at once is not the sum of their effects, since who is not won by one may be won by another;
the Shapley value shares out what all of them win together.
"""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd

from simulation.company import Company
from simulation.law import MOVING, Floats, rules
from simulation.lives import WON, lives
from simulation.people import People


def channel_effects(company: Company, *, shapley: bool = False) -> pd.DataFrame:
    """Return the closes that each channel's touches brought about before the day of ``until``.

    Columns: channel (those whose touches can move a lead, and "all" of them together), effect in closes, its
    standard_error over leads and, if asked for, shapley, which costs 2^k simulations for k channels.
    """
    sets = {frozenset({channel}): channel for channel in MOVING} | {frozenset(MOVING): "all"}
    lost = np.zeros((len(sets), 2))  # sums over leads of what was lost and of its square
    won = dict.fromkeys(_subsets(), 0.0) if shapley else {}
    for some in company.chapters():
        as_it_was = _winners(company, some, frozenset())
        differences = np.stack([as_it_was - _winners(company, some, without) for without in sets])
        lost += np.stack([differences.sum(axis=1), (differences**2).sum(axis=1)], axis=1)
        for present in won:
            won[present] += _winners(company, some, frozenset(MOVING) - present).sum()
    error = np.sqrt(lost[:, 1] - lost[:, 0] ** 2 / company.leads)
    table = pd.DataFrame({"channel": list(sets.values()), "effect": lost[:, 0], "standard_error": error})
    return table.assign(shapley=table["channel"].map(_shapley(won))) if shapley else table


def _winners(company: Company, some: People, without: frozenset[str]) -> Floats:
    """Return whether each lead is won before the day of ``until``, with some channels switched off."""
    leads = some.cohort.chosen(np.arange(len(some.leads)))._replace(ends=np.full(len(some.leads), company.days))
    lived = lives(leads, rules(company.world, without), company.first_day.weekday(), company.seed, events=False)
    return np.asarray(lived.end == WON, dtype=np.float64)


def _subsets() -> list[frozenset[str]]:
    return [frozenset(some) for size in range(len(MOVING) + 1) for some in combinations(MOVING, size)]


def _shapley(won: dict[frozenset[str], float]) -> dict[str, float]:
    """Return each channel's mean contribution over all orders in which the channels could be switched on."""
    k = len(MOVING)
    values = {
        channel: sum(
            factorial(len(some)) * factorial(k - 1 - len(some)) / factorial(k) * (won[some | {channel}] - won[some])
            for some in won
            if channel not in some
        )
        for channel in MOVING
    }
    return values | {"all": won[frozenset(MOVING)] - won[frozenset()]}
