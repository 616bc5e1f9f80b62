"""Shapley values of the conversion-rate game: what a channel adds to the rate at which journeys convert.

The worth of a coalition S of channels is v(S), the share of conversions among the journeys that touch channels of S
alone, 0 where there are none. A channel's value is what it adds to v, on average over all orders in which the channels
could join; the values add up to the rate of all journeys, and one that makes journeys convert less often is negative.
Exact up to ``EXACT`` channels; beyond, the mean over orders drawn at random, each with its reverse, and its standard
error. (``shapley`` among the rules is another game: there v(S) counts conversions, and the value is a closed form.)
Source: Dalessandro et al. (2012), Causally motivated attribution; Castro et al. (2009) for the sampling.
"""

from __future__ import annotations

from math import factorial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numba import njit

from attribution.journeys import Codes, Floats, Ints, Journeys

EXACT = 12  # channels
ORDERS = 400  # drawn beyond that


class Coalitions(NamedTuple):
    """Journeys by the set of channels that they touch: s sets."""

    of_journey: Ints  # (touched journeys,) set of each
    member: Floats  # (s, k) 1 where the set holds the channel


def coalitions(journeys: Journeys) -> Coalitions:
    """Return the sets of channels that journeys touch."""
    k = len(journeys.channels)
    signs = np.random.default_rng(k).integers(1, 2**63, k)  # a set is the sum of its channels' random numbers
    begins = journeys.start[:-1][journeys.touched]
    of_journey, distinct = pd.factorize(_signed(journeys.start, journeys.channel, signs)[journeys.touched])
    member = np.zeros((len(distinct), k))
    example = np.zeros(len(distinct), np.int64)
    example[of_journey] = np.arange(len(begins))
    ends = journeys.start[1:][journeys.touched]
    for row, journey in zip(member, example, strict=True):
        row[journeys.channel[begins[journey] : ends[journey]]] = 1
    return Coalitions(of_journey, member)


def rate_values(member: Floats, conversions: Floats, nulls: Floats, seed: int = 0) -> tuple[Floats, Floats]:
    """Shapley values (..., k) from how often journeys of each set converted and did not (..., s); standard errors (k,).

    The errors are those of the sampling alone, and 0 where nothing is sampled.
    """
    k = member.shape[1]
    if k <= EXACT:
        return _exact(member, conversions, nulls), np.zeros(k)
    random = np.random.default_rng(seed)
    orders = [order for _ in range(ORDERS // 2) for drawn in [random.permutation(k)] for order in (drawn, drawn[::-1])]
    added = np.stack([_added(member, order, conversions, nulls) for order in orders])
    pairs = (added[::2] + added[1::2]) / 2
    first = pairs.reshape(len(pairs), -1, k)[:, 0]
    return added.mean(axis=0), first.std(axis=0, ddof=1) / np.sqrt(len(pairs))


def _exact(member: Floats, conversions: Floats, nulls: Floats) -> Floats:
    k = member.shape[1]
    place = (member @ (1 << np.arange(k))).astype(np.int64)
    worth = _rate(*(_within(np.atleast_2d(ends), place, k) for ends in (conversions, nulls)))
    return np.reshape(shapley_values(worth), (*conversions.shape[:-1], k))


def shapley_values(worth: Floats) -> Floats:
    """Shapley values (r, k) of r games, from the worth of each coalition (r, 2^k): channel c is bit c of its place."""
    k = worth.shape[1].bit_length() - 1
    subset = np.arange(1 << k)
    size = np.array([int(s).bit_count() for s in subset])
    weight = np.array([factorial(n) * factorial(k - 1 - n) / factorial(k) for n in range(k)] + [0.0])
    without = [subset[(subset >> c & 1) == 0] for c in range(k)]
    values = [(worth[:, s | 1 << c] - worth[:, s]) @ weight[size[s]] for c, s in enumerate(without)]
    return np.stack(values, axis=-1) if values else np.empty((len(worth), 0))


def _within(ends: Floats, place: Ints, k: int) -> Floats:
    """Return sums over all subsets of each coalition (r, 2^k)."""
    sums = np.zeros((len(ends), 1 << k))
    np.add.at(sums.T, place, ends.T)
    for c in range(k):
        with_it = np.arange(1 << k)[(np.arange(1 << k) >> c & 1) == 1]
        sums[:, with_it] += sums[:, with_it ^ (1 << c)]
    return sums


def _added(member: Floats, order: Ints, conversions: Floats, nulls: Floats) -> Floats:
    """Return what each channel adds to the rate when they join in an order (..., k)."""
    k = len(order)
    joins = np.empty(k)
    joins[order] = np.arange(k)
    complete = (member * joins).max(axis=1).astype(np.int64)  # when the last of a set's channels joins
    joined = np.zeros((len(member), k))
    joined[np.arange(len(member)), complete] = 1
    worth = _rate(np.cumsum(conversions @ joined, axis=-1), np.cumsum(nulls @ joined, axis=-1))
    added = np.diff(worth, axis=-1, prepend=0.0)
    return np.asarray(added[..., joins.astype(np.int64)])


def _rate(conversions: Floats, nulls: Floats) -> Floats:
    ended = conversions + nulls
    return np.divide(conversions, ended, out=np.zeros(ended.shape), where=ended > 0)


@njit(cache=True, nogil=True)
def _signed(start: Ints, channel: Codes, signs: Ints) -> Ints:
    signed, seen = np.zeros(len(start) - 1, np.int64), np.full(len(signs), -1)
    for j in range(len(start) - 1):
        for i in range(start[j], start[j + 1]):
            if seen[channel[i]] != j:
                seen[channel[i]] = j
                signed[j] += signs[channel[i]]
    return signed


def ordered_values(journeys: Journeys) -> Floats:
    """Closed-form Shapley credit by the place (k, p) at which a journey first touches each channel; 0 is the first.

    Summed over places it is the credit of ``shapley``. Source: Zhao et al. (2018), the ordered Shapley value.
    """
    longest = min(int(np.diff(journeys.start).max(initial=0)), len(journeys.channels))
    values = np.zeros((len(journeys.channels), longest))
    _place(journeys.start, journeys.channel, journeys.conversions, values)
    return values


@njit(cache=True, nogil=True)
def _place(start: Ints, channel: Codes, conversions: Floats, values: Floats) -> None:
    seen, met = np.full(len(values), -1), np.empty(len(values), np.int64)
    for j in range(len(start) - 1):
        distinct = 0
        for i in range(start[j], start[j + 1]):
            if seen[channel[i]] != j:
                seen[channel[i]] = j
                met[distinct] = channel[i]
                distinct += 1
        for place in range(distinct):
            values[met[place], place] += conversions[j] / distinct
