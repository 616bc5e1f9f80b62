"""Ordered files: a table's rows in its order, in Parquet files cut between leads, so that few rows find a lead.

An append or a merge writes one *run*: files whose ranges of leads do not overlap. Where a table is one run, its
files one after another are the table in order. Where there are several, their rows are merged as they are read:
leads first, by a stable sort that finds the runs, then only the leads that have rows in more than one run.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.transaction import AddAction
from numpy.typing import NDArray

from features.coding import dictionaries, lead_codes, placed
from features.passes import are_in_order

LEAD = "lead_id"
CODED = (LEAD, "kind", "channel", "stage")  # few different names in many rows: stored and read as codes
# Stored as codes, too: of a plain column that holds one name and empty rows, DuckDB 2.0 returns the filled rows as
# empty when it is asked which are, because its statistics say that the column is constant.
SPARSE = ("goal", "duplicate_id")
TIME = 1  # place of the time in the order of a table that has leads
LAST = "\U0010ffff"  # after every lead
ROW_GROUP = 32_768  # rows; to find one lead, one of these is read
FILE_ROWS = 2_000_000
RUN = "run-"  # begins the name of a file that was written here, and so in order
FOOTERS = 64  # that are kept, each of some 100 KB; a file never changes under its name


@dataclass(frozen=True)
class Part:
    """One file of a table: its rows, and its first and last lead; both None where only rows of no lead are in it.

    ``of_nobody`` is how many of its rows are of no lead, or more.
    """

    path: Path
    rows: int
    low: str | None
    high: str | None
    of_nobody: int = 0

    @property
    def run(self) -> str:
        """Return the name of the run that the file is of."""
        return self.path.name.rpartition("-")[0] or self.path.name


@dataclass(frozen=True)
class Leads:
    """Which leads to read: from ``low`` to before ``high`` except some, or those of ``ids``, sorted."""

    low: str = ""
    high: str | None = None
    ids: tuple[str, ...] | None = None
    but: tuple[str, ...] = ()

    def any_between(self, low: str | None, high: str | None) -> bool:
        """Say whether one of them may be from ``low`` to ``high``, both included; None is nobody."""
        if low is None or high is None:
            return False
        if self.ids is not None:
            return any(low <= lead <= high for lead in self.ids)
        return self.low <= high and (self.high is None or low < self.high)

    def rows_of(self, table: pa.Table) -> pa.Table:
        """Return the rows of a table that are theirs; where they are side by side, without copying them."""
        if self == Leads():
            return table.filter(pc.is_valid(table[LEAD])) if table[LEAD].null_count else table
        leads = table[LEAD] if pa.types.is_dictionary(table[LEAD].type) else table[LEAD].dictionary_encode()
        theirs = placed(leads, np.asarray(self._are(dictionaries(leads)), dtype=np.bool_), False)
        count, begin = int(theirs.sum()), int(theirs.argmax()) if len(theirs) else 0
        if theirs[begin : begin + count].all():
            return table.slice(begin, count)
        return table.filter(pa.array(theirs))

    def _are(self, names: pa.Array) -> pa.Array:
        """Say of names whether they are one of them."""
        if self.ids is not None:
            return pc.is_in(names, pa.array(self.ids, pa.string()))
        mine = pc.greater_equal(names, self.low)
        if self.high is not None:
            mine = pc.and_(mine, pc.less(names, self.high))
        return pc.and_not(mine, pc.is_in(names, pa.array(self.but, pa.string()))) if self.but else mine


def written(folder: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> list[AddAction]:
    """Write rows as one run; return its files, for a commit that makes them part of the table."""
    run, paths = f"{RUN}{uuid.uuid4().hex}", list[Path]()
    coded = [name for name in schema.names if name in {*CODED, *SPARSE}]
    times = {field.name: "DELTA_BINARY_PACKED" for field in schema if pa.types.is_timestamp(field.type)}
    with ExitStack() as opened:
        writer, rows, latest = None, 0, pa.scalar(None, pa.string())
        for arrived in batches:
            batch = arrived
            last = _rows_of(latest, batch) if rows >= FILE_ROWS else None
            if writer and last is not None:
                if last:
                    writer.write_batch(batch.slice(0, last))
                    batch = batch.slice(last)
                opened.close()
                writer, rows = None, 0
            if not writer:
                paths.append(folder / f"{run}-{len(paths):04}.parquet")
                file = pq.ParquetWriter(
                    paths[-1], schema, compression="zstd", compression_level=1,
                    use_dictionary=coded, column_encoding=times,
                )  # fmt: skip
                writer = opened.enter_context(file)
            writer.write_batch(batch, row_group_size=ROW_GROUP)
            rows, latest = rows + batch.num_rows, batch[LEAD][-1] if LEAD in schema.names else latest
    return [_added(path) for path in paths]


def parts_of(folder: Path, found: pa.Table) -> list[Part]:
    """Return the files of a table from what its Delta log says of them."""
    columns = ["path", "num_records", f"null_count.{LEAD}", f"min.{LEAD}", f"max.{LEAD}"]
    known = (found[name].to_pylist() if name in found.column_names else [None] * len(found) for name in columns)
    return [
        Part(
            folder / unquote(path),
            rows,
            None if nobody == rows else low or "",
            None if nobody == rows else high or LAST,
            rows if nobody is None else nobody,
        )
        for path, rows, nobody, low, high in zip(*known, strict=True)
    ]


def read(
    parts: Sequence[Part], schema: pa.Schema, columns: Sequence[str], order: Sequence[str], leads: Leads | None = None
) -> pa.Table:
    """Return some columns of the rows of some leads, or of all rows, in order; names are coded."""
    parts = [part for part in parts if leads is None or leads.any_between(part.low, part.high)]
    parts.sort(key=lambda part: (part.low is None, part.low))
    apart = all(one.high is not None and (two.low is None or one.high < two.low) for one, two in pairwise(parts))
    if apart:
        table = _rows(parts, schema, columns, leads)
        if all(part.path.name.startswith(RUN) for part in parts) or is_ordered(table, order):
            return table
    table = _rows(parts, schema, list(dict.fromkeys([*columns, *order])), leads)
    return in_order(table, order).select(columns)


def read_where(parts: Sequence[Part], schema: pa.Schema, columns: Sequence[str], name: str, *, empty: bool) -> pa.Table:
    """Return some columns of the rows that have a column empty, or filled; only where there are such is looked at."""
    tables = [schema.empty_table().select(columns)]
    for part in parts:
        with pq.ParquetFile(part.path, metadata=_footer(part.path)[0]) as file:
            places = [file.metadata.schema.column(i).name for i in range(file.metadata.num_columns)]
            nulls = [_nulls(file.metadata.row_group(g), places.index(name)) for g in range(file.num_row_groups)]
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            groups = [g for g, size in enumerate(sizes) if (nulls[g] != 0 if empty else nulls[g] != size)]
            table = file.read_row_groups(groups, list(dict.fromkeys([*columns, name])), use_threads=False)
        found = pc.is_null(table[name]) if empty else pc.is_valid(table[name])
        tables.append(table.filter(found).select(columns).replace_schema_metadata())
    return pa.concat_tables(tables)


def lead_starts(parts: Sequence[Part], rows: int) -> list[str]:
    """Return leads at which the files can be cut, so that there are about so many rows from one to the next."""
    groups = []
    for part in parts:
        metadata, ranges = _footer(part.path)
        sizes = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        groups += [(low, size) for (low, _), size in zip(ranges, sizes, strict=True) if low is not None]
    starts, since = list[str](), 0
    for low, size in sorted(groups):
        if since >= rows and low != (starts or [""])[-1]:
            starts, since = [*starts, low], 0
        since += size
    return starts


def in_order(table: pa.Table, order: Sequence[str], leads: NDArray[np.int64] | None = None) -> pa.Table:
    """Return a table's rows in the order of those columns of ``order`` that it has, empty leads last.

    ``leads`` is a number for each row that is taken for its lead, if that is not to be its lead_id.
    """
    order = [column for column in order if column in table.column_names]
    leads, times = lead_codes(table[LEAD]) if leads is None else leads, _times(table, order)
    if are_in_order(leads, times, 0 if order[-1] == order[TIME] else 1):
        return table
    places = np.argsort(leads, kind="stable")  # finds runs and merges them
    leads, times = leads[places], times[places]
    behind = np.zeros(len(leads), np.bool_)
    behind[1:] = (leads[1:] == leads[:-1]) & (np.diff(times) < 0)
    tied = 1 + np.nonzero((leads[1:] == leads[:-1]) & (np.diff(times) == 0))[0]
    behind[tied] = _behind(table.select(order[TIME + 1 :]), places[tied - 1], places[tied])
    if behind.any():
        unsettled = np.nonzero(np.isin(leads, leads[behind]))[0]
        rows = table.select(order).take(places[unsettled])
        keys = {LEAD: pa.array(leads[unsettled])} | {name: _plain(rows[name]) for name in order[TIME:]}
        within = pc.sort_indices(pa.table(keys), [(column, "ascending") for column in order])
        places[unsettled] = places[unsettled][within.to_numpy()]
    return table if (np.diff(places) == 1).all() else table.take(places)


def is_ordered(table: pa.Table, order: Sequence[str]) -> bool:
    """Say whether rows are ordered by lead and time; what they are ordered by within one moment is not looked at."""
    return bool(are_in_order(lead_codes(table[LEAD]), _times(table, order), 0))


def _times(table: pa.Table, order: Sequence[str]) -> NDArray[np.int64]:
    times = table[order[TIME]].cast(pa.int64())
    return np.asarray(times.fill_null(0) if times.null_count else times, dtype=np.int64)


def _behind(keys: pa.Table, before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of pairs of rows whether the one after should be before, by their keys."""
    equal, behind = np.ones(len(before), np.bool_), np.zeros(len(before), np.bool_)
    for name in keys.column_names:
        one, two = (_plain(keys[name].take(rows)) for rows in (before, after))
        empty, later_empty = np.asarray(pc.is_null(one)), np.asarray(pc.is_null(two))
        behind |= equal & (np.asarray(pc.greater(one, two).fill_null(False)) | (empty & ~later_empty))
        equal &= np.asarray(pc.equal(one, two).fill_null(False)) | (empty & later_empty)
    return behind


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _rows(parts: Sequence[Part], schema: pa.Schema, columns: Sequence[str], leads: Leads | None) -> pa.Table:
    tables = [_rows_of_part(part, columns, leads) for part in parts]
    coded = [pa.field(f.name, pa.dictionary(pa.int32(), f.type)) if f.name in CODED else f for f in schema]
    empty = pa.schema([field for field in coded if field.name in columns]).empty_table().select(columns)
    return _joined(pa.concat_tables([empty, *tables]))


def _joined(table: pa.Table) -> pa.Table:
    """Return a table whose times are one chunk each: they are read more than once."""
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(place, field, pa.chunked_array([table.column(place).combine_chunks()]))
    return table


def _rows_of_part(part: Part, columns: Sequence[str], leads: Leads | None) -> pa.Table:
    footer, ranges = _footer(part.path)
    coded = [name for name in columns if name in CODED]
    with pq.ParquetFile(part.path, metadata=footer, read_dictionary=coded) as file:
        if leads is None:
            return file.read(columns, use_threads=False).select(columns).replace_schema_metadata()
        groups = [group for group, (low, high) in enumerate(ranges) if leads.any_between(low, high)]
        table = file.read_row_groups(groups, columns, use_threads=False)
    return leads.rows_of(table.select(columns).replace_schema_metadata())


@lru_cache(FOOTERS)
def _footer(path: Path) -> tuple[pq.FileMetaData, tuple[tuple[str | None, str | None], ...]]:
    """Return what a file says of its row groups, and the first and the last lead of each."""
    metadata = pq.read_metadata(path)
    return metadata, tuple(_lead_ranges(metadata) if LEAD in metadata.schema.names else ())


def _lead_ranges(metadata: pq.FileMetaData) -> Iterator[tuple[str | None, str | None]]:
    """Yield the first and the last lead of each row group; None where all its rows are of no lead."""
    names = [metadata.schema.column(i).name for i in range(metadata.num_columns)]
    for group in range(metadata.num_row_groups):
        found = metadata.row_group(group).column(names.index(LEAD)).statistics
        if found is not None and found.has_min_max:
            yield found.min, found.max
        elif found is not None and found.null_count == metadata.row_group(group).num_rows:
            yield None, None
        else:  # an id of thousands of letters has no statistics
            yield "", LAST


def _nulls(group: pq.RowGroupMetaData, column: int) -> int | None:
    """Return in how many rows of a row group a column is empty; None if the file does not say."""
    found = group.column(column).statistics
    return found.null_count if found is not None and found.has_null_count else None


def _rows_of(lead: pa.StringScalar, batch: pa.RecordBatch) -> int | None:
    """Return how many rows of a batch go on with a lead, of which a file may not be cut; None: all of them."""
    if not lead.is_valid:
        return 0
    begins = pc.index(pc.not_equal(batch[LEAD], lead).fill_null(True), True).as_py()
    return int(begins) if begins >= 0 else None


def _added(path: Path) -> AddAction:
    found, metadata = path.stat(), pq.read_metadata(path)
    stats: dict[str, object] = {"numRecords": metadata.num_rows}
    if LEAD in metadata.schema.names:
        place = metadata.schema.names.index(LEAD)
        nulls = [_nulls(metadata.row_group(group), place) for group in range(metadata.num_row_groups)]
        if None not in nulls:
            stats |= {"nullCount": {LEAD: sum(filter(None, nulls))}}
        ranges = [(low, high) for low, high in _lead_ranges(metadata) if low is not None and high is not None]
        if ranges:
            stats |= {"minValues": {LEAD: min(low for low, _ in ranges)}}
            stats |= {"maxValues": {LEAD: max(high for _, high in ranges)}}
    return AddAction(path.name, found.st_size, {}, int(found.st_mtime * 1000), True, json.dumps(stats))
