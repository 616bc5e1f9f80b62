"""The sweep: one pass over a lead's events answers every measure at every moment.

Events enter in the order in which they became known, and leave a window in the order in which they occurred;
each event is touched a fixed number of times, however many moments are asked. What is measured at a moment
depends only on events known before it, never on the other moments, leads or events of the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from features.history import DAY, Events, Ints

Floats = NDArray[np.float64]
Where = tuple[tuple[str, str], ...]  # coded column = name, all of them


@dataclass(frozen=True)
class Measure:
    """One thing to know of a lead's events that match ``where``.

    count: events that occurred within the last ``days``, the far edge included.
    decayed: sum over events of 2^(−age / ``days``).
    recency, first: days since the latest and since the first event; NaN without one.
    latest: row of the latest event; NaN without one.
    """

    what: Literal["count", "decayed", "recency", "first", "latest"]
    where: Where = ()
    days: float = np.inf


def sweep(events: Events, lead: Ints, as_of: Ints, measures: Sequence[Measure]) -> dict[Measure, Floats]:
    """Return each measure at each moment (lead[i], as_of[i]), from events known before as_of[i].

    ``lead`` holds positions in ``events``, ``as_of`` microseconds; moments may come in any order.
    """
    wheres = list(dict.fromkeys(measure.where for measure in measures))
    windows = list(dict.fromkeys(measure.days for measure in measures if measure.what == "count"))
    half_lives = list(dict.fromkeys(measure.days for measure in measures if measure.what == "decayed"))
    group, group_start, group_slots = _slots(events, wheres)
    order = np.lexsort((as_of, lead))
    counts, decayed, recency, first, latest = _sweep(
        events.start,
        events.occurred,
        events.known,
        _arrivals(events),
        group,
        group_start,
        group_slots,
        len(wheres),
        np.array([days * DAY if days < np.inf else np.iinfo(np.int64).max // 2 for days in windows], np.int64),
        np.array([days * DAY for days in half_lives], np.float64),
        lead[order],
        as_of[order],
    )
    back = np.empty_like(order)
    back[order] = np.arange(len(order))

    def column(measure: Measure) -> Floats:
        slot = wheres.index(measure.where)
        found = {
            "count": lambda: counts[back, slot, windows.index(measure.days)].astype(np.float64),
            "decayed": lambda: decayed[back, slot, half_lives.index(measure.days)],
            "recency": lambda: recency[back, slot],
            "first": lambda: first[back, slot],
            "latest": lambda: latest[back, slot],
        }[measure.what]()
        return np.asarray(found)

    return {measure: column(measure) for measure in measures}


def _slots(events: Events, wheres: Sequence[Where]) -> tuple[Ints, Ints, Ints]:
    """Return the group of each event, and in compressed rows the slots (wheres) that each group matches."""
    columns = list(events.codes)
    group = np.zeros(len(events.occurred), np.int64)
    for column in columns:
        group = group * (len(events.names[column]) + 1) + events.codes[column] + 1
    groups, group = np.unique(group, return_inverse=True)
    codes, rest = {}, groups.copy()
    for column in reversed(columns):
        rest, codes[column] = np.divmod(rest, len(events.names[column]) + 1)
    matches = np.ones((len(groups), len(wheres)), np.bool_)
    for slot, where in enumerate(wheres):
        for column, name in where:
            names = events.names[column]
            matches[:, slot] &= codes[column] == (names.index(name) + 1 if name in names else -1)
    start = np.concatenate([[0], np.cumsum(matches.sum(axis=1))])
    return group, start, np.nonzero(matches)[1]


def _arrivals(events: Events) -> Ints:
    """Return the events of each lead in the order in which they became known."""
    in_order = np.diff(events.known) >= 0
    in_order[events.start[1:-1][(events.start[1:-1] > 0) & (events.start[1:-1] < len(events.known))] - 1] = True
    if in_order.all():
        return np.arange(len(events.known))
    return np.lexsort((events.known, events.leads()))


@njit(cache=True, nogil=True)
def _sweep(  # noqa: C901, PLR0912  # one loop nest, compiled as a whole
    start: Ints,
    occurred: Ints,
    known: Ints,
    arrivals: Ints,
    group: Ints,
    group_start: Ints,
    group_slots: Ints,
    slots: int,
    windows: Ints,
    half_lives: Floats,
    lead: Ints,
    as_of: Ints,
) -> tuple[NDArray[np.int32], Floats, Floats, Floats, Floats]:
    moments, n_windows, n_half_lives = len(lead), len(windows), len(half_lives)
    counts = np.zeros((moments, slots, n_windows), np.int32)
    decayed = np.zeros((moments, slots, n_half_lives))
    recency = np.full((moments, slots), np.nan)
    first = np.full((moments, slots), np.nan)
    latest = np.full((moments, slots), np.nan)

    count = np.zeros((slots, n_windows), np.int32)
    decay = np.zeros((slots, n_half_lives))
    first_row = np.full(slots, -1)
    last_row = np.full(slots, -1)
    edge = np.zeros(n_windows, np.int64)
    arrived, previous = 0, 0

    for m in range(moments):
        now = as_of[m]
        if m == 0 or lead[m] != lead[m - 1]:
            count[:] = 0
            decay[:] = 0.0
            first_row[:] = -1
            last_row[:] = -1
            edge[:] = start[lead[m]]
            arrived, previous = start[lead[m]], np.iinfo(np.int64).min
        end = start[lead[m] + 1]

        for w in range(n_windows):  # events leave by age, if they had entered
            while edge[w] < end and occurred[edge[w]] < now - windows[w]:
                row = edge[w]
                if known[row] < previous:
                    for s in range(group_start[group[row]], group_start[group[row] + 1]):
                        count[group_slots[s], w] -= 1
                edge[w] += 1

        while arrived < end and known[arrivals[arrived]] < now:  # events enter when they become known
            row = arrivals[arrived]
            for s in range(group_start[group[row]], group_start[group[row] + 1]):
                slot = group_slots[s]
                for w in range(n_windows):
                    if occurred[row] >= now - windows[w]:
                        count[slot, w] += 1
                last = last_row[slot]
                gap = occurred[row] - occurred[last] if last >= 0 else 0
                for h in range(n_half_lives):  # the sum is kept as of the latest event, not of any moment
                    if gap >= 0:
                        decay[slot, h] = decay[slot, h] * 2.0 ** (-gap / half_lives[h]) + 1.0
                    else:
                        decay[slot, h] += 2.0 ** (gap / half_lives[h])
                if last < 0 or row > last:
                    last_row[slot] = row
                if first_row[slot] < 0 or row < first_row[slot]:
                    first_row[slot] = row
            arrived += 1

        for slot in range(slots):
            last = last_row[slot]
            if last >= 0:
                recency[m, slot] = (now - occurred[last]) / DAY
                first[m, slot] = (now - occurred[first_row[slot]]) / DAY
                latest[m, slot] = last
                for h in range(n_half_lives):
                    decayed[m, slot, h] = decay[slot, h] * 2.0 ** (-(now - occurred[last]) / half_lives[h])
                for w in range(n_windows):
                    counts[m, slot, w] = count[slot, w]
        previous = now
    return counts, decayed, recency, first, latest
