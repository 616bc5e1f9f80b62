"""The cost of point-in-time features, from the lake to the result in memory, beside others in one run.

20 million touches of 500,000 leads, 12 monthly snapshots each, 39 features: counts of 12 kinds in 7, 30 and 90 days,
distinct channels in 30 days, days since the last touch, and a decayed sum. Every step is a process of its own; CPU
seconds of all its threads, the least of three runs, and its peak memory. A plain scan is DuckDB counting the same
touches by lead and kind.

    benchmarks/features.py                                  as above
    benchmarks/features.py --touches 100000000 --leads 2500000 --keep-nothing
"""

from __future__ import annotations

# ruff: noqa: E402, I001

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # not this folder, whose features.py is no package

from features.memory import keep_freed_memory

keep_freed_memory()  # as the command does, before all else

import argparse
import json
import math
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.catalogue import distinct, recency
from features.contract import schema
from features.events import DAY
from features.history import History, history_of
from features.reading import history_chunks, read_history
from features.lake import Lake
from features.matrix import feature_matrix
from features.rows import Rows, feature_rows, write_rows
from features.templates import learned_features
from features.verbs import Feature, Moments

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
SAMPLE = 2_000  # leads whose numbers are compared with SQL's
MEMORY_GIB = 2
Measured = dict[str, Any]


def main() -> None:
    """Print CPU seconds, ratios and peaks; leave with 1 if a bar is missed or a number is wrong."""
    asked = arguments()
    if asked.step:
        steps = {"lake": write_lake, **OURS, **RIVALS}
        warm_up()
        used = resource.getrusage(resource.RUSAGE_SELF)
        said = steps[asked.step](asked)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
        print(json.dumps({"cpu": cpu, "peak": after.ru_maxrss / 2**20, "said": said}))
        return
    with tempfile.TemporaryDirectory() as folder:
        asked.folder = asked.folder or Path(folder)
        if not (asked.folder / "lake").exists():
            run(asked, "lake")
        report(asked)


def run(asked: argparse.Namespace, step: str, **more: Any) -> Measured:
    """Return what one step, in a process of its own, took and said."""
    options = {"folder": asked.folder, "touches": asked.touches, "leads": asked.leads, **more}
    command = [sys.executable, __file__, "--step", step]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # this very file
    return dict(json.loads(done.stdout))


def least(asked: argparse.Namespace, step: str, **more: Any) -> Measured:
    """Return what the cheapest of three runs of a step took: what a process pays for its memory changes widely."""
    return min((run(asked, step, **more) for _ in range(3)), key=lambda found: float(found["cpu"]))


def report(asked: argparse.Namespace) -> None:
    """Run every step and print what it took."""
    size = f"{asked.touches:,} touches of {asked.leads:,} leads, {asked.leads * SNAPSHOTS:,} rows"
    print(f"{size} of {len(FEATURES)} features; CPU seconds\n")
    bars = []

    def line(name: str, found: Measured, *said: str) -> None:
        print(f"{name:<44}{found['cpu']:9.2f}  {found['peak']:5.2f} GiB  {'  '.join(said)}", flush=True)

    def bar(value: float, most: float, of: str) -> str:
        bars.append(value <= most)
        return f"{value:.2f} × {of} (bar {most:g}, {'MET' if value <= most else 'MISSED'})"

    run(asked, "keep-nothing", snapshots=1)  # compiles, and warms the disk's cache
    as_it_came, in_order = least(asked, "scan-file"), least(asked, "scan-lake")
    line("plain scan of the touches as they came", as_it_came)
    line("plain scan of the lake, where they are in order", in_order)
    step, most = ("keep-nothing", 1.6) if asked.keep_nothing else ("in-memory", 1.3)
    ours = least(asked, step)
    memory = f"memory {'MET' if ours['peak'] < MEMORY_GIB else 'MISSED'}"
    bars.append(ours["peak"] < MEMORY_GIB)
    scans = [
        bar(ours["cpu"] / as_it_came["cpu"], most, "as they came"),
        bar(ours["cpu"] / in_order["cpu"], most, "in order"),
    ]
    line("Touchstone, 12 snapshots a lead", ours, *scans, memory)
    one = least(asked, step, snapshots=1)
    line("Touchstone, the last snapshot alone", one, bar(ours["cpu"] / one["cpu"], 1.3, "this for 12"))
    written = least(asked, "parquet")
    line("Touchstone, written as Parquet", written, bar(written["cpu"] / ours["cpu"] - 1, 1, "as much again"))
    checked = run(asked, "check")["said"]
    bars.append(checked <= 1e-6)
    print(f"largest relative difference from SQL, {SAMPLE:,} leads {checked:18.1e}  {'MET' if bars[-1] else 'WRONG'}")
    alone = run(asked, "one-lead")["said"]
    bars.append(alone["ms"] < 1)
    whose = f"one lead of {alone['touches']} touches, {alone['features']} features"
    print(f"{whose}: {alone['ms']:.3f} ms of CPU (bar 1, {'MET' if bars[-1] else 'MISSED'})")
    if not asked.keep_nothing:
        part = f"{asked.rivals:,} touches of {asked.rivals // 40:,} leads"
        print(f"\nThe same features of {part}, by others\n")
        rest = {"touches": asked.rivals, "leads": asked.rivals // 40, "folder": asked.folder / "rivals"}
        if not rest["folder"].exists():
            run(asked, "lake", **rest)
        plain, mine = run(asked, "scan-file", **rest), run(asked, "in-memory", **rest)
        line("plain scan of the touches as they came", plain)
        line("Touchstone", mine, f"{mine['cpu'] / plain['cpu']:.1f} × the scan")
        for name in RIVALS:
            try:
                rival = run(asked, name, **rest)
            except subprocess.CalledProcessError as error:
                print(f"{name:<44} could not run: {error.stderr.strip().splitlines()[-1]}")
                continue
            line(
                name,
                rival,
                f"{rival['cpu'] / plain['cpu']:.1f} × the scan, {rival['cpu'] / mine['cpu']:.0f} × Touchstone",
            )
    sys.exit(0 if all(bars) else 1)


def warm_up() -> None:
    """Measure one lead without touches, for which the compiled walk is loaded."""
    nobody = history_of(_leads(np.array(["L"])), *(schema(name).empty_table() for name in ("touches", "stages")))
    feature_matrix(FEATURES, Moments(nobody, np.array([0]), np.array([START])))


def moments_of(snapshots: int) -> Callable[[History], Moments]:
    """Return the last of the monthly moments of every lead."""
    at = START + (1 + np.arange(SNAPSHOTS))[-snapshots:] * 30 * DAY

    def of(history: History) -> Moments:
        leads = len(history.lead_ids)
        return Moments(history, np.repeat(np.arange(leads), len(at)), np.tile(at, leads))

    return of


def measured_rows(asked: argparse.Namespace) -> Iterator[Rows]:
    """Yield the features at the moments of all leads of the lake."""
    return feature_rows(Lake(asked.folder / "lake"), FEATURES, moments_of(asked.snapshots))


def in_memory(asked: argparse.Namespace) -> int:
    """Hold all rows at once; return how many."""
    return sum(len(rows.as_of) for rows in [*measured_rows(asked)])


def keep_nothing(asked: argparse.Namespace) -> int:
    """Let go of rows as they are made; return how many."""
    return sum(len(rows.as_of) for rows in measured_rows(asked))


def parquet(asked: argparse.Namespace) -> int:
    """Write all rows; return how many."""
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        return write_rows(measured_rows(asked), FEATURES, Path(folder) / "features.parquet")


def scan(asked: argparse.Namespace, files: str) -> int:
    """Count touches by lead and kind, in some files; return how many counts there are."""
    with duckdb.connect(config={"memory_limit": "2GB"}) as connection:
        counted = connection.sql(f"SELECT lead_id, kind, count(*) FROM '{asked.folder / files}' GROUP BY ALL")
        return int(counted.to_arrow_table().num_rows)


def check(asked: argparse.Namespace) -> float:
    """Return the largest relative difference from what SQL says of the first leads."""
    history = next(history_chunks(Lake(asked.folder / "lake"), SAMPLE * 40))
    moments = moments_of(SNAPSHOTS)(history)
    chosen = moments.lead < SAMPLE
    asked_of = Moments(history, moments.lead[chosen], moments.as_of[chosen])
    ours = feature_matrix(FEATURES, asked_of).astype(np.float64)
    leads = ", ".join(f"'{lead}'" for lead in history.lead_ids[:SAMPLE])
    theirs = range_join(asked, f"WHERE lead_id IN ({leads})").to_pandas().sort_values(["lead_id", "as_of"])
    expected = theirs[[feature.name for feature in FEATURES]].to_numpy(np.float64)
    missing = np.isnan(ours) != np.isnan(expected)
    differences = np.abs(ours - expected) / np.maximum(np.abs(expected), 1)
    return math.inf if missing.any() else float(np.nanmax(differences))


def one_lead(asked: argparse.Namespace) -> Measured:
    """Return what all features of the catalogue cost for the lead with about 300 touches, warm."""
    lake = Lake(asked.folder / "lake")
    some = next(history_chunks(lake, 400_000))
    sizes = np.diff(some.touches.start)
    history = read_history(lake, [some.lead_ids[int(np.abs(sizes - 300).argmin())]])
    now = START + 360 * DAY
    features, moments = learned_features(some, now), Moments(history, np.array([0]), np.array([now]))
    feature_matrix(features, moments)
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    for _ in range(1000):
        feature_matrix(features, moments)
    spent = resource.getrusage(resource.RUSAGE_SELF).ru_utime - begun
    return {"ms": spent, "touches": len(history.touches.occurred), "features": len(features)}


def range_join(asked: argparse.Namespace, some: str = "") -> pa.Table:
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
                             FROM (SELECT lead_id FROM '{asked.folder}/lake/leads/*.parquet' {some}),
                                  range({SNAPSHOTS}) AS r(i)),
                 touches AS (SELECT lead_id, kind, channel, epoch_us(occurred_at) AS occurred,
                                    greatest(epoch_us(occurred_at), epoch_us(received_at)) AS known
                             FROM '{asked.folder}/lake/touches/*.parquet' {some}),
                 seen AS (SELECT m.lead_id, m.as_of, kind, channel, m.as_of - t.occurred AS age
                          FROM moments AS m LEFT JOIN touches AS t ON t.lead_id = m.lead_id AND t.known < m.as_of)
            SELECT lead_id, as_of, {counts},
                   count(DISTINCT channel) FILTER (age <= 30 * {DAY}) AS channels_30d,
                   min(age) / {DAY} AS days_since_touch,
                   coalesce(sum(pow(2, -age / (30.0 * {DAY}))), 0) AS activity_30d
            FROM seen GROUP BY lead_id, as_of
        """).to_arrow_table()


def with_polars(asked: argparse.Namespace) -> int:
    """Join moments to touches and aggregate, lazily, in Polars."""
    import polars as pl

    touches = pl.scan_parquet(asked.folder / "lake/touches/*.parquet").select(
        "lead_id", "kind", "channel", pl.col("occurred_at").dt.epoch("us").alias("at")
    )
    leads = pl.scan_parquet(asked.folder / "lake/leads/*.parquet").select("lead_id")
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


def with_pandas(asked: argparse.Namespace) -> int:
    """Filter and group for each moment in turn in pandas, as a notebook would."""
    columns = ["lead_id", "kind", "channel", "occurred_at"]
    touches = pq.read_table(asked.folder / "lake/touches", columns=columns).to_pandas()
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


OURS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "in-memory": in_memory,
    "keep-nothing": keep_nothing,
    "parquet": parquet,
    "scan-lake": lambda asked: scan(asked, "lake/touches/*.parquet"),
    "scan-file": lambda asked: scan(asked, "touches.parquet"),
    "check": check,
    "one-lead": one_lead,
}
RIVALS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "DuckDB, range join": lambda asked: range_join(asked).num_rows,
    "Polars, join": with_polars,
    "pandas, moment by moment": with_pandas,
}


def write_lake(asked: argparse.Namespace) -> int:
    """Write a lake of seeded touches, and the same touches as they came, by time: leads differ widely in eagerness."""
    lake, random = Lake(asked.folder / "lake"), np.random.default_rng(0)
    eager = random.gamma(0.5, size=asked.leads)
    counts = random.poisson(eager * asked.touches / eager.sum())
    ids = np.array([f"L-{i:07d}" for i in range(asked.leads)])
    lake.append("leads", _leads(ids))
    lake.append("touches", pa.RecordBatchReader.from_batches(schema("touches"), _touches(ids, counts, random)))
    with duckdb.connect(config={"memory_limit": "4GB", "temp_directory": str(asked.folder / "spill")}) as connection:
        connection.execute(f"""
            COPY (SELECT event_id, lead_id, occurred_at, received_at, kind, channel
                  FROM '{asked.folder}/lake/touches/*.parquet' ORDER BY occurred_at)
            TO '{asked.folder}/touches.parquet'
        """)
    return int(counts.sum())


def _leads(ids: Any) -> pa.Table:
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


def arguments() -> argparse.Namespace:
    """Return the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--touches", type=int, default=20_000_000)
    parser.add_argument("--leads", type=int, default=500_000)
    parser.add_argument("--rivals", type=int, default=2_000_000, help="touches that the others are given")
    parser.add_argument("--snapshots", type=int, default=SNAPSHOTS)
    parser.add_argument("--keep-nothing", action="store_true", help="let go of rows as they are made")
    parser.add_argument("--folder", type=Path, help="keep the lake here, and take it from here the next time")
    parser.add_argument("--step", choices=["lake", *OURS, *RIVALS])
    return parser.parse_args()


if __name__ == "__main__":
    main()
