"""The one pass over journeys that ``counting`` compiles: credit under the rules, transitions, and both by bucket.

What happened once goes to the first half of the buckets, and nowhere else: most journeys of a file happened once, and
one sum is quicker than two. What happened more often goes to the second half, by its square root, and to the total.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from attribution.journeys import Codes, Flags, Floats, Ints
from attribution.rules import DISTINCT, share_journey

U = np.uint64  # of places in compiled code: none is negative, and none is asked whether it is
LOOKED_UP = 32  # touches of journeys whose parts by place are looked up


@njit(cache=True, nogil=True)
def tally(  # noqa: C901, PLR0912  # one loop nest: a call with so many arrays costs more than a name
    start: Ints, channel: Codes, value_cents: Ints, share: Floats, met: Ints, bucket: Codes, outcomes: Floats,
    exact: bool, placed: Floats, forms: Codes, numbers: Floats, direct: Flags, age: Floats, milestone: Codes,
    converted: Floats, cents: Floats, moves: Floats, converted_by_bucket: Floats, moves_by_bucket: Floats,
) -> None:  # fmt: skip
    """Add journeys to sums; ``share`` (longest,) and ``met`` (k, 2) are room to work in.

    Equal parts to the distinct channels of a journey are given by channel, not by touch, which is quicker.
    """
    m, k = len(start) - 1, len(moves) - 1
    for j in range(m):
        begin, end = start[j], start[j + 1]
        n = end - begin
        if n == 0:
            continue
        won, value = outcomes[j], float(value_cents[j])
        if won != 0 or value != 0:
            b, weight, done = _place(won, bucket[j], len(converted_by_bucket)), 1.0 if exact else np.sqrt(won), 0
            if n <= LOOKED_UP:
                done, first = placed.shape[1], n * (n - 1) // 2
                for i in range(n):
                    c, row = U(channel[U(begin + i)]), U(first + i)
                    for rule in range(U(done)):
                        part = placed[row, rule]
                        cents[c, rule] += value * part
                        _happened(won, weight, part, b, c, U(rule), converted, converted_by_bucket)
            for rule in range(done, len(forms)):
                if forms[rule] == DISTINCT:
                    d = 0
                    for i in range(begin, end):
                        c = U(channel[U(i)])
                        if met[c, 0] != j + 1:
                            met[c, 0], met[U(d), 1], d = j + 1, c, d + 1
                    part = 1 / d
                    for i in range(d):
                        c = U(met[U(i), 1])
                        cents[c, rule] += value * part
                        _happened(won, weight, part, b, c, U(rule), converted, converted_by_bucket)
                    continue
                share_journey(j, begin, end, rule, channel, forms, numbers, direct, age, milestone, share, 0)
                for i in range(n):
                    c, part = U(channel[U(begin + i)]), share[i]
                    cents[c, rule] += value * part
                    _happened(won, weight, part, b, c, U(rule), converted, converted_by_bucket)
        if k >= 0:
            for ending in range(2):
                times = outcomes[j + ending * m]
                if times != 0:
                    b, at = _place(times, bucket[j + ending * m], len(moves_by_bucket)), U(k)
                    weight = 1.0 if exact else np.sqrt(times)
                    for i in range(begin, end):
                        c = U(channel[U(i)])
                        _happened(times, weight, 1.0, b, at, c, moves, moves_by_bucket)
                        at = c
                    _happened(times, weight, 1.0, b, at, U(k + ending), moves, moves_by_bucket)


@njit(cache=True, nogil=True, inline="always")
def _place(times: float, bucket: int, halves: int) -> Any:
    return U(bucket if times == 1 else bucket + halves // 2)


@njit(cache=True, nogil=True, inline="always")
def _happened(
    times: float, weight: float, part: float, b: U, row: U, column: U, total: Floats, by_bucket: Floats
) -> None:
    """Add part of what happened so often; what happened once is no part of the total until the buckets are folded."""
    if times == 1:
        by_bucket[b, row, column] += part
    elif times != 0:
        total[row, column] += times * part
        by_bucket[b, row, column] += weight * part


@njit(cache=True, nogil=True)
def scattered(rows_before: int, rows: int, buckets: int) -> Codes:
    """Pseudo-random buckets of conversions and nulls (2m,): the halves of splitmix64 of the row."""
    bucket = np.empty(2 * rows, np.int32)
    for i in range(rows):
        x = U(rows_before + i + 1) * U(0x9E3779B97F4A7C15)
        x = (x ^ (x >> U(30))) * U(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> U(27))) * U(0x94D049BB133111EB)
        x ^= x >> U(31)
        bucket[i] = ((x >> U(32)) * U(buckets)) >> U(32)
        bucket[i + rows] = ((x & U(0xFFFFFFFF)) * U(buckets)) >> U(32)
    return bucket
