"""Everything that is counted of journeys, in one pass: credit under the rules, transitions, and how they vary.

How they vary is kept in buckets: a journey adds to the totals as often as it happened, and the square root of that
often to one bucket drawn for it. Over buckets, the sums vary as a Poisson count of every journey would make the
totals vary, whether a row stands for one journey or for many. Where there are few journeys, each ending of each is a
bucket of its own, and its Poisson counts can be drawn exactly. Source: Chamandy, Muralidharan, Najmi, Naidu (2012),
Estimating uncertainty for massive data streams.

Journeys may come part by part, so that a file of any length takes little memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from attribution.journeys import Codes, Floats, Journeys
from attribution.moves import Moves, added_up, gathered, moves_in, moves_of
from attribution.rules import DECAY, ENDS, Rule, shares, weighing
from attribution.tally import LOOKED_UP, scattered, tally

BUCKETS = 128
FEWEST_BUCKETS = 64  # where a bucket holds many numbers
SHARED_NUMBERS = 2_000_000  # that shared buckets hold at most, if these are not too few then; 16 MB
EXACT_NUMBERS = 2_000_000  # that buckets of single endings may hold before they are shared
MANY = 512  # channels beyond which moves by bucket are a list of those made; a table for so many takes 400 MB


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
    moves_by_bucket: Floats  # (b, k + 1, k + 2); empty of very many channels
    made: list[Moves]  # instead of these


class Counted(NamedTuple):
    """What is known of journeys once they are counted."""

    channels: tuple[str, ...]  # k
    counts: Counts
    where: Spread
    value_cents: int  # of journeys with touches
    untouched: float  # conversions of journeys without any
    untouched_cents: int


def counted(journeys: Journeys, rules: Sequence[Rule], *, transitions: bool) -> Counted:
    """Everything at once; without ``transitions``, the moves stay empty."""
    k = len(journeys.channels)
    where = spread(journeys, max(1, k * len(rules) + transitions * (k + 1) * (k + 2)))
    bare = ~journeys.touched
    return Counted(
        journeys.channels,
        counts(journeys, rules, where, transitions=transitions),
        where,
        int(journeys.value_cents[~bare].sum()),
        float(journeys.conversions[bare].sum()),
        int(journeys.value_cents[bare].sum()),
    )


def counted_in_parts(parts: Iterable[Journeys], rules: Sequence[Rule], *, transitions: bool) -> Counted:
    """Count journeys that come part by part, in shared buckets.

    A part names the channels of those before it first, in the same order; the answer has them in the order of their
    names.
    """
    found, channels, rows = _nothing(0, len(rules), FEWEST_BUCKETS, transitions=transitions), tuple[str, ...](), 0
    value_cents, untouched, untouched_cents = 0, 0.0, 0
    for part in parts:
        channels, room = part.channels, len(found.converted)
        if len(channels) > room:
            found = _widened(found, max(min(2 * room, MANY), len(channels)), first=rows == 0)
        _add(part, rules, _shared(part, rows, len(found.converted_by_bucket) // 2), found)
        rows += len(part.conversions)
        bare = ~part.touched
        if bare.any():
            untouched += float(part.conversions[bare].sum())
            untouched_cents += int(part.value_cents[bare].sum())
        value_cents += int(part.value_cents.sum())
        del part  # its memory is the next one's
    found = _folded(found)
    where = Spread(np.empty(0, np.int32), len(found.converted_by_bucket), np.empty(0), exact=False)
    by_name = tuple(sorted(channels))
    return Counted(by_name, _sorted(found, channels, by_name), where, value_cents - untouched_cents, untouched,
                   untouched_cents)  # fmt: skip


def spread(journeys: Journeys, numbers: int) -> Spread:
    """Buckets for the endings of journeys of which so many numbers are counted.

    The bucket of a row depends on nothing but its place, so the same journeys give the same intervals.
    """
    happened = int(np.count_nonzero(journeys.conversions)) + int(np.count_nonzero(journeys.nulls))
    if happened * numbers > EXACT_NUMBERS or len(journeys.channels) > MANY:
        return _shared(journeys, 0, _enough(numbers))
    outcomes = np.concatenate([journeys.conversions, journeys.nulls])
    bucket = np.zeros(len(outcomes), np.int32)
    bucket[np.flatnonzero(outcomes)] = np.arange(happened)
    return Spread(bucket, happened, outcomes, exact=True)


def counts(journeys: Journeys, rules: Sequence[Rule], where: Spread, *, transitions: bool) -> Counts:
    """Count journeys in given buckets."""
    found = _nothing(len(journeys.channels), len(rules), where.buckets, transitions=transitions)
    _add(journeys, rules, where, found)
    return _folded(found)


def _folded(found: Counts) -> Counts:
    """Return the sums when all is counted: of what happened once, the total is made from the buckets."""
    converted, converted_by_bucket = _whole(found.converted, found.converted_by_bucket)
    found = found._replace(converted=converted, converted_by_bucket=converted_by_bucket)
    if not found.moves_by_bucket.size:
        return found._replace(made=[added_up(found.made)] if found.made else [])
    moves, moves_by_bucket = _whole(found.moves, found.moves_by_bucket)
    return found._replace(moves=moves, moves_by_bucket=moves_by_bucket)


def _whole(total: Floats, by_bucket: Floats) -> tuple[Floats, Floats]:
    """Return the total and the buckets, which were twice as many: of what happened once, and more often."""
    once, often = np.split(by_bucket, 2)
    return total + once.sum(axis=0), once + often


def _enough(numbers: int) -> int:
    """Return how many buckets there are of so many numbers each."""
    return int(np.clip(SHARED_NUMBERS // numbers, FEWEST_BUCKETS, BUCKETS))


def _shared(journeys: Journeys, rows_before: int, buckets: int) -> Spread:
    outcomes = np.concatenate([journeys.conversions, journeys.nulls])
    return Spread(scattered(rows_before, len(journeys.conversions), buckets), buckets, outcomes, exact=False)


def _nothing(k: int, r: int, buckets: int, *, transitions: bool) -> Counts:
    """Return sums to add to, with twice the buckets: those of what happened once, and of what happened more often."""
    moves = (k + 1, k + 2) if transitions else (0, 0)
    return Counts(np.zeros((k, r)), np.zeros((k, r)), np.zeros(moves), np.zeros((2 * buckets, k, r)),
                  np.zeros((2 * buckets, *(moves if k <= MANY else (0, 0)))), [])  # fmt: skip


def _widened(narrow: Counts, to: int, *, first: bool) -> Counts:
    """Return the sums in the room for so many channels; the first time, with as many buckets as that asks for."""
    k, r = narrow.converted.shape
    transitions, buckets = len(narrow.moves) > 0, len(narrow.converted_by_bucket) // 2
    buckets = _enough(to * r + transitions * (to + 1) * (to + 2)) if first else buckets
    wide = _nothing(to, r, buckets, transitions=transitions)
    if first:
        return wide
    if narrow.moves_by_bucket.size and not wide.moves_by_bucket.size:
        moves, by_bucket = _whole(narrow.moves, narrow.moves_by_bucket)
        narrow = narrow._replace(moves=moves, made=[moves_in(by_bucket)])
    for name in ("converted", "cents", "converted_by_bucket"):
        getattr(wide, name)[..., :k, :] = getattr(narrow, name)
    for was, now in ((narrow.moves, wide.moves), (narrow.moves_by_bucket, wide.moves_by_bucket)):
        if now.size:
            now[..., :k, :k], now[..., to:, :k] = was[..., :k, :k], was[..., k:, :k]
            now[..., :k, to:], now[..., to:, to:] = was[..., :k, k:], was[..., k:, k:]
    return wide._replace(made=narrow.made)


def _sorted(found: Counts, channels: tuple[str, ...], by_name: tuple[str, ...]) -> Counts:
    """Return the sums with channels in another order, without the room that is left."""
    place, room = {name: code for code, name in enumerate(channels)}, len(found.converted)
    order = np.array([place[name] for name in by_name], np.int64)
    source, target = np.append(order, room), np.concatenate([order, [room, room + 1]])
    moves, by_bucket = found.moves, found.moves_by_bucket
    if moves.size:
        moves = moves[np.ix_(source, target)]
    if by_bucket.size:
        by_bucket = by_bucket[:, source[:, None], target]
    made = [each.named(np.argsort(order).astype(np.int32)) for each in found.made]
    return Counts(found.converted[order], found.cents[order], moves, found.converted_by_bucket[:, order], by_bucket,
                  made)  # fmt: skip


def _add(journeys: Journeys, rules: Sequence[Rule], where: Spread, found: Counts) -> None:
    """Add journeys to the sums; leading rules that only ask for places are looked up, which is quick."""
    longest = int(journeys.touches.max(initial=0))
    leading = takewhile(lambda rule: by_place_alone(rule, journeys), rules)
    placed = _parts_by_place(tuple((rule.form, rule.numbers) for rule in leading))
    met = np.zeros((len(journeys.channels), 2), np.int64)
    in_table = found.moves if found.moves_by_bucket.size else found.moves[:0]
    tally(journeys.start, journeys.channel, journeys.value_cents, np.empty(longest), met, where.bucket, where.outcomes,
          where.exact, placed, *weighing(journeys, rules), found.converted, found.cents, in_table,
          found.converted_by_bucket, found.moves_by_bucket)  # fmt: skip
    if len(found.moves) > len(in_table):
        moves = moves_of(journeys, where.bucket, where.outcomes)
        np.add.at(found.moves, (moves.source, moves.target), moves.times)
        gathered(found.made, added_up([moves._replace(times=np.sqrt(moves.times))]))


def by_place_alone(rule: Rule, journeys: Journeys) -> bool:
    """Say whether a rule asks for nothing but the place of a touch in its journey."""
    return rule.form == ENDS or (rule.form == DECAY and journeys.age_days is None)


@lru_cache
def _parts_by_place(rules: tuple[tuple[int, tuple[float, ...]], ...]) -> Floats:
    """Return the parts of the touches of journeys of 1 touch, 2 touches, …, one below the other (t, r)."""
    start = np.append(0, np.cumsum(np.arange(1, LOOKED_UP + 1)))
    none, nothing = np.zeros(LOOKED_UP), np.zeros(LOOKED_UP, np.int64)
    each = Journeys(("any",), start, np.zeros(start[-1], np.int32), None, none, none, nothing)
    return np.array([shares(each, Rule(*rule)) for rule in rules]).reshape(len(rules), start[-1]).T.copy()
