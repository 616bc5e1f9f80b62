"""Ordered files: a table's rows in its order, in Parquet files cut between leads, so that few rows find a lead.

An append or a merge writes one *run*: files whose ranges of leads do not overlap. Where a table is one run, its
files one after another are the table in order. Where there are several, their rows are put in order as they are read.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from features.coding import dictionaries, placed
from features.footers import LAST, footer, lead_ranges, nulls
from features.order import LEAD, in_order, is_ordered

CODED = (LEAD, "kind", "channel", "stage")  # few different names in many rows: stored and read as codes
# Stored as codes, too: of a plain column that holds one name and empty rows, DuckDB 2.0 returns the filled rows as
# empty when it is asked which are, because its statistics say that the column is constant.
SPARSE = ("goal", "duplicate_id")
ROW_GROUP = 32_768  # rows; to find one lead, one of these is read
FILE_ROWS = 2_000_000
RUN = "run-"  # begins the name of a file that was written here, and so in order


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
        with pq.ParquetFile(part.path, metadata=footer(part.path)[0]) as file:
            places = [file.metadata.schema.column(i).name for i in range(file.metadata.num_columns)]
            empties = [nulls(file.metadata.row_group(g), places.index(name)) for g in range(file.num_row_groups)]
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            groups = [g for g, size in enumerate(sizes) if (empties[g] != 0 if empty else empties[g] != size)]
            table = file.read_row_groups(groups, list(dict.fromkeys([*columns, name])), use_threads=False)
        found = pc.is_null(table[name]) if empty else pc.is_valid(table[name])
        tables.append(table.filter(found).select(columns).replace_schema_metadata())
    return pa.concat_tables(tables)


def lead_starts(parts: Sequence[Part], rows: int) -> list[str]:
    """Return leads at which the files can be cut, so that there are about so many rows from one to the next."""
    groups = []
    for part in parts:
        metadata, ranges = footer(part.path)
        sizes = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        groups += [(low, size) for (low, _), size in zip(ranges, sizes, strict=True) if low is not None]
    starts, since = list[str](), 0
    for low, size in sorted(groups):
        if since >= rows and low != (starts or [""])[-1]:
            starts, since = [*starts, low], 0
        since += size
    return starts


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
    metadata, ranges = footer(part.path)
    coded = [name for name in columns if name in CODED]
    with pq.ParquetFile(part.path, metadata=metadata, read_dictionary=coded) as file:
        if leads is None:
            return file.read(columns, use_threads=False).select(columns).replace_schema_metadata()
        groups = [group for group, (low, high) in enumerate(ranges) if leads.any_between(low, high)]
        table = file.read_row_groups(groups, columns, use_threads=False)
    return leads.rows_of(table.select(columns).replace_schema_metadata())


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
        empties = [nulls(metadata.row_group(group), place) for group in range(metadata.num_row_groups)]
        if None not in empties:
            stats |= {"nullCount": {LEAD: sum(filter(None, empties))}}
        ranges = [(low, high) for low, high in lead_ranges(metadata) if low is not None and high is not None]
        if ranges:
            stats |= {"minValues": {LEAD: min(low for low, _ in ranges)}}
            stats |= {"maxValues": {LEAD: max(high for _, high in ranges)}}
    return AddAction(path.name, found.st_size, {}, int(found.st_mtime * 1000), True, json.dumps(stats))
