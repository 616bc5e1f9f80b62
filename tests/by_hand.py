"""Worlds that a person can compute by hand. Days are counted from Monday, 5 January 2026, midnight UTC."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from features.contract import schema
from features.history import History, history_of, microseconds
from features.verbs import Moments
from training.snapshots import Labelled

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
Row = tuple[Any, ...]


def moment(day: float) -> datetime:
    return MONDAY + timedelta(days=day)


def day(number: float) -> int:
    """Return the microseconds of a day and its fraction."""
    return microseconds(moment(number))


def days(moments: Moments) -> list[float]:
    return [(at - day(0)) / 86_400_000_000 for at in moments.as_of.tolist()]


def world(
    created: Mapping[str, float],
    touches: Iterable[Row] = (),
    stages: Iterable[Row] = (),
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
    feedback: Iterable[Row] = (),
) -> History:
    """Return a history.

    Args:
        created: lead → day.
        touches: (lead, day, kind, channel), and the day received if it is a later one.
        stages: (lead, day, stage), and the day received if it is a later one.
        attributes: lead → attributes, from its creation on.
        feedback: (lead, day, verdict, reason) of sales.

    """
    known = {lead: json.dumps(values) for lead, values in (attributes or {}).items()}
    leads = [
        {"lead_id": lead, "created_at": moment(on), "observed_at": moment(on), "attributes": known.get(lead)}
        for lead, on in created.items()
    ]
    touched = [
        {"lead_id": lead, **_times(on, *received), "kind": kind, "channel": channel, "event_id": f"e{i}"}
        for i, (lead, on, kind, channel, *received) in enumerate(touches)
    ]
    moved = [{"lead_id": lead, **_times(on, *received), "stage": stage} for lead, on, stage, *received in stages]
    said = [{"lead_id": lead, "at": moment(on), "verdict": it, "reason": why} for lead, on, it, why in feedback]
    tables = {"leads": leads, "touches": touched, "stages": moved, "identities": [], "feedback": said}
    return history_of(*(pa.Table.from_pylist(rows, schema(name)) for name, rows in tables.items()))


def eager_and_idle(leads: int = 120, *, until: float = 360, reverse_from: float = float("inf")) -> History:
    """Return leads that come evenly over the days; every second one is eager and asks for a demo on its second day.

    Of five eager leads four are won on their 20th day, of five idle ones one; the others are lost on that day.
    From ``reverse_from`` on, those who would have been won are lost, and the other way round.
    """
    created, touches, stages = {}, [], []
    for i in range(leads):
        lead, on, eager = f"lead-{i:04}", i * until / leads, i % 2 == 0
        wins = (i // 2 % 5 != 0) == eager
        created[lead] = on
        touches.append((lead, on + 0.5, "page_view", "Email"))
        touches += [(lead, on + 1, "demo_request", "Direct")] * eager
        stages.append((lead, on + 20, "won" if wins == (on < reverse_from) else "lost"))
    return world(created, touches, stages)


def at_age(history: History, age: float, labels: Iterable[float]) -> Labelled:
    """Return one snapshot of every lead at an age in days, with these labels."""
    lead = np.arange(len(history.lead_ids))
    as_of = history.created + int(age * 86_400_000_000)
    return alike(Moments(history, lead, as_of), labels)


def alike(moments: Moments, labels: Iterable[float]) -> Labelled:
    """Return snapshots with these labels, all of the same weight."""
    return Labelled(moments, np.array(list(labels), np.float64), np.ones(len(moments)))


def _times(on: float, received: float | None = None) -> dict[str, datetime]:
    return {"occurred_at": moment(on), "received_at": moment(on if received is None else received)}
