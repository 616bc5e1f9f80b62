"""Chains of higher order: removal effects against dense solutions, state by state, and the choice of an order."""

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

from attribution import chains
from attribution.chains import best_order, chain, removal_credit
from attribution.counting import spread
from attribution.journeys import Journeys

PATH = st.lists(st.sampled_from("ABC"), min_size=1, max_size=7)
ROWS = st.lists(st.tuples(PATH, st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=10)
Row = tuple[list[str], int, int]


def journeys_of(rows: list[Row]) -> Journeys:
    table = pd.DataFrame(rows, columns=["path", "conversions", "nulls"]).assign(value_cents=0)
    return path_journeys(table.assign(path=table["path"].map(" > ".join)))


def credit(rows: list[Row], order: int) -> npt.NDArray[np.float64]:
    seen = journeys_of(rows)
    where = spread(seen, 1)
    return removal_credit(chain(seen, order), where, np.ones((1, where.buckets)))[0]


def conversion_probability(rows: list[Row], order: int, without: str | None = None) -> float:
    """Probability that a chain over tuples of the last channels converts, by a dense solution of its own."""
    counts: dict[tuple[tuple[str, ...], tuple[str, ...]], float] = {}
    for path, conversions, nulls in rows:
        for end, times in (("conversion", conversions), ("null", nulls)):
            states = [tuple(path[max(0, i - order) : i]) for i in range(len(path) + 1)]
            for move in pairwise([*states, (end, "!")]):
                counts[move] = counts.get(move, 0) + times
    states = sorted({state for move in counts for state in move})
    moves = np.zeros((len(states), len(states)))
    for (source, target), times in counts.items():
        lost = without is not None and target[-1:] == (without,)
        moves[states.index(source), states.index(("null", "!") if lost and ("null", "!") in states else target)] += (
            times
        )
    out = moves.sum(axis=1)
    moves /= np.where(out > 0, out, 1)[:, None]
    ends = [states.index(end) for end in (("conversion", "!"), ("null", "!")) if end in states]
    inner = [i for i in range(len(states)) if i not in ends]
    reached = np.linalg.solve(np.eye(len(inner)) - moves[np.ix_(inner, inner)],
                              moves[inner, states.index(("conversion", "!"))])  # fmt: skip
    return float(reached[inner.index(states.index(()))])


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@settings(deadline=None, max_examples=25)
@given(rows=ROWS)
def test_credit_is_in_proportion_to_the_loss_of_a_dense_chain_without_the_channel(
    order: int, dense: bool, rows: list[Row]
) -> None:
    won = sum(row[1] for row in rows)
    assume(won > 0)
    complete = conversion_probability(rows, order)
    lost = [1 - conversion_probability(rows, order, name) / complete for name in journeys_of(rows).channels]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chains, "DENSE_STATES", 400 if dense else 0)
        patch.setattr(chains, "NUMBERS", 8_000_000 if dense else 5)
        np.testing.assert_allclose(credit(rows, order), won * np.array(lost) / sum(lost), atol=1e-9)


@settings(deadline=None)
@given(ROWS, st.integers(1, 4))
def test_the_fitted_chain_converts_as_often_as_the_journeys_did_at_every_order(rows: list[Row], order: int) -> None:
    won, ended = sum(row[1] for row in rows), sum(row[1] + row[2] for row in rows)
    assume(won > 0)
    assert conversion_probability(rows, order) == pytest.approx(won / ended)


def test_the_slope_of_an_order_says_how_credit_moves_when_a_path_happens_once_more() -> None:
    rows: list[Row] = [(["A", "B"], 400, 900), (["B"], 300, 800), (["C", "A"], 200, 900), (["A", "C", "B"], 500, 700)]
    seen = journeys_of(rows)
    where = spread(seen, 1)
    happened = where.outcomes[where.outcomes != 0]
    more = happened.copy()
    more[0] += 4
    now, varied = removal_credit(chain(seen, 2), where, np.stack([happened, more]))
    np.testing.assert_allclose(varied[0], now)
    grown = [(rows[0][0], 404, 900), *rows[1:]]
    np.testing.assert_allclose(varied[1] - now, credit(grown, 2) - now, atol=0.02)


def test_the_order_that_made_the_journeys_is_chosen() -> None:
    random = np.random.default_rng(3)
    made: list[Row] = []
    for _ in range(4_000):  # after two equal channels comes the other; else either; it may end at any place
        path = [str(random.choice(["A", "B"]))]
        while random.random() < 0.8:
            twice = len(path) > 1 and path[-1] == path[-2]
            path.append("AB"[path[-1] == "A"] if twice else str(random.choice(["A", "B"])))
        made.append((path, int(random.random() < 0.5), 1))
    assert best_order(journeys_of(made))[0] == 2
    plain = [(list(random.choice(["A", "B", "C"], random.geometric(0.3))), int(random.random() < 0.5), 1) for _ in made]
    assert best_order(journeys_of(plain))[0] == 1


def test_a_gain_within_two_standard_errors_is_no_reason_for_a_longer_memory() -> None:
    random = np.random.default_rng(9)
    paths = [
        list(random.choice(["A", "B"], random.geometric(0.3))) for _ in range(400)
    ]  # what came before says nothing
    won = random.random(400) < 0.5
    order, gains = best_order(journeys_of([(path, int(w), int(not w)) for path, w in zip(paths, won, strict=True)]))
    assert gains[1] > 0
    assert order == 1


def test_many_states_are_counted_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Row] = [(list("ABCAB"), 3, 1), (list("CCA"), 1, 4), (list("B"), 2, 2)]
    looked_up = credit(rows, 3)
    monkeypatch.setattr(chains, "TABLE", 1)
    np.testing.assert_allclose(credit(rows, 3), looked_up)


def test_what_every_channel_s_removal_changes_is_never_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    rows: list[Row] = [([f"c{k:03}" for k in random.integers(0, 300, 4)], row % 2, 1) for row in range(800)]
    seen = journeys_of(rows)
    where, found = spread(seen, 1_000_000), chain(seen, 2)
    monkeypatch.setattr(chains, "NUMBERS", 50_000)
    tracemalloc.start()
    removal_credit(found, where, np.ones((1, where.buckets)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(found.source) * 300  # one number a move and channel; it held seven
