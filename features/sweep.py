"""The sweep: one pass over a lead's events answers every measure at every moment.

Events enter in the order in which they became known, and leave a window in the order in which they occurred;
each event is touched a fixed number of times, however many moments are asked. What is measured at a moment
depends only on events known before it, never on the other moments, leads or events of the call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from features.history import DAY, Events, Ints

Floats = NDArray[np.float64]
Where = tuple[tuple[str, str], ...]  # coded column = name, all of them
T = TypeVar("T")

COUNT, DISTINCT, DECAYED, RECENCY, FIRST, LATEST = range(6)
WHAT = {"count": COUNT, "distinct": DISTINCT, "decayed": DECAYED, "recency": RECENCY, "first": FIRST, "latest": LATEST}
EVER = np.iinfo(np.int64).max // 2  # microseconds of a window without a far edge


@dataclass(frozen=True)
class Measure:
    """One thing to know of a lead's events that match ``where``.

    count: events that occurred within the last ``days``, the far edge included.
    distinct: different names in ``column`` among those.
    decayed: sum over events of 2^(−age / ``days``).
    recency, first: days since the latest and since the first event; NaN without one.
    latest: row of the latest event; NaN without one.
    """

    what: Literal["count", "distinct", "decayed", "recency", "first", "latest"]
    where: Where = ()
    days: float = np.inf
    column: str = ""


def sweep(events: Events, lead: Ints, as_of: Ints, measures: Sequence[Measure]) -> dict[Measure, Floats]:
    """Return each measure at each moment (lead[i], as_of[i]), from events known before as_of[i].

    ``lead`` holds positions in ``events``, ``as_of`` microseconds; moments may come in any order.
    """
    if not len(lead):
        return {measure: np.empty(0) for measure in measures}
    measures = list(dict.fromkeys(measures))
    some = events.of_leads(lead.min(), lead.max() + 1)
    # A set is a where with a column: its distinct names. Each of its names is one more where to count.
    sets = _places((m.where, m.column) for m in measures if m.what == "distinct")
    members = {(*where, (column, name)): (where, column) for where, column in sets for name in some.names[column]}
    wheres = _places([*(m.where for m in measures), *members])
    windows = _places(m.days for m in measures if m.what in {"count", "distinct"})
    half_lives = _places(m.days for m in measures if m.what == "decayed")
    fading = {m.where for m in measures if m.what == "decayed"}
    asked = [
        (
            WHAT[m.what],
            sets[m.where, m.column] if m.what == "distinct" else wheres[m.where],
            (half_lives if m.what == "decayed" else windows).get(m.days, 0),
        )
        for m in measures
    ]
    group, group_start, group_slots = _groups(some, list(wheres))
    answers = _sweep(
        some.start,
        some.occurred,
        some.known,
        _arrivals(some),
        group,
        group_start,
        group_slots,
        np.array([sets[members[where]] if where in members else len(sets) for where in wheres], np.int64),
        len(sets) + 1,
        np.array([days * DAY if days < np.inf else EVER for days in windows], np.int64),
        np.array([days * DAY for days in half_lives], np.float64),
        np.array([where in fading for where in wheres], np.bool_),
        np.array(asked, np.int64).reshape(-1, 3),
        np.lexsort((as_of, lead)),
        lead - lead.min(),
        as_of,
    )
    first_row = events.start[lead.min()]
    return {m: answers[:, i] + first_row if m.what == "latest" else answers[:, i] for i, m in enumerate(measures)}


def _places(things: Iterable[T]) -> dict[T, int]:
    """Return the place of each different thing among them."""
    return {thing: place for place, thing in enumerate(dict.fromkeys(things))}


def _groups(events: Events, wheres: Sequence[Where]) -> tuple[Ints, Ints, Ints]:
    """Return the group of each event, and in compressed rows the wheres that each group matches.

    Events of one group have the same names in the columns that are asked for.
    """
    columns = sorted({column for where in wheres for column, _ in where})
    mixed = np.zeros(len(events.occurred), np.int64)
    for column in columns:
        mixed = mixed * (len(events.names[column]) + 1) + events.codes[column] + 1
    encoded = pa.array(mixed).dictionary_encode()
    rest, codes = encoded.dictionary.to_numpy(), {}
    for column in reversed(columns):
        rest, codes[column] = np.divmod(rest, len(events.names[column]) + 1)
    matches = np.ones((len(rest), len(wheres)), np.bool_)
    numbers = {column: _places(events.names[column]) for column in columns}
    for place, where in enumerate(wheres):
        for column, name in where:
            matches[:, place] &= codes[column] == numbers[column].get(name, -2) + 1
    start = np.concatenate([[0], np.cumsum(matches.sum(axis=1))])
    return encoded.indices.to_numpy().astype(np.int64), start, np.nonzero(matches)[1]


def _arrivals(events: Events) -> Ints:
    """Return the events of each lead in the order in which they became known."""
    in_order = np.diff(events.known) >= 0
    in_order[events.start[1:-1][(events.start[1:-1] > 0) & (events.start[1:-1] < len(events.known))] - 1] = True
    if in_order.all():
        return np.arange(len(events.known))
    return np.lexsort((events.known, events.leads()))


@njit(cache=True, nogil=True)
def _sweep(  # noqa: C901, PLR0912, PLR0915  # one loop nest, compiled as a whole
    start: Ints,
    occurred: Ints,
    known: Ints,
    arrivals: Ints,
    group: Ints,
    group_start: Ints,
    group_slots: Ints,
    set_of: Ints,  # of each slot; slots without a set share a last one that nobody asks for
    sets: int,
    windows: Ints,
    half_lives: Floats,
    fades: NDArray[np.bool_],  # whether a slot's decayed sum is asked for
    asked: Ints,  # (what, slot or set, window or half-life)
    order: Ints,  # of the moments, by lead and time
    lead: Ints,
    as_of: Ints,
) -> Floats:
    slots, n_windows, n_half_lives = len(set_of), len(windows), len(half_lives)
    answers = np.empty((len(order), len(asked)))

    count = np.zeros((slots, n_windows), np.int64)
    different = np.zeros((sets, n_windows), np.int64)
    decay = np.zeros((slots, n_half_lives))
    first_row = np.full(slots, -1)
    last_row = np.full(slots, -1)
    edge = np.zeros(n_windows, np.int64)
    arrived, end, previous = 0, 0, 0

    for place in range(len(order)):
        moment = order[place]
        now = as_of[moment]
        if place == 0 or lead[moment] != lead[order[place - 1]]:
            count[:] = 0
            different[:] = 0
            decay[:] = 0.0
            first_row[:] = -1
            last_row[:] = -1
            arrived, end = start[lead[moment]], start[lead[moment] + 1]
            edge[:] = arrived
            previous = np.iinfo(np.int64).min

        for w in range(n_windows):  # events leave by age, if they had entered
            while edge[w] < end and occurred[edge[w]] < now - windows[w]:
                row = edge[w]
                if known[row] < previous:
                    for s in range(group_start[group[row]], group_start[group[row] + 1]):
                        slot = group_slots[s]
                        count[slot, w] -= 1
                        if count[slot, w] == 0:
                            different[set_of[slot], w] -= 1
                edge[w] += 1

        while arrived < end and known[arrivals[arrived]] < now:  # events enter when they become known
            row = arrivals[arrived]
            for s in range(group_start[group[row]], group_start[group[row] + 1]):
                slot = group_slots[s]
                for w in range(n_windows):
                    if occurred[row] >= now - windows[w]:
                        count[slot, w] += 1
                        if count[slot, w] == 1:
                            different[set_of[slot], w] += 1
                last = last_row[slot]
                if fades[slot]:  # the sum is kept as of the latest event, not of any moment
                    gap = occurred[row] - occurred[last] if last >= 0 else 0
                    for h in range(n_half_lives):
                        if gap >= 0:
                            decay[slot, h] = decay[slot, h] * 2.0 ** (-gap / half_lives[h]) + 1.0
                        else:
                            decay[slot, h] += 2.0 ** (gap / half_lives[h])
                if row > last:
                    last_row[slot] = row
                if first_row[slot] < 0 or row < first_row[slot]:
                    first_row[slot] = row
            arrived += 1

        for a in range(len(asked)):
            what, i, span = asked[a, 0], asked[a, 1], asked[a, 2]
            if what == COUNT:
                answers[moment, a] = count[i, span]
            elif what == DISTINCT:
                answers[moment, a] = different[i, span]
            elif last_row[i] < 0:
                answers[moment, a] = 0.0 if what == DECAYED else np.nan
            elif what == DECAYED:
                answers[moment, a] = decay[i, span] * 2.0 ** (-(now - occurred[last_row[i]]) / half_lives[span])
            elif what == RECENCY:
                answers[moment, a] = (now - occurred[last_row[i]]) / DAY
            elif what == FIRST:
                answers[moment, a] = (now - occurred[first_row[i]]) / DAY
            else:
                answers[moment, a] = last_row[i]
        previous = now
    return answers
