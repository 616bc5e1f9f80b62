"""Journeys: which touches led to which conversion."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution.journeys import NONE, Journeys, journeys
from attribution.rules import shares, time_decay


def day(number: float) -> pd.Timestamp:
    return pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(days=number)


def touch_table(*rows: tuple[str | None, str, float, str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["lead_id", "event_id", "occurred_at", "channel"])
    return table.assign(occurred_at=[day(row[2]) for row in rows]).astype(
        {"lead_id": "str", "event_id": "str", "occurred_at": "datetime64[us, UTC]", "channel": "str"}
    )


def conversion_table(*rows: tuple[str, float, int]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["lead_id", "occurred_at", "value_cents"])
    return table.assign(occurred_at=[day(row[1]) for row in rows]).astype(
        {"lead_id": "str", "occurred_at": "datetime64[us, UTC]", "value_cents": "int64"}
    )


def told(seen: Journeys) -> list[tuple[object, ...]]:
    """Each journey as (lead, conversions, nulls, cents, touches), a touch as (event, channel, age in days)."""
    assert seen.lead_id is not None
    assert seen.event_id is not None
    names = [seen.channels[code] for code in seen.channel]
    touches = list(zip(seen.event_id, names, seen.age_days.tolist(), strict=True))
    ends = zip(seen.lead_id, seen.conversions, seen.nulls, seen.value_cents, strict=True)
    return [(*end, [touches[i] for i in np.flatnonzero(seen.journey == j)]) for j, end in enumerate(ends)]


def events(seen: Journeys) -> list[list[str]]:
    """Events of each journey."""
    return [[touch[0] for touch in journey[-1]] for journey in told(seen)]  # type: ignore[attr-defined]


# Ada was touched three times and bought; Bob never and bought; Cleo was touched twice and did not buy.
TOUCHES = touch_table(
    ("ada", "e3", 9, "Direct"),
    ("ada", "e1", 0, "Email"),
    ("cleo", "e4", 1, "Email"),
    ("ada", "e2", 4, "Webinar"),
    ("cleo", "e5", 2.5, "Display"),
)
CONVERSIONS = conversion_table(("bob", 5, 20_000), ("ada", 10, 50_000))
ADA = ("ada", 1, 0, 50_000, [("e1", "Email", 9), ("e2", "Webinar", 5), ("e3", "Direct", 0)])
BOB = ("bob", 1, 0, 20_000, [])
CLEO = ("cleo", 0, 1, 0, [("e4", "Email", 1.5), ("e5", "Display", 0)])


def test_a_journey_is_a_leads_touches_in_order_and_how_they_ended() -> None:
    assert told(journeys(TOUCHES, CONVERSIONS, day(30), None)) == [ADA, BOB, CLEO]


def test_channels_are_sorted_by_name() -> None:
    assert journeys(TOUCHES, CONVERSIONS, day(30), None).channels == ("Direct", "Display", "Email", "Webinar")


def test_a_touch_at_the_moment_of_conversion_counts_and_one_after_it_does_not() -> None:
    touches = touch_table(("ada", "at", 10, "Email"), ("ada", "after", 10.001, "Email"))
    assert events(journeys(touches, conversion_table(("ada", 10, 1)), day(30), None)) == [["at"]]


def test_a_touch_counts_for_the_next_conversion_only() -> None:
    touches = touch_table(("ada", "e1", 0, "Email"), ("ada", "e2", 12, "Email"), ("ada", "e3", 25, "Email"))
    twice = conversion_table(("ada", 20, 7), ("ada", 10, 5))
    assert told(journeys(touches, twice, day(30), None)) == [
        ("ada", 1, 0, 5, [("e1", "Email", 0)]),
        ("ada", 1, 0, 7, [("e2", "Email", 0)]),
    ]


def test_conversions_of_a_lead_at_one_moment_end_one_journey() -> None:
    twice = conversion_table(("ada", 10, 700), ("ada", 10, -200))
    assert told(journeys(TOUCHES, twice, day(10), None))[0] == ("ada", 2, 0, 500, ADA[-1])


def test_lookback_counts_from_the_conversion_and_its_edge_counts() -> None:
    edge = touch_table(("ada", "older", 2.999, "Email"), ("ada", "edge", 3, "Email"), ("ada", "e3", 9, "Email"))
    assert events(journeys(edge, conversion_table(("ada", 10, 1)), day(30), 7)) == [["edge", "e3"]]


def test_lookback_counts_from_as_of_for_a_lead_that_never_converted() -> None:
    assert told(journeys(TOUCHES, CONVERSIONS, day(30), 28))[2] == ("cleo", 0, 1, 0, [("e5", "Display", 0)])


def test_without_lookback_the_oldest_touch_counts() -> None:
    old = touch_table(("ada", "old", -4_000, "Event"), ("ada", "e3", 9, "Direct"))
    assert events(journeys(old, CONVERSIONS, day(30), None))[0] == ["old", "e3"]


def test_touches_at_one_moment_are_ordered_by_event_id() -> None:
    tied = touch_table(("ada", "b", 1, "Email"), ("ada", "c", 1, "Direct"), ("ada", "a", 1, "Webinar"))
    assert events(journeys(tied, CONVERSIONS, day(30), None))[0] == ["a", "b", "c"]


def test_a_touch_of_nobody_known_is_in_no_journey() -> None:
    touches = pd.concat([TOUCHES, touch_table((None, "e9", 3, "Email"))])
    assert told(journeys(touches, CONVERSIONS, day(30), None)) == [ADA, BOB, CLEO]


def test_history_without_touches_leaves_conversions_without_touches() -> None:
    assert told(journeys(TOUCHES[:0], CONVERSIONS, day(30), None)) == [("ada", 1, 0, 50_000, []), BOB]


def test_history_without_conversions_has_journeys_without_conversion() -> None:
    assert told(journeys(TOUCHES, CONVERSIONS[:0], day(30), None)) == [("ada", 0, 1, 0, ADA[-1]), CLEO]


def test_text_may_come_in_either_of_its_types() -> None:
    touches, conversions = TOUCHES.astype({"lead_id": object}), CONVERSIONS.astype({"lead_id": object})
    assert told(journeys(touches, CONVERSIONS, day(30), None)) == [ADA, BOB, CLEO]
    assert told(journeys(TOUCHES, conversions, day(30), None)) == [ADA, BOB, CLEO]


def test_a_lead_that_converts_after_as_of_has_not_converted_yet() -> None:
    assert told(journeys(TOUCHES, CONVERSIONS, day(9), None)) == [("ada", 0, 1, 0, ADA[-1]), BOB, CLEO]


@settings(deadline=None)
@given(
    later=st.lists(st.tuples(st.sampled_from(["ada", "bob", "dora"]), st.floats(30.001, 90)), max_size=4),
    sold=st.lists(st.tuples(st.sampled_from(["ada", "cleo", "dora"]), st.floats(30.001, 90)), max_size=3),
)
def test_the_future_changes_nothing(later: list[tuple[str, float]], sold: list[tuple[str, float]]) -> None:
    touches = touch_table(*((lead, f"f{i}", at, "Future") for i, (lead, at) in enumerate(later)))
    conversions = conversion_table(*((lead, at, 1) for lead, at in sold))
    seen = journeys(pd.concat([TOUCHES, touches]), pd.concat([CONVERSIONS, conversions]), day(30), None)
    assert told(seen) == [ADA, BOB, CLEO]
    assert seen.channels == ("Direct", "Display", "Email", "Webinar")


@settings(deadline=None)
@given(st.permutations(range(len(TOUCHES))), st.permutations(range(len(CONVERSIONS))))
def test_the_order_of_rows_changes_nothing(touch_order: list[int], conversion_order: list[int]) -> None:
    touches, conversions = TOUCHES.iloc[touch_order], CONVERSIONS.iloc[conversion_order]
    assert told(journeys(touches, conversions, day(30), None)) == [ADA, BOB, CLEO]


def test_the_callers_tables_are_never_changed() -> None:
    touches, conversions = TOUCHES.copy(), CONVERSIONS.copy()
    journeys(touches, conversions, day(30), 7)
    pd.testing.assert_frame_equal(touches, TOUCHES)
    pd.testing.assert_frame_equal(conversions, CONVERSIONS)


def test_journeys_say_which_of_them_hold_a_touch() -> None:
    assert journeys(TOUCHES, CONVERSIONS, day(30), None).touched.tolist() == [True, False, True]


def test_milestones_are_the_latest_touches_at_or_before_the_first_change_to_a_stage() -> None:
    changes = [("ada", "lead", 4), ("ada", "mql", 3.9), ("ada", "mql", 9.5), ("ada", "sql", -1), ("cleo", "lead", 2)]
    stages = pd.DataFrame(changes, columns=["lead_id", "stage", "day"])
    stages = stages.assign(occurred_at=pd.to_datetime([day(at) for at in stages["day"]]).as_unit("us"))
    seen = journeys(TOUCHES, CONVERSIONS, day(30), None, stages)
    assert seen.stages == ("first", "won", "lead", "mql", "sql")
    assert seen.milestone is not None
    assert seen.milestone.tolist() == [[0, 2, 1, 0, NONE], [NONE] * 5, [0, 1, 0, NONE, NONE]]


def test_journeys_that_converted_decades_after_their_touches_still_decay_by_half_lives() -> None:
    touches = touch_table(("ada", "e1", 0, "Email"), ("ada", "e2", 7, "Webinar"))
    seen = journeys(touches, conversion_table(("ada", 20_000, 1)), day(30_000), None)
    np.testing.assert_allclose(shares(seen, time_decay()), [1 / 3, 2 / 3])
