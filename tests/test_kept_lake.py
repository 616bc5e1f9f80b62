"""A lake that is kept open reads its log once a version, sees every newer one, and outlives files that are removed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tables import claim, table, touch, version

from features import ordered
from features.errors import DataError
from features.lake import ATTEMPTS, Lake
from features.reading import read_history
from features.tombstones import forget_versions

ADA, BOB, CY = (table("leads", [version(lead, 0)]) for lead in ("ada", "bob", "cy"))
EVERYONE = ordered.Leads()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.append("leads", ADA)
    return lake


def leads(lake: Lake) -> list[str]:
    return [str(lead) for lead in lake.read("leads", ("lead_id", "observed_at"), EVERYONE)["lead_id"].to_pylist()]


def another(lake: Lake) -> Lake:
    """Return the lake as another process has it."""
    return Lake(lake.folder)


def tables_opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    opened: list[str] = []
    table_of = Lake.table
    monkeypatch.setattr(Lake, "table", lambda self, name: (opened.append(name), table_of(self, name))[1])
    return opened


def test_the_log_of_a_version_is_read_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = tables_opened(monkeypatch)
    assert [leads(lake) for _ in range(3)] == [["ada"]] * 3
    assert opened == ["leads"]


def test_the_footer_of_a_file_is_read_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    metadata_of = ordered.pq.read_metadata
    monkeypatch.setattr(ordered.pq, "read_metadata", lambda path: (read.append(path), metadata_of(path))[1])
    assert [leads(lake) for _ in range(3)] == [["ada"]] * 3
    assert read == [part.path for part in lake.parts("leads")]


def test_what_another_process_commits_is_seen_at_once(lake: Lake) -> None:
    assert leads(lake) == ["ada"]
    another(lake).append("leads", BOB)
    assert leads(lake) == ["ada", "bob"]
    another(lake).append("leads", CY)
    another(lake).replace("leads", another(lake).parts("leads"), BOB)
    assert leads(lake) == ["bob"]


def test_a_version_whose_predecessors_log_is_gone_is_seen(lake: Lake) -> None:
    assert leads(lake) == ["ada"]
    for rows in (BOB, CY):
        another(lake).append("leads", rows)
    forget_versions(another(lake), "leads")
    assert leads(lake) == ["ada", "bob", "cy"]


def test_a_lake_that_was_made_anew_is_seen_though_its_versions_begin_again(lake: Lake) -> None:
    assert leads(lake) == ["ada"]
    shutil.rmtree(lake.folder)
    another(lake).append("leads", BOB)
    of_bob = lake.read("leads", ("lead_id", "observed_at"), ordered.Leads(ids=("bob",)))
    assert of_bob["lead_id"].to_pylist() == ["bob"]


def test_a_lake_of_given_versions_stays_as_it_was_and_says_when_they_are_gone(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = Lake(lake.folder, lake.versions())
    another(lake).append("leads", BOB)
    opened = tables_opened(monkeypatch)
    assert [leads(then), leads(then)] == [["ada"], ["ada"]]
    assert opened == ["leads"]
    forget_versions(another(lake), "leads")
    with pytest.raises(DataError, match=r"^Version 1 of leads is gone, as an erasure or the age of "):
        leads(then)


def removing(lake: Lake, rows: pa.Table, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> list[int]:
    """Let another process remove a table's files, so many times, when they are known and not yet read."""
    left, read = [times], ordered.read

    def late(*asked: Any) -> pa.Table:
        if left[0]:
            left[0] -= 1
            other = another(lake)
            other.replace("leads", other.parts("leads"), rows)
            other.remove_old_files("leads", 0)
        return read(*asked)

    monkeypatch.setattr(ordered, "read", late)
    return left


def test_a_reader_whose_files_are_removed_reads_the_newer_version(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    removing(lake, BOB, monkeypatch)
    assert leads(lake) == ["bob"]
    removing(lake, CY, monkeypatch, times=ATTEMPTS - 1)
    assert read_history(lake).lead_ids == ("cy",)


def test_a_reader_does_not_try_for_ever(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    left = removing(lake, BOB, monkeypatch, times=9)
    with pytest.raises(FileNotFoundError, match=r"\.parquet"):
        leads(lake)
    assert left == [9 - ATTEMPTS]


def test_anonymous_touches_are_found_though_files_are_removed_meanwhile(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    touches = table("touches", [touch(None, 1, anonymous="cookie")])
    lake.append("touches", touches)
    lake.append("identities", table("identities", [claim("cookie", "ada", 2)]))
    connection, done = Lake.connection, []

    def late(self: Lake, *asked: Any) -> Any:
        connected = connection(self, *asked)
        if not done:
            done.append(another(lake))
            done[0].replace("touches", done[0].parts("touches"), touches)
            done[0].remove_old_files("touches", 0)
        return connected

    monkeypatch.setattr(Lake, "connection", late)
    assert len(read_history(lake, ["ada"]).touches.occurred) == 1
    assert len(done) == 1
