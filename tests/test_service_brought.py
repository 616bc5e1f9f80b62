"""A lead that a request brings is the same history, whichever way it is read, and refused for the same reasons."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bentoml.exceptions import InvalidArgument
from hypothesis import given, settings
from hypothesis import strategies as st

from features.events import Events
from features.history import history_of
from features.lake import Lake
from features.matrix import feature_matrix
from features.verbs import Feature
from serving.brought import Alone, Brought, request_of
from serving.groups import sent, tables
from serving.messages import Lead, ScoreRequest
from serving.spec import Spec

START = datetime(2026, 1, 1, tzinfo=UTC)
TOUCH = {"occurred_at": START.isoformat(), "kind": "page_view", "channel": "Email"}
GOOD = {"lead_id": "ada", "created_at": START.isoformat(), "touches": [TOUCH]}
moments = st.integers(0, 40).map(lambda days: (START + timedelta(days=days, microseconds=days)).isoformat())
names = st.sampled_from(["a", "b", "Ä", "zz"])
said = st.one_of(st.none(), names, st.just(""))
touch = st.fixed_dictionaries(
    {"occurred_at": moments, "kind": names, "channel": names, "event_id": names},
    optional={"received_at": st.one_of(st.none(), moments), "campaign": said, "properties": st.just({"x": 1})},
)
verdict = st.fixed_dictionaries(
    {"at": moments, "verdict": st.sampled_from(["accepted", "rejected"])}, optional={"reason": said, "by": said}
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


def same_history(alone: Alone, read: Lead) -> None:
    """Hold the lead that was read alone to the one that was read through tables."""
    quick, slow = alone.history, history_of(*tables([read]))
    assert alone.lead_id == read.lead_id
    assert quick.lead_ids == slow.lead_ids
    for name in ("since", "until", "created"):
        np.testing.assert_array_equal(getattr(quick, name), getattr(slow, name))
    for name in ("versions", "touches", "stages", "feedback"):
        one, other = told(getattr(quick, name)), told(getattr(slow, name))
        assert one == other


@settings(deadline=None)
@given(lead, st.one_of(st.none(), moments))
def test_a_lead_read_alone_is_the_lead_read_through_tables(posted: dict[str, Any], as_of: str | None) -> None:
    body = json.dumps({"leads": [posted], "as_of": as_of}).encode()
    asked, read = request_of(body), ScoreRequest.model_validate_json(body)
    assert isinstance(asked, Brought)
    assert (asked.lead_ids, asked.goal, asked.as_of) == ((), "", read.as_of)
    same_history(asked.leads[0], read.leads[0])
    assert asked.leads[0].whole() == read.leads[0]


@pytest.mark.parametrize(
    "changed",
    [
        {"lead_ids": ["eve"]},
        {"goal": "renewal"},
        {"leads": [GOOD, GOOD | {"lead_id": "eve"}]},
        {"leads": [GOOD | {"account_id": "acme"}]},
        {"leads": [GOOD | {"created_at": 1_767_225_600}]},
        {"leads": [GOOD | {"touches": [TOUCH | {"occurred_at": "2026-01-01 00:00:00Z"}]}]},
        {"leads": []},
    ],
)
def test_what_is_asked_otherwise_goes_by_the_other_road(changed: dict[str, Any]) -> None:
    asked = request_of(json.dumps({"leads": [GOOD]} | changed).encode())
    assert asked == ScoreRequest.model_validate(json.loads(json.dumps({"leads": [GOOD]} | changed)))


WRONG: list[Any] = [
    {"touches": [TOUCH | {"kind": ""}]},
    {"touches": [TOUCH | {"kind": "x" * 2001}]},
    {"touches": [TOUCH | {"kind": None}]},
    {"touches": [TOUCH | {"chanel": "Email"}]},
    {"touches": [TOUCH | {"event_id": None}]},
    {"touches": [TOUCH | {"event_id": "x" * 2001}]},
    {"touches": [TOUCH | {"campaign": "x" * 2001}]},
    {"touches": [TOUCH | {"received_at": ""}]},
    {"touches": [TOUCH | {"occurred_at": "2026-01-01T00:00:00"}]},
    {"touches": [TOUCH | {"occurred_at": "0000-01-01T00:00:00Z"}]},
    {"touches": [TOUCH | {"occurred_at": "2026-02-29T00:00:00Z"}]},
    {"touches": [TOUCH | {"occurred_at": "2026-01-01T00:00:00Z\n2026-01-01T00:00:00Z"}]},
    {"touches": [TOUCH | {"properties": None}]},
    {"touches": [TOUCH | {"properties": {"": 1}}]},
    {"touches": [TOUCH | {"properties": {"x": "\0"}}]},
    {"touches": [TOUCH] * 20_001},
    {"stages": [{"stage": "won", "occurred_at": TOUCH["occurred_at"], "event_id": ""}]},
    {"feedback": [{"at": TOUCH["occurred_at"], "verdict": "maybe"}]},
    {"attributes": {"x": "\0"}},
    {"attributes": {str(i): i for i in range(501)}},
    {"attributes": []},
    {"lead_id": ""},
    {"account_id": 7},
    {"created_at": "yesterday"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: json.dumps(wrong)[:60])
def test_what_is_wrong_with_a_lead_alone_is_said_as_of_any_lead(wrong: dict[str, Any]) -> None:
    body = json.dumps({"leads": [GOOD | wrong]}).encode()
    with pytest.raises(InvalidArgument) as one:
        request_of(body)
    with pytest.raises(InvalidArgument) as other:
        ScoreRequest.model_validate_json(body)
    assert str(one.value) == str(other.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"leads": [', b'{"leads":' + b"[" * 100_000, b'{"leads": [{"attributes":' + b"[" * 100_000,
     json.dumps({"leads": [GOOD]}).replace('"ada"', '"\\ud800"').encode(),
     json.dumps({"leads": [GOOD]}).replace('"ada"', '"\xff"').encode("latin-1"),
     json.dumps({"leads": [GOOD], "as_of": "soon"}).encode(),
     b'{"leads": [{"lead_id": "ada", "created_at": "2026-01-01T00:00:00Z", "attributes": {"x": NaN}}]}',
     b'{"leads": [{"lead_id": "ada", "created_at": "2026-01-01T00:00:00Z", "attributes": {"x": 1e999}}]}'],
    ids=range(10),
)  # fmt: skip
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidArgument):
        request_of(body)


def test_the_longest_texts_are_taken_by_their_characters() -> None:
    asked = request_of(json.dumps({"leads": [GOOD | {"touches": [TOUCH | {"kind": "Ä" * 2000}]}]}).encode())
    assert isinstance(asked, Brought)
    assert asked.leads[0].history.touches.names["kind"] == ("Ä" * 2000,)


def test_a_model_of_what_touches_say_reads_all_of_them(tmp_path: Path) -> None:
    body = json.dumps({"leads": [GOOD | {"touches": [TOUCH | {"campaign": "spring"}]}]}).encode()
    features = Feature("spring", "count", "Touches of a campaign", where=(("campaign", "spring"),))
    spec = Spec((features,), 90.0, 0.0, leads=1)
    (group,) = sent(Lake(tmp_path), request_of(body).leads, START + timedelta(days=1), spec)
    assert feature_matrix((features,), group.moments).tolist() == [[1.0]]


def test_a_lead_without_anything_is_a_history_too() -> None:
    asked = request_of(json.dumps({"leads": [{"lead_id": "ada", "created_at": "2026-01-01T00:00:00Z"}]}).encode())
    assert isinstance(asked, Brought)
    history = asked.leads[0].history
    assert (history.lead_ids, len(history.touches.occurred), history.versions.codes) == (("ada",), 0, {})
