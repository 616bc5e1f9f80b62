"""Dice that remember: every draw is a hash of what it is drawn for, not the next number of a stream.

So a lead lives the same life alone or among a million, and the same life but for one channel when that channel is
switched off: differences between worlds are then the channels' doing, not the dice's (common random numbers).
Who changes this file deletes simulation/__pycache__: numba does not see that those who call it have changed, too.
"""

from __future__ import annotations

import numpy as np
from numba import njit, vectorize
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEP = np.uint64(0x9E3779B97F4A7C15)
MOST = 1_000  # of anything on one day


@vectorize(["uint64(uint64)"], cache=True)  # type: ignore[untyped-decorator, no-untyped-call]
def mixed(z: np.uint64) -> np.uint64:
    """Return SplitMix64's next output (Steele, Lea, Flood 2014): every bit of it hangs on every bit given."""
    z += STEP
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(seed: int, number: Ints, *places: ArrayLike) -> Floats:
    """Return a number in [0, 1) for each person and place (a day, a process, …): the same for the same ones."""
    key = mixed(np.uint64(seed) ^ mixed(number.astype(np.uint64)))
    for place in places:
        key = mixed(key ^ mixed(np.asarray(place).astype(np.uint64)))
    return np.asarray((key >> np.uint64(11)) * 2.0**-53)


@njit(cache=True, nogil=True)
def person(seed: np.uint64, number: np.uint64) -> np.uint64:
    """Return the key of a person's draws."""
    key: np.uint64 = mixed(seed ^ mixed(number))
    return key


@njit(cache=True, nogil=True)
def draw(key: np.uint64, day: int, what: int) -> float:
    """Return a person's number in [0, 1) for something on a day."""
    place = np.uint64((day + 1_024) * 1_024 + what)
    return np.float64(mixed(key ^ mixed(place)) >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True)
def poisson(mean: float, u: float) -> int:
    """Return the Poisson count at the quantile u: the larger the mean, the larger the count."""
    if u < 1 - mean:  # which is below exp(-mean), the share of zeros
        return 0
    share = np.exp(-mean)
    below, count = share, 0
    while u >= below and count < MOST:
        count += 1
        share *= mean / count
        below += share
    return count
