"""The spec: all that turns trees and lines into a score, as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.verbs import Feature, columns_of, feature_of, look_at_accounts
from serving.facts import Fact, read_fact
from serving.line import Line, read_line

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Calibration:
    """Beta calibration (Kull, Silva Filho, Flach 2017): logit q = a ln p − b ln(1 − p) + c, with a, b ≥ 0."""

    a: float = 1.0
    b: float = 1.0
    c: float = 0.0

    def log_odds(self, margin: Floats) -> Floats:
        """Return calibrated log-odds of raw log-odds."""
        return self.c - self.a * np.logaddexp(0, -margin) + self.b * np.logaddexp(0, margin)

    def slope(self, margin: Floats) -> Floats:
        """Return the derivative of the calibrated log-odds by the raw ones."""
        return self.a * probability(-margin) + self.b * probability(margin)


@dataclass(frozen=True)
class Prospect:
    """A line that tells the probability of being won, or lost, within so many days."""

    days: float
    lost: bool
    line: Line


@dataclass(frozen=True)
class Spec:
    """What is known of a model beside its trees.

    ``leads`` is how many were learned from, ``outcomes`` how many of them were won, or were not, whichever is less,
    ``learned_until`` the moment (microseconds) before which that was known; ``trees`` how many each member of the
    ensemble has, in the order of the text; ``lines`` those of the members, which count for ``line_share`` of what they
    say; ``evidence`` on what the score rests: prior, segment_rates, shrunken_model (lines alone) or model; ``ranks``
    are 101 quantiles of the probability among leads never shown to the members that scored them; ``periods`` the ends,
    in days, of those that a competing-risks model tells apart (none: its trees tell the probability itself), of which
    ``scored_periods`` make the score; ``coarser`` the features (columns) of which lines know more levels than trees,
    each with the code that all of these have for the trees; ``medians`` and ``facts`` of each feature; ``prospects`` at
    further horizons; ``golden`` a few rows with the probability each must give.
    """

    features: tuple[Feature, ...]
    horizon_days: float
    base_log_odds: float
    leads: int
    outcomes: int = 0
    learned_until: int = 0
    trees: tuple[int, ...] = ()
    lines: tuple[Line, ...] = ()
    line_share: float = 0.0
    calibration: Calibration = field(default_factory=Calibration)
    evidence: str = "prior"
    ranks: tuple[float, ...] = ()
    periods: tuple[float, ...] = ()
    scored_periods: int = 0
    coarser: tuple[tuple[int, int], ...] = ()
    medians: tuple[float | None, ...] = ()
    facts: tuple[Fact, ...] = ()
    prospects: tuple[Prospect, ...] = ()
    golden: tuple[tuple[tuple[float | None, ...], float], ...] = ()

    @cached_property
    def base_rate(self) -> float:
        """Return the probability that a lead of whom nothing is known is won within the horizon."""
        return float(probability(np.array(self.base_log_odds)))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of touches that the features look at, beside kind and channel."""
        return columns_of(self.features)

    @cached_property
    def looks_at_accounts(self) -> bool:
        """Say whether a lead's score depends on what other contacts of its account did."""
        return look_at_accounts(self.features)

    def as_trees_see(self, matrix: Floats) -> Floats:
        """Return rows of features in which levels that the trees do not know are "other"."""
        if not self.coarser:
            return matrix
        seen = matrix.copy()
        for column, other in self.coarser:
            seen[:, column] = np.minimum(matrix[:, column], other)
        return seen

    @cached_property
    def usually(self) -> tuple[str, ...]:
        """Return what a reason says of each feature's median."""
        return tuple(
            "" if median is None or feature.levels else f" (usually {feature.said(median)})"
            for feature, median in zip(self.features, self.medians, strict=True)
        )

    @cached_property
    def quantiles(self) -> tuple[Floats, Floats]:
        """Return the ranks, and of each which share of leads (in percent) it parts from the others."""
        return np.array(self.ranks), np.linspace(0, 100, len(self.ranks))

    @cached_property
    def is_fit(self) -> Flags:
        """Say which features tell who the lead is; the others tell what it does."""
        return np.array([feature.group == "fit" for feature in self.features], bool)


def read_spec(read: dict[str, Any]) -> Spec:
    """Return the spec that ``dataclasses.asdict`` made this JSON of."""
    features = tuple(map(feature_of, read["features"]))
    golden = tuple((tuple(row), probability) for row, probability in read["golden"])
    tuples = {name: tuple(read[name]) for name in ("trees", "ranks", "medians", "periods")}
    lines, facts = tuple(map(read_line, read["lines"])), tuple(map(read_fact, read["facts"]))
    coarser = tuple((column, other) for column, other in read.get("coarser", ()))
    prospects = tuple(Prospect(**one | {"line": read_line(one["line"])}) for one in read["prospects"])
    calibration = Calibration(**read["calibration"])
    rest = {
        "features": features,
        "golden": golden,
        "lines": lines,
        "facts": facts,
        "prospects": prospects,
        "coarser": coarser,
        "calibration": calibration,
    }
    return Spec(**read | tuples | rest)


def probability(log_odds: Floats) -> Floats:
    """Return probabilities of log-odds, however large."""
    return np.asarray(np.exp(-np.logaddexp(0, -log_odds)))
