"""What Spark costs on one machine: the local engine, and Spark with one and two cores, in one run.

Features of 2 million touches of 50,000 leads, 12 monthly snapshots each, 39 features, as in features.py; then the whole
catalogue. Scores with reasons and journeys of a simulated company of 20,000 leads (``--leads``), by a model that
learned from one of 1,200. Wall and CPU seconds of all processes: this one, Spark's, and its Python workers'. To start
Spark is measured apart. All engines must say the same, to the bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import runpy
import shutil
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

from attribution.runs import journeys_in  # noqa: E402
from features import spark  # noqa: E402
from features.catalogue import CATALOGUE  # noqa: E402
from features.history import DAY, microseconds  # noqa: E402
from features.ingestion import files_in, ingest  # noqa: E402
from features.lake import Lake  # noqa: E402
from features.moments import every  # noqa: E402
from features.rows import Rows, feature_rows, seen_in  # noqa: E402
from features.settings import Settings  # noqa: E402
from features.templates import written_out  # noqa: E402
from features.verbs import columns_of  # noqa: E402
from serving import batch  # noqa: E402
from simulation.company import Company  # noqa: E402
from simulation.files import write  # noqa: E402
from training.train import train  # noqa: E402

HISTORY = runpy.run_path(str(ROOT / "benchmarks" / "features.py"))
START, PLAIN = HISTORY["START"], HISTORY["FEATURES"]
MONTHLY = every(30, START + 30 * DAY, START + 361 * DAY)
ENGINES = ("local engine", "local[1]", "local[2]")
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SETTINGS = Settings.model_validate({"training": {"trees": 60}})
PART = 100_000  # touches of a partition of the company
T = TypeVar("T")


def main(leads: int) -> None:
    """Print wall and CPU seconds of each engine, in a process of its own; all must make the same numbers."""
    with tempfile.TemporaryDirectory() as folder:
        HISTORY["write_lake"](argparse.Namespace(folder=Path(folder), touches=2_000_000, leads=50_000))
        found(Path(folder) / "small", 1_200)
        touches = found(Path(folder) / "company", leads)
        train(Lake(Path(folder) / "small" / "lake"), SETTINGS, Path(folder) / "small", NOW)
        shutil.copytree(Path(folder) / "small" / "models", Path(folder) / "company" / "models")
        print(f"The company has {leads:,} leads and {touches:,} touches.", file=sys.stderr)
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


def found(workspace: Path, leads: int) -> int:
    """Found a company with so many leads in a workspace; return how many touches it has."""
    lake = Lake(workspace / "lake")
    ingest(lake, SETTINGS, files_in(write(Company(NOW, leads=leads, days=400), workspace / "files")), NOW)
    return sum(part.rows for part in lake.parts("touches"))


def answer(workspace: Path, engine: str) -> None:
    """Score a company and make its journeys, twice, since the first time compiles; print a hash of what was said."""
    lake, goal, as_of = Lake(workspace / "lake"), SETTINGS.goal, microseconds(NOW)

    def scored() -> batch.Scored:
        if engine == ENGINES[0]:
            return batch.scored(*batch.champion_and_history(workspace, lake), goal, as_of, outlook=False)
        from serving.spark import scored as by_spark

        return by_spark(workspace / "models", lake, goal, as_of, PART, outlook=False)

    def journeys() -> list[object]:
        if engine == ENGINES[0]:
            seen, _ = journeys_in(lake, SETTINGS, NOW)
        else:
            from attribution.spark import journeys_in as by_spark

            seen, _ = by_spark(lake, SETTINGS, NOW, PART)
        leads = [] if seen.lead_id is None else seen.lead_id.tolist()
        return [seen.channel.tolist(), seen.start.tolist(), seen.value_cents.tolist(), leads]

    for _ in range(2):
        scores = timed(f"{engine}, scores", scored).scores
        paths = timed(f"{engine}, journeys", journeys)
    said = f"{scores.to_json()}{json.dumps(paths)}"
    print(len(scores), hashlib.sha256(said.encode()).hexdigest())


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
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--leads", type=int, default=20_000)
    asked.add_argument("worker", nargs="*", help="a folder and an engine, as the benchmark calls itself")
    words = asked.parse_args()
    if words.worker:
        measure(Lake(Path(words.worker[0]) / "lake"), words.worker[1])
        answer(Path(words.worker[0]) / "company", words.worker[1])
    else:
        main(words.leads)
