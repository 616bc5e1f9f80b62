"""The report: how sales and marketing stand together, as numbers and as one page."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from tables import moment, stage, table, touch, version
from typer.testing import CliRunner

from features.contract import schema
from features.lake import Lake
from features.settings import Settings
from serving.pages.report import page, report
from touchstone import app

ADA, BOB, CY = "ada", "bob", "<script>alert(1)</script>"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return three leads: Ada was accepted and won, Bob rejected, and Cy only came."""
    lake = Lake(tmp_path / "lake")
    lake.append("leads", table("leads", [version(lead, 0, created=0) for lead in (ADA, BOB, CY)]))
    touches = [touch(ADA, -1, channel="Search"), touch(BOB, -1, channel=CY), touch(ADA, 3, "sales_call", "Sales")]
    lake.append("touches", table("touches", touches))
    won = {**stage(ADA, 20, "won"), "amount": 1000}
    lake.append("stages", table("stages", [stage(ADA, 1, "mql"), stage(BOB, 2, "mql"), won]))
    verdicts = [(ADA, "accepted", None), (BOB, "rejected", "no budget")]
    rows = [{"lead_id": lead, "at": moment(4), "verdict": verdict, "reason": why} for lead, verdict, why in verdicts]
    lake.append("feedback", table("feedback", rows))
    spent = {"day": moment(0).date(), "channel": "Search", "cost": 100, "currency": "EUR", "received_at": moment(1)}
    lake.append("spend", table("spend", [spent]))
    return tmp_path


def test_the_report_counts_the_hand_over_the_funnel_and_what_each_channel_brought(workspace: Path) -> None:
    told = report(workspace, Lake(workspace / "lake"), Settings(), moment(40))
    handed = told["passed_on"]
    assert (handed["stage"], handed["passed"], handed["accepted"], handed["rejected"]) == ("mql", 2, 1, 1)
    assert handed["days"] == 2
    assert told["why_not"] == [{"reason": "no budget", "leads": 1}]
    assert told["funnel"] == [
        {"stage": "created", "leads": 3},
        {"stage": "mql", "leads": 2},
        {"stage": "won", "leads": 1},
    ]
    by_channel = {one["channel"]: one for one in told["channels"]}
    assert sorted(by_channel) == ["(no touch)", CY, "Search"]
    search = by_channel["Search"]
    assert (search["leads"], search["won"], search["revenue"]) == (1, 1, 1000)
    assert (search["spend"], search["cac"], search["roas"], search["days_to_close"]) == (100, 100, 10, 20)


def test_what_was_spent_where_no_lead_came_from_is_told_and_a_rate_that_is_unknown_is_not_guessed(
    workspace: Path,
) -> None:
    made, day = Lake(workspace / "lake"), moment(20).date()
    costs = [("Print", 40, "EUR"), ("Print", 10, "USD"), ("Search", 7, "GBP")]
    spent = [{"day": day, "channel": name, "cost": cost, "currency": currency, "received_at": moment(21)}
             for name, cost, currency in costs]  # fmt: skip
    made.append("spend", table("spend", spent))
    rates = [
        {"day": moment(at).date(), "currency": code, "rate": rate}
        for at, code, rate in ((18, "USD", 0.9), (2, "GBP", 2))
    ]
    made.append("rates", pa.Table.from_pylist(rates, schema("rates")))
    told = report(workspace, made, Settings(), moment(40))
    by_channel = {one["channel"]: one for one in told["channels"]}
    names = ("leads", "won", "spend", "cac", "roas")
    assert [by_channel["Print"][name] for name in names] == [0, 0, 49, None, 0]
    assert [by_channel["Search"][name] for name in names] == [1, 1, None, None, None]  # 100 would be a part of it
    sentence = (
        "No rate is known of 1 cost in GBP: what their channels cost, and all together, is not told. Ingest rates.csv, "
        "with day, currency and rate (what one unit is worth in EUR)."
    )
    assert told["unrated"] == sentence
    assert sentence in page(told)


def test_what_is_not_known_at_the_moment_is_not_told(workspace: Path) -> None:
    told = report(workspace, Lake(workspace / "lake"), Settings(), moment(3.5))
    assert (told["passed_on"]["accepted"], told["why_not"]) == (0, [])
    assert told["funnel"][-1] == {"stage": "mql", "leads": 2}


def test_the_page_needs_no_service_and_runs_nothing_that_a_channel_is_called(workspace: Path) -> None:
    told = page(report(workspace, Lake(workspace / "lake"), Settings(), moment(40)))
    assert CY not in told
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in told
    assert "€1,000" in told
    assert 'src="' not in told
    assert 'href="' not in told


def test_the_command_writes_the_page_and_prints_the_numbers(workspace: Path, tmp_path: Path) -> None:
    asked = [
        "report",
        "--workspace",
        str(workspace),
        "--as-of",
        moment(40).isoformat(),
        "--output",
        str(tmp_path / "r.html"),
    ]
    answer = CliRunner().invoke(app, asked)
    assert answer.exit_code == 0
    assert answer.stdout.startswith(
        "Since 2025-02-10 marketing passed on 2 (stage mql); sales accepted 1 and rejected 1.\n"
    )
    assert (tmp_path / "r.html").read_text("utf-8").startswith("<!doctype html>")
