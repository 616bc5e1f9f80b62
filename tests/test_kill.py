"""Killing an ingest: whenever it dies, the lake holds whole rows once, and a second run completes it."""

from __future__ import annotations

import multiprocessing
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pyarrow as pa
import pytest

from features.contract import INGESTED
from features.ingestion import ingest
from features.lake import Lake
from features.settings import Settings

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TABLES = (*INGESTED, "quarantine")
KILLS = 8
LEADS = 200


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return files of 200 leads, each with a stage and ten touches of which one is broken."""
    folder = tmp_path_factory.mktemp("files")
    lines = {
        "leads": ["lead_id,created_at", *(f"l{i},2026-01-01T00:00:00Z" for i in range(LEADS))],
        "touches": [
            "event_id,lead_id,occurred_at,kind,channel",
            *(
                f"e{i}-{j},l{i},2026-01-02T00:00:0{j}Z,{'visit' if j else ''},Email"
                for i in range(LEADS)
                for j in range(10)
            ),
        ],
        "stages": ["lead_id,stage,occurred_at", *(f"l{i},new,2026-01-01T00:00:00Z" for i in range(LEADS))],
    }
    for name, table in lines.items():
        (folder / f"{name}.csv").write_text("\n".join(table))
    return [folder / f"{name}.csv" for name in lines]


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
    with lake.connection() as connection:
        return {table: connection.sql(f"FROM {table} ORDER BY ALL").to_arrow_table() for table in TABLES}


def ingest_when_told(folder: Path, files: list[Path], pipe: Connection) -> None:
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
def duration(processes: ForkServerContext, files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> float:
    """Return the seconds of an ingest that nobody kills."""
    process, pipe = started(processes, tmp_path_factory.mktemp("timed") / "lake", files)
    start = time.monotonic()
    pipe.send("go")
    assert pipe.recv() == LEADS * 11
    process.join()
    return time.monotonic() - start


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_ingest_leaves_whole_rows_once_and_a_second_run_completes_them(
    kill: int,
    processes: ForkServerContext,
    duration: float,
    files: list[Path],
    undisturbed: dict[str, pa.Table],
    tmp_path: Path,
) -> None:
    process, pipe = started(processes, tmp_path / "lake", files)
    pipe.send("go")
    time.sleep(duration * kill / KILLS)
    process.kill()
    process.join()
    pipe.close()
    lake = Lake(tmp_path / "lake")
    for table, stored in contents(lake).items():
        assert len(stored) in {0, len(undisturbed[table])}
        assert stored.equals(undisturbed[table].slice(0, len(stored)))
    ingest(lake, Settings(), files, NOW)
    assert contents(lake) == undisturbed


class Killed(BaseException):
    """Nothing may catch it, as nothing can catch a kill."""


@pytest.mark.parametrize("commit", ["leads", "touches", "quarantine", "stages"])
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
    order = ("leads", "touches", "quarantine", "stages")
    before = order[: order.index(commit)]
    assert {table: len(stored) for table, stored in contents(lake).items()} == {
        table: len(undisturbed[table]) * (table in before) for table in TABLES
    }
    ingest(lake, Settings(), files, NOW)
    assert contents(lake) == undisturbed


def test_two_processes_that_ingest_one_file_at_once_store_each_row_once(
    processes: ForkServerContext, files: list[Path], undisturbed: dict[str, pa.Table], tmp_path: Path
) -> None:
    both = [started(processes, tmp_path / "lake", files) for _ in range(2)]
    for _, pipe in both:
        pipe.send("go")
    assert sum(pipe.recv() for _, pipe in both) == LEADS * 11
    for process, _ in both:
        process.join()
    assert contents(Lake(tmp_path / "lake")) == undisturbed
