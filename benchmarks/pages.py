"""How soon a page is there: every page of a company with 200,000 leads and some five million touches, warm.

The company is fifty times one of 4,000 leads, each time with people of its own.

    python benchmarks/pages.py [FOLDER]

FOLDER keeps the company for another run. The bars: 300 ms at the median, none over 1 s.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pyarrow.compute as pc

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # not this folder, whose features.py is no package

from attribution import runs  # noqa: E402
from features.history import microseconds  # noqa: E402
from features.ingestion import files_in, ingest  # noqa: E402
from features.lake import Lake  # noqa: E402
from features.reading import read_history  # noqa: E402
from features.settings import Settings  # noqa: E402
from features.verbs import columns_of  # noqa: E402
from serving import batch, ledger  # noqa: E402
from serving.running import running  # noqa: E402
from serving.scorer import champion  # noqa: E402
from simulation.company import Company  # noqa: E402
from simulation.files import write  # noqa: E402
from training.train import train  # noqa: E402

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
LEADS, DAYS, COPIES = 200_000, 540, 50
COUNTS = """
    SELECT (SELECT count(DISTINCT lead_id) FROM leads) AS leads, (SELECT count(*) FROM touches) AS touches,
           (SELECT count(*) FROM scores) AS scores
"""
NAMES = ("lead_id", "account_id", "anonymous_id", "duplicate_id", "event_id", "row_hash")
TIMES, MEDIAN_SECONDS, MOST_SECONDS = 21, 0.3, 1.0
SETTINGS = Settings.model_validate({"training": {"trees": 60}, "attribution": {"models": [
    "first", "last", "linear", "position_based", "time_decay", "markov:1"]}})  # fmt: skip


def main(folder: Path) -> int:
    """Print what each page takes; 1 if a bar is missed."""
    if not (folder / "lake").exists():
        prepare(folder)
    lake = Lake(folder / "lake")
    (counts,) = lake.query(COUNTS).to_pylist()
    print(f"{counts['leads']:,} leads, {counts['touches']:,} touches, {counts['scores']:,} stored scores")
    missed = 0
    with running(folder, SETTINGS, 0) as url, httpx.Client(base_url=url, trust_env=False, timeout=600) as client:
        begun = time.perf_counter()
        while not client.get("/readyz").json()["worklist"]:
            time.sleep(0.2)
        print(f"the work list is there after {time.perf_counter() - begun:.1f} s")
        begun, spent = time.perf_counter(), cpu_seconds()
        while "One moment" in client.get("/channels").text:
            time.sleep(0.2)
        print(f"the book is there after {time.perf_counter() - begun:.1f} s, {cpu_seconds() - spent:.1f} CPU s")
        lead = client.get("/leads", params={"limit": 1}).json()["leads"][0]["lead_id"]
        print(f"{'page':44}{'median':>9}{'most':>9}{'CPU':>9}  ms")
        for path in pages(lead):
            median, most, spent = taken(client, path)
            is_late = median > MEDIAN_SECONDS or most > MOST_SECONDS
            missed += is_late
            print(f"{path:44}{median * 1e3:9.0f}{most * 1e3:9.0f}{spent * 1e3:9.0f}{'  MISSED' if is_late else ''}")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    return int(missed > 0)


def pages(lead: str) -> list[str]:
    """Return every page, as people open and filter it."""
    return [
        "/my-leads", "/my-leads?search=software&grade=A", "/my-leads?order=amount&offset=500", f"/my-leads/{lead}",
        f"/my-leads/{lead}/moves", "/channels", "/channels?period=all&model=first",
        "/channels?segment=industry%3DSoftware", "/alignment", "/alignment?period=all", "/models",
    ]  # fmt: skip


def taken(client: httpx.Client, path: str) -> tuple[float, float, float]:
    """Return the median and the longest seconds of a page, warm, and the median CPU seconds."""
    seconds, spent = [], []
    for _ in range(TIMES + 1):
        begun, before = time.perf_counter(), cpu_seconds()
        client.get(path).raise_for_status()
        seconds.append(time.perf_counter() - begun)
        spent.append(cpu_seconds() - before)
    return statistics.median(seconds[1:]), max(seconds[1:]), statistics.median(spent[1:])


def prepare(folder: Path) -> None:
    """Make the company: its history, a champion, stored scores and credit; then all of its people again and again."""
    small, lake = folder / "small", Lake(folder / "small" / "lake")
    ingest(lake, SETTINGS, files_in(write(Company(NOW, leads=LEADS // COPIES, days=DAYS), small / "files")), NOW)
    train(lake, SETTINGS, small, NOW)
    scorer = champion(small / "models")
    history = read_history(lake, more=columns_of(scorer.spec.features))
    for weeks in (20, 10, 1, 0):
        then = microseconds(NOW - timedelta(weeks=weeks))
        batch.store(lake, batch.score_open(scorer, history, SETTINGS.goal, then))
    run = runs.attribute(lake, SETTINGS, NOW)
    runs.store(lake, run)
    ledger.keep(folder, run.summary(), NOW.isoformat())
    shutil.copytree(small / "models", folder / "models")
    multiply(lake, Lake(folder / "lake"))


def multiply(small: Lake, large: Lake) -> None:
    """Store every table of a lake again and again, each time with names of its own, in the order of the names."""
    for name in small.versions():
        rows = small.query(f"FROM {name}")
        own = [column for column in NAMES if column in rows.column_names]
        for copy in range(COPIES if own else 1):
            again = rows
            for column in own:
                named = pc.binary_join_element_wise(f"{copy:02}-", rows[column], "")  # nobody stays nobody
                again = again.set_column(rows.column_names.index(column), column, named)
            large.append(name, again)


def cpu_seconds() -> float:
    """Return what this process, which is client and service at once, has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as made:
        sys.exit(main(Path(made)))
