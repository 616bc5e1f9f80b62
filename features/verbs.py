"""The verbs: what can be asked of a lead's history at a moment, and how a feature says it.

A feature is a verb with its arguments: data, not code. It is what the catalogue lists, what a model's
artifact stores, and all that is needed to compute the same number again, online or in a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from features.history import DAY, History, Ints
from features.sweep import Floats, Measure, Where

Group = Literal["fit", "engagement"]  # who they are, what they do
Events = Literal["touches", "stages", "versions"]


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

    events: Events
    needs: Callable[[Feature, History], Sequence[Measure]]
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


def _distinct(_feature: Feature, moments: Moments, *counts: Floats) -> Floats:
    return sum(((count > 0).astype(np.float64) for count in counts), start=np.zeros(len(moments)))


def _age(_feature: Feature, moments: Moments) -> Floats:
    return np.asarray((moments.as_of - moments.history.created[moments.lead]) / DAY)


def _attribute(feature: Feature, moments: Moments, version: Floats) -> Floats:
    column = [coded(feature, attributes.get(feature.column)) for attributes in moments.history.attributes]
    return _looked_up(np.array(column, np.float64), version)


def _stage(feature: Feature, moments: Moments, row: Floats) -> Floats:
    stages = moments.history.stages
    of_name = np.array([coded(feature, name) for name in stages.names["stage"]], np.float64)
    return _looked_up(of_name[stages.codes["stage"]], row)


def _looked_up(column: Floats, row: Floats) -> Floats:
    values = np.full(len(row), np.nan)
    found = ~np.isnan(row)
    values[found] = column[row[found].astype(np.int64)]
    return values


def coded(feature: Feature, value: Any) -> float:
    """Return an attribute as the model sees it: its level's code, or its number; NaN when it is not known."""
    if value is None or value == "":
        return math.nan
    if feature.levels:
        text = str(value)
        return float(feature.levels.index(text) if text in feature.levels else len(feature.levels))
    return number(value)


def number(value: Any) -> float:
    """Return a finite number, or NaN.

    >>> number("1200.5"), number("many"), number(True)
    (1200.5, nan, 1.0)
    """
    try:
        read = float(value)
    except (TypeError, ValueError):
        return math.nan
    return read if math.isfinite(read) else math.nan


def _count(feature: Feature, times: int = 1, where: Where = ()) -> Measure:
    days = math.inf if feature.days is None else times * feature.days
    return Measure("count", feature.where + where, days)


VERBS: dict[str, Verb] = {
    "count": Verb("touches", lambda f, _: [_count(f)], _as_measured),
    "decayed": Verb("touches", lambda f, _: [Measure("decayed", f.where, f.days or math.inf)], _as_measured),
    "recency": Verb("touches", lambda f, _: [Measure("recency", f.where)], _as_measured),
    "first_seen": Verb("touches", lambda f, _: [Measure("first", f.where)], _as_measured),
    "trend": Verb(
        "touches",
        lambda f, _: [_count(f), _count(f, times=4)],
        _trend,
    ),
    "rhythm": Verb(
        "touches",
        lambda f, _: [_count(f), Measure("first", f.where), Measure("recency", f.where)],
        _rhythm,
    ),
    "distinct": Verb(
        "touches",
        lambda f, history: [_count(f, where=((f.column, name),)) for name in history.touches.names[f.column]],
        _distinct,
    ),
    "in_stage": Verb("stages", lambda _f, _: [Measure("recency")], _as_measured),
    "stage": Verb("stages", lambda _f, _: [Measure("latest")], _stage),
    "stage_changes": Verb("stages", lambda _f, _: [Measure("count")], _as_measured),
    "attribute": Verb("versions", lambda _f, _: [Measure("latest")], _attribute),
    "age": Verb("versions", lambda _f, _: [], _age),
}
