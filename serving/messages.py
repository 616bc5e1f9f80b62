"""What the service is asked, as JSON: strict, bounded, and refused with a sentence for everything that is wrong."""

from __future__ import annotations

import json
from typing import Annotated, Any, Self

import pyarrow as pa
from bentoml.exceptions import InvalidArgument
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from features.contract import schema
from serving.worklist import MOST_ROWS, Asked, Order

MOST_LEADS = 1000  # of one request
MOST_EXPLAINED = 100
MOST_EVENTS = 20_000  # of one kind, of one lead
MOST_FACTS = 500  # attributes or properties
NAMED = 20  # problems of a message
LONGEST = 2000  # characters of a text
Name = Annotated[str, Field(max_length=LONGEST)]


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
            raise InvalidArgument(sentence(error)) from None


def sentence(error: ValidationError) -> str:
    """Return a sentence for each of the first things that are wrong with a message."""
    problems = [f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}." for e in error.errors(include_input=False)]
    more = [f"And {len(problems) - NAMED} more."] if len(problems) > NAMED else []
    return " ".join([*problems[:NAMED], *more])


Text = Annotated[str, Field(min_length=1, max_length=LONGEST)]
Facts = Annotated[dict[Text, Any], Field(max_length=MOST_FACTS), AfterValidator(_finite)]


class Touch(Message):
    """One engagement event of a lead that is sent along."""

    occurred_at: AwareDatetime
    kind: Text
    channel: Text
    received_at: AwareDatetime | None = None
    event_id: str = Field(default="", max_length=LONGEST)
    campaign: str | None = Field(default=None, max_length=LONGEST)
    properties: Facts = {}


class Stage(Message):
    """One change of stage of a lead that is sent along."""

    stage: Text
    occurred_at: AwareDatetime
    received_at: AwareDatetime | None = None


class Lead(Message):
    """A lead with its history, for a system that keeps its own.

    The other contacts of its account are those in the lake and in the same request.
    """

    lead_id: Text
    created_at: AwareDatetime
    account_id: str | None = Field(default=None, max_length=LONGEST)
    attributes: Facts = {}
    touches: list[Touch] = Field(default=[], max_length=MOST_EVENTS)
    stages: list[Stage] = Field(default=[], max_length=MOST_EVENTS)


AsOf = Annotated[
    AwareDatetime | None,
    Field(description="score as of this moment; by default now", examples=["2026-11-03T00:00:00Z"]),
]


class ScoreRequest(Message):
    """Leads by id from the lake, or with their history sent along, or both."""

    lead_ids: list[Name] = Field(default=[], max_length=MOST_LEADS, examples=[["L-00001"]])
    leads: list[Lead] = Field(default=[], max_length=MOST_LEADS, examples=[[]])
    as_of: AsOf = None


class FlatRequest(Message):
    """One lead by id, for systems that map the flat keys of an answer to their fields, such as Marketo's webhooks."""

    lead_id: Text = Field(examples=["L-00001"])
    as_of: AsOf = None


class ExplainRequest(Message):
    """Leads by id whose scores are to be explained in full."""

    lead_ids: list[Name] = Field(min_length=1, max_length=MOST_EXPLAINED, examples=[["L-00001"]])
    as_of: AsOf = None


class LeadsQuery(Message):
    """Which open leads to show, in which order."""

    owner: Name | None = None
    grade: Name | None = Field(default=None, description="A, B, C or D")
    stage: Name | None = None
    channel: Name | None = Field(default=None, description="of the last touch")
    trend: Name | None = None
    search: str = Field(
        default="", max_length=200, description="words in the id, owner, account or attributes, all of them"
    )
    least: float | None = Field(default=None, ge=0, le=1, description="least probability")
    order: Order = "probability"
    ascending: bool = False
    offset: int = Field(default=0, ge=0, le=10_000_000)
    limit: int = Field(default=50, ge=1, le=MOST_ROWS)

    def asked(self) -> Asked:
        """Return the same for the work list."""
        return Asked(**self.model_dump())


class RunQuery(Message):
    """Which attribution run to show."""

    run_id: Name | None = Field(default=None, description="by default the latest")


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
