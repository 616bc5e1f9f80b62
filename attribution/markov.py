"""Markov chains of order 1: what would no longer convert if a channel were not there.

A chain with the states start, k channels, conversion and null is fitted to the journeys. The removal effect
of a channel is the share of the chain's conversions that is lost when all that enters the channel goes to
null. Source: Anderl, Becker, von Wangenheim, Schumann (2016), Mapping the customer journey, IJRM 33(3).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from attribution.bootstrap import replicated
from attribution.counting import Counts, Spread
from attribution.journeys import Floats
from attribution.moves import CONVERSION, Moves, moves_in

EACH = 64  # channels up to which every replicate's chain is solved
AT_ONCE = 512  # channels that are taken away, each by itself, in arrays of this width


def removal_effects(counts: Floats) -> Floats:
    """Share of conversions lost without each channel (..., k), in [0, 1], from counts (..., k + 1, k + 2).

    Counts are those from k channels and start to k channels, conversion and null. A conversion is lost when its way
    leads through the channel.
    Let Q be the probabilities of moves between channels (k, k), a of those from start (k), r of those to
    conversion (k), and N = (I - Q)^-1. The chain ever visits channel c with probability (a N)_c / N_cc,
    converts from there with (N r)_c, and converts at all with a N r: one inverse answers every removal. If
    nothing converts, all are 0.
    """
    k = counts.shape[-2] - 1
    outflow = counts.sum(axis=-1, keepdims=True)
    moves = np.divide(counts, outflow, out=np.zeros(counts.shape), where=outflow > 0)
    a, r = moves[..., k:, :k], moves[..., :k, k : k + 1]
    N = np.linalg.inv(np.eye(k) - moves[..., :k, :k])  # noqa: N806  the literature's letter
    visits, converts = (a @ N)[..., 0, :], (N @ r)[..., 0]
    through = visits * converts / np.diagonal(N, axis1=-2, axis2=-1)
    every = (a @ N @ r)[..., 0]
    effects: Floats = np.divide(through, every, out=np.zeros(through.shape), where=every > 0)
    return effects.clip(0, 1)


def removal_credit(counts: Floats) -> Floats:
    """Conversions (..., k) handed out in proportion to removal effects, from counts (..., k + 1, k + 2)."""
    return in_proportion(removal_effects(counts), counts[..., -2].sum(axis=-1))


def varied_credit(counts: Counts, where: Spread, drawn: Floats) -> Floats:
    """Conversions (replicates, k) as they might have been handed out: every replicate's chain is solved.

    Where shared buckets hold many channels, the probabilities of conversion are taken as linear around those that were.
    """
    if where.exact or len(counts.moves) <= EACH:
        return removal_credit(replicated(counts.moves, counts.moves_by_bucket, where, drawn))
    made = counts.made[0] if counts.made else moves_in(counts.moves_by_bucket)
    x, pulls = linear(counts.moves, made, where.buckets)
    won = made.target == CONVERSION
    converted = counts.moves[:, -2].sum() + (drawn - 1) @ np.bincount(made.bucket[won], made.times[won], where.buckets)
    varied = x + (drawn - 1) @ pulls
    every = varied[:, -1:]
    effects = np.divide(every - varied[:, :-1], every, out=np.zeros((len(drawn), len(x) - 1)), where=every > 0)
    return in_proportion(effects.clip(0, 1), converted.clip(0))


def linear(counts: Floats, made: Moves, buckets: int) -> tuple[Floats, Floats]:
    """Probability of conversion without each channel and without none (k + 1,), and what more moves change (b, k + 1).

    With v the expected visits to s and x the probability of conversion from there, one more move from s to u changes
    that of the start by v_s (x_u − x_s) / (moves from s). Without a channel, v and x follow from N by one update.
    """
    k = len(counts) - 1
    out = counts.sum(axis=1, keepdims=True)
    moves = np.divide(counts, out, out=np.zeros(counts.shape), where=out > 0)
    a, r = moves[k, :k], moves[:k, k]
    N = np.linalg.inv(np.eye(k) - moves[:k, :k])  # noqa: N806
    del moves
    converts, visits, own = N @ r, a @ N, np.diagonal(N)
    x, change = np.empty(k + 1), np.zeros((buckets, k + 1))
    for some in np.array_split(np.arange(k + 1), k // AT_ONCE + 1):  # the last is without none
        removed = some[some < k]
        less = np.zeros((2, k, len(some)))
        less[0, :, : len(removed)] = N[:, removed] * (converts / own)[removed]
        less[1, :, : len(removed)] = N[removed].T * (visits / own)[removed]
        from_channels, visited = converts[:, None] - less[0], visits[:, None] - less[1]
        reached = np.vstack([from_channels, np.ones(len(some)), np.zeros(len(some))])
        from_there = np.vstack([from_channels, a @ from_channels])
        per_move = np.vstack([visited, np.ones(len(some))])
        per_move = np.divide(per_move, out, out=np.zeros(per_move.shape), where=out > 0)
        x[some], change[:, some] = from_there[k], _pulled(made, buckets, from_there, reached, per_move)
    return x, change


@njit(cache=True, nogil=True)
def _pulled(made: Moves, buckets: int, x: Floats, reached: Floats, per_move: Floats) -> Floats:
    """Return what each bucket's moves change (b, c); places are counted from the end where they are below 0."""
    change = np.zeros((buckets, x.shape[1]))
    for i in range(len(made.times)):
        of_bucket, s, to, times = change[made.bucket[i]], made.source[i], reached[made.target[i]], made.times[i]
        x_s, per_move_s = x[s], per_move[s]
        for c in range(x.shape[1]):
            of_bucket[c] += times * (to[c] - x_s[c]) * per_move_s[c]
    return change


def in_proportion(effects: Floats, total: Floats) -> Floats:
    """Totals (...) handed out in proportion to effects (..., k); alike where all of them are 0."""
    effects = np.where(effects.sum(axis=-1, keepdims=True) > 0, effects, 1.0)
    return np.asarray(np.asarray(total)[..., None] * effects / effects.sum(axis=-1, keepdims=True))
