"""Exploration: the scores of a small random share of leads are kept from sales, to measure what showing them is worth.

Who is left out follows from a keyed hash of the lead's id: nobody chooses, it can be repeated, and a lead stays where
it is. The score is computed and stored all the same, with ``propensity``, the chance that it was to be withheld, so
that outcomes of both kinds of leads can be compared as in an experiment, and models can be judged on leads that nobody
treated by their score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from features.settings import Exploration

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
OFF = Exploration()  # type: ignore[call-arg]  # every field has a default
WHY = "its score is withheld, to measure what showing it is worth"
FEWEST = 30  # leads of each kind, below which nothing is said
SURE = 0.95


def withheld(lead_ids: Sequence[str], how: Exploration) -> Flags:
    """Say of each lead whether its score is kept from sales; who is at a share is at every larger one."""
    if not how.share:
        return np.zeros(len(lead_ids), bool)
    key = how.key.encode()
    drawn = (hashlib.blake2b(lead.encode(), digest_size=8, key=key).digest() for lead in lead_ids)
    return np.array([int.from_bytes(one) / 2**64 < how.share for one in drawn], bool)


@dataclass(frozen=True)
class Earned:
    """What showing scores earned: of each lead in ``unit``, of all that were shown together, with 95 % intervals."""

    unit: str
    shown: int
    withheld: int
    of_shown: float  # mean outcome, weighted by one over the chance of being of that kind
    of_withheld: float
    a_lead: float
    low: float
    high: float
    together: float
    together_low: float
    together_high: float


def earned(unit: str, outcome: Floats, promised: Floats, kept_back: Flags, propensity: Floats) -> Earned | None:
    """Return what showing scores earned in an outcome (closes, or money); None while too few leads tell.

    Compared is what came beyond what was promised of the same leads, which takes out that one kind happened to be
    more promising. Each lead weighs one over the chance of being of its kind (Hájek 1971), so that the share may have
    been changed meanwhile; the interval allows both kinds a spread of their own (Welch 1947).

    Args:
        unit: in which the outcome is counted.
        outcome: of each lead, n.
        promised: what the score foretold of it, in the same unit; any number known beforehand is fair.
        kept_back: whether the score was withheld.
        propensity: the chance that it was to be, above 0 and below 1.

    """
    kinds = (~kept_back, 1 / (1 - propensity)), (kept_back, 1 / propensity)
    if min(int(of_kind.sum()) for of_kind, _ in kinds) < FEWEST:
        return None
    beyond = outcome - promised
    (shown, of_shown, mean, variance), (hidden, of_withheld, other_mean, other_variance) = (
        _mean(outcome[of_kind], beyond[of_kind], weights[of_kind]) for of_kind, weights in kinds
    )
    effect, both = mean - other_mean, variance + other_variance
    freedom = both**2 / (variance**2 / (shown - 1) + other_variance**2 / (hidden - 1)) if both > 0 else np.inf
    margin = float(stats.t.ppf((1 + SURE) / 2, freedom)) * both**0.5
    low, high = effect - margin, effect + margin
    return Earned(
        unit, shown, hidden, of_shown, of_withheld, effect, low, high, effect * shown, low * shown, high * shown
    )


def _mean(outcome: Floats, beyond: Floats, weights: Floats) -> tuple[int, float, float, float]:
    """Return of leads of one kind how many they are, two weighted means, and the variance of the second."""
    w, count = weights / weights.sum(), len(weights)
    mean = float(w @ beyond)
    return count, float(w @ outcome), mean, float(w**2 @ (beyond - mean) ** 2) * count / (count - 1)
