"""Shapley values of both games, against all orders of joining."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pathed import path_journeys

from attribution import coalitions as module
from attribution.coalitions import coalitions, ordered_values, rate_values
from attribution.journeys import Floats, Journeys
from attribution.rules import RULES, shares

ROWS = st.lists(
    st.tuples(st.lists(st.sampled_from("ABCD"), min_size=1, max_size=5), st.integers(0, 5), st.integers(0, 5)),
    min_size=1,
    max_size=8,
)
Row = tuple[list[str], int, int]


def journeys_of(rows: list[Row]) -> Journeys:
    table = pd.DataFrame(rows, columns=["path", "conversions", "nulls"]).assign(value_cents=0)
    return path_journeys(table.assign(path=table["path"].map(" > ".join)))


def by_permutations(rows: list[Row], channels: tuple[str, ...], *, rate: bool) -> list[float]:
    """Mean of what a channel adds over all orders in which the channels join."""

    def worth(some: set[str]) -> float:
        won = sum(conversions for path, conversions, _ in rows if set(path) <= some)
        ended = sum(conversions + nulls for path, conversions, nulls in rows if set(path) <= some)
        return won / ended if rate and ended else 0.0 if rate else won

    added = dict.fromkeys(channels, 0.0)
    orders = list(permutations(channels))
    for order in orders:
        for place, name in enumerate(order):
            added[name] += worth({*order[: place + 1]}) - worth({*order[:place]})
    return [added[name] / len(orders) for name in channels]


def values(seen: Journeys) -> tuple[Floats, Floats]:
    sets = coalitions(seen)
    ends = [np.bincount(sets.of_journey, end[seen.touched], len(sets.member)) for end in (seen.conversions, seen.nulls)]
    return rate_values(sets.member, *ends)


@settings(deadline=None, max_examples=30)
@given(ROWS)
def test_the_rules_shapley_is_that_of_the_game_that_counts_conversions(rows: list[Row]) -> None:
    seen = journeys_of(rows)
    credit = np.bincount(seen.channel, shares(seen, RULES["shapley"]) * seen.conversions[seen.journey])
    np.testing.assert_allclose(credit, by_permutations(rows, seen.channels, rate=False), atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(ROWS)
def test_the_rates_values_are_means_over_all_orders_and_add_up_to_the_rate(rows: list[Row]) -> None:
    seen = journeys_of(rows)
    found, error = values(seen)
    np.testing.assert_allclose(found, by_permutations(rows, seen.channels, rate=True), atol=1e-9)
    assert error.tolist() == [0] * len(seen.channels)


def test_sampled_values_lie_within_their_errors_of_the_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    rows = [(list(random.choice(list("ABCDEF"), random.integers(1, 5))), *random.integers(0, 9, 2)) for _ in range(60)]
    exact, _ = values(journeys_of(rows))
    monkeypatch.setattr(module, "EXACT", 3)
    sampled, error = values(journeys_of(rows))
    assert (error > 0).all()
    assert (np.abs(sampled - exact) < 4 * error).all()
    assert sampled.sum() == pytest.approx(exact.sum())


def test_ordered_values_say_at_which_place_a_channel_was_first_met() -> None:
    seen = journeys_of([(list("ABA"), 6, 1), (list("B"), 2, 0), (list("CCAB"), 3, 0)])
    assert ordered_values(seen).tolist() == [[3, 1, 0], [2, 3, 1], [1, 0, 0]]


@settings(deadline=None, max_examples=30)
@given(ROWS)
def test_ordered_values_add_up_to_shapleys(rows: list[Row]) -> None:
    seen = journeys_of(rows)
    credit = np.bincount(seen.channel, shares(seen, RULES["shapley"]) * seen.conversions[seen.journey])
    np.testing.assert_allclose(ordered_values(seen).sum(axis=1), credit, atol=1e-9)
