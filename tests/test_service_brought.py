"""A lead that a request brings is the same history, whichever way it is read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.events import Events
from features.history import history_of
from serving.brought import history_brought
from serving.messages import Lead, ScoreRequest, tables

START = datetime(2026, 1, 1, tzinfo=UTC)
moments = st.integers(0, 40).map(lambda days: (START + timedelta(days=days, microseconds=days)).isoformat())
names = st.sampled_from(["a", "b", "Ä", "zz"])
touch = st.fixed_dictionaries(
    {"occurred_at": moments, "kind": names, "channel": names, "event_id": names},
    optional={"received_at": moments, "campaign": names, "properties": st.just({"x": 1})},
)
verdict = st.fixed_dictionaries(
    {"at": moments, "verdict": st.sampled_from(["accepted", "rejected"])}, optional={"reason": names, "by": names}
)
stage = st.fixed_dictionaries({"occurred_at": moments, "stage": names}, optional={"received_at": moments})
values = st.one_of(
    st.none(),
    st.just(""),
    st.text('aÄ" ', max_size=3),
    st.booleans(),
    st.integers(-9, 9),
    st.floats(-1, 1),
    st.just([1]),
)
lead = st.fixed_dictionaries(
    {"lead_id": st.just("ada"), "created_at": moments},
    optional={
        "touches": st.lists(touch, max_size=6), "stages": st.lists(stage, max_size=4),
        "feedback": st.lists(verdict, max_size=3),
        "attributes": st.dictionaries(st.sampled_from(["x", "y", "objects_to_profiling"]), values),
    },
)  # fmt: skip


def told(events: Events) -> dict[str, Any]:
    """Return events with their names in place of codes."""
    columns = {
        name: [None if code < 0 else events.names[name][code] for code in codes.tolist()]
        for name, codes in events.codes.items()
    }
    return {
        "start": events.start.tolist(),
        "occurred": events.occurred.tolist(),
        "known": events.known.tolist(),
        **columns,
    }


@settings(deadline=None)
@given(lead)
def test_a_lead_read_alone_is_the_lead_read_through_tables(posted: dict[str, Any]) -> None:
    (read,) = ScoreRequest.model_validate_json(json.dumps({"leads": [posted]})).leads
    quick, slow = history_brought(read), history_of(*tables([read]))
    assert quick.lead_ids == slow.lead_ids
    for name in ("since", "until", "created"):
        np.testing.assert_array_equal(getattr(quick, name), getattr(slow, name))
    for name in ("versions", "touches", "stages", "feedback"):
        one, other = told(getattr(quick, name)), told(getattr(slow, name))
        assert one == other


def test_a_lead_without_anything_is_a_history_too() -> None:
    history = history_brought(Lead(lead_id="ada", created_at=START))
    assert (history.lead_ids, len(history.touches.occurred), history.versions.codes) == (("ada",), 0, {})
