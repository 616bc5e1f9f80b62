"""Learning prospects: lines for further horizons, and one for being lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.history import History
from features.matrix import feature_matrix
from features.settings import Settings
from features.verbs import Feature
from serving.spec import Prospect
from training.lines import logistic_line
from training.snapshots import learnable

ROWS = 20_000  # snapshots that a line learns from


def prospects(history: History, settings: Settings, before: int, features: Sequence[Feature]) -> tuple[Prospect, ...]:
    """Return the prospects for the score's own horizon and the configured ones, as far as any has passed.

    Where a lead counts once it is closed, whatever the horizon, there are none.
    """
    if settings.snapshots.mature_when == "closed":
        return ()
    goal = settings.goal
    found = [
        _prospect(history, settings, before, features, days)
        for days in sorted({*settings.training.outlook_days, goal.horizon_days})
    ]
    won_is_lost = goal.model_copy(update={"won": goal.lost, "lost": goal.won})
    losing = settings.model_copy(update={"goal": won_is_lost})
    if goal.lost:
        found.append(_prospect(history, losing, before, features, goal.horizon_days, lost=True))
    return tuple(one for one in found if one)


def _prospect(
    history: History, settings: Settings, before: int, features: Sequence[Feature], days: float, *, lost: bool = False
) -> Prospect | None:
    goal = settings.goal.model_copy(update={"horizon_days": days})
    rows = learnable(history, settings.model_copy(update={"goal": goal}), before)
    if not len(rows.labels):
        return None
    some = np.zeros(len(rows.labels), np.bool_)
    some[np.random.default_rng(settings.training.seed).permutation(len(some))[:ROWS]] = True
    rows = rows.chosen(some)
    matrix = feature_matrix(features, rows.moments)
    return Prospect(days, lost, logistic_line(matrix, rows.labels, rows.weights, features))
