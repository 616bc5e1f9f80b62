"""Upkeep, a part of every ingest: few sorted runs in a table, and nothing kept longer than is wanted.

An ingest adds a run. Runs are merged as in a log-structured merge tree: a run is left alone while it is several
times as large as all smaller ones together, so a row is rewritten seldom, and most rows are in one run. The files
that a merge replaces stay for those who read them, and for time travel, until they are ``keep_versions_days`` old.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from features.contract import TABLES, literal, quoted
from features.lake import WRITERS_SPILL, Lake
from features.ordered import ROW_GROUP, Part
from features.settings import Keeping

TIMES = 4  # a run so many times as large as all smaller ones together is left alone
RUNS, ROWS = 8, 250_000  # smaller ones wait until there are so many of them, or so many rows in them
LATE = 1.05  # touches are forgotten at the latest when this much older than wanted: many at once, and seldom


def keep_up(
    lake: Lake, name: str, keeping: Keeping, as_of: datetime, progress: Callable[[str], None] = lambda _: None
) -> None:
    """Merge the runs of a table that are due, forget touches that are too old, and remove files nobody needs."""
    with lake.writing():
        keep_up_held(lake, name, keeping, as_of, progress)


def keep_up_held(
    lake: Lake, name: str, keeping: Keeping, as_of: datetime, progress: Callable[[str], None] = lambda _: None
) -> None:
    """Do the same; the caller holds ``lake.writing()``."""
    parts, days = lake.parts(name), keeping.keep_touches_days
    if name == "touches" and days and parts:
        since, at_the_latest = as_of - timedelta(days=days), as_of - timedelta(days=days * LATE)
        too_old = "SELECT 1 FROM touches WHERE occurred_at < $1 LIMIT 1"
        if lake.query(too_old, [at_the_latest]).num_rows:
            progress(f"Forgetting touches before {since:%Y-%m-%d}")
            _merge(lake, name, parts, f"occurred_at >= TIMESTAMPTZ {literal(since.isoformat())}")
    merged = due(lake.parts(name))
    if merged:
        progress(f"Putting {name} in order")
        _merge(lake, name, merged)
    lake.remove_old_files(name, keeping.keep_versions_days)


def due(parts: Sequence[Part]) -> list[Part]:
    """Return the files of the runs that are to be merged now: the largest that is too small, and all smaller ones."""
    rows = Counter[str]()
    for part in parts:
        rows[part.run] += part.rows
    ranked = [run for run, _ in rows.most_common()]
    smaller = sum(rows.values())
    for place, run in enumerate(ranked):
        smaller -= rows[run]
        if rows[run] < TIMES * smaller:
            few = len(ranked) - place - 1 < RUNS and smaller < ROWS
            return [] if few else [part for part in parts if part.run in ranked[place:]]
    return []


def _merge(lake: Lake, name: str, parts: Sequence[Part], kept: str = "true") -> None:
    """Write the rows of some files anew as one run, those for which ``kept`` holds."""
    listed = ", ".join(literal(str(part.path)) for part in parts)
    order = ", ".join(map(quoted, TABLES[name].order))
    rows = f"FROM read_parquet([{listed}], hive_partitioning = false) WHERE {kept} ORDER BY {order}"
    with lake.connection((), spill=WRITERS_SPILL) as connection:
        lake.replace(name, parts, connection.sql(rows).to_arrow_reader(ROW_GROUP))
