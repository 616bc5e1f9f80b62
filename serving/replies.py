"""What the service answers, as JSON: stable names, finite numbers, times with their zone."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, Field

from serving.messages import Message


class ReasonReply(Message):
    """One fact and its effect on the log-odds."""

    feature: str
    value: float | str | None
    effect: float
    text: str


class OfLead(Message):
    """What is said of one lead."""

    lead_id: str


class Figures(Message):
    """The numbers of a score. Fit and engagement are in log-odds."""

    probability: float
    low: float
    high: float
    horizon_days: float
    grade: str
    percentile: float
    trend: str
    fit: float
    engagement: float


class ReasonedScore(Figures):
    """A score, why it is so, and what it rests on. Effects of reasons are in log-odds."""

    reasons: list[ReasonReply]
    evidence: str
    model_version: str
    as_of: AwareDatetime
    scored_at: AwareDatetime


class ScoreReply(ReasonedScore, OfLead):
    """One score."""


class ScoresReply(Message):
    """The scores, in the order in which they were asked."""

    scores: list[ScoreReply]


class FlatReply(Figures, OfLead):
    """One score in flat keys; ``up_1`` to ``down_3`` are the strongest reasons in words, or empty."""

    up_1: str
    up_2: str
    up_3: str
    down_1: str
    down_2: str
    down_3: str
    evidence: str
    model_version: str
    as_of: AwareDatetime
    scored_at: AwareDatetime


class EffectReply(Message):
    """What one feature adds to a lead's log-odds, and what the feature means."""

    feature: str
    about: str
    group: str
    value: float | str | None
    effect: float


class ExplanationReply(Message):
    """All effects of one lead; with the base they add up to its log-odds. The outlook is by further horizons."""

    lead_id: str
    probability: float
    log_odds: float
    base: float
    effects: list[EffectReply]
    won_within_days: dict[str, float]
    lost: float | None
    days_to_close: float | None
    model_version: str
    as_of: AwareDatetime


class ExplanationsReply(Message):
    """The explanations, in the order in which they were asked."""

    explanations: list[ExplanationReply]


class Refusal(Message):
    """Why a request cannot be answered, and what to do."""

    error: str


class LeadRow(Message):
    """An open lead on the work list.

    ``probability`` to ``model_version`` are what was stored last, by which the list is ranked; ``score`` is what is
    said now.
    """

    lead_id: str
    account_id: str | None
    owner: str | None
    attributes: dict[str, Any]
    stage: str | None
    amount: float | None
    currency: str | None
    created_at: AwareDatetime
    last_touch_at: AwareDatetime | None
    last_touch_kind: str | None
    last_touch_channel: str | None
    touches: int
    probability: float | None
    low: float | None
    high: float | None
    grade: str | None
    trend: str | None
    scored_as_of: AwareDatetime | None
    model_version: str | None
    objects: bool = Field(description="the person objected to profiling, and is not scored")
    withheld: bool = Field(description="the score is kept from sales, to measure what showing it is worth")
    verdict: str | None = Field(description="what sales said of it last: accepted or rejected")
    score: PresentScore | None


class PresentScore(ReasonedScore):
    """The present score of an open lead, and when it will close, if it does."""

    won_within_days: dict[str, float]
    lost: float | None
    days_to_close: float | None


class LeadsReply(Message):
    """A page of the work list, and how many leads match in all."""

    leads: list[LeadRow]
    total: int
    offset: int
    limit: int


class StoredScore(Message):
    """A score as it was stored, with the reasons of then."""

    lead_id: str
    as_of: AwareDatetime
    horizon_days: float
    probability: float
    low: float
    high: float
    grade: str
    trend: str
    reasons: list[ReasonReply]
    model_version: str


class Change(Message):
    """What changed a score since the one before: new data, decay or a new model, in words and in log-odds."""

    cause: str
    feature: str
    effect: float
    text: str


class LeadReply(Message):
    """All that is held ready of one lead. ``not_scored`` says why there is no score."""

    lead_id: str
    created_at: AwareDatetime
    account_id: str | None
    owner: str | None
    attributes: dict[str, Any]
    score: PresentScore | None
    not_scored: str | None
    timeline: list[dict[str, Any]] = Field(description="touches, stages, feedback and versions, the latest first")
    events: int = Field(description="how many there are in all")
    scores: list[StoredScore] = Field(description="as stored, the latest first")
    changes: list[Change] = Field(description="since the latest stored score")


class RunLine(Message):
    """One attribution run."""

    run_id: str
    as_of: AwareDatetime
    models: list[str]


class AttributionReply(Message):
    """The runs, the latest first, and what one of them said: credit and value with intervals by model and channel."""

    runs: list[RunLine]
    run: dict[str, Any] | None


class FeatureLine(Message):
    """One feature of the model."""

    name: str
    about: str
    unit: str
    group: str


class ModelReply(Message):
    """What the champion is made of."""

    version: str
    evidence: str
    horizon_days: float
    base_rate: float
    leads: int
    outcomes: int
    learned_until: AwareDatetime
    members: int
    features: list[FeatureLine]
    served_before: list[str]


class EventsReply(Message):
    """How many events are stored now, durably, and how many were known already."""

    stored: int
    known: int
