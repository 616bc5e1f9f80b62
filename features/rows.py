"""Feature rows: the features of a whole lake, range of leads by range of leads, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.contract import ARROW
from features.errors import ConfigError
from features.lake import Lake
from features.matrix import BLOCK, feature_matrix
from features.merges import NEVER, Ints
from features.moments import Chosen, Given, MomentsOf
from features.objections import profiled
from features.reading import history_chunks
from features.templates import Seen, added, seen_names, written_out
from features.verbs import Feature, Moments, columns_of, look_at_accounts
from features.walk import Matrix

TOUCHES = 600_000  # of the leads that are read together


class Rows(NamedTuple):
    """The features (columns of ``matrix``) of leads at moments, without the history that they were made of."""

    lead_id: pa.DictionaryArray
    as_of: Ints  # microseconds
    matrix: Matrix


def feature_rows(
    lake: Lake, features: Sequence[Feature], moments_of: MomentsOf, touches: int = TOUCHES
) -> Iterator[Rows]:
    """Yield the features at the moments that ``moments_of`` a part of the history names, for all parts of the lake.

    A part has about so many ``touches``. While one is measured, the next is read.
    """
    together = look_at_accounts(features)
    chunks = history_chunks(lake, touches, columns_of(features), accounts=together)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(os.cpu_count()) as threads:
        ahead = reader.submit(next, chunks, None)
        while (history := ahead.result()) is not None:
            ahead = reader.submit(next, chunks, None)
            moments = moments_of(history)
            yield from threads.map(partial(rows_at, features), [moments] if together else _blocks(moments))


def _blocks(moments: Moments) -> Iterator[Moments]:
    """Yield moments block by block: the features of one are written where those of another were, which is quicker."""
    for start in range(0, len(moments), BLOCK):
        rows = slice(start, start + BLOCK)
        yield Moments(moments.history, moments.lead[rows], moments.as_of[rows])


def rows_at(features: Sequence[Feature], asked: Moments) -> Rows:
    """Return the features at moments of one history, without those of who objects to profiling or was erased."""
    may = profiled(asked.history, NEVER)[asked.lead]
    moments = asked if may.all() else Moments(asked.history, asked.lead[may], asked.as_of[may])
    low, high = (moments.lead.min(), moments.lead.max() + 1) if len(moments) else (0, 0)
    names = pa.array(moments.history.lead_ids[low:high], pa.string())
    leads = pa.DictionaryArray.from_arrays((moments.lead - low).astype(np.int32), names)
    return Rows(leads, moments.as_of, feature_matrix(features, moments))


def seen_in(lake: Lake, before: int, columns: Sequence[str]) -> Seen:
    """Return with how many leads of the lake each name was seen before a moment (microseconds)."""
    seen: Seen = {}
    for history in history_chunks(lake, TOUCHES, columns):
        seen = added(seen, seen_names(history, before))
    return seen


def write_features(
    lake: Lake, catalogue: Sequence[Feature], moments: Chosen, file: Path | None, engine: Literal["local", "spark"]
) -> dict[str, Any]:
    """Write a catalogue's features at moments to a file; return what was written.

    Raises:
        ConfigError: when no such file is named.

    """
    if file is None or file.suffix not in {".parquet", ".csv"}:
        raise ConfigError("Where to? Give --output FILE, a .parquet or a .csv.")
    features = written_out(seen_in(lake, moments.last, columns_of(catalogue)), catalogue)
    if engine == "spark":
        from features import spark  # an optional extra

        rows = spark.feature_rows(lake, features, moments.of)
    else:
        rows = feature_rows(lake, features, moments.of)
    written = write_rows(rows, features, file)
    left_out = len(moments.of.moments) - written if isinstance(moments.of, Given) else 0
    return {"rows": written, "left_out": left_out, "features": len(features), "output": str(file)}


def write_rows(rows: Iterable[Rows], features: Sequence[Feature], file: Path) -> int:
    """Write feature rows to a Parquet or CSV file; return how many. The file is there whole, or not at all."""
    measured = ((feature.name, pa.float32()) for feature in features)
    schema = pa.schema([("lead_id", pa.string()), ("as_of", ARROW["time"]), *measured])
    partly = file.with_name(f".{file.name}.part")
    written = 0
    try:
        with _writer(file, partly, schema) as writer:
            for some in rows:
                columns = [some.lead_id.cast(pa.string()), pa.array(some.as_of).cast(ARROW["time"])]
                columns += map(_filled, np.ascontiguousarray(some.matrix.T))
                writer.write_table(pa.table(columns, schema=schema))
                written += len(some.as_of)
        partly.replace(file)
    finally:
        partly.unlink(missing_ok=True)
    return written


def _filled(column: NDArray[np.float32]) -> pa.Array:
    """Return a column in which NaN is empty."""
    missing = np.isnan(column)
    return pa.array(column, mask=missing) if missing.any() else pa.array(column)


def _writer(file: Path, partly: Path, schema: pa.Schema) -> pq.ParquetWriter | pa_csv.CSVWriter:
    if file.suffix == ".parquet":
        keys = ["lead_id", "as_of"]
        return pq.ParquetWriter(partly, schema, use_dictionary=keys[:1], write_statistics=keys)
    return pa_csv.CSVWriter(partly, schema)
