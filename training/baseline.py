"""The baseline of attribution: the score of what a lead is and does of its own, by models that have not seen the lead.

Half of the leads are scored by a model of the other half, so that no score has learned the answer it is held against;
and of touches only those kinds are seen that leads make of their own, of sales' answers none, so that it has not seen
the effect that it is to tell apart from intent.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from features.catalogue import CATALOGUE
from features.history import History, Ints
from features.matrix import feature_matrix
from features.settings import Settings
from features.templates import learned_features
from features.verbs import Moments
from training.ensemble import fit
from training.snapshots import learnable

Floats = NDArray[np.float64]
OWN = [line for line in CATALOGUE if line.table not in ("stages", "feedback")]  # sales' answers


def baseline(history: History, settings: Settings, as_of: int) -> Callable[[Ints, Ints], Floats]:
    """Return the probability of closing by (lead, moment in microseconds), from outcomes known before ``as_of``."""
    known, features = learnable(history, settings, as_of), learned_features(history, as_of, OWN)
    halves = []
    for half in (0, 1):
        rows = known.chosen(known.moments.lead % 2 == half)
        halves.append(fit(rows, features, settings.goal.horizon_days, settings.training).scorer())

    def probability(lead: Ints, moment: Ints) -> Floats:
        found = np.empty(len(lead))
        for half in (0, 1):
            rows, other = lead % 2 == half, halves[1 - half]
            if rows.any():  # what gave the answer away in the other half is not among its model's features
                matrix = feature_matrix(other.spec.features, Moments(history, lead[rows], moment[rows]))
                found[rows] = other.probabilities(matrix)
        return found

    return probability
