"""Moves of very many channels by bucket: of all that could be made, those that were.

A table of moves by bucket has buckets × channels² cells; of 3,000 channels it took 14 GB, and nearly all were empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from attribution.journeys import Codes, Flags, Floats, Ints, Journeys

START, CONVERSION, NULL = -1, -2, -1  # sources, targets; as tables are read from their ends
SPAN = 1 << 24  # more than there are channels
FEW = 1_000_000  # moves that may wait to be added up


class Moves(NamedTuple):
    """How often moves were made by bucket: a row each that was."""

    bucket: Codes
    source: Codes  # a channel, or START
    target: Codes  # a channel, CONVERSION or NULL
    times: Floats

    def those(self, rows: Flags | Ints) -> Moves:
        """Return some of them."""
        return Moves(self.bucket[rows], self.source[rows], self.target[rows], self.times[rows])

    def named(self, places: Codes) -> Moves:
        """Return the moves with other places (k,) for channels."""
        place = np.append(places, [CONVERSION, NULL]).astype(np.int32)
        return self._replace(source=place[self.source], target=place[self.target])


def moves_of(journeys: Journeys, bucket: Codes, outcomes: Floats) -> Moves:
    """Return every move of journeys, in the buckets (2m,) of their endings, as often as these happened (2m,)."""
    touched = np.flatnonzero(journeys.touched)
    before, last = np.roll(journeys.channel, 1), journeys.channel[journeys.start[1:][touched] - 1]
    before[journeys.start[:-1][touched]] = START
    source, journey = np.append(before, last), np.append(journeys.journey, touched)
    of_endings = []
    for row, end in ((journey, CONVERSION), (journey + len(journeys.conversions), NULL)):
        target = np.append(journeys.channel, np.full(len(touched), end, np.int32))
        happened = outcomes[row] > 0
        of_endings.append(Moves(bucket[row], source, target, outcomes[row]).those(happened))
    return joined(of_endings)


@njit(cache=True, nogil=True)
def moves_in(table: Floats) -> Moves:
    """Return the moves of a table (b, k + 1, k + 2) that were made."""
    buckets, states, ends = table.shape
    made = np.count_nonzero(table)
    found = Moves(np.empty(made, np.int32), np.empty(made, np.int32), np.empty(made, np.int32), np.empty(made))
    i = 0
    for bucket in range(buckets):
        for source in range(states):
            for target in range(ends):
                if table[bucket, source, target] != 0:
                    found.bucket[i], found.times[i] = bucket, table[bucket, source, target]
                    found.source[i] = source if source < states - 1 else START
                    found.target[i] = target if target < states - 1 else target - ends
                    i += 1
    return found


def gathered(made: list[Moves], more: Moves) -> None:
    """Add moves to those that were made; whenever as many wait as were added up, all are."""
    made.append(more)
    if sum(len(each.times) for each in made[1:]) > max(len(made[0].times), FEW):
        made[:] = [added_up(made)]


def added_up(made: Sequence[Moves]) -> Moves:
    """Return each move of each bucket once."""
    moves = joined(made)
    key = (moves.bucket.astype(np.int64) * SPAN + moves.source + 2) * SPAN + moves.target + 2
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    return moves.those(first)._replace(times=np.bincount(place, moves.times, len(first)).astype(np.float64))


def joined(made: Sequence[Moves]) -> Moves:
    """Return moves one after another."""
    return Moves(*map(np.concatenate, zip(*made, strict=True)))
