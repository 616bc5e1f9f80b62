"""The backtest: what a model would have said, had it been trained then."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import day, eager_and_idle, moment, world

from features.errors import DataError
from features.history import DAY, NEVER, History
from features.settings import Settings
from training import learning
from training.backtest import Backtest, backtest
from training.snapshots import Labelled

SETTINGS = Settings.model_validate({
    "goal": {"horizon_days": 30},
    "snapshots": {"ages_days": [2]},
    "training": {"trees": 20, "members": 3},
})  # fmt: skip
LATE = day(500)


@pytest.fixture(scope="module")
def history() -> History:
    """Lead i is created on day 1.5 i, looked at two days later, and closed on its 20th day."""
    return eager_and_idle(240)


@pytest.fixture(scope="module")
def judged(history: History) -> Backtest:
    return backtest(history, SETTINGS, LATE)


def with_stages(history: History, **columns: Any) -> History:
    """Return the history with other stages."""
    return History(**vars(history) | {"stages": type(history.stages)(**vars(history.stages) | columns)})


def test_four_folds_begin_at_60_70_80_and_90_percent_of_the_snapshots(judged: Backtest) -> None:
    windows = [(fold["test_from"], fold["test_to"], fold["n"]) for fold in judged.folds]
    assert windows == [
        (moment(218).isoformat(), moment(252.5).isoformat(), 24),  # leads 144 to 167
        (moment(254).isoformat(), moment(288.5).isoformat(), 24),
        (moment(290).isoformat(), moment(324.5).isoformat(), 24),
        (moment(326).isoformat(), moment(360.5).isoformat(), 24),
    ]


def test_a_fold_is_trained_on_the_outcomes_known_at_its_beginning(judged: Backtest) -> None:
    # leads that were closed before: 1.5 i + 20 < 218
    assert [fold["trained_on"] for fold in judged.folds] == [132, 156, 180, 204]


def test_a_fold_has_the_keys_of_the_contract_and_what_its_model_learned(judged: Backtest) -> None:
    counts, quality = ["n", "positives", "base_rate", "mean_probability"], ["roc_auc", "pr_auc", "log_loss", "brier"]
    learned = ["trained_on", "base_rate_learned", "evidence", "leaks"]
    measured = [*counts, *quality, "ece", "lift_at_10"]
    assert [list(fold) for fold in judged.folds] == [["test_from", "test_to", *measured, *learned]] * 4
    assert list(judged.overall) == measured


def test_the_model_finds_the_signal_and_the_base_rate_does_not(judged: Backtest) -> None:
    assert (judged.overall["n"], judged.overall["positives"]) == (96, 48)
    assert judged.overall["roc_auc"] == pytest.approx(0.8, abs=0.05)  # four of five in order, on either side
    assert judged.overall["log_loss"] < 0.55
    assert judged.base_rate["log_loss"] == pytest.approx(np.log(2), abs=0.01)


def test_the_base_rate_is_the_one_known_at_the_beginning_whatever_came_later() -> None:
    created = {f"lead-{i:04}": 1.5 * i for i in range(120)}
    stages = [(lead, on + 20, "won" if i % 2 and i < 60 else "lost") for i, (lead, on) in enumerate(created.items())]
    found = backtest(world(created, stages=stages), SETTINGS, LATE, [day(150)])
    rate = 30.5 / 92  # of 87 snapshots with 1.5 i + 20 < 150, 30 were won, and none later
    assert (found.folds[0]["trained_on"], found.base_rate["positives"]) == (87, 0)
    assert found.base_rate["mean_probability"] == pytest.approx(rate)
    assert found.base_rate["log_loss"] == pytest.approx(-np.log(1 - rate))


def test_predictions_have_the_columns_of_the_contract(judged: Backtest) -> None:
    assert judged.predictions.dtypes.astype(str).to_dict() == {
        "lead_id": "str",
        "as_of": "datetime64[us, UTC]",
        "horizon_days": "float64",
        "probability": "float64",
        "low": "float64",
        "high": "float64",
        "label": "int64",
    }


def test_predictions_are_of_the_test_snapshots_with_their_labels(judged: Backtest) -> None:
    told = judged.predictions[["lead_id", "as_of", "horizon_days", "label"]]
    tested = range(144, 240)
    expected = pd.DataFrame({
        "lead_id": [f"lead-{i:04}" for i in tested],
        "as_of": pd.to_datetime([moment(1.5 * i + 2) for i in tested]).as_unit("us"),
        "horizon_days": 30.0,
        "label": [int((i // 2 % 5 != 0) == (i % 2 == 0)) for i in tested],
    })  # fmt: skip
    pd.testing.assert_frame_equal(told, expected, check_dtype=False)


def test_an_interval_contains_its_probability(judged: Backtest) -> None:
    said = judged.predictions
    assert ((said["low"] < said["probability"]) & (said["probability"] < said["high"])).all()


def test_a_moment_to_test_from_makes_one_fold_of_all_that_follows(history: History) -> None:
    found = backtest(history, SETTINGS, LATE, [day(300)])
    assert [(fold["test_from"], fold["n"]) for fold in found.folds] == [(moment(300).isoformat(), 41)]
    assert found.overall == {name: found.folds[0][name] for name in found.overall}


def test_a_fold_without_snapshots_is_left_out(history: History) -> None:
    found = backtest(history, SETTINGS, LATE, [day(299.1), day(299.2)])  # lead 198 was looked at on day 299
    assert [fold["test_from"] for fold in found.folds] == [moment(299.2).isoformat()]


def test_outcomes_that_are_not_known_yet_are_not_judged(history: History) -> None:
    found = backtest(history, SETTINGS, day(340), [day(300)])
    assert found.predictions["lead_id"].tolist() == [f"lead-{i:04}" for i in range(199, 206)]


def test_each_fold_is_announced(history: History) -> None:
    said: list[str] = []
    backtest(history, SETTINGS, LATE, [day(200), day(300)], said.append)
    assert said == ["Fold from 2026-07-24", "Fold from 2026-11-01"]


# Only the past


def test_outcomes_learned_after_the_beginning_of_a_fold_change_none_of_its_predictions(history: History) -> None:
    stages = history.stages
    since = stages.known >= day(250)
    reversed_since = np.where(since, 1 - stages.codes["stage"], stages.codes["stage"])  # won is lost, lost is won
    other = with_stages(history, codes={"stage": reversed_since})
    told, retold = (backtest(world, SETTINGS, LATE, [day(250)]).predictions for world in (history, other))
    assert (told["label"] == 1 - retold["label"]).all()
    pd.testing.assert_frame_equal(told.drop(columns="label"), retold.drop(columns="label"))


def test_what_is_learned_from_ends_where_the_test_begins(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[Labelled] = []
    really_fit = learning.fit

    def watched(rows: Labelled, *arguments: Any) -> Any:
        learned.append(rows)
        return really_fit(rows, *arguments)

    monkeypatch.setattr(learning, "fit", watched)
    backtest(history, SETTINGS, LATE, [day(200), day(300)])
    latest = [rows.moments.as_of.max() + 18 * DAY for rows in learned]  # when that lead was closed
    assert [latest[0] < day(200), latest[1] < day(300)] == [True, True]


def test_a_kind_of_touch_that_is_new_after_the_beginning_is_no_feature(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = {lead: i * 1.5 for i, lead in enumerate(history.lead_ids)}
    touches = [(lead, on + 1, "page_view" if on < 200 else "fair_visit", "Email") for lead, on in created.items()]
    stages = [(lead, on + 20, ("won", "lost")[i % 2]) for i, (lead, on) in enumerate(created.items())]
    asked: list[set[str]] = []
    really_fit = learning.fit

    def watched(rows: Labelled, features: Any, *arguments: Any) -> Any:
        asked.append(
            {
                name
                for feature in features
                for column, name in feature.where
                if column == "kind" and isinstance(name, str)
            }
        )
        return really_fit(rows, features, *arguments)

    monkeypatch.setattr(learning, "fit", watched)
    backtest(world(created, touches, stages), SETTINGS, LATE, [day(200), day(300)])
    assert asked == [{"page_view"}, {"page_view", "fair_visit"}]


# Nothing to judge


def test_a_test_that_begins_after_every_known_outcome_is_refused_with_a_sentence(history: History) -> None:
    sentence = re.escape(
        "No snapshot from 2027-05-20 on has a known outcome before 2027-05-20. "
        "Take an earlier --test-from, a shorter goal.horizon_days, or wait."
    )
    with pytest.raises(DataError, match=f"^{sentence}$"):
        backtest(history, SETTINGS, LATE, [LATE])


def test_a_history_without_outcomes_is_refused_with_a_sentence() -> None:
    sentence = "No snapshot has a known outcome yet. Ingest more history, or shorten goal.horizon_days."
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        backtest(world({"ada": 1}), SETTINGS, day(10))


def test_the_whole_history_is_judged_when_no_moment_says_otherwise(history: History) -> None:
    assert NEVER > LATE
    assert backtest(history, SETTINGS, NEVER).overall["n"] == 96
