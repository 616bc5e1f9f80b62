"""Templates: the catalogue's lines written out for the names and categories that a history shows.

What is counted is with how many leads each name was seen before a moment. The counts of parts of the leads add up, so
a history need not be in memory at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.catalogue import CATALOGUE
from features.events import Events, number
from features.history import History
from features.objections import OBJECTION, OPT_OUT, profiled
from features.verbs import Feature

FEWEST_LEADS = 20  # a name seen with fewer leads teaches nothing
MOST_NAMES = 60  # of a column
MOST_LEVELS = 30  # of an attribute; rarer ones are "other"
MANY_LEVELS = 1_000  # of an attribute whose levels are told apart by how many of their leads were won
ALIASES = {
    "email": {"email", "emailaddress", "workemail", "businessemail", "mail"},
    "title": {"title", "jobtitle", "position", "role", "jobfunction"},
}
CONTACTS = ("contacts", "account_id")  # how many leads have an account
Seen = Mapping[tuple[str, str], Counter[str]]  # (table, column) → name → leads it was seen with


def seen_names(history: History, before: int) -> Seen:
    """Return with how many leads each name was seen before a moment (microseconds)."""
    counted = profiled(history, before) & history.live(np.arange(len(history.lead_ids)), before)
    tables = {"touches": history.touches, "stages": history.stages, "versions": history.versions,
              "feedback": history.feedback}  # fmt: skip
    seen = {
        (table, column): _leads_by_name(events, column, counted, before)
        for table, events in tables.items()
        for column in events.codes
    }
    contacts = np.unique(history.contacts.lead[history.contacts.since < before])
    return seen | {CONTACTS: Counter(leads=int(counted[contacts].sum()))}


def added(one: Seen, other: Seen) -> Seen:
    """Return with how many leads each name was seen in two histories of different leads."""
    return {place: one.get(place, Counter()) + other.get(place, Counter()) for place in {**one, **other}}


def learned_features(history: History, before: int, catalogue: Sequence[Feature] = CATALOGUE) -> tuple[Feature, ...]:
    """Return the catalogue with its templates written out for what was known before a moment (microseconds)."""
    return written_out(seen_names(history, before), catalogue)


def written_out(seen: Seen, catalogue: Sequence[Feature] = CATALOGUE, levels: int = MOST_LEVELS) -> tuple[Feature, ...]:
    """Return the catalogue with its templates written out, attributes with so many levels at most.

    An attribute that is called like another feature is named apart: ``stage_attribute``.
    """
    features = [feature for line in catalogue for feature in _lines(line, seen, levels)]
    taken = {feature.name for feature in features if feature.verb != "attribute"}
    clashes = [feature.verb == "attribute" and feature.name in taken for feature in features]
    return tuple(
        replace(feature, name=f"{feature.name}_attribute") if clash else feature
        for feature, clash in zip(features, clashes, strict=True)
    )


def _lines(line: Feature, seen: Seen, levels: int) -> Iterator[Feature]:
    if line.of == "account" and seen.get(CONTACTS, Counter())["leads"] < FEWEST_LEADS:
        return
    if not line.each:
        yield line
    elif line.each == "attribute":
        for table, name in sorted(seen):
            if table == "versions" and name not in {OBJECTION, OPT_OUT}:  # a wish is no sign of a deal
                yield from _attribute(replace(_named(line, name), column=name), seen[table, name], levels)
    elif line.each == "levels":
        yield replace(line, each="", levels=_frequent(seen.get((line.table, line.column), Counter()), MOST_NAMES))
    elif line.each == "column":
        column = _column_called(line.column, seen)
        if column:
            yield replace(line, each="", column=column)
    else:
        for name in _frequent(seen.get((line.table, line.each), Counter()), MOST_NAMES):
            yield replace(_named(line, name), where=(*line.where, (line.each, name)))


def _named(line: Feature, name: str) -> Feature:
    return replace(line, each="", name=line.name.format(name), about=line.about.format(name))


def _attribute(feature: Feature, leads: Mapping[str, int], most: int) -> Iterator[Feature]:
    """Yield the feature as a number if every value known is one, else with its frequent values as levels."""
    if leads and not any(math.isnan(number(name)) for name in leads):
        yield feature
    elif levels := _frequent(leads, most):
        yield replace(feature, levels=levels)


def _column_called(meant: str, seen: Seen) -> str | None:
    """Return the attribute that is called like what is meant, or like one of its aliases."""
    called = {column: "".join(filter(str.isalnum, column.lower())) for table, column in seen if table == "versions"}
    return next(
        (column for column, name in sorted(called.items()) if name in ALIASES[meant] and seen["versions", column]), None
    )


def _leads_by_name(events: Events, column: str, counted: np.ndarray, before: int) -> Counter[str]:
    codes, names, leads = events.codes[column].astype(np.int64), events.names[column], events.leads()
    seen = (events.known < before) & (codes >= 0) & counted[leads]
    pairs = pc.unique(pa.array(codes[seen] + leads[seen] * len(names))).to_numpy()  # of name and lead
    counts = np.bincount(pairs % max(len(names), 1), minlength=len(names)).tolist()
    return Counter({name: count for name, count in zip(names, counts, strict=True) if count})


def _frequent(leads: Mapping[str, int], most: int) -> tuple[str, ...]:
    ranked = sorted(leads, key=lambda name: (-leads[name], name))
    return tuple(name for name in ranked[:most] if leads[name] >= FEWEST_LEADS)
