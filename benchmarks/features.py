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
from typing import Any

import duckdb
import numpy as np

from benchmarks.joins import RIVALS, range_join
from benchmarks.monthly import FEATURES, SNAPSHOTS, START, leads_of, write_lake
from features.contract import schema
from features.events import DAY
from features.history import History, history_of
from features.reading import history_chunks, read_history
from features.lake import Lake
from features.matrix import feature_matrix
from features.rows import Rows, feature_rows, write_rows
from features.templates import learned_features
from features.verbs import Moments

SAMPLE = 2_000  # leads whose numbers are compared with SQL's
MEMORY_GIB = 2
Measured = dict[str, Any]


def main() -> None:
    """Print CPU seconds, ratios and peaks; leave with 1 if a bar is missed or a number is wrong."""
    asked = arguments()
    if asked.step:
        warm_up()
        used = resource.getrusage(resource.RUSAGE_SELF)
        said = RIVALS[asked.step](asked.folder) if asked.step in RIVALS else OURS[asked.step](asked)
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
    nobody = history_of(leads_of(np.array(["L"])), *(schema(name).empty_table() for name in ("touches", "stages")))
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
    theirs = range_join(asked.folder, f"WHERE lead_id IN ({leads})").to_pandas().sort_values(["lead_id", "as_of"])
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


OURS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "lake": lambda asked: write_lake(asked.folder, asked.touches, asked.leads),
    "in-memory": in_memory,
    "keep-nothing": keep_nothing,
    "parquet": parquet,
    "scan-lake": lambda asked: scan(asked, "lake/touches/*.parquet"),
    "scan-file": lambda asked: scan(asked, "touches.parquet"),
    "check": check,
    "one-lead": one_lead,
}


def arguments() -> argparse.Namespace:
    """Return the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--touches", type=int, default=20_000_000)
    parser.add_argument("--leads", type=int, default=500_000)
    parser.add_argument("--rivals", type=int, default=2_000_000, help="touches that the others are given")
    parser.add_argument("--snapshots", type=int, default=SNAPSHOTS)
    parser.add_argument("--keep-nothing", action="store_true", help="let go of rows as they are made")
    parser.add_argument("--folder", type=Path, help="keep the lake here, and take it from here the next time")
    parser.add_argument("--step", choices=[*OURS, *RIVALS])
    return parser.parse_args()


if __name__ == "__main__":
    main()
