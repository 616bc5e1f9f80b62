"""Hazards: trees that tell, period by period, how probable it is that an open lead is won then, or lost.

The competing-risks form of a model. In each period a lead that is still open is won with probability σ(w), or else
lost with probability σ(l), or stays open; w and l are said by two forests that look at the lead as it is now, and at
which period it is. The probability of being won within some periods is the sum over them of being open until then
and won there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.errors import ModelError
from serving.forest import Forest, forest_of, planted
from serving.pieces import Ints
from serving.spec import Floats, Spec, probability
from serving.trees import read_trees

NEARLY = 1e-9  # a probability's least distance from 0 and 1


@dataclass(frozen=True)
class Hazards:
    """Two forests of lead and period, of equally many members: of winning, and of losing among those not won.

    ``days`` are the ends of the periods, of which the first ``scored`` are the score's; ``base`` is the log-odds that
    the effects start from.
    """

    won: Forest
    lost: Forest
    days: tuple[float, ...]
    scored: int
    base: float

    @property
    def members(self) -> int:
        """How many speak together."""
        return self.won.members

    def margins(self, matrix: Floats) -> Floats:
        """Return the log-odds of being won in the scored periods, by each member (row) for each row (column)."""
        won, _ = chances_by_the_end(*self._chances(matrix))
        return _log_odds(won[self.scored - 1])

    def ends(self, matrix: Floats) -> tuple[Floats, Floats]:
        """Return the probability of being won, and of being lost, by the end of each period (row) for each row."""
        won, lost = (end.mean(axis=1) for end in chances_by_the_end(*self._chances(matrix)))
        return won, lost

    def effects(self, matrix: Floats) -> Floats:
        """Return the effect of each feature (column) on the mean log-odds of each row; with the base they sum to it.

        An effect on a hazard counts by how the log-odds answer to that hazard. What that leaves over, since they do
        not answer in a straight line and the periods have effects of their own, is shared out by size.
        """
        chance_won, chance_lost = self._chances(matrix)
        found = np.zeros(matrix.shape)
        due = answers(chance_won.mean(axis=1)[: self.scored], chance_lost.mean(axis=1)[: self.scored])
        for period in range(self.scored):
            rows = _at(matrix, period)
            for forest, answer in zip((self.won, self.lost), due, strict=True):
                found += forest.effects(rows)[:, :-1] * answer[period][:, None]
        over = self.margins(matrix).mean(axis=0) - self.base - found.sum(axis=1)
        size = np.abs(found) + NEARLY
        return np.asarray(found + over[:, None] * size / size.sum(axis=1, keepdims=True))

    def told(self, matrix: Floats, rows: Ints) -> tuple[Floats, Floats]:
        """Return the margins of the matrix and the effects of some of its rows."""
        return self.margins(matrix), self.effects(matrix[rows])

    def _chances(self, matrix: Floats) -> tuple[Floats, Floats]:
        """Return the hazards of winning and losing, by period, member and row."""
        rows = [_at(matrix, period) for period in range(len(self.days))]
        won, lost = (probability(np.stack([one.margins(row) for row in rows])) for one in (self.won, self.lost))
        return won, lost


def trees_of(text: str, spec: Spec) -> Forest | Hazards | None:
    """Return what a model's trees say, in the form that its spec states; None if it has none.

    Raises:
        ModelError: when the text is not what training writes.

    """
    if not spec.periods:
        return forest_of(text, spec.trees, len(spec.features))
    columns, half = len(spec.features) + 1, len(spec.trees) // 2
    grown, first = read_trees(text, columns), sum(spec.trees[:half])
    if len(grown) != sum(spec.trees):
        raise ModelError(f"The model's text holds {len(grown)} trees, {sum(spec.trees)} were grown. Train again.")
    won = planted(grown[:first], spec.trees[:half], columns)
    lost = planted(grown[first:], spec.trees[half:], columns)
    return Hazards(won, lost, spec.periods, spec.scored_periods, spec.base_log_odds)


def _at(matrix: Floats, period: int) -> Floats:
    return np.column_stack([matrix, np.full(len(matrix), period, matrix.dtype)])


def chances_by_the_end(won: Floats, lost: Floats) -> tuple[Floats, Floats]:
    """Return the probabilities of having been won, and lost, by the end of each period (first axis) by its hazards."""
    stays = (1 - won) * (1 - lost)
    open_before = np.concatenate([np.ones((1, *won.shape[1:])), np.cumprod(stays, axis=0)[:-1]])
    return np.cumsum(open_before * won, axis=0), np.cumsum(open_before * (1 - won) * lost, axis=0)


def answers(won: Floats, lost: Floats) -> tuple[Floats, Floats]:
    """Return by how much the log-odds of being won answer to the log-odds of each hazard (period, row)."""
    ahead = np.zeros((len(won) + 1, won.shape[1]))  # of winning, once open at the beginning of a period
    for period in range(len(won) - 1, -1, -1):
        ahead[period] = won[period] + (1 - won[period]) * (1 - lost[period]) * ahead[period + 1]
    stays = (1 - won) * (1 - lost)
    open_before = np.concatenate([np.ones((1, won.shape[1])), np.cumprod(stays, axis=0)[:-1]])
    whole = ahead[0].clip(NEARLY, 1 - NEARLY)
    steep = open_before / (whole * (1 - whole))
    to_won = steep * won * (1 - won) * (1 - (1 - lost) * ahead[1:])
    to_lost = -steep * lost * (1 - lost) * (1 - won) * ahead[1:]
    return to_won, to_lost


def _log_odds(chance: Floats) -> Floats:
    kept = chance.clip(NEARLY, 1 - NEARLY)
    return np.asarray(np.log(kept) - np.log1p(-kept))
