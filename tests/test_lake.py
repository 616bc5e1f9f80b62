"""The lake: appends are whole, versions stay readable, and a query reads nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from tables import moment, table, version

from features.contract import TABLES, schema
from features.errors import ConfigError
from features.lake import Lake

ADA, BOB, CY = (table("leads", [version(lead, 0)]) for lead in ("ada", "bob", "cy"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def leads(lake: Lake) -> list[str]:
    return lake.query("SELECT lead_id FROM leads ORDER BY lead_id")["lead_id"].to_pylist()


def test_every_table_of_an_empty_lake_is_empty(lake: Lake) -> None:
    assert {name: len(lake.query(f"FROM {name}")) for name in TABLES} == dict.fromkeys(TABLES, 0)
    assert lake.versions() == {}


def test_a_tables_columns_and_types_are_those_of_the_contract(lake: Lake) -> None:
    for name in TABLES:
        before = lake.query(f"FROM {name}").schema
        lake.append(name, schema(name).empty_table())
        lake.append(name, pa.Table.from_pylist([{}], schema(name)))
        assert lake.query(f"FROM {name}").schema == before
        assert before.names == schema(name).names


def test_what_is_appended_is_there_as_it_was(lake: Lake) -> None:
    lake.append("leads", ADA)
    lake.append("leads", pa.concat_tables([CY, BOB]).to_reader())
    assert lake.query("FROM leads ORDER BY lead_id").to_pylist() == pa.concat_tables([ADA, BOB, CY]).to_pylist()
    assert lake.query("SELECT created_at FROM leads LIMIT 1").to_pylist() == [{"created_at": moment(0)}]


def test_columns_are_stored_by_name_and_others_are_not_stored(lake: Lake) -> None:
    shuffled = ADA.append_column("extra", pa.array(["x"])).select([*reversed(ADA.schema.names), "extra"])
    lake.append("leads", shuffled)
    assert lake.query("FROM leads").to_pylist() == ADA.to_pylist()


def test_appending_no_rows_changes_no_rows(lake: Lake) -> None:
    lake.append("leads", ADA)
    lake.append("leads", ADA.slice(0, 0))
    lake.append("touches", schema("touches").empty_table())
    assert (leads(lake), len(lake.query("FROM touches"))) == (["ada"], 0)


def test_rows_that_do_not_fit_the_contract_are_not_stored(lake: Lake) -> None:
    lake.append("leads", ADA)
    with pytest.raises(Exception, match="created_at"):
        lake.append("leads", BOB.drop_columns("created_at"))
    assert leads(lake) == ["ada"]


def test_a_lake_of_earlier_versions_shows_what_was_there_then(lake: Lake) -> None:
    seen = []
    for rows in (ADA, BOB, CY):
        lake.append("leads", rows)
        seen.append(lake.versions())
    lake.append("touches", schema("touches").empty_table())
    assert [leads(Lake(lake.folder, versions)) for versions in seen] == [["ada"], ["ada", "bob"], ["ada", "bob", "cy"]]
    assert Lake(lake.folder, seen[0]).versions() == seen[0]
    assert leads(Lake(lake.folder, {})) == []


APPENDER = """
import sys
from pathlib import Path
import pyarrow as pa
from features.contract import schema
from features.lake import Lake

for folder in sys.stdin:
    lake = Lake(Path(folder.strip()))
    for i in range(5):
        row = {"lead_id": f"{sys.argv[1]}-{i}"}
        lake.append("scores", pa.Table.from_pylist([row], schema("scores")))
    print("done", flush=True)
"""


def test_processes_that_append_at_once_lose_nothing_from_the_first_append_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", APPENDER]
    writers = [
        subprocess.Popen([*command, str(writer)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for writer in range(4)
    ]
    folders = [tmp_path / str(lake) for lake in range(8)]
    for folder in folders:
        for writer in writers:
            writer.stdin.write(f"{folder}\n")
            writer.stdin.flush()
        assert [writer.stdout.readline() for writer in writers] == ["done\n"] * 4
    for writer in writers:
        writer.communicate()
    for folder in folders:
        stored = Lake(folder).query("SELECT lead_id FROM scores ORDER BY lead_id")["lead_id"].to_pylist()
        assert stored == [f"{writer}-{i}" for writer in range(4) for i in range(5)]


def test_values_are_bound_and_not_part_of_a_query(lake: Lake) -> None:
    lake.append("leads", ADA)
    count = "SELECT count(*) AS n FROM leads WHERE lead_id = $1"
    assert lake.query(count, ["ada"]).to_pylist() == [{"n": 1}]
    assert lake.query(count, ["' OR true --"]).to_pylist() == [{"n": 0}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM glob('/etc/*')",
        "COPY leads TO '{file}.out'",
        "ATTACH '{file}.db'",
        "SELECT * FROM read_csv('https://example.org/x.csv')",
    ],
)
def test_a_query_cannot_read_or_write_outside_the_lake(lake: Lake, tmp_path: Path, sql: str) -> None:
    file = tmp_path / "secret.csv"
    file.write_text("password\nswordfish\n")
    with lake.connection() as connection, pytest.raises(duckdb.PermissionException, match="disabled by configuration"):
        connection.execute(sql.format(file=file)).fetchall()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["secret.csv"]


def test_a_query_can_read_the_files_it_is_lent(lake: Lake, tmp_path: Path) -> None:
    lent, kept = tmp_path / "lent.csv", tmp_path / "kept.csv"
    for file in (lent, kept):
        file.write_text("word\nhello\n")
    with lake.connection((), [lent]) as connection:
        assert connection.sql(f"FROM read_csv('{lent}')").fetchall() == [("hello",)]
        with pytest.raises(duckdb.PermissionException, match="disabled by configuration"):
            connection.execute(f"FROM read_csv('{kept}')")


@pytest.mark.parametrize(
    "sql",
    [
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET allowed_directories = ['/']",
        "SET TimeZone = 'Europe/Berlin'",
        "RESET enable_external_access",
    ],
)
def test_a_connection_cannot_be_configured_anew(lake: Lake, sql: str) -> None:
    with lake.connection() as connection, pytest.raises(duckdb.Error, match=r"locked|cannot be (changed|enabled)"):
        connection.execute(sql)


def test_times_are_utc_wherever_the_computer_is(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    zone = lake.query("SELECT current_setting('TimeZone') AS zone, CAST(TIMESTAMPTZ '2026-01-01' AS VARCHAR) AS start")
    monkeypatch.undo()
    time.tzset()
    assert zone.to_pylist() == [{"zone": "UTC", "start": "2026-01-01 00:00:00+00"}]


def test_a_connection_loads_no_extension_from_elsewhere(lake: Lake) -> None:
    with lake.connection() as connection, pytest.raises(duckdb.PermissionException, match="disabled"):
        connection.execute("INSTALL httpfs")


@pytest.mark.parametrize("name", ["my lake", "größe", "a#b", "it's", "k=v", 'quo"te', "a&b;c", "{x}"])
def test_a_lake_may_be_kept_in_a_folder_of_any_usual_name(tmp_path: Path, name: str) -> None:
    lake = Lake(tmp_path / name / "lake")
    lake.append("leads", ADA)
    assert lake.query("FROM leads").to_pylist() == ADA.to_pylist()


@pytest.mark.parametrize("name", ["a[1]", "100%", "a*", "what?", "a^b", "a|b", "a\\b"])
def test_a_folder_that_delta_cannot_keep_a_table_in_is_refused(tmp_path: Path, name: str) -> None:
    sentence = rf"The lake cannot be kept in {tmp_path}/{name}. Choose a path without any of [ ] * ? ^ | % \."
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        Lake(tmp_path / name)


def test_one_writer_waits_for_another(lake: Lake) -> None:
    code = "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    attempt = [sys.executable, "-c", code, str(lake.folder / ".writer")]
    with lake.writing():
        assert subprocess.run(attempt, check=False, capture_output=True).returncode == 1
    assert subprocess.run(attempt, check=False, capture_output=True).returncode == 0


def test_a_lake_of_an_earlier_contract_gets_its_new_columns_empty_and_loses_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, new = schema("scores"), ["goal", "withheld", "propensity"]
    before = pa.schema([field for field in whole if field.name not in new])
    rows = [pa.table([pa.array([lead], f.type) if f.name == "lead_id" else pa.nulls(1, f.type) for f in before],
                     schema=before) for lead in ("ada", "bob")]  # fmt: skip
    with monkeypatch.context() as then:
        then.setattr("features.lake.schema", lambda name: before if name == "scores" else schema(name))
        for some in rows:
            lake.append("scores", some)
    now = Lake(lake.folder)
    assert now.query("SELECT lead_id, goal, withheld FROM scores ORDER BY lead_id").to_pylist() == [
        {"lead_id": lead, "goal": None, "withheld": None} for lead in ("ada", "bob")
    ]
    table = now.table("scores")
    assert table is not None
    assert [field.name for field in table.schema().fields] == whole.names
    version = table.version()
    Lake(lake.folder).query("SELECT count(*) FROM scores")
    assert now.versions()["scores"] == version  # it grows once


@pytest.mark.parametrize(("name", "column"), [("scores", "goal"), ("identities", "duplicate_id")])
def test_an_empty_name_is_told_from_the_only_one_that_there_is(lake: Lake, name: str, column: str) -> None:
    told = [{"lead_id": "ada"}, {"lead_id": "bob", column: "cleo"}, {"lead_id": "dora"}]
    lake.append(name, pa.Table.from_pylist(told, schema(name)))
    found = lake.query(f"SELECT lead_id FROM {name} WHERE {column} IS NULL ORDER BY lead_id")
    assert found["lead_id"].to_pylist() == ["ada", "dora"]
