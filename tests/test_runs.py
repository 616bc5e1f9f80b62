"""A run credits what the lake holds, is stored once, and adds up to all that closed."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from attribution.runs import attribute, attribute_paths, store
from features.contract import schema
from features.errors import DataError
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
    lake.append("stages", pa.Table.from_pylist([win("eve", 9, "5.00", "USD")], schema("stages")))
    sentence = (
        "1 won deals are in USD, and attribution.currency is EUR. Convert the amounts, or report in that currency. "
        "Nothing was credited."
    )
    with pytest.raises(DataError, match=f"^{sentence}$"):
        attribute(lake, Settings(), MARCH)


def test_an_empty_lake_says_what_to_ingest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^The lake holds no touches of leads\."):
        attribute(Lake(tmp_path / "lake"), Settings(), MARCH)


def test_the_same_paths_give_the_same_run(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("path,conversions\nEmail > Direct,3\n")
    first, second = (attribute_paths(tmp_path / name, Settings()) for name in ("a.csv", "b.csv"))
    assert first.summary() == second.summary()
