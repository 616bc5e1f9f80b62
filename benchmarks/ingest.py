"""The cost of ingesting 20 million touches in one Parquet file, beside DuckDB sorting the same file, in one run.

500,000 leads; the file is in the order of time, as an export is. CPU seconds and peak memory are those of a
process of its own for each. The bars: 4 times the CPU of DuckDB under the same memory limit, and 2 GiB.
After that: the file once more, a day's file on top, one lead's history, and all of it in chunks.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # not this folder, whose features.py is no package

BAR_CPU, BAR_GIB, BAR_MS = 4.0, 2.0, 20
TOUCHES, LEADS, DAY_TOUCHES = 20_000_000, 500_000, 50_000
NOW = datetime(2026, 2, 1, tzinfo=UTC)
DAY = 86_400_000_000  # microseconds
KINDS = "page_view email_open email_click form_submit webinar demo_request ad_click download call chat visit meeting"
CHANNELS = ("Email", "Paid Search", "Organic Search", "Direct", "Referral", "Paid Social", "Display", "Events")
T = TypeVar("T")


def main() -> None:
    """Print the figures, the ratio and whether the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--touches", type=int, default=TOUCHES)
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.step:
        print(json.dumps(STEPS[asked.step](asked.folder, asked.touches)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = {step: run(step, Path(folder), asked.touches) for step in STEPS}
    roomy, tight, ours = found["sort in all memory"], found["sort"], found["ingest"]
    for step in ("sort in all memory", "sort", "ingest", "ingest again", "ingest a day"):
        print(f"{step:20} {found[step]['cpu']:7.1f} CPU s {found[step]['gib']:6.2f} GiB")
    read = found["read"]
    print(f"{'read in chunks':20} {read['chunks_cpu']:7.1f} CPU s {read['gib']:6.2f} GiB   {read['touches']:,} touches")
    milliseconds = f"{read['one_ms']:7.1f} ms (median; slowest {read['worst_ms']:.1f}; CPU {read['one_cpu_ms']:.1f})"
    print(f"{'read one lead':20} {milliseconds}")
    ratio = ours["cpu"] / tight["cpu"]
    print(f"ingest ÷ sort        {ratio:7.2f} (bar {BAR_CPU})          {verdict(ratio <= BAR_CPU)}")
    print(f"ingest ÷ sort in all memory {ours['cpu'] / roomy['cpu']:.2f} (no bar)")
    print(f"peak of ingest       {ours['gib']:7.2f} GiB (bar {BAR_GIB})      {verdict(ours['gib'] <= BAR_GIB)}")
    print(f"one lead             {read['one_ms']:7.1f} ms (bar {BAR_MS})        {verdict(read['one_ms'] <= BAR_MS)}")


def verdict(met: bool) -> str:
    """Say whether a bar is met."""
    return "MET" if met else "MISSED"


def run(step: str, folder: Path, touches: int) -> dict[str, float]:
    """Return what a step measured, in a process of its own."""
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder), "--touches", str(touches)]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))  # noqa: S603


def measured(work: Callable[[], T]) -> tuple[dict[str, float], T]:
    """Return the CPU seconds of some work, the peak memory of this process so far, and the work's result."""
    before, result = cpu(), None
    result = work()
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"cpu": cpu() - before, "gib": int(peak.split()[1]) / 2**20}, result


def cpu() -> float:
    """Return the CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def write(folder: Path, touches: int) -> dict[str, float]:
    """Write a year's touches, and those of the day after it."""
    random = np.random.default_rng(0)
    leads = LEADS * touches // TOUCHES
    eager = random.gamma(0.5, size=leads)
    start = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    (folder / "day").mkdir()
    write_touches(random, eager, folder / "touches.parquet", touches, start, 365 * DAY)
    write_touches(random, eager, folder / "day" / "touches.parquet", DAY_TOUCHES, start + 365 * DAY, DAY)
    ids = pa.array([f"L-{i:07}" for i in range(leads)])
    created = pa.array(np.full(leads, start)).cast(pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"lead_id": ids, "created_at": created}), folder / "leads.parquet")
    return {}


def write_touches(
    random: np.random.Generator, eager: np.ndarray, file: Path, touches: int, start: int, span: int
) -> None:
    """Write touches of leads in the order of time; a lead is the likelier the more eager it is."""
    lead = random.choice(len(eager), touches, p=eager / eager.sum())
    occurred = start + np.sort(random.integers(0, span, touches))
    late = np.where(random.random(touches) < 0.95, 60_000_000, 3 * DAY) * random.random(touches)
    kinds, channels, moments = np.array(KINDS.split()), np.array(CHANNELS), pa.timestamp("us", tz="UTC")
    writer = None
    for rows in np.array_split(np.arange(touches), max(touches // 500_000, 1)):
        ids = random.bytes(16 * len(rows)).hex()
        pages, seconds = random.integers(0, 400, len(rows)), random.integers(1, 600, len(rows))
        table = pa.table(
            {
                "lead_id": [f"L-{i:07}" for i in lead[rows].tolist()],
                "event_id": [uuid(ids[i : i + 32]) for i in range(0, len(ids), 32)],
                "occurred_at": pa.array(occurred[rows]).cast(moments),
                "received_at": pa.array((occurred + late)[rows].astype(np.int64)).cast(moments),
                "kind": kinds[random.integers(0, len(kinds), len(rows))],
                "channel": channels[random.integers(0, len(channels), len(rows))],
                "properties": [f'{{"page":"/p/{p}","seconds":{s}}}' for p, s in zip(pages, seconds, strict=True)],
            }
        )
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


def uuid(letters: str) -> str:
    """Return 32 hexadecimal letters as a UUID is written."""
    return "-".join((letters[:8], letters[8:12], letters[12:16], letters[16:20], letters[20:]))


def sort(folder: Path, limit: str | None) -> dict[str, float]:
    """Let DuckDB write the file again, in the order of the lake."""
    import duckdb

    connection = duckdb.connect(config={"temp_directory": str(folder / "spill")})
    connection.execute("SET enable_progress_bar = false")
    if limit:
        connection.execute(f"SET memory_limit = '{limit}'")
    target = folder / "sorted.parquet"
    sql = f"COPY (FROM '{folder / 'touches.parquet'}' ORDER BY lead_id, occurred_at, event_id) TO '{target}'"
    spent, _ = measured(lambda: connection.execute(sql))
    target.unlink()
    return spent


def sort_tight(folder: Path, _touches: int) -> dict[str, float]:
    """Sort under the memory limit that the lake has."""
    from features.database import MEMORY_LIMIT

    return sort(folder, MEMORY_LIMIT)


def ingest(folder: Path, file: str, stored: int) -> dict[str, float]:
    """Ingest a file of which so many rows are new."""
    from features.ingestion import ingest as ingest_files
    from features.lake import Lake
    from features.settings import Settings

    lake = Lake(folder / "lake")
    spent, (result,) = measured(lambda: ingest_files(lake, Settings(), [folder / file], NOW))
    if (result.stored, result.refused) != (stored, 0):
        sys.exit(f"{file}: {result} where {stored} rows should have been stored.")
    return spent


def read(folder: Path, touches: int) -> dict[str, float]:
    """Read single leads, and all leads in chunks."""
    from features.lake import Lake
    from features.reading import history_chunks, read_history

    lake = Lake(folder / "lake")
    ingest(folder, "leads.parquet", LEADS * touches // TOUCHES)
    leads = [f"L-{i:07}" for i in np.random.default_rng(1).integers(0, LEADS * touches // TOUCHES, 20)]
    read_history(lake, leads[:1])
    taken, spent_ms = [], []
    for lead in leads:
        before, cpu_before = time.perf_counter(), cpu()
        read_history(lake, [lead])
        taken.append((time.perf_counter() - before) * 1000)
        spent_ms.append((cpu() - cpu_before) * 1000)
    spent, sizes = measured(lambda: [len(chunk.touches.occurred) for chunk in history_chunks(lake)])
    found = {"one_ms": float(np.median(taken)), "worst_ms": max(taken), "chunks_cpu": spent["cpu"]}
    found["one_cpu_ms"] = float(np.median(spent_ms))
    return found | {"gib": spent["gib"], "touches": sum(sizes)}


STEPS: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "write": write,
    "sort in all memory": lambda folder, _: sort(folder, None),
    "sort": sort_tight,
    "ingest": lambda folder, touches: ingest(folder, "touches.parquet", touches),
    "ingest again": lambda folder, _: ingest(folder, "touches.parquet", 0),
    "ingest a day": lambda folder, _: ingest(folder, "day/touches.parquet", DAY_TOUCHES),
    "read": read,
}

if __name__ == "__main__":
    main()
