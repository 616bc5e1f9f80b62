"""History: a set of leads in columns, each event with when it occurred and from when it was known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import history, micros, moment, stage, table, touch, version

from features.history import Events, History, history_of, microseconds
from features.lake import Lake
from features.reading import read_history

# Ada was touched three times, once reported late; Bob never.
LEADS = [
    version("bob", 1, created=1),
    version("ada", 5, {"country": "FR", "seats": 40}),
    version("ada", 0, {"country": "DE"}),
]
TOUCHES = [
    touch("ada", 4, "click", "Direct"),
    touch("ada", 1, "visit", "Email", received=6),
    touch("ada", 2, "visit", "Search"),
    touch("zoe", 2),
    touch(None, 2),
]
STAGES = [stage("bob", 3, "won"), stage("bob", 1, "new"), stage("zoe", 1, "new")]


def told(events: Events, column: str) -> list[tuple[float, float, str | None]]:
    """Return each event as (day it occurred, day it was known, name in a column)."""
    names = (*events.names[column], None)
    days = zip((events.occurred - micros(0)) / 86.4e9, (events.known - micros(0)) / 86.4e9, strict=True)
    return [(*day, names[code]) for day, code in zip(days, events.codes[column], strict=True)]


def same(one: History, other: History) -> bool:
    """Say whether two histories hold the same, to the bit."""
    return (
        one.lead_ids == other.lead_ids
        and np.array_equal(one.created, other.created)
        and all(
            np.array_equal(mine, theirs)
            for a, b in ((one.versions, other.versions), (one.touches, other.touches), (one.stages, other.stages))
            for mine, theirs in ((a.start, b.start), (a.occurred, b.occurred), (a.known, b.known))
        )
        and all(
            told(a, column) == told(b, column)
            for a, b in ((one.versions, other.versions), (one.touches, other.touches), (one.stages, other.stages))
            for column in a.codes
        )
    )


def test_leads_are_sorted_and_own_their_events() -> None:
    seen = history(LEADS, TOUCHES, STAGES)
    assert seen.lead_ids == ("ada", "bob")
    assert seen.versions.start.tolist() == [0, 2, 3]
    assert seen.touches.start.tolist() == [0, 3, 3]
    assert seen.stages.start.tolist() == [0, 0, 2]
    assert seen.touches.leads().tolist() == [0, 0, 0]
    assert seen.versions.leads().tolist() == [0, 0, 1]


def test_events_are_in_order_of_time_and_known_from_the_later_of_occurred_and_received() -> None:
    seen = history(LEADS, TOUCHES, STAGES)
    assert told(seen.touches, "kind") == [(1, 6, "visit"), (2, 2, "visit"), (4, 4, "click")]
    assert told(seen.touches, "channel") == [(1, 6, "Email"), (2, 2, "Search"), (4, 4, "Direct")]
    assert told(seen.stages, "stage") == [(1, 1, "new"), (3, 3, "won")]


def test_an_event_received_before_it_occurred_is_known_when_it_occurs() -> None:
    assert told(history(LEADS, [touch("ada", 5, received=1)]).touches, "kind") == [(5, 5, "visit")]


def test_events_of_leads_that_are_not_here_are_left_out() -> None:
    seen = history([version("bob", 0)], TOUCHES, STAGES)
    assert (seen.lead_ids, len(seen.touches.occurred), told(seen.stages, "stage")) == (
        ("bob",),
        0,
        [(1, 1, "new"), (3, 3, "won")],
    )


def test_attributes_are_known_from_when_their_version_was_observed() -> None:
    versions = history(LEADS).versions
    assert told(versions, "country") == [(0, 0, "DE"), (5, 5, "FR"), (1, 1, None)]
    assert told(versions, "seats") == [(0, 0, None), (5, 5, "40"), (1, 1, None)]


def test_attributes_are_texts_as_json_writes_them_and_empty_ones_are_missing() -> None:
    odd = {"paid": True, "ratio": 0.5, "tags": ["a", 1], "owner": 'Zoë "Z"', "blank": "", "nothing": None}
    names = history([version("ada", 0, odd)]).versions.names
    assert names == {
        "paid": ("true",),
        "ratio": ("0.5",),
        "tags": ('["a", 1]',),
        "owner": ('Zoë "Z"',),
        "blank": (),
        "nothing": (),
    }


def test_a_lead_was_created_when_its_first_version_says() -> None:
    corrected = [version("ada", 9, created=-30), version("ada", 2, created=2), version("bob", 1, created=1)]
    assert history(corrected).created.tolist() == [micros(2), micros(1)]


def test_leads_are_found_by_their_ids() -> None:
    assert history(LEADS).positions(["bob", "nobody", "ada", "bob"], micros(9)).tolist() == [1, -1, 0, 1]


def test_events_of_some_leads_are_those_events_numbered_from_zero() -> None:
    seen = history([*LEADS, version("cy", 0)], [*TOUCHES, touch("cy", 7, "open")])
    part = seen.touches.of_leads(1, 3)
    assert (part.start.tolist(), told(part, "kind")) == ([0, 0, 1], [(7, 7, "open")])


def test_a_history_of_nothing_is_empty() -> None:
    seen = history([])
    assert (seen.lead_ids, seen.created.tolist(), seen.touches.start.tolist()) == ((), [], [0])


@settings(max_examples=30, deadline=None)
@given(st.permutations(LEADS), st.permutations(TOUCHES), st.permutations(STAGES))
def test_the_order_of_rows_changes_nothing(leads: list, touches: list, stages: list) -> None:
    assert same(history(leads, touches, stages), history(LEADS, TOUCHES, STAGES))


def test_the_callers_tables_are_never_changed() -> None:
    ours = [table("leads", LEADS), table("touches", TOUCHES), table("stages", STAGES)]
    history_of(*ours)
    theirs = [table("leads", LEADS), table("touches", TOUCHES), table("stages", STAGES)]
    assert all(mine.equals(other) for mine, other in zip(ours, theirs, strict=True))


def test_a_lakes_history_is_that_of_its_tables(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for name, rows in (("leads", LEADS), ("touches", TOUCHES), ("stages", STAGES)):
        for row in rows:
            lake.append(name, table(name, [row]))
    assert same(read_history(lake), history(LEADS, TOUCHES, STAGES))
    assert same(read_history(lake, ["ada", "nobody"]), history(LEADS[1:], TOUCHES, STAGES))
    assert read_history(lake, []).lead_ids == ()


def test_a_lake_without_tables_has_no_history(tmp_path: Path) -> None:
    assert read_history(Lake(tmp_path)).lead_ids == ()


def test_microseconds_are_exact_and_negative_before_1970() -> None:
    assert microseconds(moment(0)) == 1_767_225_600_000_000
    assert microseconds(moment(0).replace(year=1900, microsecond=1)) == -2_208_988_799_999_999
