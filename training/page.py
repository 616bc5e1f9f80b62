"""The model card as a page: one HTML file without scripts, readable offline and in ten years."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from io import StringIO
from typing import Any

from matplotlib.figure import Figure

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .2rem .8rem; text-align: right }
td:first-child, th:first-child { text-align: left } th { border-bottom: 2px solid #222 }
tr + tr td { border-top: 1px solid #ddd }
"""
METRICS = {
    "n": "snapshots", "positives": "of them won", "base_rate": "share that was won", "mean_probability": "mean score",
    "roc_auc": "ROC AUC", "pr_auc": "PR AUC", "log_loss": "log loss", "brier": "Brier score",
    "ece": "calibration error", "lift_at_10": "lift of the top tenth",
}  # fmt: skip
SLICED = ("base_rate", "mean_probability", "roc_auc", "log_loss", "ece")


def page(card: dict[str, Any], plot: Figure | None) -> str:
    """Return the card as HTML; the plot is drawn into it."""
    return "\n".join(_parts(card, plot))


def _parts(card: dict[str, Any], plot: Figure | None) -> Iterator[str]:
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Model {escape(card["version"])}</title>'
    yield f"<style>{STYLE}</style><h1>Model {escape(card['version'])}</h1><p>{escape(card['purpose'])}</p>"
    yield f"<p><b>{escape(card['why'])}</b> {escape(card.get('signal', ''))}</p>"
    learned = card["learned_from"]
    yield (
        f"<p>Evidence: {escape(card['evidence'])}. Learned from {learned['snapshots']:,} snapshots with "
        f"{learned['wins']:,} wins, taken from {learned['from']} "
        f"to {learned['to']}; outcomes known before {card['as_of']}.</p>"
    )
    moved = card["recalibration"]
    if moved["intercept"] or moved["slope"] != 1:
        yield (
            f"<p>The latest matured snapshots asked for other promises: the log-odds are multiplied by "
            f"{moved['slope']:.2f} and moved by {moved['intercept']:+.2f}.</p>"
        )
    yield from _leaks(card["leaks"])
    if "metrics" not in card:
        return
    yield "<h2>On later data</h2>"
    rows = [
        (title, _figure(card["metrics"][name]), _interval(card["intervals"].get(name)))
        for name, title in METRICS.items()
    ]
    yield _table(("metric", "value", "90 % interval"), rows)
    drift = card["drift"]
    yield (
        f"<p>The share of wins was {drift['base_rate_learned']:.1%} in what was learned from and "
        f"{drift['base_rate_later']:.1%} later, where the mean score is {drift['mean_score_later']:.1%}.</p>"
    )
    if plot is not None:
        drawn = StringIO()
        plot.savefig(drawn, format="svg")
        yield drawn.getvalue()[drawn.getvalue().index("<svg") :]
    gains = [
        (f"{gain['share']:.0%}", f"{gain['lift']:.2f}", f"{gain['wins_found']:.0%}", f"{gain['calls_per_win']:.1f}")
        for gain in card["gains"]
    ]
    yield "<h2>What calling the most probable leads finds</h2>"
    yield _table(("leads called", "lift", "wins found", "calls per win"), gains)
    slices = [(one["slice"], f"{one['n']:,}", *(_figure(one[name]) for name in SLICED)) for one in card["slices"]]
    yield "<h2>For whom</h2>"
    yield _table(("slice", "rows", *(METRICS[name] for name in SLICED)), slices)
    yield "<h2>What it looks at</h2>"
    for feature in card["features"]:
        yield f"<h3>{escape(feature['about'])}</h3>"
        curve = [(point["value"], f"{point['effect']:+.2f}", f"{point['rows']:,}") for point in feature["curve"]]
        yield _table((feature["feature"], "effect on the log-odds", "rows"), curve)


def _leaks(found: Sequence[dict[str, str]]) -> Iterator[str]:
    yield "<h2>Leak report</h2>"
    if not found:
        yield "<p>No column seems to know the outcome.</p>"
        return
    yield "<p>These columns were left out. To learn from one all the same, name it in training.keep_columns.</p>"
    yield _table(("column", "why"), [(leak["feature"], leak["why"]) for leak in found])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>{body}</table>"


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _interval(ends: Sequence[float] | None) -> str:
    return f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else ""
