"""Pictures of a run, for those who decide. Computing never plots; these only draw."""

from __future__ import annotations

import warnings
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attribution.decision import SPEND_UNIT, Decision

COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown", "tab:pink", "tab:olive",
           "tab:cyan", "black")  # fmt: skip
MARKS = "osD^vP"  # after ten models the colours come again with another mark
CHANNELS = 20  # of which a picture can be read; the best


def shares_plot(channels: pd.DataFrame) -> Figure:
    """Return each channel's share of the credit under each model, with its 90 % interval; the first model's best first.

    Shares are of what the channels earned together; a credit below zero is drawn as it is.
    """
    names, models = _best_first(channels), list(channels["model"].unique())
    figure = Figure(figsize=(9, 1.6 + len(names) * (0.25 + 0.09 * len(models))), layout="constrained")
    axes = figure.subplots()
    for place, model in enumerate(models):
        rows = _of(channels, model, names)
        total = channels.loc[channels["model"] == model, "credit"].sum() or 1.0
        offset = 0.8 * (place - (len(models) - 1) / 2) / max(len(models), 2)
        _dots(axes, np.arange(len(names)) + offset, rows[["credit", "low", "high"]] / total, place, model)
    for border in range(1, len(names)):
        axes.axhline(border - 0.5, color="0.9", linewidth=1)
    _named(axes, names, "Who earned what closed, by model, with 90 % intervals", "share of the credit")
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def decision_plot(found: Decision) -> Figure:
    """Return, by model, the channel that it would fund beside its nearest rival, with 90 % intervals."""
    models = list(found.by_model)
    figure = Figure(figsize=(9, 1.8 + 0.55 * len(models)), layout="constrained")
    axes = figure.subplots()
    for place, model in enumerate(models):
        rows = found.compared[found.compared["model"] == model].set_index("channel")
        best = found.by_model[model]
        rival = rows["credit"].drop(best).nlargest(1).index
        for below, name in enumerate((best, *rival)):
            one, at = rows.loc[[name], ["credit", "low", "high"]], np.array([place + 0.26 * below - 0.13])
            _dots(axes, at, one, below, ("would fund", "next")[below] if place == 0 else "_")
            axes.annotate(f" {name}", (float(one["high"].iloc[0]), at[0]), va="center", fontsize=8, parse_math=False)
    _named(axes, [model.replace("_", " ") for model in models], fill(found.sentence, 90),
           f"credit{found.for_spend * f' for each {SPEND_UNIT:,} of spend'}, with 90 % interval")  # fmt: skip
    axes.margins(x=0.2)
    axes.legend(loc="lower right", frameon=False)
    return figure


def pipeline_plot(channels: pd.DataFrame, currency: str) -> Figure:
    """Return what open deals promise by channel: bars by the first model, marks by the others."""
    names, models = _best_first(channels, by="value"), list(channels["model"].unique())
    figure = Figure(figsize=(9, 1.6 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    for place, model in enumerate(models):
        value = _of(channels, model, names)["value"].astype("float64")
        if place == 0:
            axes.barh(np.arange(len(names)), value, color="tab:blue", alpha=0.5, label=model.replace("_", " "))
        else:
            axes.plot(value, np.arange(len(names)), MARKS[(place // len(COLOURS)) % len(MARKS)], linestyle="none",
                      color=COLOURS[place % len(COLOURS)], label=model.replace("_", " "))  # fmt: skip
    _named(axes, names, "Open pipeline by channel: probability × amount", f"expected, {currency}")
    axes.xaxis.set_major_formatter(lambda amount, _: f"{amount:,.0f}")
    axes.set_xlim(left=0)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def write_plots(
    folder: Path, channels: pd.DataFrame, found: Decision | None, currency: str, *, is_open: bool
) -> list[Path]:
    """Draw a run into PNG files and return them: shares and the decision; of open pipeline, also what it promises."""
    figures = {"shares": shares_plot(channels)}
    if found is not None:
        figures["decision"] = decision_plot(found)
    if is_open:
        figures["pipeline"] = pipeline_plot(channels, currency)
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # an emoji that the font lacks is drawn as a box
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", dpi=120)
    return [folder / f"{name}.png" for name in figures]


def _best_first(channels: pd.DataFrame, by: str = "credit") -> list[str]:
    """Return the channels by credit, or by value, under the first model that names them."""
    first = channels.drop_duplicates("channel").set_index("channel")
    return [str(name) for name in first[by].astype("float64").nlargest(CHANNELS).index]


def _of(channels: pd.DataFrame, model: str, names: list[str]) -> pd.DataFrame:
    rows = channels[channels["model"] == model].set_index("channel")
    return rows[["credit", "low", "high", "value"]].reindex(names, fill_value=0)


def _dots(axes: Axes, at: np.ndarray, rows: pd.DataFrame, place: int, label: str) -> None:
    credit, low, high = (rows[name].to_numpy(np.float64) for name in ("credit", "low", "high"))
    axes.errorbar(
        credit, at, xerr=np.stack([credit - low, high - credit]).clip(min=0), capsize=2, linewidth=1, markersize=4,
        fmt=MARKS[(place // len(COLOURS)) % len(MARKS)], color=COLOURS[place % len(COLOURS)],
        label=label.replace("_", " ") if label != "_" else label,
    )  # fmt: skip


def _named(axes: Axes, names: list[str], title: str, unit: str) -> None:
    """Name the rows from the top down, and the axis of the figures."""
    axes.set_yticks(np.arange(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_title(title, parse_math=False)
    axes.set_xlabel(unit)
