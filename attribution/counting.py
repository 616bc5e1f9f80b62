"""Everything that is counted of journeys, in one pass: credit under the rules, transitions, and how they vary.

How they vary is kept in buckets: a journey adds to the totals as often as it happened, and the square root of that
often to one bucket drawn for it. Over buckets, the sums vary as a Poisson count of every journey would make the
totals vary, whether a row stands for one journey or for many. Where there are few journeys, each ending of each is a
bucket of its own, and its Poisson counts can be drawn exactly. Source: Chamandy, Muralidharan, Najmi, Naidu (2012),
Estimating uncertainty for massive data streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from attribution.journeys import Codes, Flags, Floats, Ints, Journeys
from attribution.rules import Rule, share_journey, weighing

BUCKETS = 256
EXACT_NUMBERS = 2_000_000  # that buckets of single endings may hold before they are shared; 16 MB


class Spread(NamedTuple):
    """Which bucket each ending of a journey falls into: conversions first, then nulls (2m,)."""

    bucket: Codes
    buckets: int
    outcomes: Floats  # (2m,) how often each ending happened
    exact: bool  # each ending that happened has a bucket of its own, which holds one of it


class Counts(NamedTuple):
    """Sums over journeys with touches: r rules, k channels, b buckets; the last axis may be one of ``moves``."""

    converted: Floats  # (k, r) conversions credited
    cents: Floats  # (k, r) value credited, in cents
    moves: Floats  # (k + 1, k + 2) transitions from k channels and start to k channels, conversion and null
    converted_by_bucket: Floats  # (b, k, r)
    moves_by_bucket: Floats  # (b, k + 1, k + 2)


def spread(journeys: Journeys, numbers: int) -> Spread:
    """Buckets for the endings of journeys of which so many numbers are counted.

    The bucket of a row depends on nothing but its place, so the same journeys give the same intervals.
    """
    outcomes = np.concatenate([journeys.conversions, journeys.nulls])
    happened = np.flatnonzero(outcomes)
    bucket = np.zeros(len(outcomes), np.int32)
    exact = len(happened) * numbers <= EXACT_NUMBERS
    if exact:
        bucket[happened] = np.arange(len(happened))
    else:
        bucket[:] = _scattered(len(outcomes))
    return Spread(bucket, len(happened) if exact else BUCKETS, outcomes, exact)


def counts(journeys: Journeys, rules: Sequence[Rule], where: Spread, *, transitions: bool) -> Counts:
    """Everything at once; without ``transitions``, the moves stay empty."""
    k, r = len(journeys.channels), len(rules)
    moves = (k + 1, k + 2) if transitions else (0, 0)
    found = Counts(
        converted=np.zeros((k, r)),
        cents=np.zeros((k, r)),
        moves=np.zeros(moves),
        converted_by_bucket=np.zeros((where.buckets, k, r)),
        moves_by_bucket=np.zeros((where.buckets, *moves)),
    )
    longest = int(np.diff(journeys.start).max(initial=0))
    shares = np.empty(longest * len(rules))
    _count(journeys.start, journeys.channel, journeys.value_cents, shares, where.bucket, where.outcomes, where.exact,
           *weighing(journeys, rules), *found)  # fmt: skip
    return found


@njit(cache=True, nogil=True)
def _scattered(endings: int) -> Codes:
    """Pseudo-random buckets (splitmix64 of the row)."""
    bucket = np.empty(endings, np.int32)
    for i in range(endings):
        x = np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bucket[i] = np.int32((x >> np.uint64(33)) % np.uint64(BUCKETS))
    return bucket


@njit(cache=True, nogil=True)
def _count(  # noqa: C901  # one pass
    start: Ints, channel: Codes, value_cents: Ints, share: Floats, bucket: Codes, outcomes: Floats, exact: bool,
    forms: Codes, numbers: Floats, direct: Flags, age: Floats, milestone: Codes, converted: Floats, cents: Floats,
    moves: Floats, converted_by_bucket: Floats, moves_by_bucket: Floats,
) -> None:  # fmt: skip
    m, k, longest = len(start) - 1, len(moves) - 1, len(share) // max(len(forms), 1)
    for j in range(m):
        begin, end = start[j], start[j + 1]
        if begin == end:
            continue
        won, value = outcomes[j], float(value_cents[j])
        if won != 0 or value != 0:
            b, weight = bucket[j], (1.0 if won else 0.0) if exact else np.sqrt(won)
            for rule in range(len(forms)):
                share_journey(
                    j, begin, end, rule, channel, forms, numbers, direct, age, milestone, share, rule * longest
                )
            for i in range(end - begin):
                c = channel[begin + i]
                for rule in range(len(forms)):
                    part = share[rule * longest + i]
                    converted[c, rule] += won * part
                    cents[c, rule] += value * part
                    converted_by_bucket[b, c, rule] += weight * part
        if k >= 0:
            for ending in range(2):
                times = outcomes[j + ending * m]
                if times != 0:
                    b, at = bucket[j + ending * m], k
                    weight = 1.0 if exact else np.sqrt(times)
                    for i in range(begin, end):
                        c = channel[i]
                        moves[at, c] += times
                        moves_by_bucket[b, at, c] += weight
                        at = c
                    moves[at, k + ending] += times
                    moves_by_bucket[b, at, k + ending] += weight
