"""The line: log-odds as a plain sum over features. It speaks where there is too little data for trees, and beside them.

A number counts by its logarithm, in standard deviations from its mean, cut at ``FARTHEST``: touches and amounts are
skewed, and one lead with a thousand visits must not set the slope. A category counts by its level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FARTHEST = 4.0  # standard deviations


@dataclass(frozen=True)
class Term:
    """What one feature adds to the log-odds; averaged over the leads it was learned from, nothing.

    A number x adds ``constant + slope · (log x − centre) / scale``; a category the effect of its level, of which the
    last is "other"; what is not known adds ``missing``.
    """

    slope: float = 0.0
    constant: float = 0.0
    centre: float = 0.0
    scale: float = 1.0
    levels: tuple[float, ...] = ()
    missing: float = 0.0

    @property
    def silent(self) -> bool:
        """Say whether the feature adds nothing, whatever it is."""
        return not (self.slope or self.constant or self.missing or any(self.levels))


@dataclass(frozen=True)
class Line:
    """A base and a term for each feature, in log-odds."""

    base: float
    terms: tuple[Term, ...]

    @cached_property
    def alone(self) -> Lines:
        """The line as the only one of several."""
        return lines_of((self,))

    def effects(self, matrix: Floats) -> Floats:
        """Return what each feature (column) adds to each row's log-odds; with the base they sum to them."""
        return self.alone.effects(matrix)

    def margins(self, matrix: Floats) -> Floats:
        """Return the log-odds of each row."""
        return np.asarray(self.alone.margins(matrix)[0])


class Table(NamedTuple):
    """Terms by line (row) and feature (column); levels of all in one, from ``level_start`` on, so many of each."""

    slope: Floats
    constant: Floats
    centre: Floats
    scale: Floats
    missing: Floats
    level_start: NDArray[np.int64]
    levels: NDArray[np.int64]
    level_effects: Floats


@dataclass(frozen=True)
class Lines:
    """Several lines, asked together, so that the logarithms of a row are taken once."""

    bases: Floats
    table: Table

    @property
    def base(self) -> float:
        """Return the mean of the bases."""
        return float(self.bases.mean())

    def margins(self, matrix: Floats) -> Floats:
        """Return the log-odds by each line (row) for each row of the matrix (column), in the order of the features."""
        found = np.repeat(self.bases[:, None], len(matrix), axis=1)
        _add_margins(self.table, np.ascontiguousarray(matrix), found)
        return found

    def effects(self, matrix: Floats) -> Floats:
        """Return what each feature (column) adds to each row's mean log-odds; with the base they sum to them."""
        found = np.zeros(matrix.shape)
        _add_effects(self.table, np.ascontiguousarray(matrix), found)
        return found / len(self.bases)


def lines_of(lines: Sequence[Line]) -> Lines:
    """Return the lines as one table; all have as many terms."""
    terms = [term for line in lines for term in line.terms]

    def by_line(of_terms: Sequence[float]) -> Floats:
        return np.array(of_terms, np.float64).reshape(len(lines), -1)

    table = Table(
        slope=by_line([term.slope for term in terms]),
        constant=by_line([term.constant for term in terms]),
        centre=by_line([term.centre for term in terms]),
        scale=by_line([term.scale for term in terms]),
        missing=by_line([term.missing for term in terms]),
        level_start=by_line([0, *accumulate(len(term.levels) for term in terms)][: len(terms)]).astype(np.int64),
        levels=by_line([len(term.levels) for term in terms]).astype(np.int64),
        level_effects=np.array([effect for term in terms for effect in term.levels], np.float64),
    )
    return Lines(np.array([line.base for line in lines]), table)


@njit(cache=True, nogil=True)
def _add_margins(table: Table, matrix: Floats, found: Floats) -> None:
    for row in range(len(matrix)):
        for column in range(matrix.shape[1]):
            value = np.float64(matrix[row, column])  # of float32, too: a row is the same row wherever it was
            log = math.copysign(math.log1p(abs(value)), value)
            for line in range(len(found)):
                found[line, row] += _effect(table, line, column, value, log)


@njit(cache=True, nogil=True)
def _add_effects(table: Table, matrix: Floats, found: Floats) -> None:
    for row in range(len(matrix)):
        for column in range(matrix.shape[1]):
            value = np.float64(matrix[row, column])  # of float32, too: a row is the same row wherever it was
            log = math.copysign(math.log1p(abs(value)), value)
            for line in range(len(table.slope)):
                found[row, column] += _effect(table, line, column, value, log)


@njit(cache=True, nogil=True)
def _effect(table: Table, line: int, column: int, value: float, log: float) -> float:
    if math.isnan(value):
        return float(table.missing[line, column])
    if table.levels[line, column]:
        last = table.levels[line, column] - 1
        return float(table.level_effects[table.level_start[line, column] + min(max(int(value), 0), last)])
    far = (log - table.centre[line, column]) / table.scale[line, column]
    return float(table.constant[line, column] + table.slope[line, column] * min(max(far, -FARTHEST), FARTHEST))


def standardised(values: Floats, centre: float, scale: float) -> Floats:
    """Return the logarithm of values in standard deviations from its mean, at most ``FARTHEST`` from it."""
    return ((logarithm(values) - centre) / scale).clip(-FARTHEST, FARTHEST)


def logarithm(values: Floats) -> Floats:
    """Return sign(x) · ln(1 + |x|): near 0 the value itself, far from it its logarithm.

    >>> logarithm(np.array([-1.0, 0.0, 1.0])).round(2).tolist()
    [-0.69, 0.0, 0.69]
    """
    exact = np.asarray(values, np.float64)  # also of float32, so that a row is the same row wherever it was
    return np.copysign(np.log1p(np.abs(exact)), exact)


def read_line(read: dict[str, Any]) -> Line:
    """Return the line that ``dataclasses.asdict`` made this JSON of."""
    terms = (Term(**term | {"levels": tuple(term["levels"])}) for term in read["terms"])
    return Line(read["base"], tuple(terms))
