"""Identities: whose an anonymous touch is, as of any moment."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import Any, claim, micros, table, touch, version

from attribution.runs import attribute
from features.contract import schema
from features.identities import identified, numbers, touches_of_leads
from features.lake import Lake
from features.reading import read_history
from features.settings import Settings

Row = dict[str, Any]


def email(hashed: str, lead: str, day: float) -> Row:
    return claim(hashed, lead, day) | {"anonymous_id": None, "email_hash": hashed}


def told(touches: list[Row], identities: list[Row]) -> list[tuple[str, float, float]]:
    """Return whose touch each is: (lead, day it occurred, day from which it is known to be the lead's)."""
    rows = identified(table("touches", touches), table("identities", identities)).to_pylist()
    days = ((row["lead_id"], row["occurred_at"].timestamp() * 1e6, row["known"]) for row in rows)
    return sorted((lead, (at - micros(0)) / 86.4e9, (known - micros(0)) / 86.4e9) for lead, at, known in days)


def lost(day: float, anonymous: str = "a", received: float | None = None, **how: Any) -> Row:
    return touch(None, day, anonymous=anonymous, received=received, **how)


# By hand: someone visits on day 1 with device a, which is known to be Ada's from day 5 on.


def test_an_anonymous_touch_is_the_leads_who_claims_the_id_and_known_from_the_claim() -> None:
    assert told([lost(1)], [claim("a", "ada", 5)]) == [("ada", 1, 5)]


def test_a_touch_after_the_claim_is_known_when_it_is_received() -> None:
    assert told([lost(6), lost(7, received=9)], [claim("a", "ada", 5)]) == [("ada", 6, 6), ("ada", 7, 9)]


def test_a_touch_received_after_the_claim_is_known_when_it_is_received() -> None:
    assert told([lost(1, received=8)], [claim("a", "ada", 5)]) == [("ada", 1, 8)]


def test_a_touch_that_nobody_claims_is_nobodys() -> None:
    assert told([lost(1, "b"), touch(None, 2)], [claim("a", "ada", 5)]) == []
    assert told([lost(1)], []) == []


def test_a_touch_that_bears_a_lead_is_that_leads_whoever_claims_its_device() -> None:
    assert told([touch("bob", 6, anonymous="a")], [claim("a", "ada", 5)]) == [("bob", 6, 6)]


def test_a_touch_that_bears_both_ids_claims_the_device_from_when_it_is_known() -> None:
    assert told([lost(1), touch("ada", 4, received=6, anonymous="a")], []) == [("ada", 1, 6), ("ada", 4, 6)]


def test_an_email_hash_is_an_anonymous_id_like_any_other() -> None:
    assert told([lost(1, "5e88")], [email("5e88", "ada", 5)]) == [("ada", 1, 5)]


# A device that two share: Ada's from day 5, Bob's from day 8, Ada's again from day 12.
SHARED = [claim("a", "bob", 8), claim("a", "ada", 12), claim("a", "ada", 5)]


@pytest.mark.parametrize(
    ("day", "whose", "known"),
    [(1, "ada", 5), (5, "ada", 5), (7.9, "ada", 7.9), (8, "bob", 8), (11, "bob", 11), (12, "ada", 12), (20, "ada", 20)],
)
def test_a_shared_device_is_the_leads_who_claimed_it_last_before_the_touch_else_the_first_ones(
    day: float, whose: str, known: float
) -> None:
    assert told([lost(day)], SHARED) == [(whose, day, known)]


def test_a_late_touch_is_the_leads_who_had_the_device_when_it_occurred() -> None:
    assert told([lost(6, received=10)], SHARED) == [("ada", 6, 10)]


def test_of_two_claims_at_one_moment_the_one_whose_lead_sorts_last_is_the_later() -> None:
    for claims in ([claim("a", "ada", 5), claim("a", "bob", 5)], [claim("a", "bob", 5), claim("a", "ada", 5)]):
        assert told([lost(1), lost(6)], claims) == [("ada", 1, 5), ("bob", 6, 6)]


def test_devices_are_told_apart() -> None:
    claims = [claim("a", "ada", 5), claim("b", "bob", 3), claim("c", "cem", 9)]
    assert told([lost(4, "c"), lost(4, "a"), lost(4, "b")], claims) == [("ada", 4, 5), ("bob", 4, 4), ("cem", 4, 9)]


LEADS = [version("ada", 0), version("bob", 0)]
PEOPLE = st.sampled_from(["ada", "bob"])
DEVICES = st.sampled_from(["a", "b"])
DAYS = st.integers(0, 20)
TOUCHES = st.lists(
    st.builds(
        lambda lead, day, late, device: touch(lead, day, received=day + late, anonymous=device),
        st.none() | PEOPLE, DAYS, st.integers(0, 5), DEVICES,
    ),
    max_size=8,
)  # fmt: skip
CLAIMS = st.lists(st.builds(claim, DEVICES, PEOPLE, DAYS), max_size=5)


def plainly(touches: list[Row], claims: list[Row]) -> list[tuple[str, float, float]]:
    """Return the same as ``told``, touch by touch, as the rules are written."""
    both = [t for t in touches if t["lead_id"]]
    proofs = [(max(t["occurred_at"], t["received_at"]), t["lead_id"], t["anonymous_id"]) for t in both]
    every = sorted([(c["observed_at"], c["lead_id"], c["anonymous_id"]) for c in claims] + proofs)
    found = [(t["lead_id"], t["occurred_at"], max(t["occurred_at"], t["received_at"])) for t in both]
    for t in touches:
        mine = [c for c in every if c[2] == t["anonymous_id"]]
        if not t["lead_id"] and mine:
            at, lead, _ = [*mine[:1], *(c for c in mine if c[0] <= t["occurred_at"])][-1]
            found.append((lead, t["occurred_at"], max(t["occurred_at"], t["received_at"], at)))
    days = ((lead, at.timestamp() * 1e6, known.timestamp() * 1e6) for lead, at, known in found)
    return sorted((lead, (at - micros(0)) / 86.4e9, (known - micros(0)) / 86.4e9) for lead, at, known in days)


@settings(deadline=None)
@given(TOUCHES, CLAIMS, st.randoms())
def test_touches_are_whose_the_rules_say_in_any_order_of_rows(touches: list[Row], claims: list[Row], dice: Any) -> None:
    expected = plainly(touches, claims)
    dice.shuffle(touches)
    dice.shuffle(claims)
    assert told(touches, claims) == expected


@settings(deadline=None)
@given(TOUCHES, CLAIMS, DAYS, TOUCHES, CLAIMS)
def test_what_is_learned_later_changes_nothing_known_before(
    touches: list[Row], claims: list[Row], cut: int, more_touches: list[Row], more_claims: list[Row]
) -> None:
    known = [t for t in touches if t["received_at"] < version("", cut)["observed_at"]]
    since = [t for t in more_touches if t["received_at"] >= version("", cut)["observed_at"]]
    claimed = [c for c in claims if c["observed_at"] < version("", cut)["observed_at"]]
    claimed_since = [c for c in more_claims if c["observed_at"] >= version("", cut)["observed_at"]]
    then = [row for row in told(known, claimed) if row[2] < cut]
    assert [row for row in told(known + since, claimed + claimed_since) if row[2] < cut] == then


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Return a lake: device a is Ada's from day 5; b proved Bob's on day 4 and was Ada's from day 9; c is nobody's."""
    made = Lake(tmp_path)
    touches = [lost(1, channel="Search"), lost(2, "b"), lost(10, "b"), touch("bob", 4, anonymous="b"), lost(3, "c")]
    made.append("leads", table("leads", LEADS))
    made.append("touches", table("touches", [*touches, touch("zoe", 1), touch("ada", 6, channel="Direct")]))
    made.append("identities", table("identities", [claim("a", "ada", 5), claim("b", "ada", 9), claim("d", "bob", 1)]))
    return made


def test_the_lake_s_history_has_the_touches_that_were_anonymous(lake: Lake) -> None:
    seen = read_history(lake)
    rows = zip(seen.touches.leads(), seen.touches.occurred, seen.touches.known, strict=True)
    days = [(seen.lead_ids[lead], (at - micros(0)) / 86.4e9, (known - micros(0)) / 86.4e9) for lead, at, known in rows]
    assert days == [("ada", 1, 5), ("ada", 6, 6), ("ada", 10, 10), ("bob", 2, 4), ("bob", 4, 4)]


def test_a_lead_read_alone_has_the_touches_it_has_among_all(lake: Lake) -> None:
    everyone = read_history(lake)
    for place, lead in enumerate(everyone.lead_ids):
        alone, among = read_history(lake, [lead]), everyone.touches.of_leads(place, place + 1)
        assert alone.lead_ids == (lead,)
        assert (alone.touches.occurred.tolist(), alone.touches.known.tolist()) == (
            among.occurred.tolist(),
            among.known.tolist(),
        )


def test_attribution_and_features_see_the_same_touches(lake: Lake) -> None:
    seen = read_history(lake)
    for day in (0, 3, 4.5, 5.5, 9.5, 30):
        touches = touches_of_leads(lake, micros(day))[0].to_pylist()
        mine = [row for row in touches if row["lead_id"] != "zoe"]  # zoe is no lead of the lake
        assert len(mine) == (seen.touches.known < micros(day)).sum()


def test_the_channel_of_a_touch_that_was_anonymous_is_credited_once_it_is_known_whose_it_is(lake: Lake) -> None:
    won = {"lead_id": "ada", "stage": "won", "row_hash": "1"}
    moments = {"occurred_at": version("", 7)["observed_at"], "received_at": version("", 7)["observed_at"]}
    lake.append("stages", table("stages", [won | moments]))
    answer = attribute(lake, Settings(), version("", 8)["observed_at"], ["linear"]).summary()["models"]["linear"]
    assert {channel: row["credit"] for channel, row in answer.items()} == {"Direct": 0.5, "Email": 0.0, "Search": 0.5}


def test_the_numbers_of_a_check_up_count_what_is_nobodys(lake: Lake) -> None:
    assert numbers(lake, micros(30)) == {"anonymous": 1, "orphans": 1, "lost_merges": 0}
    assert numbers(lake, micros(4.5)) == {"anonymous": 2, "orphans": 1, "lost_merges": 0}


def test_an_empty_lake_has_no_touches_of_leads(tmp_path: Path) -> None:
    touches, merged = touches_of_leads(Lake(tmp_path), micros(9))
    assert (touches.num_rows, merged.num_rows) == (0, 0)
    assert touches.schema.names == ["lead_id", "event_id", "occurred_at", "kind", "channel", "machine"]
    assert schema("touches").field("lead_id").type == touches.schema.field("lead_id").type
