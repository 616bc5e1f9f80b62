"""The model card: what a model is for, what it learned from, how good it is, for whom, and what it looks at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serving.scorer import Scorer
from training.facts import edges
from training.gate import rows_of_slices
from training.metrics import Metrics, lift, metrics, of_groups, reliability, reliability_errors

Floats = NDArray[np.float64]
REPLICATES, SEED = 200, 0  # of the bootstrap
TOP = 10  # features shown
SHARES = (0.1, 0.2, 0.3)  # of the leads, from the most probable on
SIGNAL = 0.99  # log loss against the base rate's from which on there is no usable signal


def purpose(horizon_days: float) -> str:
    """Return what a model is for, and what not."""
    return (
        f"The probability that an open lead closes within {horizon_days:g} days, to decide whom to call first and to "
        "weigh the pipeline. Not for credit, insurance or employment, nor for leads unlike those that it learned from."
    )


def quality(predictions: pd.DataFrame, base_rate: Metrics, slices: pd.DataFrame) -> dict[str, Any]:
    """Return how good predictions (probability, label, lead_id) of later snapshots are, as JSON."""
    labels, said = (predictions[name].to_numpy(np.float64) for name in ("label", "probability"))
    overall = metrics(labels, said)
    promised, realised, sizes = (part.tolist() for part in reliability(labels, said))
    errors = reliability_errors(labels, said, predictions["lead_id"].to_numpy())
    against = f"Log loss {overall['log_loss']:.4f} against the base rate's {base_rate['log_loss']:.4f}"
    usable = overall["log_loss"] < SIGNAL * base_rate["log_loss"]
    told = "the score tells leads apart" if usable else "there is no usable signal; the score is hardly the base rate"
    return {
        "signal": f"{against}: {told}.",
        "metrics": overall,
        "intervals": intervals(predictions),
        "base_rate": base_rate,
        "drift": {
            "base_rate_learned": float(base_rate["mean_probability"]),
            "base_rate_later": overall["base_rate"],
            "mean_score_later": overall["mean_probability"],
        },
        "reliability": {"promised": promised, "realised": realised, "leads": sizes, "error": errors.tolist()},
        "gains": [_gain(labels, said, share) for share in SHARES] if 0 < labels.sum() < len(labels) else [],
        "slices": [
            {"slice": name, **metrics(labels[rows], said[rows])} for name, rows in rows_of_slices(labels, slices)
        ],
    }


def intervals(predictions: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Return 90 % intervals of ROC AUC, log loss and calibration error, by drawing leads with replacement."""
    lead = np.unique(predictions["lead_id"], return_inverse=True)[1]
    values, group = np.unique(predictions["probability"], return_inverse=True)
    labels, leads = predictions["label"].to_numpy(np.float64), lead.max() + 1
    rng, drawn = np.random.default_rng(SEED), []
    for _ in range(REPLICATES):
        times = np.bincount(rng.integers(0, leads, leads), minlength=leads)[lead]
        of_each = (np.bincount(group, counted, len(values)) for counted in (times * labels, times))
        wins, rows = (counts.astype(np.float64) for counts in of_each)
        drawn.append(of_groups(values, wins, rows))
    return {
        name: (float(np.quantile(told, 0.05)), float(np.quantile(told, 0.95)))
        for name in ("roc_auc", "log_loss", "ece")
        if (told := [one[name] for one in drawn if one[name] is not None])
    }


def effect_curves(scorer: Scorer, matrix: Floats) -> list[dict[str, Any]]:
    """Return the features that move the log-odds most, and how: the mean effect by level, or by fifth."""
    effects = scorer.effects(matrix, scorer.margins(matrix))
    strength = np.abs(effects).mean(axis=0)
    order = [int(i) for i in np.argsort(-strength, kind="stable")[:TOP] if strength[i] > 0]
    return [
        {
            "feature": scorer.spec.features[i].name,
            "about": scorer.spec.features[i].about,
            "mean_effect": float(strength[i]),
            "curve": _curve(scorer, i, matrix[:, i], effects[:, i]),
        }
        for i in order
    ]


def _curve(scorer: Scorer, i: int, values: Floats, effects: Floats) -> list[dict[str, Any]]:
    feature, known = scorer.spec.features[i], ~np.isnan(values)
    if feature.levels:
        places = [(feature.said(level), values == level) for level in np.unique(values[known])]
    else:
        part = np.searchsorted(edges(values[known]), values, "right")
        places = [
            (feature.said(float(np.median(values[known & (part == k)]))), known & (part == k))
            for k in np.unique(part[known])
        ]
    places.append((feature.said(float("nan")), ~known))
    return [
        {"value": name, "effect": float(effects[rows].mean()), "rows": int(rows.sum())}
        for name, rows in places
        if rows.any()
    ]


def _gain(labels: Floats, said: Floats, share: float) -> dict[str, float]:
    """Return what calling the most probable ``share`` of the leads finds: lift, share of wins, calls per win."""
    times = lift(labels, said, share)
    wins = times * share
    return {
        "share": share,
        "lift": times,
        "wins_found": wins,
        "calls_per_win": 1 / (times * labels.mean()) if times else 0.0,
    }
