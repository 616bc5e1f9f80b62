"""The lake: one Delta Lake table for each table of the contract, read with embedded DuckDB.

Appends are atomic, every version stays readable, and any engine that reads Delta or Parquet reads it too.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import RemoveAction

from features import ordered
from features.contract import TABLES, literal, quoted, schema
from features.database import opened
from features.disk import is_full
from features.errors import ConfigError, DataError, DiskError
from features.growth import grow_schema, grown, lacking
from features.lease import Lease, leased
from features.order import LEAD, in_order
from features.store import store_of

SPILL = ".spill"  # where a query spills
WRITERS_SPILL = ".spill-of-writer"  # where the one writer spills, and may tidy up after one that was killed
UNFIT = "[]*?^|%\\"  # what Delta or DuckDB cannot have in the path of a table
ATTEMPTS = 3  # at reading a table whose files are being removed
Read = TypeVar("Read")


@dataclass(frozen=True)
class Known:
    """The files of one version of a table, and what tells the entry of its log from any other."""

    version: int
    entry: tuple[int, int]
    parts: tuple[ordered.Part, ...]


class Lake:
    """The tables of one workspace, below ``folder``.

    A lake of given ``versions`` shows its tables as they were then (time travel). What was read of a table's log is
    kept until there is a newer version, so a lake that is asked often is best kept, too.

    Raises:
        ConfigError: when the path holds a character that Delta or DuckDB cannot have there.

    """

    def __init__(self, folder: Path, versions: Mapping[str, int] | None = None) -> None:
        self.folder = folder.resolve()
        if set(UNFIT) & set(str(self.folder)):
            raise ConfigError(
                f"The lake cannot be kept in {self.folder}. Choose a path without any of {' '.join(UNFIT)}."
            )
        self.store = store_of(self.folder.parent)
        self._lease: Lease | None = None
        self._versions = versions
        self._known: dict[str, Known] = {}

    def table(self, name: str) -> DeltaTable | None:
        """Return the Delta table, or None while nothing was stored in it.

        Raises:
            DataError: when the version asked for is gone.

        """
        folder = self.folder / name
        if not folder.exists() or (self._versions is not None and name not in self._versions):
            return None
        try:
            return DeltaTable(str(folder), version=None if self._versions is None else self._versions[name])
        except TableNotFoundError:
            if self._versions is not None:
                raise DataError(
                    f"Version {self._versions[name]} of {name} is gone, as an erasure or the age of "
                    "lake.keep_versions_days wants it. Nothing can be repeated on it."
                ) from None
            return None  # it is being made

    def versions(self) -> dict[str, int]:
        """Return the version of every table that exists; with it, a run can be repeated to the bit."""
        tables = {name: self.table(name) for name in TABLES}
        return {name: table.version() for name, table in tables.items() if table is not None}

    def current_versions(self, names: Iterable[str]) -> dict[str, int]:
        """Return the version of those tables that exist; of a table that did not change, by a look at its log."""
        found = {name: self._known.get(name) for name in names if self.parts(name)}
        return {name: known.version for name, known in found.items() if known}

    def parts(self, name: str) -> list[ordered.Part]:
        """Return the files of a table, each with the range of leads that it holds."""
        known = self._known.get(name)
        if known and self._is_current(name, known):
            return list(known.parts)
        table = self.table(name)
        if table is None:
            return []
        if self._versions is None and lacking(table, schema(name)):
            self._grow(name)
            return self.parts(name)
        parts = ordered.parts_of(self.folder / name, pa.table(table.get_add_actions(flatten=True)))
        if self.store:
            for part in parts:
                self.store.fetch(part.path)
        entry = self._entry(name, table.version())
        if entry:
            self._known[name] = Known(table.version(), entry, tuple(parts))
        return parts

    def patiently(self, reading: Callable[[], Read]) -> Read:
        """Return what is read, after a few attempts if files are removed meanwhile, as by an erasure."""
        for _ in range(ATTEMPTS - 1):
            try:
                return reading()
            except (OSError, DeltaError, duckdb.IOException):
                self._known.clear()
        return reading()

    def read(self, name: str, columns: Sequence[str], leads: ordered.Leads | None = None) -> pa.Table:
        """Return some columns of a table in its order; of some leads, reading little more than their rows."""
        order = TABLES[name].order
        return self.patiently(lambda: ordered.read(self.parts(name), schema(name), columns, order, leads))

    def read_where(self, name: str, columns: Sequence[str], column: str, *, empty: bool) -> pa.Table:
        """Return some columns of the rows of a table that have a column empty, or filled, in no order."""

        def reading() -> pa.Table:
            parts = [part for part in self.parts(name) if part.of_nobody or not empty or column != LEAD]
            return ordered.read_where(parts, schema(name), columns, column, empty=empty)

        return self.patiently(reading)

    def lead_starts(self, name: str, rows: int) -> list[str]:
        """Return leads at which a table can be cut, with about so many of its rows from one to the next."""
        return ordered.lead_starts(self.parts(name), rows)

    def append(self, name: str, rows: pa.Table | pa.RecordBatchReader) -> None:
        """Append rows to a table in one commit: all of them are stored, or none. A reader's rows come in its order."""
        self.replace(name, [], rows)

    def replace(self, name: str, parts: Iterable[ordered.Part], rows: pa.Table | pa.RecordBatchReader) -> None:
        """Put rows in the place of some files of a table, in one commit; readers of those files can go on reading."""
        target, folder, origin = schema(name), self.folder / name, self._origin(name)
        folder.mkdir(parents=True, exist_ok=True)
        with self._locked(".tables"):  # two first appends at once cannot both make the table
            if not DeltaTable.is_deltatable(origin):
                DeltaTable.create(origin, target)
        order = TABLES[name].order
        if isinstance(rows, pa.Table) and LEAD in order:
            rows = in_order(rows, order)
        reader = rows.to_reader(ordered.ROW_GROUP) if isinstance(rows, pa.Table) else rows
        batches = (batch.select(target.names).cast(target) for batch in reader if batch.num_rows)
        added = ordered.written(folder, target, batches)
        replaced_at = max((action.modification_time for action in added), default=int(folder.stat().st_mtime * 1000))
        removed = [RemoveAction(part.path.name, False, replaced_at, part.path.stat().st_size, {}) for part in parts]
        if self.store:
            for action in added:
                self.store.share(folder / action.path)
        if self._lease:
            self._lease.check()
        if added or removed:
            DeltaTable(origin).create_write_transaction([*added, *removed], "append", target)
        self._mirror(name)

    def _grow(self, name: str) -> None:
        """Give a table that an earlier version of Touchstone made the columns that it lacks."""
        with self._locked(".growing"):
            table, target = DeltaTable(self._origin(name)), schema(name)
            columns = lacking(table, target)
            if columns:  # nobody did it meanwhile
                for part in ordered.parts_of(self.folder / name, pa.table(table.get_add_actions(flatten=True))):
                    if self.store:
                        self.store.fetch(part.path)
                    self.replace(name, [part], grown(part, target))
                grow_schema(DeltaTable(self._origin(name)), target, columns)
                self._mirror(name)

    def remove_old_files(self, name: str, days: float) -> None:
        """Remove the files of a table that no version of the last days needs, and those that a killed writer left."""
        if self.table(name) is None:
            return
        table, hours = DeltaTable(self._origin(name)), round(days * 24)
        if table.vacuum(hours, enforce_retention_duration=False, full=True):
            for path in table.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True):
                (self.folder / name / path).unlink(missing_ok=True)  # of the mirror, too
            self._mirror(name)

    def forget_log(self, name: str) -> None:
        """Let the log of a table begin with the version that it has now; the lake's writer lock must be held."""
        table = DeltaTable(self._origin(name))
        table.create_checkpoint()
        newest, log = f"{table.version():020}", f"lake/{name}/_delta_log/"
        for entry in (self.folder / name / "_delta_log").iterdir():
            if _is_before(entry.name, newest):
                entry.unlink()
        if self.store:
            for path in self.store.listed(log):
                if _is_before(path.removeprefix(log), newest):
                    self.store.delete(path)
            self._mirror(name)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lake's writer lock, so that two ingests of one file cannot both find its rows new.

        Raises:
            DiskError: when the disk is full; what was committed before is there, and nothing else.

        """
        try:
            with self._locked(".writer"):
                shutil.rmtree(self.folder / WRITERS_SPILL, ignore_errors=True)  # a killed writer leaves gigabytes
                with self._leased():
                    yield
        except (OSError, DeltaError, duckdb.Error) as error:
            if not is_full(error):
                raise
            raise DiskError(
                f"The disk of {self.folder} is full. What was stored before is intact; what was being written is not "
                "in. Make room, then give the command again."
            ) from None

    def connection(
        self, tables: Iterable[str] = TABLES, files: Iterable[Path] = (), spill: str = SPILL
    ) -> duckdb.DuckDBPyConnection:
        """Return a DuckDB connection with a view for each table, which can read nothing but the lake and ``files``."""
        connection = opened(self.folder, files, self.folder / spill)
        for name in tables:
            self._view(connection, name)
        return connection

    def query(self, sql: str, parameters: Sequence[object] = ()) -> pa.Table:
        """Return the answer of one query over the lake's tables."""

        def reading() -> pa.Table:
            with self.connection() as connection:
                return connection.sql(sql, params=list(parameters)).to_arrow_table()

        return self.patiently(reading)

    def _is_current(self, name: str, known: Known) -> bool:
        """Say whether a version is the one to read; its number and time tell it, also from a later lake's."""
        newer = self._versions is None and self._entry(name, known.version + 1) is not None
        return not newer and self._entry(name, known.version) == known.entry

    def _entry(self, name: str, version: int) -> tuple[int, int] | None:
        """Return the number and the time of the file that made a version; None if there is none, or no more."""
        try:
            found = os.stat(f"{self.folder}/{name}/_delta_log/{version:020}.json")  # noqa: PTH116  # asked with every lead
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _origin(self, name: str) -> str:
        """Return where a table's commits are made: in the store, or, if there is none, in the folder."""
        return self.store.table(name) if self.store else str(self.folder / name)

    def _mirror(self, name: str) -> None:
        """Take over what was committed, and let the other mirrors know."""
        if self.store:
            self.store.pull_table(name)
            self.store.tell()

    @contextmanager
    def _leased(self) -> Iterator[None]:
        """Hold the store's lease, if there is a store, and know all that others have written."""
        if self.store is None:
            yield
            return
        with leased(self.store) as self._lease:
            self.store.pull()
            yield
        self._lease = None

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / name).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _view(self, connection: duckdb.DuckDBPyConnection, name: str) -> None:
        parts = self.parts(name)
        if parts:
            listed = ", ".join(literal(str(part.path)) for part in parts)
            connection.execute(
                f"CREATE VIEW {quoted(name)} AS FROM read_parquet([{listed}], hive_partitioning = false)"
            )
        else:
            connection.register(name, schema(name).empty_table())


def _is_before(entry: str, newest: str) -> bool:
    return entry[:20] < newest or entry.startswith("_commit") or "#" in entry
