"""Calibration: from raw scores to probabilities that keep their promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.spec import Calibration, probability
from training import calibration as calibration_module

Floats = NDArray[np.float64]
ROWS = st.lists(st.tuples(st.floats(-8, 8), st.booleans()), min_size=2, max_size=40)


def beta_calibration(margins: Floats, labels: Floats) -> Calibration:
    """Return the calibration when all rows count alike."""
    return calibration_module.beta_calibration(margins, labels, np.ones(len(labels)))


def outcomes(probabilities: Floats, seed: int = 0) -> Floats:
    return (np.random.default_rng(seed).random(len(probabilities)) < probabilities).astype(float)


def test_beta_calibration_is_the_formula_of_kull_and_others() -> None:
    p = np.array([0.1, 0.5, 0.8])
    log_odds = Calibration(a=0.5, b=2.0, c=-0.3).log_odds(np.log(p / (1 - p)))
    assert log_odds == pytest.approx(0.5 * np.log(p) - 2.0 * np.log(1 - p) - 0.3)


def test_the_slope_is_the_derivative_of_the_formula() -> None:
    calibration, at = Calibration(a=0.5, b=2.0, c=-0.3), np.array([-3.0, 0, 2])
    difference = calibration.log_odds(at + 1e-6) - calibration.log_odds(at - 1e-6)
    assert calibration.slope(at) == pytest.approx(difference / 2e-6)


def test_the_default_calibration_changes_nothing() -> None:
    margins = np.array([-700.0, -3, 0, 2, 700])
    assert Calibration().log_odds(margins) == pytest.approx(margins)


def test_a_known_distortion_is_found_again() -> None:
    margins = np.random.default_rng(1).normal(-0.5, 2, 100_000)
    true = Calibration(a=0.5, b=1.6, c=-0.3)
    found = beta_calibration(margins, outcomes(probability(true.log_odds(margins))))
    assert (found.a, found.b, found.c) == pytest.approx((0.5, 1.6, -0.3), abs=0.05)


def test_calibrated_probabilities_sum_to_the_wins() -> None:
    margins = np.random.default_rng(2).normal(-3, 1, 2000)
    labels = outcomes(probability(0.5 * margins))
    assert probability(beta_calibration(margins, labels).log_odds(margins)).sum() == pytest.approx(labels.sum())


def test_constant_scores_give_the_base_rate() -> None:
    found = beta_calibration(np.full(50, -1.7), np.repeat([1.0, 0.0], [10, 40]))
    assert probability(found.log_odds(np.array([-1.7]))) == pytest.approx([0.2])


def test_scores_that_rank_the_wrong_way_round_give_the_base_rate() -> None:
    rng = np.random.default_rng(3)
    margins = np.r_[rng.normal(-1, 1, 100), rng.normal(1, 1, 300)]
    found = beta_calibration(margins, np.repeat([1.0, 0.0], [100, 300]))
    assert (found.a, found.b) == (0, 0)
    assert probability(np.array([found.c])) == pytest.approx([0.25])


@pytest.mark.parametrize("seed", range(5))
def test_where_wins_are_rare_nobody_is_promised_to_close_for_certain(seed: int) -> None:
    margins = np.random.default_rng(seed).normal(-4, 0.6, 800)  # honest scores between 0.3 % and 10 %
    found = beta_calibration(margins, outcomes(probability(margins), seed))
    assert 0.05 < probability(found.log_odds(np.array([-1.0])))[0] < 0.5  # 27 % in truth, and never seen


def test_scores_that_separate_wins_from_losses_stay_finite() -> None:
    margins = np.r_[np.full(50, -3.0), np.full(50, 3.0)]
    found = beta_calibration(margins, np.repeat([0.0, 1.0], 50))
    assert 0.9 < probability(found.log_odds(np.array([3.0])))[0] < 0.999


@settings(deadline=None, max_examples=40)
@given(ROWS)
def test_slopes_are_never_negative(rows: list[tuple[float, bool]]) -> None:
    margins, labels = np.array(rows, np.float64).T
    found = beta_calibration(margins, labels)
    assert min(found.a, found.b) >= 0


@given(*[st.floats(0, 10)] * 2, st.floats(-10, 10), st.floats(-50, 50), st.floats(0, 50))
def test_a_higher_score_is_never_less_probable(a: float, b: float, c: float, margin: float, more: float) -> None:
    lower, higher = Calibration(a, b, c).log_odds(np.array([margin, margin + more]))
    assert lower <= higher + 1e-9


def test_probabilities_of_any_log_odds_are_finite() -> None:
    assert probability(np.array([-1e6, -800.0, 0, 800, 1e6])).tolist() == [0, 0, 0.5, 1, 1]


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    margins, labels = np.array([-2.0, -1, 0, 1, 2, 3]), np.array([0.0, 1, 0, 0, 1, 1])
    weights = np.array([1, 2, 1, 2, 1, 2])
    weighted = calibration_module.beta_calibration(margins, labels, weights.astype(float))
    repeated = beta_calibration(np.repeat(margins, weights), np.repeat(labels, weights))
    assert vars(weighted) == pytest.approx(vars(repeated), abs=1e-6)
