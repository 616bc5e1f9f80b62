"""Tuning: other settings for the trees, where later data say that they are surely better than the ones given.

The settings given are tried first, and others within a budget of seconds (Optuna's tree-structured Parzen estimator).
Each learns from what was known at a moment and is judged by its log loss on the leads that came after it, and before
those that the gate will judge on. The best of many is good by chance, too: it is taken only if its losses are lower by
``SURE`` standard errors. How many a budget of time tries depends on the machine, so that what it finds may differ; the
settings that it found can be repeated to the bit: they are among the run's parameters, to be written into
touchstone.toml.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.history import History, moment_of
from features.settings import Settings, Training
from training.backtest import predictions_of
from training.gate import losses
from training.learning import model_of
from training.snapshots import Labelled, labelled

Floats = NDArray[np.float64]
LATER = 0.25  # share of the snapshots that settings are judged on
FEWEST = 100  # wins, and others, that came later; with fewer, chance would choose
SURE = 2.0  # standard errors
TRIALS = 200  # at most


def tuned(history: History, settings: Settings, before: int, seconds: float) -> tuple[Settings, str]:
    """Return the settings that are surely best on snapshots taken before a moment (microseconds), and what was found.

    Trying takes so many seconds, and one model more.
    """
    import optuna

    known = labelled(history, settings, before).between(0, before)
    moments = np.sort(known.moments.as_of)
    cut = int(moments[int((1 - LATER) * len(moments))]) if len(moments) else before
    later = known.between(cut)
    wins, others = int(later.labels.sum()), int((1 - later.labels).sum())
    if min(wins, others) < FEWEST:
        return settings, (
            f"Not tuned: of the snapshots to choose by {wins:,} were won and {others:,} not; with fewer than "
            f"{FEWEST} of either, chance would choose."
        )
    tried: list[tuple[Training, Floats]] = []

    def loss(trial: optuna.Trial) -> float:
        how = settings.training.model_copy(update=_asked(trial) if tried else {})
        lost = later_losses(history, settings.model_copy(update={"training": how}), cut, later)
        tried.append((how, lost))
        return float(lost.mean())

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=settings.training.seed))
    study.optimize(loss, n_trials=TRIALS, timeout=seconds)
    if not tried[1:]:
        return settings, f"Not tuned: {seconds:g} seconds were over before other settings were tried. Give --tune more."
    (_, given), (best, lowest) = tried[0], min(tried, key=lambda one: one[1].mean())
    gain = given - lowest
    sure = gain.mean() > SURE * gain.std() / np.sqrt(len(gain))
    said = (
        f"{len(tried)} settings were tried on {len(later.labels):,} snapshots from {moment_of(cut):%Y-%m-%d} on: "
        f"log loss {lowest.mean():.4f} against {given.mean():.4f} of those given"
    )
    if not sure:
        return settings, f"{said}, which chance explains. They stay."
    found = ", ".join(f"{name} = {getattr(best, name):g}" for name in RANGES)
    taken = f"Taken: {found}. Write them into touchstone.toml under [training], or the next training forgets them."
    return settings.model_copy(update={"training": best}), f"{said}. {taken}"


def later_losses(history: History, settings: Settings, cut: int, later: Labelled) -> Floats:
    """Return the log loss of each later snapshot, by a model that knew nothing from a moment on."""
    model, _ = model_of(history, settings, cut)
    return losses(predictions_of(model.scorer(), later))


RANGES: dict[str, tuple[float, float, bool]] = {  # of each setting: from, to, and whether its logarithm counts
    "trees": (50, 400, True),
    "learning_rate": (0.01, 0.15, True),
    "leaves": (3, 31, True),
    "rows_per_leaf": (5, 200, True),
    "column_fraction": (0.3, 1.0, False),
    "l2": (0.1, 50.0, True),
    "line_share": (0.0, 1.0, False),
}


def _asked(trial: Any) -> dict[str, float]:
    """Return a trial's settings; those that are whole numbers stay whole."""
    whole = {name for name, field in Training.model_fields.items() if field.annotation is int}
    return {
        name: trial.suggest_int(name, int(low), int(high), log=log)
        if name in whole
        else float(f"{trial.suggest_float(name, low, high, log=log):.3g}")  # as told, so that it can be repeated
        for name, (low, high, log) in RANGES.items()
    }
