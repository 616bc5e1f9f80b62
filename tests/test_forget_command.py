"""The command that forgets: it asks, says what it cannot do itself, and ends with a status."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import START, stage, table, touch, version

from features.erasure import to_erase
from features.lake import Lake
from features.traces import traces
from serving.witnesses import witnesses

Command = Callable[..., tuple[int, str]]
THEIRS = "Take the person's rows out of it, or delete it; Touchstone does not change your files."


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    lake = Lake(tmp_path / "lake")
    told = {"mail": "Ada@x.org", "firm": "Café Byron"}
    lake.append("leads", table("leads", [version("lead-ada", 1, told, created=1), version("lead-bob", 0)]))
    lake.append("touches", table("touches", [touch("lead-ada", 2), touch("lead-ada", 3), touch("lead-bob", 2)]))
    lake.append("stages", table("stages", [stage("lead-ada", 2, "mql")]))
    for version_, day in (("old", 0.5), ("new", 9)):
        manifest = tmp_path / "models" / version_ / "manifest.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text("{}")
        moment = START.timestamp() + 86400 * day
        os.utime(manifest, (moment, moment))
    (tmp_path / "models" / "champion.json").write_text('{"version": "new"}')
    return tmp_path


def test_without_a_terminal_nothing_is_erased_unless_it_is_said(workspace: Path, command: Command) -> None:
    assert command("erase", "lead-ada", workspace=workspace) == (
        2, "ConfigError: Nothing was erased. There is no terminal on which to ask; give --yes to erase at once.\n",
    )  # fmt: skip
    assert to_erase(Lake(workspace / "lake"), "lead-ada").lead_ids == ("lead-ada",)


def test_on_a_terminal_it_shows_what_is_held_and_asks(
    workspace: Path, command: Command, on_a_terminal: Callable[[str], None]
) -> None:
    for typed in ("n\n", "\n", ""):
        on_a_terminal(typed)
        status, printed = command("erase", "ada@x.org", workspace=workspace)
        assert (status, printed.split("\n")) == (4, [
            '"ada@x.org" is lead-ada. Rows held: 1 in leads, 2 in touches, 1 in stages.',
            "Erase all of it? It cannot be undone. [y/N] NothingToDo: Nothing was erased.",
            "",
        ])  # fmt: skip
    on_a_terminal("y\n")
    status, printed = command("erase", "ada@x.org", workspace=workspace)
    assert (status, printed.splitlines()[0][:44]) == (0, "ada@x.org is forgotten, in every table and e")


def test_json_names_the_models_that_saw_the_person_and_the_files_that_still_do(
    workspace: Path, command: Command
) -> None:
    (workspace / "mine.csv").write_text("lead_id\nlead-ada\n")
    status, printed = command("erase", "lead-ada", "--yes", "--json", workspace=workspace)
    assert (status, json.loads(printed)) == (0, {
        "erased": "lead-ada",
        "records": 1,
        "models": [{"version": "new", "champion": True}],
        "elsewhere": [{"file": "mine.csv", "what_to_do": THEIRS}],
        "shared": [],
    })  # fmt: skip


def test_a_person_reads_what_is_left_to_do(workspace: Path, command: Command) -> None:
    (workspace / "mine.csv").write_text("lead_id\nlead-ada\n")
    printed = command("erase", "lead-ada", "--yes", workspace=workspace)[1]
    assert "Models that may have learned from the person: new (champion). Retrain to forget.\n" in printed
    assert "mine.csv" in printed
    assert printed.endswith("Backups and copies outside the workspace are for you to clear.\n")
    assert command("erase", "lead-bob", "--yes", "--quiet", workspace=workspace) == (0, "")


def test_statuses_tell_nobody_from_somebody_erased_before(workspace: Path, command: Command) -> None:
    assert command("erase", "eve", "--yes", workspace=workspace)[0] == 1
    command("erase", "lead-ada", "--yes", workspace=workspace)
    assert command("erase", "Ada@X.org", "--yes", workspace=workspace) == (
        4, 'NothingToDo: "Ada@X.org" was erased before; nothing is held under that name.\n',
    )  # fmt: skip


def test_models_saved_before_the_person_was_known_did_not_see_them(workspace: Path) -> None:
    since = to_erase(Lake(workspace / "lake"), "lead-ada").since
    assert [model["version"] for model in witnesses(workspace / "models", since)] == ["new"]
    assert witnesses(workspace / "models", "") == []
    assert witnesses(workspace / "nowhere", since) == []


def test_every_file_that_names_the_person_is_found_however_it_is_written(workspace: Path) -> None:
    person = to_erase(Lake(workspace / "lake"), "lead-ada")
    told = {
        "a.csv": b"x,lead-ada,y", "b.json": b'{"m": "ADA@x.org"}', "c.txt": "of café byron.".encode(),
        "d.json": json.dumps({"firm": "Café Byron"}).encode(), "models/new/spec.json": b'["ada@x.org"]',
    }  # fmt: skip
    others = {"e.csv": b"lead-adam,my-lead-ada2", "f.txt": b"nada@x.org", "g.csv": b""}
    for name, content in (told | others).items():
        (workspace / name).write_bytes(content)
    pq.write_table(pa.table({"n": [1], "who": ["lead-ada"]}), workspace / "packed.parquet", compression="zstd")
    found = {trace["file"]: trace["what_to_do"] for trace in traces(workspace, workspace / "lake", person)}
    assert found == {
        **dict.fromkeys(["a.csv", "b.json", "c.txt", "d.json", "packed.parquet"], THEIRS),
        "models/new/spec.json": "Retrain, then delete this version's folder.",
    }
