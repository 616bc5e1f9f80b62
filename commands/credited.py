"""What ``attribute`` shows on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import typer

import terminal

Rows = Sequence[dict[str, Any]]
ALL = "(all)"


def show_credit(document: dict[str, Any]) -> None:
    """Print each channel's closes under each model; the columns add up to all that closed."""
    from serving.ledger import notes

    models, nobody = document["models"], document["unattributed"]["credit"]
    channels = dict.fromkeys(channel for credited in models.values() for channel in credited)
    rows = [(channel, *(f"{models[m].get(channel, {}).get('credit', 0):,.1f}" for m in models)) for channel in channels]
    anyway = document.get("anyway", {})
    left = {m: anyway[m]["credit"] if m in anyway else nobody for m in models}
    totals = [sum(row["credit"] for row in models[m].values()) + left[m] for m in models]
    rows.append(("(unattributed)", *("–" if m in anyway else f"{nobody:,.1f}" for m in models)))
    if anyway:
        rows.append(("(would have closed anyway)", *(f"{left[m]:,.1f}" if m in anyway else "–" for m in models)))
    rows.append(("all of them", *(f"{total:,.1f}" for total in totals)))
    stage = document.get("stage", "won")
    said = {"won": "Closes credited to channels", "open": "Closes expected of open leads, by channel"}
    title = f"{said.get(stage, f'Entries of {stage} credited to channels')} (run {document['run_id']})"
    terminal.show_table(title, ("channel", *(model.replace("_", " ") for model in models)), rows)
    for note in notes(document):
        typer.echo(f"• {note}")
    if "decision" in document:
        typer.echo(f"• {document['decision']['sentence']}")
    if "pipeline" in document:
        of = document["pipeline"]
        lacking = f"{of['without_amount']:,} name no amount"
        typer.echo(f"• {of['leads']:,} open leads with a score of {of['horizon_days']:g} days; {lacking}.")
    for name, show in MORE.items():
        if name in document:
            show(document[name], tuple(models))


def _show_robustness(rows: Rows, models: tuple[str, ...]) -> None:
    cases = list(dict.fromkeys(row["scenario"] for row in rows))
    moved = {(row["scenario"], row["model"]): row for row in rows}
    shares = [(name, *(_moved(moved.get((name, model))) for model in models)) for name in cases]
    terminal.show_table("Share of the credit that moves, and where most", ("if", *_plain(models)), shares)


def _show_velocity(rows: Rows, _models: tuple[str, ...]) -> None:
    ways = [row for row in rows if row["by"] in {"all", "channel"}]
    days = [(row["name"], f"{row['before']} → {row['stage']}", f"{row['days']:,.1f}",
             f"{row['leads']:,} of {row['of']:,}") for row in ways]  # fmt: skip
    terminal.show_table("Days that half of the leads took", ("first touch by", "from → to", "days", "leads"), days)


def _show_returns(rows: Rows, models: tuple[str, ...]) -> None:
    told = {(row["channel"], row["model"]): row for row in rows}
    spent = {row["channel"]: _cost(row["spend"]) for row in rows}
    worth = [(name, spend, *(_worth(told.get((name, model))) for model in models)) for name, spend in spent.items()]
    title = "Spend for a close (CAC), and revenue for spend (ROAS)"
    terminal.show_table(title, ("channel", "spend", *_plain(models)), worth)


def _show_blended(of: dict[str, Any], _models: tuple[str, ...]) -> None:
    if of["cac"] and of["roas"] is not None:
        said = f"{of['cac']:,.2f} for a close, and revenue {of['roas']:,.1f} times the spend"
        typer.echo(f"• {ALL} is what channels were credited with. Blended, of all {of['closes']:,.1f} closes, "
                   f"credited or not: {said}.")  # fmt: skip


def _show_months(rows: Rows, _models: tuple[str, ...]) -> None:
    if not rows:  # no model here credits touches
        return
    model = rows[0]["model"]
    lines = [(row["month"][:7], _cost(row["spend"]), f"{row['revenue']:,.2f}", _gain(row["roi"]),
              f"{row['realized']:,.2f}", _gain(row["realized_roi"]))
             for row in rows if row["model"] == model and row["channel"] == ALL]  # fmt: skip
    head = ("month", "spend", "earned of its closes", "ROI", "brought by its touches", "realized ROI")
    terminal.show_table(f"Month by month, by {_plain((model,))[0]}", head, lines)
    typer.echo("• --json tells the months of each channel.")


def _show_places(rows: Rows, _models: tuple[str, ...]) -> None:
    places = sorted({row["place"] for row in rows})
    credit = {(row["channel"], row["place"]): row["credit"] for row in rows}
    lines = [(name, *(f"{credit.get((name, place), 0):,.1f}" for place in places))
             for name in dict.fromkeys(row["channel"] for row in rows)]  # fmt: skip
    title = "Closes by the place at which journeys first met the channel (ordered Shapley)"
    terminal.show_table(title, ("channel", *(f"{place}." for place in places)), lines)


def _show_trued_up(rows: Rows, models: tuple[str, ...]) -> None:
    names = ("promised", "decided", "came", "difference", "open", "unpriced")
    for model in models:
        money = [(row["channel"], *(f"{row[name]:,.2f}" for name in names)) for row in rows if row["model"] == model]
        terminal.show_table(f"What came of that pipeline, in money, by {model}", ("channel", *names), money)


def _show_compared(rows: Rows, models: tuple[str, ...]) -> None:
    """Show the models that were asked for now; of others there is nothing to compare."""
    for model in models:
        figures = [(row["channel"], *(terminal.figure(row[name]) for name in ("before", "credit", "change")))
                   for row in rows if row["model"] == model]  # fmt: skip
        terminal.show_table(f"Beside the stored run, by {model}", ("channel", "before", "now", "change"), figures)


MORE: dict[str, Callable[[Any, tuple[str, ...]], None]] = {
    "robustness": _show_robustness,
    "velocity": _show_velocity,
    "returns": _show_returns,
    "blended": _show_blended,
    "unpriced": lambda said, _: typer.echo(f"• {said}"),
    "returns_by_month": _show_months,
    "places": _show_places,
    "trued_up": _show_trued_up,
    "compared": _show_compared,
}


def _plain(models: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(model.replace("_", " ") for model in models)


def _moved(row: dict[str, Any] | None) -> str:
    return "–" if row is None else f"{row['moved']:.0%} ({row['channel']} {row['before']:.0%} → {row['after']:.0%})"


def _cost(spend: float | None) -> str:
    return "–" if spend is None else f"{spend:,.2f}"


def _gain(roi: float | None) -> str:
    return "–" if roi is None else f"{roi:,.0%}"


def _worth(line: dict[str, Any] | None) -> str:
    if line is None or line["roas"] is None:
        return "–"
    return f"{'–' if line['cac'] is None else format(line['cac'], ',.2f')} · {line['roas']:,.1f}×"
