"""Accounts: what all contacts of a lead's account did, as known at any moment."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import history, merge, micros, stage, touch, version

from features.history import History
from features.matrix import feature_matrix
from features.verbs import Feature, Moments

Row = dict[str, Any]
TOUCHES = Feature("touches", "count", "", of="account")
THIS_WEEK = Feature("touches_7d", "count", "", days=7, of="account")
SINCE = Feature("since", "recency", "", of="account")
CONTACTS = Feature("contacts", "count", "", events="contacts", of="account")
ACTIVE = Feature("active", "distinct", "", column="contact", of="account")
CHANNELS = Feature("channels", "distinct", "", column="channel", of="account")
STAGES = Feature("stages", "count", "", events="stages", of="account")
ALL = (TOUCHES, THIS_WEEK, SINCE, CONTACTS, ACTIVE, CHANNELS, STAGES)


def at(seen: History, *moments: tuple[str, float]) -> Moments:
    as_of = np.array([micros(day) for _, day in moments], np.int64)
    return Moments(seen, seen.positions([lead for lead, _ in moments], as_of), as_of)


def values(seen: History, wanted: Feature, lead: str, *days: float) -> Any:
    found = feature_matrix([wanted], at(seen, *((lead, day) for day in days)))[:, 0].tolist()
    return pytest.approx(found, nan_ok=True)


NAN = math.nan


def test_a_contact_counts_from_when_it_is_known_to_be_one_with_all_that_it_did() -> None:
    seen = history(
        [version("ada", 0, account="acme"), version("bob", 0), version("bob", 5, account="acme")],
        [touch("ada", 1), touch("bob", 2), touch("bob", 3)],
    )
    assert values(seen, TOUCHES, "ada", 0.5, 4, 5, 5.001) == [0, 1, 1, 3]
    assert values(seen, CONTACTS, "ada", 4, 5.001) == [1, 2]
    assert values(seen, TOUCHES, "bob", 4, 5, 5.001) == [NAN, NAN, 3]


def test_a_contact_that_moves_on_takes_its_touches_along() -> None:
    moved = [version("ada", 0, account="acme"), version("bob", 0, account="acme"), version("bob", 5, account="other")]
    seen = history(moved, [touch("ada", 1), touch("bob", 2), touch("bob", 6)])
    assert values(seen, TOUCHES, "ada", 4, 5, 5.001, 9) == [2, 2, 1, 1]
    assert values(seen, TOUCHES, "bob", 5, 5.001, 9) == [2, 1, 2]
    assert values(seen, CONTACTS, "ada", 5, 5.001) == [2, 1]


def test_a_contact_that_comes_back_is_one_contact() -> None:
    told = [version("bob", day, account=account) for day, account in ((0, "acme"), (3, "other"), (6, "acme"))]
    seen = history([version("ada", 0, account="acme"), *told], [touch("bob", 1), touch("bob", 4)])
    assert values(seen, TOUCHES, "ada", 2, 4, 7) == [1, 0, 2]
    assert values(seen, CONTACTS, "ada", 2, 4, 7) == [2, 1, 2]


def test_what_two_contacts_both_hold_is_one_event() -> None:
    both = [version(lead, 0, account="acme") for lead in ("ada", "bob")]
    meeting = [touch(lead, 3, "meeting", "Events", received) for lead, received in (("ada", 5), ("bob", None))]
    seen = history(both, [*meeting, touch("ada", 3, "call", "Events"), touch("bob", 4, "meeting", "Events")])
    assert values(seen, TOUCHES, "ada", 3.5, 4.5, 6) == [2, 3, 3]
    twice = history(both, [*meeting, {**meeting[0], "received_at": meeting[1]["received_at"]}])
    assert values(twice, TOUCHES, "ada", 6) == [2]


def test_what_a_contact_did_in_the_moment_it_moves_on_is_never_the_old_account_s() -> None:
    moved = [version("ada", 0, account="acme"), version("bob", 0, account="acme"), version("bob", 5, account="other")]
    seen = history(moved, [touch("bob", 3, received=5), touch("bob", 2)])
    assert values(seen, TOUCHES, "ada", 4, 5, 5.001) == [1, 1, 0]
    assert values(seen, TOUCHES, "bob", 5.001) == [2]


def test_a_merged_contact_is_one_contact_from_the_merge_on() -> None:
    leads = [version(lead, 0, account="acme") for lead in ("ada", "ada-2", "bob")]
    seen = history(
        leads, [touch("ada", 1), touch("ada-2", 1), touch("ada-2", 2)], identities=[merge("ada-2", "ada", 5)]
    )
    assert values(seen, CONTACTS, "bob", 4, 6) == [3, 2]
    assert values(seen, TOUCHES, "bob", 4, 6) == [2, 2]


def test_a_lead_whose_account_is_not_known_any_more_has_none() -> None:
    seen = history([version("ada", 0, account="acme"), version("ada", 5)], [touch("ada", 1)])
    assert values(seen, TOUCHES, "ada", 4, 5.001) == [1, NAN]


# Against the definition

LEADS, ACCOUNTS = ("ada", "bob", "cy", "di"), (None, "acme", "beta")
days = st.integers(0, 40).map(lambda quarter: quarter / 4)
versions = st.lists(
    st.builds(version, st.sampled_from(LEADS), days, account=st.sampled_from(ACCOUNTS)),
    max_size=8, unique_by=lambda row: (row["lead_id"], row["observed_at"]),
)  # fmt: skip
touches = st.lists(
    st.builds(touch, st.sampled_from(LEADS), days, st.just("visit"), st.sampled_from(["Email", "Ads"]), days),
    max_size=10,
)
stages = st.lists(st.builds(stage, st.sampled_from(LEADS), days, st.sampled_from(["new", "won"]), days), max_size=5)
asked_of = st.lists(st.tuples(st.sampled_from(LEADS), days), min_size=1, max_size=6)


def account_then(told: Sequence[Row], lead: str, now: Any) -> str | None:
    known = [row for row in told if row["lead_id"] == lead and row["observed_at"] < now]
    return max(known, key=lambda row: row["observed_at"]).get("account_id") if known else None


def events_then(rows: Sequence[Row], contacts: Sequence[str], now: Any, *names: str) -> list[tuple[Any, ...]]:
    """Return the events of contacts as known at a moment; of equal ones as many as the contact with most has."""
    most: Counter[tuple[Any, ...]] = Counter()
    for contact in contacts:
        most |= Counter(
            (row["occurred_at"], *(row[name] for name in names))
            for row in rows
            if row["lead_id"] == contact and max(row["occurred_at"], row["received_at"]) < now
        )
    return list(most.elements())


@settings(max_examples=60, deadline=None)
@given(versions, touches, stages, asked_of)
def test_every_account_is_what_its_contacts_then_did(
    told: list[Row], touched: list[Row], moved: list[Row], asked: list[tuple[str, float]]
) -> None:
    told = [*(version(lead, -1) for lead in LEADS), *told]
    moments = at(history(told, touched, moved), *asked)
    for row, (lead, day) in zip(feature_matrix(ALL, moments), asked, strict=True):
        now = version("", day)["observed_at"]
        account = account_then(told, lead, now)
        contacts = [one for one in LEADS if account and account_then(told, one, now) == account]
        seen = events_then(touched, contacts, now, "kind", "channel")
        ages = [(now - event[0]).total_seconds() / 86_400 for event in seen]
        expected = [
            len(seen),
            sum(age <= 7 for age in ages),
            min(ages, default=NAN),
            len(contacts),
            None,
            len({event[2] for event in seen}),
            len(events_then(moved, contacts, now, "stage")),
        ]
        wanted = [value for feature, value in zip(ALL, expected, strict=True) if feature is not ACTIVE]
        found = [value for feature, value in zip(ALL, row.tolist(), strict=True) if feature is not ACTIVE]
        assert found == pytest.approx(wanted if account else [NAN] * len(wanted), nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(versions, touches, asked_of, asked_of)
def test_other_moments_and_other_accounts_change_nothing(
    told: list[Row], touched: list[Row], asked: list[tuple[str, float]], more: list[tuple[str, float]]
) -> None:
    told = [*(version(lead, -1) for lead in LEADS), *told]
    strangers = [version("eve", -1, account="gamma"), version("fay", -1, account="gamma")]
    alone = feature_matrix(ALL, at(history(told, touched), *asked))
    together = feature_matrix(
        ALL, at(history([*told, *strangers], [*touched, touch("eve", 1), touch("fay", 1)]), *asked, *more, ("eve", 9))
    )
    assert np.array_equal(alone, together[: len(asked)], equal_nan=True)
