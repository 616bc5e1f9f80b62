"""A run credits what the lake holds, is stored once, and adds up to all that closed."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from attribution.credit import Unattributed
from attribution.runs import ANYWAY, UNATTRIBUTED, attribute, attribute_paths, compared, credit_rows, store
from features.contract import schema
from features.errors import ConfigError, DataError
from features.lake import Lake
from features.settings import Attribution, Settings

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


def touch(
    event_id: str, lead_id: str | None, number: int, channel: str, received: int | None = None
) -> dict[str, object]:
    moments = {"occurred_at": day(number), "received_at": day(received or number)}
    return {"event_id": event_id, "lead_id": lead_id, "kind": "visit", "channel": channel, **moments}


def win(lead_id: str, number: int, amount: str | None = None, currency: str | None = None) -> dict[str, object]:
    moments = {"occurred_at": day(number), "received_at": day(number)}
    money = {"amount": Decimal(amount) if amount else None, "currency": currency}
    return {"lead_id": lead_id, "stage": "won", "row_hash": f"{lead_id}{number}", **moments, **money}


def stage(lake: Lake, *rows: dict[str, object]) -> None:
    lake.append("stages", pa.Table.from_pylist(rows, schema("stages")))


def rate(lake: Lake, *rates: tuple[int, str, float]) -> None:
    rows = [{"day": day(number).date(), "currency": currency, "rate": worth} for number, currency, worth in rates]
    lake.append("rates", pa.Table.from_pylist(rows, schema("rates")))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Return a lake: Ada came by Email, then Direct, and won; Bob won without a touch; Eve is open."""
    made = Lake(tmp_path / "lake")
    touches = [
        touch("e1", "ada", 2, "Email"),
        touch("e2", "ada", 4, "Direct"),
        touch("e3", "ada", 5, "Events", received=20),
        touch("e4", "eve", 6, "Email"),
        touch("e5", None, 3, "Email"),
    ]
    wins = [win("ada", 9, "100.01", "EUR"), win("bob", 9, "50.00"), win("ada", 25, "7.00", "EUR")]
    made.append("touches", pa.Table.from_pylist(touches, schema("touches")))
    made.append("stages", pa.Table.from_pylist(wins, schema("stages")))
    return made


def test_a_lead_s_first_win_is_credited_and_one_without_touches_is_unattributed(lake: Lake) -> None:
    answer = attribute(lake, Settings(), MARCH, ["linear"]).summary()
    credit = {channel: (row["credit"], row["value"]) for channel, row in answer["models"]["linear"].items()}
    third = pytest.approx(1 / 3)
    assert credit == {"Direct": (third, 33.34), "Email": (third, 33.34), "Events": (third, 33.33)}
    assert answer["unattributed"] == {"credit": 1.0, "value": 50.0}


def test_neither_a_machine_nor_an_excluded_kind_earns(lake: Lake) -> None:
    idle = [
        touch("e6", "ada", 8, "Display") | {"machine": True},
        touch("e7", "ada", 8, "Referral") | {"kind": "email_open", "machine": False},
    ]
    lake.append("touches", pa.Table.from_pylist(idle, schema("touches")))
    answer = attribute(lake, Settings(), MARCH, ["last"]).summary()
    assert {channel: row["credit"] for channel, row in answer["models"]["last"].items() if row["credit"]} == {
        "Events": 1
    }


def test_what_was_received_later_is_not_known_yet(lake: Lake) -> None:
    answer = attribute(lake, Settings(), day(15), ["last"]).summary()
    assert {channel: row["credit"] for channel, row in answer["models"]["last"].items()} == {
        "Direct": 1.0,
        "Email": 0.0,
    }


def test_a_run_has_the_same_identity_when_nothing_it_was_made_from_changed(lake: Lake) -> None:
    first = attribute(lake, Settings(), MARCH)
    store(lake, first)
    assert attribute(lake, Settings(), MARCH).run_id == first.run_id
    assert attribute(lake, Settings(attribution=Attribution(half_life_days=8)), MARCH).run_id != first.run_id  # type: ignore[call-arg]


def test_runs_of_two_moments_are_two_runs_though_nothing_was_stored_between(lake: Lake) -> None:
    april = datetime(2026, 4, 1, tzinfo=UTC)
    march, later = (attribute(lake, Settings(), as_of, ["last"]) for as_of in (MARCH, april))
    assert march.run_id != later.run_id
    assert march.summary()["models"] == later.summary()["models"]


def test_what_would_have_closed_anyway_is_a_line_of_its_own_in_the_place_of_the_unattributed(lake: Lake) -> None:
    run = attribute(lake, Settings(), MARCH, ["linear", "last"])
    told = {"last": Unattributed(credit=0.75, value=Decimal("20.00"))}
    rows = credit_rows(replace(run, answer=replace(run.answer, anyway=told)))
    lines = rows[rows["channel"].str.startswith("(")]
    assert [tuple(row) for row in lines[["model", "channel", "credit", "value"]].to_numpy()] == [
        ("linear", UNATTRIBUTED, 1.0, Decimal("50.00")),
        ("last", ANYWAY, 0.75, Decimal("20.00")),
    ]


def test_a_stored_run_adds_up_to_what_closed_under_every_model_and_is_stored_once(lake: Lake) -> None:
    run = attribute(lake, Settings(), MARCH)
    store(lake, run)
    store(lake, run)
    sums = lake.query(
        "SELECT model, sum(credit) AS closes, sum(value) AS money FROM credits GROUP BY model"
    ).to_pylist()
    assert len(sums) == 7
    assert {(round(row["closes"], 9), row["money"]) for row in sums} == {(2.0, Decimal("150.0100"))}


def test_amounts_in_another_currency_are_refused_with_the_remedy(lake: Lake) -> None:
    foreign = [win(f"eve{day}", day, "5.00", "USD") for day in (9, 9, 10, 11, 12, 13)] + [win("kim", 9, "5.00", "GBP")]
    stage(lake, *foreign, win("lee", 9, None, "CHF"), win("sue", 9, "0.00", "CHF"))
    rate(lake, (1, "USD", 0.9), (10, "GBP", 1.2), (16, "USD", 0.9))
    sentence = (
        "6 deals are in GBP, USD, and attribution.currency is EUR. No rate is known of GBP on 2026-01-09; "
        "USD on 2026-01-09, 2026-01-10, 2026-01-11 and 2 more days, nor of the 7 days before. Ingest them: "
        "touchstone ingest rates.csv, with day, currency and rate (what one unit is worth in EUR). "
        "Nothing was credited."
    )
    with pytest.raises(DataError, match=rf"^{re.escape(sentence)}$"):
        attribute(lake, Settings(), MARCH)


def values(lake: Lake, as_of: datetime = MARCH, **how: int) -> dict[str, float]:
    """Return the value of each channel's last touches, and of the unattributed."""
    settings = Settings(attribution=Attribution.model_validate(how))
    answer = attribute(lake, settings, as_of, ["last"]).summary()
    credited = {channel: row["value"] for channel, row in answer["models"]["last"].items() if row["value"]}
    return credited | {"": answer["unattributed"]["value"]}


def test_an_amount_is_worth_the_rate_of_the_day_of_the_win(lake: Lake) -> None:
    lake.append("touches", pa.Table.from_pylist([touch("e6", "kim", 8, "Paid Search")], schema("touches")))
    stage(lake, win("kim", 9, "100.00", "USD"))
    rate(lake, (8, "USD", 0.5), (9, "USD", 0.91235), (10, "USD", 0.7), (9, "GBP", 1.2))
    assert values(lake) == {"Events": 100.01, "Paid Search": 91.24, "": 50.0}


def test_a_day_without_a_rate_takes_the_latest_before_within_the_stated_days(lake: Lake) -> None:
    stage(lake, win("kim", 9, "100.00", "USD"))
    rate(lake, (4, "USD", 0.1), (5, "USD", 0.8), (10, "USD", 0.7))
    assert values(lake, rate_days=4) == {"Events": 100.01, "": 130.0}
    with pytest.raises(DataError, match=r"^1 deals are in USD.* USD on 2026-01-09, nor of the 3 days before\."):
        values(lake, rate_days=3)


@pytest.mark.parametrize(
    ("name", "amount"), [("won", "-40.00"), ("refund", "-40.00"), ("Refund", "40.00")]
)  # fmt: skip
def test_a_refund_takes_back_from_its_deal_and_is_no_close_of_its_own(lake: Lake, name: str, amount: str) -> None:
    stage(lake, win("ada", 20, amount) | {"stage": name, "row_hash": "r"})
    answer = attribute(lake, Settings(), MARCH, ["linear"]).summary()
    assert sum(row["value"] for row in answer["models"]["linear"].values()) == pytest.approx(60.01)
    assert sum(row["credit"] for row in answer["models"]["linear"].values()) == pytest.approx(1)
    assert values(lake, day(15)) == {"Direct": 100.01, "": 50.0}  # it was not known yet


def test_a_refund_may_make_a_value_negative_and_adds_up_to_the_cent(lake: Lake) -> None:
    stage(lake, win("ada", 20, "-100.03"), win("bob", 20, "-70.00"))
    run = attribute(lake, Settings(), MARCH)
    store(lake, run)
    sums = lake.query("SELECT model, sum(value) AS money FROM credits GROUP BY model").to_pylist()
    assert {row["money"] for row in sums} == {Decimal("-20.0200")}
    assert run.summary()["unattributed"] == {"credit": 1.0, "value": -20.0}


def test_a_full_refund_in_another_currency_leaves_nothing_whatever_the_rates(lake: Lake) -> None:
    stage(lake, win("kim", 9, "99.99", "USD"), win("kim", 20, "-99.99") | {"row_hash": "r"})
    rate(lake, (9, "USD", 0.91235), (20, "USD", 0.5))
    assert values(lake) == {"Events": 100.01, "": 50.0}


def test_a_refund_of_no_deal_is_no_win(lake: Lake) -> None:
    stage(lake, win("zoe", 9, "-40.00"), win("bob", 8, "9.00") | {"stage": "refund"})
    answer = attribute(lake, Settings(), MARCH, ["last"]).summary()
    assert answer["unattributed"] == {"credit": 1.0, "value": 50.0}


def test_an_empty_lake_says_what_to_ingest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^The lake holds no touches of leads\."):
        attribute(Lake(tmp_path / "lake"), Settings(), MARCH)


def test_the_same_paths_give_the_same_run(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("path,conversions\nEmail > Direct,3\n")
    first, second = (attribute_paths(tmp_path / name, Settings()) for name in ("a.csv", "b.csv"))
    assert first.summary() == second.summary()


def test_paths_that_are_not_there_or_no_file_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv does not exist\. Give a CSV or Parquet file\.$"):
        attribute_paths(tmp_path / "absent.csv", Settings())
    with pytest.raises(DataError, match=r"cannot be read: .*Is a directory.*\. Give a CSV or Parquet file\.$"):
        attribute_paths(tmp_path, Settings())


def test_two_runs_can_be_set_beside_each_other_line_by_line(lake: Lake) -> None:
    first = attribute(lake, Settings(), MARCH, ["first"])
    store(lake, first)
    now = attribute(lake, Settings(), MARCH, ["first", "last"])
    rows = compared(lake, now, first.run_id).set_index(["model", "channel"])
    assert rows.loc[("first", "Email"), ["before", "credit", "change"]].tolist() == [1, 1, 0]
    assert rows.loc[("last", "Events"), "change"] == 1
    assert rows.loc[("first", "(unattributed)"), "value"] == Decimal("50.00")
    with pytest.raises(DataError, match=rf"^No run nobody is stored\. Stored are: {first.run_id}\.$"):
        compared(lake, now, "nobody")


def test_an_experiment_of_a_channel_without_touches_is_refused(lake: Lake) -> None:
    period = {"since": day(1).date(), "until": day(9).date(), "lift": 0.1, "low": 0.0, "high": 0.2}
    asked = Settings.model_validate({"attribution": {"experiments": [{"channel": "Evens", **period}]}})
    ada = {"lead_id": "ada", "created_at": day(1), "observed_at": day(1), "row_hash": "ada"}
    lake.append("leads", pa.Table.from_pylist([ada], schema("leads")))
    with pytest.raises(ConfigError, match=r"^attribution\.experiments names Evens, .* the channels: .*Email"):
        attribute(lake, asked, MARCH, ["score_adjusted"], lambda _: lambda lead, _: lead * 0.0)


def test_a_model_that_asks_for_a_stage_that_nobody_entered_names_those_that_are_known(lake: Lake) -> None:
    sentence = (
        r"^w gives credit .* a stage that nobody here is known to have entered \(known: first, won\)\. Ask for it "
    )
    with pytest.raises(DataError, match=sentence):
        attribute(lake, Settings(), MARCH, ["w"])
