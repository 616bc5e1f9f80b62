"""The check-up: what the lake holds, how fresh it is, whether as much arrives as usual, and what is wrong with it.

The touches are read once by day, kind and channel, and said to be whose by their leads alone; all else is said from
the sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from features.contract import INGESTED
from features.ending import ended, is_silent
from features.history import microseconds
from features.identities import numbers
from features.lake import Lake
from features.money import ORPHANED
from features.remedies import remedy
from features.settings import Goal
from features.volume import Move, gaps, moves, weeks_of

SUMS = """
    CREATE TEMP TABLE touch_days AS
        SELECT kind, channel, CAST($as_of AS DATE) - CAST(occurred_at AS DATE) AS days_ago, count(*) AS rows,
               count(*) FILTER (WHERE occurred_at >= $as_of) AS future,
               min(occurred_at) AS first, max(occurred_at) AS newest, max(received_at) AS last
        FROM touches GROUP BY ALL
"""
COUNTS = {
    "leads": "SELECT count(DISTINCT lead_id) AS leads, count(*) AS rows, "
    "min(created_at) AS first, max(observed_at) AS last FROM leads",
    "touches": "SELECT (SELECT count(DISTINCT lead_id) FROM touches) AS leads, coalesce(sum(rows), 0)::BIGINT AS rows, "
    "min(first) AS first, max(last) AS last FROM touch_days",
    "stages": "SELECT count(DISTINCT lead_id) AS leads, count(*) AS rows, "
    "min(occurred_at) AS first, max(received_at) AS last FROM stages",
    "spend": "SELECT NULL AS leads, count(*) AS rows, min(day) AS first, max(day) AS last FROM spend",
    "rates": "SELECT NULL AS leads, count(*) AS rows, min(day) AS first, max(day) AS last FROM rates",
    "identities": "SELECT count(DISTINCT lead_id) AS leads, count(*) AS rows, "
    "min(observed_at) AS first, max(observed_at) AS last FROM identities",
    "feedback": "SELECT count(DISTINCT lead_id) AS leads, count(*) AS rows, "
    'min("at") AS first, max("at") AS last FROM feedback',
}
STAGE_DAYS = "CAST($as_of AS DATE) - CAST(occurred_at AS DATE)"
VOLUME = f"""
    SELECT 'touches' AS "table", NULL AS "column", NULL AS name, days_ago, sum(rows)::BIGINT AS rows,
           max(newest) AS newest FROM touch_days GROUP BY ALL
    UNION ALL SELECT 'touches', 'kind', kind, days_ago, sum(rows)::BIGINT, max(newest) FROM touch_days GROUP BY ALL
    UNION ALL
    SELECT 'touches', 'channel', channel, days_ago, sum(rows)::BIGINT, max(newest) FROM touch_days GROUP BY ALL
    UNION ALL SELECT 'stages', NULL, NULL, {STAGE_DAYS}, count(*), max(occurred_at) FROM stages GROUP BY ALL
    UNION ALL SELECT 'stages', 'stage', stage, {STAGE_DAYS}, count(*), max(occurred_at) FROM stages GROUP BY ALL
    UNION ALL SELECT 'leads', NULL, NULL, CAST($as_of AS DATE) - CAST(created_at AS DATE), count(*), max(created_at)
        FROM (SELECT min(created_at) AS created_at FROM leads GROUP BY lead_id) GROUP BY ALL
"""
QUARANTINE = """
    SELECT "table", source, regexp_replace(why, '"[^"]*"', '"…"', 'g') AS why, count(*) AS rows,
           min("row") AS example
    FROM quarantine GROUP BY ALL ORDER BY rows DESC, why
"""
STRAY = """
    (SELECT {{'rows': count(*), 'first': min(lead_id)}} FROM {table} WHERE lead_id NOT IN (
        SELECT lead_id FROM leads UNION ALL SELECT duplicate_id FROM identities WHERE duplicate_id IS NOT NULL))
"""
POINTED = """
    (SELECT {'ids': count(*), 'first': min(lead_id)} FROM (
        SELECT lead_id FROM touches UNION SELECT lead_id FROM stages UNION SELECT lead_id FROM feedback)
     WHERE regexp_full_match(lead_id, '\\d+(\\.0)?') AND lead_id NOT IN (SELECT lead_id FROM leads)
       AND if(lead_id LIKE '%.0', lead_id[:-3], lead_id || '.0') IN (SELECT lead_id FROM leads))
"""
SAID_OF = f"""
    SELECT (SELECT coalesce(sum(future), 0)::BIGINT FROM touch_days) AS future,
           (SELECT count(*) FROM stages WHERE stage IN (SELECT unnest($won::VARCHAR[]))) AS wins,
           (SELECT count(*) FROM stages WHERE stage IN (SELECT unnest($lost::VARCHAR[]))) AS losses,
           (SELECT count(*) FROM leads) AS leads,
           {STRAY.format(table="stages")} AS stray_stages, {STRAY.format(table="feedback")} AS stray_feedback,
           {POINTED} AS pointed,
           (SELECT count(*) FROM ({ORPHANED})) AS refunds
"""
MOST_MOVES = 10  # said; all are among the sources


def checkup(lake: Lake, goal: Goal, as_of: datetime) -> dict[str, Any]:
    """Return what the lake holds as of a moment.

    ``tables``: rows, leads, first and last of each table. ``sources``: freshness and volume of each table, kind and
    channel of touches, and stage. ``arrivals``: a sentence for each that is silent, has a gap or moved.
    ``quarantine``: refused rows by reason, with an example and a remedy. ``findings``: a sentence for each thing that
    is wrong.
    """
    with lake.connection() as connection:

        def ask(sql: str, **parameters: object) -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = connection.sql(sql, params=parameters).to_arrow_table().to_pylist()
            return rows

        connection.execute(SUMS, {"as_of": as_of})
        tables = {name: ask(COUNTS[name])[0] for name in INGESTED}
        quarantine = [{**group, "remedy": remedy(group["why"], group["source"])} for group in ask(QUARANTINE)]
        volume = ask(VOLUME, as_of=as_of)
        said_of = ask(SAID_OF, won=goal.won, lost=goal.lost, as_of=as_of)[0] | numbers(lake, microseconds(as_of))
    sources = _sources(volume)
    arrivals = list(_arrivals(sources, as_of))
    return {
        "tables": tables,
        "sources": [_described(source, as_of) for source in sources],
        "quarantine": quarantine,
        "arrivals": arrivals,
        "findings": [*_findings(said_of, goal), *arrivals],
    }


def aimless(found: Mapping[str, Any], goals: Mapping[str, Goal]) -> list[str]:
    """Return a sentence for each further goal of which no stage in what was found means that it is reached."""
    stages = {source["name"] for source in found["sources"] if source["column"] == "stage"}
    return [
        f"No stage is one of {', '.join(goal.won)}. Set goals.{name}.won to what your system calls it."
        for name, goal in goals.items()
        if not stages & {*goal.won}
    ]


@dataclass(frozen=True)
class Source:
    """A table, or a kind, a channel or a stage of one: its rows by days ago, its newest row, and its move."""

    table: str
    column: str | None
    name: str | None
    days: dict[int, int]
    newest: datetime
    move: Move | None

    def __str__(self) -> str:
        if self.column is None:
            return self.table.capitalize()
        return f'{self.table.capitalize()} of {self.column} "{self.name}"'


def _sources(volume: Sequence[Mapping[str, Any]]) -> list[Source]:
    """Return every source, tables first, with the move of each that has history enough."""
    days: dict[tuple[str, str | None, str | None], dict[int, int]] = {}
    newest: dict[tuple[str, str | None, str | None], datetime] = {}
    for row in volume:
        key = (row["table"], row["column"], row["name"])
        days.setdefault(key, {})[row["days_ago"]] = row["rows"]
        newest[key] = max(newest.get(key, row["newest"]), row["newest"])
    begun = {key[0]: max(by_day) for key, by_day in days.items() if key[1] is None}
    moved = moves(days, {key: begun[key[0]] for key in days})
    keys = sorted(days, key=lambda key: tuple(part or "" for part in key))
    return [Source(*key, days[key], newest[key].astimezone(UTC), moved.get(key)) for key in keys]


def _described(source: Source, as_of: datetime) -> dict[str, Any]:
    move = source.move
    return {
        "table": source.table,
        "column": source.column,
        "name": source.name,
        "rows": sum(source.days.values()),
        "newest": source.newest,
        "age_days": round((as_of - source.newest) / timedelta(days=1), 2),
        "last_7_days": weeks_of(source.days, 7)[0],
        "weekly_before": move and round(move.weekly_before, 2),
        "chance": move and move.chance,
    }


def _findings(said_of: Mapping[str, Any], goal: Goal) -> Iterator[str]:
    if said_of["orphans"]:
        yield f"{_touches(said_of['orphans'])} of leads that are not in the lake. Ingest those leads."
    yield from _strays(said_of)
    if said_of["lost_merges"]:
        records = _counted(said_of["lost_merges"], "record is", "records are")
        yield f"{records} merged into leads that are not in the lake. Ingest those leads."
    if said_of["anonymous"]:
        yield f"{_touches(said_of['anonymous'])} anonymous, of no lead yet."
    if said_of["future"]:
        yield f"{_touches(said_of['future'])} in the future. Check the time zone of their source."
    if not said_of["leads"]:
        yield "There are no leads yet. Ingest some: touchstone ingest FILE."
    elif not said_of["wins"]:
        yield f"No stage is one of {', '.join(goal.won)}. Set goal.won to what your system calls a closed deal."
    if said_of["leads"] and not said_of["losses"]:
        yield "No stage means that a lead is lost: every lead that is not won stays open for ever. Set goal.lost."
    if said_of["refunds"]:
        yield (
            f"{_counted(said_of['refunds'], 'refund is', 'refunds are')} of leads that were not won before, and "
            "credited to nobody. Ingest the stages of those deals."
        )


def _strays(said_of: Mapping[str, Any]) -> Iterator[str]:
    for table in ("stages", "feedback"):
        stray = said_of[f"stray_{table}"]
        if said_of["leads"] and stray["rows"]:
            rows = _counted(stray["rows"], f"row of {table} is", f"rows of {table} are")
            example = f'such as "{stray["first"]}"'
            yield f"{rows} of leads that are not in the lake ({example}). Correct the ids, or ingest the leads."
    if said_of["pointed"]["ids"]:
        ids = _counted(said_of["pointed"]["ids"], "of these ids is a number", "of these ids are numbers")
        yield (
            f'{ids} (such as "{said_of["pointed"]["first"]}") that leads bear with .0, or without it: so '
            "spreadsheets and pandas write a column of numbers that has gaps. Export ids as text, or let lead_id be "
            "{ sql = \"regexp_replace(lead_id, '[.]0$', '')\" } under [sources.columns]."
        )


def _arrivals(sources: Sequence[Source], as_of: datetime) -> Iterator[str]:
    """Yield what is late, missing or moved."""
    whole = [source for source in sources if source.column is None]
    if said := ended({day for source in whole for day in source.days}, as_of):
        yield said
        return
    silent = {source.table for source in whole if is_silent(source.days)}
    for source in sources:
        if source.column is None and source.table in silent:
            age = min(day for day in source.days if day >= 0)
            yield (
                f"No {source.table} for {age} days: the newest are of {_day(as_of, age)}. See whether their source "
                "still sends, and ingest what is missing."
            )
        elif source.column is None and source.table == "touches":
            yield from (_gap(gap, as_of) for gap in gaps(source.days, max(source.days)))
    alarms = [(str(source), source.move) for source in _alarms(sources) if source.move and source.table not in silent]
    alarms.sort(key=lambda alarm: alarm[1].chance)
    yield from (_moved(name, move) for name, move in alarms[:MOST_MOVES])
    if alarms[MOST_MOVES:]:
        yield f"{len(alarms) - MOST_MOVES} more sources moved; --json lists them under sources."


def _alarms(sources: Sequence[Source]) -> Iterator[Source]:
    """Yield the sources that moved; not those that moved just as their whole table did, which is said of the table."""
    moved = [source for source in sources if source.move and source.move.is_alarm]
    whole = {source.table: source.move.times for source in moved if source.column is None and source.move}
    for source in moved:
        times = whole.get(source.table)
        if (
            source.column is None
            or times is None
            or (source.move and not 0.8 * times <= source.move.times <= times / 0.8)
        ):
            yield source


def _gap(gap: tuple[int, int, float], as_of: datetime) -> str:
    first, last, usual = gap
    when = f"on {_day(as_of, first)}" if first == last else f"from {_day(as_of, first)} to {_day(as_of, last)}"
    return (
        f"There are no touches {when}, where {usual:,.0f} a day are usual. A day off, or a gap in a feed: then ingest "
        "what is missing."
    )


def _moved(name: str, move: Move) -> str:
    odds = 10 ** min(9, math.floor(-math.log10(max(move.chance, 1e-300))))
    rose = move.last_7_days > move.weekly_before
    cause = "is doubled, or a bot came" if rose else "still sends all of it"
    before = "before" if move.last_7_days else "before the silence"
    return (
        f"{name} {'rose' if rose else 'fell'} to {move.last_7_days:,} in the last 7 days, from "
        f"{move.weekly_before:,.1f} a week in the {move.weeks} weeks {before}. Chance alone shows such a move in fewer "
        f"than 1 of {odds:,} checks. See whether its source {cause}."
    )


def _day(as_of: datetime, days_ago: int) -> date:
    return (as_of.astimezone(UTC) - timedelta(days=days_ago)).date()


def _touches(number: int) -> str:
    return _counted(number, "touch is", "touches are")


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
