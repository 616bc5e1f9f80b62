"""How much the credit would change if the journeys had happened again: the bootstrap over ``counting``'s buckets."""

from __future__ import annotations

import numpy as np

from attribution.counting import Spread
from attribution.journeys import Floats

PERCENTILES = (5, 95)


def draws(where: Spread, replicates: int, seed: int) -> Floats:
    """How often each bucket happens (replicates, b): Poisson counts of endings, or shared buckets drawn anew."""
    random = np.random.default_rng(seed)
    if where.exact:
        return random.poisson(where.outcomes[where.outcomes != 0], (replicates, where.buckets)).astype(np.float64)
    equally = np.full(where.buckets, 1 / where.buckets)
    return random.multinomial(where.buckets, equally, replicates).astype(np.float64)


def replicated(total: Floats, by_bucket: Floats, where: Spread, drawn: Floats) -> Floats:
    """Return sums (replicates, …) as they might have been, from those that were and those of buckets (b, …)."""
    flat = by_bucket.reshape(len(by_bucket), total.size)
    varied: Floats = (drawn if where.exact else drawn - 1) @ flat
    sums: Floats = varied if where.exact else total.ravel() + varied
    return np.maximum(sums, 0).reshape(len(drawn), *total.shape)


def interval(credit: Floats) -> Floats:
    """Low and high (2, k), between which 90 % of the replicates (replicates, k) lie."""
    return np.asarray(np.percentile(credit, PERCENTILES, axis=0))
