"""Made snapshots with sixty features: numbers, of which a tenth is missing, and as many categories as one asks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.contract import schema
from features.history import history_of
from features.verbs import Feature, Moments
from training.snapshots import Labelled

Floats = NDArray[np.float64]
COLUMNS = 60
NOBODY = history_of(*(schema(name).empty_table() for name in ("leads", "touches", "stages")))
FEATURES = tuple(Feature(f"feature_{i}", "count", "") for i in range(COLUMNS))


def wide(rows: int, seed: int = 0, missing: float = 0.0) -> tuple[Floats, Labelled]:
    """Return a matrix and its snapshots, four of each lead, with labels that five of the features tell something of."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, COLUMNS)).round(2)
    labels = (rng.random(rows) < 1 / (1 + np.exp(3 - matrix[:, :5].sum(axis=1)))).astype(np.float64)
    if missing:
        matrix[rng.random(matrix.shape) < missing] = np.nan
    place = np.arange(rows)
    return matrix, Labelled(Moments(NOBODY, place // 4, place), labels, np.ones(rows))
