"""Counterfactual-adjusted Shapley values: what touches add to what leads would have done if nothing had reached them.

A lead is in one of m states. Each day something reaches it through one of k channels or nothing does (its action), and
it goes on to a state, a close or a loss, as that state and action have it. The players are the pairs (state, channel).
The worth v(S) of a coalition is the chance that a lead closes in the end if what reaches it counts in the pairs of S
alone: in any other pair the lead goes on as it does from that state when nothing reaches it. It is not lost to us, as
in the removal effects of Markov chains. Values add up to v(all) − v(nobody), and v(nobody) would have closed anyway.
A channel's value is the sum over its pairs.

The value is a unique-uniform share. Call what a touch makes of a day, less what no touch would have made of it, its
mark. A path is a sequence of days, each as without touches or with one touch's mark, and has a mass, which marks may
make negative. v(S) is the mass of all paths to a close whose marks are of S; so each path gives its mass in equal parts
to the distinct pairs that left a mark on it.

After Singal, Besbes, Desir, Goyal and Iyengar (2022), Shapley Meets Uniform, Management Science 68(10), by its
abstract: the counterfactual of no action, the Markovian funnel and the adjusted unique-uniform scheme are theirs; the
game as written above, its proof by marks, the estimates from few days and the sampling are ours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from attribution.coalitions import EXACT, shapley_values
from attribution.journeys import Flags, Floats, Ints

ORDERS, SEED = 100, 0  # in which pairs join, drawn where these are too many for all of them
FEW_DAYS = 100.0  # in a pair, from which on it is believed more than the same state without a touch
TINY = 1e-300  # days: nobody goes on from a state that was never seen
FORGOTTEN = 1e-6  # part of days after which a lead is lost though nothing tells so: each ends in the end


class Funnel(NamedTuple):
    """Days of leads by what was so and what came."""

    start: Floats  # (m,) share of leads that begin in each state
    days: Floats  # (m, 1 + k, m + 2) by state, action (0: none) and what followed: a state, a close (m), a loss (m + 1)


class Values(NamedTuple):
    """What closes of those who begin."""

    pair: Floats  # (m, k) chance that each state's touches of each channel add
    error: Floats  # (m, k) standard error of the sampling alone; 0 where nothing is sampled
    anyway: float  # chance to close without any touch


def counterfactual_values(funnel: Funnel) -> Values:
    """Return the Shapley values of all pairs of a state and a channel."""
    idle, marks = _marks(funnel.days)
    m, k = marks.shape[:2]
    state, channel = np.nonzero((funnel.days[:, 1:].sum(axis=2) > 0) & np.any(marks != 0, axis=2))
    of_pair, n = marks[state, channel], len(state)
    pair, error = np.zeros((m, k)), np.zeros((m, k))
    if n <= EXACT:
        worth = [_worth(funnel.start, idle, state, of_pair, (s >> np.arange(n) & 1) == 1) for s in range(1 << n)]
        pair[state, channel] = shapley_values(np.array([worth]))[0]
    else:
        random = np.random.default_rng(SEED)
        drawn = [random.permutation(n) for _ in range(ORDERS // 2)]
        added = _added(np.stack([one for order in drawn for one in (order, order[::-1])]), state, of_pair,
                       funnel.start, idle, np.asarray(np.linalg.inv(np.eye(m) - idle[:, :m]), np.float64))  # fmt: skip
        pair[state, channel] = added.mean(axis=0)
        error[state, channel] = ((added[::2] + added[1::2]) / 2).std(axis=0, ddof=1) / np.sqrt(len(drawn))
    return Values(pair, error, _worth(funnel.start, idle, state, of_pair, np.zeros(n, bool)))


def _marks(days: Floats) -> tuple[Floats, Floats]:
    """Return what follows days without touches (m, m + 2), and what each channel's touches change of it (m, k, m + 2).

    Where no day was without a touch, what followed all days stands in for it, so that its touches
    together earn nothing.
    """
    seen = days.sum(axis=2)
    idle = np.where(seen[:, :1] > 0, days[:, 0], days.sum(axis=1))
    idle = idle / np.maximum(idle.sum(axis=1, keepdims=True), TINY)
    touched = (days[:, 1:] + FEW_DAYS * idle[:, None]) / (seen[:, 1:, None] + FEW_DAYS)
    marks = (touched - idle[:, None]) * (seen[:, 1:] / np.maximum(seen.sum(axis=1, keepdims=True), TINY))[:, :, None]
    lost = np.arange(idle.shape[1]) == idle.shape[1] - 1
    return (1 - FORGOTTEN) * idle + FORGOTTEN * lost, (1 - FORGOTTEN) * marks


def _worth(start: Floats, idle: Floats, state: Ints, marks: Floats, joined: Flags) -> float:
    """Return the chance to close if the marks (n, m + 2) of the pairs that joined (n,) are left."""
    days, m = idle.copy(), len(start)
    np.add.at(days, state[joined], marks[joined])
    return float(start @ np.linalg.solve(np.eye(m) - days[:, :m], days[:, m]))


@njit(cache=True, nogil=True)
def _added(orders: Ints, state: Ints, marks: Floats, start: Floats, idle: Floats, visits: Floats) -> Floats:
    """Return what each pair adds when pairs join in each order (q, n); visits (m, m) are those without touches.

    A pair changes one row of the chain, and so the visits by a product of a column and a row (Sherman and Morrison).
    """
    m, added = len(start), np.zeros(orders.shape)
    for q in range(len(orders)):
        visited, closes = visits.copy(), idle[:, m].copy()
        worth = np.dot(start, np.dot(visited, closes))
        for j in orders[q]:
            row = np.dot(marks[j, :m].copy(), visited)
            column = visited[:, state[j]] / (1 - row[state[j]])
            visited += column.reshape(m, 1) * row.reshape(1, m)
            closes[state[j]] += marks[j, m]
            then = np.dot(start, np.dot(visited, closes))
            added[q, j] = then - worth
            worth = then
    return added
