"""The sieve: of the rows that arrive, which are new, which are known, and which are refused.

Rows are not held: the relation ``admitted`` is read once for what is refused, once for the keys and once for what
is stored. Few keys come twice; they are found by a number of eight bytes each, and only their rows are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from features.admission import BY_RULES, BY_SIGNS, admission, filled_columns
from features.contract import ROW_HASH, TABLES, literal, quoted, schema
from features.errors import ConfigError
from features.forgotten import SENTENCE, Forgotten
from features.settings import Settings, Source
from features.sources import map_columns, misfit

EXAMPLES = 3


@dataclass(frozen=True)
class Sieved:
    """How many rows are new, known and refused, and why (a few examples)."""

    fresh: int
    known: int
    refused: int
    reasons: tuple[str, ...]


def sieve(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    source: Source,
    file: Path,
    as_of: datetime,
    erased: Forgotten,
) -> Sieved:
    """Make the relations ``fresh``, in the table's order, and ``refused`` of the opened file's rows.

    A row is known when its key and content are in the lake. The same key with other content is refused:
    which of the two is true is not for a program to guess. Rows of erased people are counted as refused, and not
    kept. The connection must know ``MACROS``.

    Raises:
        ConfigError, DataError: when the file does not fit its table, or an expression does not fit the file.

    """
    zone = _known_zone(connection, source.timezone or settings.ingest.timezone)
    present = map_columns(connection, source, settings, file)
    try:
        theirs = erased.take_out(connection, present)
        connection.execute(f"CREATE TEMP VIEW admitted AS {admission(source.table, 'mapped', present, zone)}")
        _mark(connection, source.table)
        if any(not isinstance(column, str) and column.sql for column in source.columns.values()):
            evaluated = ", ".join(f"max(hash({quoted(name)}))" for name in sorted(present - {BY_RULES, BY_SIGNS}))
            connection.execute(f"SELECT {evaluated} FROM mapped").fetchall()  # an expression fails now, or never
    except (duckdb.DataError, duckdb.ProgrammingError) as error:
        raise misfit(connection, source, file, error) from None
    arrived, bad = connection.sql("SELECT count(*), count(*) FILTER (bad) FROM marks").fetchall()[0]
    _compare(connection, source.table, present, "why IS NULL" if bad else "true")
    doubted = {
        verdict: (keys, rows)
        for verdict, keys, rows in connection.sql(
            "SELECT verdict, count(*), CAST(sum(times) AS BIGINT) FROM verdicts GROUP BY verdict"
        ).fetchall()
    }
    clashes = doubted.get("clash", (0, 0))[1]
    _refuse(connection, source.table, file.name, as_of, bool(bad), bool(clashes))
    fresh = arrived - bad - sum(rows for _, rows in doubted.values()) + doubted.get("fresh", (0, 0))[0]
    reasons = connection.sql(f"SELECT DISTINCT why FROM refused ORDER BY why LIMIT {EXAMPLES}").fetchall()
    return Sieved(
        fresh=fresh,
        known=arrived - bad - clashes - fresh,
        refused=_count(connection, "SELECT count(*) FROM refused") + theirs,
        reasons=(*(why for (why,) in reasons), *([SENTENCE] if theirs else [])),
    )


def _known_zone(connection: duckdb.DuckDBPyConnection, zone: str | None) -> str | None:
    """Return the time zone of naive times, or say that there is none of that name."""
    try:
        connection.execute("SELECT epoch_us(timezone(CAST(? AS VARCHAR), TIMESTAMP '2026-02-28'))", [zone]).fetchall()
    except duckdb.NotImplementedException:
        raise ConfigError(f'timezone "{zone}" is not known. Write a name such as Europe/Berlin.') from None
    return zone


def _mark(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Make ``marks``: of each row a number for its key, and whether it is bad.

    A row that came without a key needs all its content for it, so these are marked apart.
    """
    key = quoted(TABLES[name].key)
    connection.execute(f"""
        CREATE TEMP TABLE marks AS
            SELECT hash(given) AS mark, why IS NOT NULL AS bad FROM admitted WHERE given IS NOT NULL;
        INSERT INTO marks SELECT hash({key}), why IS NOT NULL FROM admitted WHERE given IS NULL;
    """)


def _compare(connection: duckdb.DuckDBPyConnection, name: str, present: set[str], good: str) -> None:
    """Make ``verdicts`` of the keys that may have come before, and the view ``fresh``."""
    table = TABLES[name]
    key = quoted(table.key)
    both = ", ".join(dict.fromkeys([key, quoted(ROW_HASH)]))
    filled = filled_columns(name, present)
    columns = ", ".join(f"admitted.{quoted(column)}" for column in schema(name).names if column in filled)
    order = ", ".join(quoted(column) for column in table.order if column in filled)
    every = ", ".join(quoted(c) if c in filled else f"NULL AS {quoted(c)}" for c in schema(name).names)
    connection.execute(f"""
        CREATE TEMP TABLE doubtful AS
            SELECT mark FROM marks GROUP BY mark HAVING count(*) > 1
            UNION SELECT mark FROM marks SEMI JOIN (SELECT hash({key}) AS mark FROM {quoted(name)}) USING (mark);
    """)
    in_doubt = f"SEMI JOIN doubtful ON hash({key}) = mark WHERE {good}"
    undoubted = f"ANTI JOIN doubtful ON hash({key}) = mark WHERE {good}"
    if not _count(connection, "SELECT count(*) FROM doubtful"):  # as is usual: the file need not be read for it
        in_doubt, undoubted = "WHERE false", f"WHERE {good}"
    connection.execute(f"""
        CREATE TEMP TABLE doubted AS SELECT {both}, count(*) AS times FROM admitted {in_doubt} GROUP BY ALL;
        CREATE TEMP TABLE verdicts AS
            WITH held AS (SELECT {key}, {ROW_HASH} AS held FROM {quoted(name)} SEMI JOIN doubted USING ({key})),
                 contested AS (SELECT {key} FROM doubted GROUP BY {key} HAVING count(*) > 1)
            SELECT {both}, times,
                   CASE WHEN held = {ROW_HASH} THEN 'known'
                        WHEN held IS NOT NULL OR {key} IN (FROM contested) THEN 'clash' ELSE 'fresh' END AS verdict
            FROM doubted LEFT JOIN held USING ({key});
        CREATE TEMP VIEW fresh AS SELECT {every} FROM (  -- what is empty throughout need not be sorted
            FROM (SELECT {columns} FROM admitted {undoubted}
                  UNION ALL
                  SELECT DISTINCT ON ({key}) {columns}
                  FROM (FROM admitted {in_doubt}) AS admitted
                  SEMI JOIN (FROM verdicts WHERE verdict = 'fresh') AS v USING ({key}))
            ORDER BY {order});
    """)


def _refuse(
    connection: duckdb.DuckDBPyConnection, name: str, file: str, as_of: datetime, any_bad: bool, any_clash: bool
) -> None:
    """Make ``refused`` of the bad rows, of those whose key is taken and of the lines that are no rows."""
    table = TABLES[name]
    key = quoted(table.key)
    clash = (
        table.clash
        or f"{table.key} is taken by a row with other content. Correct the file, or give the row its own {table.key}."
    )
    both = ", ".join(dict.fromkeys([key, quoted(ROW_HASH)]))
    connection.execute(f"""
        CREATE TEMP TABLE refused AS
            SELECT {literal(name)} AS "table", {literal(file)} AS source, "row", why,
                   TIMESTAMPTZ {literal(as_of.isoformat())} AS refused_at,
                   md5(concat_ws(chr(31), {literal(name)}, "row")) AS {ROW_HASH}
            FROM (SELECT CAST(to_json(raw) AS VARCHAR) AS "row", why
                  FROM admitted WHERE {"why IS NOT NULL" if any_bad else "false"}
                  UNION ALL
                  SELECT CAST(to_json(raw) AS VARCHAR), {literal(clash)}
                  FROM (FROM admitted WHERE {"why IS NULL" if any_clash else "false"}) AS admitted
                  SEMI JOIN (FROM verdicts WHERE verdict = 'clash') AS v USING ({both})
                  UNION ALL
                  SELECT line, why FROM rejected);
    """)


def _count(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    ((count,),) = connection.sql(sql).fetchall()
    return int(count)
