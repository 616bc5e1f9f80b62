"""The rivals of the score: what a team would use instead, on the same snapshots and features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from features.matrix import feature_matrix
from features.settings import Settings
from features.verbs import Feature
from training.snapshots import Labelled

Floats = NDArray[np.float64]
Says = Callable[[Floats], Floats]  # from features to probabilities


def rivals(known: Labelled, features: tuple[Feature, ...]) -> Iterator[tuple[str, Says]]:
    """Yield what each model of the same features says, by its name; they learn from snapshots whose horizon is past."""
    matrix, labels, how = feature_matrix(features, known.moments), known.labels, Settings().training
    categories = [i for i, feature in enumerate(features) if feature.levels]
    rate = known.rate
    yield "base rate", lambda rows: np.full(len(rows), rate)
    linear = logistic(categories, matrix.shape[1]).fit(matrix, labels, groups=known.moments.lead)
    yield "logistic", lambda rows: linear.predict_proba(rows)[:, 1]
    conservative = {
        "learning_rate": how.learning_rate, "num_leaves": how.leaves, "min_data_in_leaf": how.rows_per_leaf,
        "feature_fraction": how.column_fraction, "bagging_fraction": how.row_fraction, "bagging_freq": 1,
        "lambda_l2": how.l2,
    }  # fmt: skip
    for name, trees, parameters in (("LightGBM", 100, {}), ("conservative", how.trees, conservative)):
        data = lgb.Dataset(matrix, labels, categorical_feature=categories or "auto", params={"verbose": -1})
        plain: dict[str, Any] = {"objective": "binary", "verbose": -1, "num_threads": 1, **parameters}
        yield name, lgb.train(plain, data, num_boost_round=trees).predict


def logistic(categories: list[int], columns: int) -> GridSearchCV:
    """Return a logistic regression whose L2 is chosen by cross-validation, no lead in two folds."""
    numbers = [i for i in range(columns) if i not in categories]
    coded = Pipeline(
        [
            ("filled", SimpleImputer(strategy="constant", fill_value=-1)),
            ("one_hot", OneHotEncoder(handle_unknown="ignore")),
        ]
    )
    filled = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    scaled = make_pipeline(filled, StandardScaler())
    rows = ColumnTransformer([("numbers", scaled, numbers), ("categories", coded, categories)], sparse_threshold=0)
    model = Pipeline([("rows", rows), ("model", LogisticRegression(max_iter=300))])
    return GridSearchCV(model, {"model__C": [1e-3, 1e-2, 1e-1]}, scoring="neg_log_loss", cv=GroupKFold(3))
