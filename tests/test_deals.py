"""Deals: journeys to any stage, of leads or of accounts, and what they are worth."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tables import moment, stage, table, touch, version

from attribution.deals import journeys_in
from attribution.runs import attribute
from features.contract import schema
from features.errors import DataError
from features.lake import Lake
from features.settings import Settings

NOW = moment(100)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Return a lake of one account with two contacts, Ada and Bob, who hold one deal; and of Cleo, who is alone."""
    made = Lake(tmp_path / "lake")
    rows = {
        "leads": [version("ada", 3, created=3, account="acme"), version("bob", 4, created=4, account="acme"),
                  version("cleo", 5, created=5)],
        "touches": [touch("ada", 1, channel="Email"), touch("ada", 8, channel="Events"),
                    touch("bob", 8, channel="Events"), touch("bob", 9, channel="Direct"),
                    touch("cleo", 6, channel="Email"), touch("cleo", 30, channel="Email")],
        "stages": [stage("ada", 7, "mql"), paid("ada", 10, "won", "100.00"), paid("bob", 10, "won", "100.00"),
                   paid("cleo", 10, "won", "30.00"), paid("cleo", 40, "won", "50.00"), paid("cleo", 41, "refund", "5")],
    }  # fmt: skip
    for name, told in rows.items():
        made.append(name, table(name, told))
    return made


def paid(lead: str, day: float, name: str, amount: str) -> dict[str, Any]:
    return stage(lead, day, name) | {"amount": Decimal(amount), "currency": "EUR"}


def asked(**how: object) -> Settings:
    return Settings.model_validate({"attribution": how})


def told(lake: Lake, as_of: datetime = NOW, **how: object) -> list[tuple[str, int, float, list[str]]]:
    """Return each journey that ended as (whose, cents, conversions, channels)."""
    seen, _ = journeys_in(lake, asked(**how), as_of)
    assert seen.lead_id is not None
    names = [seen.channels[code] for code in seen.channel]
    paths = [names[a:b] for a, b in zip(seen.start[:-1], seen.start[1:], strict=True)]
    rows = zip(seen.lead_id, seen.value_cents.tolist(), seen.conversions.tolist(), paths, strict=True)
    return [row for row in rows if row[2]]


def test_the_first_win_of_each_lead_ends_a_journey_and_refunds_are_its_own(lake: Lake) -> None:
    assert told(lake) == [
        ("ada", 10_000, 1, ["Email", "Events"]),
        ("bob", 10_000, 1, ["Events", "Direct"]),
        ("cleo", 2_500, 1, ["Email"]),
    ]


def test_repeated_wins_each_end_a_journey_and_a_refund_takes_back_from_the_win_before_it(lake: Lake) -> None:
    assert told(lake, repeated=True)[2:] == [("cleo", 3_000, 1, ["Email"]), ("cleo", 4_500, 1, ["Email"])]


def test_the_creation_of_a_lead_is_a_stage_that_earlier_touches_led_to(lake: Lake) -> None:
    assert told(lake, stage="lead") == [("ada", 0, 1, ["Email"]), ("bob", 0, 1, []), ("cleo", 0, 1, [])]
    assert told(lake, moment(4), stage="lead") == [("ada", 0, 1, ["Email"])]


def test_any_stage_may_be_asked_about_in_a_window_of_its_own(lake: Lake) -> None:
    assert told(lake, stage="mql") == [("ada", 0, 1, ["Email"])]
    assert told(lake, stage="mql", windows_days={"mql": 5}) == [("ada", 0, 1, [])]
    assert told(lake, stage="mql", windows_days={"won": 5}) == [("ada", 0, 1, ["Email"])]


def test_a_window_may_be_without_limit(lake: Lake) -> None:
    long_ago = touch("cleo", -4_000, channel="Webinar")
    lake.append("touches", table("touches", [long_ago]))
    assert told(lake)[2][3] == ["Email"]
    assert told(lake, lookback_days=float("inf"))[2][3] == ["Webinar", "Email"]


def test_a_stage_that_nobody_entered_is_named_with_those_that_leads_entered(lake: Lake) -> None:
    sentence = 'No lead is known to have entered the stage "mqll". Known are: lead, mql, refund, won.'
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        journeys_in(lake, asked(stage="mqll"), NOW)


def test_an_opportunity_is_what_the_settings_call_one(lake: Lake) -> None:
    assert told(lake, stage="opportunity", opportunity=["mql"]) == [("ada", 0, 1, ["Email"])]


def test_an_account_s_contacts_are_on_one_journey_and_what_two_of_them_hold_counts_once(lake: Lake) -> None:
    joint = [("account acme", 10_000, 1, ["Email", "Events", "Direct"])]
    assert told(lake, of="account") == [*joint, ("cleo", 2_500, 1, ["Email"])]
    assert told(lake, of="account", repeated=True)[:1] == joint


def test_credit_of_an_account_s_journey_names_the_lead_who_was_touched(lake: Lake) -> None:
    touches = attribute(lake, asked(of="account"), NOW, ["linear"]).answer.touches
    assert list(zip(touches["lead_id"], touches["channel"], strict=True)) == [
        ("ada", "Email"), ("ada", "Events"), ("bob", "Direct"), ("cleo", "Email"),
    ]  # fmt: skip


def test_a_run_says_which_stage_it_credits_in_what_it_stores(lake: Lake) -> None:
    from attribution.runs import store

    run = attribute(lake, asked(stage="mql"), NOW, ["last"])
    store(lake, run)
    assert lake.query("SELECT DISTINCT conversion FROM credits").to_pylist() == [{"conversion": "mql"}]
    assert attribute(lake, asked(), NOW, ["last"]).run_id != run.run_id


def test_score_adjusted_is_refused_for_what_it_cannot_tell(lake: Lake) -> None:
    sentence = (
        "score_adjusted can tell only what made single leads close for the first time. Ask for other models, or keep "
        'attribution.stage = "won", of = "lead" and repeated = false.'
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        attribute(lake, asked(of="account"), NOW, ["score_adjusted"])


def test_sales_outreach_soon_after_the_best_grade_is_marked_as_the_score_s_own(lake: Lake) -> None:
    calls = [touch("cleo", day, "sales_call", "Sales outreach") for day in (7, 9, 9.9)]
    lake.append("touches", table("touches", [*calls, touch("ada", 9.5, "sales_call", "Sales outreach")]))
    graded = [{"lead_id": "cleo", "as_of": moment(8), "grade": "A"},
              {"lead_id": "ada", "as_of": moment(9), "grade": "B"},
              {"lead_id": "ada", "as_of": moment(9), "grade": "A", "goal": "renewed"},
              {"lead_id": "ada", "as_of": moment(9), "grade": "A", "withheld": True},
              {"lead_id": "ada", "as_of": moment(9.5) + timedelta(seconds=1), "grade": "A"}]  # fmt: skip
    lake.append("scores", pa.Table.from_pylist(graded, schema("scores")))
    by_lead = {lead: path for lead, *_, path in told(lake)}
    assert by_lead["cleo"] == ["Email", "Sales outreach", *["Sales outreach (after score)"] * 2]
    assert by_lead["ada"] == ["Email", "Events", "Sales outreach"]
    assert {lead: path for lead, *_, path in told(lake, outreach_days=1.5)}["cleo"][-2:] == [
        "Sales outreach (after score)", "Sales outreach",
    ]  # fmt: skip
    assert "after" not in str(told(lake, outreach_kinds=[]))


def test_sessions_and_transforms_shape_the_journeys_of_a_run(lake: Lake) -> None:
    soon = [touch("cleo", 6 + minutes / 1440, channel="Direct") for minutes in (10, 35)]
    lake.append("touches", table("touches", soon))
    assert told(lake)[2][3] == ["Email", "Direct", "Direct"]
    assert told(lake, session_minutes=30)[2][3] == ["Email"]
    assert told(lake, session_minutes=20)[2][3] == ["Email", "Direct"]
    assert told(lake, transforms=["exposure", "frequency"])[2][3] == ["Email(1)", "Direct(1)"]
