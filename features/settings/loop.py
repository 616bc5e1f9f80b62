"""[feedback], [monitor], [report] and [exploration]: what comes back once scores are used."""

from __future__ import annotations

from pydantic import Field

from features.settings.section import Section


class Feedback(Section):
    """What the reasons mean for which sales rejects a lead; in capitals or small letters."""

    bad_data: list[str] = Field(
        ["inaccurate data", "bad data", "duplicate"], description="there is no such lead: nothing is learned from it"
    )
    no_fit: list[str] = Field(["no fit"], description="it will not close: learned at once, unless it is won after all")


class Monitor(Section):
    """What is watched between two trainings, and when a model is trained again."""

    age_days: float = Field(7, description="leads are compared when they are so old", gt=0)
    recent_days: float = Field(28, description="those who became so old in the last so many days,", gt=0)
    before_days: float = Field(84, description="with those who did in so many days before", gt=0)
    matured_days: float = Field(90, description="promises of so many days, the latest that are past, are judged", gt=0)
    false_alarms: float = Field(
        0.01, description="share of checks in which promises, and drift, may cry wolf", gt=0, lt=1
    )
    webhook: str = Field(
        "", description="alarms are posted to this address, as JSON", examples=["https://chat.example.com/hooks/leads"]
    )
    retrain_days: float = Field(30, description="a model that is so old is trained again", gt=0)
    retrain_outcomes: float = Field(
        0.2, description="or once so many more leads were won, as a share of those it learned from", gt=0
    )


class Report(Section):
    """What sales and marketing agree on: how many leads each can take, and where leads say they heard of you."""

    mql_a_week: float | None = Field(
        None, description="so many new leads a week can be qualified; unset: MQLs have no score band", gt=0,
        examples=[100],
    )  # fmt: skip
    sql_a_week: float | None = Field(
        None, description="so many of them a week can sales take; unset: SQLs have no score band", gt=0, examples=[25],
    )  # fmt: skip
    heard_from: str = Field(
        "how_did_you_hear_about_us", description="attribute in which leads say where they heard of you"
    )


class Exploration(Section):
    """A lasting experiment: some leads are worked without their score, to measure what scores are worth."""

    share: float = Field(0, description="share of leads whose score is kept from sales, at random", ge=0, le=0.5)
    key: str = Field("touchstone", description="who that is follows from it; another key draws other leads")
