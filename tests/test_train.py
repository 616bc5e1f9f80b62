"""Training: learn, judge, record, and promote only what is not worse than the base rate."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from by_hand import moment
from trained import NOW, Company

from features.catalogue import CATALOGUE
from features.contract import INGESTED, schema
from features.errors import DataError, ModelError
from features.lake import Lake
from features.matrix import feature_matrix
from features.settings import Goal, Settings
from serving.batch import open_leads
from serving.scorer import CARD, champion, promote, save
from training import learning
from training import train as train_module
from training.leaks import Leak
from training.registry import marked
from training.tracking import Record, record
from training.train import Trained, train

SETTINGS = Settings.model_validate({
    "goal": {"horizon_days": 30},
    "snapshots": {"ages_days": [2]},
    "training": {"trees": 20, "members": 3},
})  # fmt: skip


def rows_of(workspace: Path, question: str) -> list[tuple[Any, ...]]:
    """Return the answer of MLflow's store."""
    with closing(sqlite3.connect(workspace / "mlflow.db")) as store:
        return store.execute(question).fetchall()


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def artifact(company: Company, name: str) -> Path:
    return company.workspace / "mlflow-artifacts" / company.trained.run_id / "artifacts" / name


def eager_and_idle(lake: Lake, leads: int = 160, reverse_from: float = 1e9) -> None:
    """Store leads that come on two days of three; every second one is eager, asks for a demo, and is mostly won.

    From day ``reverse_from`` on it is the idle ones who are won. Leads from day 180 on visit a fair.
    """
    people, touches, stages = [], [], []
    for i in range(leads):
        lead, on, eager = f"lead-{i:04}", i * 1.5, i % 2 == 0
        wins = ((i // 2 % 5 != 0) == eager) == (on < reverse_from)
        people.append({"lead_id": lead, "created_at": moment(on), "observed_at": moment(on), "row_hash": lead})
        if eager:
            touches.append(_row(lead, on + 1, kind="demo_request", channel="Direct", event_id=lead))
        if on >= 180:
            touches.append(_row(lead, on + 1, kind="fair_visit", channel="Events", event_id=f"fair of {lead}"))
        stages.append(_row(lead, on + 20, stage="won" if wins else "lost"))
    for name, rows in (("leads", people), ("touches", touches), ("stages", stages)):
        lake.append(name, pa.Table.from_pylist(rows, schema(name)))


def _row(lead: str, on: float, **columns: str) -> dict[str, Any]:
    return {"lead_id": lead, "occurred_at": moment(on), "received_at": moment(on), "row_hash": lead, **columns}


@pytest.fixture
def unrecorded(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """Keep the records of training runs from MLflow, and return them; models are not tried."""
    kept: list[Record] = []
    monkeypatch.setattr(train_module, "record", lambda _, run: kept.append(run) or "a-run")
    monkeypatch.setattr("training.registry.trial", lambda _: None)
    return kept


# What is recorded


def test_a_training_run_is_recorded_as_finished_and_its_model_as_champion(trained_company: Company) -> None:
    store = trained_company.workspace
    assert rows_of(store, "SELECT run_uuid, status, name FROM runs") == [
        (trained_company.trained.run_id, "FINISHED", trained_company.trained.version)
    ]
    assert rows_of(store, "SELECT name, alias, version FROM registered_model_aliases") == [
        ("touchstone", "champion", 1)
    ]
    assert rows_of(store, "SELECT version, key, value FROM model_version_tags") == [
        (1, "touchstone_version", trained_company.trained.version)
    ]


def test_every_setting_and_the_lake_s_versions_are_parameters_of_the_run(trained_company: Company) -> None:
    recorded = dict(rows_of(trained_company.workspace, "SELECT key, value FROM params"))
    sections = ("goal", "snapshots", "training")
    settings = {
        f"{name}.{key}": str(value) for name in sections for key, value in getattr(trained_company.settings, name)
    }
    learned = {"evidence": "model", "snapshots": str(trained_company.trained.snapshots)}
    lake = trained_company.lake.versions()
    versions = {f"lake.{name}": str(lake[name]) for name in INGESTED}
    assert recorded == settings | learned | versions


def test_the_metrics_of_the_run_are_those_of_the_result(trained_company: Company) -> None:
    recorded = dict(rows_of(trained_company.workspace, "SELECT key, value FROM metrics"))
    assert recorded == pytest.approx(trained_company.trained.metrics)
    assert recorded["roc_auc"] > 0.7


def test_the_run_keeps_a_picture_of_its_calibration(trained_company: Company) -> None:
    assert artifact(trained_company, "calibration.png").read_bytes().startswith(b"\x89PNG")


def test_the_run_keeps_what_was_installed(trained_company: Company) -> None:
    installed = artifact(trained_company, "dependencies.txt").read_text().splitlines()
    assert installed == sorted(installed, key=str.lower)
    assert f"lightgbm=={importlib.metadata.version('lightgbm')}" in installed


def test_a_team_s_server_is_used_when_the_environment_names_one(
    trained_company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = f"sqlite:///{tmp_path / 'team.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.chdir(tmp_path)
    model = trained_company.workspace / "models" / trained_company.trained.version
    run = record(tmp_path / "workspace", Record(model, ["touches"], {}, {"ece": None}, {}, None, {}, champion=False))
    with closing(sqlite3.connect(tmp_path / "team.db")) as kept:
        assert kept.execute("SELECT run_uuid, status FROM runs").fetchall() == [(run, "FINISHED")]
        assert kept.execute("SELECT alias FROM registered_model_aliases").fetchall() == [("challenger",)]
    assert os.environ["MLFLOW_TRACKING_URI"] == store
    assert not (tmp_path / "workspace").exists()


def test_mlflow_out_of_reach_keeps_no_model_from_serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("training.registry.trial", lambda _: None)
    lake = Lake(tmp_path / "lake")
    eager_and_idle(lake)
    result = train(lake, SETTINGS, tmp_path, moment(400))
    assert champion(tmp_path / "models").version == result.version
    assert (result.promoted, result.run_id) == (True, "")
    assert result.unrecorded.startswith("MLflow at http://127.0.0.1:9 did not record it: ")


def test_the_alias_of_the_champion_goes_where_the_champion_goes(trained_company: Company, tmp_path: Path) -> None:
    model = trained_company.workspace / "models" / trained_company.trained.version
    for name in ("first", "second"):
        shutil.copytree(model, tmp_path / "models" / name)
        record(tmp_path, Record(tmp_path / "models" / name, ["touches"], {}, {}, {}, None, {}, champion=True))

    def aliases() -> list[tuple[Any, ...]]:
        return rows_of(tmp_path, "SELECT alias, version FROM registered_model_aliases ORDER BY 1")

    assert aliases() == [("champion", 2)]
    assert (marked(tmp_path, "first"), aliases()) == ("", [("challenger", 2), ("champion", 1)])
    assert (marked(tmp_path, "first"), aliases()) == ("", [("challenger", 2), ("champion", 1)])
    assert (marked(tmp_path, "second"), aliases()) == ("", [("challenger", 1), ("champion", 2)])
    sentence = "MLflow has no record of third; its alias champion stays where it is."
    assert (marked(tmp_path, "third"), aliases()) == (sentence, [("challenger", 1), ("champion", 2)])


def test_without_a_record_no_alias_is_set_and_no_record_begun(tmp_path: Path) -> None:
    sentence = f"There is no record in {tmp_path / 'mlflow.db'}, so that no alias was set."
    assert (marked(tmp_path, "first"), files_below(tmp_path)) == (sentence, [])


def test_a_workspace_that_was_moved_keeps_its_artifacts_with_it(trained_company: Company, tmp_path: Path) -> None:
    model = trained_company.workspace / "models" / trained_company.trained.version
    run = Record(model, ["touches"], {}, {}, {}, None, {}, champion=True)
    (tmp_path / "here").mkdir()
    record(tmp_path / "here", run)
    (tmp_path / "here").rename(tmp_path / "there")
    record(tmp_path / "there", run)
    record(tmp_path / "there", run)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert rows_of(tmp_path / "there", "SELECT experiment_id, count(*) FROM runs GROUP BY 1 ORDER BY 1") == [
        (1, 1),
        (2, 2),
    ]
    assert rows_of(tmp_path / "there", "SELECT alias, version FROM registered_model_aliases") == [("champion", 3)]


# What is learned


def test_training_again_gives_the_same_version_and_leaves_nothing_outside_its_workspace(
    trained_company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    elsewhere, workspace = tmp_path / "elsewhere", tmp_path / "workspace"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    again = train(trained_company.lake, trained_company.settings, workspace, NOW)
    assert again.version == trained_company.trained.version
    assert files_below(elsewhere) == []
    assert {path.split("/")[0] for path in files_below(tmp_path / "workspace")} == {
        "mlflow.db",
        "mlflow-artifacts",
        "models",
    }
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert capfd.readouterr() == ("", "")


def test_the_result_counts_what_was_learned_from(trained_company: Company) -> None:
    result = trained_company.trained
    assert (result.promoted, result.evidence) == (True, "model")
    assert re.fullmatch(
        r"Not worse than the base rate \(log loss on later data 0\.\d{4}, base rate's 0\.\d{4}\)\.", result.why
    )
    assert 0 < result.wins < result.snapshots


def test_a_trained_model_serves_at_once(trained_company: Company) -> None:
    assert trained_company.scorer.version == trained_company.trained.version
    assert trained_company.scorer.spec.horizon_days == 90


def test_training_as_of_an_earlier_moment_knows_nothing_later(unrecorded: list[Record], tmp_path: Path) -> None:
    workspaces = [tmp_path / "early", tmp_path / "late"]
    for workspace, leads in zip(workspaces, (120, 160), strict=True):
        eager_and_idle(Lake(workspace / "lake"), leads)  # the last forty come after day 180
    versions = {train(Lake(one / "lake"), SETTINGS, one, moment(180)).version for one in workspaces}
    assert len(versions) == 1
    assert [run.parameters["snapshots"] for run in unrecorded] == [107, 107]  # 1.5 i + 20 < 180


def test_steps_are_announced(unrecorded: list[Record], tmp_path: Path) -> None:
    lake, said = Lake(tmp_path / "lake"), list[str]()
    eager_and_idle(lake)
    train(lake, SETTINGS, tmp_path, moment(400), said.append)
    assert said == ["Reading history", "Judging on later data", "Learning from all outcomes", "Recording the run"]
    assert len(unrecorded) == 1


def test_the_model_is_judged_on_the_latest_snapshots(unrecorded: list[Record], tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    eager_and_idle(lake)
    result = train(lake, SETTINGS, tmp_path, moment(400))
    assert (result.snapshots, result.wins, result.metrics["n"], result.metrics["positives"]) == (160, 80, 32, 16)
    assert unrecorded[0].metrics == result.metrics


# The gate


def test_a_model_worse_than_the_base_rate_is_refused_and_the_champion_stays(
    unrecorded: list[Record], tmp_path: Path
) -> None:
    lake = Lake(tmp_path / "lake")
    eager_and_idle(lake, reverse_from=180)
    before = train(lake, SETTINGS, tmp_path, moment(200))
    after = train(lake, SETTINGS, tmp_path, moment(400))
    assert (before.promoted, after.promoted) == (True, False)
    assert re.fullmatch(
        r"Refused: worse than the base rate \(log loss on later data [\d.]+, base rate's 0\.69\d\d\)\. "
        r"The champion stays\.",
        after.why,
    )
    assert champion(tmp_path / "models").version == before.version != after.version
    assert [run.champion for run in unrecorded] == [True, False]


@pytest.mark.parametrize(("first", "against"), [(110, "the champion on later data"), (174, "the base rate")])
def test_a_champion_is_compared_with_on_rows_that_it_has_not_seen(
    unrecorded: list[Record], tmp_path: Path, first: float, against: str
) -> None:
    lake = Lake(tmp_path / "lake")
    eager_and_idle(lake)  # the new model is judged on snapshots from day 116 on
    train(lake, SETTINGS, tmp_path, moment(first))
    assert train(lake, SETTINGS, tmp_path, moment(175)).why.startswith(f"Not worse than {against} (log loss ")
    assert len(unrecorded) == 2


def test_for_a_champion_that_has_seen_the_later_leads_stands_a_model_of_its_settings(
    unrecorded: list[Record], tmp_path: Path
) -> None:
    lake, all_but_age = Lake(tmp_path / "lake"), [line.name for line in CATALOGUE if line.verb != "age"]
    blind = SETTINGS.model_copy(update={"features": SETTINGS.features.model_copy(update={"remove": all_but_age})})
    eager_and_idle(lake)
    first, same = (train(lake, SETTINGS, tmp_path, moment(day)) for day in (174, 175))
    assert same.why.endswith(" The champion has seen these leads: it learned by the same settings.")
    worse = train(lake, blind, tmp_path, moment(176))
    assert re.match(r"Refused: .* than the champion on later data \(log loss ", worse.why)
    assert worse.why.endswith("leads: a model of its settings stands for it. The champion stays.")
    assert [first.promoted, same.promoted, worse.promoted] == [True, True, False]
    (tmp_path / "models" / same.version / CARD).write_text('{"settings": {"features": {"remove": ["nothing"]}}}')
    assert train(lake, blind, tmp_path, moment(176)).why.endswith("leads: it was not compared with.")
    often = SETTINGS.model_copy(update={"snapshots": SETTINGS.snapshots.model_copy(update={"every_days": 5})})
    assert train(lake, often, tmp_path, moment(177)).why.endswith("leads: it was not compared with.")
    assert len(unrecorded) == 5


@pytest.mark.parametrize(
    ("goal", "sentence"),
    [
        ({"horizon_days": 20}, " The champion looks 30 days ahead, and not 20: it was not compared with."),
        ({"won": ["won", "sold"]}, " The champion learned of another goal: it was not compared with."),
    ],
)
def test_a_champion_of_another_goal_is_no_bar(
    goal: dict[str, Any], sentence: str, unrecorded: list[Record], tmp_path: Path
) -> None:
    lake, other = Lake(tmp_path / "lake"), SETTINGS.model_copy(update={"goal": SETTINGS.goal.model_copy(update=goal)})
    eager_and_idle(lake)
    train(lake, SETTINGS, tmp_path, moment(110))  # it has not seen the later leads
    after = train(lake, other, tmp_path, moment(175))
    assert after.why.startswith("Not worse than the base rate (log loss ")
    assert (after.why.endswith(sentence), len(unrecorded)) == (True, 2)


def test_a_goal_s_name_is_no_other_goal(unrecorded: list[Record], tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    named = SETTINGS.model_copy(update={"goal": SETTINGS.goal.called("renewed")})
    eager_and_idle(lake)
    first, same = (train(lake, named, tmp_path, moment(day)) for day in (174, 175))
    assert same.why.endswith(" The champion has seen these leads: it learned by the same settings.")
    assert (first.promoted, len(unrecorded)) == (True, 2)


def test_a_champion_that_looks_at_a_leak_is_no_bar(
    unrecorded: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path / "lake")
    eager_and_idle(lake)
    train(lake, SETTINGS, tmp_path, moment(110))
    leak = Leak("age_days", "a sentence")
    monkeypatch.setattr(learning, "written_afterwards", lambda *_: (leak,))
    after = train(lake, SETTINGS, tmp_path, moment(175))
    assert after.why.startswith("Not worse than the base rate (log loss ")
    sentence = " The champion looks at age_days, which the leak report names: it was not compared with."
    assert after.why.endswith(sentence)
    assert (after.promoted, after.leaks, len(unrecorded)) == (True, [vars(leak)], 2)


def test_a_lake_without_leads_cannot_be_learned_from(tmp_path: Path) -> None:
    sentence = "The lake holds no leads. Ingest some first: touchstone ingest FILE."
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        train(Lake(tmp_path / "lake"), SETTINGS, tmp_path, NOW)
    with pytest.raises(ModelError, match="There is no champion"):
        champion(tmp_path / "models")


def test_without_any_outcome_the_base_rate_is_champion(unrecorded: list[Record], tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    eager_and_idle(lake)
    result = train(lake, SETTINGS, tmp_path, moment(10))
    assert result == Trained(
        version=champion(tmp_path / "models").version,
        run_id="a-run",
        promoted=True,
        why="No outcome is known yet: the base rate serves until there are some.",
        snapshots=0,
        wins=0,
        evidence="prior",
        leaks=[],
        metrics={"n": 0, "positives": 0} | dict.fromkeys([
            "base_rate", "mean_probability", "roc_auc", "pr_auc", "log_loss", "brier", "ece", "lift_at_10",
        ]),
    )  # fmt: skip
    assert (unrecorded[0].metrics, unrecorded[0].plot) == ({}, None)


def test_a_prior_serves_until_somebody_is_won_but_for_a_champion_that_knows_who_was(
    unrecorded: list[Record], tmp_path: Path
) -> None:
    lake = Lake(tmp_path / "lake")
    eager_and_idle(lake)
    renamed = SETTINGS.model_copy(update={"goal": Goal(won=["signed", "paid"], lost=["lost"], horizon_days=30)})
    nobody, remedy = "nobody is known to have reached signed or paid", "set goal.won to what your system calls it."
    for on in (380, 400):
        prior = train(lake, renamed, tmp_path, moment(on))
        why = f"So far {nobody}: the prior serves. If somebody has, {remedy}"
        assert (prior.promoted, prior.evidence, prior.wins, prior.why) == (True, "prior", 0, why)
    models = tmp_path / "models"
    promote(models, save(models, replace(champion(models).spec, outcomes=80), "").version)
    refused = train(lake, renamed, tmp_path, moment(401))
    assert (refused.promoted, len(unrecorded)) == (False, 3)
    assert refused.why == (
        f"Refused: {nobody}, but the champion knows 80 who have. If a stage got another name, {remedy} "
        "The champion stays."
    )


# What MLflow's users load


@pytest.fixture
def registry(trained_company: Company, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Point MLflow at the company's store, and forget the code that it puts on the path with a model."""
    import mlflow

    monkeypatch.setattr(sys, "path", [*sys.path])
    mlflow.set_tracking_uri(f"sqlite:///{trained_company.workspace / 'mlflow.db'}")
    yield
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("registry")
def test_the_registered_model_says_what_our_scorer_says(trained_company: Company) -> None:
    import mlflow

    loaded = mlflow.pyfunc.load_model("models:/touchstone@champion")
    features = trained_company.scorer.spec.features
    matrix = feature_matrix(
        features, open_leads(trained_company.history, trained_company.settings.goal, trained_company.as_of)
    )
    frame = pd.DataFrame(matrix, columns=[feature.name for feature in features])
    said = loaded.predict(frame[frame.columns[::-1]])
    assert np.asarray(said).tolist() == trained_company.scorer.probabilities(matrix).tolist()


def test_the_registered_model_holds_no_pickle(trained_company: Company) -> None:
    logged = files_below(trained_company.workspace / "mlflow-artifacts")
    assert [name for name in logged if name.endswith((".pkl", ".pickle", ".joblib"))] == []
    assert {Path(name).name for name in logged} >= {"model.txt", "spec.json", "manifest.json", "pyfunc.py", "scorer.py"}


def test_the_registered_model_names_the_versions_it_needs(trained_company: Company) -> None:
    (needed,) = (trained_company.workspace / "mlflow-artifacts").rglob("requirements.txt")
    named = [line.split("==")[0] for line in needed.read_text().splitlines()]
    assert named == [
        "mlflow", "numpy", "pandas", "pyarrow", "duckdb", "deltalake", "numba", "pydantic",
    ]  # fmt: skip


@pytest.mark.usefixtures("registry")
def test_the_registered_model_s_signature_is_its_features_in_order(trained_company: Company) -> None:
    import mlflow

    signature = mlflow.models.get_model_info("models:/touchstone@champion").signature
    assert signature.inputs.input_names() == [feature.name for feature in trained_company.scorer.spec.features]
    assert signature.outputs.input_names() == ["probability"]


def test_the_registered_model_brings_our_code_along(trained_company: Company, tmp_path: Path) -> None:
    code = """
        import sys
        sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
        import mlflow
        mlflow.set_tracking_uri(sys.argv[1])
        loaded = mlflow.pyfunc.load_model("models:/touchstone@champion")
        import features
        print("mlflow-artifacts" in features.__file__, loaded.unwrap_python_model().scorer.version)
    """
    store = f"sqlite:///{trained_company.workspace / 'mlflow.db'}"
    words = [sys.executable, "-c", textwrap.dedent(code), store]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.stdout, done.returncode) == (f"True {trained_company.trained.version}\n", 0), done.stderr
