"""The model: LightGBM trees fitted to parts of the leads in turn, calibrated on the part left out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from features.matrix import feature_matrix
from features.settings import Training
from features.verbs import Feature
from serving.scorer import Scorer, Spec, boosters, probability
from training.calibration import beta_calibration
from training.snapshots import Labelled

Floats = NDArray[np.float64]
GOLDEN_ROWS = 5


@dataclass(frozen=True)
class Model:
    """A spec and the trees' text: what ``serving.scorer.save`` writes."""

    spec: Spec
    trees: str

    def scorer(self) -> Scorer:
        """Return the model ready to score, without a version: for judging it."""
        return Scorer(self.spec, boosters(self.trees, self.spec.trees), "unsaved")


def fit(rows: Labelled, features: tuple[Feature, ...], horizon_days: float, how: Training) -> Model:
    """Return a model of the snapshots.

    It is their base rate when too few leads were won or not won, or when the trees cannot tell them apart.
    """
    lead, rate = rows.moments.lead, smoothed_rate(rows.labels)
    fewest = min(len(np.unique(lead[rows.labels == label])) for label in (0, 1))
    base = Spec(
        features=features,
        horizon_days=horizon_days,
        base_log_odds=math.log(rate / (1 - rate)),
        leads=len(np.unique(lead)),
        medians=(None,) * len(features),
    )
    if fewest < how.fewest_outcomes:
        return Model(base, "")
    matrix, part = feature_matrix(features, rows.moments), parts(rows, min(how.members, fewest), how.seed)
    members = [_member(matrix[part != k], rows.labels[part != k], features, how) for k in range(part.max() + 1)]
    margins = _unseen_margins(members, matrix, part)
    calibration = beta_calibration(margins, rows.labels)
    if calibration.a == calibration.b == 0:
        return Model(base, "")
    ranks = np.quantile(probability(calibration.log_odds(margins)), np.linspace(0, 1, 101))
    spec = replace(
        base,
        trees=tuple(member.num_trees() for member in members),
        calibration=calibration,
        evidence="model",
        ranks=tuple(ranks.tolist()),
        medians=_medians(matrix),
    )
    return _with_golden_rows(Model(spec, merged([member.model_to_string() for member in members])), matrix)


def parts(rows: Labelled, members: int, seed: int) -> NDArray[np.int64]:
    """Return the part of each snapshot, 0 to ``members`` − 1.

    All snapshots of a lead are in the same part, and the leads that were won are shared out evenly.
    """
    leads, place = np.unique(rows.moments.lead, return_inverse=True)
    won = np.isin(leads, rows.moments.lead[rows.labels == 1])
    order = np.lexsort((np.random.default_rng(seed).permutation(len(leads)), won))
    part = np.empty(len(leads), np.int64)
    part[order] = np.arange(len(leads)) % members
    return np.asarray(part[place])


def smoothed_rate(labels: Floats) -> float:
    """Return the share of wins, with half a win and half a loss added, so that it is never 0 or 1."""
    return float((labels.sum() + 0.5) / (len(labels) + 1))


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


def _member(matrix: Floats, labels: Floats, features: tuple[Feature, ...], how: Training) -> lgb.Booster:
    parameters: dict[str, Any] = {
        "objective": "binary",
        "learning_rate": how.learning_rate,
        "num_leaves": how.leaves,
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
    data = lgb.Dataset(matrix, labels, categorical_feature=categories or "auto", params={"verbose": -1})
    return lgb.train(parameters, data, num_boost_round=how.trees)


def _unseen_margins(members: list[lgb.Booster], matrix: Floats, part: NDArray[np.int64]) -> Floats:
    """Return the raw log-odds of each row by the one member that did not see its lead."""
    margins = np.empty(len(matrix))
    for k, member in enumerate(members):
        margins[part == k] = member.predict(matrix[part == k], raw_score=True, num_threads=1)
    return margins


def _medians(matrix: Floats) -> tuple[float | None, ...]:
    columns = (column[~np.isnan(column)] for column in matrix.T)
    return tuple(float(np.median(known)) if len(known) else None for known in columns)


def _with_golden_rows(model: Model, matrix: Floats) -> Model:
    chosen = matrix[np.linspace(0, len(matrix) - 1, GOLDEN_ROWS).astype(int)]
    expected = model.scorer().probabilities(chosen)
    rows = tuple(
        (tuple(None if math.isnan(value) else float(value) for value in row), float(p))
        for row, p in zip(chosen, expected, strict=True)
    )
    return replace(model, spec=replace(model.spec, golden=rows))
