"""Facts: how many leads with such a value were won."""

from __future__ import annotations

import numpy as np
import pytest

from features.verbs import Feature
from training.facts import edges, facts

VISITS = Feature("visits", "count", "")
INDUSTRY = Feature("industry", "attribute", "", levels=("Mining", "Retail"))
UNKNOWN = float("nan")


def test_the_share_of_wins_starts_from_the_base_rate_as_if_seen_in_twenty_rows() -> None:
    visits = np.repeat([0.0, 1.0, UNKNOWN], [60, 30, 10])
    labels = np.r_[np.repeat([1.0, 0.0], [6, 54]), np.repeat([1.0, 0.0], [24, 6]), np.ones(10)]
    (fact,) = facts(visits[:, None], labels, np.ones(100), (VISITS,), 0.4)
    said = [fact.rate(value) for value in (0, 0.5, 1, 7, UNKNOWN)]
    assert said == pytest.approx([14 / 80, 14 / 80, 32 / 50, 32 / 50, 18 / 30])


def test_a_category_has_a_share_for_each_level_and_for_other() -> None:
    industry = np.repeat([0.0, 1.0, 2.0], 20)
    labels = np.repeat([1.0, 0.0, 1.0], 20)
    (fact,) = facts(industry[:, None], labels, np.ones(60), (INDUSTRY,), 0.5)
    assert [fact.rate(value) for value in (0, 1, 2, UNKNOWN)] == [0.75, 0.25, 0.75, 0.5]


def test_a_row_counts_by_its_weight() -> None:
    (fact,) = facts(np.zeros((2, 1)), np.array([1.0, 0.0]), np.array([30.0, 10.0]), (VISITS,), 0.5)
    assert fact.rate(0.0) == pytest.approx(40 / 60)


def test_numbers_are_parted_into_fifths_and_few_values_one_from_the_other() -> None:
    assert edges(np.arange(101.0)).tolist() == [20, 40, 60, 80]
    assert edges(np.array([3.0, 1, 1, 2])).tolist() == [2, 3]
    assert edges(np.array([5.0, 5])).tolist() == []
