"""Passes: loops over all rows of a table, compiled, where numpy would go over them several times."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@njit(cache=True, nogil=True)
def take(of_codes: NDArray[Any], codes: NDArray[np.int32], out: NDArray[Any]) -> None:
    """Write to ``out`` what is given of each row's code."""
    for row in range(len(codes)):
        out[row] = of_codes[codes[row]]


@njit(cache=True, nogil=True)
def are_in_order(leads: Ints, times: Ints, apart: int) -> bool:
    """Say whether rows are by lead and then by time, each time at least so far ``apart`` from the one before it."""
    for row in range(1, len(leads)):
        if leads[row] < leads[row - 1] or (leads[row] == leads[row - 1] and times[row] - times[row - 1] < apart):
            return False
    return True


@njit(cache=True, nogil=True)
def never_falls(start: Ints, times: Ints) -> bool:
    """Say whether no time is before the one above it, among the rows of each lead."""
    falls = 0
    for row in range(1, len(times)):  # without a branch, several rows at once
        falls += times[row] < times[row - 1]
    for lead in range(len(start) - 1):
        if 0 < start[lead] < start[lead + 1]:
            falls -= times[start[lead]] < times[start[lead] - 1]
    return falls == 0


@njit(cache=True, nogil=True)
def starts(leads: Ints, count: int) -> Ints:
    """Return the first row of each of so many leads, whose rows are in order, and the end of the last."""
    start, lead = np.empty(count + 1, np.int64), 0
    for row in range(len(leads)):
        while lead <= leads[row]:
            start[lead] = row
            lead += 1
    start[lead:] = len(leads)
    return start
