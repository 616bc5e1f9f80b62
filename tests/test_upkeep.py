"""Upkeep: the lake stays ordered and small, and nobody who reads it notices."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tables import claim, merge, moment, stage, table, touch, version
from test_history import same

from features import ordered, upkeep
from features.contract import TABLES
from features.errors import DiskError
from features.history import History, history_of
from features.ingestion import ingest
from features.lake import WRITERS_SPILL, Lake
from features.ordered import Leads, Part
from features.reading import history_chunks, read_history
from features.settings import Keeping, Settings
from features.upkeep import due, keep_up

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ORDER = [(column, "ascending") for column in TABLES["touches"].order]
KEEP = Keeping()
COLUMNS = ["event_id", "lead_id", "occurred_at", "received_at", "kind", "channel"]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@contextmanager
def tiny_files() -> Iterator[None]:
    """Make files of three rows, in groups of two, and merge every second run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordered, "FILE_ROWS", 3)
        patch.setattr(ordered, "ROW_GROUP", 2)
        patch.setattr(upkeep, "ROWS", 0)
        patch.setattr(upkeep, "RUNS", 0)
        yield


@pytest.fixture
def tiny() -> Iterator[None]:
    with tiny_files():
        yield


def run(*rows: dict[str, Any]) -> pa.Table:
    return table("touches", rows).sort_by(ORDER)


def merged(lake: Lake, name: str = "touches") -> None:
    """Merge a table's runs now."""
    upkeep._merge(lake, name, lake.parts(name))  # noqa: SLF001  # what is due is claimed elsewhere


# Ordered files

LEAD = st.sampled_from(["ada", "bob", "cy", "dan", "größe", "z\U0001f600", None])
TOUCH = st.builds(touch, LEAD, st.sampled_from([0, 1, 1, 2, 3.5]), st.sampled_from(["visit", "click"]))
RUNS = st.lists(st.lists(TOUCH, max_size=12, unique_by=repr), max_size=4)


@settings(max_examples=25, deadline=None)
@given(
    runs=RUNS,
    ids=st.lists(st.sampled_from(["ada", "bob", "dan", "nobody"]), unique=True),
    in_disorder=st.booleans(),
)
@tiny_files()
def test_rows_of_any_runs_are_read_in_order_and_those_of_some_leads_are_theirs(
    runs: list[list[dict[str, Any]]], ids: list[str], in_disorder: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lake = Lake(tmp_path_factory.mktemp("runs") / "lake")
    for rows in runs:
        lake.append("touches", table("touches", rows) if in_disorder else run(*rows))
    everything = pa.concat_tables([table("touches", []), *(run(*rows) for rows in runs)]).sort_by(ORDER).select(COLUMNS)
    assert plain(lake.read("touches", COLUMNS)) == everything.to_pylist()
    some = [row for row in everything.to_pylist() if row["lead_id"] in ids]
    assert plain(lake.read("touches", COLUMNS, Leads(ids=tuple(sorted(ids))))) == some
    span = [row for row in everything.to_pylist() if row["lead_id"] and "b" <= row["lead_id"] < "dan"]
    assert plain(lake.read("touches", COLUMNS, Leads("b", "dan"))) == span


def test_touches_of_one_moment_are_in_the_order_of_their_ids_whichever_run_they_came_in(lake: Lake) -> None:
    first, second = sorted((touch("ada", 1, "visit"), touch("ada", 1, "click")), key=repr)
    lake.append("touches", run(second))
    lake.append("touches", run(first))
    one_way = lake.read("touches", COLUMNS[1:])["kind"].to_pylist()
    other = Lake(lake.folder.parent / "other")
    other.append("touches", run(first))
    other.append("touches", run(second))
    assert one_way == other.read("touches", COLUMNS[1:])["kind"].to_pylist() == [first["kind"], second["kind"]]


def plain(rows: pa.Table) -> list[dict[str, Any]]:
    return rows.to_pylist()


@pytest.mark.usefixtures("tiny")
def test_files_of_a_run_are_cut_between_leads_and_hold_a_range_of_leads_each(lake: Lake) -> None:
    counts = {"ada": 5, "bob": 1, "cy": 2, "dan": 3, None: 3}
    lake.append("touches", run(*(touch(lead, day) for lead, days in counts.items() for day in range(days))))
    parts = sorted(lake.parts("touches"), key=lambda part: part.low or "z")
    assert [(part.rows, part.low, part.high) for part in parts] == [
        (5, "ada", "ada"), (3, "bob", "cy"), (4, "dan", "dan"), (2, None, None),
    ]  # fmt: skip
    assert len({part.run for part in parts}) == 1


def test_one_lead_is_found_by_reading_one_row_group(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered, "ROW_GROUP", 10)
    lake.append("touches", run(*(touch(f"l{i:03}", day) for i in range(50) for day in range(4))))
    read: list[list[int]] = []
    groups = pq.ParquetFile.read_row_groups
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_groups", lambda self, g, *a, **k: read.append(g) or groups(self, g, *a, **k)
    )
    assert len(lake.read("touches", COLUMNS, Leads(ids=("l025",)))) == 4
    assert read == [[10]]


def test_a_lead_whose_id_is_too_long_for_statistics_is_found(lake: Lake) -> None:
    long = "x" * 10_000
    lake.append("touches", run(touch(long, 1), touch("ada", 1)))
    assert len(lake.read("touches", COLUMNS, Leads(ids=(long,)))) == 1


# What is merged, and when


def parts(*rows: int) -> list[Part]:
    return [Part(Path(f"run-{i}-0000.parquet"), n, "a", "b") for i, n in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "merged_now"),
    [
        ((), ()),
        ((5_000_000,), ()),
        ((1_000, 1_000), ()),
        ((1_000,) * 8, ()),
        ((1_000,) * 9, (1_000,) * 9),
        ((300_000, 300_000), (300_000, 300_000)),
        ((20_000_000, 300_000), ()),
        ((20_000_000, 300_000, 300_000), (300_000, 300_000)),
        ((20_000_000, *(10_000,) * 9), (10_000,) * 9),
        ((1_000_000, 260_000), (1_000_000, 260_000)),
        ((1_000_000, 250_000), ()),
    ],
)
def test_a_run_is_merged_with_all_smaller_ones_once_they_are_many_and_it_is_not_four_times_as_large(
    rows: tuple[int, ...], merged_now: tuple[int, ...]
) -> None:
    assert tuple(part.rows for part in due(parts(*rows))) == merged_now


def test_a_row_is_rewritten_seldom_however_small_the_files_are() -> None:
    runs, written = list[int](), 0
    for _ in range(2_000):
        runs.append(10_000)
        together = [part.rows for part in due(parts(*runs))]
        for rows in together:
            runs.remove(rows)
        if together:
            runs.append(sum(together))
            written += sum(together)
    assert len(runs) <= 20
    assert written / 20_000_000 < 12


def test_an_ingest_merges_the_runs_that_are_due(lake: Lake, tmp_path: Path) -> None:
    for file in range(9):
        rows = "".join(f"e{file}-{i},l{i},2026-01-01T00:00:00Z,v,c\n" for i in range(5))
        (tmp_path / "touches.csv").write_text("event_id,lead_id,occurred_at,kind,channel\n" + rows)
        ingest(lake, Settings(), [tmp_path / "touches.csv"], NOW)
        assert len(lake.parts("touches")) == (file + 1 if file < 8 else 1)
    assert lake.query("SELECT count(DISTINCT event_id) AS n FROM touches").to_pylist() == [{"n": 45}]


VERSIONS = [
    version("ada", 0, {"country": "DE"}),
    version("ada", 3, {"country": "FR"}),
    version("bob", 1),
    version("cy", 2),
]
TOUCHES = [
    touch(lead, day, kind, received=day + late)
    for lead in ("ada", "bob", "cy", None)
    for day, kind, late in ((1, "visit", 0), (1, "click", 4), (2, "visit", 0))
]
STAGES = [stage("bob", 1, "new"), stage("bob", 3, "won"), stage("ada", 2, "new")]


def filled(lake: Lake) -> Lake:
    """Store every row in a run of its own."""
    for name, rows in (("leads", VERSIONS), ("touches", TOUCHES), ("stages", STAGES)):
        for row in rows:
            lake.append(name, table(name, [row]))
    return lake


@pytest.mark.usefixtures("tiny")
def test_a_merge_changes_no_answer(lake: Lake) -> None:
    filled(lake)
    before = {name: lake.query(f"FROM {name} ORDER BY ALL") for name in ("leads", "touches", "stages")}
    history, ada = read_history(lake), read_history(lake, ["ada"])
    for name in before:
        keep_up(lake, name, KEEP, NOW)
        assert len({part.run for part in lake.parts(name)}) == 1
        ranges = sorted((part.low, part.high) for part in lake.parts(name) if part.low)
        assert all(one[1] < two[0] for one, two in pairwise(ranges))
    assert {name: lake.query(f"FROM {name} ORDER BY ALL") for name in before} == before
    assert same(read_history(lake), history)
    assert same(read_history(lake, ["ada"]), ada)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_chunks_are_the_whole_history_and_split_no_lead(lake: Lake, rows: int) -> None:
    filled(lake)
    merged(lake)
    chunks = list(history_chunks(lake, rows))
    assert [lead for chunk in chunks for lead in chunk.lead_ids] == ["ada", "bob", "cy"]
    assert all(same(chunk, read_history(lake, chunk.lead_ids)) for chunk in chunks)
    assert len(chunks) == (1 if rows == 100 else 3 if rows < 5 else 2)


WHO, DEVICE, DAY = st.sampled_from(["ada", "bob", "cy", "dan"]), st.sampled_from(["x", "y"]), st.integers(0, 6)
PEOPLES = st.lists(
    st.builds(
        lambda lead, day, late, kind, device: touch(lead, day, kind, received=day + late, anonymous=device),
        st.none() | WHO, DAY, st.integers(0, 2), st.sampled_from(["visit", "click"]), st.none() | DEVICE,
    ), max_size=12,
)  # fmt: skip
CLAIMS = st.lists(st.builds(merge, WHO, WHO, DAY) | st.builds(claim, DEVICE, WHO, DAY), max_size=4)


def known_alike(one: History, other: History) -> bool:
    """Say whether two histories hold the same, and the same of who turned out to be whom."""
    pairs = [(one.since, other.since), (one.until, other.until)]
    pairs += [(getattr(one.heirs, name), getattr(other.heirs, name)) for name in ("of", "heir", "since", "until")]
    return same(one, other) and all(sorted(mine) == sorted(theirs) for mine, theirs in pairs)


@settings(max_examples=25, deadline=None)
@given(touches=PEOPLES, claims=CLAIMS, cut=st.integers(0, 12), rows=st.sampled_from([1, 3, 100]))
@tiny_files()
def test_people_are_read_from_the_lake_as_from_whole_tables_and_come_whole_in_chunks(
    touches: list[dict[str, Any]],
    claims: list[dict[str, Any]],
    cut: int,
    rows: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    lake = Lake(tmp_path_factory.mktemp("people") / "lake")
    versions = [version(lead, day) for lead in ("ada", "bob", "cy", "dan") for day in (0, 3)]
    tables = {"leads": versions, "touches": touches, "stages": STAGES, "identities": claims}
    for name, told in tables.items():
        for some in (told[:cut], told[cut:]):
            lake.append(name, table(name, some))
    whole = history_of(*(table(name, told) for name, told in tables.items()))
    assert known_alike(read_history(lake), whole)
    chunks = list(history_chunks(lake, rows))
    assert sorted(lead for chunk in chunks for lead in chunk.lead_ids) == list(whole.lead_ids)
    assert all(known_alike(chunk, read_history(lake, chunk.lead_ids)) for chunk in chunks)
    for chunk in chunks:
        alone = [read_history(lake, [lead]) for lead in chunk.lead_ids]
        assert all(set(one.lead_ids) <= set(chunk.lead_ids) for one in alone)


@pytest.mark.usefixtures("tiny")
def test_records_that_were_merged_come_in_the_chunk_of_the_first_of_them(lake: Lake) -> None:
    filled(lake)
    merged(lake)
    lake.append("identities", table("identities", [merge("cy", "ada", 3)]))
    assert [chunk.lead_ids for chunk in history_chunks(lake, 1)] == [("ada", "cy"), ("bob",)]


def test_chunks_are_of_one_version_whatever_is_ingested_meanwhile(lake: Lake) -> None:
    filled(lake)
    chunks = history_chunks(lake, 1)
    first = next(chunks)
    lake.append("touches", run(*(touch(lead, 9) for lead in ("ada", "bob", "cy"))))
    merged(lake)
    assert [len(chunk.touches.occurred) for chunk in (first, *chunks)] == [3, 3, 3]


ARRIVALS = [
    (event, lead, day, kind)
    for event, lead, day, kind in (
        ("e1", "ada", 1, "visit"), ("e2", "ada", 1, "click"), ("e3", "bob", 2, "visit"), ("e4", "cy", 3, ""),
        ("e5", "", 3, "visit"), ("", "bob", 4, "open"),
    )
]  # fmt: skip


@settings(max_examples=6, deadline=None, phases=[Phase.generate])  # to shrink an example would take minutes
@given(
    files=st.lists(st.lists(st.sampled_from(ARRIVALS), min_size=1), min_size=1, max_size=4),
    order=st.permutations(ARRIVALS),
)
@tiny_files()
def test_any_order_any_split_and_any_repetition_of_rows_give_the_same_tables(
    files: list[list[tuple[str, str, int, str]]],
    order: list[tuple[str, str, int, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("arrivals")
    one, many = Lake(folder / "one"), Lake(folder / "many")
    arrive(one, folder, ARRIVALS)
    for rows in (*files, order):
        arrive(many, folder, rows)
    for name in ("touches", "quarantine"):
        everything = f"SELECT * FROM {name} ORDER BY ALL"
        assert many.query(everything).equals(one.query(everything))
    assert len(one.query("FROM touches")) == 4


def arrive(lake: Lake, folder: Path, rows: list[tuple[str, str, int, str]]) -> None:
    lines = (f"{event},{lead},2026-01-0{day}T00:00:00Z,{kind},Email\n" for event, lead, day, kind in rows)
    (folder / "touches.csv").write_text("event_id,lead_id,occurred_at,kind,channel\n" + "".join(lines))
    ingest(lake, Settings(), [folder / "touches.csv"], NOW)


@settings(max_examples=12, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8), day=st.integers(-1, 10))
def test_what_is_known_at_a_moment_holds_nothing_received_later(
    rows: list[tuple[int, int]], day: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lake, then = (Lake(tmp_path_factory.mktemp("known") / "lake") for _ in range(2))
    touches = [touch("ada", occurred, received=received) for occurred, received in dict.fromkeys(rows)]
    for kept, some in (
        (lake, touches),
        (then, [row for row in touches if max(row["occurred_at"], row["received_at"]) < moment(day)]),
    ):
        kept.append("leads", table("leads", [version("ada", 0)]))
        for row in some:
            kept.append("touches", table("touches", [row]))
    seen, expected = read_history(lake).touches, read_history(then).touches
    known = seen.known < int(moment(day).timestamp() * 1e6)
    assert seen.occurred[known].tolist() == expected.occurred.tolist()


# What is forgotten


def test_touches_older_than_wanted_are_forgotten_many_at_once(lake: Lake) -> None:
    lake.append("touches", run(*(touch("ada", day) for day in (0, 1, 5, 50))))
    keeping = Keeping(keep_touches_days=100)
    keep_up(lake, "touches", keeping, moment(104))
    assert len(lake.query("FROM touches")) == 4  # the oldest are late by less than a twentieth
    keep_up(lake, "touches", keeping, moment(105.5))
    assert [row["occurred_at"] for row in lake.query("FROM touches ORDER BY ALL").to_pylist()] == [moment(50)]
    keep_up(lake, "touches", keeping, moment(1_000))
    assert (lake.query("FROM touches").num_rows, lake.parts("touches")) == (0, [])


def test_touches_are_kept_when_nothing_else_is_wanted(lake: Lake) -> None:
    lake.append("touches", run(touch("ada", -30_000)))
    keep_up(lake, "touches", KEEP, NOW)
    assert lake.query("FROM touches").num_rows == 1


def files(lake: Lake) -> int:
    return len(list((lake.folder / "touches").glob("*.parquet")))


def age(lake: Lake, days: float) -> None:
    """Make everything in the lake's log and folder look so many days older."""
    for path in (lake.folder / "touches").glob("*.parquet"):
        os.utime(path, (path.stat().st_mtime - days * 86_400,) * 2)


def test_replaced_files_stay_for_time_travel_and_are_removed_when_no_kept_version_needs_them(lake: Lake) -> None:
    lake.append("touches", run(touch("ada", 1)))
    lake.append("touches", run(touch("bob", 1)))
    age(lake, 31)
    then = lake.versions()
    merged(lake)
    keep_up(lake, "touches", KEEP, NOW)
    assert files(lake) == 3
    assert Lake(lake.folder, then).query("FROM touches").num_rows == 2


def test_files_that_a_killed_writer_left_are_removed_after_a_while(lake: Lake) -> None:
    lake.append("touches", run(touch("ada", 1)))
    shutil.copy(lake.parts("touches")[0].path, lake.folder / "touches" / "run-killed-0000.parquet")
    keep_up(lake, "touches", KEEP, NOW)
    assert files(lake) == 2
    age(lake, 31)
    keep_up(lake, "touches", KEEP, NOW)
    assert (files(lake), lake.query("FROM touches").num_rows) == (1, 1)


def test_what_a_killed_writer_spilled_is_removed_by_the_next(lake: Lake) -> None:
    (lake.folder / WRITERS_SPILL).mkdir(parents=True)
    with lake.writing():
        assert not (lake.folder / WRITERS_SPILL).exists()


def test_upkeep_with_nothing_to_do_makes_no_version(lake: Lake) -> None:
    lake.append("touches", run(touch("ada", 1)))
    before = lake.versions()
    keep_up(lake, "touches", KEEP, NOW)
    assert lake.versions() == before


def test_a_reader_goes_on_while_its_files_are_merged(lake: Lake) -> None:
    filled(lake)
    with lake.connection(["touches"]) as connection:
        rows = connection.sql("FROM touches").to_arrow_reader(1)
        first = rows.read_next_batch()
        merged(lake)
        keep_up(lake, "touches", KEEP, NOW)
        assert first.num_rows + sum(batch.num_rows for batch in rows) == len(TOUCHES)
        assert connection.sql("SELECT count(*) FROM touches").fetchall() == [(len(TOUCHES),)]


# A full disk

FULL = r"The disk of .*lake is full. What was stored before is intact; .* Make room, then give the command again."


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "x"), duckdb.IOException("Could not write: No space left on device")]
)
def test_a_write_that_finds_the_disk_full_is_one_sentence_and_the_lake_is_as_before(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    arrive(lake, tmp_path, ARRIVALS[:2])

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(ordered, "_added", fails)
    with pytest.raises(DiskError, match=FULL):
        arrive(lake, tmp_path, ARRIVALS)
    monkeypatch.undo()
    assert lake.query("FROM touches").num_rows == 2
    arrive(lake, tmp_path, ARRIVALS)
    assert lake.query("FROM touches").num_rows == 4


ON_A_FULL_DISK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import random
from features.errors import DiskError
from features.ingestion import ingest
from features.lake import WRITERS_SPILL, Lake
from features.settings import Settings
from test_upkeep import ARRIVALS, NOW, arrive

folder = Path(sys.argv[2])
lake = Lake(folder / "lake")
arrive(lake, Path(sys.argv[3]), ARRIVALS)
noise = random.Random(0)
big = [(str(noise.random()), f"l{i}{noise.random()}", 1, "visit") for i in range(60_000)]
try:
    arrive(lake, Path(sys.argv[3]), big)
except DiskError as error:
    print(error)
print(lake.query("FROM touches").num_rows)
arrive(lake, Path(sys.argv[3]), ARRIVALS[:3])
"""


def test_a_disk_that_is_really_full_is_one_sentence_and_the_lake_is_as_before(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    alone = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=2m none "$1" && shift && exec "$@"',
    ]
    if subprocess.run([*alone, "sh", disk, "true"], check=False, capture_output=True).returncode:
        pytest.skip("This computer lets nobody but its administrator mount a small disk.")
    code = [sys.executable, "-c", ON_A_FULL_DISK, str(Path(__file__).parent), str(disk), str(tmp_path)]
    done = subprocess.run([*alone, "sh", disk, *code], check=False, capture_output=True, text=True)
    sentence = (
        f"The disk of {disk}/lake is full. What was stored before is intact; "
        "what was being written is not in. Make room, then give the command again."
    )
    assert done.stdout.splitlines() == [
        sentence,
        "4",
    ], done.stderr
    assert done.returncode == 0
