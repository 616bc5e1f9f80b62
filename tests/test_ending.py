"""Data that ended: what would be learned from the silence after it is said where somebody trains, scores or judges."""

from __future__ import annotations

from pathlib import Path

import pytest
from tables import moment, stage, table, touch, version
from typer.testing import CliRunner

from features.ending import ended, ended_in
from features.errors import NothingToDo
from features.lake import Lake
from touchstone import app

SAID = (
    "Nothing came for 21 days: the newest row is of 2026-03-04. See whether the sources still send, and ingest what is "
    "missing. If the data ends there, give train, backtest, score and monitor --as-of 2026-03-05: all days after it "
    "count as time in which nobody was won."
)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    lake = Lake(tmp_path / "lake")
    lake.append("leads", table("leads", [version("ada", 0), version("bob", 1, created=1)]))
    lake.append("stages", table("stages", [stage("ada", 5, "won")]))
    lake.append("touches", table("touches", [touch("bob", on) for on in range(63)]))
    return tmp_path


def test_a_lake_that_got_nothing_for_long_has_ended_on_the_day_of_its_newest_row(workspace: Path) -> None:
    lake = Lake(workspace / "lake")
    assert ended_in(lake, moment(83)) == SAID
    assert ended_in(lake, moment(63)) == ended_in(lake, moment(30)) == ""
    lake.append("stages", table("stages", [stage("bob", 80, "lost")]))
    assert ended_in(lake, moment(83)) == ""


@pytest.mark.parametrize(
    ("days_ago", "why"),
    [
        (range(7, 60), "a week of holidays"),
        (range(8, 17), "too few days to know"),
        ([*range(8, 30), *range(40, 60)], "a pause that was as long before"),
        ([-1, *range(1, 60)], "rows in the future"),
        ([], "nothing at all"),
    ],
)
def test_data_has_not_ended_for(days_ago: list[int], why: str) -> None:
    assert ended(days_ago, moment(63)) == "", why


def _stopped(*_: object, **__: object) -> None:
    raise NothingToDo("Enough was seen.")


@pytest.mark.parametrize("command", ["train", "backtest", "score", "retrain"])
def test_commands_that_would_take_the_silence_for_losses_say_so_before_they_begin(
    workspace: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for work in ("training.train.train", "training.retrain.retrain", "training.backtest.backtest"):
        monkeypatch.setattr(work, _stopped)
    said = CliRunner().invoke(app, [command, "--workspace", str(workspace), "--as-of", moment(83).isoformat()])
    assert said.stderr == f"{SAID}\n"
