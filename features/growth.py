"""Growth: a lake that an earlier version of Touchstone made gets the columns that the contract has had since.

Its files are written again, one after the other, with the new columns empty. The table's own schema grows last, so that
whoever was killed in between begins again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema

from features.ordered import Part


def lacking(table: DeltaTable, schema: pa.Schema) -> list[str]:
    """Return the columns of the contract that a stored table does not have."""
    stored = {field.name for field in table.schema().fields}
    return [name for name in schema.names if name not in stored]


def grown(part: Part, schema: pa.Schema) -> pa.RecordBatchReader:
    """Return the rows of a file in their order, with every column of the contract."""
    return pa.RecordBatchReader.from_batches(schema, _whole_batches(part, schema))


def grow_schema(table: DeltaTable, schema: pa.Schema, columns: Sequence[str]) -> None:
    """Add columns to what a stored table says of itself."""
    table.alter.add_columns([field for field in Schema.from_arrow(schema).fields if field.name in columns])


def _whole_batches(part: Part, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(part.path) as file:
        for batch in file.iter_batches(use_threads=False):
            has = set(batch.schema.names)
            columns = [
                batch[field.name].cast(field.type) if field.name in has else pa.nulls(len(batch), field.type)
                for field in schema
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)
