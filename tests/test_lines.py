"""Lines: log-odds as a sum over features, learned by logistic regression or from the rates of segments."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from features.verbs import Feature
from serving.line import Line, Term, lines_of, read_line
from serving.spec import probability
from training.lines import SPREAD, logistic_line, segment_line

Floats = NDArray[np.float64]
AMOUNT, VISITS = Feature("amount", "attribute", ""), Feature("visits", "count", "")
INDUSTRY = Feature("industry", "attribute", "", levels=("Mining", "Retail"))
UNKNOWN = float("nan")


@pytest.fixture
def matrix() -> Floats:
    """Return 600 rows: an amount that is missing now and then, an industry, a column that says nothing."""
    rng = np.random.default_rng(0)
    amount = np.where(rng.random(600) < 0.1, np.nan, rng.lognormal(3, 1, 600))
    return np.column_stack([amount, rng.integers(0, 3, 600), np.ones(600)])


@pytest.fixture
def labels(matrix: Floats) -> Floats:
    log_odds = np.nan_to_num(np.log1p(matrix[:, 0]) - 3) + (matrix[:, 1] == 1) - 1
    return (np.random.default_rng(1).random(600) < probability(log_odds)).astype(float)


FEATURES = (AMOUNT, INDUSTRY, VISITS)


def adds(term: Term, *values: float) -> list[float]:
    """Return what a term adds to the log-odds for each of these values."""
    column = np.array(values)[:, None]
    margins, effects = Line(0.0, (term,)).margins(column), Line(0.0, (term,)).effects(column)
    assert margins.tolist() == effects[:, 0].tolist()
    return [float(value) for value in margins]


# What a line says


def test_a_term_adds_a_slope_for_a_number_an_effect_for_a_level_and_one_for_what_is_missing() -> None:
    number = Term(slope=0.5, constant=0.1, centre=np.log(3), scale=2.0, missing=-0.7)
    assert adds(number, 2.0, 8.0, UNKNOWN) == pytest.approx([0.1, 0.1 + 0.25 * np.log(3), -0.7])
    levels = Term(levels=(0.2, -0.3, 0.9), missing=0.4)
    assert adds(levels, 0.0, 1.0, 2.0, UNKNOWN) == [0.2, -0.3, 0.9, 0.4]


def test_a_number_farther_than_four_standard_deviations_counts_as_four() -> None:
    term = Term(slope=1.0)
    assert adds(term, 1e9, -1e9) == [4.0, -4.0]


def test_effects_and_base_add_up_to_the_margins(matrix: Floats, labels: Floats) -> None:
    line = logistic_line(matrix, labels, np.ones(600), FEATURES)
    assert line.base + line.effects(matrix).sum(axis=1) == pytest.approx(line.margins(matrix), abs=1e-12)


def test_several_lines_say_what_each_says_alone(matrix: Floats, labels: Floats) -> None:
    lines = [logistic_line(matrix[i::3], labels[i::3], np.ones(200), FEATURES) for i in range(3)]
    together = lines_of(lines)
    assert together.margins(matrix).tolist() == [line.margins(matrix).tolist() for line in lines]
    assert together.base == pytest.approx(np.mean([line.base for line in lines]))
    assert together.effects(matrix) == pytest.approx(np.mean([line.effects(matrix) for line in lines], axis=0))


def test_a_row_alone_is_the_row_among_others_to_the_last_bit(matrix: Floats, labels: Floats) -> None:
    line = logistic_line(matrix, labels, np.ones(600), FEATURES)
    alone = [line.margins(matrix[i : i + 1])[0] for i in range(600)]
    assert alone == line.margins(matrix).tolist() == line.margins(np.asfortranarray(matrix)).tolist()


def test_a_row_of_half_the_precision_is_the_row_that_it_is(matrix: Floats, labels: Floats) -> None:
    line = logistic_line(matrix, labels, np.ones(600), FEATURES)
    halved: Any = matrix.astype(np.float32)
    assert line.margins(halved).tolist() == line.margins(halved.astype(np.float64)).tolist()
    assert line.effects(halved).tolist() == line.effects(halved.astype(np.float64)).tolist()


def test_effects_are_nothing_on_average_over_what_was_learned_from(matrix: Floats, labels: Floats) -> None:
    effects = logistic_line(matrix, labels, np.ones(600), FEATURES).effects(matrix)
    assert effects.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-12)


def test_a_line_is_read_from_json_as_it_was(matrix: Floats, labels: Floats) -> None:
    line = logistic_line(matrix, labels, np.ones(600), FEATURES)
    assert read_line(json.loads(json.dumps(asdict(line)))) == line


# What is learned


def test_the_regression_is_that_of_scikit_learn_on_the_same_columns(matrix: Floats, labels: Floats) -> None:
    known = ~np.isnan(matrix[:, 0])
    logs = np.log1p(matrix[:, 0])
    number = np.where(known, (logs - logs[known].mean()) / logs[known].std(), 0)
    design = np.column_stack([number.clip(-4, 4), ~known, matrix[:, [1]] == [0, 1, 2]]).astype(float)
    strength = SPREAD / design.var(axis=0).sum()
    other = LogisticRegression(C=strength, tol=1e-10, max_iter=1000).fit(design, labels)
    line = logistic_line(matrix, labels, np.ones(600), FEATURES)
    assert probability(line.margins(matrix)) == pytest.approx(other.predict_proba(design)[:, 1], abs=2e-3)


def test_a_row_of_weight_two_counts_as_two_rows(matrix: Floats, labels: Floats) -> None:
    weights = np.where(labels == 1, 2.0, 1.0)
    once = logistic_line(matrix[:, 1:], labels, weights, FEATURES[1:])
    twice = np.repeat(np.arange(600), weights.astype(int))
    repeated = logistic_line(matrix[twice, 1:], labels[twice], np.ones(len(twice)), FEATURES[1:])
    assert once.margins(matrix[:, 1:]) == pytest.approx(repeated.margins(matrix[:, 1:]), abs=0.05)


def test_a_column_that_never_varies_adds_nothing(matrix: Floats, labels: Floats) -> None:
    term = logistic_line(matrix, labels, np.ones(600), FEATURES).terms[2]
    assert (term.slope, term.constant) == (0, pytest.approx(0, abs=1e-9))


def test_a_column_that_is_never_known_adds_nothing(labels: Floats) -> None:
    line = logistic_line(np.full((600, 1), UNKNOWN), labels, np.ones(600), (AMOUNT,))
    assert line.margins(np.array([[5.0], [UNKNOWN]])) == pytest.approx(
        np.log(labels.mean() / (1 - labels.mean())), abs=0.01
    )


def test_one_class_alone_still_gives_a_finite_line(matrix: Floats) -> None:
    assert np.isfinite(logistic_line(matrix, np.zeros(600), np.ones(600), FEATURES).margins(matrix)).all()


# Segments


def test_the_rates_of_segments_start_from_the_base_rate_as_if_seen_in_twenty_leads() -> None:
    industry = np.repeat([0.0, 1.0], 40)[:, None]
    labels = np.repeat([1.0, 0.0], [10, 70])
    line = segment_line(industry, labels, np.ones(80), (INDUSTRY,), 0.125)
    assert line is not None
    known = probability(line.margins(np.array([[0.0], [1.0], [2.0], [UNKNOWN]])))
    assert known == pytest.approx([12.5 / 60, 2.5 / 60, 0.125, 0.125])


def test_where_wins_are_rare_the_rates_of_segments_start_as_if_one_win_had_been_seen() -> None:
    industry = np.repeat([0.0, 1.0], 500)[:, None]
    labels = np.repeat([1.0, 0.0], [8, 992])
    line = segment_line(industry, labels, np.ones(1000), (INDUSTRY,), 0.01)
    assert line is not None
    known = probability(line.margins(np.array([[0.0], [1.0]])))
    assert known == pytest.approx([9 / 600, 1 / 600])


def test_the_category_that_tells_most_is_taken() -> None:
    wins = np.repeat([1.0, 0.0], [10, 70])
    columns = np.column_stack([np.tile([0.0, 1.0], 40), np.repeat([0.0, 1.0], [20, 60])])
    line = segment_line(columns, wins, np.ones(80), (INDUSTRY, INDUSTRY), 0.125)
    assert line is not None
    assert [term.silent for term in line.terms] == [True, False]


def test_categories_that_tell_nothing_give_no_line() -> None:
    even = np.tile([0.0, 1.0], 40)[:, None]
    assert segment_line(even, np.repeat([1.0, 0.0], [10, 70]), np.ones(80), (INDUSTRY,), 0.125) is None


def test_without_categories_there_are_no_segments() -> None:
    numbers = np.arange(80.0)[:, None]
    assert segment_line(numbers, np.repeat([1.0, 0.0], 40), np.ones(80), (AMOUNT,), 0.5) is None


def test_a_line_of_no_terms_says_its_base() -> None:
    assert Line(-1.0, ()).margins(np.empty((2, 0))).tolist() == [-1.0, -1.0]
