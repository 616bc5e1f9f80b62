"""The contract of the tables: what a row must be, said once, checked once, at the door.

A table is a tuple of columns and rules. From them come the Arrow schema of the lake and, in ``admission``,
the SQL that types the rows of a file and the sentences for those that are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

ROW_HASH = "row_hash"  # of a row's whole content: the same row twice is one row


@dataclass(frozen=True)
class Column:
    """One column: its name, its type, and what happens when it is empty."""

    name: str
    type: str = "text"
    required: bool = False
    default: str | None = None  # the column that stands in for it


@dataclass(frozen=True)
class Rule:
    """A condition over several columns, in SQL, with the sentence for rows that break it."""

    holds: str
    sentence: str


@dataclass(frozen=True)
class Table:
    """One table: its columns, its key (the row's hash when it is empty) and its order on disk."""

    columns: tuple[Column, ...]
    key: str = ROW_HASH
    identity: tuple[str, ...] = ()  # the columns that an empty key is made of; none: all
    order: tuple[str, ...] = ()
    others: str | None = None  # the column for what the table does not name
    rules: tuple[Rule, ...] = ()
    clash: str = ""  # sentence for a row whose key another row has, with other content


ARROW = {
    "text": pa.string(),
    "time": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
    "number": pa.float64(),
    "money": pa.decimal128(18, 4),
    "json": pa.string(),
    "integer": pa.int64(),
    "flag": pa.bool_(),
}

CURRENCY = Rule(
    "currency IS NULL OR regexp_full_match(currency, '[A-Z]{3}')",
    "currency is not a code of three capital letters, such as EUR.",
)
TABLES = {
    "leads": Table(
        columns=(
            Column("lead_id", required=True),
            Column("created_at", "time", required=True),
            Column("observed_at", "time", default="created_at"),
            Column("account_id"),
            Column("owner"),
            Column("is_change", "flag"),  # it names only what changed
            Column("attributes", "json"),
        ),
        order=("lead_id", "observed_at", ROW_HASH),
        others="attributes",
    ),
    "touches": Table(
        columns=(
            Column("event_id"),
            Column("lead_id"),
            Column("anonymous_id"),
            Column("occurred_at", "time", required=True),
            Column("received_at", "time", default="occurred_at"),
            Column("kind", required=True),
            Column("channel", required=True),
            *(Column(name) for name in ("campaign", "utm_source", "utm_medium", "utm_campaign")),
            *(Column(name) for name in ("utm_term", "utm_content", "utm_id", "referrer")),
            Column("cost", "number"),
            Column("machine", "flag"),  # no person made it; where a file does not say, the signs in the row do
            Column("properties", "json"),
        ),
        key="event_id",
        order=("lead_id", "occurred_at", "event_id"),
        others="properties",
        rules=(
            Rule(
                "lead_id IS NOT NULL OR anonymous_id IS NOT NULL",
                "lead_id and anonymous_id are both empty. Say whose touch it is.",
            ),
        ),
    ),
    "stages": Table(
        columns=(
            Column("lead_id", required=True),
            Column("stage", required=True),
            Column("occurred_at", "time", required=True),
            Column("received_at", "time", default="occurred_at"),
            Column("amount", "money"),
            Column("currency"),
            Column("reason"),
        ),
        order=("lead_id", "occurred_at", "stage", ROW_HASH),
        rules=(CURRENCY,),
    ),
    "spend": Table(
        columns=(
            Column("day", "date", required=True),
            Column("channel", required=True),
            Column("campaign"),
            Column("cost", "money", required=True),
            Column("currency", required=True),
            Column("received_at", "time", default="day"),  # of two statements of one cost, the later one counts
            Column("statement_id"),
        ),
        key="statement_id",
        identity=("day", "channel", "campaign", "currency", "received_at"),
        order=("day", "channel", "campaign", "received_at"),
        rules=(CURRENCY,),
        clash="Another row states another cost of this day, channel and campaign. Give a correction a later "
        "received_at; add up what belongs together, or name its campaigns.",
    ),
    "rates": Table(
        columns=(
            Column("day", "date", required=True),
            Column("currency", required=True),
            Column("rate", "number", required=True),  # what one unit is worth in the reporting currency
            Column("rate_id"),
        ),
        key="rate_id",
        identity=("day", "currency"),
        order=("day", "currency"),
        rules=(CURRENCY, Rule("rate > 0", "rate is not above 0.")),
        clash="Another row states another rate of this day and currency. Correct the file.",
    ),
    "identities": Table(
        columns=(
            Column("anonymous_id"),
            Column("email_hash"),
            Column("duplicate_id"),  # a lead_id that is another lead's
            Column("lead_id", required=True),
            Column("observed_at", "time", required=True),  # from when it is known
        ),
        order=("lead_id", "observed_at", ROW_HASH),
        rules=(
            Rule(
                "len(list_filter([anonymous_id, email_hash, duplicate_id], lambda x: x IS NOT NULL)) = 1",
                "Fill exactly one of anonymous_id, email_hash and duplicate_id.",
            ),
        ),
    ),
    "feedback": Table(
        columns=(
            Column("lead_id", required=True),
            Column("at", "time", required=True),
            Column("verdict", required=True),
            Column("reason"),
            Column("by"),
        ),
        order=("lead_id", "at", ROW_HASH),
        rules=(Rule("verdict IN ('accepted', 'rejected')", "verdict is neither accepted nor rejected."),),
    ),
    "quarantine": Table(
        columns=(
            Column("table"),
            Column("source"),
            Column("row"),
            Column("why"),
            Column("refused_at", "time"),
        ),
    ),
    "scores": Table(
        columns=(
            Column("lead_id"),
            Column("as_of", "time"),
            Column("horizon_days", "number"),
            Column("probability", "number"),
            Column("low", "number"),
            Column("high", "number"),
            Column("grade"),
            Column("trend"),
            Column("reasons", "json"),
            Column("model_version"),
            Column("goal"),  # one of [goals]; empty: the main one
            Column("withheld", "flag"),  # from sales, to measure what showing it is worth
            Column("propensity", "number"),  # the chance that it is withheld
        ),
        order=("lead_id", "as_of"),
    ),
    "credits": Table(
        columns=(
            Column("run_id"),
            Column("model"),
            Column("lead_id"),
            Column("event_id"),
            Column("channel"),
            Column("conversion"),
            Column("credit", "number"),
            Column("value", "money"),
        ),
    ),
}
INGESTED = ("leads", "touches", "stages", "spend", "rates", "identities", "feedback")


def schema(name: str) -> pa.Schema:
    """Return the Arrow schema of a table in the lake."""
    columns = [(column.name, ARROW[column.type]) for column in TABLES[name].columns]
    return pa.schema([*columns, (ROW_HASH, pa.string())] if name in (*INGESTED, "quarantine") else columns)


def missing_columns(name: str, present: set[str]) -> list[str]:
    """Return the required columns of a table that a file does not have at all."""
    return [column.name for column in TABLES[name].columns if column.required and column.name not in present]


def quoted(identifier: str) -> str:
    """Return an SQL identifier.

    >>> print(quoted("Lead ID"))
    "Lead ID"
    """
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return an SQL string.

    >>> print(literal("rep's note"))
    'rep''s note'
    """
    return "'" + text.replace("'", "''") + "'"


def pointer(key: str) -> str:
    """Return an SQL string that points at a key of a JSON object.

    >>> print(pointer("won/lost"))
    '/won~1lost'
    """
    return literal("/" + key.replace("~", "~0").replace("/", "~1"))
