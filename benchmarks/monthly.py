"""The history of benchmarks/features.py, and what is asked of it: touches of 12 kinds, 12 monthly moments a lead."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from features.catalogue import distinct, recency
from features.contract import schema
from features.events import DAY
from features.lake import Lake
from features.verbs import Feature

SNAPSHOTS, KINDS, CHANNELS, WINDOWS = 12, 12, 8, (7, 30, 90)
START = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
FEATURES = (
    *(
        Feature(f"kind{kind:02}_{days}d", "count", "", where=(("kind", f"kind{kind:02}"),), days=days)
        for kind in range(KINDS)
        for days in WINDOWS
    ),
    distinct("channels_30d", "channel", "", 30),
    recency("days_since_touch", ""),
    Feature("activity_30d", "decayed", "", days=30),
)


def write_lake(folder: Path, touches: int, leads: int) -> int:
    """Write a lake of seeded touches, and the same touches as they came, by time: leads differ widely in eagerness."""
    lake, random = Lake(folder / "lake"), np.random.default_rng(0)
    eager = random.gamma(0.5, size=leads)
    counts = random.poisson(eager * touches / eager.sum())
    ids = np.array([f"L-{i:07d}" for i in range(leads)])
    lake.append("leads", leads_of(ids))
    lake.append("touches", pa.RecordBatchReader.from_batches(schema("touches"), _touches(ids, counts, random)))
    with duckdb.connect(config={"memory_limit": "4GB", "temp_directory": str(folder / "spill")}) as connection:
        connection.execute(f"""
            COPY (SELECT event_id, lead_id, occurred_at, received_at, kind, channel
                  FROM '{folder}/lake/touches/*.parquet' ORDER BY occurred_at)
            TO '{folder}/touches.parquet'
        """)
    return int(counts.sum())


def leads_of(ids: Any) -> pa.Table:
    """Return leads of whom nothing is known but that they are there."""
    created = pa.array(np.full(len(ids), START)).cast(schema("leads").field("created_at").type)
    return _whole("leads", {"lead_id": ids, "created_at": created, "observed_at": created, "row_hash": ids})


def _touches(ids: Any, counts: Any, random: np.random.Generator) -> Iterator[pa.RecordBatch]:
    for first in range(0, len(ids), 20_000):
        size = counts[first : first + 20_000]
        lead = np.repeat(np.arange(len(size)), size)
        at = START + random.integers(0, 365 * DAY, len(lead))
        at = at[np.lexsort((at, lead))]
        moment = pa.array(at).cast(schema("touches").field("occurred_at").type)
        event = np.char.add(f"E-{first}-", np.arange(len(lead)).astype(str))
        touches = {
            "event_id": event, "lead_id": ids[first + lead], "occurred_at": moment, "received_at": moment,
            "kind": np.char.add("kind", np.char.zfill(random.integers(0, KINDS, len(lead)).astype(str), 2)),
            "channel": np.char.add("channel", random.integers(0, CHANNELS, len(lead)).astype(str)),
            "machine": np.zeros(len(lead), np.bool_), "row_hash": event,
        }  # fmt: skip
        yield from _whole("touches", touches).to_batches(32_768)


def _whole(name: str, columns: dict[str, Any]) -> pa.Table:
    """Return columns as a table of the contract, the others empty."""
    rows = len(next(iter(columns.values())))
    return pa.table(
        [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type) for f in schema(name)],
        schema=schema(name),
    )
