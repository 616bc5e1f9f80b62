"""Markov chains of higher order: where a journey goes next depends on its last K channels.

A state is the last K channels, or all of a shorter beginning; from it the chain moves to a channel, to conversion or to
null. With Q the probabilities of moves between states, r those of conversion, and every state that ends in channel c
without a way on, x = r + Q x gives the probability of conversion without c (Anderl et al. 2016). It is solved exactly:
densely for few states, by iteration to 1e-12 for many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from attribution.counting import Spread
from attribution.journeys import Floats, Ints, Journeys
from attribution.markov import in_proportion

DENSE_STATES = 400  # up to so many, a dense solution is quick
NUMBERS = 8_000_000  # of transitions by bucket, or by channel taken away, that are held; 64 MB
TABLE = 1 << 24  # keys up to here are looked up in a table
PRECISE = 1e-12
SEED = 0  # of the halves by which orders are compared
PRIOR = 5.0  # how many visits the shorter memory's forecast counts as, when orders are compared


@dataclass(frozen=True)
class Chain:
    """Transitions of one order: t kinds of moves between s states, of which 0 is the start."""

    channels: int  # k
    ends_in: Ints  # (s,) channel that a state ends in; −1 of the start
    source: Ints  # (t,) state
    target: Ints  # (t,) channel, or k for conversion, k + 1 for null
    into: Ints  # (t,) state that the move leads to; −1 for an end
    move: Ints  # (moves made,) which kind each is: a touch's after those of ends, conversion and null of each journey
    journey: Ints  # (moves made,)
    state: Ints  # (n,) after each touch

    def times(self, conversions: Floats, nulls: Floats) -> Floats:
        """How often each move is made (t,) by journeys that end so often."""
        weight = np.concatenate(
            [(conversions + nulls)[self.journey[: len(self.state)]], *self._ends(conversions, nulls)]
        )
        return np.asarray(np.bincount(self.move, weight, len(self.source)), dtype=np.float64)

    def times_by_bucket(self, where: Spread) -> tuple[Floats, Spread]:
        """How often each move is made by bucket (b, t), and the buckets, which are fewer where moves are many."""
        m, t = len(where.outcomes) // 2, len(self.source)
        shared = where.buckets if where.exact else min(where.buckets, max(16, NUMBERS // max(t, 1)))
        bucket = (where.bucket % max(shared, 1)).astype(np.int64)
        weight = (where.outcomes > 0).astype(np.float64) if where.exact else np.sqrt(where.outcomes)
        sums = np.zeros(shared * t)
        for part in (slice(0, m), slice(m, 2 * m)):
            won, lost = np.zeros(m), np.zeros(m)
            (lost if part.start else won)[:] = weight[part]
            w = np.concatenate([(won + lost)[self.journey[: len(self.state)]], *self._ends(won, lost)])
            sums += np.bincount(bucket[part][self.journey] * t + self.move, w, shared * t)[: shared * t]
        return sums.reshape(shared, t), where._replace(bucket=bucket.astype(np.int32), buckets=shared)

    def _ends(self, conversions: Floats, nulls: Floats) -> tuple[Floats, Floats]:
        ended = self.journey[len(self.state) :]
        half = len(ended) // 2
        return conversions[ended[:half]], nulls[ended[half:]]


def chain(journeys: Journeys, order: int) -> Chain:
    """Chain of an order of 1 or more, as the journeys go."""
    k, channel = len(journeys.channels), journeys.channel.astype(np.int64)
    begins = journeys.start[:-1][journeys.touched]
    last = journeys.start[1:][journeys.touched] - 1
    state = channel
    for _ in range(order - 1):
        state = _numbered(_before(state, begins) * k + channel)
    before = _before(state, begins)
    ends = np.concatenate([(state[last] + 1) * (k + 2) + k, (state[last] + 1) * (k + 2) + k + 1])
    keys = np.concatenate([before * (k + 2) + channel, ends])
    move = _numbered(keys)
    of_kind = np.empty(int(move.max(initial=-1)) + 1, np.int64)
    of_kind[move] = keys
    into = np.full(len(of_kind), -1)
    into[move[: len(state)]] = state + 1
    ends_in = np.full(int(state.max(initial=-1)) + 2, -1)
    ends_in[state + 1] = channel
    whole = journeys.journey[last]
    return Chain(k, ends_in, of_kind // (k + 2), of_kind % (k + 2), into, move,
                 np.concatenate([journeys.journey, whole, whole]), state)  # fmt: skip


def removal_credit(found: Chain, where: Spread, drawn: Floats) -> tuple[Floats, Floats]:
    """Conversions by removal effect (k,), and as they might have been (replicates, k).

    What might have been is linear in the counts of moves around those that were: with V the expected visits to states,
    one more move from s to u changes x of the start by V_s (x_u − x_s) / (moves from s).
    """
    m = len(where.outcomes) // 2
    times = found.times(where.outcomes[:m], where.outcomes[m:])
    by_bucket, fewer = found.times_by_bucket(where)
    drawn = drawn if fewer.buckets == where.buckets else _drawn_again(fewer, drawn)
    converts = (found.target == found.channels).astype(np.float64)
    now, sums = [np.array([times @ converts])], [by_bucket @ converts[:, None]]  # and what a bucket's moves change
    every, wide = np.arange(found.channels + 1), max(NUMBERS // max(len(times), 1), 1)
    for removed in np.split(every, every[wide::wide]):
        x, slope = _conversion(found, times, removed)
        now.insert(-1, x)
        sums.insert(-1, by_bucket @ slope)
    told, changes = np.concatenate(now), np.concatenate(sums, axis=1)
    # All moves made once more change no probability: times @ slope is 0, so x varies around what it was either way.
    base = np.append(told[:-1], 0.0 if where.exact else told[-1])
    varied = base + (drawn if where.exact else drawn - 1) @ changes
    return _credit(told), _credit(varied)


def _credit(x: Floats) -> Floats:
    """Credit (..., k) from the probabilities of conversion without each channel, without none, and all conversions."""
    every = x[..., -2:-1]
    effects = np.divide(every - x[..., :-2], every, out=np.zeros(x[..., :-2].shape), where=every > 0)
    return in_proportion(effects.clip(0, 1), x[..., -1].clip(min=0))


def _conversion(found: Chain, times: Floats, removed: Ints) -> tuple[Floats, Floats]:
    """Probability of conversion without each of some channels (c,), k for none, and its slope by moves (t, c)."""
    s, k = len(found.ends_in), found.channels
    kept = (found.ends_in[:, None] != removed).astype(np.float64)  # whether a state is still entered
    out = np.bincount(found.source, times, s)
    p = np.divide(times, out[found.source], out=np.zeros(len(times)), where=out[found.source] > 0)
    inner = found.into >= 0
    Q = sparse.csr_array((p[inner], (found.source[inner], found.into[inner])), shape=(s, s))  # noqa: N806
    r = np.bincount(found.source, p * (found.target == k), s)
    start = np.zeros((s, len(removed)))
    start[0] = 1
    x = _solved(Q, np.repeat(r[:, None], len(removed), axis=1), kept, transposed=False)
    visits = _solved(Q, start, kept, transposed=True)
    reached = np.zeros((len(times), len(removed)))
    reached[inner] = (x * kept)[found.into[inner]]
    reached[found.target == k] = 1
    per_visit = np.divide(visits, out[:, None], out=np.zeros(visits.shape), where=out[:, None] > 0)
    return x[0], per_visit[found.source] * (reached - x[found.source])


def _solved(Q: sparse.csr_array, r: Floats, kept: Floats, *, transposed: bool) -> Floats:  # noqa: N803
    """Solution X (s, c) of X = r + Q (kept · X), or of X = r + kept · Qᵀ X; column by column another chain."""
    if len(r) <= DENSE_STATES:
        dense, one = Q.toarray(), np.eye(len(r))
        columns = [
            np.linalg.solve(one - (dense * keep).T if transposed else one - dense * keep, column)
            for keep, column in zip(kept.T, r.T, strict=True)
        ]
        return np.stack(columns, axis=1)
    back = Q.T.tocsr()
    x: Floats = r.copy()
    last, ratios = np.inf, [1.0] * 4
    while True:
        step: Floats = r + (kept * (back @ x) if transposed else Q @ (kept * x))
        moved = float(np.abs(step - x).max())
        ratios = [*ratios[1:], moved / last if last < np.inf else 1.0]
        x, last, slowest = step, moved, max(ratios)
        if moved == 0 or (slowest < 1 and moved * slowest / (1 - slowest) < PRECISE):
            return x


def _drawn_again(where: Spread, drawn: Floats) -> Floats:
    equally = np.full(where.buckets, 1 / where.buckets)
    return np.random.default_rng(where.buckets).multinomial(where.buckets, equally, len(drawn)).astype(np.float64)


def best_order(journeys: Journeys, most: int = 3) -> tuple[int, list[float]]:
    """Order, 1 to ``most``, and what each gains over the shorter memory, in nats a move of journeys it has not seen.

    It is the longest memory that gains more than two standard errors. Each journey's counts are dealt to two halves at
    random; each half is foretold by the other. A state's forecast leans on that of the shorter memory, as if the latter
    had been seen ``PRIOR`` times.
    """
    random = np.random.default_rng(SEED)
    ends = (journeys.conversions, journeys.nulls)
    ones = [random.binomial(np.floor(some).astype(np.int64), 0.5).astype(np.float64) for some in ends]
    halves: list[list[Floats]] = [ones, [journeys.conversions - ones[0], journeys.nulls - ones[1]]]
    shorter: Chain | None = None
    below = [np.full(len(journeys.channels) + 2, 1 / (len(journeys.channels) + 2))] * 2
    best, gains = 1, []
    for order in range(1, most + 1):
        found = chain(journeys, order)
        dealt = [found.times(won, lost) for won, lost in halves]
        prior = [_prior(found, shorter, p) for p in below]
        below = [_forecast(found, times, p) for times, p in zip(dealt, prior, strict=True)]
        seen = np.concatenate(dealt[::-1])
        gained = np.log(np.concatenate(below)) - np.log(np.concatenate(prior))
        moves = max(seen.sum(), 1)
        gain = float(seen @ gained / moves)
        gains.append(gain)
        best = order if gain > 2 * np.sqrt(seen @ (gained - gain) ** 2) / moves else best
        shorter = found
    return best, gains


def _prior(found: Chain, shorter: Chain | None, p: Floats) -> Floats:
    """Forecast of each move by the shorter memory (t,)."""
    if shorter is None:
        return np.asarray(p[found.target])
    same = np.empty(len(found.source), np.int64)
    same[found.move] = shorter.move
    return np.asarray(p[same])


def _forecast(found: Chain, times: Floats, prior: Floats) -> Floats:
    visits = np.bincount(found.source, times, len(found.ends_in))
    return np.asarray((times + PRIOR * prior) / (visits[found.source] + PRIOR))


def _before(state: Ints, begins: Ints) -> Ints:
    """State before each touch, counted from 1; 0 is the start."""
    before = np.empty_like(state)
    before[1:] = state[:-1] + 1
    before[begins] = 0
    return before


def _numbered(keys: Ints) -> Ints:
    """Keys numbered from 0 without gaps; equal ones alike."""
    largest = int(keys.max(initial=0))
    if largest > TABLE:
        return np.asarray(pd.factorize(keys)[0], dtype=np.int64)
    seen = np.zeros(largest + 1, np.bool_)
    seen[keys] = True
    return (np.cumsum(seen) - 1)[keys]
