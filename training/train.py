"""Training: learn from every known outcome, judge on later data, record, and promote through the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from features.catalogue import learned_features
from features.contract import INGESTED
from features.errors import DataError
from features.history import microseconds, read_history
from features.lake import Lake
from features.settings import Settings
from serving.scorer import promote, save
from training.backtest import Backtest, backtest
from training.ensemble import fit
from training.metrics import Metrics, metrics
from training.plots import calibration_plot
from training.snapshots import Labelled, labelled, learnable
from training.tracking import Record, record

WORSE = 1.001  # log loss against the base rate's above which a model is refused


@dataclass(frozen=True)
class Trained:
    """What training ended with; ``metrics`` are on the latest snapshots, unseen by the model judged there."""

    version: str
    run_id: str
    promoted: bool
    why: str
    snapshots: int
    wins: int
    evidence: str
    metrics: Metrics


def train(
    lake: Lake, settings: Settings, workspace: Path, as_of: datetime, progress: Callable[[str], None] = lambda _: None
) -> Trained:
    """Train on the outcomes known before ``as_of`` and promote the model if the gate lets it.

    Raises:
        DataError: when there is no lead to learn from.

    """
    versions = {name: version for name, version in lake.versions().items() if name in INGESTED}
    progress("Reading history")
    history = read_history(Lake(lake.folder, versions))
    if not history.lead_ids:
        raise DataError("The lake holds no leads. Ingest some first: touchstone ingest FILE.")
    cut = microseconds(as_of)
    known, learned = labelled(history, settings, cut), learnable(history, settings, cut)
    progress("Judging on later data")
    judged = backtest(history, settings, cut, [_test_start(known, settings)]) if len(known.labels) else None
    progress("Learning from all outcomes")
    model = fit(learned, learned_features(history, cut), settings.goal.horizon_days, settings.training)
    scorer = save(workspace / "models", model.spec, model.trees)
    promoted, why = _gate(judged)
    progress("Recording the run")
    run_id = record(
        workspace,
        Record(
            model=workspace / "models" / scorer.version,
            features=[feature.name for feature in model.spec.features],
            parameters=_parameters(settings) | {"evidence": model.spec.evidence, "snapshots": len(learned.labels)},
            metrics=judged.overall if judged else {},
            lake_versions=versions,
            plot=calibration_plot(judged.predictions) if judged else None,
            champion=promoted,
        ),
    )
    if promoted:
        promote(workspace / "models", scorer.version)
    return Trained(
        version=scorer.version,
        run_id=run_id,
        promoted=promoted,
        why=why,
        snapshots=len(learned.labels),
        wins=int(learned.labels.sum()),
        evidence=model.spec.evidence,
        metrics=judged.overall if judged else metrics(np.empty(0), np.empty(0)),
    )


def _test_start(known: Labelled, settings: Settings) -> int:
    moments = np.sort(known.moments.as_of)
    return int(moments[int((1 - settings.training.test_share) * len(moments))])


def _gate(judged: Backtest | None) -> tuple[bool, str]:
    """Refuse a model that predicts worse than the share of wins known when it was trained."""
    if judged is None:
        return True, "No outcome is known yet: the base rate serves until there are some."
    loss, plain = judged.overall["log_loss"], judged.base_rate["log_loss"]
    said = f"log loss on later data {loss:.4f}, base rate's {plain:.4f}"
    if loss > plain * WORSE:
        return False, f"Refused: worse than the base rate ({said}). The champion stays."
    return True, f"Not worse than the base rate ({said})."


def _parameters(settings: Settings) -> dict[str, object]:
    sections = {"goal": settings.goal, "snapshots": settings.snapshots, "training": settings.training}
    return {f"{name}.{key}": value for name, section in sections.items() for key, value in section}
