"""[ingest], [[sources]], [channels] and [lake]: how history is read, and how long it is kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from features.settings.section import Section


class Expression(Section):
    """What a column is made of when it is not simply another column."""

    sql: str | None = Field(None, description="a DuckDB expression over the file's columns")
    value: str | None = Field(None, description="the same text in every row")

    @model_validator(mode="after")
    def one_of_two(self) -> Expression:
        """Hold exactly one of the two forms."""
        if (self.sql is None) == (self.value is None):
            message = 'write { sql = "…" } or { value = "…" }, one of the two'
            raise ValueError(message)
        return self


class Source(Section):
    """How one kind of file becomes rows of one table; a file may have several."""

    file: str = Field(description="name of the file, or a pattern such as touches-*.csv")
    table: Literal["leads", "touches", "stages", "spend", "rates", "identities", "feedback"] = Field(
        description="the table that its rows go to"
    )
    encoding: str | None = Field(None, description="of a CSV file that is not UTF-8, such as cp1252")
    where: str | None = Field(None, description="take only rows for which this DuckDB condition holds")
    refuse: str | None = Field(None, description="a DuckDB expression: why a row is refused, as a sentence, or NULL")
    may_lack: list[str] = Field([], description="columns that an expression names and a file may lack: empty then")
    timezone: str | None = Field(None, description="zone of times written without one, such as Europe/Berlin")
    keep_other_columns: bool = Field(
        True, description="keep unmapped columns as attributes of the lead or properties of the touch"
    )
    columns: dict[str, str | Expression] = Field({}, description="our column = theirs")


class Ingest(Section):
    """How files are read."""

    timezone: str | None = Field(
        None, description="zone of times written without one; unset: such rows are refused",
        examples=["Europe/Berlin"],
    )  # fmt: skip
    default_channel: str | None = Field(
        None, description="channel of touches that name none; unset: such rows are refused",
        examples=["Direct"],
    )  # fmt: skip


class ChannelRule(Section):
    """A rule of one's own, asked before those of the rule set."""

    channel: str = Field(description="the channel of touches for which the condition holds", min_length=1)
    when: str = Field(description="a DuckDB condition over what is known of the touch's origin", min_length=1)


class Channels(Section):
    """Which channel a touch came through, when its file does not say. Rules are asked when a touch is ingested."""

    rule_set: Literal["touchstone-2026-11", "ga4-2026-05"] = Field(
        "touchstone-2026-11",
        description="touchstone: GA4's, and sales outreach, events, partner, …; ga4: Google's default group verbatim",
    )
    own_domains: list[str] = Field([], description="your own domains, such as example.com: they refer nobody to you")
    rules: list[ChannelRule] = Field(
        [],
        description="rules of your own, asked first, in order; or [[channels.rules]] blocks. A condition is DuckDB's, "
        "over source, medium, campaign, content, term, category, referrer, page, click_id and kind, in lower case",
        examples=[[{"channel": "Offline", "when": "medium = 'print' OR campaign LIKE '%flyer%'"}]],
    )


class Keeping(Section):
    """How long the lake keeps what it holds."""

    keep_touches_days: float | None = Field(
        None, description="touches that occurred longer ago are forgotten; unset: none is", gt=0, examples=[1095],
    )  # fmt: skip
    keep_versions_days: float = Field(
        30, description="training runs of so many days can be repeated to the bit; older files are removed", ge=1, le=30
    )
