"""The line: log-odds as a plain sum over features. It speaks where there is too little data for trees, and beside them.

A number counts by its logarithm, in standard deviations from its mean, cut at ``FARTHEST``: touches and amounts are
skewed, and one lead with a thousand visits must not set the slope. A category counts by its level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
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

    def effect(self, values: Floats) -> Floats:
        """Return what values of the feature (n) add to the log-odds (n)."""
        unknown = np.isnan(values)
        if self.levels:
            known = np.array(self.levels)[np.where(unknown, 0, values).astype(np.int64)]
        else:
            known = self.constant + self.slope * standardised(values, self.centre, self.scale)
        return np.where(unknown, self.missing, known)

    @property
    def silent(self) -> bool:
        """Say whether the feature adds nothing, whatever it is."""
        return not (self.slope or self.constant or self.missing or any(self.levels))


@dataclass(frozen=True)
class Line:
    """A base and a term for each feature, in log-odds."""

    base: float
    terms: tuple[Term, ...]

    def effects(self, matrix: Floats) -> Floats:
        """Return what each feature (column) adds to each row's log-odds; with the base they sum to them."""
        effects = np.zeros(matrix.shape)
        for column, term in enumerate(self.terms):
            if not term.silent:
                effects[:, column] = term.effect(matrix[:, column])
        return effects

    def margins(self, matrix: Floats) -> Floats:
        """Return the log-odds of each row, added up in the order of the features."""
        margins = np.full(len(matrix), self.base)
        for column, term in enumerate(self.terms):
            if not term.silent:
                margins += term.effect(matrix[:, column])
        return margins


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
