"""Money is split in one place: whole cents that add up to what there was."""

from __future__ import annotations

import numpy as np

from attribution.journeys import Floats, Ints


def split_cents(cents: Ints, share: Floats, start: Ints) -> Ints:
    """Each row's whole cents (n,) of its group's cents (m,), by largest remainder; they add up exactly.

    Group j holds the rows start[j] to before start[j + 1]; shares of a group add up to 1. Of equal remainders the
    earlier row is served first. A refund is split as the sale was, with its sign changed.
    """
    return whole(np.repeat(cents, np.diff(start)) * share, cents, start)


def whole(exact: Floats, total: Ints, start: Ints) -> Ints:
    """Whole numbers (n,) near the exact ones, which add up to each group's total (m,), by largest remainder."""
    size = np.diff(start)
    group = np.repeat(np.arange(len(total)), size)
    exact = np.round(exact, 6)  # sums of floats in another order are the same cents
    parts = np.trunc(exact).astype(np.int64)
    left = total.copy()
    np.subtract.at(left, group, parts)
    way = np.sign(left)[group]
    rank = np.empty_like(parts)
    rank[np.lexsort(((parts - exact) * way, group))] = np.arange(len(group)) - start[:-1].repeat(size)
    # One to each of the first rows. Exact also where rounding left more than there are rows.
    return np.asarray(parts + way * ((np.abs(left)[group] - rank + size[group] - 1) // size[group]), dtype=np.int64)
