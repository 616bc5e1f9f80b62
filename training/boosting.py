"""Boosting: LightGBM's trees, grown conservatively, and the texts of several as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from features.settings import Training
from features.verbs import Feature
from serving.pieces import DEEPEST

Floats = NDArray[np.float64]


def boosted(matrix: Floats, labels: Floats, weights: Floats, features: Sequence[Feature], how: Training) -> lgb.Booster:
    """Return trees that tell the log-odds of labels (n); columns of the matrix beyond the features are numbers."""
    parameters: dict[str, Any] = {
        "objective": "binary",
        "learning_rate": how.learning_rate,
        "num_leaves": how.leaves,
        "max_depth": DEEPEST,
        "min_data_in_leaf": how.rows_per_leaf,
        "feature_fraction": how.column_fraction,
        "bagging_fraction": how.row_fraction,
        "bagging_freq": 1,
        "lambda_l2": how.l2,
        "seed": how.seed,
        "num_threads": how.threads,
        "deterministic": True,
        "force_col_wise": True,
        "verbose": -1,
    }
    categories = [i for i, feature in enumerate(features) if feature.levels]
    data = lgb.Dataset(matrix, labels, weight=weights, categorical_feature=categories or "auto", params={"verbose": -1})
    return lgb.train(parameters, data, num_boost_round=how.trees)


def merged(texts: list[str]) -> str:
    """Return one LightGBM text that holds the trees of several, in order.

    Their sum is the sum of the boosters; ``start_iteration`` reaches each booster's own part.
    """
    head, _, tail = texts[0].partition("\nTree=0\n")
    trees = [tree for text in texts for tree in _trees(text)]
    head = "\n".join(line for line in head.split("\n") if not line.startswith("tree_sizes="))
    body = "\n".join(f"Tree={i}\n{tree}" for i, tree in enumerate(trees))
    joined = f"{head}\n{body}\nend of trees\n{tail.partition('end of trees')[2].lstrip()}"
    return str(lgb.Booster(model_str=joined).model_to_string())


def _trees(text: str) -> list[str]:
    body = text.partition("\nTree=0\n")[2].partition("end of trees")[0]
    return [part.partition("\n")[2] if i else part for i, part in enumerate(body.split("Tree="))]
