"""The check-up: what the lake holds, and sentences for what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tables import claim, merge, moment, stage, table, touch, verdict, version

from features import delimited
from features.checkup import checkup
from features.contract import INGESTED, schema
from features.lake import Lake
from features.remedies import MAP, remedy
from features.settings import Goal

GOAL = Goal(won=["won"], lost=["lost"], horizon_days=90)
LEADS = [version("ada", 0), version("ada", 3), version("bob", 1, created=1)]
ENDS = [stage("ada", 5, "won"), stage("bob", 6, "lost", received=7)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def findings(lake: Lake, goal: Goal = GOAL) -> list[str]:
    return checkup(lake, goal, moment(9))["findings"]


def test_an_empty_lake_asks_for_leads(lake: Lake) -> None:
    nothing = {"leads": 0, "rows": 0, "first": None, "last": None}
    assert checkup(lake, GOAL, moment(9)) == {
        "tables": dict.fromkeys(INGESTED, nothing) | dict.fromkeys(("spend", "rates"), nothing | {"leads": None}),
        "sources": [],
        "quarantine": [],
        "arrivals": [],
        "findings": ["There are no leads yet. Ingest some: touchstone ingest FILE."],
    }


def test_tables_are_counted_and_dated(lake: Lake) -> None:
    lake.append("leads", table("leads", LEADS))
    lake.append("touches", table("touches", [touch("ada", 2), touch("ada", 1, received=8)]))
    lake.append("stages", table("stages", ENDS))
    found = checkup(lake, GOAL, moment(9))
    counted = {name: found["tables"][name] for name in ("leads", "touches", "stages")}
    assert counted == {
        "leads": {"leads": 2, "rows": 3, "first": moment(0), "last": moment(3)},
        "touches": {"leads": 1, "rows": 2, "first": moment(1), "last": moment(8)},
        "stages": {"leads": 2, "rows": 2, "first": moment(5), "last": moment(7)},
    }
    assert found["findings"] == []


def test_touches_out_of_place_are_found(lake: Lake) -> None:
    lake.append("leads", table("leads", LEADS))
    lake.append("stages", table("stages", ENDS))
    odd = [touch("zoe", 1), touch("zoe", 2), touch(None, 3), touch("ada", 9), touch("ada", 8.999)]
    lake.append("touches", table("touches", odd))
    assert findings(lake) == [
        "2 touches are of leads that are not in the lake. Ingest those leads.",
        "1 touch is anonymous, of no lead yet.",
        "1 touch is in the future. Check the time zone of their source.",
    ]


def test_a_touch_that_turned_out_to_be_a_leads_is_not_anonymous_and_a_merge_into_nobody_is_found(lake: Lake) -> None:
    lake.append("leads", table("leads", LEADS))
    lake.append("stages", table("stages", ENDS))
    lake.append("touches", table("touches", [touch(None, 1, anonymous="a"), touch("ada", 2), touch(None, 2)]))
    lake.append("identities", table("identities", [claim("a", "ada", 3)]))
    assert findings(lake) == ["1 touch is anonymous, of no lead yet."]
    lake.append("identities", table("identities", [merge("ada", "zoe", 4)]))
    assert findings(lake) == [
        "2 touches are of leads that are not in the lake. Ingest those leads.",
        "1 record is merged into leads that are not in the lake. Ingest those leads.",
        "1 touch is anonymous, of no lead yet.",
    ]


def test_stages_and_feedback_of_leads_that_nobody_knows_are_found(lake: Lake) -> None:
    lake.append("leads", table("leads", LEADS))
    lake.append("identities", table("identities", [merge("bobby", "bob", 2)]))
    lake.append("stages", table("stages", [*ENDS, stage("ad", 5, "sql"), stage("bobby", 5, "sql")]))
    said = [verdict(lead, 4) for lead in ("ada", "bobby", "L-9", "L-99")]
    lake.append("feedback", table("feedback", said))
    told = 'of leads that are not in the lake (such as "{}"). Correct the ids, or ingest the leads.'
    assert findings(lake) == [f"1 row of stages is {told.format('ad')}", f"2 rows of feedback are {told.format('L-9')}"]


def test_ids_that_a_spreadsheet_wrote_with_a_point_are_told(lake: Lake) -> None:
    lake.append("leads", table("leads", [{**LEADS[0], "lead_id": one} for one in ("7", "8.0", "9", "x")]))
    lake.append("touches", table("touches", [touch(one, 2) for one in ("7.0", "8", "9", "x.0", "6.0")]))
    (said,) = (one for one in findings(lake) if ".0" in one)
    assert said == (
        '2 of these ids are numbers (such as "7.0") that leads bear with .0, or without it: so spreadsheets and pandas '
        "write a column of numbers that has gaps. Export ids as text, or let lead_id be "
        "{ sql = \"regexp_replace(lead_id, '[.]0$', '')\" } under [sources.columns]."
    )


def test_a_goal_that_no_stage_means_is_found(lake: Lake) -> None:
    lake.append("leads", table("leads", LEADS))
    lake.append("stages", table("stages", ENDS))
    assert findings(lake, Goal(won=["closed", "signed"], lost=["lost"], horizon_days=90)) == [
        "No stage is one of closed, signed. Set goal.won to what your system calls a closed deal."
    ]
    assert findings(lake, Goal(won=["won"], lost=[], horizon_days=90)) == [
        "No stage means that a lead is lost: every lead that is not won stays open for ever. Set goal.lost."
    ]


def test_a_further_goal_that_no_stage_means_is_found(
    lake: Lake, command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    lake.append("leads", table("leads", LEADS))
    lake.append("stages", table("stages", ENDS))
    (tmp_path / "touchstone.toml").write_text(
        '[goals.signed]\nwon = ["won"]\n[goals.renewed]\nwon = ["Renewed", "again"]\n'
    )
    assert command("check", workspace=tmp_path)[1].splitlines()[-1] == (
        "• No stage is one of Renewed, again. Set goals.renewed.won to what your system calls it."
    )


def test_refused_rows_are_grouped_by_their_reason_with_an_example(lake: Lake) -> None:
    refused = [
        ("3", 'cost "c" is not a finite number.'),
        ("2", 'cost "b" is not a finite number.'),
        ("1", "kind is empty."),
    ]
    rows = [{"table": "touches", "source": "t.csv", "row": row, "why": why, "row_hash": row} for row, why in refused]
    lake.append("quarantine", pa.Table.from_pylist(rows, schema("quarantine")))
    group = {"table": "touches", "source": "t.csv"}
    again = "Then ingest t.csv again: rows that are stored already stay as they are."
    assert checkup(lake, GOAL, moment(9))["quarantine"] == [
        group
        | {"why": 'cost "…" is not a finite number.', "rows": 2, "example": "2"}
        | {"remedy": f"Export plain numbers, or map the column to an expression that makes them. {again}"},
        group | {"why": "kind is empty.", "rows": 1, "example": "1"} | {"remedy": f"{MAP} {again}"},
    ]


def test_every_sentence_that_refuses_a_row_has_a_remedy_of_its_own() -> None:
    general = "Correct these rows. Then ingest f.csv again: rows that are stored already stay as they are."
    said = [
        *("This line does not have the 3 columns that the first line names.", "This line is not UTF-8. Save the file."),
        *(f"This line cannot be read: {cause}." for cause in delimited.CAUSES.values()),
        "This line is not a JSON object in UTF-8.",
        *(f'x "y" {rest}' for rest in ("names no time zone.", "is not a time between 1900 and 2200.", "is not a day.")),
        'x "y" was skipped when the clocks were set forward in Europe/Berlin. Correct it, or write its offset.',
        *('x "y" came twice when the clocks were set back in Europe/Berlin.', 'x "y" is neither true nor false.'),
        *('x "y" is not a finite number.', 'x "y" is not an amount.', "kind is empty.", "channel is empty."),
        *(
            "currency is not a code of three capital letters, such as EUR.",
            "event_id is taken by a row with other content.",
        ),
        "lead_id and anonymous_id are both empty. Say whose touch it is.",
        *("This group event has no userId, so it is of no lead yet.", 'The type of this event is "x", which is none.'),
        *("traits is not a JSON object.", "Another row states another cost of this day, channel and campaign."),
    ]
    assert [why for why in said if remedy(why, "f.csv") == general] == []
    assert remedy("The score is below 0.", "f.csv") == general
    assert remedy("channel is empty.", "f.csv").startswith("Map utm_source and utm_medium, add [[channels.rules]], or")


# Freshness, volume and gaps: nine weeks of 20 page views a day by Email, as of the midnight after


AS_OF = moment(63)


def visits(*, without: Collection[int] = (), more: Mapping[int, int] | None = None) -> list[dict[str, Any]]:
    """Return 20 page views on each day, but none on some, and other numbers on some."""
    numbers = dict.fromkeys(range(63), 20) | dict.fromkeys(without, 0) | dict(more or {})
    return [touch("ada", on + i / 1_000, "page_view") for on, number in numbers.items() for i in range(number)]


def arrivals(lake: Lake, *touches: dict[str, Any], as_of: datetime = AS_OF) -> list[str]:
    lake.append("leads", table("leads", LEADS))
    lake.append("stages", table("stages", ENDS))
    lake.append("touches", table("touches", touches))
    return checkup(lake, GOAL, as_of)["findings"]


def test_a_steady_stream_is_no_finding_and_is_described(lake: Lake) -> None:
    assert arrivals(lake, *visits()) == []
    sources = {(s["table"], s["column"], s["name"]): s for s in checkup(lake, GOAL, AS_OF)["sources"]}
    described = {"rows": 1260, "newest": moment(62.019), "age_days": 0.98, "last_7_days": 140}
    volume = {"weekly_before": 140.0, "chance": 1.0}
    for column, name in ((None, None), ("kind", "page_view"), ("channel", "Email")):
        key = {"table": "touches", "column": column, "name": name}
        assert sources["touches", column, name] == key | described | volume
    assert sorted(key[2] for key in sources if key[1] == "stage") == ["lost", "won"]
    assert sources["stages", "stage", "won"]["age_days"] == 58


def test_a_kind_that_all_but_stopped_is_said_with_how_sure_it_is(lake: Lake) -> None:
    mails = [touch("ada", on + 0.5, "email_click", "Ads") for on in range(56) for _ in range(6)]
    assert arrivals(lake, *visits(), *mails, touch("ada", 60, "email_click", "Ads")) == [
        f"Touches of {source} fell to 1 in the last 7 days, from 42.0 a week in the 8 weeks before. Chance alone shows "
        "such a move in fewer than 1 of 1,000 checks. See whether its source still sends all of it."
        for source in ('channel "Ads"', 'kind "email_click"')
    ]


def test_a_table_that_rose_is_said_once_and_not_again_for_each_part_of_it(lake: Lake) -> None:
    findings = arrivals(lake, *visits(more=dict.fromkeys(range(56, 63), 80)))
    sentence = (
        "Touches rose to 560 in the last 7 days, from 140.0 a week in the 8 weeks before. Chance alone shows such "
        "a move in fewer than 1 of 1,000,000,000 checks. See whether its source is doubled, or a bot came."
    )
    assert findings == [sentence]


def test_days_without_touches_are_named(lake: Lake) -> None:
    usual = "where 20 a day are usual. A day off, or a gap in a feed: then ingest what is missing."
    assert arrivals(lake, *visits(without=[30, 31, 40])) == [
        f"There are no touches from 2026-01-31 to 2026-02-01, {usual}",
        f"There are no touches on 2026-02-10, {usual}",
    ]


def test_a_stream_that_ended_is_said_once(lake: Lake) -> None:
    sentence = (
        "No touches for 21 days: the newest are of 2026-03-04. See whether their source still sends, "
        "and ingest what is missing."
    )
    lake.append("stages", table("stages", [stage("bob", 81, "lost")]))
    assert arrivals(lake, *visits(), touch("ada", 90), as_of=moment(83)) == [
        "1 touch is in the future. Check the time zone of their source.",
        sentence,
    ]


def test_where_every_stream_ended_the_end_of_the_data_is_said_once(lake: Lake) -> None:
    (sentence,) = arrivals(lake, *visits(), as_of=moment(83))
    assert sentence.startswith("Nothing came for 21 days: the newest row is of 2026-03-04.")


def test_a_stream_that_always_pauses_is_not_said_to_have_ended(lake: Lake) -> None:
    assert arrivals(lake, *(touch("ada", 20 * i) for i in range(12)), as_of=moment(239)) == []


def test_what_is_known_of_today_is_not_compared(lake: Lake) -> None:
    assert arrivals(lake, *visits(more={63: 500}), as_of=moment(63.9)) == []


def test_refunds_of_no_deal_are_found(lake: Lake) -> None:
    lake.append("leads", table("leads", LEADS))
    back = [stage("bob", 7, "refund"), stage("ada", 4, "refund") | {"amount": 5}, stage("ada", 8, "refund")]
    lake.append("stages", table("stages", [*ENDS, *back]))
    assert findings(lake) == [
        "2 refunds are of leads that were not won before, and credited to nobody. Ingest the stages of those deals."
    ]
