"""How much the credit would change if the journeys had happened again: the Poisson bootstrap.

Each count of journeys is redrawn from a Poisson distribution with that mean.
Source: Chamandy, Muralidharan, Najmi, Naidu (2012), Estimating uncertainty for massive data streams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from attribution.journeys import Floats, Ints

PERCENTILES = (5, 95)
COUNTS_AT_ONCE = 4_000_000  # bounds the memory of a chunk of draws to some 100 MB


@dataclass(frozen=True, eq=False)
class Estimator:
    """A model's credit as a function of how often each journey ended how."""

    statistics: sparse.csr_array  # (2m, s) what one ending adds; row j converts, row m + j does not
    credit: Callable[[Floats], Floats]  # (draws, s) sums of statistics -> (draws, k) credit of channels


def intervals(outcomes: Floats, estimators: Mapping[str, Estimator], replicates: int, seed: int) -> dict[str, Floats]:
    """Low and high credit of each channel (2, k), which 90 % of the replicates lie between, by model.

    Args:
        outcomes: how often each journey converted, then how often each did not (2m,).
        estimators: models by name; all see the same draws.
        replicates: number of draws.
        seed: the same seed gives the same intervals.

    """
    happened = np.flatnonzero(outcomes)
    statistics = {name: estimator.statistics[happened] for name, estimator in estimators.items()}
    credit: dict[str, list[Floats]] = {name: [] for name in estimators}
    for drawn in _draws(outcomes[happened], replicates, seed):
        for name, estimator in estimators.items():
            credit[name].append(estimator.credit(drawn @ statistics[name]))
    return {name: np.percentile(np.concatenate(rows), PERCENTILES, axis=0) for name, rows in credit.items()}


def _draws(means: Floats, replicates: int, seed: int) -> Iterator[Ints]:
    """Poisson draws (rows, len(means)) in chunks, ``replicates`` rows in all; their size changes no draw."""
    random = np.random.default_rng(seed)
    rows = max(1, COUNTS_AT_ONCE // max(1, len(means)))
    for done in range(0, replicates, rows):
        yield random.poisson(means, (min(rows, replicates - done), len(means)))
