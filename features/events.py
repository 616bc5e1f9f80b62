"""Events of many leads in columns, and what time is measured in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.merges import Ints

DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class Events:
    """Events of all leads, ordered by lead and time; lead ``i`` owns the rows ``start[i]:start[i + 1]``."""

    start: Ints
    occurred: Ints
    known: Ints
    codes: dict[str, NDArray[np.int32]]  # of each coded column, −1 where it is empty
    names: dict[str, tuple[str, ...]]  # what the codes stand for

    def of_leads(self, first: int, end: int) -> Events:
        """Return the events of the leads from ``first`` to before ``end``, numbered from 0."""
        if first == 0 and end == len(self.start) - 1:  # as in most requests, which must be quick
            return self
        rows = slice(self.start[first], self.start[end])
        codes = {column: codes[rows] for column, codes in self.codes.items()}
        start = self.start[first : end + 1] - rows.start
        return Events(start, self.occurred[rows], self.known[rows], codes, self.names)

    def chosen(self, which: NDArray[np.bool_]) -> Events:
        """Return some of the events, each lead's in their order."""
        before = np.append(0, np.cumsum(which))
        codes = {column: codes[which] for column, codes in self.codes.items()}
        return Events(before[self.start], self.occurred[which], self.known[which], codes, self.names)

    def leads(self) -> Ints:
        """Return the lead of each event."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return the numbers that a coded column holds as texts; NaN where it holds none."""
        of_names = np.array([*map(number, self.names[column]), math.nan])
        return np.asarray(of_names[self.codes[column]])


def number(text: str) -> float:
    """Return a finite number, or NaN.

    >>> number("1200.5"), number("many"), number("inf")
    (1200.5, nan, nan)
    """
    try:
        read = float(text)
    except ValueError:
        return math.nan
    return read if math.isfinite(read) else math.nan
