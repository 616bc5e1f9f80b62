"""What Spark costs on one machine: features by the local engine, and by Spark with one and two cores, in one run.

2 million touches of 50,000 leads, 12 monthly snapshots each, 39 features, as in features.py; then the whole catalogue.
Wall and CPU seconds of all processes: this one, Spark's, and its Python workers'. To start Spark is measured apart.
"""

from __future__ import annotations

import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # not this folder, whose features.py is no package

from features import spark  # noqa: E402
from features.catalogue import CATALOGUE  # noqa: E402
from features.history import DAY  # noqa: E402
from features.ingestion import ingest  # noqa: E402
from features.lake import Lake  # noqa: E402
from features.moments import every  # noqa: E402
from features.rows import Rows, feature_rows, seen_in  # noqa: E402
from features.settings import Settings  # noqa: E402
from features.templates import written_out  # noqa: E402
from features.verbs import columns_of  # noqa: E402

HISTORY = runpy.run_path(str(ROOT / "benchmarks" / "features.py"))
START, PLAIN = HISTORY["START"], HISTORY["FEATURES"]
MONTHLY = every(30, START + 30 * DAY, START + 361 * DAY)
ENGINES = ("local engine", "local[1]", "local[2]")
T = TypeVar("T")


def main() -> None:
    """Print wall and CPU seconds of each engine, in a process of its own; all must make the same numbers."""
    with tempfile.TemporaryDirectory() as folder:
        HISTORY["write_history"](Path(folder))
        files = [Path(folder) / "leads.parquet", Path(folder) / "touches.parquet"]
        ingest(Lake(Path(folder) / "lake"), Settings(), files, datetime(2026, 1, 1, tzinfo=UTC))
        made = {}
        for engine in ENGINES:
            asked = [sys.executable, __file__, folder, engine]
            made[engine] = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603
    if len(set(made.values())) > 1:
        sys.exit(f"The engines differ: {made}")


def measure(lake: Lake, engine: str) -> None:
    """Measure a lake twice, with few features and with the catalogue; print how many rows, and a sum of their bits."""
    measured_by = feature_rows
    if engine != "local engine":
        spark.LOCAL["spark.master"] = engine
        timed(f"Spark starts, {engine}", spark.session)
        measured_by = spark.feature_rows
    catalogue = written_out(seen_in(lake, START + 365 * DAY, columns_of(CATALOGUE)), CATALOGUE)
    for features in (PLAIN[:1], PLAIN, catalogue):  # the first compiles
        said = f"{engine}, {len(features)} features"
        print(timed(said, lambda features=features: summed(measured_by(lake, features, MONTHLY))))


def summed(some: Iterable[Rows]) -> list[int]:
    """Return the number of rows and the sum of all their bits, whatever their order."""
    found = np.zeros(2, np.int64)
    for rows in some:
        found += len(rows.as_of), rows.matrix.view(np.int32).sum(dtype=np.int64)
    return [int(number) for number in found]


def timed(name: str, work: Callable[[], T]) -> T:
    """Print what some work costs, on standard error; return its result."""
    before, begun = cpu_seconds(), time.perf_counter()
    result = work()
    spent = f"{time.perf_counter() - begun:6.1f} s  {cpu_seconds() - before:6.1f} CPU s"
    print(f"{name:32} {spent}", file=sys.stderr, flush=True)
    return result


def cpu_seconds() -> float:
    """Return the CPU seconds of this process, and of all that it started, so far."""
    us = psutil.Process()
    return float(sum(sum(one.cpu_times()[:4]) for one in [us, *us.children(recursive=True)]))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(Lake(Path(sys.argv[1]) / "lake"), sys.argv[2])
    else:
        main()
