"""The demo runs every step, and speaks to nobody but this machine."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from features.history import microseconds
from features.lake import Lake
from features.reading import read_history
from features.settings import Settings
from serving import monitoring
from training.promises import served

# Runs in every Python process of the demo, before anything else: an address beyond loopback, and every
# name that would have to be looked up, ends the process and leaves a line behind.
GUARD = """
import os, socket, sys

def refuse(event, arguments):
    if event == "socket.connect" or event == "socket.sendto":
        address = arguments[1]
        outside = isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1")
    elif event == "socket.getaddrinfo" or event == "socket.gethostbyname":
        outside = arguments[0] not in (None, "", "127.0.0.1", "::1", "localhost", b"127.0.0.1")
        address = arguments[0]
    else:
        return
    if outside:
        with open(os.environ["CALLS_BEYOND_LOOPBACK"], "a") as calls:
            print(event, address, file=calls)
        os._exit(99)

sys.addaudithook(refuse)
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Return the workspace and the end of a demo that may not speak to anybody beyond loopback."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "sitecustomize.py").write_text(GUARD)
    environment = os.environ | {"PYTHONPATH": str(folder), "CALLS_BEYOND_LOOPBACK": str(folder / "calls")}
    environment.pop("CI", None)  # some libraries keep quiet in CI only
    environment.pop("PYTEST_CURRENT_TEST", None)
    words = [sys.executable, "-m", "touchstone", "demo", "--once", "--json", "--workspace", str(folder / "w")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=500)
    return folder, done


def test_the_demo_ends_well_and_scores_one_lead_over_http(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    answer = json.loads(demo[1].stdout)
    assert (demo[1].returncode, len(answer["scores"])) == (0, 1)
    assert 0 < answer["scores"][0]["low"] <= answer["scores"][0]["probability"] <= answer["scores"][0]["high"] < 1


def test_the_demo_credits_every_close(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    answer = json.loads(demo[1].stdout)
    left = dict.fromkeys(answer["models"], answer["unattributed"]["credit"])
    left["score_adjusted"] = answer["anyway"]["score_adjusted"]["credit"]
    totals = [sum(row["credit"] for row in channels.values()) + left[m] for m, channels in answer["models"].items()]
    assert totals == pytest.approx([totals[0]] * 8)


def test_the_demo_s_ads_that_follow_everybody_earn_far_less_once_the_score_is_known(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    models = json.loads(demo[1].stdout)["models"]
    assert models["score_adjusted"]["Display"]["credit"] < models["last"]["Display"]["credit"] / 3


def test_the_demo_leaves_two_finished_mlflow_runs_and_a_champion(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    with sqlite3.connect(demo[0] / "w" / "mlflow.db") as store:
        assert store.execute("SELECT status FROM runs").fetchall() == [("FINISHED",), ("FINISHED",)]
        assert store.execute("SELECT alias FROM registered_model_aliases").fetchall() == [("champion",)]


def test_the_demo_has_served_scores_for_months_and_kept_its_promises(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    lake, settings = Lake(demo[0] / "w" / "lake"), Settings()
    weeks = lake.query("SELECT DISTINCT as_of FROM scores ORDER BY as_of")["as_of"].to_pylist()
    steps = {(later - earlier).days for earlier, later in pairwise(weeks)}
    assert (len(weeks), steps) == (22, {7})
    latest = microseconds(datetime.now(UTC))
    said = served(lake, read_history(lake), settings, latest, settings.monitor.matured_days)
    assert len(said) > 300
    spread = (said["probability"] * (1 - said["probability"])).sum() ** 0.5
    assert said["probability"].sum() == pytest.approx(said["label"].sum(), abs=4 * spread)


def test_the_demo_has_looked_whether_promises_are_kept(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    found = monitoring.latest(demo[0] / "w")
    assert found is not None
    assert found["promises"][0]["group"] == "all"
    assert found["promises"][0]["leads"] > 500


def test_the_demo_s_model_beats_the_base_rate_by_far(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    assert json.loads(demo[1].stdout)["trained"]["metrics"]["roc_auc"] > 0.7


def test_no_call_leaves_this_machine(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    calls = demo[0] / "calls"
    assert not calls.exists(), calls.read_text()


def test_the_guard_refuses_a_call_beyond_loopback(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "CALLS_BEYOND_LOOPBACK": str(tmp_path / "calls")}
    code = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=0.1)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert (done.returncode, (tmp_path / "calls").exists()) == (99, True)
