"""Files as they came: CSV, Parquet and JSON Lines, opened in DuckDB, mapped to a table's names.

A line that cannot be read at all is not lost: it comes back as a rejected line with its reason.
"""

from __future__ import annotations

import csv
import fnmatch
from pathlib import Path

import duckdb

from features.contract import INGESTED, TABLES, literal, missing_columns, quoted
from features.errors import ConfigError, DataError
from features.settings import Expression, Settings, Source

ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
}


def sources_of(file: Path, settings: Settings) -> list[Source]:
    """Return how a file is to be read: as configured, else as the table whose name it bears.

    Raises:
        ConfigError: when no [[sources]] block matches and the name is no table's.

    """
    configured = [source for source in settings.sources if fnmatch.fnmatch(file.name, source.file)]
    if configured:
        return configured
    if file.stem not in INGESTED:
        raise ConfigError(
            f"{file.name} is not named after a table ({', '.join(INGESTED)}) and no [[sources]] block of "
            "touchstone.toml matches it. Rename it, or add a block that says which table it holds."
        )
    return [Source(file=file.name, table=file.stem)]  # type: ignore[call-arg, arg-type]


def open_file(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Make two relations: ``file_rows``, the rows as they came, and ``rejected`` (line, why)."""
    kind = ENDINGS.get(file.suffix.lower())
    if kind is None:
        raise DataError(f"{file} is none of {', '.join(ENDINGS)}. Export it as one of these.")
    try:
        {"csv": _open_csv, "parquet": _open_parquet, "json": _open_json}[kind](connection, file)
    except (duckdb.Error, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as {kind}: {_first_line(error)}. Nothing was stored.") from None


def map_columns(connection: duckdb.DuckDBPyConnection, source: Source, settings: Settings, file: Path) -> set[str]:
    """Make the relation ``mapped``: the file's rows under the table's names; return the names it has.

    Raises:
        DataError: when the mapping does not fit the file, or a required column is missing altogether.

    """
    table = TABLES[source.table]
    theirs = connection.table("file_rows").columns
    names = {column.name for column in table.columns}
    mapped = {name: _expression(column) for name, column in source.columns.items()}
    ours = {name: quoted(name) for name in theirs if name in names}
    ours |= {name: expression for name, expression in mapped.items() if name in names}
    if settings.ingest.default_channel and source.table == "touches":
        default = literal(settings.ingest.default_channel)
        ours["channel"] = f"coalesce(text_of({ours.get('channel', 'NULL')}), {default})"
    problems = _problems(source, theirs, names, set(ours))
    if problems:
        raise DataError(
            f"{file.name} does not fit {source.table}: {'; '.join(problems)}. "
            f"The file has {', '.join(theirs)}. Nothing was stored."
        )
    used = {column for column in source.columns.values() if isinstance(column, str)}
    others = {name: quoted(name) for name in theirs if source.keep_other_columns and name not in names | used}
    others |= {name: expression for name, expression in mapped.items() if name not in names}
    if table.others and others:
        ours[table.others] = _others(others, ours.get(table.others, "NULL"))
    columns = ", ".join(f"{expression} AS {quoted(name)}" for name, expression in ours.items())
    try:
        connection.execute(f"""
            CREATE OR REPLACE TEMP VIEW mapped AS
            SELECT file_rows AS raw, {columns} FROM file_rows WHERE {source.where or "true"}
        """)
    except duckdb.Error as error:
        raise ConfigError(
            f"The [[sources]] block for {source.file} ({source.table}) does not fit {file.name}: "
            f"{_first_line(error)}. The file has {', '.join(theirs)}."
        ) from None
    return set(ours)


def _problems(source: Source, theirs: list[str], names: set[str], ours: set[str]) -> list[str]:
    unknown = [
        f"touchstone.toml maps {name}, which {source.table} do not have"
        for name in source.columns
        if name not in names and not TABLES[source.table].others
    ]
    absent = [
        f"touchstone.toml maps {name} to column {column}, which the file does not have"
        for name, column in source.columns.items()
        if isinstance(column, str) and column not in theirs
    ]
    missing = [
        f"no column {name}; map it under [sources.columns]"
        + (" or set ingest.default_channel" if name == "channel" else "")
        for name in missing_columns(source.table, ours)
    ]
    return unknown + absent + missing


def _others(columns: dict[str, str], named: str) -> str:
    # Merging into {} leaves out empty columns, so that a row reads the same whatever file it came in.
    pairs = ", ".join(f"{literal(name)}, {columns[name]}" for name in sorted(columns))
    rest = f"json_merge_patch('{{}}', json_object({pairs}))"
    return f"""CASE WHEN text_of({named}) IS NULL THEN CAST({rest} AS VARCHAR)
                    WHEN json_of(text_of({named})) IS NULL THEN {named}
                    ELSE CAST(json_merge_patch({rest}, {named}) AS VARCHAR) END"""


def _expression(column: str | Expression) -> str:
    if isinstance(column, str):
        return quoted(column)
    return f"({column.sql})" if column.sql is not None else literal(str(column.value))


def _open_csv(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    with file.open(newline="", encoding="utf-8-sig") as opened:
        first = opened.readline()
    if not first.strip():
        message = "it is empty; the first line must name the columns"
        raise duckdb.InvalidInputException(message)
    separator = max(",;\t|", key=first.count)
    names = next(csv.reader([first], delimiter=separator))
    columns = ", ".join(f"{literal(name.strip())}: 'VARCHAR'" for name in names)
    wrong_width = literal(f"This line does not have the {len(names)} columns that the first line names.")
    connection.execute(f"""
        CREATE TEMP TABLE file_rows AS SELECT * FROM read_csv({literal(str(file))}, auto_detect = false,
            header = true, delim = {literal(separator)}, quote = '"', escape = '"',
            columns = {{{columns}}}, store_rejects = true, rejects_limit = 0);
        CREATE TEMP VIEW rejected AS
            SELECT csv_line AS line, CASE
                WHEN bool_or(contains(error_type, 'COLUMNS')) THEN {wrong_width}
                ELSE 'This line cannot be read. ' || min(error_message) END AS why
            FROM reject_errors GROUP BY file_id, line_byte_position, csv_line;
    """)


def _open_parquet(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    connection.execute(f"""
        CREATE TEMP VIEW file_rows AS SELECT * FROM read_parquet({literal(str(file))});
        CREATE TEMP TABLE rejected (line VARCHAR, why VARCHAR);
    """)


def _open_json(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    connection.execute(f"""
        CREATE TEMP TABLE lines AS
            SELECT line, json_valid(line) AND CASE WHEN json_valid(line) THEN json_type(line) = 'OBJECT' END AS good
            FROM read_csv({literal(str(file))}, auto_detect = false, header = false, delim = chr(1),
                          quote = '', escape = '', columns = {{line: 'VARCHAR'}})
            WHERE trim(line) <> '';
        CREATE TEMP VIEW rejected AS
            SELECT line, 'This line is not a JSON object.' AS why FROM lines WHERE good IS NOT true;
    """)
    keys = connection.sql("SELECT DISTINCT unnest(json_keys(line)) AS key FROM lines WHERE good ORDER BY key")
    names = [key for (key,) in keys.fetchall()]
    paths = ", ".join(f"json_extract_string(line, {literal(_path(name))}) AS {quoted(name)}" for name in names)
    connection.execute(f"CREATE TEMP VIEW file_rows AS SELECT {paths or 'line'} FROM lines WHERE good")


def _path(key: str) -> str:
    escaped = key.replace('"', '\\"')
    return f'$."{escaped}"'


def _first_line(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0].rstrip(".")
