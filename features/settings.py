"""touchstone.toml: every setting, its default and its meaning, on one page.

A setting may also come from the environment, which wins: ``TOUCHSTONE_GOAL__HORIZON_DAYS=60``.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from features.errors import ConfigError

FILE = "touchstone.toml"
BARE = re.compile(r"[A-Za-z0-9_-]+")  # a key that TOML reads without quotes


class Section(BaseModel):
    """A table of the file; an unknown key is an error, not a silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class Goal(Section):
    """What counts as won and lost, and how far the score looks ahead."""

    won: list[str] = Field(["won"], description="stages that mean: the lead closed", min_length=1)
    lost: list[str] = Field(["lost"], description="stages that mean: the lead will not close")
    horizon_days: float = Field(90, description="the score is the probability of closing within so many days", gt=0)


class FeatureLine(Section):
    """One feature of one's own: a verb with its arguments, as the data dictionary explains them."""

    name: str = Field(description="what it is called", min_length=1)
    verb: str = Field(description="count, recency, share, …; the data dictionary explains each", min_length=1)
    about: str = Field(description="what it means, in a sentence", min_length=1)
    unit: str = Field("", description="what it is measured in")
    group: Literal["fit", "intent", "engagement"] = Field("engagement", description="the sub-score that it belongs to")
    where: dict[str, str | list[str]] = Field({}, description="column = name, or one of several names")
    days: float | None = Field(None, description="window, half-life or period", gt=0)
    column: str = Field("", description="column that distinct, total, last, attribute, … look at")
    levels: list[str] = Field([], description="categories of a text")
    each: str = Field("", description="one such feature for each name of this column; {} in the name stands for it")
    events: Literal["", "touches", "stages", "versions", "contacts"] = Field(
        "", description="what is looked at, if not what the verb looks at"
    )
    of: Literal["lead", "account"] = Field("lead", description="account: of all contacts of the lead's account")


class Features(Section):
    """What a lead is measured by."""

    add: list[FeatureLine] = Field(
        [],
        description="features of your own; or [[features.add]] blocks",
        examples=[[{
            "name": "pricing_views_14d", "verb": "count", "where": {"properties.path": "/pricing"}, "days": 14,
            "about": "Looks at the pricing page in the last 14 days",
        }]],
    )  # fmt: skip
    remove: list[str] = Field([], description="names in the catalogue that are not used")
    file: Path | None = Field(
        None, description="a Python file with more features, as a tuple FEATURES", examples=["our_features.py"]
    )


class Snapshots(Section):
    """The moments at which open leads are looked at to learn from."""

    every_days: float = Field(7, description="one snapshot of every open lead each so many days", gt=0)
    ages_days: list[float] = Field([], description="instead: one snapshot at each of these ages of the lead")
    max_age_days: float = Field(365, description="leads older than this are not looked at any more", gt=0)
    mature_when: Literal["horizon", "closed"] = Field(
        "horizon",
        description="horizon: an outcome counts once the horizon is past; "
        "closed: once the lead is won or lost, whatever the horizon (for data with a natural end)",
    )
    reporting_lag_days: float = Field(0, description="outcomes are reported up to so many days late", ge=0)


class Training(Section):
    """The model. The defaults are conservative on purpose: lead-sized data punishes larger ones."""

    model: Literal["direct", "competing_risks"] = Field(
        "direct",
        description="direct: trees tell the probability of closing within the horizon; competing_risks: of being won "
        "and of being lost, period by period, also from leads that are still open",
    )
    trees: int = Field(150, description="trees of each member of the ensemble", gt=0)
    learning_rate: float = Field(0.04, gt=0, description="step of each tree")
    leaves: int = Field(8, description="leaves of each tree, which is at most 10 splits deep", gt=1)
    rows_per_leaf: int = Field(20, description="least number of snapshots in a leaf", gt=0)
    column_fraction: float = Field(0.7, description="share of features each tree may use", gt=0, le=1)
    row_fraction: float = Field(0.8, description="share of snapshots each tree sees", gt=0, le=1)
    l2: float = Field(5, description="shrinkage of leaf values", ge=0)
    line_share: float = Field(0.5, description="share of the logistic regression beside the trees", ge=0, le=1)
    members: int = Field(5, description="members of the ensemble; each leaves out one part of the leads", gt=1)
    fewest_outcomes: int = Field(40, description="below so many wins or non-wins no trees are grown", gt=1)
    outlook_days: list[float] = Field([30, 60, 180], description="further horizons, for the expected close date")
    keep_columns: list[str] = Field([], description="features to learn from although the leak report names them")
    test_share: float = Field(0.2, description="latest share of snapshots a new model is judged on", gt=0, lt=1)
    seed: int = Field(0, description="same data, seed and threads give the same model")
    threads: int = Field(1, description="threads of LightGBM", gt=0)


class Monitor(Section):
    """What is watched between two trainings, and when a model is trained again."""

    age_days: float = Field(7, description="leads are compared when they are so old", gt=0)
    recent_days: float = Field(28, description="those who became so old in the last so many days,", gt=0)
    before_days: float = Field(84, description="with those who did in so many days before", gt=0)
    matured_days: float = Field(90, description="promises of so many days, the latest that are past, are judged", gt=0)
    false_alarms: float = Field(0.01, description="share of checks in which each part may cry wolf", gt=0, lt=1)
    retrain_days: float = Field(30, description="a model that is so old is trained again", gt=0)
    retrain_outcomes: float = Field(
        0.2, description="or once so many more leads were won, as a share of those it learned from", gt=0
    )


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


class Serve(Section):
    """The service. It listens on loopback."""

    port: int = Field(3000, description="port on 127.0.0.1; 0 takes a free one", ge=0, le=65535)
    connections: int = Field(2_000, description="so many may be open at once; more are refused", gt=0)
    head_kilobytes: float = Field(64, description="largest head of a request that is read", gt=0)
    body_megabytes: float = Field(8, description="largest body of a request that is read", gt=0)
    body_seconds: float = Field(10, description="the head of a request, and then its body, take at most so long", gt=0)
    waiting: int = Field(32, description="requests that are worked on or wait for it; more are refused", gt=0)
    requests_a_second: float = Field(500, description="of one token, on average; at once, as many", gt=0)


class Connector(Section):
    """What every connected system has."""

    mapping: Path | None = Field(
        None, description="a mapping of your own, in place of connectors/mappings/", examples=["our-mapping.toml"]
    )
    share_of_quota: float = Field(0.5, description="share of a day's calls that may be ours", gt=0, le=1)
    band: float = Field(0.02, description="a probability is written again once it moved so far", ge=0)


class HubSpot(Connector):
    """HubSpot; HUBSPOT_TOKEN, or the _CLIENT_ID, _CLIENT_SECRET and _REFRESH_TOKEN, are in the environment."""

    base_url: str = Field("https://api.hubapi.com", description="address of the interface")
    version: str = Field("2026-09", description="of the interface, as its paths name it: 2026-09, 2026-03 or v3")
    calls_a_day: int = Field(650_000, description="limit of the account", gt=0)
    calls_in_10_seconds: int = Field(190, description="limit of the account", gt=0)
    searches_a_second: int = Field(4, description="limit of the account", gt=0)
    web_events: bool = Field(False, description="read page visits, a call for each contact; Enterprise accounts only")
    public_url: str = Field(
        "", description="where HubSpot sends its webhooks to, as it is written there: they are signed with it",
        examples=["https://touchstone.example.com/webhooks/hubspot"],
    )  # fmt: skip


class Salesforce(Connector):
    """Salesforce; SALESFORCE_CLIENT_ID and _CLIENT_SECRET, or _USERNAME and _PRIVATE_KEY, are in the environment."""

    base_url: str = Field(
        "", description="your My Domain address", examples=["https://example.my.salesforce.com"]
    )  # fmt: skip
    login_url: str = Field(
        "https://login.salesforce.com",
        description="whom what we sign with a private key is for; https://test.salesforce.com for a sandbox",
    )
    version: str = Field("62.0", description="of the interface")
    calls_a_day: int = Field(100_000, description="limit of the organization, of 24 hours", gt=0)
    calls_in_20_seconds: int = Field(100, description="our own limit; Salesforce has none but for slow calls", gt=0)
    bulk_from: int = Field(2_000, description="so many changed scores of one object are written as a bulk job", gt=0)


class Marketo(Connector):
    """Marketo; MARKETO_CLIENT_ID and MARKETO_CLIENT_SECRET are in the environment."""

    base_url: str = Field(
        "", description="your instance's address, without /rest", examples=["https://123-abc-456.mktorest.com"]
    )  # fmt: skip
    version: str = Field("v1", description="of the interface")
    calls_a_day: int = Field(50_000, description="limit of the subscription", gt=0)
    calls_in_20_seconds: int = Field(50, description="half of what Marketo lets everybody together do", gt=0)
    bulk_from: int = Field(3_000, description="so many changed scores are written as an import of files", gt=0)


class Mailchimp(Connector):
    """Mailchimp; MAILCHIMP_API_KEY is in the environment; its end, such as us1, tells the address."""

    base_url: str = Field(
        "", description="address of the interface; unset: https://<end of the key>.api.mailchimp.com",
        examples=["https://us1.api.mailchimp.com"],
    )  # fmt: skip
    version: str = Field("3.0", description="of the interface")
    audience: str = Field("", description="id of the audience whose members are read", examples=["a1b2c3d4e5"])
    calls_a_day: int = Field(1_000_000, description="our own limit; Mailchimp has none", gt=0)
    calls_a_second: int = Field(10, description="our own limit; Mailchimp limits only calls at one time, to 10", gt=0)


class Connectors(Section):
    """The systems that history comes from and scores go back to."""

    hubspot: HubSpot = HubSpot()  # type: ignore[call-arg]  # every field has a default
    salesforce: Salesforce = Salesforce()  # type: ignore[call-arg]
    marketo: Marketo = Marketo()  # type: ignore[call-arg]
    mailchimp: Mailchimp = Mailchimp()  # type: ignore[call-arg]


class Settings(BaseSettings):
    """Everything that a workspace configures."""

    model_config = SettingsConfigDict(extra="forbid", env_prefix="TOUCHSTONE_", env_nested_delimiter="__", frozen=True)

    ingest: Ingest = Ingest()  # type: ignore[call-arg]  # every field has a default
    sources: list[Source] = []
    channels: Channels = Channels()  # type: ignore[call-arg]
    lake: Keeping = Keeping()  # type: ignore[call-arg]
    goal: Goal = Goal()  # type: ignore[call-arg]
    features: Features = Features()  # type: ignore[call-arg]
    snapshots: Snapshots = Snapshots()  # type: ignore[call-arg]
    training: Training = Training()  # type: ignore[call-arg]
    monitor: Monitor = Monitor()  # type: ignore[call-arg]
    attribution: Attribution = Attribution()  # type: ignore[call-arg]
    serve: Serve = Serve()  # type: ignore[call-arg]
    connectors: Connectors = Connectors()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file."""
        return env_settings, init_settings


def read_settings(workspace: Path) -> Settings:
    """Return the settings of a workspace; without a file, the defaults.

    Raises:
        ConfigError: naming every setting that is wrong, at once.

    """
    path = workspace / FILE
    try:
        settings = Settings(**tomllib.loads(path.read_text("utf-8")) if path.exists() else {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}. Mend that line.") from None
    except SettingsError as error:
        raise ConfigError(f"The environment cannot be used: {error}. Write lists as in JSON.") from None
    except ValidationError as error:
        problems = "; ".join(f"{_place(e['loc'])}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path} cannot be used. {problems}. `touchstone init` explains every setting.") from None
    if settings.features.file is None:
        return settings
    file = {"file": workspace / settings.features.file}  # from where touchstone.toml is, not from where one stands
    return settings.model_copy(update={"features": settings.features.model_copy(update=file)})


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location if "[" not in str(part))  # pydantic names its validators, too


def settings_page() -> str:
    """Return a touchstone.toml with every setting at its default and explained."""
    return "\n".join(_page_lines())


EXAMPLE_SOURCE = """
# [[sources]]                          # one block for each kind of file; repeat as needed
# file = "crm-export*.csv"             # name of the file, or a pattern
# table = "touches"                    # leads, touches, stages, spend, rates, identities or feedback
# encoding = "cp1252"                  # of a CSV file that is not UTF-8
# where = "status <> 'test'"           # take only these rows
# refuse = "CASE WHEN score < 0 THEN 'The score is below 0.' END"  # keep these in quarantine, with this sentence
# may_lack = ["score"]                 # columns named in an expression that a file may lack
# timezone = "Europe/Berlin"           # zone of times written without one
# keep_other_columns = true            # as attributes of the lead or properties of the touch
# [sources.columns]                    # our column = theirs
# lead_id = "Contact ID"
# occurred_at = "Timestamp"
# kind = { sql = "lower(activity)" }   # a DuckDB expression
# channel = { value = "Email" }        # the same in every row
"""


def _page_lines() -> Iterator[str]:
    yield "# Touchstone's settings. Each line shows its default; delete what you do not change."
    for name, section in Settings.model_fields.items():
        if name == "sources":
            yield EXAMPLE_SOURCE
            continue
        kind = section.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from _section_lines(name, kind)


def _section_lines(name: str, kind: type[Section]) -> Iterator[str]:
    yield f"\n[{name}]  # {kind.__doc__}"
    for key, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _section_lines(f"{name}.{key}", field.annotation)
            continue
        unset = field.default is None or bool(field.examples)
        value = toml((field.examples or [""])[0] if unset else field.default)
        yield f"{'# ' if unset else ''}{key} = {value}  # {field.description}"


def toml(value: object) -> str:
    """Return a value in one line of TOML, which is JSON but for its objects."""
    if isinstance(value, dict):
        entries = (f"{key if BARE.fullmatch(key) else json.dumps(key)} = {toml(entry)}" for key, entry in value.items())
        return f"{{ {', '.join(entries)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
