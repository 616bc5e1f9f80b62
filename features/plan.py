"""The plan: what the walk has to do for some measures, which depends on the measures alone, so it is kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features import walk
from features.events import DAY, Events
from features.merges import Ints
from features.passes import take
from features.walk import Codes, Indices

Where = tuple[tuple[str, str | tuple[str, ...]], ...]  # coded column = name, or one of several names; all of them
What = Literal[
    "count", "distinct", "decayed", "recency", "first", "latest", "earliest",
    "total", "greatest", "active_days", "streak", "silence",
]  # fmt: skip
T = TypeVar("T")

COUNTED = {"count", "distinct"}
LAST = {"recency", "first", "latest", "earliest"}
EVER = np.iinfo(np.int64).max // 2  # microseconds of a window without a far edge
FEW = 4096  # groups that are numbered without looking which occur


@dataclass(frozen=True)
class Measure:
    """One thing to know of a lead's events that match ``where``.

    count: events that occurred within the last ``days``, the far edge included.
    distinct: different names in ``column`` among those.
    total, greatest: sum and maximum of the numbers in ``column`` among those; 0 and NaN without one.
    active_days: different days, in UTC, on which those occurred.
    decayed: sum over events of 2^(−age / ``days``).
    recency, first: days since the latest and since the first event; NaN without one.
    latest, earliest: row of the latest and of the first event; NaN without one.
    streak: periods of ``days``, one after the other back from the moment, each with an event.
    silence: longest time between two events that follow each other, in days; NaN with fewer than two.
    """

    what: What
    where: Where = ()
    days: float = np.inf
    column: str = ""


MOVED: dict[What, int] = {
    "count": walk.COUNT, "distinct": walk.COUNT, "decayed": walk.DECAYED, "recency": walk.RECENCY,
    "first": walk.FIRST, "latest": walk.LATEST, "earliest": walk.EARLIEST,
}  # fmt: skip
SOUGHT: dict[What, int] = {
    "total": walk.TOTAL, "greatest": walk.GREATEST, "active_days": walk.ACTIVE_DAYS,
    "streak": walk.STREAK, "silence": walk.SILENCE,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Wanted:
    """Measures to take together: those written to columns of a matrix (no rows of events), and those apart from it.

    It is compared by identity, so that its plan can be kept.
    """

    columns: tuple[tuple[int, Measure], ...] = ()
    apart: tuple[Measure, ...] = ()

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All of them."""
        return (*(measure for _, measure in self.columns), *self.apart)


class Plan(NamedTuple):
    """What the walk needs to answer measures, and which columns of the events it reads."""

    steps: walk.Steps
    asked: walk.Asked
    set_names: tuple[str, ...]  # of each set, the column of its names
    names: tuple[str, ...]
    numbers: tuple[str, ...]


Vocabulary = dict[str, dict[str, int]]  # column → name that is asked for → its number, from 1 on; 0 is every other


def planned(events: Events, wanted: Wanted) -> tuple[Plan, Indices]:
    """Return the plan, and the group of each event: all that is asked of its names."""
    vocabulary = _vocabulary(wanted)
    group = np.zeros(len(events.occurred), np.int64)
    for column, numbers in vocabulary.items():
        meant = np.array([*(numbers.get(name, 0) for name in events.names[column]), 0])
        of_row = np.empty_like(group)
        take(meant, events.codes[column], of_row)  # an empty one takes the last
        group = group * (len(numbers) + 1) + of_row
    if math.prod(len(numbers) + 1 for numbers in vocabulary.values()) <= FEW:
        return _plan(wanted), group.astype(np.uint32)
    encoded = pa.array(group).dictionary_encode()  # only those that occur
    return _plan_of(wanted, vocabulary, encoded.dictionary.to_numpy()), encoded.indices.to_numpy().astype(np.uint32)


@lru_cache(maxsize=64)
def _vocabulary(wanted: Wanted) -> Vocabulary:
    pairs = {pair for measure in wanted.measures for pair in measure.where}
    names: dict[str, set[str]] = {}
    for column, one in pairs:
        names.setdefault(column, set()).update({one} if isinstance(one, str) else one)
    return {column: {name: i for i, name in enumerate(sorted(names[column]), 1)} for column in sorted(names)}


@lru_cache(maxsize=64)
def _plan(wanted: Wanted) -> Plan:
    vocabulary = _vocabulary(wanted)
    return _plan_of(wanted, vocabulary, np.arange(math.prod(len(numbers) + 1 for numbers in vocabulary.values())))


def _plan_of(wanted: Wanted, vocabulary: Vocabulary, groups: Ints) -> Plan:
    """Return the plan for events of some groups."""
    asked = [(measure, column, 1) for column, measure in wanted.columns]
    asked += [(measure, place, 0) for place, measure in enumerate(wanted.apart)]
    measures = wanted.measures
    sets = _places((m.where, m.days, m.column) for m in measures if m.what == "distinct")
    cells = _places([*sets, *((m.where, m.days, "") for m in measures if m.what == "count")])
    fades = _places(sorted({(m.where, m.days) for m in measures if m.what == "decayed"}, key=repr))
    slots = _places([*(where for where, _ in fades), *(m.where for m in measures if m.what in LAST)])
    windows = _places(sorted({days for _, days, _ in cells}, reverse=True))
    names = _places(column for _, _, column in sets)
    numbers = _places(m.column for m in measures if m.what in {"total", "greatest"})
    wheres = _places(m.where for m in measures)
    matches = _matches(list(wheres), vocabulary, groups)

    def lists(members: Sequence[Where]) -> tuple[Indices, Ints]:
        """Return where the list of each group starts, and which members are in the lists."""
        group, listed = np.nonzero(matches[np.array([wheres[member] for member in members], np.int64)].T)
        return np.searchsorted(group, np.arange(len(groups) + 1)).astype(np.uint32), listed

    by_window = sorted(cells, key=lambda cell: windows[cell[1]])
    change_start, changed = lists([where for where, _, _ in by_window])
    slot_start, listed = lists(list(slots))
    steps = walk.Steps(
        np.array([_microseconds(days) for days in windows], np.int64),
        change_start,
        np.array([cells[cell] for cell in by_window], np.uint32)[changed],
        np.array([windows[days] for _, days, _ in by_window], np.uint32)[changed],
        set_column=np.array([names[column] for _, _, column in sets], np.uint32),
        slot_start=slot_start,
        slots=listed.astype(np.uint32),
        fade_start=np.searchsorted([slots[where] for where, _ in fades], np.arange(len(slots) + 1)).astype(np.uint32),
        half_lives=np.array([days * DAY for _, days in fades], np.float64),
        matches=matches,
    )  # fmt: skip

    def cell(m: Measure) -> int:
        return cells[m.where, m.days, m.column if m.what == "distinct" else ""]

    moved = [
        (MOVED[m.what], cell(m) if m.what in COUNTED else fades.get((m.where, m.days), 0),
         slots.get(m.where, 0), column, kept)
        for m, column, kept in asked
        if m.what in MOVED and not (m.what in COUNTED and kept)
    ]  # fmt: skip
    sought = [
        (SOUGHT[m.what], wheres[m.where], numbers.get(m.column, 0), column, kept, _microseconds(m.days))
        for m, column, kept in asked
        if m.what in SOUGHT
    ]
    counts = sorted((column, cell(m)) for m, column, kept in asked if m.what in COUNTED and kept)
    written = walk.Asked(
        _runs(counts),
        np.array(moved, np.int32).reshape(-1, 5),
        np.array(sought, np.int64).reshape(-1, 6),
        len(cells),
    )
    return Plan(steps, written, tuple(column for _, _, column in sets), tuple(names), tuple(numbers))


def _matches(wheres: Sequence[Where], vocabulary: Vocabulary, groups: Ints) -> NDArray[np.bool_]:
    """Say which wheres (rows) the events of each group (columns) match."""
    matches, rest = np.ones((len(wheres), len(groups)), np.bool_), groups
    for column, numbers in reversed(vocabulary.items()):
        rest, codes = np.divmod(rest, len(numbers) + 1)
        for place, where in enumerate(wheres):
            for _, one in (pair for pair in where if pair[0] == column):
                matches[place] &= np.isin(codes, [numbers[name] for name in ((one,) if isinstance(one, str) else one)])
    return matches


def _runs(counts: Sequence[tuple[int, int]]) -> Codes:
    """Return (column, cell) pairs in runs that are side by side: first column, column after the last, first cell."""
    runs = (list(run) for _, run in groupby(enumerate(counts), lambda it: (it[1][0] - it[0], it[1][1] - it[0])))
    first = [(run[0][1], len(run)) for run in runs]
    return np.array([(column, column + length, cell) for (column, cell), length in first], np.int32).reshape(-1, 3)


def _microseconds(days: float) -> int:
    return round(days * DAY) if days < np.inf else EVER


def _places(things: Iterable[T]) -> dict[T, int]:
    """Return the place of each different thing among them."""
    return {thing: place for place, thing in enumerate(dict.fromkeys(things))}
