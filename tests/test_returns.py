"""Returns, the decision and the routes: what people ask of credit, on a company that one can work out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pathed import path_journeys

from attribution.credit import Attribution, credit
from attribution.decision import decision
from attribution.journeys import Journeys, journeys
from attribution.returns import blended, by_month, costs, returns, spent_on, unknown
from attribution.routes import routes
from features.contract import schema
from features.errors import DataError
from features.lake import Lake
from features.settings import Settings

NONE_SPENT = pd.DataFrame({"day": [], "channel": [], "campaign": [], "cost": []})


def moments(*days: int) -> pd.DatetimeIndex:
    return (pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(list(days), unit="D")).as_unit("us")


def seen() -> Journeys:
    """Ada: Email in January, Events twice in February, 300.00 in March. Cleo: Email, then nothing."""
    touches = pd.DataFrame(
        {
            "lead_id": ["ada", "ada", "ada", "cleo"],
            "event_id": ["e1", "e2", "e3", "e4"],
            "occurred_at": moments(4, 34, 40, 5),
            "channel": ["Email", "Events", "Events", "Email"],
        }
    )
    won = pd.DataFrame({"lead_id": ["ada"], "occurred_at": moments(64), "value_cents": [30_000]})
    return journeys(touches, won, pd.Timestamp("2026-04-01", tz="UTC"), None)


def answer(*models: str) -> Attribution:
    return credit(seen(), models, replicates=50)


def spent() -> pd.DataFrame:
    days = pd.to_datetime(["2026-01-03", "2026-02-03", "2026-03-03"]).date
    return pd.DataFrame(
        {"day": days, "channel": ["Email", "Events", "Display"], "campaign": None,
         "cost": [Decimal("50.00"), Decimal("400.00"), Decimal("10.00")]}
    )  # fmt: skip


def lines(table: pd.DataFrame) -> dict[str, tuple[object, ...]]:
    return {row[0]: row[1:] for row in table.itertuples(index=False, name=None)}


def test_ratios_come_from_summed_parts_and_nothing_is_divided_by_nothing() -> None:
    found = lines(returns(answer("linear"), spent(), "linear").drop(columns=["realized", "realized_roi"]))
    third = Decimal("100.00")
    assert found["Email"] == (Decimal("50.00"), pytest.approx(1 / 3), third, Decimal("150.00"), 2.0, 1.0)
    assert found["Events"] == (Decimal("400.00"), pytest.approx(2 / 3), 2 * third, Decimal("600.00"), 0.5, -0.5)
    assert found["Display"] == (Decimal("10.00"), 0.0, Decimal(0), None, 0.0, -1.0)
    assert found["(all)"] == (Decimal("460.00"), pytest.approx(1), Decimal("300.00"), Decimal("460.00"),
                              pytest.approx(300 / 460), pytest.approx(-160 / 460))  # fmt: skip
    assert lines(returns(answer("linear"), NONE_SPENT, "linear"))["Email"][3:6] == (None, None, None)


def test_realized_returns_follow_the_money_of_a_periods_touches_and_simple_ones_what_closed_in_it() -> None:
    january = lines(returns(answer("linear"), spent(), "linear", date(2026, 1, 1), date(2026, 2, 1)))
    march = lines(returns(answer("linear"), spent(), "linear", date(2026, 3, 1)))
    assert january["Email"][2:] == (Decimal(0), None, 0.0, -1.0, Decimal("100.00"), 1.0)
    assert january["(all)"][0] == Decimal("50.00")
    assert march["(all)"][2] == Decimal("300.00")
    assert march["(all)"][6] == Decimal(0)


def test_a_model_without_touches_cannot_tell_periods_apart() -> None:
    with pytest.raises(DataError, match=r"^markov:1 credits channels, not touches, so no period can be told apart\."):
        returns(answer("markov:1"), spent(), "markov:1", date(2026, 1, 1))


def test_the_day_until_which_a_period_runs_is_no_part_of_it() -> None:
    until_the_close = lines(returns(answer("linear"), spent(), "linear", until=date(2026, 3, 6)))
    day_by_day = lines(returns(answer("linear"), spent(), "linear", date(2026, 2, 3), date(2026, 3, 3)))
    assert until_the_close["(all)"][2] == Decimal(0)  # which was on that day
    assert day_by_day["(all)"][0] == Decimal("400.00")


def test_each_month_tells_what_closed_in_it_and_what_its_touches_brought() -> None:
    found = by_month(answer("linear"), spent(), "linear")
    names = ["month", "channel", "spend", "revenue", "realized"]
    told = [tuple(row) for row in found[found["channel"] != "(all)"][names].to_numpy().tolist()]
    january, february, march = (date(2026, month, 1) for month in (1, 2, 3))
    nothing, third = Decimal(0), Decimal("100.00")
    assert told == [
        (january, "Email", Decimal("50.00"), nothing, third),
        (february, "Events", Decimal("400.00"), nothing, 2 * third),
        (march, "Display", Decimal("10.00"), nothing, nothing),
        (march, "Email", nothing, third, nothing),
        (march, "Events", nothing, 2 * third, nothing),
    ]
    assert found["realized_roi"].dropna().tolist() == [1.0, 1.0, -0.5, -0.5, -1.0, -1.0]
    of_all = found[found["channel"] == "(all)"]
    assert of_all[["month", "revenue", "realized"]].to_numpy().tolist() == [
        [january, nothing, third], [february, nothing, 2 * third], [march, 3 * third, nothing]
    ]  # fmt: skip


def test_a_model_without_touches_tells_of_no_month() -> None:
    assert by_month(answer("markov:1"), spent(), "markov:1").empty


def test_blended_returns_are_of_all_that_closed_under_a_rule_and_a_model_that_says_what_closed_anyway() -> None:
    ruled = replace(answer("linear"), unattributed={"credit": 1.0, "value": Decimal("160.00")})
    told = {"spend": 460, "closes": pytest.approx(2), "revenue": 460, "cac": pytest.approx(230), "roas": 1}
    assert blended(ruled, spent()) == told
    assert blended(replace(ruled, anyway={"linear": {"credit": 1.0, "value": Decimal("160.00")}}), spent()) == told
    nothing = blended(ruled, NONE_SPENT)
    assert (nothing["cac"], nothing["roas"]) == (None, None)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "lake")
    received = datetime(2026, 1, 5, tzinfo=UTC)
    rows = [
        {"day": date(2026, 1, 2), "channel": "Email", "cost": Decimal(cost), "currency": currency,
         "received_at": received, "row_hash": currency}
        for cost, currency in (("10.00", "EUR"), ("100.00", "USD"))
    ]  # fmt: skip
    made.append("spend", pa.Table.from_pylist(rows, schema("spend")))
    return made


def test_costs_are_worth_the_rate_of_their_day_and_without_one_no_sum_is_told(lake: Lake) -> None:
    april = datetime(2026, 4, 1, tzinfo=UTC)
    unrated = costs(lake, Settings(), april)
    assert unrated["cost"].tolist() == [Decimal("10.00"), None]
    assert unknown(unrated, "EUR") == (
        "No rate is known of 1 cost in USD: what their channels cost, and all together, is not told. Ingest "
        "rates.csv, with day, currency and rate (what one unit is worth in EUR)."
    )
    told = lines(returns(answer("linear"), pd.concat([spent(), unrated]), "linear"))
    assert (told["Email"][0], told["(all)"][0], pd.isna(pd.Series(told["Email"][3:6])).all()) == (None, None, True)
    assert told["Events"] == lines(returns(answer("linear"), spent(), "linear"))["Events"]
    assert blended(answer("linear"), unrated)["spend"] is None
    assert spent_on(lake, Settings(), april) is None
    rate = {"day": date(2026, 1, 1), "currency": "USD", "rate": 0.91237}
    lake.append("rates", pa.Table.from_pylist([rate], schema("rates")))
    assert unknown(costs(lake, Settings(), april), "EUR") == ""
    assert costs(lake, Settings(), april)["cost"].tolist() == [Decimal("10.00"), Decimal("91.24")]
    assert spent_on(lake, Settings(), april) == {"Email": Decimal("101.24")}
    assert costs(lake, Settings(), datetime(2026, 1, 4, tzinfo=UTC)).empty


def test_the_decision_says_when_models_or_chance_would_turn_it() -> None:
    rows = [("A > B", 4_000, 10_000, 0), ("B", 100, 4_000, 0), ("A", 300, 4_000, 0)]
    paths = path_journeys(pd.DataFrame(rows, columns=["path", "conversions", "nulls", "value_cents"]))
    turned = decision(credit(paths, ["first", "last"]))
    assert turned is not None
    assert (turned.fund, turned.flips) == ("A", True)
    assert turned.sentence.startswith("Fund A? It depends on the model: last says B.")
    sure = decision(credit(paths, ["first"]))
    assert sure is not None
    assert sure.sentence == "Fund A: first says so, and no interval lets another channel be the best."
    alike = decision(
        credit(
            path_journeys(pd.DataFrame(rows[1:], columns=["path", "conversions", "nulls", "value_cents"])),
            ["first", "last"],
        )
    )
    assert alike is not None
    assert alike.sentence.startswith("Fund A: every model says so, ")
    rows = [("A > B", 400, 10_000, 0), ("B", 10, 4_000, 0), ("A", 20, 4_000, 0)]
    paths = path_journeys(pd.DataFrame(rows, columns=["path", "conversions", "nulls", "value_cents"]))
    close = decision(credit(paths, ["linear"]))
    assert close is not None
    assert close.sentence.endswith("within the intervals of linear another may be best.")


def test_the_decision_is_by_closes_for_spend_where_it_is_known_among_channels_that_cost_enough() -> None:
    rows = [("A > B", 400, 0, 0), ("B", 40, 0, 0)]
    paths = path_journeys(pd.DataFrame(rows, columns=["path", "conversions", "nulls", "value_cents"]))
    for_money = decision(credit(paths, ["first"]), {"A": Decimal(1000), "B": Decimal(60), "C": Decimal(90)})
    assert for_money is not None
    assert for_money.fund == "B"
    assert for_money.sentence.endswith(" Compared are closes for spend, of channels with 5% of it or more.")
    too_little = decision(credit(paths, ["first"]), {"A": Decimal(1000), "B": Decimal(40)})
    assert too_little is not None
    assert (too_little.fund, too_little.unsure) == ("A", ())


def test_the_decision_says_that_spend_is_left_out_where_a_currency_has_no_rate() -> None:
    known, unrated = (decision(answer("first"), spent) for spent in ({}, None))
    assert known is not None
    assert unrated is not None
    assert unrated.by_model == known.by_model
    assert unrated.sentence == (
        f"{known.sentence} Spend is left out: a currency has no rate; `touchstone attribute --returns` tells it."
    )


def test_a_paid_channel_that_a_model_does_not_know_earned_nothing_by_it() -> None:
    two = answer("first", "linear")
    spend = {"Email": Decimal(300), "Events": Decimal(100)}
    known = two.channels[(two.channels["model"] == "first") | (two.channels["channel"] == "Email")]
    found = decision(replace(two, channels=known), spend)
    assert found is not None
    assert found.by_model == {"first": "Email", "linear": "Email"}
    turned = decision(two, spend)
    assert turned is not None
    assert turned.by_model == {"first": "Email", "linear": "Events"}


def test_where_no_channel_earned_anything_there_is_nothing_to_decide() -> None:
    rows = [("A > B", 0, 3, 0), ("", 2, 0, 0)]
    paths = path_journeys(pd.DataFrame(rows, columns=["path", "conversions", "nulls", "value_cents"]))
    assert decision(credit(paths, ["first", "last"])) is None


def test_a_model_that_finds_two_channels_as_good_contradicts_neither() -> None:
    paths = path_journeys(pd.DataFrame([{"path": "B > A", "conversions": 6, "nulls": 0, "value_cents": 0}]))
    tied = decision(credit(paths, ["first", "linear", "markov:1"]))
    assert tied is not None
    assert (tied.fund, tied.flips, tied.unsure) == ("B", False, ("linear", "markov:1"))


def test_routes_tell_every_touch_in_order_and_how_often_that_converted() -> None:
    assert routes(seen()).to_numpy().tolist() == [["Email", 0, 1, 0], ["Email > Events > Events", 1, 0, 30_000]]
