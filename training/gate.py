"""The gate: a new model serves if it is worth more than the base rate, and no worse than the one that serves.

Both are judged on the same later snapshots, of which neither knew an outcome: by log loss (is the promise kept?), by
ROC AUC (is the order right?), by calibration error (of those who are promised 20 %, does a fifth close?), and slice by
slice, so that a model that is better on the whole is not worse for one channel, segment or owner. For a champion that
has seen the later snapshots stands a model of its settings (``incumbent``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.verbs import Feature
from training.metrics import Metrics, metrics, of_groups

Floats = NDArray[np.float64]
WORSE = 1.001  # log loss against the base rate's, or the champion's, above which a model is refused
LOWER = 0.01  # ROC AUC below the champion's
LESS_TRUE = 0.02  # calibration error above the champion's
DRAWS, RARE, SEED = 200, 0.95, 0  # of outcomes, if what was promised were true
SURE = 2.0  # standard errors of the difference of losses
FEWEST_IN_SLICE = 100  # rows, of which some are won and some not
EXPECTED = 5.0  # later leads won, by the rate learned; that there are none is then no chance (e⁻⁵ < 1 %)


@dataclass(frozen=True)
class Verdict:
    """Whether a model may serve, and why."""

    promoted: bool
    why: str


def verdict(
    challenger: pd.DataFrame, base_rate: Metrics, champion: pd.DataFrame | None, slices: pd.DataFrame
) -> Verdict:
    """Return whether the challenger may serve.

    Args:
        challenger: predictions (lead_id, probability, label) of later rows.
        base_rate: metrics of the base rate, as it was learned, on these rows.
        champion: predictions of the same rows; None if there is nobody to beat.
        slices: categories of these rows, one a column; missing where a row is in none.

    """
    labels, new = challenger["label"].to_numpy(np.float64), _metrics(challenger)
    leads = challenger["lead_id"].nunique()
    expected = leads * base_rate["mean_probability"]
    if not labels.any() and expected > EXPECTED:
        return Verdict(
            promoted=False,
            why=f"Refused: of {leads:,} later leads none was won, where {expected:.0f} were to be expected. If the "
            "data ended, give --as-of; if a stage got another name, set won in touchstone.toml.",
        )
    said = f"log loss on later data {new['log_loss']:.4f}, base rate's {base_rate['log_loss']:.4f}"
    if new["log_loss"] > base_rate["log_loss"] * WORSE:
        return Verdict(promoted=False, why=f"Refused: worse than the base rate ({said}).")
    if champion is None:
        return Verdict(promoted=True, why=f"Not worse than the base rate ({said}).")
    if new["roc_auc"] is None:
        return Verdict(
            promoted=False,
            why="Refused: all later outcomes are alike, and nothing can be compared.",
        )
    old = _metrics(champion)
    against = (
        f"log loss {new['log_loss']:.4f} against the champion's {old['log_loss']:.4f}, "
        f"ROC AUC {new['roc_auc']:.3f} against {old['roc_auc']:.3f}, "
        f"calibration error {new['ece']:.3f} against {old['ece']:.3f}"
    )
    worse = list(_worse_slices(losses(challenger), losses(champion), labels, slices))
    refused = {
        "worse than the champion on later data": _surely_worse(losses(challenger), losses(champion), SURE),
        "ranks worse than the champion on later data": new["roc_auc"] < old["roc_auc"] - LOWER,
        "promises less truly than the champion on later data": (
            new["ece"] > old["ece"] + LESS_TRUE and new["ece"] > _error_by_chance(challenger)
        ),
        f"worse than the champion for {'; '.join(worse)}": bool(worse),
    }
    if why := next((why for why, broken in refused.items() if broken), None):
        return Verdict(promoted=False, why=f"Refused: {why} ({against}).")
    return Verdict(promoted=True, why=f"Not worse than the champion on later data ({against}).")


def slices_of(matrix: Floats, features: Sequence[Feature]) -> pd.DataFrame:
    """Return the categories among the features (columns of the matrix) by name."""
    named = {}
    for i, feature in enumerate(features):
        if feature.levels:
            names = np.array([*feature.levels, "other", None], object)
            place = np.where(np.isnan(matrix[:, i]), len(feature.levels) + 1, matrix[:, i]).astype(np.int64)
            named[feature.name] = names[place]
    return pd.DataFrame(named, index=range(len(matrix)))


def rows_of_slices(labels: Floats, slices: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the name and the rows of every slice that is large enough to be judged."""
    for column in slices:
        for level in sorted(slices[column].dropna().unique()):
            rows = (slices[column] == level).to_numpy()
            if rows.sum() >= FEWEST_IN_SLICE and 0 < labels[rows].sum() < rows.sum():
                yield f"{column} {level}", rows


def _metrics(predictions: pd.DataFrame) -> Metrics:
    return metrics(predictions["label"].to_numpy(np.float64), predictions["probability"].to_numpy(np.float64))


def _error_by_chance(predictions: pd.DataFrame) -> float:
    """Return the calibration error that a score whose promises are true would hardly exceed on as many rows."""
    values, rows = np.unique(predictions["probability"].to_numpy(np.float64), return_counts=True)
    rng, sizes = np.random.default_rng(SEED), rows.astype(np.float64)
    drawn = (rng.binomial(rows, values).astype(np.float64) for _ in range(DRAWS))
    return float(np.quantile([of_groups(values, wins, sizes)["ece"] for wins in drawn], RARE))


def losses(predictions: pd.DataFrame) -> Floats:
    """Return the log loss of each prediction (probability, label), in nats."""
    p = predictions["probability"].to_numpy(np.float64).clip(1e-15, 1 - 1e-15)
    return np.asarray(-np.where(predictions["label"] == 1, np.log(p), np.log1p(-p)))


def _worse_slices(new: Floats, old: Floats, labels: Floats, slices: pd.DataFrame) -> Iterator[str]:
    """Yield the slices for which the new losses are surely worse; many are asked at once, so they ask for more."""
    for name, rows in rows_of_slices(labels, slices):
        if _surely_worse(new[rows], old[rows], 2 * SURE):
            yield f"{name} (log loss {new[rows].mean():.4f} against {old[rows].mean():.4f})"


def _surely_worse(new: Floats, old: Floats, sure: float) -> bool:
    """Say whether the mean loss is larger by more than a trifle, and by more standard errors than chance makes."""
    difference = new - old
    beyond_chance = difference.mean() > sure * difference.std() / np.sqrt(len(difference))
    return bool(new.mean() > old.mean() * WORSE and beyond_chance)
