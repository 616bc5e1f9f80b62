"""The forest: what trees say of many rows, and how much of it is due to each feature, by looking it up.

To score is to compare, which processors do for many rows at once, and to look up what the answers mean (``pieces``).
Trees are asked one after the other, so that what they say of a row is the same to the last bit alone, among others,
and by LightGBM.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from features.errors import ModelError
from serving.pieces import NUMBER, NUMBER_MISSING_LEFT, NUMBER_OR_ZERO, Floats, Halves, Ints, Pieces, pieces_of
from serving.trees import Tree, read_trees

Answers = NDArray[np.int16]
BLOCK = 128  # rows that are asked together
TINY = 1e-35  # LightGBM's zero


@dataclass(frozen=True)
class Forest:
    """The trees of all members, as tables; ``base`` is the mean of what they say of the rows that they grew on."""

    members: int
    features: int
    base: float
    pieces: Pieces
    said: Floats
    due: Halves  # to the features

    def margins(self, matrix: Floats) -> Floats:
        """Return the raw log-odds by each member (row) for each row of the matrix (column)."""
        found = np.zeros((self.members, len(matrix)))
        _add_values(self.pieces, self.said, self._checked(matrix), found)
        return found

    def effects(self, matrix: Floats) -> Floats:
        """Return the effect of each feature (column) on the mean log-odds of each row; with the base they sum to it."""
        return self.told(matrix, np.arange(len(matrix)))[1]

    def told(self, matrix: Floats, rows: Ints) -> tuple[Floats, Floats]:
        """Return the margins of the matrix and the effects of some of its rows, in order: who asks once, pays once."""
        margins, effects = np.zeros((self.members, len(matrix))), np.zeros((len(rows), self.features))
        _add_both(self.pieces, self.said, self.due, self._checked(matrix), rows, margins, effects)
        return margins, effects / self.members

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
    return planted(grown, trees, features)


def planted(grown: Sequence[Tree], trees: Sequence[int], features: int) -> Forest:
    """Return the forest of some trees, of which each member has so many."""
    members = np.repeat(np.arange(len(trees)), trees).tolist()
    return Forest(len(trees), features, sum(tree.mean for tree in grown) / len(trees), *pieces_of(members, grown))


@njit(cache=True, nogil=True)
def _add_values(pieces: Pieces, values: Floats, matrix: Floats, found: Floats) -> None:
    """Add what the trees of each member (row) say of each row of the matrix (column)."""
    member, value_start = pieces.member, pieces.value_start
    answers = np.empty((len(member), min(BLOCK, len(matrix))), np.int16)
    for begin in range(0, len(matrix), BLOCK):
        size = min(BLOCK, len(matrix) - begin)
        _answer(pieces, matrix[begin : begin + size], answers)
        for piece in range(len(member)):
            for row in range(size):
                found[member[piece], begin + row] += values[value_start[piece] + answers[piece, row]]


@njit(cache=True, nogil=True)
def _add_both(
    pieces: Pieces, values: Floats, due: Halves, matrix: Floats, rows: Ints, margins: Floats, effects: Floats
) -> None:
    """Add what the trees say of each row of the matrix, and over all trees the effects of each feature on some rows."""
    columns, column_start, effect_start = pieces.columns, pieces.column_start, pieces.effect_start
    answers = np.empty((len(pieces.member), min(BLOCK, len(matrix))), np.int16)
    done = np.int64(0)
    for begin in range(0, len(matrix), BLOCK):
        size = min(BLOCK, len(matrix) - begin)
        _answer(pieces, matrix[begin : begin + size], answers)
        end = done + np.searchsorted(rows[done:], begin + size)
        for piece in range(len(answers)):
            for row in range(size):
                margins[pieces.member[piece], begin + row] += values[pieces.value_start[piece] + answers[piece, row]]
            names = columns[column_start[piece] : column_start[piece + 1]]
            for place in range(done, end):
                first = effect_start[piece] + answers[piece, rows[place] - begin] * len(names)
                for name in range(len(names)):
                    effects[place, names[name]] += due[first + name]
        done = end


@njit(cache=True, nogil=True)
def _answer(pieces: Pieces, rows: Floats, answers: Answers) -> None:
    """Write the number that the answers of each piece's (row) splits make, for each of the rows (column)."""
    start, feature, kinds, thresholds = pieces.split_start, pieces.feature, pieces.kind, pieces.threshold
    missing_left, category_start, goes_left = pieces.missing_left, pieces.category_start, pieces.goes_left
    size, block = len(rows), rows.T.astype(np.float64).copy()
    answers[:] = 0
    for piece in range(len(start) - 1):
        for split in range(start[piece], start[piece + 1]):
            column, kind, threshold = feature[split], kinds[split], thresholds[split]
            yes, no = np.int16(1 << (split - start[piece])), np.int16(0)
            if kind == NUMBER:
                for row in range(size):
                    answers[piece, row] += yes if block[column, row] <= threshold else no
            elif kind == NUMBER_MISSING_LEFT:
                for row in range(size):
                    answers[piece, row] += no if block[column, row] > threshold else yes
            elif kind == NUMBER_OR_ZERO:
                for row in range(size):
                    missing = math.isnan(block[column, row]) or abs(block[column, row]) <= TINY
                    left = missing_left[split] if missing else block[column, row] <= threshold
                    answers[piece, row] += yes if left else no
            else:
                first, after = category_start[split], category_start[split + 1]
                for row in range(size):
                    known = -1 < block[column, row] < after - first
                    answers[piece, row] += yes if known and goes_left[first + int(block[column, row])] else no
