"""Files as they came: CSV, Parquet and JSON Lines, opened in DuckDB.

A line that cannot be read at all is not lost: it comes back as a rejected line with its reason.
"""

from __future__ import annotations

import csv
import glob
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import duckdb
import pyarrow as pa

from features.contract import literal, pointer, quoted
from features.delimited import UNDECODABLE, Rejected, rows_of, separator_of
from features.errors import DataError

ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
}
CHUNK = 50_000  # lines of JSON read at once
NESTED = ("struct", "list", "map", "array", "union")  # types of Parquet that are kept as JSON


def open_file(connection: duckdb.DuckDBPyConnection, file: Path, encoding: str | None = None) -> None:
    """Make two relations: ``file_rows``, the rows as they came, empty texts as NULL, and ``rejected`` (line, why).

    Text is UTF-8; only a CSV file may have another ``encoding``.

    Raises:
        DataError: when the file cannot be read as what its name says it is.

    """
    if strange := of_no_known_kind([file]):
        raise DataError(strange)
    kind = ENDINGS[file.suffix.lower()]
    try:
        if kind == "csv":
            _open_csv(connection, file, encoding or "utf-8-sig")
        else:
            {"parquet": _open_parquet, "json": _open_json}[kind](connection, file)
    except (duckdb.Error, ValueError, LookupError) as error:
        raise DataError(
            f"{file} cannot be read as {kind}: {first_line(error)}. None of its rows were stored."
        ) from None


def of_no_known_kind(files: Iterable[Path]) -> str:
    """Return a sentence about the files that are of a kind that is not read; an empty one if there are none."""
    strange = [str(file) for file in files if file.suffix.lower() not in ENDINGS]
    are, them = ("is", "it") if len(strange) == 1 else ("are", "them")
    said = f"{', '.join(strange)} {are} none of {', '.join(ENDINGS)}. Export {them} as one of these."
    return said if strange else ""


def damage(connection: duckdb.DuckDBPyConnection, file: Path) -> str | None:
    """Return what is wrong inside an opened Parquet file, which is read only as its rows are taken; None if nothing."""
    if ENDINGS[file.suffix.lower()] != "parquet":
        return None
    try:
        connection.execute("SELECT max(hash(COLUMNS(*))) FROM parquet_rows").fetchall()
    except duckdb.Error as error:
        return first_line(error)
    return None


def first_line(error: Exception) -> str:
    """Return the first line of an error, for a sentence to go on after it."""
    return str(error).split("\n", maxsplit=1)[0].rstrip(".")


def _open_csv(connection: duckdb.DuckDBPyConnection, file: Path, encoding: str) -> None:
    with file.open(encoding=encoding, errors="surrogateescape", newline="") as lines:
        first = lines.readline()
        if UNDECODABLE.search(first) or "\0" in first:
            raise ValueError("it is not text in UTF-8. Save it as that, or name its encoding under [[sources]]")
        separator = separator_of(first)
        names = _checked([name.strip() for row in csv.reader([first], delimiter=separator) for name in row])
        rejected: Rejected = []
        rows = rows_of(lines, separator, len(names), rejected)
        _store(connection, "file_rows", names, (list(zip(*chunk, strict=True)) for chunk in rows if chunk))
    _store(connection, "rejected", ["line", "why"], [list(zip(*rejected, strict=True))] if rejected else [])


def _open_json(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    # A byte that is not UTF-8 is read as \x.., which JSON does not have, so its line is rejected.
    with file.open(encoding="utf-8-sig", errors="backslashreplace") as opened:
        lines = filter(None, map(str.strip, opened))
        _store(connection, "lines", ["line"], ([chunk] for chunk in iter(lambda: list(islice(lines, CHUNK)), [])))
    connection.execute("""
        CREATE TEMP TABLE objects AS
            SELECT line FROM lines WHERE CASE WHEN json_valid(line) THEN json_type(line) END = 'OBJECT';
        CREATE TEMP TABLE rejected AS
            SELECT line, 'This line is not a JSON object in UTF-8.' AS why FROM lines ANTI JOIN objects USING (line);
    """)
    keys = connection.sql("SELECT DISTINCT unnest(json_keys(line)) AS key FROM objects ORDER BY key").fetchall()
    if not keys:
        raise ValueError("no line of it is a JSON object with keys. Write one object a line")
    names = _checked([key for (key,) in keys])
    pointers = ", ".join(map(pointer, names))
    columns = ", ".join(f"nullif(found[{place}], '') AS {quoted(name)}" for place, name in enumerate(names, start=1))
    connection.execute(f"""
        CREATE TEMP TABLE file_rows AS
            WITH extracted AS MATERIALIZED (SELECT json_extract_string(line, [{pointers}]) AS found FROM objects)
            SELECT {columns} FROM extracted
    """)


def _open_parquet(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    name = literal(glob.escape(str(file)))
    connection.execute(f"""
        CREATE TEMP VIEW parquet_rows AS FROM read_parquet({name}, hive_partitioning = false);
        CREATE TEMP TABLE rejected (line VARCHAR, why VARCHAR);
    """)
    rows = connection.table("parquet_rows")
    columns = ", ".join(
        f"CAST(to_json({quoted(name)}) AS VARCHAR) AS {quoted(name)}" if type_.id in NESTED else quoted(name)
        for name, type_ in zip(rows.columns, rows.types, strict=True)
    )
    connection.execute(f"CREATE TEMP VIEW file_rows AS SELECT {columns} FROM parquet_rows")  # read as often as needed


def _store(
    connection: duckdb.DuckDBPyConnection, name: str, columns: list[str], chunks: Iterable[Sequence[Sequence[str]]]
) -> None:
    """Make a table of texts; a chunk has one sequence for each column."""
    schema = pa.schema([(column, pa.string()) for column in columns])
    batches = (pa.record_batch([pa.array(texts, pa.string()) for texts in chunk], schema) for chunk in chunks)
    connection.register("arriving", pa.RecordBatchReader.from_batches(schema, batches))
    filled = ", ".join(f"nullif({quoted(column)}, '') AS {quoted(column)}" for column in columns)
    connection.execute(f"CREATE TEMP TABLE {name} AS SELECT {filled} FROM arriving")
    connection.unregister("arriving")


def _checked(names: list[str]) -> list[str]:
    """Return the names of a file's columns, or say what is wrong with them."""
    problems = [
        f"column {place} has no name: name or delete it" for place, name in enumerate(names, start=1) if not name
    ]
    same = (
        [name for name in names if name.lower() == one] for one in dict.fromkeys(map(str.lower, filter(None, names)))
    )
    problems += [
        f"{' and '.join(several)} are one name to the database: rename all but one"
        for several in same
        if len(several) > 1
    ]
    if problems or not names:
        raise ValueError("; ".join(problems) or "its first line names no columns. Write their names there")
    return names
