"""Groups: the leads of a request with their history, from memory, from the lake, or as the request brings them.

Leads of one group are in one history, and answered together.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from features.contract import schema
from features.history import History, Tables, history_of, microseconds
from features.lake import Lake
from features.reading import read_history, tables_of_accounts
from features.verbs import Moments
from serving.brought import Alone, Brought
from serving.messages import Lead, ScoreRequest, Stage, Touch
from serving.resident import Residence
from serving.spec import Spec

FEW = 3  # leads that are scored while others wait


class Group(NamedTuple):
    """Leads of one request that are in one history, and which of the request's they are."""

    moments: Moments  # position −1 for a lead unknown
    lead_ids: tuple[str, ...]
    places: tuple[int, ...]


def stored(residence: Residence, lead_ids: Sequence[str], as_of: datetime, spec: Spec) -> list[Group]:
    """Return leads of the lake: those in memory, and those of whom the lake knows more."""
    if not lead_ids:
        return []
    now = residence.now if residence.is_current(spec.columns) else None
    here = {lead_id for lead_id in lead_ids if now and lead_id in now.place and lead_id not in now.stale}
    quick = [(place, lead_id) for place, lead_id in enumerate(lead_ids) if lead_id in here]
    slow = [(place, lead_id) for place, lead_id in enumerate(lead_ids) if lead_id not in here]
    groups = []
    if quick and now is not None:
        history, positions = now.excerpt([lead_id for _, lead_id in quick])
        groups.append(_group(Moments(history, positions, np.full(len(quick), microseconds(as_of))), quick))
    if slow:
        ids = [lead_id for _, lead_id in slow]
        history = read_history(residence.lake, ids, spec.columns, accounts=spec.looks_at_accounts)
        groups.append(_group(_asked(history, ids, as_of), slow))
    return groups


def sent(lake: Lake, brought: Sequence[Lead | Alone], as_of: datetime, spec: Spec) -> list[Group]:
    """Return leads whose history came along; what their accounts' other contacts did is in the lake."""
    if not brought:
        return []
    first = brought[0]
    if isinstance(first, Alone) and not spec.columns:
        moments = Moments(first.history, np.zeros(1, np.int64), np.array([microseconds(as_of)]))
        return [_group(moments, [(0, first.lead_id)])]
    leads = [lead.whole() if isinstance(lead, Alone) else lead for lead in brought]
    lead_ids, told = [lead.lead_id for lead in leads], tables(leads)
    accounts = sorted({lead.account_id for lead in leads if lead.account_id})
    if accounts and spec.looks_at_accounts:
        told = tables_of_accounts(lake, accounts, lead_ids, spec.columns).with_more(told)
    return [_group(_asked(history_of(*told, more=spec.columns), lead_ids, as_of), list(enumerate(lead_ids)))]


def is_quick(residence: Residence, request: ScoreRequest | Brought) -> bool:
    """Say whether nothing has to wait for the answer: few leads, and none to be read from the lake."""
    now, alone = residence.now, not any(lead.account_id for lead in request.leads)
    here = now is not None and all(i in now.place and i not in now.stale for i in request.lead_ids)
    few = len(request.lead_ids) + len(request.leads) <= FEW
    return few and alone and not request.goal and (here or not request.lead_ids)


def _group(moments: Moments, placed: Sequence[tuple[int, str]]) -> Group:
    places, lead_ids = zip(*placed, strict=True)
    return Group(moments, lead_ids, places)


def _asked(history: History, lead_ids: Sequence[str], as_of: datetime) -> Moments:
    """Return the moments asked for, in the order in which they were asked; position −1 for a lead unknown."""
    moment = microseconds(as_of)
    return Moments(history, history.positions(lead_ids, moment), np.full(len(lead_ids), moment))


def tables(leads: Sequence[Lead]) -> Tables:
    """Return leads, touches, stages and feedback of a request as tables of the contract."""
    versions = [
        {
            "lead_id": lead.lead_id,
            "created_at": lead.created_at,
            "observed_at": lead.created_at,
            "account_id": lead.account_id,
            "attributes": json.dumps(lead.attributes),
        }
        for lead in leads
    ]
    touches = [
        {"event_id": "", **_row(lead, touch), "properties": json.dumps(touch.get("properties", {}))}
        for lead in leads
        for touch in lead.touches
    ]
    stages = [_row(lead, stage) for lead in leads for stage in lead.stages]
    feedback = [{"lead_id": lead.lead_id, **said} for lead in leads for said in lead.feedback]
    return Tables(
        _table("leads", versions), _table("touches", touches), _table("stages", stages),
        feedback=_table("feedback", feedback),
    )  # fmt: skip


def _row(lead: Lead, event: Touch | Stage) -> dict[str, Any]:
    return {"lead_id": lead.lead_id, **event, "received_at": event.get("received_at") or event["occurred_at"]}


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema(name))
