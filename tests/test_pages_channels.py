"""The page Channels, on a company that can be counted by hand: Ada and Bob were won, Cleo untouched, Dan is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from tables import moment, stage, table, touch, version

from attribution import runs
from features.lake import Lake
from features.settings import Settings
from serving import ledger
from serving.pages.book import Book, Edition
from serving.pages.channels import _agree, _cohorts, _flip
from serving.pages.choice import ALWAYS, Choice, chosen
from serving.pages.earned import NOBODY, REST, Credited, Table, table_of
from serving.pages.pace import by_first_touch

NOW = moment(100)
ALL = Choice(ALWAYS)


@pytest.fixture(scope="module")
def edition(tmp_path_factory: pytest.TempPathFactory) -> Edition:
    folder = tmp_path_factory.mktemp("company")
    won = [
        (lead, day, Decimal(amount)) for lead, day, amount in (("Ada", 10, 1000), ("Bob", 20, 500), ("Cleo", 70, 200))
    ]
    spent = [("Ads", 1, 100, "spring"), ("Email", 60, 50, None), ("Print", 1, 4, None)]
    rows: dict[str, list[dict[str, Any]]] = {
        "leads": [version(lead, day, created=day) for lead, day in (("Ada", 0), ("Bob", 0), ("Cleo", 60), ("Dan", 62))],
        "touches": [
            touch("Ada", 1, channel="Email"), touch("Ada", 2, channel="Ads") | {"campaign": "spring"},
            touch("Bob", 3, channel="Ads"), touch("Dan", 63, channel="Email"),
        ],
        "stages": [stage(lead, day, "won") | {"amount": amount, "currency": "EUR"} for lead, day, amount in won],
        "spend": [{"day": moment(day).date(), "channel": channel, "cost": cost, "campaign": campaign, "currency": "EUR",
                   "received_at": moment(day)} for channel, day, cost, campaign in spent],
    }  # fmt: skip
    return credited_edition(folder, Settings(), rows)


def credited_edition(folder: Path, settings: Settings, rows: Mapping[str, list[dict[str, Any]]]) -> Edition:
    """Return the book of a company whose closes have been credited."""
    lake = Lake(folder / "lake")
    for name, told in rows.items():
        lake.append(name, table(name, told))
    run = runs.attribute(lake, settings, NOW, ["linear", "first"])
    runs.store(lake, run)
    ledger.keep(folder, run.summary(), NOW.isoformat())
    return Book(folder, lake, settings).make(NOW)


def by_channel(edition: Edition, choice: Choice, *names: str) -> dict[str, tuple[object, ...]]:
    return {row["channel"]: tuple(row[name] for name in names) for row in table_of(edition, choice, {}).rows}


def test_each_channel_has_its_credit_and_its_money_and_the_best_comes_first(edition: Edition) -> None:
    rows = by_channel(edition, ALL, "credit", "value", "cost", "cac", "roas", "roi")
    assert list(rows.items()) == [
        ("Ads", (1.5, 1000, 100, pytest.approx(100 / 1.5), 10, 9)),
        ("Email", (0.5, 500, 50, 100, 10, 9)),
        ("(no touch)", (0, 0, None, None, None, None)),
        ("Print", (0, 0, 4, None, 0, -1)),
        (NOBODY, (1, 200, None, None, None, None)),
    ]


def test_the_total_sets_all_that_closed_beside_all_spend_and_realized_roi_what_touches_brought(
    edition: Edition,
) -> None:
    total = table_of(edition, ALL, {}).total
    assert (total["won"], total["value"], total["cost"]) == (3, 1700, 154)
    assert (total["cac"], total["roas"]) == (pytest.approx(154 / 3), pytest.approx(1700 / 154))
    assert total["roi"] == pytest.approx((1500 - 154) / 154)


def test_of_a_period_closes_are_counted_by_when_they_closed_and_realized_roi_by_when_was_touched(
    edition: Edition,
) -> None:
    rows = by_channel(edition, Choice(moment(5)), "credit", "cost", "roas", "roi")
    assert rows["Email"] == (0.5, 50, 10, -1)
    assert rows["Ads"] == (1.5, None, None, None)
    assert by_channel(edition, Choice(moment(15)), "credit")["Ads"] == (1,)


def test_of_a_channel_with_a_cost_of_unknown_rate_no_cost_is_told_and_none_of_all(tmp_path: Path) -> None:
    lake, day = Lake(tmp_path / "lake"), moment(1).date()
    paid = [("Ads", "EUR"), ("Ads", "USD"), ("Email", "EUR"), ("Print", "USD")]
    spent = [
        {"day": day, "channel": name, "cost": 5, "currency": code, "received_at": moment(2)} for name, code in paid
    ]
    lake.append("spend", table("spend", spent))
    made = Book(tmp_path, lake, Settings()).make(NOW)
    rows = by_channel(made, ALL, "cost", "cac", "roas", "roi")
    nothing = (None, None, None, None)
    assert rows == {"Ads": nothing, "Email": (5, None, 0, -1), "Print": nothing, NOBODY: nothing}
    total = table_of(made, ALL, {}).total
    assert [total[name] for name in ("cost", "cac", "roas", "roi")] == [*nothing]


def test_of_a_campaign_the_rest_is_called_the_rest(edition: Edition) -> None:
    rows = by_channel(edition, replace(ALL, campaign="spring"), "credit", "cost")
    assert rows == {"Ads": (0.5, 100), REST: (2.5, None)}


def test_a_later_run_of_chains_alone_takes_no_credit_from_single_closes(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.append("leads", table("leads", [version("Ada", 0)]))
    lake.append("touches", table("touches", [touch("Ada", 1, channel="Ads")]))
    lake.append("stages", table("stages", [stage("Ada", 10, "won")]))
    for hours, model in enumerate(("linear", "markov:1")):
        run = runs.attribute(lake, Settings(), NOW, [model])
        runs.store(lake, run)
        ledger.keep(tmp_path, run.summary(), (NOW + timedelta(hours=hours)).isoformat())
    told = by_channel(Book(tmp_path, lake, Settings()).make(NOW), ALL, "credit")
    assert told == {"Ads": (1,), NOBODY: (0,)}


def test_open_pipeline_takes_no_old_rate_and_an_account_s_deal_once(tmp_path: Path) -> None:
    lake, day = Lake(tmp_path / "lake"), moment(90).date()
    deals = (("Ada", 500, "EUR"), ("Bob", 500, "EUR"), ("Cleo", 100, "USD"), ("Dan", 100, "GBP"))
    rows: dict[str, list[dict[str, Any]]] = {
        "leads": [version(lead, 0, account="A" if lead in {"Ada", "Bob"} else None) for lead, *_ in deals],
        "touches": [touch(lead, 1, channel="Ads") for lead, *_ in deals],
        "stages": [stage(lead, 2, "opportunity") | {"amount": Decimal(amount), "currency": currency}
                   for lead, amount, currency in deals],
        "scores": [{"lead_id": lead, "as_of": moment(99), "horizon_days": 90.0, "probability": p}
                   for (lead, *_), p in zip(deals, (0.1, 0.5, 0.5, 0.5), strict=True)],
        "rates": [{"day": day - timedelta(days=30 * old), "currency": code, "rate": 2.0}
                  for old, code in enumerate(("GBP", "USD"))],
    }  # fmt: skip
    for name, told in rows.items():
        lake.append(name, table(name, told))
    settings = Settings.model_validate({"attribution": {"of": "account", "rate_days": 14}})
    edition = Book(tmp_path, lake, settings).make(NOW)
    assert by_channel(edition, ALL, "pipeline") == {"Ads": (0.5 * 500 + 0.5 * 100 * 2,), NOBODY: (None,)}
    assert edition.unrated == (
        "No rate is known of 1 open deal in USD: open pipeline is told without. Ingest rates.csv, with day, currency "
        "and rate (what one unit is worth in EUR)."
    )


def test_an_account_s_deal_that_two_contacts_tell_of_is_one_close_and_touches_of_all_contacts_earn_it(
    tmp_path: Path,
) -> None:
    amount = {"amount": Decimal(1000), "currency": "EUR"}
    rows = {
        "leads": [version(lead, 0, account="Acme") for lead in ("Ada", "Bob", "Cy")],
        "touches": [touch("Ada", 1, channel="Ads"), touch("Cy", 2, channel="Email")],
        "stages": [stage(lead, 10, "won") | amount for lead in ("Bob", "Ada")],
    }
    edition = credited_edition(tmp_path, Settings.model_validate({"attribution": {"of": "account"}}), rows)
    assert by_channel(edition, ALL, "credit", "value") == {
        "Ads": (0.5, 500), "Email": (0.5, 500), "(no touch)": (0, 0), NOBODY: (0, 0),
    }  # fmt: skip
    assert table_of(edition, ALL, {}).total["won"] == 1


def test_each_of_a_lead_s_deals_is_a_close_where_each_is_credited(tmp_path: Path) -> None:
    rows = {
        "leads": [version("Ada", 0)],
        "touches": [touch("Ada", 1, channel="Ads"), touch("Ada", 15, channel="Email")],
        "stages": [stage("Ada", day, "won") | {"amount": Decimal(worth), "currency": "EUR"}
                   for day, worth in ((10, 1000), (20, 500))],
    }  # fmt: skip
    edition = credited_edition(tmp_path, Settings.model_validate({"attribution": {"repeated": True}}), rows)
    assert by_channel(edition, ALL, "credit", "value") == {"Ads": (1, 1000), "Email": (1, 500), NOBODY: (0, 0)}
    assert by_channel(edition, Choice(moment(15)), "credit", "value") == {"Email": (1, 500), NOBODY: (0, 0)}


def test_a_year_is_looked_at_unless_another_period_is_asked_for(edition: Edition) -> None:
    assert chosen({}, edition).since == moment(100 - 365)
    assert chosen({"period": "all"}, edition).since == ALWAYS


def test_a_cohort_says_nothing_of_days_that_its_youngest_lead_has_not_lived_yet(edition: Edition) -> None:
    assert _cohorts(edition, ALL) == [
        ["Jan 2026", "2", "100 %", "100 %", "100 %", "–"], ["Mar 2026", "2", "50 %", "–", "–", "–"],
    ]  # fmt: skip


def test_the_first_cohort_is_a_whole_month(tmp_path: Path) -> None:
    leads = [version(lead, 0, created=day) for lead, day in (("late April", -250), ("May", -240))]
    edition = credited_edition(tmp_path, Settings(), {"leads": leads, "touches": [touch("May", 1)]})
    assert [row[:2] for row in _cohorts(edition, ALL)] == [["May 2025", "1"]]  # of a day in April 2026


def test_a_median_of_fewer_than_five_leads_is_not_told(edition: Edition) -> None:
    assert by_first_touch(edition, ALL)["by_channel"] == [["Ads", "–"], ["Email", "–"]]


def credited(closes: Mapping[str, float], value: Mapping[str, float] = MappingProxyType({})) -> Credited:
    return Credited(dict(closes), dict(closes), dict(closes), dict(value))


def test_a_flip_names_the_paid_channel_that_brings_most_by_each_model_where_it_costs_enough_to_count() -> None:
    first, last = credited({}, {"Ads": 300, "Email": 200, "Print": 99}), credited({}, {"Ads": 100, "Email": 200})
    cost = {"Ads": 50.0, "Email": 50.0, "Print": 5.0}
    table_ = Table("first", [], {}, [("first", first), ("last", last)], cost)
    assert _flip(table_).startswith("which paid channel brings most for its money depends on it: Ads by first")
    assert "; Email by last" in _flip(table_)
    assert _flip(replace(table_, compared=[("first", first)])) == ""


def test_models_are_compared_where_they_are_furthest_apart() -> None:
    compared = [("first", credited({"Ads": 6, "Email": 3})), ("last", credited({"Ads": 1, "Email": 4}))]
    said = _agree(Table("first", [], {"won": 10}, compared, {}))
    assert said == "they are furthest apart on Ads: 10 % by last, 60 % by first"
