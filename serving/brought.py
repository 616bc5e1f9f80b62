"""What a request brings: one lead with its history, read from JSON straight to the history that the sweep reads.

A system that keeps its own history asks for one lead at a time, with hundreds of touches. To check each and make it an
object (``ScoreRequest``), a row of a table (``groups.tables``) and then an event (``history_of``) costs several times
what scoring does. What is written in an unusual way goes by that road, and is refused there with a sentence where
something is wrong; what can go by this one comes to the same. Properties hold the two to each other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, chain
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Raw, Struct
from numpy.typing import NDArray
from pydantic import TypeAdapter

from features.accounts import Tenures
from features.history import Events, Heirs, History
from features.merges import ALWAYS, NEVER, Ints
from serving.messages import LONGEST, MOST_EVENTS, AsOf, Facts, Lead, ScoreRequest
from serving.stamps import micros

NONE, ONE_ROW = np.empty(0, np.int64), np.array([0, 1])
NO_HEIRS, NO_CONTACTS = Heirs(NONE, NONE, NONE, NONE), Tenures(NONE, NONE, NONE, NONE)
SINCE, UNTIL = np.array([ALWAYS]), np.array([NEVER])
NOTHING = Raw(b"{}")
FACTS, AS_OF = TypeAdapter[dict[str, Any]](Facts), TypeAdapter[datetime | None](AsOf)
Text = Annotated[str, Meta(min_length=1, max_length=LONGEST)]
Name = Annotated[str, Meta(max_length=LONGEST)]


class _Touch(Struct, forbid_unknown_fields=True, gc=False):
    occurred_at: str
    kind: Text
    channel: Text
    received_at: str | None = None
    event_id: Name = ""
    campaign: Name | None = None
    properties: Raw = NOTHING


class _Stage(Struct, forbid_unknown_fields=True, gc=False):
    stage: Text
    occurred_at: str
    received_at: str | None = None


class _Judgement(Struct, forbid_unknown_fields=True, gc=False):
    at: str
    verdict: Literal["accepted", "rejected"]
    reason: Name | None = None
    by: Name | None = None


class _Lead(Struct, forbid_unknown_fields=True):
    lead_id: Text
    created_at: str
    account_id: None = None
    attributes: Raw = NOTHING
    touches: Annotated[list[_Touch], Meta(max_length=MOST_EVENTS)] = []
    stages: Annotated[list[_Stage], Meta(max_length=MOST_EVENTS)] = []
    feedback: Annotated[list[_Judgement], Meta(max_length=MOST_EVENTS)] = []


class _Request(Struct, forbid_unknown_fields=True):
    leads: Annotated[list[_Lead], Meta(min_length=1, max_length=1)]
    as_of: str | None = None


DECODER = msgspec.json.Decoder(_Request)


@dataclass(frozen=True)
class Alone:
    """A lead that comes alone, with its history: of no account, and of no property or campaign of a touch."""

    lead_id: str
    history: History
    body: bytes
    account_id: None = None

    def whole(self) -> Lead:
        """Return all that is said of it."""
        return ScoreRequest.model_validate_json(self.body).leads[0]


@dataclass(frozen=True)
class Brought:
    """What a ``ScoreRequest`` asks that brings one lead and names none."""

    leads: tuple[Alone]
    as_of: datetime | None
    lead_ids: tuple[()] = ()
    goal: str = ""


def request_of(body: bytes) -> Brought | ScoreRequest:
    """Return what a request asks.

    Raises:
        InvalidArgument: naming everything that is wrong with it.

    """
    try:
        return _brought(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # something is unusual, or wrong
        return ScoreRequest.model_validate_json(body)


def _brought(body: bytes) -> Brought:
    request = DECODER.decode(body)
    lead = request.leads[0]
    alone = Alone(lead.lead_id, _history(lead), body)
    return Brought((alone,), None if request.as_of is None else AS_OF.validate_python(request.as_of))


def _history(lead: _Lead) -> History:
    touches, stages, feedback = lead.touches, lead.stages, lead.feedback
    for touch in touches:
        if touch.properties is not NOTHING:  # nothing of them is used, but they have to be right
            FACTS.validate_json(bytes(touch.properties))
    told = FACTS.validate_json(bytes(lead.attributes))
    texts = {name: text for name, value in told.items() if (text := _text(value)) is not None}
    at = _moments(lead)
    return History(
        lead_ids=(lead.lead_id,),
        since=SINCE,
        until=UNTIL,
        created=at["created"],
        versions=Events(
            ONE_ROW,
            at["created"],
            at["created"],
            {name: np.array([0 if name in texts else -1], np.int32) for name in told},
            {name: (texts[name],) if name in texts else () for name in told},
        ),
        touches=_events(
            at["touched"],
            at["touches known"],
            {"kind": [touch.kind for touch in touches], "channel": [touch.channel for touch in touches]},
            [touch.event_id for touch in touches],
        ),
        stages=_events(
            at["moved"],
            at["stages known"],
            {"stage": (entered := [stage.stage for stage in stages])},
            entered,
        ),
        heirs=NO_HEIRS,
        contacts=NO_CONTACTS,
        feedback=_events(
            at["judged"],
            NONE,
            {
                "verdict": [judged.verdict for judged in feedback],
                "reason": [judged.reason for judged in feedback],
                "by": [judged.by for judged in feedback],
            },
        ),
    )


def _moments(lead: _Lead) -> dict[str, Ints]:
    """Return all moments that are told of a lead, by what they are, in microseconds; all are read at once."""
    texts = {
        "created": [lead.created_at],
        "touched": [touch.occurred_at for touch in lead.touches],
        "touches known": _known(lead.touches),
        "moved": [stage.occurred_at for stage in lead.stages],
        "stages known": _known(lead.stages),
        "judged": [judged.at for judged in lead.feedback],
    }
    moments, ends = micros([*chain(*texts.values())]), [*accumulate(map(len, texts.values()))]
    return {name: moments[end - len(texts[name]) : end] for name, end in zip(texts, ends, strict=True)}


def _known(rows: Sequence[_Touch] | Sequence[_Stage]) -> list[str]:
    """Return when each row was received; nothing if all were when they occurred."""
    if {row.received_at for row in rows} <= {None}:
        return []
    return [row.occurred_at if row.received_at is None else row.received_at for row in rows]


def _events(
    occurred: Ints, received: Ints, columns: dict[str, Sequence[str | None]], ties: Sequence[str] = ()
) -> Events:
    """Return rows as events by time, and at one moment by ``ties``, with their names coded in alphabetical order."""
    if not len(occurred):  # as in most requests, which must be quick
        codes = {name: np.empty(0, np.int32) for name in columns}
        return Events(np.zeros(2, np.int64), occurred, occurred, codes, dict.fromkeys(columns, ()))
    known = np.maximum(occurred, received) if len(received) else occurred
    order = _order(occurred, ties)
    names = {
        name: tuple(sorted(value for value in set(values) if value is not None)) for name, values in columns.items()
    }
    codes = {name: _codes(names[name], values)[order] for name, values in columns.items()}
    return Events(np.array([0, len(order)]), occurred[order], known[order], codes, names)


def _codes(names: Sequence[str], values: Sequence[str | None]) -> NDArray[np.int32]:
    place: dict[str | None, int] = {None: -1} | {name: i for i, name in enumerate(names)}
    return np.fromiter(map(place.__getitem__, values), np.int32, len(values))


def _order(occurred: Ints, ties: Sequence[str]) -> Ints:
    """Return the places by time; where several are of one moment, by ``ties``, and then as they came."""
    order = np.argsort(occurred, kind="stable")
    if ties and (occurred[order[1:]] == occurred[order[:-1]]).any():
        order = order[np.argsort(np.array(ties, object)[order], kind="stable")]
        order = order[np.argsort(occurred[order], kind="stable")]
    return order


def _text(value: Any) -> str | None:
    """Return an attribute as text, as the lake's are read."""
    return value or None if value is None or isinstance(value, str) else json.dumps(value)
