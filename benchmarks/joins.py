"""The features of benchmarks/features.py by others: DuckDB, whose numbers ours are compared with, Polars and pandas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.monthly import KINDS, SNAPSHOTS, START, WINDOWS
from features.events import DAY


def range_join(folder: Path, some: str = "") -> pa.Table:
    """Return the features by a join of moments and touches in DuckDB."""
    counts = ", ".join(
        f"count(*) FILTER (kind = 'kind{kind:02}' AND age <= {days} * {DAY}) AS kind{kind:02}_{days}d"
        for kind in range(KINDS)
        for days in WINDOWS
    )
    with duckdb.connect() as connection:
        return connection.sql(f"""
            SET TimeZone = 'UTC';
            WITH moments AS (SELECT lead_id, {START} + (i + 1) * 30 * {DAY} AS as_of
                             FROM (SELECT lead_id FROM '{folder}/lake/leads/*.parquet' {some}),
                                  range({SNAPSHOTS}) AS r(i)),
                 touches AS (SELECT lead_id, kind, channel, epoch_us(occurred_at) AS occurred,
                                    greatest(epoch_us(occurred_at), epoch_us(received_at)) AS known
                             FROM '{folder}/lake/touches/*.parquet' {some}),
                 seen AS (SELECT m.lead_id, m.as_of, kind, channel, m.as_of - t.occurred AS age
                          FROM moments AS m LEFT JOIN touches AS t ON t.lead_id = m.lead_id AND t.known < m.as_of)
            SELECT lead_id, as_of, {counts},
                   count(DISTINCT channel) FILTER (age <= 30 * {DAY}) AS channels_30d,
                   min(age) / {DAY} AS days_since_touch,
                   coalesce(sum(pow(2, -age / (30.0 * {DAY}))), 0) AS activity_30d
            FROM seen GROUP BY lead_id, as_of
        """).to_arrow_table()


def with_polars(folder: Path) -> int:
    """Join moments to touches and aggregate, lazily, in Polars."""
    import polars as pl

    touches = pl.scan_parquet(folder / "lake/touches/*.parquet").select(
        "lead_id", "kind", "channel", pl.col("occurred_at").dt.epoch("us").alias("at")
    )
    leads = pl.scan_parquet(folder / "lake/leads/*.parquet").select("lead_id")
    at = pl.LazyFrame({"as_of": [START + (i + 1) * 30 * DAY for i in range(SNAPSHOTS)]})
    age = pl.col("as_of") - pl.col("at")
    counts = [
        ((pl.col("kind") == f"kind{kind:02}") & (age <= days * DAY)).sum().alias(f"kind{kind:02}_{days}d")
        for kind in range(KINDS)
        for days in WINDOWS
    ]
    rest = [
        pl.col("channel").filter(age <= 30 * DAY).n_unique().alias("channels_30d"),
        (age.min() / DAY).alias("days_since_touch"),
        (2.0 ** (-age / (30 * DAY))).sum().alias("activity_30d"),
    ]
    seen = leads.join(at, how="cross").join(touches, on="lead_id").filter(pl.col("at") < pl.col("as_of"))
    return len(seen.group_by("lead_id", "as_of").agg(*counts, *rest).collect())


def with_pandas(folder: Path) -> int:
    """Filter and group for each moment in turn in pandas, as a notebook would."""
    columns = ["lead_id", "kind", "channel", "occurred_at"]
    touches = pq.read_table(folder / "lake/touches", columns=columns).to_pandas()
    touches["at"] = touches["occurred_at"].astype("int64")
    rows = 0
    for i in range(SNAPSHOTS):
        known = touches[touches["at"] < START + (i + 1) * 30 * DAY]
        age = START + (i + 1) * 30 * DAY - known["at"]
        parts = []
        for days in WINDOWS:
            inside = known[age <= days * DAY]
            parts.append(inside.groupby(["lead_id", "kind"]).size().unstack(fill_value=0).add_suffix(f"_{days}d"))
        parts.append(known[age <= 30 * DAY].groupby("lead_id")["channel"].nunique().rename("channels_30d"))
        parts.append((age.groupby(known["lead_id"]).min() / DAY).rename("days_since_touch"))
        parts.append((2.0 ** (-age / (30 * DAY))).groupby(known["lead_id"]).sum().rename("activity_30d"))
        together = parts[0]
        for part in parts[1:]:
            together = together.join(part, how="outer")
        rows += len(together)
    return rows


RIVALS: dict[str, Callable[[Path], int]] = {
    "DuckDB, range join": lambda folder: range_join(folder).num_rows,
    "Polars, join": with_polars,
    "pandas, moment by moment": with_pandas,
}
