"""Base rates by value: what a reason says beside its effect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from features.verbs import Feature
from serving.facts import Fact

Floats = NDArray[np.float64]
PARTS = 5  # of a number's values
PRIOR_ROWS = 20.0  # of the base rate, that each share starts from


def facts(
    matrix: Floats, labels: Floats, weights: Floats, features: Sequence[Feature], rate: float
) -> tuple[Fact, ...]:
    """Return the share of wins (labels, weighted) by value of each feature (column), shrunk towards the base rate."""
    return tuple(_fact(matrix[:, i], labels, weights, feature, rate) for i, feature in enumerate(features))


def edges(values: Floats) -> Floats:
    """Return what parts values into their fifths, or one from the other where there are no more than five.

    >>> edges(np.array([0.0, 0, 0, 1, 3])).tolist()
    [1.0, 3.0]
    """
    different = np.unique(values)
    if len(different) <= PARTS:
        return different[1:]
    return np.unique(np.quantile(values, np.arange(1, PARTS) / PARTS))


def _fact(values: Floats, labels: Floats, weights: Floats, feature: Feature, rate: float) -> Fact:
    known = ~np.isnan(values)
    between = np.arange(1.0, len(feature.levels) + 1) if feature.levels else edges(values[known])
    part = np.where(known, np.searchsorted(between, values, "right"), len(between) + 1)
    wins, rows = (np.bincount(part, counted, len(between) + 2) for counted in (weights * labels, weights))
    *rates, missing = ((wins + PRIOR_ROWS * rate) / (rows + PRIOR_ROWS)).tolist()
    return Fact(tuple(between.tolist()), tuple(rates), missing)
