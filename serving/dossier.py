"""The dossier: all that sales wants to see of one lead, read from the lake for this lead alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features.contract import schema
from features.identities import merges, read_touches
from features.lake import Lake
from features.merges import kin
from features.ordered import Leads

TOUCH = (
    "lead_id", "event_id", "occurred_at", "received_at", "kind", "channel", "campaign", "machine", "properties",
)  # fmt: skip
SHOWN_EVENTS = 500  # of a timeline, the latest
WHEN = {"touches": "occurred_at", "stages": "occurred_at", "feedback": "at", "leads": "observed_at"}
ASIDE = ("goal", "withheld", "propensity")  # columns of a stored score that are no part of what it says
KIND = {"touches": "touch", "stages": "stage", "feedback": "feedback", "leads": "version"}


def timeline(lake: Lake, lead_id: str, as_of: datetime) -> dict[str, Any]:
    """Return ``events`` of a lead and its duplicates before a moment, the latest first, and the ``total`` of them.

    Each has ``what`` (touch, stage, feedback or version), ``at``, and the columns of its table that are filled.
    """
    ids = kin([lead_id], merges(lake))
    events = [
        {"what": KIND[name], "at": row[WHEN[name]], **_filled(row)}
        for name in WHEN
        for row in _rows(lake, name, ids)
        if row[WHEN[name]] < as_of
    ]
    events.sort(key=lambda event: event["at"], reverse=True)
    return {"events": events[:SHOWN_EVENTS], "total": len(events)}


def known_of(lake: Lake, lead_id: str, as_of: datetime) -> dict[str, Any] | None:
    """Return what is known of a lead: its creation, owner, account and attributes; None if it is not in the lake."""
    columns = ("lead_id", "created_at", "observed_at", "account_id", "owner", "is_change", "attributes")
    versions = [
        row for row in lake.read("leads", columns, Leads(ids=(lead_id,))).to_pylist() if row["observed_at"] < as_of
    ]
    if not versions:
        return None
    known: dict[str, Any] = {}
    for row in sorted(versions, key=lambda row: row["observed_at"]):
        attributes = json.loads(row["attributes"] or "{}")
        before = known.get("attributes", {}) if row["is_change"] else {}
        kept = {name: row[name] if row[name] is not None or not row["is_change"] else known.get(name)
                for name in ("account_id", "owner")}  # fmt: skip
        known = {"created_at": versions[0]["created_at"], **kept, "attributes": before | attributes}
    return {"lead_id": lead_id, **known}


def score_history(lake: Lake, lead_id: str, as_of: datetime) -> list[dict[str, Any]]:
    """Return the scores for the main goal that were stored of a lead up to a moment, and not withheld.

    The latest comes first; reasons are those of then.
    """
    rows = lake.read("scores", schema("scores").names, Leads(ids=(lead_id,))).to_pylist()
    rows = [
        {name: row[name] for name in row if name not in ASIDE} | {"reasons": json.loads(row["reasons"] or "[]")}
        for row in rows
        if row["as_of"] <= as_of and row["goal"] is None and not row["withheld"]
    ]
    return sorted(rows, key=lambda row: row["as_of"], reverse=True)


def _rows(lake: Lake, name: str, ids: Sequence[str]) -> list[dict[str, Any]]:
    if name == "touches":
        return list(read_touches(lake, TOUCH, ids).to_pylist())
    names = [column for column in schema(name).names if column != "row_hash"]
    read = lake.read(name, names, Leads(ids=tuple(sorted(ids))))
    return list(_plain(read).to_pylist())


def _plain(rows: pa.Table) -> pa.Table:
    """Return rows with amounts as floats, as JSON has them."""
    for place, field in enumerate(rows.schema):
        if pa.types.is_decimal(field.type):
            rows = rows.set_column(place, field.name, pc.cast(rows.column(place), pa.float64()))
    return rows


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that are filled; JSON is read."""
    read = {
        name: json.loads(value) if name in {"attributes", "properties"} and value else value
        for name, value in row.items()
    }
    return {name: value for name, value in read.items() if value not in (None, {}, False) and name not in WHEN.values()}
