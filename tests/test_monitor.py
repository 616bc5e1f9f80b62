"""Monitoring and retraining: what moved is found and named, and a model is trained when there is a reason."""

from __future__ import annotations

import fcntl
import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from served import serving
from trained import NOW, Company
from typer.testing import CliRunner

from features.errors import NothingToDo
from features.history import DAY
from features.lake import Lake
from features.matrix import feature_matrix
from features.settings import Settings
from features.verbs import Moments
from serving import batch
from serving.scorer import champion, promote, save
from touchstone import app
from training.drift import Shift
from training.monitor import _of_drift, _of_promises, monitored
from training.promises import EARLY_MATTERS, Kept, doubts, expected
from training.retrain import due, retrain
from training.tracking import sweep


@pytest.fixture
def scored(trained_company: Company, tmp_path: Path) -> Company:
    """Return a company of one's own, whose open leads were scored just now."""
    workspace = tmp_path / "company"
    shutil.copytree(trained_company.workspace, workspace)
    lake = Lake(workspace / "lake")
    own = replace(trained_company, workspace=workspace, lake=lake)
    batch.store(lake, batch.score_open(own.scorer, own.history, own.settings.goal, own.as_of))
    return own


def watched(company: Company, days: float = 0) -> dict[str, Any]:
    return monitored(company.lake, company.settings, company.workspace, NOW + timedelta(days=days))


def parts(found: dict[str, Any]) -> list[str]:
    return [alarm["part"] for alarm in found["alarms"]]


def test_scores_that_are_as_served_raise_no_alarm_of_skew(scored: Company) -> None:
    found = watched(scored)
    assert found["skew"] == {"scored_again": len(scored_leads(scored)), "differ": 0, "examples": []}
    assert found["expected"]["roc_auc"] > 0.6
    assert "skew" not in parts(found)


def scored_leads(company: Company) -> list[str]:
    return company.lake.query("SELECT DISTINCT lead_id FROM scores ORDER BY ALL")["lead_id"].to_pylist()


def test_a_score_that_is_no_longer_computed_is_skew(scored: Company) -> None:
    first = Moments(scored.history, np.zeros(1, np.int64), np.full(1, scored.as_of))
    (said,) = scored.scorer.probabilities(feature_matrix(scored.scorer.spec.features, first))
    lead = scored.history.lead_ids[0]
    batch.store(scored.lake, scores_of([lead], scored.as_of, said + 1e-6).assign(model_version=scored.scorer.version))
    found = watched(scored)
    (alarm,) = (alarm for alarm in found["alarms"] if alarm["part"] == "skew")
    stored = scored.lake.query("SELECT probability FROM scores")["probability"].to_numpy()
    assert alarm["what"] == (f"1 of {len(stored)} scores are not what is computed now for the same moments: {lead}.")
    assert found["expected"] == expected(stored)


def test_the_latest_five_hundred_scores_of_the_champion_are_computed_again(scored: Company) -> None:
    goal, rows = scored.settings.goal, scored.lake.query("SELECT * FROM scores LIMIT 1").to_pandas()
    for days in (1, 2):
        batch.store(scored.lake, batch.score_open(scored.scorer, scored.history, goal, scored.as_of - days * DAY))
    wrong = rows.assign(probability=rows["probability"] + 0.1)
    batch.store(scored.lake, wrong.assign(as_of=rows["as_of"] - pd.Timedelta(days=60)))  # too long ago
    batch.store(scored.lake, wrong.assign(model_version="earlier"))
    assert watched(scored)["skew"] == {"scored_again": 500, "differ": 0, "examples": []}


def test_promises_of_the_horizon_and_early_ones_share_the_false_alarms_and_early_ones_have_to_matter_more(
    scored: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, doubted = [], list[bool]()
    monkeypatch.setattr("training.monitor.broken", lambda _, *how: asked.append(how) or [])
    monkeypatch.setattr(
        "training.monitor.doubts",
        lambda scorer, matrix, *, early=False: doubted.append(early) or doubts(scorer, matrix, early=early),
    )
    watched(scored)
    assert asked == [(0.005,), (0.005, EARLY_MATTERS)]
    assert doubted == [False, True]


def test_what_moved_and_what_arrives_is_told_as_it_was_found(
    scored: Company, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    moved = Shift("age_days", "3 days on average", "9 days on average", 0.001)
    monkeypatch.setattr("training.monitor.drifted", lambda *_: ([moved], np.array([True, False, False])))
    monkeypatch.setattr("training.monitor.checkup", lambda *_: {"arrivals": ["No touches for 9 days."]})
    found = watched(scored)
    assert found["drift"] == {"leads_of_late": 1, "leads_before": 2, "moved": [vars(moved)]}
    assert [alarm["what"] for alarm in found["alarms"]] == [
        "The leads of the last 28 days are different. age_days: 9 days on average, 3 days on average before.",
        "No touches for 9 days.",
    ]
    (tmp_path / "goals").mkdir()
    room = tmp_path / "goals" / "renewed"
    room.symlink_to(scored.workspace)
    (drift, _) = monitored(scored.lake, scored.settings, room, NOW)["alarms"]
    assert drift["do"].endswith("if the market has moved, train again: touchstone retrain --goal renewed.")


def test_of_what_moved_and_of_broken_promises_five_are_named() -> None:
    (alarm,) = _of_drift([Shift(f"f{i}", "1", "2", 0.001) for i in range(7)], 28, 0.01)
    named = "; ".join(f"f{i}: 2, 1 before" for i in range(5))
    assert alarm.what == f"The leads of the last 28 days are different. {named}, and 2 more features."
    groups = _of_promises([Kept(f"g{i}", 100, 9.6, 30, 0.001) for i in range(7)], 0.01, " within 30 days")
    assert [one.what for one in groups] == [
        f"g{i}: 30 of 100 leads closed within 30 days, 10 were promised." for i in range(5)
    ]


def test_promises_that_are_not_kept_are_an_alarm_until_a_model_has_learned_from_them(
    scored: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = scored.as_of - 100 * DAY
    leads = scored.history.lead_ids[:400]
    batch.store(scored.lake, scores_of(leads, since, probability=0.9))
    assert "promises" not in parts(watched(scored))  # the champion learned today
    older = replace(scored.scorer.spec, learned_until=since)
    promote(scored.workspace / "models", save(scored.workspace / "models", older, trees_of(scored)).version)
    found = watched(scored)
    (everyone, *_) = (alarm for alarm in found["alarms"] if alarm["part"] == "promises")
    closed = found["promises"][0]["closed"]
    assert everyone == {
        "part": "promises",
        "what": f"all: {closed} of 400 leads closed, 360 were promised.",
        "sure": "A model as sure as this one is so far off in fewer than 1% of checks.",
        "do": "Train again: touchstone retrain. If the new model is refused, look at what drifted.",
    }
    assert due(scored.lake, scored.settings.model_copy(update={"monitor": patient()}), scored.workspace, NOW) == (
        f"all: {closed} of 400 leads closed, 360 were promised."
    )
    monkeypatch.setattr("training.monitor.doubts", lambda _, matrix, **__: np.full((1, len(matrix)), 9.0))
    assert "promises" not in parts(watched(scored))  # of a model that knows nothing, nothing was expected


def patient() -> Any:
    """Return settings by which neither age nor new outcomes are a reason."""
    return Settings.model_validate({"monitor": {"retrain_days": 9999, "retrain_outcomes": 9999}}).monitor


def trees_of(company: Company) -> str:
    return (company.workspace / "models" / company.scorer.version / "model.txt").read_text("utf-8")


def scores_of(leads: list[str], as_of: int, probability: float) -> pd.DataFrame:
    return pd.DataFrame({
        "lead_id": leads,
        "as_of": pd.Timestamp(as_of, unit="us", tz="UTC").as_unit("us"),
        "horizon_days": 90.0,
        "probability": probability,
        "low": 0.0, "high": 1.0, "grade": "A", "trend": "steady", "reasons": "[]", "model_version": "earlier",
    })  # fmt: skip


def test_a_model_is_due_by_its_age(scored: Company) -> None:
    assert due(scored.lake, scored.settings, scored.workspace, NOW + timedelta(days=30)) == (
        "The champion learned 30 days ago; 30 are allowed."
    )


def test_a_model_is_due_once_many_more_leads_are_won(scored: Company) -> None:
    older = replace(scored.scorer.spec, learned_until=scored.as_of - 90 * DAY, outcomes=50)
    promote(scored.workspace / "models", save(scored.workspace / "models", older, trees_of(scored)).version)
    why = due(scored.lake, Settings.model_validate({"monitor": {"retrain_days": 91}}), scored.workspace, NOW)
    assert why is not None
    assert why.endswith("leads were won since the champion learned from 50.")


def test_without_a_model_one_is_due(tmp_path: Path) -> None:
    why = due(Lake(tmp_path / "lake"), Settings(), tmp_path, NOW)
    assert why is not None
    assert why.startswith("No model serves: ")


def test_nothing_is_due_for_a_young_model_whose_leads_are_alike(scored: Company) -> None:
    with pytest.raises(NothingToDo, match=r"^No training is due: the model is young"):
        retrain(scored.lake, scored.settings, scored.workspace, NOW)


def test_two_do_not_train_at_once(scored: Company) -> None:
    with (scored.workspace / ".retrain").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(NothingToDo, match=r"^A retraining of .* is running already\.$"):
            retrain(scored.lake, scored.settings, scored.workspace, NOW, force=True)


def test_retraining_trains_through_the_gate_and_says_why(scored: Company) -> None:
    why, trained = retrain(scored.lake, scored.settings, scored.workspace, NOW + timedelta(days=1), force=True)
    assert why == "It was asked for."
    serves = champion(scored.workspace / "models").version
    assert serves == (trained.version if trained.promoted else scored.scorer.version)


def test_a_run_that_a_killed_process_left_is_ended(scored: Company) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{scored.workspace / 'mlflow.db'}")
    client = mlflow.MlflowClient()
    (experiment, *_) = client.search_experiments()
    left = client.create_run(experiment.experiment_id).info.run_id
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    assert (sweep(scored.workspace), sweep(scored.workspace)) == (1, 0)
    assert client.get_run(left).info.status == "KILLED"


def test_the_command_writes_the_alarms_and_leaves_with_3(scored: Company, tmp_path: Path) -> None:
    rows = scored.lake.query("SELECT * FROM scores LIMIT 1").to_pandas()
    batch.store(scored.lake, rows.assign(probability=rows["probability"] + 0.01))
    asked = ["monitor", "--workspace", str(scored.workspace), "--as-of", NOW.isoformat()]
    told = CliRunner().invoke(
        app, [*asked, "--alarms", str(tmp_path / "alarms.json"), "--webhook", "http://127.0.0.1:1/"]
    )
    assert told.exit_code == 3
    assert "scores are not what is computed now" in told.stdout
    assert "The alarms did not arrive at 127.0.0.1: ConnectError." in told.stderr
    assert "skew" in [alarm["part"] for alarm in json.loads((tmp_path / "alarms.json").read_text("utf-8"))]


def test_the_page_and_the_metrics_show_what_was_found_last(scored: Company) -> None:
    rows = scored.lake.query("SELECT * FROM scores LIMIT 1").to_pandas()
    batch.store(scored.lake, rows.assign(probability=rows["probability"] + 0.01))
    with serving(scored.workspace, scored.settings) as client:
        assert "Nothing was looked at yet." in client.get("/monitor").text
        assert "touchstone_alarms" not in client.get("/metrics").text
        asked = ["monitor", "--workspace", str(scored.workspace), "--as-of", NOW.isoformat(), "--quiet"]
        assert CliRunner().invoke(app, asked).exit_code == 3
        page, metrics = client.get("/monitor").text, client.get("/metrics").text
    assert f"are not what is computed now for the same moments: {rows['lead_id'][0]}." in page
    assert 'touchstone_alarms{part="skew"} 1.0' in metrics
    assert 'touchstone_alarms{part="promises"} 0.0' in metrics
    assert "touchstone_monitored_seconds 1.77" in metrics


def test_the_webhook_can_be_configured(scored: Company) -> None:
    rows = scored.lake.query("SELECT * FROM scores LIMIT 1").to_pandas()
    batch.store(scored.lake, rows.assign(probability=rows["probability"] + 0.01))
    (scored.workspace / "touchstone.toml").write_text('[monitor]\nwebhook = "http://127.0.0.1:1/hook"\n', "utf-8")
    asked = ["monitor", "--workspace", str(scored.workspace), "--as-of", NOW.isoformat(), "--quiet"]
    told = CliRunner().invoke(app, asked)
    assert "The alarms did not arrive at 127.0.0.1: ConnectError." in told.stderr


def test_early_promises_that_are_not_kept_are_an_alarm_long_before_the_horizon_is_past(scored: Company) -> None:
    since = scored.as_of - 40 * DAY
    leads = [
        lead for lead, created in zip(scored.history.lead_ids, scored.history.created, strict=True) if created < since
    ]
    batch.store(scored.lake, scores_of(leads[-300:], since, probability=0.9))
    older = replace(scored.scorer.spec, learned_until=since)
    promote(scored.workspace / "models", save(scored.workspace / "models", older, trees_of(scored)).version)
    found = watched(scored)
    assert (found["promises"], found["early"]["days"]) == ([], 30)
    (everyone, *_) = found["early"]["promises"]
    assert (everyone["group"], everyone["leads"]) == ("all", 300)
    assert 60 < everyone["promised"] < 270  # less than the whole promise, and much more than came
    alarm = next(alarm for alarm in found["alarms"] if alarm["part"] == "promises")
    assert alarm["what"] == (
        f"all: {everyone['closed']} of 300 leads closed within 30 days, {everyone['promised']:.0f} were promised."
    )
