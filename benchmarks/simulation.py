"""The cost of simulating: CPU seconds of the tables of 20,000 leads, and memory of files however many leads there are.

Every figure is of a fresh process; the bars are on CPU seconds with compiled code at hand, and on the ratio of peaks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOW = "2026-03-02T00:00:00+00:00"
LEADS, DAYS = 20_000, 120
SECONDS = 10.0  # CPU, to simulate them, Python's start and imports included
FEW, MANY = 100_000, 1_000_000
GROWTH = 1.25  # of the peak memory, from few leads to many

# What a fresh process does; it prints its last line as JSON. ru_maxrss is of the largest moment so far, in KiB.
MEASURED = """
import json, resource, sys
from datetime import datetime
from pathlib import Path
from simulation.company import Company, tables
from simulation.files import write
leads, days, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
company = Company(datetime.fromisoformat(sys.argv[4]), leads=leads, days=days)
before = resource.getrusage(resource.RUSAGE_SELF)
if folder:
    write(company, Path(folder))
    import pyarrow.parquet as pq
    events = pq.read_metadata(Path(folder) / "touches.parquet").num_rows
else:
    events = len(tables(company)["touches"])
after = resource.getrusage(resource.RUSAGE_SELF)
seconds = after.ru_utime + after.ru_stime
print(json.dumps({
    "events": events, "seconds": seconds, "alone": seconds - before.ru_utime - before.ru_stime,
    "peak_mib": after.ru_maxrss / 1024,
}))
"""


def main() -> None:
    """Print the figures, and end with status 1 if one misses its bar."""
    few, many = (LEADS, FEW) if "--quick" in sys.argv else (FEW, MANY)
    with tempfile.TemporaryDirectory() as folder:
        cold = measured(LEADS, cache=f"{folder}/compiled")
        warm = measured(LEADS, cache=f"{folder}/compiled")
        files = [measured(leads, f"{folder}/compiled", f"{folder}/files") for leads in (few, many)]
    print(
        f"Tables of {LEADS:,} leads over {DAYS} days: {warm['events']:,.0f} touches, peak {warm['peak_mib']:,.0f} MiB"
    )
    print(f"  code compiled before  {warm['seconds']:6.2f} CPU s, {warm['alone']:.2f} of it after imports", end="  ")
    print(f"(bar {SECONDS:.0f})  {verdict(slow := warm['seconds'] > SECONDS)}")
    print(f"  code not yet compiled {cold['seconds']:6.2f} CPU s")
    print(f"Files over {DAYS} days")
    for leads, file in zip((few, many), files, strict=True):
        print(f"  {leads:9,} leads {file['events']:11,.0f} touches {file['seconds']:7.1f} CPU s", end="")
        print(f"  {1e6 * file['seconds'] / file['events']:5.1f} µs a touch  peak {file['peak_mib']:6,.0f} MiB")
    growth = files[1]["peak_mib"] / files[0]["peak_mib"]
    print(f"  memory grows {growth:.2f} times (bar {GROWTH})  {verdict(large := growth > GROWTH)}")
    sys.exit(1 if slow or large else 0)


def measured(leads: int, cache: str, folder: str = "") -> dict[str, float]:
    """Return what a fresh process measures of itself; compiled code is kept in ``cache``."""
    done = subprocess.run(  # noqa: S603  # our own interpreter and our own words
        [sys.executable, "-c", MEASURED, str(leads), str(DAYS), folder, NOW],
        cwd=ROOT,
        env=os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def verdict(missed: bool) -> str:
    """Return the word for a bar."""
    return "MISSED" if missed else "MET"


if __name__ == "__main__":
    main()
