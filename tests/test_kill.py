"""Killing an ingest: whenever it dies, the lake holds whole rows once, and a second run completes it."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pyarrow as pa
import pytest

from features import upkeep
from features.ingestion import ingest
from features.lake import Lake
from features.settings import Settings

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TABLES = ("leads", "stages", "quarantine", "touches")  # in the order of their commits
KILLS = 6  # benchmarks/kills.py has fifty, also of compaction alone and of erasure
LEADS = 20


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return files of 20 leads, each with ten stages of which one is broken, and a touch."""
    folder = tmp_path_factory.mktemp("files")
    lines = {
        "leads": ["lead_id,created_at", *(f"l{i},2026-01-01T00:00:00Z" for i in range(LEADS))],
        "stages": [
            "lead_id,stage,occurred_at",
            *(f"l{i},{f's{j}' if j else ''},2026-01-02T00:00:0{j}Z" for i in range(LEADS) for j in range(10)),
        ],
        "touches": [
            "event_id,lead_id,occurred_at,kind,channel",
            *(f"e{i},l{i},2026-01-02T00:00:00Z,visit,Email" for i in range(LEADS)),
        ],
    }
    for name, table in lines.items():
        (folder / f"{name}.csv").write_text("\n".join(table))
    return [folder / f"{name}.csv" for name in lines]


@pytest.fixture(scope="module")
def begun(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lake that holds half of the stages already, so that an ingest of all has runs to merge."""
    folder = tmp_path_factory.mktemp("begun")
    half = files[1].read_text().splitlines()[: 5 * LEADS]
    (folder / "stages.csv").write_text("\n".join(half))
    ingest(Lake(folder / "lake"), Settings(), [folder / "stages.csv"], NOW)
    return folder / "lake"


@pytest.fixture(scope="module")
def before(begun: Path) -> dict[str, pa.Table]:
    return contents(Lake(begun))


@pytest.fixture(scope="module")
def undisturbed(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, pa.Table]:
    lake = Lake(tmp_path_factory.mktemp("undisturbed") / "lake")
    ingest(lake, Settings(), files, NOW)
    return contents(lake)


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Return what starts processes that have imported everything, so that a kill hits the ingest itself."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["features.ingestion"])
    return context


def contents(lake: Lake) -> dict[str, pa.Table]:
    with lake.connection(TABLES) as connection:
        return {table: connection.sql(f"FROM {table} ORDER BY ALL").to_arrow_table() for table in TABLES}


def ingest_when_told(folder: Path, files: list[Path], pipe: Connection) -> None:
    upkeep.RUNS = upkeep.ROWS = 0  # every second run is merged at once
    pipe.send("ready")
    pipe.recv()
    pipe.send(sum(result.stored for result in ingest(Lake(folder), Settings(), files, NOW)))


def started(processes: ForkServerContext, folder: Path, files: list[Path]) -> tuple[ForkServerProcess, Connection]:
    ours, theirs = processes.Pipe()
    process = processes.Process(target=ingest_when_told, args=(folder, files, theirs))
    process.start()
    theirs.close()
    assert ours.recv() == "ready"
    return process, ours


@pytest.fixture(scope="module")
def duration(
    processes: ForkServerContext, begun: Path, files: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> float:
    """Return the seconds of an ingest that nobody kills; without touches, whose many rules take their time."""
    folder = shutil.copytree(begun, tmp_path_factory.mktemp("timed") / "lake")
    process, pipe = started(processes, folder, files[:2])
    start = time.monotonic()
    pipe.send("go")
    pipe.recv()
    process.join()
    assert len({part.run for part in Lake(folder).parts("stages")}) == 1
    return time.monotonic() - start


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_ingest_leaves_whole_commits_and_a_second_run_completes_them(
    kill: int,
    processes: ForkServerContext,
    duration: float,
    begun: Path,
    before: dict[str, pa.Table],
    files: list[Path],
    undisturbed: dict[str, pa.Table],
    tmp_path: Path,
) -> None:
    lake = Lake(shutil.copytree(begun, tmp_path / "lake"))
    process, pipe = started(processes, lake.folder, files[:2])
    pipe.send("go")
    time.sleep(random.Random(kill).uniform(0, duration))  # noqa: S311  # no secret, but the same moments each time
    process.kill()
    process.join()
    pipe.close()
    done = undisturbed | {"touches": undisturbed["touches"].slice(0, 0)}
    for table, stored in contents(lake).items():
        assert any(stored.equals(whole[table]) for whole in (before, done)) or table == "quarantine"
    ingest(lake, Settings(), files[:2], NOW)
    assert contents(lake) == done


class Killed(BaseException):
    """Nothing may catch it, as nothing can catch a kill."""


@pytest.mark.parametrize("commit", TABLES)
def test_an_ingest_that_dies_between_two_commits_keeps_those_before(
    commit: str, files: list[Path], undisturbed: dict[str, pa.Table], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, append = Lake(tmp_path / "lake"), Lake.append

    def dying(self: Lake, name: str, rows: pa.RecordBatchReader) -> None:
        if name == commit:
            raise Killed
        append(self, name, rows)

    monkeypatch.setattr(Lake, "append", dying)
    with pytest.raises(Killed, match=r"^$"):
        ingest(lake, Settings(), files, NOW)
    monkeypatch.undo()
    before = TABLES[: TABLES.index(commit)]
    assert {table: len(stored) for table, stored in contents(lake).items()} == {
        table: len(undisturbed[table]) * (table in before) for table in TABLES
    }
    ingest(lake, Settings(), files, NOW)
    assert contents(lake) == undisturbed


def test_four_processes_that_ingest_one_file_at_once_store_each_row_once(
    processes: ForkServerContext, files: list[Path], undisturbed: dict[str, pa.Table], tmp_path: Path
) -> None:
    four = [started(processes, tmp_path / "lake", files) for _ in range(4)]
    for _, pipe in four:
        pipe.send("go")
    assert sum(pipe.recv() for _, pipe in four) == LEADS * 11
    for process, _ in four:
        process.join()
    assert contents(Lake(tmp_path / "lake")) == undisturbed
