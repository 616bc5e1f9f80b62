"""Passes: loops over all rows, held against what numpy says."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.passes import are_in_order, never_falls, starts, take

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8)
compiling = settings(deadline=None)  # the first call compiles


def test_a_row_without_a_code_takes_the_last() -> None:
    taken = np.empty(3, np.int64)
    take(np.array([10, 20, 30]), np.array([1, -1, 0], np.int32), taken)
    assert taken.tolist() == [20, 30, 10]


@compiling
@given(ROWS, st.sampled_from([0, 1]))
def test_rows_are_in_order_when_leads_rise_and_so_do_the_times_of_each(rows: list[tuple[int, int]], apart: int) -> None:
    leads, times = np.array(rows, np.int64).reshape(-1, 2).T.copy()
    expected = rows == sorted(rows) and (not apart or len(set(rows)) == len(rows))
    assert are_in_order(leads, times, apart) == expected


@compiling
@given(ROWS)
def test_times_never_fall_when_those_of_each_lead_are_sorted(rows: list[tuple[int, int]]) -> None:
    by_lead = [[time for lead, time in rows if lead == one] for one in range(5)]
    start = np.cumsum([0, *map(len, by_lead)])
    expected = all(times == sorted(times) for times in by_lead)
    assert never_falls(start, np.array([time for times in by_lead for time in times], np.int64)) == expected


@compiling
@given(ROWS)
def test_the_rows_of_a_lead_begin_where_those_of_the_leads_before_it_end(rows: list[tuple[int, int]]) -> None:
    leads = np.array(sorted(lead for lead, _ in rows), np.int64)
    assert starts(leads, 5).tolist() == np.searchsorted(leads, np.arange(6)).tolist()
