"""Ingestion: files in, good rows to the lake, refused rows to quarantine, nothing twice and nothing lost.

Each file and table is one Delta commit, so a killed ingest leaves whole commits behind, and a second run
adds only what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from features.admission import MACROS, admission
from features.contract import ROW_HASH, TABLES, literal, quoted
from features.errors import ConfigError, DataError
from features.files import ENDINGS, open_file
from features.lake import Lake
from features.settings import Settings, Source
from features.sources import map_columns, misfit, sources_of

EXAMPLES = 3


@dataclass(frozen=True)
class Ingested:
    """What became of one file for one table: rows stored, already there, refused, and why (a few examples)."""

    file: str
    table: str
    stored: int
    already_there: int
    refused: int
    reasons: tuple[str, ...]


def files_in(paths: Iterable[Path]) -> list[Path]:
    """Return the files to read: those named, and those of a known format directly in the folders named.

    Raises:
        DataError: naming every path that does not exist.

    """
    listed = list(paths)
    absent = [str(path) for path in listed if not path.exists()]
    if absent:
        raise DataError(f"There is no file or folder {', '.join(absent)}. Nothing was stored.")
    return [
        file
        for path in listed
        for file in (sorted(path.iterdir()) if path.is_dir() else [path])
        if not path.is_dir() or (file.is_file() and file.suffix.lower() in ENDINGS)
    ]


def ingest(
    lake: Lake,
    settings: Settings,
    files: Iterable[Path],
    as_of: datetime,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Ingested]:
    """Store the rows of ``files`` that are good and new, and quarantine those that are refused.

    Raises:
        ConfigError, DataError: for a file that cannot be read or mapped; files before it are stored.

    """
    results = []
    for file, source in sources_of(files, settings):
        progress(f"{file.name} → {source.table}")
        with lake.writing():
            results.append(_ingest_one(lake, settings, file.resolve(), source, as_of))
    return results


def _ingest_one(lake: Lake, settings: Settings, file: Path, source: Source, as_of: datetime) -> Ingested:
    with lake.connection((source.table, "quarantine"), [file]) as connection:
        connection.execute(MACROS)
        zone = _known_zone(connection, source.timezone or settings.ingest.timezone)
        open_file(connection, file)
        present = map_columns(connection, source, settings, file)
        try:
            connection.execute(f"CREATE TEMP TABLE admitted AS {admission(source.table, 'mapped', present, zone)}")
        except (duckdb.DataError, duckdb.ProgrammingError) as error:
            raise misfit(connection, source, file, error) from None
        _sort_out(connection, source.table, file.name, as_of)
        good, stored = _count(connection, "judged WHERE why IS NULL"), _count(connection, "fresh")
        refused, refused_new = _count(connection, "refused"), _count(connection, "refused_new")
        if stored:
            lake.append(source.table, connection.sql("SELECT * FROM fresh").to_arrow_reader())
        if refused_new:
            lake.append("quarantine", connection.sql("SELECT * FROM refused_new").to_arrow_reader())
        reasons = connection.sql(f"SELECT DISTINCT why FROM refused ORDER BY why LIMIT {EXAMPLES}").fetchall()
        return Ingested(
            file=file.name,
            table=source.table,
            stored=stored,
            already_there=good - stored,
            refused=refused,
            reasons=tuple(why for (why,) in reasons),
        )


def _known_zone(connection: duckdb.DuckDBPyConnection, zone: str | None) -> str | None:
    """Return the time zone of naive times, or say that there is none of that name."""
    try:
        connection.execute("SELECT epoch_us(timezone(CAST(? AS VARCHAR), TIMESTAMP '2026-02-28'))", [zone]).fetchall()
    except duckdb.NotImplementedException:
        raise ConfigError(f'timezone "{zone}" is not known. Write a name such as Europe/Berlin.') from None
    return zone


def _sort_out(connection: duckdb.DuckDBPyConnection, name: str, file: str, as_of: datetime) -> None:
    """Make the relations ``judged``, ``fresh``, ``refused`` and ``refused_new`` of the admitted rows.

    A row is known when its key and content are in the lake. The same key with other content is refused:
    which of the two is true is not for a program to guess.
    """
    table = TABLES[name]
    key, order = quoted(table.key), ", ".join(quoted(column) for column in table.order)
    clash = (
        table.clash
        or f"{table.key} is taken by a row with other content. Correct the file, or give the row its own {table.key}."
    )
    connection.execute(f"""
        CREATE TEMP TABLE contested AS
            SELECT {key} FROM admitted WHERE why IS NULL GROUP BY {key} HAVING min({ROW_HASH}) <> max({ROW_HASH});
        CREATE TEMP TABLE judged AS
            SELECT admitted.* EXCLUDE (why), stored.{ROW_HASH} IS NOT NULL AS known,
                   coalesce(why, CASE WHEN coalesce(admitted.{ROW_HASH} <> stored.{ROW_HASH},
                                                    {key} IN (FROM contested)) THEN {literal(clash)} END) AS why
            FROM admitted LEFT JOIN {quoted(name)} AS stored USING ({key});
        CREATE TEMP VIEW fresh AS
            FROM (SELECT DISTINCT ON ({key}) * EXCLUDE (raw, why, known) FROM judged WHERE why IS NULL AND NOT known)
            ORDER BY {order};
        CREATE TEMP TABLE refused AS
            SELECT *, md5(concat_ws(chr(31), "table", "row")) AS {ROW_HASH} FROM (
                SELECT {literal(name)} AS "table", {literal(file)} AS source,
                       CAST(to_json(raw) AS VARCHAR) AS "row", why,
                       TIMESTAMPTZ {literal(as_of.isoformat())} AS refused_at
                FROM judged WHERE why IS NOT NULL
                UNION ALL SELECT {literal(name)}, {literal(file)}, line, why,
                       TIMESTAMPTZ {literal(as_of.isoformat())} FROM rejected);
        CREATE TEMP VIEW refused_new AS
            SELECT DISTINCT ON ({ROW_HASH}) * FROM refused ANTI JOIN quarantine USING ({ROW_HASH});
    """)


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    rows = connection.sql(f"SELECT count(*) FROM {relation}").fetchall()
    return int(rows[0][0])
