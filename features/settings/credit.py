"""[attribution]: which touches may earn credit, by which models."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field, model_validator

from features.settings.section import Section


class Experiment(Section):
    """A lift test or a hold-out of a channel: some who could be reached were not, and fewer of these closed."""

    channel: str = Field(description="the channel that was tested", min_length=1)
    since: date = Field(description="its first day")
    until: date = Field(description="its last day")
    lift: float = Field(description="0.08: with the channel, 8 % more closed than without", gt=-1)
    low: float = Field(description="between low and high the lift lies with 90 % probability", gt=-1)
    high: float = Field(description="as low", gt=-1)

    @model_validator(mode="after")
    def in_order(self) -> Experiment:
        """Hold a period and an interval around the lift."""
        if not (self.low <= self.lift <= self.high and self.low < self.high and self.since <= self.until):
            message = "give since ≤ until, and low ≤ lift ≤ high with low below high"
            raise ValueError(message)
        return self


class Attribution(Section):
    """Which touches may earn credit, and by which models."""

    models: list[str] = Field(
        ["first", "last", "last_non_direct", "linear", "position_based", "time_decay", "markov:1"],
        description="attribution models to run",
    )
    exclude_kinds: list[str] = Field(
        ["email_open"], description="kinds of touches that earn nothing; name what leads do and nobody paid for"
    )
    own_kinds: list[str] = Field(
        ["page_view", "pricing_view", "demo_request"],
        description="kinds of touches that leads make of their own: score_adjusted tells their intent by these",
    )
    custom: dict[str, list[float]] = Field(
        {},
        description="rules of your own: name = weights of the first touch, of all between together, of the last",
        examples=[{"mine": [0.3, 0.4, 0.3]}],
    )
    milestones: dict[str, dict[str, float]] = Field(
        {},
        description="rules of your own: name = weights of first, lead, won, any stage, and of the rest together",
        examples=[{"ours": {"first": 0.3, "mql": 0.3, "won": 0.3, "rest": 0.1}}],
    )
    experiments: list[Experiment] = Field(
        [],
        description="lift tests and hold-outs, which move score_adjusted; or [[attribution.experiments]] blocks",
        examples=[[{
            "channel": "Display", "since": "2026-01-05", "until": "2026-02-01", "lift": 0.02, "low": 0.0, "high": 0.05,
        }]],
    )  # fmt: skip
    experiment_half_life_days: float = Field(180, description="an experiment so old counts half as much", gt=0)
    opportunity: list[str] = Field(["opportunity"], description="stages that mean: an opportunity was created")
    stage: str = Field("won", description="what is credited: won, opportunity, lead (its creation) or any stage")
    repeated: bool = Field(False, description="each entry of the stage is credited, not only the first")
    of: Literal["lead", "account"] = Field("lead", description="account: touches of all contacts are one journey")
    lookback_days: float | None = Field(90, description="touches older than this earn nothing; inf: all earn", gt=0)
    windows_days: dict[str, float] = Field(
        {}, description="lookback_days of single stages: name = days", examples=[{"lead": 30, "mql": 60}]
    )
    session_minutes: float | None = Field(
        None, description="touches are sessions, which end after so many idle minutes; unset: each touch counts",
        gt=0, examples=[30],
    )  # fmt: skip
    transforms: list[str] = Field(
        [], description="of paths: exposure, first, frequency, trim_long_path(20), remove_if_not_all(Direct), …",
        examples=[["exposure", "remove_if_last_and_not_all(Direct)"]],
    )  # fmt: skip
    outreach_kinds: list[str] = Field(
        ["sales_call"], description="outreach by sales; within outreach_days of grade A it is shown (after score)"
    )
    outreach_days: float = Field(7, description="how long outreach is held to follow a score", gt=0)
    half_life_days: float = Field(7, description="time decay: a touch this much older earns half", gt=0)
    currency: str = Field("EUR", description="reporting currency; amounts without a currency are in it")
    rate_days: int = Field(7, description="a day without a rate takes the latest of so many days before", ge=0)
