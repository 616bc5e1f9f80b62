"""Backtest: every prediction is made by a model that knew only what was known when it was made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from features.errors import DataError
from features.history import NEVER, History, moment_of
from features.matrix import feature_matrix
from features.settings import Settings
from serving.scorer import Scorer
from training.learning import model_of
from training.metrics import Metrics, metrics
from training.snapshots import Labelled, labelled

ORIGINS = (0.6, 0.7, 0.8, 0.9)  # a fold starts at each of these shares of the snapshots


@dataclass(frozen=True)
class Backtest:
    """Metrics over all folds and of each, those of the base rate known at each origin, and every prediction.

    ``predictions`` has the columns lead_id, as_of, horizon_days, probability, low, high, label.
    """

    overall: Metrics
    base_rate: Metrics
    folds: list[dict[str, object]]
    predictions: pd.DataFrame


def backtest(
    history: History,
    settings: Settings,
    as_of: int,
    test_from: Sequence[int] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Backtest:
    """Judge the settings on later data: for each origin, train on what was known then, test on what came next.

    Args:
        history: of all leads.
        settings: goal, snapshots and training.
        as_of: outcomes known before this moment (microseconds) are used for judging.
        test_from: start of each fold; by default four folds over the latest 40 % of the snapshots.
        progress: called with a sentence before each fold.

    Raises:
        DataError: when no snapshot has a known outcome after the first origin.

    """
    known = labelled(history, settings, as_of)
    origins = list(test_from) or _origins(known)
    folds: list[dict[str, object]] = []
    predictions, rates = [], []
    for start, end in pairwise([*origins, NEVER]):
        progress(f"Fold from {moment_of(start):%Y-%m-%d}")
        test = known.between(start, end)
        if not len(test.labels):
            continue
        model, learned = model_of(history, settings, start)
        predicted = predictions_of(model.scorer(), test)
        predictions.append(predicted)
        rates.append(np.full(len(predicted), learned.rate))
        until = moment_of(int(test.moments.as_of.max())).isoformat()
        window = {"test_from": moment_of(start).isoformat(), "test_to": until}
        learned_from = {
            "trained_on": len(learned.labels),
            "base_rate_learned": learned.rate,
            "evidence": model.spec.evidence,
            "leaks": [asdict(leak) for leak in model.leaks],
        }
        folds.append({**window, **_metrics(predicted), **learned_from})
    if not folds:
        raise DataError(_nothing_to_judge(origins, as_of))
    together = pd.concat(predictions, ignore_index=True)
    labels = together["label"].to_numpy(np.float64)
    return Backtest(_metrics(together), metrics(labels, np.concatenate(rates)), folds, together)


def predictions_of(scorer: Scorer, test: Labelled) -> pd.DataFrame:
    """Return what a model says of the test snapshots."""
    margins = scorer.margins(feature_matrix(scorer.spec.features, test.moments))
    low, high = scorer.intervals(margins)
    ids = np.array(test.moments.history.lead_ids, object)
    return pd.DataFrame({
        "lead_id": ids[test.moments.lead],
        "as_of": pd.to_datetime(test.moments.as_of, unit="us", utc=True).as_unit("us"),
        "horizon_days": scorer.spec.horizon_days,
        "probability": scorer.calibrated(margins),
        "low": low,
        "high": high,
        "label": test.labels.astype(np.int64),
    })  # fmt: skip


def compared(one: Scorer, other: Scorer, history: History, settings: Settings, as_of: int) -> dict[str, Metrics]:
    """Return the metrics of two models on the same snapshots, those taken after both had learned.

    Raises:
        DataError: when no such snapshot has a known outcome yet.

    """
    scorers = (one, other)
    start = max(scorer.spec.learned_until for scorer in scorers)
    tested = labelled(history, settings, as_of).between(start)
    if not len(tested.labels):
        raise DataError(
            f"No snapshot that was taken after both {one.version} and {other.version} had learned has a known outcome. "
            "Wait for one, or compare what `touchstone models list` says of each on its own later data."
        )
    said = {scorer.version: predictions_of(scorer, tested)["probability"].to_numpy() for scorer in scorers}
    return {version: metrics(tested.labels, probability) for version, probability in said.items()}


def _nothing_to_judge(origins: Sequence[int], as_of: int) -> str:
    if not origins:
        return "No snapshot has a known outcome yet. Ingest more history, or shorten goal.horizon_days."
    return (
        f"No snapshot from {moment_of(origins[0]):%Y-%m-%d} on has a known outcome before {moment_of(as_of):%Y-%m-%d}. "
        "Take an earlier --test-from, a shorter goal.horizon_days, or wait."
    )


def _origins(known: Labelled) -> list[int]:
    if not len(known.labels):
        return []
    moments = np.sort(known.moments.as_of)
    return sorted({int(moments[int(share * len(moments))]) for share in ORIGINS})


def _metrics(predicted: pd.DataFrame) -> Metrics:
    return metrics(predicted["label"].to_numpy(np.float64), predicted["probability"].to_numpy(np.float64))
