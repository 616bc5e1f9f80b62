"""Tables of the contract, written by hand. Times are days since 1 January 2026, midnight UTC."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from features.contract import schema
from features.history import History, history_of, microseconds

START = datetime(2026, 1, 1, tzinfo=UTC)


def moment(day: float) -> datetime:
    return START + timedelta(days=day)


def micros(day: float) -> int:
    return microseconds(moment(day))


def version(
    lead: str,
    observed: float,
    attributes: Mapping[str, Any] | None = None,
    created: float = 0,
    account: str | None = None,
) -> dict[str, Any]:
    """Return what was known of a lead from a day on."""
    text = None if attributes is None else json.dumps(attributes)
    told = {"lead_id": lead, "created_at": moment(created), "observed_at": moment(observed), "attributes": text}
    return told | ({"account_id": account} if account else {})


def touch(
    lead: str | None,
    day: float,
    kind: str = "visit",
    channel: str = "Email",
    received: float | None = None,
    anonymous: str | None = None,
    machine: bool = False,
    properties: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    named = {"lead_id": lead, "anonymous_id": anonymous} if anonymous else {"lead_id": lead}
    told = {"properties": json.dumps(properties)} if properties else {}
    return {**named, **_times(day, received), "kind": kind, "channel": channel, "machine": machine, **told}


def claim(anonymous: str, lead: str, day: float) -> dict[str, Any]:
    """Return that an anonymous id is known to be a lead's from a day on."""
    return {"anonymous_id": anonymous, "lead_id": lead, "observed_at": moment(day)}


def merge(duplicate: str, lead: str, day: float) -> dict[str, Any]:
    """Return that a record is known to be another lead's from a day on; with itself, that it is its own again."""
    return {"duplicate_id": duplicate, "lead_id": lead, "observed_at": moment(day)}


def stage(lead: str, day: float, name: str, received: float | None = None) -> dict[str, Any]:
    return {"lead_id": lead, **_times(day, received), "stage": name}


def verdict(
    lead: str, day: float, said: str = "rejected", reason: str | None = None, by: str = "Rae"
) -> dict[str, Any]:
    """Return what sales said of a lead."""
    return {"lead_id": lead, "at": moment(day), "verdict": said, "reason": reason, "by": by}


def table(name: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return rows as a table of the contract; its hash and its event id are the row itself."""
    hashed = [{**row, "row_hash": repr(row), "event_id": repr(row)} for row in rows]
    return pa.Table.from_pylist(hashed, schema(name))


def history(
    leads: Iterable[Mapping[str, Any]],
    touches: Iterable[Mapping[str, Any]] = (),
    stages: Iterable[Mapping[str, Any]] = (),
    identities: Iterable[Mapping[str, Any]] = (),
    more: Sequence[str] = (),
    feedback: Iterable[Mapping[str, Any]] = (),
) -> History:
    named = {
        "leads": leads, "touches": touches, "stages": stages, "identities": identities, "feedback": feedback,
    }  # fmt: skip
    return history_of(*(table(name, rows) for name, rows in named.items()), more=more)


def _times(occurred: float, received: float | None) -> dict[str, datetime]:
    return {"occurred_at": moment(occurred), "received_at": moment(occurred if received is None else received)}
