"""What a request brings: leads with their history, as the history that the sweep reads.

``tables`` of messages.py and ``history_of`` make the same, for any lead, in ten times the time; a lead that comes
alone, as most do, need not go through tables. A property holds the two to each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from features.accounts import Tenures
from features.history import Events, Heirs, History, microseconds
from features.merges import ALWAYS, NEVER, Ints
from serving.messages import Lead

NOBODY = np.empty((4, 0), np.int64)
JUDGED_BY = ("verdict", "reason", "by")


def history_brought(lead: Lead) -> History:
    """Return the history of one lead, without the contacts of an account."""
    created = np.array([microseconds(lead.created_at)])
    told = {name: _text(value) for name, value in lead.attributes.items()}
    names: dict[str, tuple[str, ...]] = {name: (text,) if text is not None else () for name, text in told.items()}
    codes = {name: np.array([len(known) - 1], np.int32) for name, known in names.items()}
    touches, stages = lead.touches, lead.stages
    touched = {"kind": [touch["kind"] for touch in touches], "channel": [touch["channel"] for touch in touches]}
    moved = {"stage": [stage["stage"] for stage in stages]}
    said: dict[str, list[Any]] = {name: [judged.get(name) for judged in lead.feedback] for name in JUDGED_BY}
    return History(
        lead_ids=(lead.lead_id,),
        since=np.array([ALWAYS]),
        until=np.array([NEVER]),
        created=created,
        versions=Events(np.array([0, 1]), created, created, codes, names),
        touches=_events(touches, [touch.get("event_id", "") for touch in touches], touched),
        stages=_events(stages, moved["stage"], moved),
        heirs=Heirs(*NOBODY),
        contacts=Tenures(*NOBODY),
        feedback=_events(lead.feedback, [""] * len(lead.feedback), said, "at"),
    )


def _events(
    rows: Sequence[Mapping[str, Any]], ties: list[str], columns: dict[str, list[Any]], when: str = "occurred_at"
) -> Events:
    """Return rows as events by time, and at one moment by ``ties``, with their names coded in alphabetical order."""
    if not rows:
        nothing = np.empty(0, np.int64)
        codes = {name: np.empty(0, np.int32) for name in columns}
        return Events(np.zeros(2, np.int64), nothing, nothing, codes, dict.fromkeys(columns, ()))
    occurred = _micros([row[when] for row in rows])
    late = any("received_at" in row for row in rows)
    received = _micros([row.get("received_at") or row[when] for row in rows]) if late else occurred
    order = _order(occurred, ties)
    names = {name: sorted(set(values) - {None}) for name, values in columns.items()}
    place = {name: {value: i for i, value in enumerate(known)} for name, known in names.items()}
    codes = {
        name: np.array([place[name].get(value, -1) for value in values], np.int32)[order]
        for name, values in columns.items()
    }
    known = {name: tuple(values) for name, values in names.items()}
    return Events(np.array([0, len(rows)]), occurred[order], np.maximum(occurred, received)[order], codes, known)


def _order(occurred: Ints, ties: list[str]) -> Ints:
    """Return the places by time; where several are of one moment, by ``ties``, and then as they came."""
    order = np.argsort(occurred, kind="stable")
    if (occurred[order[1:]] == occurred[order[:-1]]).any():
        order = order[np.argsort(np.array(ties, object)[order], kind="stable")]
        order = order[np.argsort(occurred[order], kind="stable")]
    return order


def _text(value: Any) -> str | None:
    """Return an attribute as text, as the lake's are read."""
    return value or None if value is None or isinstance(value, str) else json.dumps(value)


def _micros(moments: list[datetime]) -> Ints:
    """Return moments as microseconds since 1970, as ``microseconds`` does, of many."""
    return np.asarray(pa.array(moments, pa.timestamp("us", "UTC")).view(pa.int64()))
