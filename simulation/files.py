"""Files: a simulated company written down for `touchstone ingest`, however large it is."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from simulation.company import Company, parts


def write(company: Company, folder: Path) -> list[Path]:
    """Write touches.parquet and a CSV of every other table, all of them or none; times in CSV end in Z.

    Memory is that of one chapter, however many leads there are; rows are in order of time within a chapter.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole: dict[Path, Path] = {}
    writers: dict[str, pq.ParquetWriter | csv.CSVWriter] = {}
    with ExitStack() as files:
        for part in parts(company):
            for name, table in part.items():
                rows = _as_written(name, table)
                if name not in writers:
                    path = folder / (f"{name}.parquet" if name == "touches" else f"{name}.csv")
                    whole[path] = path.with_name(f".{path.name}.part")
                    kind = pq.ParquetWriter if name == "touches" else csv.CSVWriter
                    writers[name] = files.enter_context(kind(whole[path], rows.schema))
                writers[name].write_table(rows)
    for path, unfinished in whole.items():
        unfinished.replace(path)
    return list(whole)


def _as_written(name: str, table: pd.DataFrame) -> pa.Table:
    """Return a table as its file holds it."""
    if name != "touches":
        table = table.copy()
        for column in table.select_dtypes("datetimetz"):
            table[column] = table[column].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return pa.Table.from_pandas(table, preserve_index=False)
