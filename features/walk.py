"""The walk: the compiled loop of the sweep, over the events of one lead after the other.

At each moment of a lead, events enter that became known since the last one; then what was asked is written down. When
an event enters, it is noted at which of the moments to come it will be too old for each window, so nobody looks for
it when it leaves. Counts are moved, never counted again. What cannot be moved without a trace of its way (a sum would
keep the rounding of all it held before) is looked up in the window.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from features.events import DAY
from features.merges import Ints

Codes = NDArray[np.int32]
Indices = NDArray[np.uint32]  # of an index that may be below 0, numba asks each time whether it counts from the end
Floats = NDArray[np.float64]
Matrix = NDArray[Any]  # float32, which what reads it may compute with in float64

COUNT, DECAYED, RECENCY, FIRST, LATEST, EARLIEST, TOTAL, GREATEST, ACTIVE_DAYS, STREAK, SILENCE = range(11)


class Walked(NamedTuple):
    """Events as the walk reads them; ``group`` stands for all the wheres that an event matches."""

    start: Ints  # of each lead's rows
    occurred: Ints
    known: Ints
    arrivals: Ints  # rows in the order in which they became known; empty if that is the order of the rows
    group: Indices
    codes: Codes  # (columns of distinct names, events)
    numbers: Floats  # (properties, events), NaN where there is none
    set_offset: Ints  # of each set, where its names are numbered from; and their number in all


class Steps(NamedTuple):
    """What an event of a group changes when it enters or leaves; lists of lists are in compressed rows."""

    windows: Ints  # microseconds, from the longest to the shortest
    change_start: Indices  # at [group]: the cells that change, those of the longest window first
    changes: Indices
    change_window: Indices  # of each change: the window of its cell
    set_column: Indices  # in codes, of the first cells, which count different names; the others count events
    slot_start: Indices  # at [group]: the slots, each a where, that it is the latest event of
    slots: Indices
    fade_start: Indices  # at [slot]: its decayed sums
    half_lives: Floats  # of each decayed sum, microseconds
    matches: NDArray[np.bool_]  # (wheres, groups), of what is looked up


class Asked(NamedTuple):
    """What is written down at each moment, and where."""

    runs: Codes  # (runs, 3): from this column to before that one, the matrix gets the counts from this cell on
    moved: Codes  # (asked, 5): what, its cell or sum, slot, column, whether that is one of the matrix
    sought: Ints  # (asked, 6): what, where, number, column, whether that is one of the matrix, window in microseconds
    cells: int


@njit(cache=True, nogil=True)
def walk(  # noqa: C901, PLR0912, PLR0915  # one loop nest, compiled as a whole
    events: Walked, steps: Steps, asked: Asked, order: Ints, lead: Ints, as_of: Ints, matrix: Matrix, apart: Floats
) -> None:
    """Write what is asked at the moments, in ``order`` (by lead and time), to ``matrix`` or to a row of ``apart``."""
    start, occurred, known, arrivals, group = events.start, events.occurred, events.known, events.arrivals, events.group
    windows, change_start, changes = steps.windows, steps.change_start, steps.changes
    in_order = len(arrivals) == 0
    sets, cells = len(steps.set_column), asked.cells
    count = np.zeros(cells, np.int32)
    decayed = np.zeros(len(steps.half_lives))
    first_row = np.empty(len(steps.fade_start) - 1, np.int64)
    last_row = np.empty(len(steps.fade_start) - 1, np.int64)
    until = np.zeros(events.set_offset[-1], np.int64)  # of each set and name: up to which place in order it counts
    left = np.empty(len(windows), np.int64)  # of each window: the first moment for which the latest event is too old
    at = np.empty(0, np.int64)
    leaving = np.zeros((0, cells), np.int32)  # by how much each count falls at each of the lead's moments
    first = end_place = 0

    while first < len(order):
        while end_place < len(order) and lead[order[end_place]] == lead[order[first]]:
            end_place += 1
        moments = end_place - first
        if moments >= len(at):
            at = np.empty(2 * moments, np.int64)
            leaving = np.zeros((2 * moments, cells), np.int32)
        for i in range(moments):
            at[i] = as_of[order[first + i]]
        at[moments] = np.iinfo(np.int64).max  # for which every event is too old
        begin, end = start[lead[order[first]]], start[lead[order[first]] + 1]
        arrived = begin
        count[:] = 0
        decayed[:] = 0.0
        first_row[:] = -1
        last_row[:] = -1
        left[:] = 0
        before = edge = np.iinfo(np.int64).min

        for i in range(moments):
            moment, now, leave = order[first + i], at[i], leaving[i]
            for cell in range(cells):
                count[cell] -= leave[cell]
                leave[cell] = 0
            while arrived < end:  # events enter when they become known
                row = arrived if in_order else arrivals[arrived]
                event = np.uint64(row)
                if known[event] >= now:
                    break
                g, then = np.uint64(group[event]), occurred[event]
                if not before <= then < edge:  # up to the next edge of a window, events leave together
                    edge = np.iinfo(np.int64).max
                    for w in range(len(windows)):
                        leaves, window = left[w], windows[w]
                        while at[leaves] - window <= then:
                            leaves += 1
                        while leaves > 0 and at[leaves - 1] - window > then:
                            leaves -= 1
                        left[w] = leaves
                        edge = min(edge, at[leaves] - window)
                before = then
                for c in range(change_start[g], change_start[g + np.uint64(1)]):
                    cell, leaves = changes[c], left[steps.change_window[c]]
                    if leaves <= i:  # and so it has left all shorter windows
                        break
                    if cell < sets:  # a name counts once, until the last event that bears it leaves
                        code = events.codes[steps.set_column[cell], event]
                        if code < 0:
                            continue
                        name = np.uint64(events.set_offset[cell] + code)
                        counted = until[name] - first
                        leaves = max(leaves, counted)
                        until[name] = first + leaves
                        again = np.int32(counted > i)  # no branch, for no processor could foretell which
                        count[cell] -= again
                        leaving[np.uint64(max(i, counted)), cell] -= again
                    count[cell] += 1
                    leaving[np.uint64(leaves), cell] += 1
                for s in range(steps.slot_start[g], steps.slot_start[g + np.uint64(1)]):
                    slot = steps.slots[s]
                    last = last_row[slot]
                    for h in range(steps.fade_start[slot], steps.fade_start[slot + 1]):
                        if last < 0:  # the sum is kept as of the latest event, not of any moment
                            decayed[h] = 1.0
                        elif then >= occurred[last]:
                            decayed[h] = decayed[h] * np.exp2((occurred[last] - then) / steps.half_lives[h]) + 1.0
                        else:
                            decayed[h] += np.exp2((then - occurred[last]) / steps.half_lives[h])
                    if row > last:
                        last_row[slot] = row
                    if first_row[slot] < 0 or row < first_row[slot]:
                        first_row[slot] = row
                arrived += 1

            for r in range(len(asked.runs)):
                written, kept = matrix[moment, asked.runs[r, 0] : asked.runs[r, 1]], count[asked.runs[r, 2] :]
                for c in range(len(written)):
                    written[c] = kept[c]
            for a in range(len(asked.moved)):
                what, m, slot, column = asked.moved[a, 0], asked.moved[a, 1], asked.moved[a, 2], asked.moved[a, 3]
                value = np.nan
                if what == COUNT:
                    value = count[m]
                elif last_row[slot] < 0:
                    value = 0.0 if what == DECAYED else np.nan
                elif what == DECAYED:
                    value = decayed[m] * np.exp2((occurred[last_row[slot]] - now) / steps.half_lives[m])
                elif what == RECENCY:
                    value = (now - occurred[last_row[slot]]) / DAY
                elif what == FIRST:
                    value = (now - occurred[first_row[slot]]) / DAY
                elif what == LATEST:
                    value = last_row[slot]
                else:
                    value = first_row[slot]
                if asked.moved[a, 4]:
                    matrix[moment, column] = value
                else:
                    apart[column, moment] = value
            for a in range(len(asked.sought)):
                matching, number = steps.matches[asked.sought[a, 1]], events.numbers[asked.sought[a, 2]]
                value = _sought(
                    asked.sought[a, 0], occurred, known, group, matching, number, begin, end, now, asked.sought[a, 5]
                )
                if asked.sought[a, 4]:
                    matrix[moment, asked.sought[a, 3]] = value
                else:
                    apart[asked.sought[a, 3], moment] = value
        leaving[moments] = 0
        first = end_place


@njit(cache=True, nogil=True)
def _sought(  # noqa: C901, PLR0912  # compiled
    what: int,
    occurred: Ints,
    known: Ints,
    group: Indices,
    matching: NDArray[np.bool_],
    number: Floats,
    begin: int,
    end: int,
    now: int,
    span: int,
) -> float:
    """Return what the matching events from ``begin`` to ``end`` say at a moment, from the earliest to the latest."""
    total, greatest, days, silence = 0.0, np.nan, 0, np.nan
    last, first_period, periods, day = -1, -1, 0, np.iinfo(np.int64).min
    for row in range(begin, end):
        then = occurred[row]
        if then >= now:
            break
        if known[row] >= now or not matching[group[row]] or (what != STREAK and then < now - span):
            continue
        if what <= GREATEST:
            value = number[row]
            if not np.isnan(value):
                total += value
                greatest = value if np.isnan(greatest) else max(greatest, value)
        elif what == ACTIVE_DAYS:
            days += then // DAY != day
            day = then // DAY
        elif what == STREAK:  # periods of the span's length, counted back from the moment
            period = (now - then - 1) // span
            if period != first_period:
                periods = periods + 1 if first_period == period + 1 else 1
                first_period = period
        elif last >= 0:
            silence = (then - last) / DAY if np.isnan(silence) else max(silence, (then - last) / DAY)
        last = then
    if what == TOTAL:
        return total
    if what == GREATEST:
        return greatest
    if what == ACTIVE_DAYS:
        return days
    if what == STREAK:
        return periods if first_period == 0 else 0.0
    return silence
