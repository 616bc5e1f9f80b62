"""Passes: loops over all rows, held against what numpy says."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.passes import are_in_order, starts, take

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8)


def test_a_row_without_a_code_takes_the_last() -> None:
    taken = np.empty(3, np.int64)
    take(np.array([10, 20, 30]), np.array([1, -1, 0], np.int32), taken)
    assert taken.tolist() == [20, 30, 10]


@given(ROWS, st.sampled_from([0, 1]))
def test_rows_are_in_order_when_leads_rise_and_so_do_the_times_of_each(rows: list[tuple[int, int]], apart: int) -> None:
    leads, times = np.array(rows, np.int64).reshape(-1, 2).T.copy()
    expected = rows == sorted(rows) and (not apart or len(set(rows)) == len(rows))
    assert are_in_order(leads, times, apart) == expected


@given(ROWS)
def test_the_rows_of_a_lead_begin_where_those_of_the_leads_before_it_end(rows: list[tuple[int, int]]) -> None:
    leads = np.array(sorted(lead for lead, _ in rows), np.int64)
    assert starts(leads, 5).tolist() == np.searchsorted(leads, np.arange(6)).tolist()
