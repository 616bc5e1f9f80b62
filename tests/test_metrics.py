"""Metrics, each against scikit-learn or a table worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn

from training.metrics import calibration_error, lift, metrics, of_groups, reliability, reliability_errors, roc_auc

Floats = NDArray[np.float64]
LABELS = np.array([0.0, 1, 0, 1, 0, 0, 1, 0, 0, 0])
PROBABILITIES = np.array([0.1, 0.9, 0.2, 0.4, 0.4, 0.1, 0.3, 0.05, 0.5, 0.2])


def test_ten_predictions_worked_by_hand() -> None:
    found = metrics(LABELS, PROBABILITIES)
    assert {name: found[name] for name in ("n", "positives", "base_rate")} == {
        "n": 10,
        "positives": 3,
        "base_rate": 0.3,
    }
    assert found["mean_probability"] == pytest.approx(3.15 / 10)
    assert found["brier"] == pytest.approx((3 * 0.01 + 0.0025 + 2 * 0.04 + 0.16 + 0.25 + 0.36 + 0.49) / 10)
    assert found["roc_auc"] == pytest.approx(17.5 / 21)  # pairs of a win and another that are in order; a tie is half
    assert found["lift_at_10"] == pytest.approx(1 / 0.3)


def test_ranking_and_loss_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.random(500).round(2)
    labels = (rng.random(500) < probabilities).astype(float)
    found = metrics(labels, probabilities)
    assert {name: found[name] for name in ("roc_auc", "pr_auc", "log_loss", "brier")} == pytest.approx({
        "roc_auc": sklearn.roc_auc_score(labels, probabilities),
        "pr_auc": sklearn.average_precision_score(labels, probabilities),
        "log_loss": sklearn.log_loss(labels, probabilities),
        "brier": sklearn.brier_score_loss(labels, probabilities),
    })  # fmt: skip


GROUPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)  # wins and losses


@given(GROUPS.filter(lambda groups: any(wins + losses for wins, losses in groups)))
@settings(deadline=None)
def test_groups_of_equal_probability_have_the_metrics_of_their_rows(groups: list[tuple[int, int]]) -> None:
    wins, losses = np.array(groups, np.float64).T
    values = np.linspace(0, 0.9, len(groups))
    times = np.concatenate([wins, losses]).astype(np.int64)
    rows = np.repeat([1.0, 0.0], len(values)).repeat(times), np.tile(values, 2).repeat(times)
    whole = metrics(*rows)
    found = of_groups(values, wins, wins + losses)
    promised, realised, sizes = reliability(*rows)
    assert found["ece"] == pytest.approx(np.average(np.abs(promised - realised), weights=sizes))
    assert found == {name: whole[name] if whole[name] is None else pytest.approx(whole[name]) for name in found}


def test_roc_auc_of_scores_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    scores = rng.standard_normal(300).round(1)
    labels = (rng.random(300) < 0.3).astype(float)
    assert roc_auc(labels, scores) == pytest.approx(sklearn.roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_with_one_class_there_is_no_ranking_and_no_lift_but_a_loss(label: float) -> None:
    assert metrics(np.full(4, label), np.full(4, 0.5)) == {
        "n": 4,
        "positives": 4 * label,
        "base_rate": label,
        "mean_probability": 0.5,
        "roc_auc": None,
        "pr_auc": None,
        "log_loss": pytest.approx(np.log(2)),
        "brier": 0.25,
        "ece": 0.5,
        "lift_at_10": None,
    }


def test_without_predictions_there_is_no_metric() -> None:
    found = metrics(np.empty(0), np.empty(0))
    assert (found.pop("n"), found.pop("positives")) == (0, 0)
    assert found == dict.fromkeys(metrics(LABELS, PROBABILITIES).keys() - {"n", "positives"})


def test_a_certain_prediction_that_was_wrong_still_has_a_finite_loss() -> None:
    assert metrics(np.array([0.0, 1]), np.array([1.0, 0]))["log_loss"] > 30


# Calibration


def test_the_calibration_error_weighs_each_bin_by_its_rows() -> None:
    labels = np.array([0, 0, 0, 1.0, 1, 1, 0, 1])
    probabilities = np.array([0.1] * 4 + [0.6, 0.6, 0.9, 0.9])
    # bins: 4 rows promised 0.1 and kept 0.25; 2 rows 0.6 and 1; 2 rows 0.9 and 0.5
    assert calibration_error(labels, probabilities) == pytest.approx((4 * 0.15 + 2 * 0.4 + 2 * 0.4) / 8)


def test_fifteen_bins_hold_equally_many_rows() -> None:
    probabilities = np.linspace(0.01, 0.99, 300)
    promised, realised, sizes = reliability((np.arange(300) % 2).astype(float), probabilities)
    assert sizes.tolist() == [20] * 15
    assert realised.tolist() == [0.5] * 15
    assert promised == pytest.approx(probabilities.reshape(15, 20).mean(axis=1))


def test_equal_probabilities_share_the_bin_of_their_middle() -> None:
    probabilities = np.r_[np.arange(5), np.full(20, 5), np.arange(6, 131)] / 1000
    sizes = reliability(np.zeros(150), probabilities)[2]
    assert sizes.tolist() == [5, 20, 5, *[10] * 12]  # ranks 5 to 24 have their middle in the second ten


def test_what_came_true_is_as_unsure_as_so_few_leads_make_it() -> None:
    labels, said = np.repeat([1.0, 0.0, 1.0, 0.0], [10, 30, 5, 15]), np.repeat([0.2, 0.7], [40, 20])
    apart = reliability_errors(labels, said, np.arange(60))
    of_five = reliability_errors(labels, said, np.arange(60) // 5)
    assert apart == pytest.approx([np.sqrt(0.25 * 0.75 / 40), np.sqrt(0.25 * 0.75 / 20)])
    assert of_five == pytest.approx(apart * np.sqrt(5))


def test_a_constant_prediction_is_one_bin_and_off_by_its_distance_from_the_base_rate() -> None:
    labels = np.repeat([1.0, 0.0], [30, 70])
    promised, realised, sizes = reliability(labels, np.full(100, 0.2))
    assert (promised.tolist(), realised.tolist(), sizes.tolist()) == ([pytest.approx(0.2)], [0.3], [100])
    assert calibration_error(labels, np.full(100, 0.2)) == pytest.approx(0.1)


# Lift


def test_the_lift_is_the_share_of_wins_at_the_top_over_the_share_among_all() -> None:
    labels = np.zeros(100)
    labels[[0, 1, 2, 3, 50, 60, 70, 80]] = 1
    assert lift(labels, np.linspace(1, 0.01, 100), 0.1) == pytest.approx((4 / 10) / (8 / 100))


def test_of_few_rows_the_top_is_the_best_one() -> None:
    assert lift(np.array([0.0, 1, 0, 0]), np.array([0.2, 0.9, 0.1, 0.3]), 0.1) == 4


def test_rows_that_tie_for_the_last_places_share_them() -> None:
    labels = np.array([1.0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    probabilities = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    assert lift(labels, probabilities, 0.3) == pytest.approx((1 + 2 * 1 / 4) / 3 / 0.2)


def test_a_constant_prediction_lifts_nothing() -> None:
    assert lift(np.repeat([1.0, 0.0], [10, 90]), np.full(100, 0.1), 0.1) == 1


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.1, 0.25, 0.5, 0.8])), min_size=1), st.randoms()
)
def test_the_order_of_rows_changes_nothing(rows: list[tuple[float, float]], random: Any) -> None:
    def measured(some: list[tuple[float, float]]) -> dict[str, Any]:
        labels, probabilities = np.array(some).T
        return metrics(labels, probabilities)

    assert measured(random.sample(rows, len(rows))) == pytest.approx(measured(rows))
