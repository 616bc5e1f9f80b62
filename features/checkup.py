"""The check-up: what the lake holds, how fresh it is, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from features.contract import INGESTED
from features.lake import Lake
from features.settings import Goal

COUNTS = {
    "leads": "SELECT count(DISTINCT lead_id) AS leads, count(*) AS rows, "
    "min(created_at) AS first, max(observed_at) AS last FROM leads",
    "touches": "SELECT count(DISTINCT lead_id) AS leads, count(*) AS rows, "
    "min(occurred_at) AS first, max(received_at) AS last FROM touches",
    "stages": "SELECT count(DISTINCT lead_id) AS leads, count(*) AS rows, "
    "min(occurred_at) AS first, max(received_at) AS last FROM stages",
    "spend": "SELECT NULL AS leads, count(*) AS rows, min(day) AS first, max(day) AS last FROM spend",
    "rates": "SELECT NULL AS leads, count(*) AS rows, min(day) AS first, max(day) AS last FROM rates",
    "identities": "SELECT count(DISTINCT lead_id) AS leads, count(*) AS rows, "
    "min(observed_at) AS first, max(observed_at) AS last FROM identities",
    "feedback": "SELECT count(DISTINCT lead_id) AS leads, count(*) AS rows, "
    'min("at") AS first, max("at") AS last FROM feedback',
}
QUARANTINE = """
    SELECT "table", source, regexp_replace(why, '"[^"]*"', '"…"', 'g') AS why, count(*) AS rows,
           min("row") AS example
    FROM quarantine GROUP BY ALL ORDER BY rows DESC, why
"""
STAGES = "SELECT count(*) FROM stages WHERE stage IN (SELECT unnest($1::VARCHAR[]))"


def checkup(lake: Lake, goal: Goal, as_of: datetime) -> dict[str, Any]:
    """Return ``tables`` (rows, leads, first, last), ``quarantine`` (grouped by reason) and ``findings``."""
    tables = {name: lake.query(COUNTS[name]).to_pylist()[0] for name in INGESTED}
    return {
        "tables": tables,
        "quarantine": lake.query(QUARANTINE).to_pylist(),
        "findings": [sentence for sentence in _findings(lake, goal, as_of) if sentence],
    }


def _findings(lake: Lake, goal: Goal, as_of: datetime) -> Sequence[str]:
    orphans = _number(lake, "SELECT count(*) FROM touches ANTI JOIN leads USING (lead_id) WHERE lead_id IS NOT NULL")
    anonymous = _number(lake, "SELECT count(*) FROM touches WHERE lead_id IS NULL")
    future = _number(lake, "SELECT count(*) FROM touches WHERE occurred_at >= $1", as_of)
    wins = _number(lake, STAGES, goal.won)
    losses = _number(lake, STAGES, goal.lost)
    leads = _number(lake, "SELECT count(*) FROM leads")
    return [
        f"{_touches(orphans)} of leads that are not in the lake. Ingest those leads." if orphans else "",
        f"{_touches(anonymous)} anonymous, of no lead yet." if anonymous else "",
        f"{_touches(future)} in the future. Check the time zone of their source." if future else "",
        "There are no leads yet. Ingest some: touchstone ingest FILE." if not leads else "",
        f"No stage is one of {', '.join(goal.won)}. Set goal.won to what your system calls a closed deal."
        if leads and not wins
        else "",
        "No stage means that a lead is lost: every lead that is not won stays open for ever. Set goal.lost."
        if leads and not losses
        else "",
    ]


def _touches(number: int) -> str:
    return f"{number:,} {'touch is' if number == 1 else 'touches are'}"


def _number(lake: Lake, sql: str, *parameters: object) -> int:
    return int(lake.query(sql, parameters).column(0)[0].as_py())
