"""Money that is stated twice is counted once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.ingestion import Ingested, ingest
from features.lake import Lake
from features.money import SPEND
from features.settings import Settings

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HEADER = "day,channel,campaign,cost,currency,received_at\n"
STATED = "2026-01-02,Paid Search,brand,100.00,EUR,\n"
CLASH = (
    "Another row states another cost of this day, channel and campaign. Give a correction a later received_at; "
    "add up what belongs together, or name its campaigns."
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def take(lake: Lake, text: str, table: str = "spend") -> Ingested:
    file = lake.folder.parent / f"{table}.csv"
    file.write_text(text)
    (result,) = ingest(lake, Settings(), [file], NOW)
    return result


def spent(lake: Lake, as_of: datetime = NOW) -> list[tuple[str | None, str, float]]:
    with lake.connection(["spend"]) as connection:
        rows = connection.sql(SPEND, params={"as_of": as_of}).to_arrow_table().to_pylist()
    return sorted((row["campaign"], row["currency"], float(row["cost"])) for row in rows)


def test_the_same_cost_twice_is_one_cost(lake: Lake) -> None:
    take(lake, HEADER + STATED + STATED)
    assert take(lake, HEADER + STATED).already_there == 1
    assert spent(lake) == [("brand", "EUR", 100.0)]


def test_another_cost_without_a_later_moment_is_refused(lake: Lake) -> None:
    take(lake, HEADER + STATED)
    again = take(lake, HEADER + STATED.replace("100", "120"))
    assert (again.stored, again.refused, again.reasons) == (0, 1, (CLASH,))
    assert spent(lake) == [("brand", "EUR", 100.0)]


def test_of_two_costs_the_one_received_later_counts_from_then_on(lake: Lake) -> None:
    corrected = STATED.replace("100.00,EUR,", "80.00,EUR,2026-01-05T00:00:00Z")
    assert take(lake, HEADER + corrected + STATED).stored == 2
    assert spent(lake) == [("brand", "EUR", 80.0)]
    assert spent(lake, datetime(2026, 1, 4, tzinfo=UTC)) == [("brand", "EUR", 100.0)]


def test_other_campaigns_currencies_and_days_are_other_costs(lake: Lake) -> None:
    others = [("brand", "shop"), ("brand", ""), ("EUR", "USD")]
    take(lake, HEADER + STATED + "".join(STATED.replace(*other) for other in others))
    assert take(lake, HEADER + STATED.replace("01-02", "01-03")).stored == 1
    with lake.connection(["spend"]) as connection:
        rows = connection.sql(SPEND, params={"as_of": NOW}).to_arrow_table()
    assert (rows.num_rows, sum(rows["cost"].to_pylist())) == (5, 500)


def test_two_rates_of_one_day_and_currency_are_refused(lake: Lake) -> None:
    text = "day,currency,rate\n2026-01-02,USD,0.9\n"
    take(lake, text, "rates")
    assert take(lake, text, "rates").already_there == 1
    assert take(lake, text.replace("0.9", "0.8"), "rates").reasons == (
        "Another row states another rate of this day and currency. Correct the file.",
    )
