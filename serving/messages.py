"""What the service is asked, as JSON: strict, bounded, and refused with a sentence for everything that is wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired, Self

from bentoml.exceptions import InvalidArgument
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
    with_config,
)  # fmt: skip
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from serving.worklist import MOST_ROWS, Asked, Judged, Order

MOST_LEADS = 1000  # of one request
MOST_EXPLAINED = 100
MOST_EVENTS = 20_000  # of one kind, of one lead
MOST_FACTS = 500  # attributes or properties
NAMED = 20  # problems of a message
LONGEST = 2000  # characters of a text
REMEDIES = {  # of what goes wrong most, in place of pydantic's words, which say no more than that it is wrong
    "extra_forbidden": "Is not known here; GET /docs.json tells what is",
    "missing": "Is missing, and has to be there",
    "timezone_aware": "Needs a time zone, such as 2026-11-01T00:00:00Z",
}
NO_NUL = r"^[^\x00]*$"
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Name = Annotated[str, Field(max_length=LONGEST)]


def _finite(value: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        sentence = "Holds NaN or an infinite number; send null for what is not known"
        raise PydanticCustomError("finite", sentence) from None
    if "\\u0000" in text:
        raise PydanticCustomError("nul", "Holds a NUL, which no text can be stored with")
    return value


class Message(BaseModel):
    """A strict message: no unknown key, no NaN, no infinity."""

    model_config = STRICT | {"frozen": True}

    @classmethod
    def model_validate_json(cls, *args: Any, **kwargs: Any) -> Self:
        """Read a message from JSON; name everything that is wrong with it in one sentence each."""
        try:
            return super().model_validate_json(*args, **kwargs)
        except ValidationError as error:
            raise InvalidArgument(sentence(error)) from None


def sentence(error: ValidationError) -> str:
    """Return a sentence for each of the first things that are wrong with a message."""
    problems = [
        f"{'.'.join(map(str, e['loc'])) or 'body'}: {REMEDIES.get(e['type'], e['msg'])}."
        for e in error.errors(include_input=False)
    ]
    more = [f"And {len(problems) - NAMED} more."] if len(problems) > NAMED else []
    return " ".join([*problems[:NAMED], *more])


Text = Annotated[str, Field(min_length=1, max_length=LONGEST)]
Facts = Annotated[dict[Text, Any], Field(max_length=MOST_FACTS), AfterValidator(_finite)]


@with_config(STRICT)
class Touch(TypedDict):
    """One engagement event of a lead that is sent along; a row, since hundreds of objects would cost the most."""

    occurred_at: AwareDatetime
    kind: Text
    channel: Text
    received_at: NotRequired[AwareDatetime | None]
    event_id: NotRequired[Name]
    campaign: NotRequired[Name | None]
    properties: NotRequired[Facts]


@with_config(STRICT)
class Stage(TypedDict):
    """One change of stage of a lead that is sent along."""

    stage: Text
    occurred_at: AwareDatetime
    received_at: NotRequired[AwareDatetime | None]


@with_config(STRICT)
class Judgement(TypedDict):
    """What sales said of a lead that is sent along."""

    at: AwareDatetime
    verdict: Literal["accepted", "rejected"]
    reason: NotRequired[Name | None]
    by: NotRequired[Name | None]


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
    feedback: list[Judgement] = Field(default=[], max_length=MOST_EVENTS)


AsOf = Annotated[
    AwareDatetime | None,
    Field(description="score as of this moment; by default now", examples=["2026-11-03T00:00:00Z"]),
]


class ScoreRequest(Message):
    """Leads by id from the lake, or with their history sent along, or both."""

    lead_ids: list[Name] = Field(default=[], max_length=MOST_LEADS, examples=[["L-00001"]])
    leads: list[Lead] = Field(default=[], max_length=MOST_LEADS, examples=[[]])
    as_of: AsOf = None
    goal: Name = Field(default="", description="one of [goals] in touchstone.toml; by default the main one")


class FlatRequest(Message):
    """One lead by id, for systems that map the flat keys of an answer to their fields, such as Marketo's webhooks."""

    lead_id: Text = Field(examples=["L-00001"])
    as_of: AsOf = None


class ExplainRequest(Message):
    """Leads by id whose scores are to be explained in full."""

    lead_ids: list[Name] = Field(min_length=1, max_length=MOST_EXPLAINED, examples=[["L-00001"]])
    as_of: AsOf = None


Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST, pattern=NO_NUL)]
Moment = Annotated[AwareDatetime, Field(ge=datetime(1900, 1, 2, tzinfo=UTC), lt=datetime(2199, 12, 31, tzinfo=UTC))]


class NewTouch(Message):
    """One engagement event, as the table ``touches`` has it; without a channel the rules find one.

    The same event_id again is the same event. Without one, an event of the same content is.
    """

    event_id: Word | None = None
    lead_id: Word | None = None
    anonymous_id: Word | None = None
    occurred_at: Moment
    received_at: Moment | None = Field(default=None, description="from when it was known; by default now")
    kind: Word
    channel: Word | None = None
    campaign: Word | None = None
    utm_source: Word | None = None
    utm_medium: Word | None = None
    utm_campaign: Word | None = None
    utm_term: Word | None = None
    utm_content: Word | None = None
    utm_id: Word | None = None
    referrer: Word | None = None
    cost: float | None = None
    properties: Facts = {}

    @model_validator(mode="after")
    def is_somebody_s(self) -> Self:
        """Belong to a lead or to an anonymous id, and have a channel or what tells one."""
        if not (self.lead_id or self.anonymous_id):
            raise PydanticCustomError("whose", "lead_id and anonymous_id are both empty; say whose touch it is")
        if not (self.channel or self.utm_source or self.utm_medium or self.referrer):
            raise PydanticCustomError("channel", "Name the channel, or utm_source, utm_medium or referrer")
        return self


class NewStage(Message):
    """One change of a lead's stage, as the table ``stages`` has it. The same change again is the same."""

    lead_id: Word
    stage: Word
    occurred_at: Moment
    received_at: Moment | None = Field(default=None, description="from when it was known; by default now")
    amount: Decimal | None = Field(default=None, max_digits=18, decimal_places=4)
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$", examples=["EUR"])
    reason: Word | None = None


class NewLead(Message):
    """What is known of a lead from a moment on, as the table ``leads`` has it. What says nothing new is no version."""

    lead_id: Word
    created_at: Moment
    observed_at: Moment | None = Field(default=None, description="from when it was known; by default now")
    account_id: Word | None = None
    owner: Word | None = None
    is_change: bool = Field(default=False, description="it names only what changed")
    attributes: Facts = {}


class EventsRequest(Message):
    """New touches, stages and versions of leads, all of which are stored, or none."""

    touches: list[NewTouch] = Field(default=[], max_length=MOST_LEADS)
    stages: list[NewStage] = Field(default=[], max_length=MOST_LEADS)
    leads: list[NewLead] = Field(default=[], max_length=MOST_LEADS)


class FeedbackRequest(Message):
    """What sales says of a lead that was passed on to them; a rejection needs a reason."""

    lead_id: Word = Field(examples=["L-00001"])
    verdict: Literal["accepted", "rejected"]
    reason: Word | None = Field(
        default=None,
        description="such as unable to reach, inaccurate data, no interest or need, no budget, no fit (say why), "
        "not now, duplicate, competitor",
    )
    by: Word | None = Field(default=None, description="who says so")
    at: Moment | None = Field(default=None, description="by default now")

    @model_validator(mode="after")
    def has_a_reason(self) -> Self:
        """Say why, if it is a rejection."""
        if self.verdict == "rejected" and not self.reason:
            raise PydanticCustomError("reason", "A rejection needs a reason, such as no budget or not now")
        return self


class LeadsQuery(Message):
    """Which open leads to show, in which order."""

    owner: Name | None = None
    grade: Name | None = Field(default=None, description="A, B, C or D")
    stage: Name | None = None
    channel: Name | None = Field(default=None, description="of the last touch")
    trend: Name | None = None
    judged: Judged | None = Field(default=None, description="what sales said of it last")
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
