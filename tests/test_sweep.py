"""The sweep: every measure at every moment, from what was known then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import history, micros, touch, version

from features import plan
from features.history import DAY, Events, microseconds
from features.plan import Measure, Wanted, Where
from features.sweep import sweep, sweep_into

LEADS = ("ada", "bob", "cy")
KINDS = ("visit", "click")
CHANNELS = ("Email", "Search", "Direct")
EMAIL: Where = (("channel", "Email"),)
EMAIL_VISIT: Where = (("kind", "visit"), ("channel", "Email"))
EITHER: Where = (("channel", ("Search", "Direct", "Fax")),)
NOBODY_DID: Where = (("kind", "demo"),)


@dataclass(frozen=True)
class Touched:
    """A touch, in hours, so that it often lies on the edge of a window of days."""

    lead: str
    occurred: int
    received: int
    kind: str
    channel: str
    value: float | str | None = None


def row_of(t: Touched) -> dict[str, Any]:
    properties = None if t.value is None else {"value": t.value}
    return touch(t.lead, t.occurred / 24, t.kind, t.channel, t.received / 24, properties=properties)


def events_of(touches: Sequence[Touched]) -> Events:
    rows = map(row_of, touches)
    seen = history([version(lead, 0) for lead in LEADS], rows, more=["properties.value"]).touches
    names = {"value" if name == "properties.value" else name: codes for name, codes in seen.codes.items()}
    return replace(seen, codes=names, names=seen.names | {"value": seen.names["properties.value"]})


def measured(events: Events, measures: Sequence[Measure], *moments: tuple[str, float]) -> list[list[float]]:
    """Return each measure at moments given as (lead, day)."""
    lead = np.array([LEADS.index(name) for name, _ in moments])
    found = sweep(events, lead, np.array([micros(day) for _, day in moments]), measures)
    return [found[measure].tolist() for measure in measures]


# By hand: Ada was touched on days 1, 2 and 4, the first reported on day 6; Bob never.


ADA = events_of(
    [
        Touched("ada", 24, 6 * 24, "visit", "Email"),
        Touched("ada", 2 * 24, 2 * 24, "visit", "Search"),
        Touched("ada", 4 * 24, 4 * 24, "click", "Direct"),
    ]
)
NAN = pytest.approx(math.nan, nan_ok=True)


def test_a_lead_without_events_counts_none_and_has_no_last_or_first() -> None:
    asked = [Measure(what) for what in ("count", "recency", "first", "latest")]
    asked += [Measure("distinct", column="kind"), Measure("decayed", days=7)]
    assert measured(ADA, asked, ("bob", 9)) == [[0], [NAN], [NAN], [NAN], [0], [0]]


def test_an_event_counts_from_after_the_moment_it_was_known() -> None:
    days = [("ada", day) for day in (1.5, 2, 2.001, 4, 4.001, 6, 6.001)]
    assert measured(ADA, [Measure("count")], *days) == [[0, 0, 1, 1, 2, 2, 3]]


def test_an_event_reported_late_takes_its_place_when_it_is_known() -> None:
    asked = [Measure("recency"), Measure("first"), Measure("latest")]
    assert measured(ADA, asked, ("ada", 5), ("ada", 7)) == [[1, 3], [3, 6], [2, 2]]
    assert measured(ADA, [Measure(what, EMAIL) for what in ("recency", "latest")], ("ada", 5), ("ada", 7)) == [
        [NAN, 6],
        [NAN, 0],
    ]


def test_a_window_holds_its_far_edge_and_nothing_older() -> None:
    late = micros(7) - 3 * DAY
    assert late == micros(4)
    moments = [("ada", 7 + shift / DAY) for shift in (-1, 0, 1)]
    assert measured(ADA, [Measure("count", days=3)], *moments) == [[1, 1, 0]]


def test_an_event_reported_after_its_window_has_passed_never_counts_in_it() -> None:
    assert measured(ADA, [Measure("count", EMAIL, 5), Measure("count", EMAIL, 5.5)], ("ada", 6), ("ada", 6.25)) == [
        [0, 0],
        [0, 1],
    ]


def test_a_decayed_sum_halves_with_each_half_life() -> None:
    decayed = Measure("decayed", days=2)
    assert measured(ADA, [decayed], ("ada", 4), ("ada", 6), ("ada", 8)) == [
        [
            pytest.approx(2**-1),
            pytest.approx(2**-2 + 2**-1),
            pytest.approx(2**-3.5 + 2**-3 + 2**-2),
        ]
    ]


def test_a_decayed_sum_without_half_life_is_a_count() -> None:
    assert measured(ADA, [Measure("decayed")], ("ada", 5), ("ada", 9)) == [[2, 3]]


def test_a_decayed_sum_of_decades_neither_overflows_nor_is_lost() -> None:
    old = events_of([Touched("ada", 0, 0, "visit", "Email"), Touched("ada", 24 * 20_000, 0, "visit", "Email")])
    assert measured(old, [Measure("decayed", days=1)], ("ada", 20_001)) == [[0.5]]


def test_distinct_names_are_counted_once_as_long_as_one_of_their_events_is_in_the_window() -> None:
    twice = [Touched("ada", 24 * day, 0, kind, "Email") for day, kind in ((1, "visit"), (3, "visit"), (3, "click"))]
    asked = [Measure("distinct", days=days, column="kind") for days in (1, 3)]
    moments = [("ada", day) for day in (1.5, 3.5, 4.5, 6.5)]
    assert measured(events_of(twice), asked, *moments) == [[1, 2, 0, 0], [1, 2, 2, 0]]


def test_a_name_leaves_with_its_latest_event_though_an_earlier_one_became_known_after_it() -> None:
    late = events_of([Touched("ada", 24 * day, 24 * known, "visit", "Email") for day, known in ((3, 3), (2, 4))])
    moments = [("ada", day) for day in (3.5, 4.5, 5.5, 6.5)]
    assert measured(late, [Measure("distinct", days=3, column="kind")], *moments) == [[1, 1, 1, 0]]


def test_where_names_must_all_match() -> None:
    asked = [Measure("count", where) for where in ((), EMAIL, (("kind", "visit"),), EMAIL_VISIT, NOBODY_DID)]
    assert measured(ADA, asked, ("ada", 9)) == [[3], [1], [2], [1], [0]]


def test_distinct_names_are_those_of_the_events_that_match() -> None:
    visits = Measure("distinct", (("kind", "visit"),), column="channel")
    nothing = Measure("distinct", NOBODY_DID, column="channel")
    assert measured(ADA, [visits, nothing], ("ada", 3), ("ada", 9)) == [[1, 2], [0, 0]]


def test_events_at_one_time_all_count_and_the_last_row_is_the_latest() -> None:
    tied = events_of([Touched("ada", 24, 24, kind, "Email") for kind in KINDS])
    asked = [Measure("count"), Measure("latest"), Measure("recency"), Measure("decayed", days=1)]
    assert measured(tied, asked, ("ada", 2)) == [[2], [1], [1], [1]]


def test_nothing_asked_is_nothing_answered() -> None:
    nothing = np.array([], np.int64)
    assert sweep(ADA, np.array([0]), np.array([micros(1)]), []) == {}
    assert sweep(ADA, nothing, nothing, [Measure("count")])[Measure("count")].tolist() == []


# Against two oracles


ASKED = [
    Measure(what, where, days, column)
    for where in ((), EMAIL, (("kind", "click"),), EMAIL_VISIT, EITHER, NOBODY_DID)
    for what, days, column in [
        ("count", 0.5, ""),
        ("count", 1, ""),
        ("count", 3, ""),
        ("count", math.inf, ""),
        ("distinct", 1, "channel"),
        ("distinct", math.inf, "kind"),
        ("decayed", 0.25, ""),
        ("decayed", 7, ""),
        ("recency", math.inf, ""),
        ("first", math.inf, ""),
        ("latest", math.inf, ""),
        ("earliest", math.inf, ""),
        ("active_days", 3, ""),
        ("active_days", math.inf, ""),
        ("streak", 1, ""),
        ("streak", 2.5, ""),
        ("silence", 4, ""),
        ("silence", math.inf, ""),
        ("total", 3, "value"),
        ("greatest", 3, "value"),
        ("greatest", math.inf, "value"),
    ]
]


def by_definition(measure: Measure, touches: Sequence[Touched], lead: str, hour: int) -> float:
    """Return a measure as its sentence says, one event after the other."""
    ordered = sorted(touches, key=lambda t: (t.lead, t.occurred, repr(row_of(t))))
    mine = [
        (row, t)
        for row, t in enumerate(ordered)
        if t.lead == lead
        and max(t.occurred, t.received) < hour
        and all(getattr(t, c) in ((n,) if isinstance(n, str) else n) for c, n in measure.where)
    ]
    ages = [(hour - t.occurred) / 24 for _, t in mine]
    inside = [t for _, t in mine if t.occurred >= hour - measure.days * 24]
    values = [t.value for t in inside if isinstance(t.value, float | int)]
    gaps = [(two.occurred - one.occurred) / 24 for one, two in pairwise(sorted(inside, key=lambda t: t.occurred))]
    periods = {math.ceil(age / measure.days) for age in ages} if measure.days < math.inf else set()
    return {
        "count": lambda: len(inside),
        "distinct": lambda: len({getattr(t, measure.column) for t in inside}),
        "decayed": lambda: math.fsum(2 ** (-age / measure.days) for age in ages),
        "recency": lambda: min(ages, default=math.nan),
        "first": lambda: max(ages, default=math.nan),
        "latest": lambda: max((row for row, _ in mine), default=math.nan),
        "earliest": lambda: min((row for row, _ in mine), default=math.nan),
        "active_days": lambda: len({t.occurred // 24 for t in inside}),
        "streak": lambda: next(i for i in count(0) if i + 1 not in periods),
        "silence": lambda: max(gaps, default=math.nan),
        "total": lambda: sum(values),
        "greatest": lambda: max(values, default=math.nan),
    }[measure.what]()


hours = st.integers(0, 6 * 12).map(lambda half_days: half_days * 2)
numbers = st.sampled_from([None, 1.5, -2, 7, "many"])
touched = st.builds(
    Touched, st.sampled_from(LEADS), hours, hours, st.sampled_from(KINDS), st.sampled_from(CHANNELS), numbers
)


@settings(max_examples=50, deadline=None)
@given(st.lists(touched, max_size=12), st.lists(st.tuples(st.sampled_from(LEADS), hours), min_size=1, max_size=8))
def test_every_measure_is_what_its_definition_says(touches: list[Touched], moments: list[tuple[str, int]]) -> None:
    lead = np.array([LEADS.index(name) for name, _ in moments])
    found = sweep(events_of(touches), lead, np.array([micros(hour / 24) for _, hour in moments]), ASKED)
    for measure in ASKED:
        expected = [by_definition(measure, touches, name, hour) for name, hour in moments]
        tolerance = 1e-9 if measure.what == "decayed" else 0
        np.testing.assert_allclose(found[measure], expected, rtol=tolerance, err_msg=str(measure))


@settings(max_examples=25, deadline=None)
@given(st.lists(touched, max_size=12), st.lists(st.tuples(st.sampled_from(LEADS), hours), min_size=1, max_size=8))
def test_what_goes_to_a_matrix_is_what_stands_apart_whether_names_are_few_or_many(
    touches: list[Touched], moments: list[tuple[str, int]]
) -> None:
    lead = np.array([LEADS.index(name) for name, _ in moments])
    asked, events = (lead, np.array([micros(hour / 24) for _, hour in moments])), events_of(touches)
    told = [m for m in ASKED if m.what not in {"latest", "earliest"}]  # rows of events are not for a matrix
    apart, columns = sweep(events, *asked, told), tuple((i + 1, m) for i, m in enumerate(told))
    for few in (plan.FEW, 1):
        matrix = np.full((len(lead), len(told) + 2), 4, np.float32)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plan, "FEW", few)
            assert sweep_into(matrix, events, *asked, Wanted(columns)).shape == (len(matrix), 0)
        expected = np.stack([apart[m] for m in told], axis=1).astype(np.float32)
        assert np.array_equal(matrix[:, 1:-1], expected, equal_nan=True)
        assert (matrix[:, [0, -1]] == 4).all()


JOINED = """
    SELECT count(*) FILTER (occurred >= as_of - 3 * 86400000000) AS count,
           count(DISTINCT channel) FILTER (occurred >= as_of - 3 * 86400000000) AS distinct,
           coalesce(sum(pow(2, -(as_of - occurred) / 86400000000 / 7)), 0) AS decayed,
           (as_of - max(occurred)) / 86400000000 AS recency,
           (as_of - min(occurred)) / 86400000000 AS first
    FROM moments LEFT JOIN touches ON moments.lead = touches.lead AND greatest(occurred, received) < as_of
                                  AND kind = 'visit'
    GROUP BY row, as_of ORDER BY row
"""


def test_a_large_world_is_measured_as_a_join_in_sql_measures_it() -> None:
    random = np.random.default_rng(7)
    leads = [f"l{i:03}" for i in range(200)]
    size = 6_000
    occurred = random.integers(0, 60 * 24, size) / 24
    late = random.choice([0, 0, 0.5, 3, 20], size)
    rows = [
        touch(leads[lead], day, KINDS[kind], CHANNELS[channel], day + delay)
        for lead, day, kind, channel, delay in zip(
            random.integers(0, 200, size),
            occurred.tolist(),
            random.integers(0, 2, size),
            random.integers(0, 3, size),
            late.tolist(),
            strict=True,
        )
    ]
    seen = history([version(lead, 0) for lead in leads], rows)
    lead = random.permutation(np.repeat(np.arange(200), 12))
    as_of = np.array([micros(day) for day in (random.integers(0, 70 * 24, len(lead)) / 24).tolist()])
    visit: Where = (("kind", "visit"),)
    asked = {
        "count": Measure("count", visit, 3),
        "distinct": Measure("distinct", visit, 3, "channel"),
        "decayed": Measure("decayed", visit, 7),
        "recency": Measure("recency", visit),
        "first": Measure("first", visit),
    }
    found = sweep(seen.touches, lead, as_of, list(asked.values()))
    tables = {
        "touches": pd.DataFrame(
            {
                "lead": [leads.index(row["lead_id"]) for row in rows],
                "occurred": [microseconds(row["occurred_at"]) for row in rows],
                "received": [microseconds(row["received_at"]) for row in rows],
                "kind": [row["kind"] for row in rows],
                "channel": [row["channel"] for row in rows],
            }
        ),
        "moments": pd.DataFrame({"row": np.arange(len(lead)), "lead": lead, "as_of": as_of}),
    }
    with duckdb.connect() as connection:
        for name, frame in tables.items():
            connection.register(name, frame)
        joined = connection.sql(JOINED).df()
    for name, measure in asked.items():
        np.testing.assert_allclose(found[measure], joined[name], rtol=1e-9 if name == "decayed" else 0, err_msg=name)
