"""Versions: what a change does not name is as it was before, as known then."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import START, history, merge, micros, version

from features.history import History
from features.ingestion import ingest
from features.lake import Lake
from features.matrix import feature_matrix
from features.reading import read_history
from features.settings import Settings
from features.verbs import Feature, Moments

PLAN = Feature("plan", "attribute", "", column="plan", levels=("basic", "pro"))
NUMBER = Feature("seats", "attribute", "", column="seats")
CONTACTS = Feature("contacts", "count", "", events="contacts", of="account")


def change(
    lead: str, day: float, attributes: dict[str, Any] | None = None, account: str | None = None
) -> dict[str, Any]:
    return version(lead, day, attributes, account=account) | {"is_change": True}


def seats(seen: History, lead: str, *days: float) -> list[float | None]:
    as_of = np.array([micros(day) for day in days])
    moments = Moments(seen, seen.positions([lead] * len(days), as_of), as_of)
    return [None if math.isnan(x) else x for x in feature_matrix([NUMBER], moments)[:, 0].tolist()]


def test_a_change_leaves_what_it_does_not_name_and_a_whole_version_does_not() -> None:
    changes = [change("ada", 2, {"plan": "basic"}), change("ada", 3, {"seats": 7})]
    seen = history([version("ada", 0, {"seats": 5, "plan": "pro"}), *changes, version("ada", 4, {"plan": "pro"})])
    assert seats(seen, "ada", 1, 2.5, 3.5, 4.5) == [5, 5, 7, None]
    plans = feature_matrix([PLAN], Moments(seen, np.zeros(3, int), np.array([micros(day) for day in (1, 2.5, 3.5)])))
    assert plans[:, 0].tolist() == [1, 0, 0]


def test_a_change_without_an_account_leaves_the_account() -> None:
    seen = history([change("ada", 0, account="acme"), change("ada", 2, {"seats": 5})])
    moments = Moments(seen, np.zeros(2, int), np.array([micros(1), micros(3)]))
    assert feature_matrix([CONTACTS], moments)[:, 0].tolist() == [1, 1]


def test_other_leads_versions_are_left_as_they_are() -> None:
    seen = history([version("ada", 0, {"seats": 5}), change("bob", 1, {"plan": "pro"}), version("cy", 2, {"seats": 1})])
    assert [seats(seen, lead, 9) for lead in ("ada", "bob", "cy")] == [[5], [None], [1]]


def test_a_change_is_not_made_whole_by_what_was_not_known_then() -> None:
    told = [change("dup", 1, {"seats": 5}), change("ada", 3, {"plan": "pro"}), change("ada", 7, {"plan": "basic"})]
    seen = history(told, identities=[merge("dup", "ada", 5)])
    assert seats(seen, "ada", 4, 6, 8) == [None, None, 5]


days = st.integers(0, 20)
told_of = st.dictionaries(st.sampled_from("abc"), st.integers(0, 3))
changes = st.lists(
    st.builds(change, st.sampled_from(["ada", "bob"]), days, told_of),
    max_size=8, unique_by=lambda row: (row["lead_id"], row["observed_at"]),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(changes, st.sampled_from(["ada", "bob"]), days)
def test_changes_add_up_to_what_they_say_one_after_the_other(told: list[dict[str, Any]], lead: str, day: int) -> None:
    expected: dict[str, Any] = {}
    for row in sorted(told, key=lambda row: row["observed_at"]):
        if row["lead_id"] == lead and row["observed_at"] < version("", day)["observed_at"]:
            expected |= json.loads(row["attributes"])
    seen = history([version("ada", -1), version("bob", -1), *told])
    asked = [Feature(name, "attribute", "", column=name) for name in "abc"]
    found = feature_matrix(asked, Moments(seen, seen.positions([lead], micros(day)), np.array([micros(day)])))[0]
    assert {name: x for name, x in zip("abc", found.tolist(), strict=True) if not math.isnan(x)} == expected


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_group_after_an_identify_keeps_the_traits_in_whatever_order_the_files_come(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    events = [
        {"type": "identify", "userId": "ada", "timestamp": "2026-01-01T00:00:00Z", "traits": {"seats": 5}},
        {"type": "group", "userId": "ada", "groupId": "acme", "timestamp": "2026-01-03T00:00:00Z"},
    ]
    lake = Lake(tmp_path / "lake")
    for place in order:
        file = tmp_path / f"{place}.json"
        file.write_text(json.dumps(events[place]))
        ingest(lake, Settings(), [file], START)
    seen = read_history(lake)
    assert seats(seen, "ada", 1, 3) == [5, 5]
    moments = Moments(seen, np.zeros(2, int), np.array([micros(2), micros(3)]))
    assert np.array_equal(feature_matrix([CONTACTS], moments)[:, 0], [np.nan, 1], equal_nan=True)
