"""How good probabilities are: ranking, calibration, and what a sales team gains from the top of the list."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

Floats = NDArray[np.float64]
Metrics = dict[str, Any]  # name → number; None where it has no meaning
BINS = 15  # for the calibration error
NEARLY = float(np.finfo(np.float64).eps)  # nearer than this to 0 or 1 log loss lets no probability come


def metrics(labels: Floats, probabilities: Floats) -> Metrics:
    """Return the metrics of n predictions; a metric that has no meaning there (one class, no rows) is None.

    roc_auc, pr_auc: ranking. log_loss, brier: nats and squares, lower is better. ece: mean distance between
    promised and realised share over 15 bins of equal size. lift_at_10: share of wins among the 10 % most
    probable over their share among all. The order of rows changes nothing, ties or not.
    """
    n, positives = len(labels), int(labels.sum())
    if n == 0:
        names = ("base_rate", "mean_probability", "roc_auc", "pr_auc", "log_loss", "brier", "ece", "lift_at_10")
        return {"n": 0, "positives": 0, **dict.fromkeys(names)}
    both, found = 0 < positives < n, of_groups(*groups(labels, probabilities))
    return {
        "n": n,
        "positives": positives,
        "base_rate": positives / n,
        "mean_probability": float(probabilities.mean()),
        "roc_auc": found["roc_auc"],
        "pr_auc": float(average_precision_score(labels, probabilities)) if both else None,
        "log_loss": found["log_loss"],
        "brier": float(np.mean((probabilities - labels) ** 2)),
        "ece": found["ece"],
        "lift_at_10": lift(labels, probabilities, 0.1) if both else None,
    }


def calibration_error(labels: Floats, probabilities: Floats) -> float:
    """Return the expected calibration error over bins of equal size.

    >>> round(calibration_error(np.array([0.0, 1.0]), np.array([0.1, 0.8])), 12)
    0.15
    """
    return float(of_groups(*groups(labels, probabilities))["ece"])


def roc_auc(labels: Floats, scores: Floats) -> float:
    """Return the share of pairs of a win and another that the scores order rightly, ties half; both must be there.

    >>> roc_auc(np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.1, 0.4, 0.4, 0.8]))
    0.875
    """
    wins, n = labels.sum(), len(labels)
    return float((rankdata(scores) @ labels - wins * (wins + 1) / 2) / (wins * (n - wins)))


def groups(labels: Floats, probabilities: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the distinct probabilities in ascending order, and the wins and rows of each."""
    values, group = np.unique(probabilities, return_inverse=True)
    return values, np.bincount(group, labels).astype(np.float64), np.bincount(group).astype(np.float64)


def of_groups(values: Floats, wins: Floats, rows: Floats, bins: int = BINS) -> Metrics:
    """Return ROC AUC, log loss and calibration error of groups of equal probability, as ``metrics`` of their rows.

    values: their probabilities, strictly ascending. wins, rows: of each group (g), which may be empty.
    """
    n, all_wins, losses = rows.sum(), wins.sum(), rows - wins
    pairs, told = all_wins * (n - all_wins), values.clip(NEARLY, 1 - NEARLY)
    part = ((np.cumsum(rows) - (rows + 1) / 2).clip(0) * bins // n).astype(np.int64)
    return {
        "roc_auc": float(wins @ (np.cumsum(losses) - losses / 2) / pairs) if pairs else None,
        "log_loss": float(-(wins @ np.log(told) + losses @ np.log1p(-told)) / n),
        "ece": float(np.abs(np.bincount(part, rows * values - wins)).sum() / n),
    }


def reliability(labels: Floats, probabilities: Floats, bins: int = BINS) -> tuple[Floats, Floats, Floats]:
    """Return mean probability, share of wins and size of each bin of equal size; equal probabilities share a bin."""
    part = _bin(probabilities, bins)
    sizes = np.bincount(part)
    promised, realised = np.bincount(part, probabilities) / sizes, np.bincount(part, labels) / sizes
    return promised, realised, sizes.astype(np.float64)


def reliability_errors(labels: Floats, probabilities: Floats, leads: NDArray[Any], bins: int = BINS) -> Floats:
    """Return the standard error of the share of wins in each bin of ``reliability``; rows of a lead share its fate."""
    part = _bin(probabilities, bins)
    sizes = np.bincount(part)
    off = pd.Series(labels - (np.bincount(part, labels) / sizes)[part])
    of_lead = off.groupby([part, leads]).sum()
    return np.asarray(np.sqrt((of_lead**2).groupby(level=0).sum().to_numpy()) / sizes)


def _bin(probabilities: Floats, bins: int) -> NDArray[np.int64]:
    """Return the bin of each row, numbered without gaps."""
    _, place, equals = np.unique(probabilities, return_inverse=True, return_counts=True)
    middle = np.cumsum(equals) - (equals + 1) / 2  # mean rank of equals, from 0
    return np.unique((middle * bins // len(probabilities)).astype(np.int64), return_inverse=True)[1][place]


def lift(labels: Floats, probabilities: Floats, share: float) -> float:
    """Return the share of wins among the most probable ``share`` of rows, over their share among all.

    Of rows that tie for the last places, each takes an equal part of them.

    >>> lift(np.array([1.0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), np.linspace(1, 0.1, 10), 0.1)
    5.0
    """
    places = max(1, round(share * len(labels)))
    last = np.partition(probabilities, -places)[-places]
    above, tied = probabilities > last, probabilities == last
    wins = labels[above].sum() + labels[tied].mean() * (places - above.sum())
    return float(wins / places / labels.mean())
