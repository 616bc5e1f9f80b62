"""A scorer whose log-odds are a weighted sum of the features, so that a person can tell what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.verbs import Feature
from serving.scorer import Scorer
from serving.spec import Spec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Weighed:
    """Two members whose log-odds are a weighted sum of the features, so that a person can tell their effects."""

    members = 2

    def __init__(self, weights: Sequence[float], base: float, missing: float = 0.0) -> None:
        self.weights, self.base, self.missing = np.array(weights), base, missing

    def margins(self, matrix: Floats) -> Floats:
        """Return what both say."""
        return np.stack([self.effects(matrix).sum(axis=1) + self.base] * self.members)

    def effects(self, matrix: Floats) -> Floats:
        """Return each feature's part of it."""
        return np.nan_to_num(matrix, nan=self.missing) * self.weights

    def told(self, matrix: Floats, rows: Ints) -> tuple[Floats, Floats]:
        """Return what both say, and each feature's part of what they say of some rows."""
        return self.margins(matrix), self.effects(matrix[rows])


def weighing(
    features: Sequence[Feature], weights: Sequence[float], base: float = 0.0, missing: float = 0.0, **spec: Any
) -> Scorer:
    """Return a scorer of two members that agree."""
    version = spec.pop("version", "v1")
    medians = spec.pop("medians", (None,) * len(features))
    known = Spec(
        tuple(features), 90, 0.0, leads=100, outcomes=30, trees=(1, 1), evidence="model", medians=medians, **spec
    )
    return Scorer(known, Weighed(weights, base, missing), version)  # type: ignore[arg-type]
