"""Shares: the one place where weights are normalised and money is split."""

from __future__ import annotations

import numpy as np

from attribution.journeys import Floats, Ints


def shares(weights: Floats, group: Ints) -> Floats:
    """Each row's part of its group, from weights of 0 or more (n,); the parts of a group add up to 1.

    Rows of a group in which nothing weighs share alike, so that nothing is lost.
    """
    weightless = np.bincount(group, weights) == 0
    weights = weights + weightless[group]
    return weights / np.bincount(group, weights)[group]


def split_cents(cents: Ints, share: Floats, group: Ints) -> Ints:
    """Each row's whole cents (n,) of its group's cents (m,), by largest remainder; they add up exactly.

    Rows are ordered by group; of equal remainders the earlier row is served first. A refund is split as the
    sale was, with its sign changed.
    """
    exact = np.abs(cents)[group] * share
    parts = np.floor(exact).astype(np.int64)
    size = np.bincount(group, minlength=len(cents))
    largest_first = np.lexsort((parts - exact, group))
    rank = np.empty_like(parts)
    rank[largest_first] = np.arange(len(group)) - (np.cumsum(size) - size)[group]
    left = np.abs(cents)
    np.subtract.at(left, group, parts)
    # One cent to each of the first ``left`` rows. Exact also where rounding made ``left`` negative.
    parts += (left[group] - rank + size[group] - 1) // size[group]
    return np.sign(cents)[group] * parts
