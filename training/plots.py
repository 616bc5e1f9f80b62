"""Pictures of a model's quality. Computing never plots; these only draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from training.metrics import lift, reliability


def calibration_plot(predictions: pd.DataFrame) -> Figure:
    """Return promised against realised share of wins; a point's area is its number of snapshots."""
    labels, probabilities = (predictions[name].to_numpy(np.float64) for name in ("label", "probability"))
    promised, realised, sizes = reliability(labels, probabilities)
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    highest = max(promised.max(), realised.max()) * 1.1 + 0.01
    axes.plot([0, highest], [0, highest], color="0.6", linewidth=1, label="promise kept")
    axes.scatter(
        promised, realised, s=400 * sizes / sizes.sum(), color="tab:blue", label="snapshots, in parts of equal size"
    )
    axes.set(
        xlabel="mean probability promised",
        ylabel="share that closed",
        title="Promised against realised, on later data",
        xlim=(0, highest),
        ylim=(0, highest),
    )
    axes.legend(loc="upper left")
    return figure


def folds_plot(folds: Sequence[Mapping[str, Any]]) -> Figure:
    """Return, fold by fold, the share of wins, the mean score, and the share of wins known when the fold began."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes, places = figure.subplots(), np.arange(len(folds))
    for key, label, style, color in (
        ("base_rate", "share that closed", "o-", "tab:green"),
        ("mean_probability", "mean probability promised", "s-", "tab:blue"),
        ("base_rate_learned", "share among what was learned from", ".:", "0.6"),
    ):
        axes.plot(places, [fold[key] for fold in folds], style, color=color, label=label)
    names = [f"{str(fold['test_from'])[:10]}\n{fold['n']:,} snapshots" for fold in folds]
    axes.set_xticks(places, names)
    axes.set_xlim(-0.5, len(folds) - 0.5)
    axes.margins(y=0.1)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="fold, tested from", ylabel="share", title="Does the score follow the share that closes?")
    axes.legend()
    return figure


def gains_plot(predictions: pd.DataFrame) -> Figure:
    """Return the share of wins that is found by calling the most probable leads, beside chance; and the lift."""
    labels, probabilities = (predictions[name].to_numpy(np.float64) for name in ("label", "probability"))
    called = np.linspace(0.02, 1, 50)
    times = np.array([lift(labels, probabilities, share) for share in called])
    figure = Figure(figsize=(9, 4), layout="constrained")
    found, above = figure.subplots(1, 2)
    found.plot([0, *called], [0, *(times * called)], color="tab:blue", label="by the score")
    found.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="by chance")
    found.set(
        xlabel="share of leads called, the most probable first", ylabel="share of wins found",
        title="Wins found, on later data", xlim=(0, 1), ylim=(0, 1.02),
    )  # fmt: skip
    found.legend(loc="lower right")
    above.plot(called, times, color="tab:blue")
    above.axhline(1, color="0.6", linewidth=1)
    above.set(
        xlabel="share of leads called, the most probable first", ylabel="times the share of wins among all",
        title="Lift, on later data", xlim=(0, 1),
    )  # fmt: skip
    above.set_ylim(bottom=0)
    return figure


def write_plots(folder: Path, folds: Sequence[Mapping[str, Any]], predictions: pd.DataFrame) -> list[Path]:
    """Draw a backtest into PNG files and return them; of outcomes that are all alike there is no lift to draw."""
    figures = {"reliability": calibration_plot(predictions), "folds": folds_plot(folds)}
    if 0 < predictions["label"].mean() < 1:
        figures["lift"] = gains_plot(predictions)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=120)
    return [folder / f"{name}.png" for name in figures]
