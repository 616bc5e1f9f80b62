"""The check-up: what the lake holds, and sentences for what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from tables import moment, stage, table, touch, version

from features.checkup import checkup
from features.contract import INGESTED, schema
from features.lake import Lake
from features.settings import Goal

GOAL = Goal(won=["won"], lost=["lost"], horizon_days=90)
LEADS = [version("ada", 0), version("ada", 3), version("bob", 1, created=1)]
ENDS = [stage("ada", 5, "won"), stage("bob", 6, "lost", received=7)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def findings(lake: Lake, goal: Goal = GOAL) -> list[str]:
    return checkup(lake, goal, moment(9))["findings"]


def test_an_empty_lake_asks_for_leads(lake: Lake) -> None:
    nothing = {"leads": 0, "rows": 0, "first": None, "last": None}
    assert checkup(lake, GOAL, moment(9)) == {
        "tables": dict.fromkeys(INGESTED, nothing) | dict.fromkeys(("spend", "rates"), nothing | {"leads": None}),
        "quarantine": [],
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


def test_a_goal_that_no_stage_means_is_found(lake: Lake) -> None:
    lake.append("leads", table("leads", LEADS))
    lake.append("stages", table("stages", ENDS))
    assert findings(lake, Goal(won=["closed", "signed"], lost=["lost"], horizon_days=90)) == [
        "No stage is one of closed, signed. Set goal.won to what your system calls a closed deal."
    ]
    assert findings(lake, Goal(won=["won"], lost=[], horizon_days=90)) == [
        "No stage means that a lead is lost: every lead that is not won stays open for ever. Set goal.lost."
    ]


def test_refused_rows_are_grouped_by_their_reason_with_an_example(lake: Lake) -> None:
    refused = [
        ("3", 'cost "c" is not a finite number.'),
        ("2", 'cost "b" is not a finite number.'),
        ("1", "kind is empty."),
    ]
    rows = [{"table": "touches", "source": "t.csv", "row": row, "why": why, "row_hash": row} for row, why in refused]
    lake.append("quarantine", pa.Table.from_pylist(rows, schema("quarantine")))
    group = {"table": "touches", "source": "t.csv"}
    assert checkup(lake, GOAL, moment(9))["quarantine"] == [
        group | {"why": 'cost "…" is not a finite number.', "rows": 2, "example": "2"},
        group | {"why": "kind is empty.", "rows": 1, "example": "1"},
    ]
