"""Machines: touches that no person made are flagged with a reason, and can be left out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from features.ingestion import ingest
from features.lake import Lake
from features.machines import PARTS, SOUGHT
from features.settings import Settings

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SAFARI = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605"
)
SAID = "Its source says that a machine made it."
CRAWLER = "Its user agent is a crawler's."
PROXY = "Its user agent is that of Apple's mail privacy proxy."
SCANNER = "The click came within 2 seconds of the delivery."


def stored(tmp_path: Path, *touches: dict[str, Any]) -> Lake:
    lines = [
        {"event_id": f"{i}", "lead_id": "ada", "occurred_at": "2026-01-01T00:00:09Z", "channel": "Email"}
        | {"kind": "email_open"} | touch for i, touch in enumerate(touches)
    ]  # fmt: skip
    (tmp_path / "touches.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    lake = Lake(tmp_path / "lake")
    assert [file.refused for file in ingest(lake, Settings(), [tmp_path / "touches.jsonl"], NOW)] == [0]
    return lake


CASES: list[tuple[dict[str, Any], str | None]] = [
    ({"botFiltered": True}, SAID),
    ({"filteredEvent": "TRUE"}, SAID),
    ({"Is Bot Activity": "true"}, SAID),
    ({"properties": {"machine_open": 1}}, SAID),
    ({"properties": {"machine": True}}, SAID),
    ({"machine": True}, SAID),
    ({"machine": "No", "user_agent": "curl/8.4.0"}, None),
    ({"botFiltered": False}, None),
    ({"Is Bot Activity": "false"}, None),
    ({"user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}, CRAWLER),
    ({"userAgent": "facebookexternalhit/1.1"}, CRAWLER),
    ({"User Agent": "curl/8.4.0"}, CRAWLER),
    ({"user_agent": "python-requests/2.32"}, CRAWLER),
    ({"user_agent": "Mozilla/5.0 (Linux; Android 9; CUBOT X19) Chrome/79"}, None),
    ({"user_agent": SAFARI}, None),
    ({"user_agent": "Mozilla/5.0"}, PROXY),
    ({"user_agent": "Mozilla/5.0", "kind": "page_view"}, None),
    ({"kind": "email_click", "delivered_at": "2026-01-01T00:00:07Z"}, SCANNER),
    ({"kind": "email_click", "delivered_at": "2026-01-01T01:00:09+01:00"}, SCANNER),
    ({"kind": "email_click", "delivered_at": "2026-01-01T00:00:06.9Z"}, None),
    ({"kind": "email_click", "delivered_at": "2026-01-01T00:00:10Z"}, None),
    ({"kind": "email_click", "delivered_at": "soon"}, None),
    ({"kind": "email_open", "delivered_at": "2026-01-01T00:00:07Z"}, None),
    ({}, None),
]


def test_what_a_row_alone_tells_of_a_machine_is_flagged_with_its_reason(tmp_path: Path) -> None:
    touches = [touch for touch, _ in CASES]
    rows = (
        stored(tmp_path, *touches).query("SELECT machine, properties FROM touches ORDER BY event_id::INT").to_pylist()
    )
    reasons = [json.loads(row["properties"] or "{}").get("machine_reason") for row in rows]
    assert list(zip(touches, reasons, strict=True)) == CASES
    assert [row["machine"] for row in rows] == [why is not None for _, why in CASES]


def test_a_flagged_touch_keeps_all_else_and_can_be_left_out(tmp_path: Path) -> None:
    quoting = {"note": '"machine":true', "deep": {"machine": True}}
    lake = stored(tmp_path, {"botFiltered": True, "link": "/a"}, {"user_agent": SAFARI}, {"properties": quoting}, {})
    properties = lake.query("SELECT properties FROM touches ORDER BY event_id").to_pylist()
    flagged = {"botFiltered": "true", "link": "/a", "machine_reason": SAID}
    assert json.loads(properties[0]["properties"]) == flagged
    assert json.loads(properties[2]["properties"]) == quoting
    people = lake.query("SELECT event_id FROM touches WHERE NOT machine ORDER BY event_id").to_pylist()
    assert [row["event_id"] for row in people] == ["1", "2", "3"]


def test_a_flag_does_not_make_another_touch_of_a_touch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.machines.MACROS", "CREATE TEMP MACRO is_crawler(agent) AS false;"
                        "CREATE TEMP MACRO seconds_between(a, b) AS 0;")  # fmt: skip
    lake = stored(tmp_path, {"user_agent": "Googlebot/2.1"})
    monkeypatch.undo()
    (again,) = ingest(lake, Settings(), [tmp_path / "touches.jsonl"], NOW)
    assert (again.stored, again.already_there) == (0, 1)


def test_every_name_that_tells_of_a_machine_holds_a_part_that_is_looked_for_first() -> None:
    assert [name for name in SOUGHT if not any(part in name for part in PARTS)] == []
    assert [part for part in PARTS if not any(part in name for name in SOUGHT)] == []
