"""Sources: which table a file holds, and how its columns become the table's.

A file named after a table needs no configuration, nor does one of customer events as Segment writes them; a
[[sources]] block of touchstone.toml maps any other.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable
from pathlib import Path

import duckdb

from features import machines, origins
from features.admission import BY_RULES, BY_SIGNS, REFUSAL
from features.channels import define_channels
from features.contract import INGESTED, TABLES, literal, missing_columns, quoted
from features.errors import ConfigError, DataError
from features.files import ENDINGS, first_line, of_no_known_kind
from features.origins import TELLING
from features.segment import first_lines, is_segment, segment_sources
from features.settings import Expression, Settings, Source


def sources_of(files: Iterable[Path], settings: Settings) -> list[tuple[Path, Source]]:
    """Return how each file is to be read: as configured, else by its shape, else as the table whose name it bears.

    Raises:
        DataError: naming every file of a kind that is not read.
        ConfigError: naming every file that no [[sources]] block matches and whose name is no table's.

    """
    files = list(files)
    if strange := of_no_known_kind(files):
        raise DataError(f"{strange} Nothing was stored.")
    wanted, unclear = [], []
    for file in files:
        found = sources_by_name(file.name, first_lines(file), settings)
        wanted += [(file, source) for source in found]
        unclear += [] if found else [file.name]
    if unclear:
        raise ConfigError(
            f"It is not clear which table is in {', '.join(unclear)}. Name a file after its table "
            f"({', '.join(INGESTED)}), or add a [[sources]] block to touchstone.toml; for a sheet with one row a lead "
            "`touchstone init --from FILE` writes it. Nothing was stored."
        )
    return wanted


def sources_by_name(name: str, lines: Iterable[str], settings: Settings) -> list[Source]:
    """Return how a file of a name is to be read, as ``sources_of`` has it; ``lines`` of it tell its shape."""
    file = Path(name)
    configured = [source for source in settings.sources if fnmatch.fnmatch(name, source.file)]
    if configured:
        return configured
    if ENDINGS.get(file.suffix.lower()) == "json" and is_segment(lines):
        return segment_sources(name)
    return [Source.model_validate({"file": name, "table": file.stem})] if file.stem in INGESTED else []


def map_columns(connection: duckdb.DuckDBPyConnection, source: Source, settings: Settings, file: Path) -> set[str]:
    """Make the relation ``mapped``: the file's rows under the table's names; return the names it has.

    Raises:
        DataError: when a column that is required or mapped is missing altogether.
        ConfigError: when an expression of touchstone.toml does not fit the file.

    """
    theirs = connection.table("file_rows").columns
    ours, named = _expressions(source, theirs), {*theirs, *source.columns}
    found = {"channel"} if _may_tell(named, source, settings) else set()
    problems = _problems(source, theirs, {*ours, *found})
    if problems:
        raise DataError(
            f"{file.name} does not fit {source.table}: {'; '.join(problems)}. "
            f"The file has {', '.join(theirs)}. None of its rows were stored."
        )
    if source.refuse:
        ours[REFUSAL] = f"({source.refuse})"
    as_it_came = ", ".join(f"{quoted(name)} := {quoted(name)}" for name in theirs)
    columns = ", ".join(f"{expression} AS {quoted(name)}" for name, expression in ours.items())
    here = {name.lower() for name in theirs}
    lacking = "".join(f", NULL::VARCHAR AS {quoted(name)}" for name in source.may_lack if name.lower() not in here)
    mapped = f"""
        SELECT struct_pack({as_it_came}) AS raw, {columns}
        FROM (SELECT *{lacking} FROM file_rows) WHERE {source.where or "true"}
    """
    added: list[str] = []
    if source.table == "touches":
        define_channels(connection, settings.channels)
        connection.execute(origins.MACROS + machines.MACROS)
    try:
        if source.table == "touches":
            untold, signs = _asked(connection, mapped, ours)
            if signs:
                mapped = machines.with_machine(mapped, ["raw", *ours])
                added.append(BY_SIGNS)
            if untold:
                mapped = origins.with_channel(mapped, ["raw", *ours, *added], bool(TELLING & named), settings)
                added.append(BY_RULES)
        connection.execute(f"CREATE TEMP VIEW mapped AS {mapped}")
    except duckdb.Error as error:
        raise misfit(connection, source, file, error) from None
    return {*ours, *added}


def misfit(connection: duckdb.DuckDBPyConnection, source: Source, file: Path, error: duckdb.Error) -> ConfigError:
    """Return what to raise when an expression of touchstone.toml does not fit the opened file."""
    theirs = ", ".join(connection.table("file_rows").columns)
    return ConfigError(
        f"The [[sources]] block for {source.file} ({source.table}) does not fit {file.name}: {first_line(error)}. "
        f"The file has {theirs}. None of its rows were stored."
    )


def _may_tell(named: set[str], source: Source, settings: Settings) -> bool:
    """Return whether the channel of a file's touches may be found although no column is called so."""
    told = (TELLING | {"properties"}) & named or settings.ingest.default_channel or settings.channels.rules
    return source.table == "touches" and bool(told)


def _asked(connection: duckdb.DuckDBPyConnection, mapped: str, ours: Collection[str]) -> tuple[bool, bool]:
    """Say whether any row leaves its channel to the rules, and whether any may tell of a machine.

    Where none does, the rules, which cost more than all the rest, are not asked.
    """
    untold = "text_of(channel) IS NULL" if "channel" in ours else "true"
    asked = f"SELECT bool_or({untold}), bool_or({machines.may_tell(ours)}) FROM ({mapped})"
    ((some_untold, some_signs),) = connection.sql(asked).fetchall()
    return bool(some_untold), bool(some_signs)


def _expressions(source: Source, theirs: list[str]) -> dict[str, str]:
    """Return the SQL of each of the table's columns that the file or the configuration has."""
    table = TABLES[source.table]
    names = {column.name for column in table.columns}
    kept = {name: f"text_of({quoted(name)})" for name in theirs}
    mapped = {name: _expression(column) for name, column in source.columns.items()}
    used = {column for column in source.columns.values() if isinstance(column, str)}

    ours = {name: quoted(name) for name in theirs if name in names}
    ours |= {name: expression for name, expression in mapped.items() if name in names}

    others = {name: kept[name] for name in theirs if source.keep_other_columns and name not in names | used}
    others |= {name: kept.get(str(source.columns[name]), mapped[name]) for name in mapped if name not in names}
    if table.others and others:
        ours[table.others] = _merged(others, ours.get(table.others, "NULL"))
    return ours


def _problems(source: Source, theirs: Iterable[str], ours: set[str]) -> list[str]:
    table = TABLES[source.table]
    unknown = [
        f"touchstone.toml maps {name}, which {source.table} do not have"
        for name in source.columns
        if not table.others and name not in {column.name for column in table.columns}
    ]
    absent = [
        f"touchstone.toml maps {name} to column {column}, which the file does not have"
        for name, column in source.columns.items()
        if isinstance(column, str) and column not in theirs
    ]
    missing = [
        f"no column {name}; map it under [sources.columns]"
        + (", or map utm_source and utm_medium, or set ingest.default_channel" if name == "channel" else "")
        for name in missing_columns(source.table, ours)
    ]
    return unknown + absent + missing


def _merged(columns: dict[str, str], named: str) -> str:
    """Return SQL for a JSON object of some columns and the keys of ``named``, which is left as it is if it is none."""
    pairs = ", ".join(f"{literal(name)}, {columns[name]}" for name in sorted(columns))
    rest = f"json_object({pairs})"
    return f"""CASE WHEN text_of({named}) IS NULL THEN CAST({rest} AS VARCHAR)
                    WHEN json_of(text_of({named})) IS NULL THEN {named}
                    ELSE CAST(json_merge_patch({rest}, {named}) AS VARCHAR) END"""


def _expression(column: str | Expression) -> str:
    if isinstance(column, str):
        return quoted(column)
    return f"({column.sql})" if column.sql is not None else literal(str(column.value))
