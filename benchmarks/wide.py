"""Made snapshots with many features: numbers, of which some may be missing."""

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


def features(columns: int = COLUMNS) -> tuple[Feature, ...]:
    """Return so many features."""
    return tuple(Feature(f"feature_{i}", "count", "") for i in range(columns))


def wide(
    rows: int, seed: int = 0, missing: float = 0.0, columns: int = COLUMNS, rarity: float = 3.0, each: int = 4
) -> tuple[Floats, Labelled]:
    """Return a matrix and its snapshots, ``each`` of a lead, with labels that five of the features tell something of.

    ``rarity`` is how far the log-odds are below even ones.
    """
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, columns)).round(2)
    labels = (rng.random(rows) < 1 / (1 + np.exp(rarity - matrix[:, :5].sum(axis=1)))).astype(np.float64)
    if missing:
        matrix[rng.random(matrix.shape) < missing] = np.nan
    place = np.arange(rows)
    return matrix, Labelled(Moments(NOBODY, place // each, place), labels, np.ones(rows))
