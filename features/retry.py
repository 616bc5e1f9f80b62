"""Retry: quarantined rows are taken again, as they came, once a mapping is mended.

A row that is good now is stored first and leaves quarantine after that, in two commits: a retry that dies between
them leaves a row in both, which the next retry finds stored.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import duckdb

from features.admission import MACROS
from features.contract import ROW_HASH, TABLES, literal, pointer, quoted
from features.forgotten import forgotten
from features.ingestion import Ingested
from features.lake import WRITERS_SPILL, Lake
from features.ordered import ROW_GROUP
from features.settings import Settings, Source
from features.sieve import sieve
from features.sources import sources_by_name
from features.upkeep import keep_up

GROUPS = 'SELECT source, "table", count(*) AS rows, min(why) AS why FROM quarantine GROUP BY ALL ORDER BY ALL'
ROWS = 'SELECT "row" FROM quarantine WHERE source = $1'  # of any table, they tell the shape of the file


def retry(
    lake: Lake, settings: Settings, as_of: datetime, progress: Callable[[str], None] = lambda _: None
) -> list[Ingested]:
    """Store the quarantined rows that are good now; those, and rows that were stored since, leave quarantine.

    Raises:
        ConfigError, DataError: when the rows of a file cannot be mapped; rows of files before it are done.

    """
    results = []
    for group in lake.query(GROUPS).to_pylist():
        file, table = group["source"], group["table"]
        progress(f"{file} → {table}")
        rows = lake.query(ROWS, [file])["row"].to_pylist()
        sources = [source for source in sources_by_name(file, rows, settings) if source.table == table]
        for source in sources:
            with lake.writing():
                results.append(_retry_one(lake, settings, source, file, as_of))
        if not sources:
            results.append(Ingested(file, table, 0, 0, group["rows"], (group["why"],)))
    for table in dict.fromkeys(result.table for result in results if result.stored):
        keep_up(lake, table, settings.lake, as_of, progress)
    return results


def _retry_one(lake: Lake, settings: Settings, source: Source, file: str, as_of: datetime) -> Ingested:
    with lake.connection((source.table, "quarantine"), (), WRITERS_SPILL) as connection:
        _open(connection, source.table, file)
        sieved = sieve(connection, settings, source, Path(file), as_of, forgotten(lake))
        if sieved.fresh:
            lake.append(source.table, connection.sql("FROM fresh").to_arrow_reader(ROW_GROUP))
        _decide(connection, source.table)
        ((corrected,),) = connection.sql("SELECT count(*) FROM corrected").fetchall()
        if len(connection.sql("FROM quarantine EXCEPT ALL FROM staying").to_arrow_table()):
            staying = connection.sql("FROM staying").to_arrow_reader(ROW_GROUP)
            lake.replace("quarantine", lake.parts("quarantine"), staying)
    refused = sieved.refused - corrected
    return Ingested(
        file, source.table, sieved.fresh, sieved.known + corrected, refused, sieved.reasons if refused else ()
    )


def _open(connection: duckdb.DuckDBPyConnection, name: str, file: str) -> None:
    """Make ``file_rows`` and ``rejected`` of what is in quarantine from a file, as ``open_file`` does of the file."""
    connection.execute(MACROS)
    connection.execute(f"""
        CREATE TEMP TABLE kept AS SELECT "row", why, {ROW_HASH} FROM quarantine
            WHERE "table" = {literal(name)} AND source = {literal(file)};
        CREATE TEMP VIEW objects AS
            FROM kept WHERE CASE WHEN json_valid("row") THEN json_type("row") END = 'OBJECT';
        CREATE TEMP VIEW rejected AS SELECT "row" AS line, why FROM kept ANTI JOIN objects USING ({ROW_HASH});
    """)
    keys = [
        key
        for (key,) in connection.sql('SELECT DISTINCT unnest(json_keys("row")) AS k FROM objects ORDER BY k').fetchall()
    ]
    names = {key.lower(): key for key in reversed(keys)}  # to the database, one name
    places = {name: [i for i, key in enumerate(keys, 1) if key.lower() == lower] for lower, name in names.items()}
    columns = ", ".join(
        f"{quoted(name)} := coalesce({', '.join(f'told[{i}]' for i in those)}, NULL)" for name, those in places.items()
    )
    listed = f"[{', '.join(map(pointer, keys))}]::VARCHAR[]"
    connection.execute(f"""
        CREATE TEMP TABLE retried AS
            SELECT {ROW_HASH}, struct_pack({columns or '"" := NULL'}) AS raw FROM (SELECT {ROW_HASH}, list_transform(
                list_zip(json_extract_string("row", {listed}), json_type("row", {listed})),
                lambda one: {_told("one[1]", "one[2]")}
            ) AS told FROM objects);
        CREATE TEMP VIEW file_rows AS SELECT unnest(raw) FROM retried;
    """)


def _told(text: str, kind: str) -> str:
    """Return SQL for a value of a row in JSON, as text; a number of a typed file as a file without types has it."""
    return f"nullif(CASE {kind} WHEN 'DOUBLE' THEN number_text(TRY_CAST({text} AS DOUBLE)) ELSE {text} END, '')"


def _decide(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Make ``staying``, what quarantine holds from now on, and ``corrected``, bad rows that came again and were good.

    The row that corrects another has its key, or its first column of the order, and all of it that can be read.
    """
    table = TABLES[name]
    key = table.key if table.key != ROW_HASH else table.order[0]
    agree = " AND ".join(
        f"(a.{quoted(c.name)} IS NULL OR a.{quoted(c.name)} IS NOT DISTINCT FROM s.{quoted(c.name)})"
        for c in table.columns
    )
    unread = " + ".join(f"(a.{quoted(c.name)} IS NULL)::INT" for c in table.columns if c.required)
    told = f"({unread}) <= 1" if table.key == ROW_HASH else "true"  # a lead_id alone says too little
    connection.execute(f"""
        CREATE TEMP TABLE corrected AS
            SELECT DISTINCT a.raw FROM admitted AS a JOIN {quoted(name)} AS s USING ({quoted(key)})
            WHERE a.why IS NOT NULL AND {told} AND {agree};
        CREATE TEMP TABLE refused_now AS
            SELECT r.{ROW_HASH}, any_value(n.why) AS why FROM retried AS r
            JOIN refused AS n ON n."row" = CAST(to_json(r.raw) AS VARCHAR) ANTI JOIN corrected USING (raw) GROUP BY ALL;
        CREATE TEMP TABLE leaving AS
            SELECT {ROW_HASH} FROM retried SEMI JOIN mapped USING (raw) ANTI JOIN refused_now USING ({ROW_HASH});
        CREATE TEMP VIEW staying AS
            SELECT q.* REPLACE (coalesce(n.why, q.why) AS why)
            FROM quarantine AS q LEFT JOIN refused_now AS n USING ({ROW_HASH}) ANTI JOIN leaving USING ({ROW_HASH});
    """)
