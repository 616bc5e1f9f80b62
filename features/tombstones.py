"""Tombstones: what remains of an erased person, so that every channel's total is as it was.

A person's names become random ones, ``erased-<token>-<number>``, which nothing can turn back. They sort as the names
did, because ties are settled by name. What remains of each table:

- leads: one version, its times, without attributes, account and owner: the count of leads stays.
- touches: times, kind, channel, cost, machine. stages: stage, times, amount, currency. identities: whose is whose, and
  since when. From these an attribution that runs again gives every channel what it gave before.
- credits: run, model, channel, conversion, credit and value.
- feedback, scores, quarantine: nothing.

An e-mail address of theirs in other people's texts becomes "erased"; the other's row stays. Times stay to the
microsecond, since credit rests on them: whoever has another system's log could compare.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from features.contract import ROW_HASH, TABLES, literal, quoted, schema
from features.lake import WRITERS_SPILL, Lake
from features.ordered import ROW_GROUP, Part
from features.person import QUOTED, Person

PREFIX = "erased-"
KEPT = {
    "leads": ("created_at", "observed_at"),
    "touches": ("occurred_at", "received_at", "kind", "channel", "cost", "machine"),
    "stages": ("stage", "occurred_at", "received_at", "amount", "currency"),
    "identities": ("observed_at",),
    "credits": ("run_id", "model", "channel", "conversion", "credit", "value"),
    "feedback": (),
    "scores": (),
    "quarantine": (),
}
NAMES = {
    "lead_id": "lead", "duplicate_id": "lead", "anonymous_id": "anonymous", "email_hash": "anonymous",
    "event_id": "event",
}  # fmt: skip
MINE = {
    "identities": "lead_id IN (SELECT was FROM lead_names) OR duplicate_id IN (SELECT was FROM lead_names)",
    "touches": "lead_id IN (SELECT was FROM lead_names) OR event_id IN (SELECT was FROM event_names)",
    "credits": "lead_id IN (SELECT was FROM lead_names) OR event_id IN (SELECT was FROM event_names)",
    "quarantine": QUOTED,
}
LEAD = "lead_id IN (SELECT was FROM lead_names)"
TEXTS = {  # columns in which people write what they like
    "leads": ("account_id", "owner", "attributes"),
    "touches": ("campaign", "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "utm_id",
                "referrer", "properties"),
    "stages": ("reason",),
    "feedback": ("reason", "by"),
    "scores": ("reasons",),
}  # fmt: skip
BEFORE, AFTER = r"(^|%[0-9A-Fa-f]{2}|[^\w.+%-])", r"($|[^\w.-]|\.$|\.[^\w])"  # where an e-mail address ends


def is_tombstone(lead_id: str) -> bool:
    """Say whether a lead is what remains of an erased person.

    >>> is_tombstone("erased-0123456789abcdef0123456789abcdef-000000000"), is_tombstone("erased-by-mistake")
    (True, False)
    """
    return re.fullmatch(PREFIX + r"[0-9a-f]{32}-\d{9}", lead_id) is not None


def rows_of(lake: Lake, person: Person) -> dict[str, int]:
    """Return how many rows of each table are a person's."""
    counts = {}
    with searching(lake, person) as connection:
        for name in KEPT:
            parts = lake.parts(name)
            if parts:
                rows = f"SELECT 1 FROM {_rows(parts)} WHERE {_mine(name)}"
                counts[name] = connection.sql(rows, params=_asked(name, person)).to_arrow_table().num_rows
    return {name: count for name, count in counts.items() if count}


def searching(lake: Lake, person: Person) -> duckdb.DuckDBPyConnection:
    """Return a connection that knows what each of a person's names becomes."""
    connection = lake.connection((), spill=WRITERS_SPILL)
    names = {"lead": person.lead_ids, "anonymous": person.anonymous_ids, "event": person.event_ids}
    for kind, known in names.items():
        new = [f"{PREFIX}{person.token}-{place:09}" for place in range(len(known))]
        columns = [pa.array(known, pa.string()), pa.array(new, pa.string())]
        connection.register(f"{kind}_names", pa.table(columns, ["was", "becomes"]))
    return connection


def bury(connection: duckdb.DuckDBPyConnection, lake: Lake, name: str, person: Person) -> None:
    """Leave of a person's rows of a table what may remain, in one commit; repeated, it does nothing more.

    The connection is one that is searching; the lake's writer lock must be held.
    """
    asked, pattern = _asked(name, person), _pattern(person)
    told = (f"regexp_matches({quoted(column)}, {pattern}, 'i')" for column in _texts(name, person))
    found = " OR ".join([_mine(name), *told])
    parts = []
    for part in lake.parts(name):
        some = f"SELECT 1 FROM {_rows([part])} WHERE {found} LIMIT 1"
        parts += [part] if connection.sql(some, params=asked).fetchall() else []
    if parts:
        rows = connection.sql(_remaining(name, person, parts), params=asked)
        lake.replace(name, parts, rows.to_arrow_reader(ROW_GROUP))


def forget_versions(lake: Lake, name: str) -> None:
    """Remove every earlier version of a table: its files, and its log, which holds names as statistics.

    The version's number goes on: one that is gone is never another's. The lake's writer lock must be held.
    """
    if lake.table(name) is not None:
        lake.remove_old_files(name, 0)
        lake.forget_log(name)


def _asked(name: str, person: Person) -> dict[str, list[str]]:
    names = sorted({*person.lead_ids, *person.own_ids})
    return {"names": names, "emails": list(person.emails)} if name == "quarantine" else {}


def _texts(name: str, person: Person) -> tuple[str, ...]:
    """Return the columns in which others may have written a person's address."""
    return TEXTS.get(name, ()) if person.emails else ()


def _mine(name: str) -> str:
    return f"coalesce({MINE.get(name, LEAD)}, false)"


def _remaining(name: str, person: Person, parts: Sequence[Part]) -> str:
    """Return SQL for what those files hold from now on."""
    table, columns = TABLES[name], schema(name).names
    redacted = {
        column: f"regexp_replace({quoted(column)}, {_pattern(person)}, '\\1erased\\2', 'gi') AS {quoted(column)}"
        for column in _texts(name, person)
    }
    others = ", ".join(redacted.get(column, quoted(column)) for column in columns)
    order = f"ORDER BY {', '.join(map(quoted, table.order))}" if table.order else ""
    rows = f"SELECT {others} FROM {_rows(parts)} WHERE NOT {_mine(name)}"
    if KEPT[name]:
        once = "QUALIFY row_number() OVER (PARTITION BY lead_id ORDER BY observed_at, row_hash) = 1"
        remains = ", ".join(f"{_remains(name, column, person)} AS {quoted(column)}" for column in columns)
        theirs = f"SELECT * FROM {_rows(parts)} WHERE {_mine(name)} {once if name == 'leads' else ''}"
        rows = f"{rows} UNION ALL SELECT {remains} FROM ({theirs}) AS theirs"
    return f"SELECT * FROM ({rows}) {order}"


def _remains(name: str, column: str, person: Person) -> str:
    """Return SQL for what becomes of a column in a row of theirs."""
    if column in KEPT[name]:
        return quoted(column)
    if column in NAMES:
        new = f"(SELECT becomes FROM {NAMES[column]}_names WHERE was = theirs.{quoted(column)})"
        return f"coalesce({new}, {quoted(column)})" if name == "credits" else new
    if column == ROW_HASH:  # sorts as it did: of two wins at one moment the first counts
        return f"'{PREFIX}{person.token}-' || lpad(CAST(row_number() OVER (ORDER BY row_hash) AS VARCHAR), 9, '0')"
    return "NULL"


def _pattern(person: Person) -> str:
    """Return an SQL string: a pattern of their e-mail addresses, as written and as in a link."""
    addresses = "|".join(re.escape(email).replace("@", "(?:@|%40)") for email in person.emails)
    return literal(f"{BEFORE}(?:{addresses}){AFTER}")


def _rows(parts: Sequence[Part]) -> str:
    listed = ", ".join(literal(str(part.path)) for part in parts)
    return f"read_parquet([{listed}], hive_partitioning = false)"
