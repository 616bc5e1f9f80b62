"""The forest: what trees say of many rows, and how much of it is due to each feature, by looking it up.

To score is to compare, which processors do for many rows at once, and to look up what the answers mean (``pieces``).
Trees are asked one after the other, so that what they say of a row is the same to the last bit alone, among others,
and by LightGBM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from features.errors import ModelError
from serving.pieces import NUMBER, NUMBER_MISSING_LEFT, NUMBER_OR_ZERO, Floats, Pieces, pieces_of
from serving.trees import read_trees

Answers = NDArray[np.int32]
BLOCK = 256  # rows that are asked together
TINY = 1e-35  # LightGBM's zero


@dataclass(frozen=True)
class Forest:
    """The trees of all members, as tables; ``base`` is the mean of what they say of the rows that they grew on."""

    members: int
    features: int
    base: float
    pieces: Pieces
    said: Floats
    due: Floats  # to the features

    def margins(self, matrix: Floats) -> Floats:
        """Return the raw log-odds by each member (row) for each row of the matrix (column)."""
        found = np.zeros((self.members, len(matrix)))
        _add_values(self.pieces, self.said, self._checked(matrix), found)
        return found

    def effects(self, matrix: Floats) -> Floats:
        """Return the effect of each feature (column) on the mean log-odds of each row; with the base they sum to it."""
        found = np.zeros((len(matrix), self.features))
        _add_effects(self.pieces, self.due, self._checked(matrix), found)
        return found / self.members

    def _checked(self, matrix: Floats) -> Floats:
        if matrix.shape[1] != self.features:
            raise ModelError(
                f"The rows have {matrix.shape[1]} features, the model's trees {self.features}. Train again."
            )
        return np.ascontiguousarray(matrix)


def forest_of(text: str, trees: Sequence[int], features: int) -> Forest | None:
    """Return the forest whose members have so many trees each, in the order of LightGBM's text; None of none.

    Raises:
        ModelError: when the text is not what training writes.

    """
    if not trees:
        return None
    grown = read_trees(text, features)
    if len(grown) != sum(trees):
        raise ModelError(f"The model's text holds {len(grown)} trees, {sum(trees)} were grown. Train again.")
    members = np.repeat(np.arange(len(trees)), trees).tolist()
    return Forest(len(trees), features, sum(tree.mean for tree in grown) / len(trees), *pieces_of(members, grown))


@njit(cache=True, nogil=True)
def _add_values(pieces: Pieces, values: Floats, matrix: Floats, found: Floats) -> None:
    """Add what the trees of each member (row) say of each row of the matrix (column)."""
    block, answers = np.empty((matrix.shape[1], BLOCK)), np.empty(BLOCK, np.int32)
    for begin in range(0, len(matrix), BLOCK):
        size = min(BLOCK, len(matrix) - begin)
        _turn(matrix, begin, size, block)
        for piece in range(len(pieces.member)):
            _answer(pieces, piece, block, size, answers)
            said, into = values[pieces.value_start[piece] :], found[pieces.member[piece], begin : begin + size]
            for row in range(size):
                into[row] += said[answers[row]]


@njit(cache=True, nogil=True)
def _add_effects(pieces: Pieces, effects: Floats, matrix: Floats, found: Floats) -> None:
    """Add the effects of each feature (column) on each row, over all trees."""
    block, answers = np.empty((matrix.shape[1], BLOCK)), np.empty(BLOCK, np.int32)
    turned = np.empty((matrix.shape[1], BLOCK))
    for begin in range(0, len(matrix), BLOCK):
        size = min(BLOCK, len(matrix) - begin)
        _turn(matrix, begin, size, block)
        turned[:, :size] = 0.0
        for piece in range(len(pieces.member)):
            _answer(pieces, piece, block, size, answers)
            width, cell = pieces.value_start[piece + 1] - pieces.value_start[piece], pieces.effect_start[piece]
            for place in range(pieces.column_start[piece], pieces.column_start[piece + 1]):
                said, into = effects[cell : cell + width], turned[pieces.columns[place]]
                for row in range(size):
                    into[row] += said[answers[row]]
                cell += width
        for column in range(matrix.shape[1]):
            for row in range(size):
                found[begin + row, column] += turned[column, row]


@njit(cache=True, nogil=True)
def _turn(matrix: Floats, begin: int, size: int, block: Floats) -> None:
    for row in range(size):
        for column in range(matrix.shape[1]):
            block[column, row] = matrix[begin + row, column]


@njit(cache=True, nogil=True)
def _answer(pieces: Pieces, piece: int, block: Floats, size: int, answers: Answers) -> None:
    """Write the number that the answers of a piece's splits make, for each row of the block."""
    answers[:size] = 0
    begin = pieces.split_start[piece]
    for split in range(begin, pieces.split_start[piece + 1]):
        x, yes, threshold = block[pieces.feature[split]], np.int32(1 << (split - begin)), pieces.threshold[split]
        kind = pieces.kind[split]
        if kind == NUMBER:
            for row in range(size):
                answers[row] += yes if x[row] <= threshold else np.int32(0)
        elif kind == NUMBER_MISSING_LEFT:
            for row in range(size):
                answers[row] += np.int32(0) if x[row] > threshold else yes
        elif kind == NUMBER_OR_ZERO:
            for row in range(size):
                missing = np.isnan(x[row]) or abs(x[row]) <= TINY
                answers[row] += yes if (pieces.missing_left[split] if missing else x[row] <= threshold) else 0
        else:
            first, after = pieces.category_start[split], pieces.category_start[split + 1]
            for row in range(size):
                if -1 < x[row] < after - first and pieces.goes_left[first + int(x[row])]:
                    answers[row] += yes
