"""The verbs: what can be asked of a lead's history at a moment, and how a feature says it.

A feature is a verb with its arguments: data, not code. It is what the catalogue lists, what a model's
artifact stores, and all that is needed to compute the same number again, online or in a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from features.history import DAY, Events, History, Ints
from features.sweep import Floats, Measure, Where

Group = Literal["fit", "engagement"]  # who they are, what they do
Table = Literal["touches", "stages", "versions"]


@dataclass(frozen=True)
class Feature:
    """One number about a lead at a moment.

    ``each`` makes it a template: one feature for each name of that column seen when a model is trained.
    ``levels`` are the categories of a text; a text that is none of them has the code ``len(levels)``.
    """

    name: str
    verb: str
    about: str
    unit: str = ""
    group: Group = "engagement"
    where: Where = ()
    days: float | None = None  # of a window or a half-life; None: all that is known
    column: str = ""
    levels: tuple[str, ...] = ()
    each: str = ""

    def said(self, value: float) -> str:
        """Return a value of the feature in words."""
        if math.isnan(value):
            return "unknown" if self.group == "fit" else "none"
        if self.levels:
            return self.levels[int(value)] if value < len(self.levels) else "other"
        return f"{value:,.{0 if value == int(value) else 1}f}"


@dataclass(frozen=True)
class Moments:
    """(lead, as_of) pairs of one history: positions of leads, and microseconds."""

    history: History
    lead: Ints
    as_of: Ints

    def __len__(self) -> int:
        return len(self.lead)


@dataclass(frozen=True)
class Verb:
    """The events a verb reads, the measures it needs of them, and the number it makes of those."""

    events: Table
    needs: Callable[[Feature], Sequence[Measure]]
    value: Callable[..., Floats]  # (feature, moments, *measures)


def _as_measured(_feature: Feature, _moments: Moments, measured: Floats) -> Floats:
    return measured


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    ratio = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def _trend(_feature: Feature, _moments: Moments, recent: Floats, longer: Floats) -> Floats:
    return _ratio(4 * recent, longer)


def _rhythm(_feature: Feature, _moments: Moments, count: Floats, first: Floats, recency: Floats) -> Floats:
    return _ratio(first - recency, count - 1)


def _age(_feature: Feature, moments: Moments) -> Floats:
    return np.asarray((moments.as_of - moments.history.created[moments.lead]) / DAY)


def _stage(feature: Feature, moments: Moments, row: Floats) -> Floats:
    return _name_at(feature, moments.history.stages, row)


def _attribute(feature: Feature, moments: Moments, row: Floats) -> Floats:
    return _name_at(feature, moments.history.versions, row)


def _name_at(feature: Feature, events: Events, row: Floats) -> Floats:
    """Return the feature's column at some rows of the events, coded; NaN where there is no row or no name."""
    values = np.full(len(row), np.nan)
    if feature.column in events.codes:
        known = ~np.isnan(row)
        codes, place = np.unique(events.codes[feature.column][row[known].astype(np.int64)], return_inverse=True)
        names = events.names[feature.column]
        values[known] = np.array([coded(feature, names[code]) if code >= 0 else math.nan for code in codes])[place]
    return values


def coded(feature: Feature, name: str) -> float:
    """Return a text as the model sees it: its level's code, or its number; NaN when it is no number."""
    if not feature.levels:
        return number(name)
    return float(feature.levels.index(name) if name in feature.levels else len(feature.levels))


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


def _count(feature: Feature, times: int = 1) -> Measure:
    return Measure("count", feature.where, times * (feature.days or math.inf))


VERBS: dict[str, Verb] = {
    "count": Verb("touches", lambda f: [_count(f)], _as_measured),
    "distinct": Verb("touches", lambda f: [Measure("distinct", f.where, f.days or math.inf, f.column)], _as_measured),
    "decayed": Verb("touches", lambda f: [Measure("decayed", f.where, f.days or math.inf)], _as_measured),
    "recency": Verb("touches", lambda f: [Measure("recency", f.where)], _as_measured),
    "first_seen": Verb("touches", lambda f: [Measure("first", f.where)], _as_measured),
    "trend": Verb("touches", lambda f: [_count(f), _count(f, times=4)], _trend),
    "rhythm": Verb(
        "touches",
        lambda f: [Measure("count", f.where), Measure("first", f.where), Measure("recency", f.where)],
        _rhythm,
    ),
    "in_stage": Verb("stages", lambda _: [Measure("recency")], _as_measured),
    "stage": Verb("stages", lambda _: [Measure("latest")], _stage),
    "stage_changes": Verb("stages", lambda _: [Measure("count")], _as_measured),
    "attribute": Verb("versions", lambda _: [Measure("latest")], _attribute),
    "age": Verb("versions", lambda _: [], _age),
}
