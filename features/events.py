"""Events of many leads in columns, and what time is measured in."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    numbers: dict[str, NDArray[np.float64]] = field(default_factory=dict)  # of each column of numbers, NaN where empty

    def of_leads(self, first: int, end: int) -> Events:
        """Return the events of the leads from ``first`` to before ``end``, numbered from 0."""
        rows = slice(self.start[first], self.start[end])
        codes = {column: codes[rows] for column, codes in self.codes.items()}
        numbers = {column: numbers[rows] for column, numbers in self.numbers.items()}
        start = self.start[first : end + 1] - rows.start
        return Events(start, self.occurred[rows], self.known[rows], codes, self.names, numbers)

    def leads(self) -> Ints:
        """Return the lead of each event."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))
