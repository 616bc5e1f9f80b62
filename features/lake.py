"""The lake: one Delta Lake table for each table of the contract, read with embedded DuckDB.

Appends are atomic, every version stays readable, and any engine that reads Delta or Parquet reads it too.
"""

from __future__ import annotations

import fcntl
import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from features.contract import TABLES, literal, quoted, schema
from features.errors import ConfigError

MEMORY_LIMIT = "2GB"
UNFIT = "[]*?^|%\\"  # what Delta or DuckDB cannot have in the path of a table


class Lake:
    """The tables of one workspace, below ``folder``.

    A lake of given ``versions`` shows its tables as they were then (time travel).

    Raises:
        ConfigError: when the path holds a character that Delta or DuckDB cannot have there.

    """

    def __init__(self, folder: Path, versions: Mapping[str, int] | None = None) -> None:
        self.folder = folder.resolve()
        if set(UNFIT) & set(str(self.folder)):
            raise ConfigError(
                f"The lake cannot be kept in {self.folder}. Choose a path without any of {' '.join(UNFIT)}."
            )
        self._versions = versions

    def table(self, name: str) -> DeltaTable | None:
        """Return the Delta table, or None while nothing was stored in it."""
        uri = str(self.folder / name)
        if not DeltaTable.is_deltatable(uri):
            return None
        if self._versions is None:
            return DeltaTable(uri)
        return DeltaTable(uri, version=self._versions[name]) if name in self._versions else None

    def versions(self) -> dict[str, int]:
        """Return the version of every table that exists; with it, a run can be repeated to the bit."""
        tables = {name: self.table(name) for name in TABLES}
        return {name: table.version() for name, table in tables.items() if table is not None}

    def append(self, name: str, rows: pa.Table | pa.RecordBatchReader) -> None:
        """Append rows to a table in one commit: all of them are stored, or none."""
        target, uri = schema(name), str(self.folder / name)
        with self._locked(".tables"):  # two first appends at once cannot both make the table
            if not DeltaTable.is_deltatable(uri):
                DeltaTable.create(uri, target)
        if isinstance(rows, pa.Table):
            rows = rows.to_reader()
        batches = (batch.select(target.names).cast(target) for batch in rows if batch.num_rows)
        write_deltalake(uri, pa.RecordBatchReader.from_batches(target, batches), mode="append")

    def writing(self) -> AbstractContextManager[None]:
        """Hold the lake's writer lock, so that two ingests of one file cannot both find its rows new."""
        return self._locked(".writer")

    def connection(self, tables: Iterable[str] = TABLES, files: Iterable[Path] = ()) -> duckdb.DuckDBPyConnection:
        """Return a DuckDB connection with a view for each table, which can read nothing but the lake and ``files``."""
        connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
        spill = self.folder / ".spill"
        folders = ", ".join(literal(f"{folder}/") for folder in (self.folder, spill))
        paths = ", ".join(literal(path) for file in map(str, files) for path in (file, glob.escape(file)))
        connection.execute(f"""
            SET TimeZone = 'UTC';
            SET memory_limit = '{MEMORY_LIMIT}';
            SET temp_directory = {literal(str(spill))};
            SET allowed_directories = [{folders}];
            SET allowed_paths = [{paths}];
            SET enable_external_access = false;
            SET lock_configuration = true;
        """)
        for name in tables:
            self._view(connection, name)
        return connection

    def query(self, sql: str, parameters: Sequence[object] = ()) -> pa.Table:
        """Return the answer of one query over the lake's tables."""
        with self.connection() as connection:
            return connection.sql(sql, params=list(parameters)).to_arrow_table()

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / name).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _view(self, connection: duckdb.DuckDBPyConnection, name: str) -> None:
        table = self.table(name)
        files = table.file_uris() if table is not None else []
        if files:
            listed = ", ".join(literal(unquote(file)) for file in files)
            connection.execute(
                f"CREATE VIEW {quoted(name)} AS FROM read_parquet([{listed}], hive_partitioning = false)"
            )
        else:
            connection.register(name, schema(name).empty_table())
