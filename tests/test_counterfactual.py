"""Counterfactual-adjusted Shapley values: brute force over orders, and shares of paths among distinct marks."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attribution.counterfactual as game
from attribution.counterfactual import FEW_DAYS, FORGOTTEN, Funnel, counterfactual_values
from attribution.journeys import Floats


def chain(funnel: Funnel, pairs: set[tuple[int, int]]) -> Floats:
    """Return what follows a day in each state if touches count in some pairs alone, by the definition."""
    m, k = len(funnel.start), funnel.days.shape[1] - 1
    days = np.zeros((m, m + 2))
    for s in range(m):
        alone = funnel.days[s, 0] if funnel.days[s, 0].sum() else funnel.days[s].sum(axis=0)
        alone = alone / alone.sum()
        for a in range(k + 1):
            seen = funnel.days[s, a].sum()
            after = (funnel.days[s, a] + FEW_DAYS * alone) / (seen + FEW_DAYS)
            days[s] += seen / funnel.days[s].sum() * (after if (s, a - 1) in pairs else alone)
    return np.asarray((1 - FORGOTTEN) * days + FORGOTTEN * (np.arange(m + 2) == m + 1))


def closes(funnel: Funnel, pairs: set[tuple[int, int]]) -> float:
    days, m = chain(funnel, pairs), len(funnel.start)
    left, closed = funnel.start, 0.0
    for _ in range(4000):
        left, closed = left @ days[:, :m], closed + float(left @ days[:, m])
    return closed


def by_brute_force(funnel: Funnel) -> Floats:
    """Return the mean of what each pair adds, over all orders."""
    m, k = len(funnel.start), funnel.days.shape[1] - 1
    pairs = [(s, a) for s in range(m) for a in range(k)]
    worth = {
        frozenset(some): closes(funnel, some)
        for bits in range(1 << len(pairs))
        for some in [{pair for i, pair in enumerate(pairs) if bits >> i & 1}]
    }
    values, orders = np.zeros((m, k)), list(permutations(pairs))
    for order in orders:
        for place, pair in enumerate(order):
            values[pair] += worth[frozenset(order[: place + 1])] - worth[frozenset(order[:place])]
    return values / len(orders)


def two_states(seed: int, k: int = 2) -> Funnel:
    """Return a funnel in which leads go to and fro."""
    return Funnel(np.array([0.7, 0.3]), np.random.default_rng(seed).integers(1, 400, (2, 1 + k, 4)).astype(float))


def test_values_are_the_mean_of_what_each_pair_adds_over_all_orders() -> None:
    funnel = two_states(0)
    np.testing.assert_allclose(counterfactual_values(funnel).pair, by_brute_force(funnel), atol=1e-9)


def test_each_path_gives_its_mass_in_equal_parts_to_the_distinct_pairs_that_left_a_mark_on_it() -> None:
    days = np.random.default_rng(1).integers(1, 300, (3, 3, 5)).astype(float)
    for s in range(3):
        days[s, :, : s + 1] = 0  # leads only go forward, so that paths can be counted
    funnel = Funnel(np.array([1.0, 0, 0]), days)
    idle = chain(funnel, set())
    marks = {(s, a): chain(funnel, {(s, a)})[s] - idle[s] for s in range(3) for a in range(2)}
    shared = np.zeros((3, 2))

    def walk(s: int, mass: float, left: frozenset[tuple[int, int]]) -> None:
        if s == 3:
            for pair in left:
                shared[pair] += mass / len(left)
        elif s < 3:
            for onward in range(s + 1, 4):
                walk(onward, mass * idle[s, onward], left)
                for a in range(2):
                    walk(onward, mass * marks[s, a][onward], left | {(s, a)})

    walk(0, 1.0, frozenset())
    np.testing.assert_allclose(counterfactual_values(funnel).pair, shared, atol=1e-12)


def test_touches_after_which_leads_go_on_as_without_them_earn_nothing() -> None:
    days = np.zeros((1, 3, 3))
    days[0, 0], days[0, 1], days[0, 2] = [900, 10, 90], [900, 100, 0], [900, 10, 90]
    found = counterfactual_values(Funnel(np.array([1.0]), days))
    assert found.pair[0, 1] == pytest.approx(0, abs=1e-15)  # nothing follows its touches but what follows none
    assert found.pair[0, 0] + found.anyway == pytest.approx(closes(Funnel(np.array([1.0]), days), {(0, 0)}))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_values_and_what_would_have_closed_anyway_add_up_to_what_closes(seed: int, k: int) -> None:
    funnel = two_states(seed, k)
    found = counterfactual_values(funnel)
    everything = {(s, a) for s in range(2) for a in range(k)}
    assert found.pair.sum() + found.anyway == pytest.approx(closes(funnel, everything), abs=1e-9)
    assert found.anyway == pytest.approx(closes(funnel, set()), abs=1e-9)


def test_channels_that_change_their_names_change_nothing_else() -> None:
    funnel = two_states(2)
    swapped = funnel._replace(days=funnel.days[:, [0, 2, 1]])
    np.testing.assert_allclose(counterfactual_values(swapped).pair, counterfactual_values(funnel).pair[:, ::-1])


def test_sampled_values_add_up_too_and_agree_within_their_error(monkeypatch: pytest.MonkeyPatch) -> None:
    funnel = two_states(3, 5)
    exact = counterfactual_values(funnel)
    monkeypatch.setattr(game, "EXACT", 0)
    sampled = counterfactual_values(funnel)
    assert sampled.pair.sum() == pytest.approx(exact.pair.sum())
    assert (np.abs(sampled.pair - exact.pair) <= 4 * sampled.error + 1e-12).all()
    assert (sampled.error > 0).all()
    assert not exact.error.any()


def test_a_pair_seen_on_few_days_is_taken_for_no_touch() -> None:
    days = np.zeros((1, 3, 3))
    days[0] = [[900, 10, 90], [0, 1, 0], [0, 1000, 0]]
    once, often = counterfactual_values(Funnel(np.array([1.0]), days)).pair[0]
    assert 0 < once < often / 500


def test_where_something_reached_leads_every_day_all_days_stand_in_for_those_without_touches() -> None:
    days = np.zeros((1, 3, 3))
    days[0, 1:] = [[70, 20, 10], [80, 0, 20]]
    found = counterfactual_values(Funnel(np.array([1.0]), days))
    assert found.anyway == pytest.approx(20 / 50, rel=1e-4)
    assert found.pair[0, 0] == pytest.approx(-found.pair[0, 1])
    assert found.pair[0, 0] > 0.05


def test_a_lead_to_whom_nothing_ever_happens_ends_and_did_not_close() -> None:
    days = np.zeros((1, 2, 3))
    days[0, 0] = [100, 0, 0]
    found = counterfactual_values(Funnel(np.array([1.0]), days))
    assert (found.pair.sum(), found.anyway) == (0, 0)


def test_drawn_orders_come_with_their_reverse_which_makes_paths_of_two_marks_exact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    days = np.random.default_rng(4).integers(1, 300, (2, 4, 4)).astype(float)
    days[0, :, 0], days[1, :, :2] = 0, 0  # two days at most
    funnel = Funnel(np.array([1.0, 0]), days)
    exact = counterfactual_values(funnel)
    monkeypatch.setattr(game, "EXACT", 0)
    sampled = counterfactual_values(funnel)
    np.testing.assert_allclose(sampled.pair, exact.pair, atol=1e-12)
    np.testing.assert_allclose(sampled.error, 0, atol=1e-12)
