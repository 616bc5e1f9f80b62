"""The verbs: what can be asked of a lead's history at a moment, and how a feature says it.

A feature is a verb with its arguments: data, not code. It is what the catalogue lists, what a model's
artifact stores, and all that is needed to compute the same number again, online or in a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from features.events import Events, number
from features.history import History, Ints
from features.people import department, email_kind, seniority
from features.plan import Measure, Where
from features.walk import Floats

Group = Literal["fit", "intent", "engagement"]  # who they are, what they want, what they do
Table = Literal["touches", "stages", "versions", "contacts", "feedback"]
Of = Literal["lead", "account"]


@dataclass(frozen=True)
class Feature:
    """One number about a lead at a moment.

    ``each`` makes it a template: one feature for each name of that column seen when a model is trained; "levels"
    writes out the levels alone. ``levels`` are the categories of a text; a text that is none of them has the code
    ``len(levels)``. ``of`` an account counts the events of all leads that are contacts of the lead's account.
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
    events: Table | Literal[""] = ""  # which are looked at, if not those of the verb
    of: Of = "lead"

    @property
    def table(self) -> Table:
        """Return which events it looks at."""
        return self.events or VERBS[self.verb].events

    def __hash__(self) -> int:
        return hash(self.name)  # quick: a hash of every field would cost more than to measure a lead

    def said(self, value: float) -> str:
        """Return a value of the feature in words."""
        if math.isnan(value):
            return "unknown" if self.group == "fit" else "none"
        if self.levels:
            return self.levels[int(value)] if value < len(self.levels) else "other"
        return f"{value:,.{0 if value == int(value) else 1}f}"


def feature_of(row: Mapping[str, Any]) -> Feature:
    """Return the feature that JSON or TOML describes, where tuples are lists and ``where`` may be an object."""
    where = row.get("where", ())
    pairs = where.items() if isinstance(where, Mapping) else where
    conditions = tuple((column, name if isinstance(name, str) else tuple(name)) for column, name in pairs)
    return Feature(**{**row, "where": conditions, "levels": tuple(row.get("levels", ()))})


@dataclass(frozen=True)
class Moments:
    """(lead, as_of) pairs of one history: positions of leads, and microseconds."""

    history: History
    lead: Ints
    as_of: Ints

    def __len__(self) -> int:
        return len(self.lead)


def columns_of(features: Iterable[Feature]) -> tuple[str, ...]:
    """Return the columns of touches that features look at, beside kind and channel, to be read for them."""
    named = {
        column
        for f in features
        if f.verb in VERBS and f.table == "touches"
        for column in (f.column, f.each, *dict(f.where))
    }
    known = {"", "kind", "channel", "contact", "attribute", "levels", "column"}
    return tuple(sorted(named - known))


def look_at_accounts(features: Iterable[Feature]) -> bool:
    """Say whether a lead's features depend on what other contacts of its account did."""
    return any(feature.of == "account" for feature in features)


@dataclass(frozen=True)
class Verb:
    """What a verb means, the measures that it needs of a feature's events, and the number that it makes of them.

    ``made`` makes it of the lead's age in days and of the measures, element by element, so that all features of a verb
    are made together; ``read`` of the events, at the row that the one measure is. With neither, the number is the one
    measure. ``missing`` says when there is no number, or which one stands for nothing.
    """

    meaning: str
    missing: str
    needs: Callable[[Feature], Sequence[Measure]]
    made: Callable[..., Floats] | None = None  # (age, *measures)
    read: Callable[[Feature, Events, Floats], Floats] | None = None
    events: Table = "touches"


def _of(what: Any, *, column: bool = False) -> Callable[[Feature], Sequence[Measure]]:
    """Return the one measure of that name of a feature's events."""
    return lambda f: [Measure(what, f.where, f.days or math.inf, f.column if column else "")]


def _count(feature: Feature, times: int = 1, where: Where | None = None) -> Measure:
    return Measure("count", feature.where if where is None else where, times * (feature.days or math.inf))


def _span(feature: Feature) -> list[Measure]:
    """Return what tells the mean time between events."""
    return [Measure("count", feature.where), Measure("first", feature.where), Measure("recency", feature.where)]


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    ratio = _unknown(numerator.shape)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def _unknown(shape: tuple[int, ...]) -> Floats:
    """Return as many NaN; ``np.full`` takes three times as long for the few of one lead."""
    values = np.empty(shape)
    values.fill(np.nan)
    return values


def _trend(_age: Floats, recent: Floats, longer: Floats) -> Floats:
    return _ratio(4 * recent, longer)


def _share(_age: Floats, part: Floats, whole: Floats) -> Floats:
    return _ratio(part, whole)


def _rhythm(_age: Floats, count: Floats, first: Floats, recency: Floats) -> Floats:
    return _ratio(first - recency, count - 1)


def _overdue(_age: Floats, count: Floats, first: Floats, recency: Floats) -> Floats:
    return _ratio(recency * (count - 1), first - recency)


def _itself(age: Floats) -> Floats:
    return age


def _delay(age: Floats, first: Floats) -> Floats:
    return age - first


def _name(feature: Feature, events: Events, row: Floats) -> Floats:
    return _name_at(feature, events, row, lambda name: coded(feature, name))


def _missing(feature: Feature, events: Events, row: Floats) -> Floats:
    return np.isnan(_name_at(feature, events, row, lambda _: 0.0)).astype(np.float64)


def _read_as(reading: Callable[[str], str | None]) -> Callable[..., Floats]:
    """Return the value of a feature whose level is what ``reading`` makes of an attribute's text."""

    def value(feature: Feature, events: Events, row: Floats) -> Floats:
        def code(name: str) -> float:
            return math.nan if (read := reading(name)) is None else coded(feature, read)

        return _name_at(feature, events, row, code)

    return value


def _filled(_feature: Feature, events: Events, row: Floats) -> Floats:
    filled, known = np.zeros(len(row)), ~np.isnan(row)
    rows = row[known].astype(np.int64)
    for codes in events.codes.values():
        filled[known] += codes[rows] >= 0
    return filled


def _name_at(feature: Feature, events: Events, row: Floats, code: Callable[[str], float]) -> Floats:
    """Return the feature's column at some rows of the events, coded; NaN where there is no row or no name."""
    values = _unknown(row.shape)
    if feature.column in events.codes:
        known, names = ~np.isnan(row), events.names[feature.column]
        codes = events.codes[feature.column][row[known].astype(np.int64)].tolist()
        of_code = {one: code(names[one]) if one >= 0 else math.nan for one in set(codes)}
        values[known] = [of_code[one] for one in codes]
    return values


def coded(feature: Feature, name: str) -> float:
    """Return a text as the model sees it: its level's code, or its number; NaN when it is no number."""
    if not feature.levels:
        return number(name)
    return float(feature.levels.index(name) if name in feature.levels else len(feature.levels))


OF_A_COLUMN = {
    "distinct", "total", "greatest", "last", "first",
    "attribute", "missing", "email_kind", "seniority", "department",
}  # fmt: skip
NONE_IS_0 = "0 without such an event."
NO_EVENT = "Missing without such an event."
NO_VERSION = "Missing where nothing is known of it."
VERBS: dict[str, Verb] = {
    "count": Verb("Events in the window.", NONE_IS_0, _of("count")),
    "distinct": Verb(
        "Different names in the column among the events in the window.", NONE_IS_0, _of("distinct", column=True)
    ),
    "active_days": Verb("Different days, in UTC, with an event in the window.", NONE_IS_0, _of("active_days")),
    "total": Verb("Sum of a property over the events in the window.", NONE_IS_0, _of("total", column=True)),
    "greatest": Verb(
        "Largest value of a property among the events in the window.", NO_EVENT, _of("greatest", column=True)
    ),
    "decayed": Verb("Sum over events of 2^(−age / half-life).", NONE_IS_0, _of("decayed")),
    "recency": Verb("Days from the latest event to the moment.", NO_EVENT, _of("recency")),
    "first_seen": Verb("Days from the first event to the moment.", NO_EVENT, _of("first")),
    "delay": Verb(
        "Days from the lead's creation to the first event; below 0 if that came first.", NO_EVENT, _of("first"), _delay
    ),
    "streak": Verb(
        "Periods of so many days, one after the other back from the moment, each with an event.",
        NONE_IS_0, _of("streak"),
    ),
    "silence": Verb(
        "Longest time between two events that follow each other.", "Missing with fewer than two events.", _of("silence")
    ),
    "rhythm": Verb("Mean time between two events.", "Missing with fewer than two events.", _span, _rhythm),
    "overdue": Verb(
        "Days since the latest event, in mean times between two events.", "Missing with fewer than two events, or all "
        "at once.", _span, _overdue,
    ),
    "trend": Verb(
        "Events in the window against the mean of the last four such windows, this one included.",
        "Missing where all four are empty.", lambda f: [_count(f), _count(f, times=4)], _trend,
    ),
    "share": Verb(
        "Events in the window that match, as a share of all in it.", "Missing where the window is empty.",
        lambda f: [_count(f), _count(f, where=())], _share,
    ),
    "last": Verb("Name in the column of the latest event.", NO_EVENT, _of("latest"), read=_name),
    "first": Verb("Name in the column of the first event.", NO_EVENT, _of("earliest"), read=_name),
    "in_stage": Verb(
        "Days since the stage last changed.", "Missing before the first stage.", _of("recency"), events="stages"
    ),
    "age": Verb("Days since the lead was created.", "Never missing.", lambda _: [], _itself),
}  # fmt: skip
VERBS |= {
    name: Verb(meaning, missing, _of("latest"), read=read, events="versions")
    for name, meaning, missing, read in (
        ("attribute", "What the version known then says.", NO_VERSION, _name),
        ("missing", "1 where the version known then says nothing of it, else 0.", "Never missing.", _missing),
        ("filled", "Attributes that the version known then fills.", "Never missing.", _filled),
        ("email_kind", "Kind of the e-mail address's domain.", NO_VERSION, _read_as(email_kind)),
        ("seniority", "Seniority that the job title names.", NO_VERSION, _read_as(seniority)),
        ("department", "Department that the job title names.", NO_VERSION, _read_as(department)),
    )
}
