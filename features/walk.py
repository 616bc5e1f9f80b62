"""The walk: the compiled loop of the sweep, over the events of one lead after the other.

At each moment of a lead, events enter that became known since the last one, and events leave the windows that they
have grown too old for; then what was asked is written down. Counts are moved, never counted again. What cannot be
moved without a trace of its way (a sum would keep the rounding of all it held before) is looked up in the window.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from features.events import DAY
from features.merges import Ints

Codes = NDArray[np.int32]
Floats = NDArray[np.float64]
Matrix = NDArray[Any]  # float32, which what reads it may compute with in float64

COUNT, DISTINCT, DECAYED, RECENCY, FIRST, LATEST, EARLIEST, TOTAL, GREATEST, ACTIVE_DAYS, STREAK, SILENCE = range(12)


class Walked(NamedTuple):
    """Events as the walk reads them; ``group`` stands for all the wheres that an event matches."""

    start: Ints  # of each lead's rows
    occurred: Ints
    known: Ints
    arrivals: Ints  # rows in the order in which they became known; empty if that is the order of the rows
    group: Codes
    codes: Codes  # (columns of distinct names, events)
    numbers: Floats  # (properties, events), NaN where there is none
    set_offset: Ints  # of each set, in the tally of names; and the end of the tally


class Steps(NamedTuple):
    """What an event of a group changes when it enters or leaves; lists of lists are in compressed rows."""

    windows: Ints  # microseconds
    change_start: Codes  # at [window × groups + group]: the counts that change,
    changes: Codes  # and the sets whose names do, as ~set
    set_column: Codes  # of each set, in codes
    set_window: Codes
    slot_start: Codes  # at [group]: the slots, each a where, that it is the latest event of
    slots: Codes
    fade_start: Codes  # at [slot]: its decayed sums
    half_lives: Floats  # of each decayed sum, microseconds
    matches: NDArray[np.bool_]  # (groups, wheres), of what is looked up


class Asked(NamedTuple):
    """What is written down at each moment, and where."""

    runs: Codes  # (runs, 3): from this column to before that one, the matrix gets the counts from this cell on
    moved: Codes  # (asked, 5): what, place of its cell, set or sum, slot, column, whether that is one of the matrix
    sought: Ints  # (asked, 6): what, where, number, column, whether that is one of the matrix, window in microseconds
    cells: int


@njit(cache=True, nogil=True)
def walk(  # noqa: C901, PLR0912, PLR0915  # one loop nest, compiled as a whole
    events: Walked, steps: Steps, asked: Asked, order: Ints, lead: Ints, as_of: Ints, matrix: Matrix, apart: Floats
) -> None:
    """Write what is asked at the moments, taken in ``order`` (by lead and time), to ``matrix`` or to ``apart``."""
    start, occurred, known, arrivals, group = events.start, events.occurred, events.known, events.arrivals, events.group
    windows, groups = steps.windows, len(steps.slot_start) - 1
    change_start, changes = steps.change_start, steps.changes
    in_order = len(arrivals) == 0
    count = np.zeros(asked.cells, np.int32)
    different = np.zeros(len(steps.set_column), np.int32)
    tally = np.zeros(events.set_offset[-1], np.int32)  # of each set and name: events in the window
    decayed = np.zeros(len(steps.half_lives))
    first_row = np.full(len(steps.fade_start) - 1, -1)
    last_row = np.full(len(steps.fade_start) - 1, -1)
    edge = np.zeros(len(windows), np.int64)
    far = np.zeros(len(windows), np.int64)
    begin, arrived, end, previous = 0, 0, 0, 0

    for place in range(len(order)):
        moment = order[place]
        now = as_of[moment]
        if place == 0 or lead[moment] != lead[order[place - 1]]:
            count[:] = 0
            different[:] = 0
            for s in range(len(steps.set_column)):  # what had not left yet
                for row in range(edge[steps.set_window[s]], end):
                    code = events.codes[steps.set_column[s], row]
                    if code >= 0:
                        tally[events.set_offset[s] + code] = 0
            decayed[:] = 0.0
            first_row[:] = -1
            last_row[:] = -1
            begin, end = start[lead[moment]], start[lead[moment] + 1]
            arrived = begin
            edge[:] = begin
            previous = np.iinfo(np.int64).min

        for w in range(len(windows)):  # events leave by age, if they had entered
            far[w] = now - windows[w]
            row = edge[w]
            while row < end and occurred[row] < far[w]:
                if known[row] < previous:
                    k = w * groups + group[row]
                    for i in range(change_start[k], change_start[k + 1]):
                        cell = changes[i]
                        if cell >= 0:
                            count[cell] -= 1
                            continue
                        code = events.codes[steps.set_column[~cell], row]
                        if code >= 0:
                            name = events.set_offset[~cell] + code
                            tally[name] -= 1
                            different[~cell] -= tally[name] == 0
                row += 1
            edge[w] = row

        while arrived < end:  # events enter when they become known
            row = arrived if in_order else arrivals[arrived]
            if known[row] >= now:
                break
            g, then = group[row], occurred[row]
            for w in range(len(windows)):
                if then >= far[w]:
                    k = w * groups + g
                    for i in range(change_start[k], change_start[k + 1]):
                        cell = changes[i]
                        if cell >= 0:
                            count[cell] += 1
                            continue
                        code = events.codes[steps.set_column[~cell], row]
                        if code >= 0:
                            name = events.set_offset[~cell] + code
                            tally[name] += 1
                            different[~cell] += tally[name] == 1
            for i in range(steps.slot_start[g], steps.slot_start[g + 1]):
                slot = steps.slots[i]
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
        previous = now

        for r in range(len(asked.runs)):
            written, kept = matrix[moment, asked.runs[r, 0] : asked.runs[r, 1]], count[asked.runs[r, 2] :]
            for i in range(len(written)):
                written[i] = kept[i]
        for a in range(len(asked.moved)):
            what, i, slot, column = asked.moved[a, 0], asked.moved[a, 1], asked.moved[a, 2], asked.moved[a, 3]
            value = np.nan
            if what == COUNT:
                value = count[i]
            elif what == DISTINCT:
                value = different[i]
            elif last_row[slot] < 0:
                value = 0.0 if what == DECAYED else np.nan
            elif what == DECAYED:
                value = decayed[i] * np.exp2((occurred[last_row[slot]] - now) / steps.half_lives[i])
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
                apart[moment, column] = value
        for a in range(len(asked.sought)):
            matching, number = steps.matches[asked.sought[a, 1]], events.numbers[asked.sought[a, 2]]
            value = _sought(
                asked.sought[a, 0], occurred, known, group, matching, number, begin, end, now, asked.sought[a, 5]
            )
            if asked.sought[a, 4]:
                matrix[moment, asked.sought[a, 3]] = value
            else:
                apart[moment, asked.sought[a, 3]] = value


@njit(cache=True, nogil=True)
def _sought(  # noqa: C901, PLR0912  # compiled
    what: int,
    occurred: Ints,
    known: Ints,
    group: Codes,
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
