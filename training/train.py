"""Training: learn from every known outcome, judge on later data, record, and promote through the gate."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.catalogue import catalogue_of
from features.contract import INGESTED
from features.errors import DataError
from features.history import NEVER, microseconds, moment_of
from features.lake import Lake
from features.matrix import feature_matrix
from features.reading import read_history
from features.settings import Goal, Settings
from features.store import share
from features.verbs import columns_of
from serving.scorer import CARD, CHAMPION, Scorer, save
from training.backtest import Backtest, backtest
from training.card import effect_curves, purpose, quality
from training.ensemble import Model
from training.gate import Verdict, slices_of, verdict
from training.incumbent import Incumbent, incumbent, learned_by
from training.learning import model_of
from training.metrics import Metrics, metrics
from training.page import page
from training.plots import calibration_plot
from training.prospects import prospects
from training.registry import serve
from training.snapshots import Labelled, labelled
from training.tracking import Record, UnrecordedError, record
from training.tuning import tuned

CURVE_ROWS = 2000

Floats = NDArray[np.float64]


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
    leaks: list[dict[str, str]]
    unrecorded: str = ""  # why MLflow holds no record of the run
    tuning: str = ""  # what it found


def train(
    lake: Lake,
    settings: Settings,
    workspace: Path,
    as_of: datetime,
    progress: Callable[[str], None] = lambda _: None,
    tune_seconds: float = 0,
) -> Trained:
    """Train on the outcomes known before ``as_of`` and promote the model if the gate lets it.

    With ``tune_seconds`` other settings for the trees are tried first, for so long.

    Raises:
        DataError: when there is no lead to learn from.

    """
    versions = {name: version for name, version in lake.versions().items() if name in INGESTED}
    progress("Reading history")
    old = incumbent(workspace / "models")
    looked_at = columns_of([*catalogue_of(settings.features), *(old.looks_at if old else ())])  # both are judged
    history = read_history(Lake(lake.folder, versions), more=looked_at)
    if not history.lead_ids:
        raise DataError("The lake holds no leads. Ingest some first: touchstone ingest FILE.")
    cut, models = microseconds(as_of), workspace / "models"
    known = labelled(history, settings, cut)
    start = _test_start(known, settings) if len(known.labels) else NEVER
    found = ""
    if tune_seconds:
        progress(f"Trying other settings for {tune_seconds:g} seconds")
        settings, found = tuned(history, settings, min(start, cut), tune_seconds)
    progress("Judging on later data")
    judged = backtest(history, settings, cut, [start]) if len(known.labels) else None
    progress("Learning from all outcomes")
    model, learned = model_of(history, settings, cut)
    tells = (model.spec.lines or model.trees) and not model.spec.periods  # those of competing risks tell it themselves
    further = prospects(history, settings, cut, model.spec.features) if tells else ()
    scorer = save(models, replace(model.spec, learned_until=cut, prospects=further), model.trees)
    tested = known.between(start)
    slices = slices_of(feature_matrix(scorer.spec.features, tested.moments), scorer.spec.features)
    winless = not learned.labels.any() and judged is not None
    bar = old if judged and not winless else None
    said, aside = bar.says(tested, history, settings, cut, model.leaks) if bar else (None, "")
    gate = _winless(old, settings.goal) if winless else _gate(judged, models, said, aside, slices)
    if not gate.promoted:
        gate = replace(gate, why=f"{gate.why} {'The champion stays.' if old else 'No model serves yet.'}")
    written = {
        "version": scorer.version,
        "as_of": as_of.isoformat(),
        **_card(scorer, model, learned, judged, gate, slices),
        "lake": versions,
        "settings": learned_by(settings),
    }
    plot = calibration_plot(judged.predictions) if judged else None
    pages = {CARD: json.dumps(written, ensure_ascii=False, indent=1), "card.html": page(written, plot)}
    for name, text in pages.items():
        share(models / scorer.version / name, text)
    progress("Recording the run")
    run_id, unrecorded = _recorded(
        workspace,
        Record(
            model=models / scorer.version,
            features=[feature.name for feature in model.spec.features],
            parameters={
                **_parameters(settings),
                "evidence": model.spec.evidence,
                "snapshots": len(learned.labels),
                **({"tuning": found} if found else {}),
            },
            metrics=judged.overall if judged else {},
            lake_versions=versions,
            plot=plot,
            pages=pages,
            champion=gate.promoted,
            goal=settings.goal.name,
        ),
    )
    if gate.promoted:
        serve(models, scorer.version)
    return Trained(
        version=scorer.version,
        run_id=run_id,
        promoted=gate.promoted,
        why=gate.why,
        snapshots=len(learned.labels),
        wins=int(learned.labels.sum()),
        evidence=model.spec.evidence,
        metrics=judged.overall if judged else metrics(np.empty(0), np.empty(0)),
        leaks=[asdict(leak) for leak in model.leaks],
        unrecorded=unrecorded,
        tuning=found,
    )


def _card(
    scorer: Scorer, model: Model, learned: Labelled, judged: Backtest | None, gate: Verdict, slices: pd.DataFrame
) -> dict[str, Any]:
    """Return what the card says of a model: what it is for, what it learned from and, once judged, how good it is."""
    told = {
        "promoted": gate.promoted,
        "why": gate.why,
        "purpose": purpose(scorer.spec.horizon_days),
        "evidence": scorer.spec.evidence,
        "learned_from": _window(learned),
        "leaks": [asdict(leak) for leak in model.leaks],
        "recalibration": dict(zip(("intercept", "slope"), model.moved, strict=True)),
    }
    if judged is None:
        return told
    moved = effect_curves(scorer, _sample(feature_matrix(scorer.spec.features, learned.moments)))
    return told | quality(judged.predictions, judged.base_rate, slices) | {"features": moved}


def _recorded(workspace: Path, run: Record) -> tuple[str, str]:
    """Return the id of MLflow's run, or why there is none: MLflow is a record, and stops nobody."""
    try:
        return record(workspace, run), ""
    except UnrecordedError as error:
        return "", str(error)


def _test_start(known: Labelled, settings: Settings) -> int:
    moments = np.sort(known.moments.as_of)
    return int(moments[int((1 - settings.training.test_share) * len(moments))])


def _gate(
    judged: Backtest | None, models: Path, champion_said: pd.DataFrame | None, aside: str, slices: pd.DataFrame
) -> Verdict:  # fmt: skip
    if judged is None:
        if (models / CHAMPION).exists():
            return Verdict(promoted=False, why="Refused: no outcome is known, so that nothing can be judged.")
        return Verdict(promoted=True, why="No outcome is known yet: the base rate serves until there are some.")
    found = verdict(judged.predictions, judged.base_rate, champion_said, slices)
    compared = champion_said is not None or found.promoted  # or else it was refused before
    return replace(found, why=f"{found.why} {aside}") if aside and compared else found


def _winless(old: Incumbent | None, goal: Goal) -> Verdict:
    """Let the prior serve until somebody is won, but for a champion that has seen others won."""
    nobody = f"nobody is known to have reached {' or '.join(goal.won)}"
    remedy = f"set {f'goals.{goal.name}' if goal.name else 'goal'}.won to what your system calls it."
    if old and old.scorer.spec.outcomes:
        seen = f"but the champion knows {old.scorer.spec.outcomes:,} who have. If a stage got another name, {remedy}"
        return Verdict(promoted=False, why=f"Refused: {nobody}, {seen}")
    return Verdict(promoted=True, why=f"So far {nobody}: the prior serves. If somebody has, {remedy}")


def _window(learned: Labelled) -> dict[str, object]:
    """Return when the snapshots that were learned from were taken, and how many they are."""
    taken = learned.moments.as_of
    first, last = (f"{moment_of(int(at)):%Y-%m-%d}" for at in (taken.min(), taken.max())) if len(taken) else ("–", "–")
    return {"snapshots": len(taken), "wins": int(learned.labels.sum()), "from": first, "to": last}


def _sample(matrix: Floats) -> Floats:
    """Return some rows, evenly over all: enough to draw curves from."""
    return np.asarray(matrix[np.linspace(0, len(matrix) - 1, min(len(matrix), CURVE_ROWS)).astype(int)])


def _parameters(settings: Settings) -> dict[str, object]:
    sections = {"goal": settings.goal, "snapshots": settings.snapshots, "training": settings.training}
    return {f"{name}.{key}": value for name, section in sections.items() for key, value in section}
