"""Batch scores by Apache Spark: what serving/batch.py says of every open lead, to the bit, partition by partition.

The champion's files travel to the workers as bytes, and are verified there as they are from a folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pyarrow as pa

from features.history import history_of
from features.lake import Lake
from features.rows import TOUCHES
from features.settings import Exploration, Goal
from features.spark import Work, history_columns, partitions, worked
from features.verbs import columns_of, look_at_accounts
from serving.batch import Scored, score_table
from serving.batch import scored as scored_here
from serving.exploration import OFF
from serving.scorer import Scorer, champion_folder, contents_of, verified

SCORES, NOT_SCORED, OUTLOOK = b"scores", b"not scored", b"outlook"
TABLE = b"table"  # says which of these a batch is of
AT_ONCE = 8_192  # scores that travel together; with their reasons some 30 MB
Files = tuple[tuple[str, bytes], ...]  # of a model


def scored(
    models: Path, lake: Lake, goal: Goal, as_of: int, touches: int = TOUCHES, exploration: Exploration = OFF, *,
    outlook: bool,
) -> Scored:  # fmt: skip
    """Return what the champion says of every open lead; a partition has about so many touches.

    Raises:
        ModelError: when no model serves, or it cannot be loaded.
        ConfigError: when Spark does not start.

    """
    folder = champion_folder(models)
    files = tuple(sorted(contents_of(folder).items()))
    features = _scorer(folder, files).spec.features
    columns = history_columns(features)
    rows = partitions(lake, columns, touches, accounts=look_at_accounts(features))
    made: dict[bytes, list[pa.RecordBatch]] = {SCORES: [], NOT_SCORED: [], OUTLOOK: []}
    for batch in worked(rows, columns, _scored(folder, files, goal, as_of, exploration, outlook=outlook)):
        made[batch.schema.metadata[TABLE]].append(batch)
    objectors = [lead for batch in made[NOT_SCORED] for lead in batch["lead_id"].to_pylist()]
    return Scored(
        _joined(made[SCORES], score_table([])).sort_values(
            ["probability", "lead_id"], ascending=[False, True], ignore_index=True
        ),
        sorted(objectors),
        _joined(made[OUTLOOK], pd.DataFrame(columns=["lead_id"])).sort_values("lead_id", ignore_index=True)
        if outlook
        else None,
    )


def _scored(folder: Path, files: Files, goal: Goal, as_of: int, exploration: Exploration, *, outlook: bool) -> Work:
    """Return what scores the open leads of one partition."""

    def score(tables: dict[str, pa.Table]) -> Iterator[pa.RecordBatch]:
        scorer = _scorer(folder, files)
        history = history_of(**tables, more=columns_of(scorer.spec.features))
        said = scored_here(scorer, history, goal, as_of, exploration, outlook=outlook)
        yield from _batches(SCORES, pa.Table.from_pandas(said.scores, preserve_index=False))
        yield from _batches(NOT_SCORED, pa.table({"lead_id": pa.array(said.not_scored, pa.string())}))
        if said.outlook is not None:
            yield from _batches(OUTLOOK, pa.Table.from_pandas(said.outlook, preserve_index=False))

    return score


@lru_cache(1)
def _scorer(folder: Path, files: Files) -> Scorer:
    """Return the model of these files; a worker reads it once for all its partitions."""
    return verified(dict(files), folder)


def _batches(name: bytes, table: pa.Table) -> list[pa.RecordBatch]:
    batches: list[pa.RecordBatch] = table.replace_schema_metadata({TABLE: name}).combine_chunks().to_batches(AT_ONCE)
    return [batch for batch in batches if batch.num_rows]


def _joined(batches: list[pa.RecordBatch], none: pd.DataFrame) -> pd.DataFrame:
    return pa.Table.from_batches(batches).to_pandas() if batches else none
