"""Retraining that goes wrong: a killed one leaves the champion serving, and a worse model does not take its place."""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import ROOT
from trained import NOW
from typer.testing import CliRunner

from features.catalogue import CATALOGUE
from features.contract import schema
from features.errors import NothingToDo
from features.history import DAY, microseconds
from features.ingestion import files_in, ingest
from features.lake import Lake
from features.settings import Settings, read_settings
from serving.scorer import Scorer, champion, promote, promoted, save
from simulation.company import Company
from simulation.files import write
from touchstone import app
from training.retrain import due, retrain
from training.train import train

FEW = Settings.model_validate({"training": {"trees": 5, "members": 2, "outlook_days": []}})
KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from features.lake import Lake
from features.settings import Settings, read_settings
import {module}
from training.retrain import retrain

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

{module}.{name} = die
workspace = Path(sys.argv[1])
settings = Settings.model_validate({{"training": {{"trees": 5, "members": 2, "outlook_days": []}}}})
retrain(Lake(workspace / "lake"), settings, workspace, datetime.fromisoformat(sys.argv[2]), force=True)
"""


@dataclass(frozen=True)
class Small:
    """A small company, its lake and its champion."""

    workspace: Path
    scorer: Scorer

    @property
    def lake(self) -> Lake:
        return Lake(self.workspace / "lake")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Return 400 leads of 240 days, and the champion that learned from them."""
    workspace = tmp_path_factory.mktemp("small")
    ingest(Lake(workspace / "lake"), FEW, files_in(write(Company(NOW, leads=400, days=240), workspace / "files")), NOW)
    train(Lake(workspace / "lake"), FEW, workspace, NOW)
    return Small(workspace, champion(workspace / "models"))


@pytest.fixture
def own(small: Small, tmp_path: Path) -> Small:
    """Return a copy of one's own."""
    shutil.copytree(small.workspace, tmp_path / "company")
    return Small(tmp_path / "company", small.scorer)


def runs(workspace: Path) -> list[str]:
    with closing(sqlite3.connect(workspace / "mlflow.db")) as record:
        return [status for (status,) in record.execute("SELECT status FROM runs ORDER BY start_time")]


@pytest.mark.parametrize(
    ("module", "name", "left"),
    [
        ("training.tracking", "_log_model", ["FINISHED", "RUNNING"]),
        ("training.registry", "promote", ["FINISHED", "FINISHED"]),
    ],
    ids=["while its run is recorded", "right before its model serves"],
)
def test_a_retraining_that_is_killed_leaves_the_champion_serving_and_its_run_is_swept_by_the_next(
    own: Small, module: str, name: str, left: list[str]
) -> None:
    pointer = (own.workspace / "models" / "champion.json").read_bytes()
    script = KILLED.format(module=module, name=name)
    command = [sys.executable, "-c", script, str(own.workspace), NOW.isoformat()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (-signal.SIGKILL, "")
    assert (own.workspace / "models" / "champion.json").read_bytes() == pointer
    assert champion(own.workspace / "models").version == own.scorer.version
    assert runs(own.workspace) == left
    with pytest.raises(NothingToDo, match=r"^No training is due"):  # nor is another said to be running
        retrain(own.lake, FEW, own.workspace, NOW)
    assert runs(own.workspace) == [{"RUNNING": "KILLED"}.get(status, status) for status in left]


@pytest.mark.parametrize(
    ("alarms", "then", "why"),
    [
        ({"drift": "leads"}, [], "leads"),
        ({"drift": "leads"}, ["industry"], None),
        ({"promises": "all", "drift": "leads"}, ["industry"], "all"),
        ({"volume": "mails"}, [], None),
    ],
)
def test_leads_that_were_different_already_when_the_champion_learned_are_no_reason_to_train_again(
    small: Small, alarms: dict[str, str], then: list[str], why: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a lasting change would have a model trained every day until the weeks that it is held against are past."""
    learned = small.scorer.spec.learned_until

    def drifted_by(_scorer: object, _history: object, _settings: object, as_of: int) -> tuple[list[str], None]:
        assert as_of == learned
        return then, None

    told = {"alarms": [{"part": part, "what": what} for part, what in alarms.items()]}
    monkeypatch.setattr("training.retrain.monitored", lambda *_: told)
    monkeypatch.setattr("training.retrain.drifted", drifted_by)
    assert due(small.lake, FEW, small.workspace, NOW + timedelta(days=1)) == why


def test_a_challenger_that_is_worse_is_refused_and_the_champion_stays(own: Small) -> None:
    models = own.workspace / "models"
    trees = (models / own.scorer.version / "model.txt").read_text("utf-8")
    older = save(models, replace(own.scorer.spec, learned_until=microseconds(NOW) - 200 * DAY), trees)
    promote(models, older.version)
    removed = [line.name for line in CATALOGUE if line.name != "age_days"]
    toml = f"[training]\ntrees = 5\nmembers = 2\n[features]\nremove = {removed}\n"
    (own.workspace / "touchstone.toml").write_text(toml, "utf-8")
    today, a_month_later = NOW + timedelta(hours=1), NOW + timedelta(days=31)
    asked = ["retrain", "--force", "--workspace", str(own.workspace), "--as-of", today.isoformat()]
    told = CliRunner().invoke(app, asked)
    assert told.exit_code == 3
    assert "is challenger. Refused: " in told.stdout
    assert promoted(models)[0] == older.version
    (refused,) = re.findall(r"Model (\w+) ", told.stdout)
    own_settings = read_settings(own.workspace)
    sentence = (
        f"No training is due: nothing was ingested since {refused} was trained and refused. "
        "Ingest what is new, or train all the same: touchstone retrain --force."
    )
    with pytest.raises(NothingToDo, match=f"^{re.escape(sentence)}$"):
        retrain(own.lake, own_settings, own.workspace, a_month_later)
    (own.workspace / "goals").mkdir()
    room = own.workspace / "goals" / "renewed"
    room.symlink_to(own.workspace)
    with pytest.raises(NothingToDo, match=r"train all the same: touchstone retrain --goal renewed --force\.$"):
        due(own.lake, own_settings, room, a_month_later)
    why = "The champion learned 231 days ago; 30 are allowed."
    assert due(own.lake, FEW, own.workspace, a_month_later) == why  # by other settings
    promote(models, refused)  # by hand
    assert (
        due(own.lake, own_settings, own.workspace, a_month_later) == "The champion learned 31 days ago; 30 are allowed."
    )
    promote(models, older.version)
    stage = pa.Table.from_pylist([{"lead_id": "L-00001", "stage": "won", "row_hash": "new"}], schema("stages"))
    own.lake.append("stages", stage)
    assert due(own.lake, own_settings, own.workspace, a_month_later) == why
