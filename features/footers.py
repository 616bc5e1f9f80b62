"""Footers: what a Parquet file says of itself, so that few of its row groups are read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pyarrow.parquet as pq

from features.order import LEAD

LAST = "\U0010ffff"  # after every lead
FOOTERS = 64  # that are kept, each of some 100 KB; a file never changes under its name


@lru_cache(FOOTERS)
def footer(path: Path) -> tuple[pq.FileMetaData, tuple[tuple[str | None, str | None], ...]]:
    """Return what a file says of its row groups, and the first and the last lead of each."""
    metadata = pq.read_metadata(path)
    return metadata, tuple(lead_ranges(metadata) if LEAD in metadata.schema.names else ())


def lead_ranges(metadata: pq.FileMetaData) -> Iterator[tuple[str | None, str | None]]:
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


def nulls(group: pq.RowGroupMetaData, column: int) -> int | None:
    """Return in how many rows of a row group a column is empty; None if the file does not say."""
    found = group.column(column).statistics
    return found.null_count if found is not None and found.has_null_count else None
