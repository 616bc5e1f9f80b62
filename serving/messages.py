"""What the service is asked and what it answers, as JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any, Self

import pyarrow as pa
from bentoml.exceptions import InvalidArgument
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from features.contract import schema

MOST_LEADS = 1000  # of one request


def _finite(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        sentence = "Holds NaN or an infinite number; send null for what is not known"
        raise PydanticCustomError("finite", sentence) from None
    return value


class Message(BaseModel):
    """A strict message: no unknown key, no NaN, no infinity."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    @classmethod
    def model_validate_json(cls, *args: Any, **kwargs: Any) -> Self:
        """Read a message from JSON; name everything that is wrong with it in one sentence each."""
        try:
            return super().model_validate_json(*args, **kwargs)
        except ValidationError as error:
            problems = (f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}." for e in error.errors())
            raise InvalidArgument(" ".join(problems)) from None


class Touch(Message):
    """One engagement event of a lead that is sent along."""

    occurred_at: AwareDatetime
    kind: str = Field(min_length=1)
    channel: str = Field(min_length=1)
    received_at: AwareDatetime | None = None
    event_id: str = ""
    campaign: str | None = None
    properties: Annotated[dict[str, Any], AfterValidator(_finite)] = {}


class Stage(Message):
    """One change of stage of a lead that is sent along."""

    stage: str = Field(min_length=1)
    occurred_at: AwareDatetime
    received_at: AwareDatetime | None = None


class Lead(Message):
    """A lead with its history, for a system that keeps its own.

    The other contacts of its account are those in the lake and in the same request.
    """

    lead_id: str = Field(min_length=1)
    created_at: AwareDatetime
    account_id: str | None = None
    attributes: Annotated[dict[str, Any], AfterValidator(_finite)] = {}
    touches: list[Touch] = []
    stages: list[Stage] = []


class ScoreRequest(Message):
    """Leads by id from the lake, or with their history sent along, or both."""

    lead_ids: list[str] = Field(default=[], max_length=MOST_LEADS, examples=[["L-00001"]])
    leads: list[Lead] = Field(default=[], max_length=MOST_LEADS)
    as_of: AwareDatetime | None = Field(default=None, description="score as of this moment; by default now")


class ReasonReply(Message):
    """One fact and its effect on the log-odds."""

    feature: str
    value: float | str | None
    effect: float
    text: str


class ScoreReply(Message):
    """One score. Effects of fit, engagement and reasons are in log-odds."""

    lead_id: str
    probability: float
    low: float
    high: float
    horizon_days: float
    grade: str
    percentile: float
    trend: str
    fit: float
    engagement: float
    reasons: list[ReasonReply]
    evidence: str
    model_version: str
    as_of: AwareDatetime
    scored_at: AwareDatetime


class ScoresReply(Message):
    """The scores, in the order in which they were asked."""

    scores: list[ScoreReply]


def tables(leads: list[Lead]) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return leads, touches and stages of a request as tables of the contract."""
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
        _row(lead, touch) | {"properties": json.dumps(touch.properties)} for lead in leads for touch in lead.touches
    ]
    stages = [_row(lead, stage) for lead in leads for stage in lead.stages]
    return _table("leads", versions), _table("touches", touches), _table("stages", stages)


def _row(lead: Lead, event: Touch | Stage) -> dict[str, Any]:
    return {"lead_id": lead.lead_id, **event.model_dump(), "received_at": event.received_at or event.occurred_at}


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema(name))
