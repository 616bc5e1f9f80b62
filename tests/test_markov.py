"""Markov chains: removal effects against a table worked by hand and a chain solved one removal at a time."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pathed import path_journeys

from attribution.bootstrap import draws, interval
from attribution.counting import counted, counts, spread
from attribution.credit import credit
from attribution.journeys import Journeys
from attribution.markov import linear, removal_effects, varied_credit
from attribution.moves import moves_in

Floats = npt.NDArray[np.float64]

PATH = st.lists(st.sampled_from("ABCDE"), min_size=1, max_size=6).map(" > ".join)
ROWS = st.lists(st.tuples(PATH, st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12)


def journeys_of(*rows: tuple[str, float, float]) -> Journeys:
    return path_journeys(pd.DataFrame(rows, columns=["path", "conversions", "nulls"]).assign(value_cents=0))


def transition_counts(seen: Journeys) -> Floats:
    return counts(seen, [], spread(seen, 1), transitions=True).moves


def effects(*rows: tuple[str, float, float]) -> dict[str, float]:
    seen = journeys_of(*rows)
    return dict(zip(seen.channels, removal_effects(transition_counts(seen)).tolist(), strict=True))


def conversion_probability(rows: list[tuple[str, int, int]], without: str | None = None) -> float:
    """Probability that the chain of the paths ends in conversion; entries into ``without`` end in null."""
    index = {"start": 0, "A": 1, "B": 2, "C": 3, "D": 4, "E": 5, "conversion": 6, "null": 7}
    counts = np.zeros((8, 8))
    for path, conversions, nulls in rows:
        for end, times in (("conversion", conversions), ("null", nulls)):
            states = ["start", *path.split(" > "), end]
            for source, target in pairwise(states):
                counts[index[source], index[target]] += times
    if without is not None:
        counts[:, index["null"]] += counts[:, index[without]]
        counts[:, index[without]] = 0
    moves = counts / np.where(counts.sum(axis=1) > 0, counts.sum(axis=1), 1)[:, None]
    reached = np.linalg.solve(np.eye(6) - moves[:6, :6], moves[:6, 6])
    return float(reached[0])


def test_transitions_are_counted_from_channels_and_start_to_channels_conversion_and_null() -> None:
    seen = journeys_of(("A > B > B", 2, 1), ("B", 0, 4))
    assert transition_counts(seen).tolist() == [
        [0, 3, 0, 0],  # from A: to A, B, conversion, null
        [0, 3, 2, 5],  # from B
        [3, 4, 0, 0],  # from start
    ]


def test_removal_effects_agree_with_a_chain_worked_by_hand() -> None:
    # Of three journeys one converts. Without A: start > B 1/3, B > C 1, C > conversion 1/2, together 1/6.
    # Nothing converts without B or without C.
    assert effects(("A > B > C", 1, 0), ("A", 0, 1), ("B > C", 0, 1)) == {"A": 0.5, "B": 1, "C": 1}


def test_a_channel_on_every_way_to_conversion_has_effect_one_and_one_on_none_has_zero() -> None:
    assert effects(("A > B", 3, 0), ("A > C", 0, 5)) == {"A": 1, "B": 1, "C": 0}


def test_without_conversions_every_effect_is_zero() -> None:
    assert effects(("A > B", 0, 3), ("C", 0, 1)) == {"A": 0, "B": 0, "C": 0}


def test_a_channel_that_was_never_drawn_has_effect_zero() -> None:
    assert effects(("A", 1, 1), ("B", 0, 0)) == {"A": 1, "B": 0}


def test_journeys_without_touches_are_not_in_the_chain() -> None:
    assert effects(("", 50, 50), ("A > B", 1, 1), ("A", 1, 1)) == effects(("A > B", 1, 1), ("A", 1, 1))


def test_effects_of_many_draws_are_those_of_each_draw() -> None:
    first = transition_counts(journeys_of(("A > B", 1, 2), ("B", 3, 1)))
    second = transition_counts(journeys_of(("A > B", 0, 5), ("B", 2, 0)))
    together = removal_effects(np.stack([first, second]))
    np.testing.assert_array_equal(together, [removal_effects(first), removal_effects(second)])


@settings(deadline=None)
@given(ROWS)
def test_each_effect_is_the_loss_of_the_chain_solved_without_the_channel(
    rows: list[tuple[str, int, int]],
) -> None:
    assume(sum(conversions for _, conversions, _ in rows) > 0)
    complete = conversion_probability(rows)
    lost = {name: 1 - conversion_probability(rows, name) / complete for name in journeys_of(*rows).channels}
    np.testing.assert_allclose(list(effects(*rows).values()), list(lost.values()), atol=1e-9)


@settings(deadline=None)
@given(ROWS)
def test_every_effect_lies_between_zero_and_one(rows: list[tuple[str, int, int]]) -> None:
    assert all(0 <= effect <= 1 for effect in effects(*rows).values())


@settings(deadline=None)
@given(ROWS)
def test_the_fitted_chain_converts_as_often_as_the_journeys_did(rows: list[tuple[str, int, int]]) -> None:
    converted, ended = sum(row[1] for row in rows), sum(row[1] + row[2] for row in rows)
    assume(ended > 0)
    counts = transition_counts(journeys_of(*rows))
    k = len(counts) - 1
    moves = counts / np.where(counts.sum(axis=1) > 0, counts.sum(axis=1), 1)[:, None]
    from_channels = np.linalg.solve(np.eye(k) - moves[:k, :k], moves[:k, k])
    np.testing.assert_allclose(moves[k, :k] @ from_channels, converted / ended, atol=1e-9)


@settings(deadline=None)
@given(ROWS, st.sampled_from("ABCDE"))
def test_repeats_of_a_channel_in_a_row_change_no_effect(rows: list[tuple[str, int, int]], name: str) -> None:
    repeated = [(path.replace(name, f"{name} > {name} > {name}"), *counts) for path, *counts in rows]
    np.testing.assert_allclose(list(effects(*repeated).values()), list(effects(*rows).values()), atol=1e-9)


def test_what_more_moves_change_is_the_slope_of_the_chain_solved_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    counts = random.integers(1, 40, (6, 7)).astype(np.float64)
    counts[5, 5] = 0
    more = np.stack([np.zeros((6, 7)), random.random((6, 7))])
    more[1, 5, 5] = 0
    made = moves_in(more)
    monkeypatch.setattr("attribution.markov.AT_ONCE", 2)
    x, change = linear(counts, made, 2)
    later, _ = linear(counts + 1e-5 * more[1], made, 2)
    effects_by_x = 1 - x[:5] / x[5]
    np.testing.assert_allclose(effects_by_x, removal_effects(counts), atol=1e-12)
    np.testing.assert_allclose(change[0], 0, atol=1e-12)
    np.testing.assert_allclose((later - x) / 1e-5, change[1], rtol=1e-3)


def test_many_channels_vary_as_if_every_chain_was_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(4)
    rows = [(" > ".join(random.choice(list("ABCDEFGH"), random.integers(1, 6))), 60, 240) for _ in range(300)]
    monkeypatch.setattr("attribution.counting.EXACT_NUMBERS", 0)
    seen = counted(journeys_of(*rows), [], transitions=True)
    drawn = draws(seen.where, 400, seed=0)
    each = interval(varied_credit(seen.counts, seen.where, drawn))
    monkeypatch.setattr("attribution.markov.EACH", 0)
    np.testing.assert_allclose(interval(varied_credit(seen.counts, seen.where, drawn)), each, rtol=0.01)


def test_thousands_of_campaigns_as_channels_take_the_room_of_their_moves() -> None:
    random = np.random.default_rng(5)
    start, channel = np.arange(0, 8_001, 4), random.integers(0, 1_500, 8_000).astype(np.int32)
    won = np.arange(2_000) % 5 == 0
    names = tuple(f"campaign {k:04}" for k in range(1_500))
    seen = Journeys(names, start, channel, None, won.astype(float), 1.0 - won, np.zeros(2_000, np.int64))
    tracemalloc.start()
    found = credit(seen, ["markov:1", "linear"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400e6  # a table of moves by bucket took 2.3 GB, and 14 GB of 3,000 channels
    assert found.channels.groupby("model")["credit"].sum().to_numpy() == pytest.approx([400, 400])
    assert (found.channels["low"] < found.channels["high"]).any()
