"""The command line is a contract: names, flags, exit statuses and JSON keys."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from features.errors import ConfigError, DataError, DiskError, ModelError, NothingToDo, Partly, TouchstoneError

Command = Callable[..., tuple[int, str]]

LEADS = "lead_id,created_at,industry\nada,2026-01-01T00:00:00Z,Mining\nbob,2026-01-02T00:00:00Z,Retail\n"
TOUCHES = (
    "event_id,lead_id,occurred_at,kind,channel\n"
    "e1,ada,2026-01-01T09:00:00Z,page_view,Organic Search\n"
    "e2,ada,2026-01-03T09:00:00Z,demo_request,Direct\n"
    "e3,bob,2026-01-03T10:00:00Z,page_view,Email\n"
)
STAGES = "lead_id,stage,occurred_at,amount,currency\nada,won,2026-01-05T00:00:00Z,100.01,EUR\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with Ada, who was touched twice and won, and Bob, who was touched once and is open."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name, content in (("leads", LEADS), ("touches", TOUCHES), ("stages", STAGES)):
        (folder / f"{name}.csv").write_text(content)
    return folder


@pytest.fixture
def workspace(files: Path, command: Command, tmp_path: Path) -> Path:
    """Return a workspace that holds Ada and Bob."""
    assert command("ingest", str(files), workspace=tmp_path)[0] == 0
    return tmp_path


def test_the_help_answers_in_under_half_a_second_of_cpu() -> None:
    subprocess.run([sys.executable, "-m", "touchstone", "--help"], check=True, capture_output=True)  # compiles
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "touchstone", "--help"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_the_commands_come_in_the_order_of_the_story() -> None:
    from touchstone import app

    names = [found.callback.__name__ for found in app.registered_commands if found.callback]
    start = ["demo", "init", "join", "ingest", "check", "features", "train", "backtest"]
    end = ["export", "erase", "serve"]
    assert names == [*start, "score", "attribute", "retrain", "monitor", "report", "sync", *end]


@pytest.mark.parametrize(
    ("error", "status"),
    [(ConfigError, 2), (DataError, 1), (DiskError, 1), (ModelError, 1), (NothingToDo, 4), (Partly, 5)],
)
def test_every_kind_of_error_ends_a_command_with_its_sentence_and_its_status(
    error: type[TouchstoneError], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import touchstone

    def failing() -> None:
        raise error("So it is.")

    monkeypatch.setattr(touchstone, "app", failing)
    with pytest.raises(SystemExit, match=f"^{status}$"):
        touchstone.main()
    assert capsys.readouterr().err == f"{error.__name__}: So it is.\n"


def test_every_command_and_option_is_explained_in_one_sentence() -> None:
    import typer

    from touchstone import app

    for name, found in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        assert found.help.endswith("."), name
        assert "\n" not in found.help, name
        for parameter in found.params:
            assert parameter.name == "help" or getattr(parameter, "help", None), (name, parameter.name)


def test_init_writes_every_setting_and_leaves_an_existing_file_alone(tmp_path: Path, command: Command) -> None:
    assert command("init", workspace=tmp_path)[0] == 0
    written = (tmp_path / "touchstone.toml").read_text()
    assert tomllib.loads(written)["goal"] == {
        "won": ["won"], "lost": ["lost"], "horizon_days": 90, "after": [],
    }  # fmt: skip
    assert command("init", workspace=tmp_path) == (
        4,
        f"NothingToDo: {tmp_path}/touchstone.toml is there already; it was left as it is.\n",
    )
    assert (tmp_path / "touchstone.toml").read_text() == written


def test_ingest_reports_each_file(files: Path, tmp_path: Path, command: Command) -> None:
    status, printed = command("ingest", str(files), "--json", workspace=tmp_path)
    counts = [(file["file"], file["stored"], file["refused"]) for file in json.loads(printed)["files"]]
    assert (status, counts) == (0, [("leads.csv", 2, 0), ("stages.csv", 1, 0), ("touches.csv", 3, 0)])


def test_ingesting_the_same_files_again_is_nothing_to_do(workspace: Path, files: Path, command: Command) -> None:
    before = json.loads(command("check", "--json", workspace=workspace)[1])
    assert command("ingest", str(files), "--quiet", workspace=workspace) == (4, "")
    assert json.loads(command("check", "--json", workspace=workspace)[1]) == before


def test_ingest_exits_3_when_rows_were_refused_and_check_groups_them(
    workspace: Path, files: Path, command: Command
) -> None:
    (files / "stages.csv").write_text(STAGES + ",won,2026-01-05T00:00:00Z,1,EUR\nbob,lost,soon,,\n")
    assert command("ingest", str(files / "stages.csv"), workspace=workspace)[0] == 3
    found = json.loads(command("check", "--json", workspace=workspace)[1])["quarantine"]
    assert [(group["why"], group["rows"]) for group in found] == [
        ("lead_id is empty.", 1),
        ('occurred_at "…" is not a time between 1900 and 2200. Write it as 2026-02-28T09:00:00Z.', 1),
    ]


def test_a_wrong_setting_is_a_usage_error(tmp_path: Path, command: Command) -> None:
    (tmp_path / "touchstone.toml").write_text("[goal]\nhorizon_days = -1\n")
    status, printed = command("check", workspace=tmp_path)
    assert status == 2
    assert "goal.horizon_days is -1: Input should be greater than 0" in printed


@pytest.mark.parametrize(
    "words", [("check",), ("attribute",), ("models", "list"), ("export", "ada"), ("erase", "ada", "--yes")]
)
def test_a_workspace_that_is_not_there_is_said_and_not_made(
    words: tuple[str, ...], command: Command, tmp_path: Path
) -> None:
    typo = tmp_path / "touchtsone"
    remedy = f"Name that of your workspace, or begin one: touchstone init --workspace {typo}"
    assert command(*words, workspace=typo) == (2, f"ConfigError: There is no folder {typo}. {remedy}\n")
    assert not typo.exists()


@pytest.mark.parametrize("words", [("report",), ("features", "--every", "30", "--output", "features.csv")])
def test_what_would_be_empty_without_leads_says_so(words: tuple[str, ...], command: Command, tmp_path: Path) -> None:
    said = "DataError: The lake holds no leads. Ingest some first: touchstone ingest FILE.\n"
    moments = ("--from", "2026-01-01", "--to", "2026-02-01") if "--every" in words else ()
    assert command(*words, *moments, workspace=tmp_path) == (1, said)


def test_lists_without_anything_say_what_to_do(command: Command, tmp_path: Path) -> None:
    assert command("models", "list", workspace=tmp_path) == (0, "There is no model yet. Run `touchstone train`.\n")
    said = "There is no token. Make one: touchstone tokens create NAME --scope score\n"
    assert command("tokens", "list", workspace=tmp_path) == (0, said)


def test_a_moment_that_is_none_is_a_usage_error(workspace: Path, command: Command) -> None:
    assert command("score", "--as-of", "yesterday", workspace=workspace) == (
        2,
        'ConfigError: "yesterday" is not a moment. Write it as 2026-02-28 or 2026-02-28T09:00:00Z.\n',
    )


def test_scoring_without_a_model_says_what_to_do(workspace: Path, command: Command) -> None:
    status, printed = command("score", workspace=workspace)
    assert status == 1
    assert printed.endswith("Run `touchstone train` first.\n")


def test_two_leads_are_enough_for_a_score_with_its_evidence(workspace: Path, command: Command, tmp_path: Path) -> None:
    status, printed = command("train", "--as-of", "2026-06-01", "--json", workspace=workspace)
    assert (status, json.loads(printed)["evidence"]) == (0, "prior")
    output = tmp_path / "scores.csv"
    status, _ = command("score", "--as-of", "2026-01-04", "--output", str(output), workspace=workspace)
    scores = pd.read_csv(output)
    assert list(scores.columns) == [
        "lead_id",
        "as_of",
        "horizon_days",
        "probability",
        "low",
        "high",
        "grade",
        "trend",
        "reasons",
        "model_version",
    ]
    assert (status, scores["lead_id"].tolist()) == (0, ["ada", "bob"])


def test_only_open_leads_are_scored(workspace: Path, command: Command) -> None:
    command("train", "--as-of", "2026-06-01", workspace=workspace)
    printed = command("score", "--as-of", "2026-01-06", "--json", workspace=workspace)[1]
    assert [row["lead_id"] for row in json.loads(printed)["scores"]] == ["bob"]


def test_no_open_lead_is_nothing_to_do(workspace: Path, command: Command) -> None:
    command("train", "--as-of", "2026-06-01", workspace=workspace)
    assert command("score", "--as-of", "2025-01-01", workspace=workspace) == (
        4,
        "NothingToDo: No lead is open as of 2025-01-01 00:00 UTC. Ingest newer leads, or give another --as-of.\n",
    )


def test_attribute_prints_the_contract_s_keys(workspace: Path, command: Command) -> None:
    status, printed = command("attribute", "--as-of", "2026-02-01", "--model", "last", "--json", workspace=workspace)
    answer = json.loads(printed)
    assert status == 0
    assert sorted(answer) == ["decision", "models", "run_id", "unattributed"]
    direct = answer["models"]["last"]["Direct"]
    assert sorted(direct) == ["credit", "high", "low", "value"]
    assert (direct["credit"], direct["value"]) == (1.0, 100.01)


def test_attribute_reads_paths_without_a_workspace(tmp_path: Path, command: Command) -> None:
    (tmp_path / "paths.csv").write_text("path,conversions,value\nEmail > Direct,2,10\nDirect,1,5\n")
    words = ("attribute", "--paths", str(tmp_path / "paths.csv"), "--model", "first", "--json")
    answer = json.loads(command(*words, workspace=tmp_path / "nowhere")[1])
    assert {name: row["credit"] for name, row in answer["models"]["first"].items()} == {"Email": 2.0, "Direct": 1.0}
    assert not (tmp_path / "nowhere").exists()


def test_attribute_asks_about_any_stage_what_is_open_and_how_robust_it_is(workspace: Path, command: Command) -> None:
    words = ("attribute", "--as-of", "2026-02-01", "--model", "last", "--json")
    created = json.loads(command(*words, "--stage", "lead", workspace=workspace)[1])
    assert (created["stage"], created["unattributed"]["credit"]) == ("lead", 2.0)
    found = json.loads(command(*words, "--robustness", workspace=workspace)[1])["robustness"]
    assert [row["scenario"] for row in found][:2] == ["half the window", "twice the window"]
    from attribution.robustness import PLACEBO

    assert found[-1]["channel"] == PLACEBO
    assert command(*words, "--pipeline", workspace=workspace)[0] == 1  # nobody was scored yet


def test_attribute_refuses_what_paths_do_not_know(tmp_path: Path, command: Command) -> None:
    words = ("attribute", "--paths", str(tmp_path / "paths.csv"), "--robustness")
    sentence = (
        "ConfigError: --pipeline, --stage, --robustness, --velocity and --returns ask for leads, which --paths "
        "does not know. Leave --paths out.\n"
    )
    assert command(*words, workspace=tmp_path) == (2, sentence)
    assert command(*words[:3], "--stage", "lead", workspace=tmp_path) == (2, sentence)


def test_attribute_refuses_a_stage_of_what_is_open(tmp_path: Path, command: Command) -> None:
    sentence = (
        "ConfigError: --pipeline credits what open leads may be won for, and no other stage. Leave --stage out.\n"
    )
    assert command("attribute", "--pipeline", "--stage", "lead", workspace=tmp_path) == (2, sentence)


def test_attribute_shows_a_channel_that_only_a_later_model_names(capsys: pytest.CaptureFixture[str]) -> None:
    from commands.credited import show_credit

    models = {
        "linear": {"Email": {"credit": 3.0}},
        "score_adjusted": {"Email": {"credit": 1.0}, "Ads": {"credit": 2.0}},
    }
    nobody = {"credit": 0.0, "value": 0.0}
    show_credit({"run_id": "r", "models": models, "unattributed": nobody, "anyway": {"score_adjusted": nobody}})
    assert "│ Ads                        │    0.0 │            2.0 │" in capsys.readouterr().out


def test_attribute_compares_the_models_asked_for_each_in_a_table_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from commands.credited import show_credit

    monkeypatch.setenv("COLUMNS", "60")  # so that a table has to go on below itself
    names = ("promised", "decided", "came", "difference", "open", "unpriced")
    promised = [{"model": "linear", "channel": "Email", **dict.fromkeys(names, 1234.5)}]
    before = [{"model": model, "channel": "Email", "before": 3, "credit": 4, "change": 1} for model in ("linear", "j")]
    credited = {"models": {"linear": {"Email": {"credit": 4.0}}}, "unattributed": {"credit": 0.0, "value": 0.0}}
    show_credit({"run_id": "r", **credited, "compared": before, "trued_up": promised})
    printed = capsys.readouterr().out
    assert "Beside the stored run, by linear" in printed
    assert "by j" not in printed
    assert "│ Email   │ 1,234.50 │ 1,234.50 │ 1,234.50 │" in printed
    assert printed.count("│ Email   │ 1,234.50 ") == 2


def test_attribute_sets_credit_beside_spend_tells_velocity_and_draws(
    workspace: Path, files: Path, command: Command
) -> None:
    (files / "spend.csv").write_text("day,channel,cost,currency\n2026-01-05,Direct,50.00,EUR\n")
    command("ingest", str(files / "spend.csv"), workspace=workspace)
    words = ("attribute", "--as-of", "2026-02-01", "--model", "last", "--velocity", "--returns")
    plots = ("--plots", str(workspace / "drawn"))
    answer = json.loads(command(*words, *plots, "--json", workspace=workspace)[1])
    assert next(row for row in answer["returns"] if row["channel"] == "Direct") == {
        "model": "last", "channel": "Direct", "spend": 50.0, "credit": 1.0, "revenue": 100.01, "cac": 50.0,
        "roas": 2.0002, "roi": 1.0002,
    }  # fmt: skip
    assert next(row for row in answer["returns_by_month"] if row["channel"] == "Direct") == {
        "month": "2026-01-01", "model": "last", "channel": "Direct", "spend": 50.0, "credit": 1.0, "revenue": 100.01,
        "cac": 50.0, "roas": 2.0002, "roi": 1.0002, "realized": 100.01, "realized_roi": 1.0002,
    }  # fmt: skip
    assert sorted(answer["velocity"][0]) == ["before", "by", "days", "leads", "name", "of", "stage"]
    assert sorted(file.name for file in (workspace / "drawn").iterdir()) == ["decision.png", "shares.png"]
    printed = command(*words, workspace=workspace)[1]
    assert "Days that half of the leads took" in printed
    assert "50.00 · 2.0×" in printed
    assert answer["decision"]["sentence"].endswith("of channels with 5% of it or more.")
    assert "Blended, of all 1.0 closes, credited or not: 50.00 for a close, and revenue 2.0 times the spend" in printed
    assert "│ 2026-01 │ 50.00 │ 100.01 │ 100% │  100.01 │     100% │" in printed


def test_attribute_says_at_which_place_channels_earn_in_a_lake_and_in_a_file(
    workspace: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "paths.csv").write_text("path,conversions\nEmail > Direct,2\nDirect,1\n")
    words = ("attribute", "--paths", str(tmp_path / "paths.csv"), "--places")
    assert json.loads(command(*words, "--json", workspace=workspace)[1])["places"] == [
        {"channel": "Direct", "place": 1, "credit": 1.0}, {"channel": "Direct", "place": 2, "credit": 1.0},
        {"channel": "Email", "place": 1, "credit": 1.0},
    ]  # fmt: skip
    assert "ordered Shapley" in command(*words, workspace=workspace)[1]
    words = ("attribute", "--as-of", "2026-02-01", "--places", "--json")
    answer = json.loads(command(*words, workspace=workspace)[1])
    placed = sum(row["credit"] for row in answer["places"])
    assert placed == sum(row["credit"] for row in answer["models"]["linear"].values())


def test_attribution_runs_are_stored_once(workspace: Path, command: Command) -> None:
    from features.lake import Lake

    for _ in range(2):
        command("attribute", "--as-of", "2026-02-01", workspace=workspace)
    runs = Lake(workspace / "lake").query("SELECT count(*) AS n FROM credits WHERE channel = '(unattributed)'")
    assert runs.to_pylist() == [{"n": 7}]


def test_amounts_without_a_rate_are_refused_not_guessed(workspace: Path, files: Path, command: Command) -> None:
    (files / "stages.csv").write_text("lead_id,stage,occurred_at,amount,currency\nbob,won,2026-01-09T00:00:00Z,5,USD\n")
    command("ingest", str(files / "stages.csv"), workspace=workspace)
    status, printed = command("attribute", "--as-of", "2026-02-01", workspace=workspace)
    assert status == 1
    assert printed.startswith("DataError: 1 deals are in USD, and attribution.currency is EUR.")


def test_the_demo_does_not_touch_a_lake_of_your_own(workspace: Path, command: Command) -> None:
    status, printed = command("demo", "--once", workspace=workspace)
    assert status == 2
    assert printed.endswith("holds a lake of your own. Give the demo another folder with --workspace.\n")
