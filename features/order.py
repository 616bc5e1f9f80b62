"""Order: a table's rows by lead, time and what follows, sorted only as far as they are not in order yet.

Files come in the order of time, or of leads, so a sort that knows nothing of them would do most of its work in vain:
leads first, by a stable sort that finds the runs, then only the leads whose rows are not in order after it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.coding import lead_codes
from features.passes import are_in_order

LEAD = "lead_id"
TIME = 1  # place of the time in the order of a table that has leads


def in_order(table: pa.Table, order: Sequence[str], leads: NDArray[np.int64] | None = None) -> pa.Table:
    """Return a table's rows in the order of those columns of ``order`` that it has, empty leads last.

    ``leads`` is a number for each row that is taken for its lead, if that is not to be its lead_id.
    """
    order = [column for column in order if column in table.column_names]
    leads, times = lead_codes(table[LEAD]) if leads is None else leads, _times(table, order)
    if are_in_order(leads, times, 0 if order[-1] == order[TIME] else 1):
        return table
    places = np.argsort(leads, kind="stable")  # finds runs and merges them
    leads, times = leads[places], times[places]
    behind = np.zeros(len(leads), np.bool_)
    behind[1:] = (leads[1:] == leads[:-1]) & (np.diff(times) < 0)
    tied = 1 + np.nonzero((leads[1:] == leads[:-1]) & (np.diff(times) == 0))[0]
    behind[tied] = _behind(table.select(order[TIME + 1 :]), places[tied - 1], places[tied])
    if behind.any():
        unsettled = np.nonzero(np.isin(leads, leads[behind]))[0]
        rows = table.select(order).take(places[unsettled])
        keys = {LEAD: pa.array(leads[unsettled])} | {name: _plain(rows[name]) for name in order[TIME:]}
        within = pc.sort_indices(pa.table(keys), [(column, "ascending") for column in order])
        places[unsettled] = places[unsettled][within.to_numpy()]
    return table if (np.diff(places) == 1).all() else table.take(places)


def is_ordered(table: pa.Table, order: Sequence[str]) -> bool:
    """Say whether rows are ordered by lead and time; what they are ordered by within one moment is not looked at."""
    return bool(are_in_order(lead_codes(table[LEAD]), _times(table, order), 0))


def _times(table: pa.Table, order: Sequence[str]) -> NDArray[np.int64]:
    times = table[order[TIME]].cast(pa.int64())
    return np.asarray(times.fill_null(0) if times.null_count else times, dtype=np.int64)


def _behind(keys: pa.Table, before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of pairs of rows whether the one after should be before, by their keys."""
    equal, behind = np.ones(len(before), np.bool_), np.zeros(len(before), np.bool_)
    for name in keys.column_names:
        one, two = (_plain(keys[name].take(rows)) for rows in (before, after))
        empty, later_empty = np.asarray(pc.is_null(one)), np.asarray(pc.is_null(two))
        behind |= equal & (np.asarray(pc.greater(one, two).fill_null(False)) | (empty & ~later_empty))
        equal &= np.asarray(pc.equal(one, two).fill_null(False)) | (empty & later_empty)
    return behind


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
