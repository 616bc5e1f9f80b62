"""How a model comes to be: trained, judged, and trained again when that is due."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import terminal
from commands.clock import moment
from commands.options import HERE, TABLE, AsOf, Goal, Json, Quiet, Workspace, towards
from commands.statuses import REFUSED

METRICS = {
    "n": "rows",
    "base_rate": "base rate",
    "mean_probability": "mean score",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "ece": "calib. error",
    "lift_at_10": "lift top 10 %",
}


def train(
    workspace: Workspace = HERE,
    goal: Goal = None,
    as_of: AsOf = None,
    tune: Annotated[float, typer.Option(help="Try other settings for so many seconds first.", min=0)] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a model, judge it on later data, record it in MLflow, and promote it if the gate lets it."""
    from features.ending import ended_in
    from features.lake import Lake
    from training.train import train as train_model

    (settings, room), cut, lake = towards(goal, workspace), moment(as_of), Lake(workspace / "lake")
    terminal.warn(ended_in(lake, cut))
    with terminal.progress(quiet, "Training", 5 if tune else 4) as step:
        trained = train_model(lake, settings, room, cut, step, tune)
    terminal.finish(vars(trained), json, quiet, lambda: show_trained(trained))
    terminal.warn(trained.unrecorded)
    if not trained.promoted:
        raise typer.Exit(REFUSED)


def backtest(
    workspace: Workspace = HERE,
    test_from: Annotated[str | None, typer.Option(help="Make one fold: test on snapshots from this moment on.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Write every prediction to this CSV or Parquet file.", callback=TABLE)
    ] = None,
    goal: Goal = None,
    plots: Annotated[Path | None, typer.Option(help="Draw reliability, folds and lift into this folder.")] = None,
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge honestly: train on what was known, test on what came later."""
    from features.catalogue import catalogue_of
    from features.ending import ended_in
    from features.history import microseconds
    from features.lake import Lake
    from features.reading import read_history
    from features.verbs import columns_of
    from serving.batch import write
    from training.backtest import backtest as judge

    (settings, _), now, lake = towards(goal, workspace), moment(as_of), Lake(workspace / "lake")
    terminal.warn(ended_in(lake, now))
    origins = [microseconds(moment(test_from))] if test_from else []
    with terminal.progress(quiet, "Reading history", len(origins) or 4) as step:
        looked_at = columns_of(catalogue_of(settings.features))
        judged = judge(read_history(lake, more=looked_at), settings, microseconds(now), origins, step)
    if predictions:
        write(judged.predictions, predictions)
    if plots:
        from training.plots import write_plots

        write_plots(plots, judged.folds, judged.predictions)
    document = {"overall": judged.overall, "folds": judged.folds}
    terminal.finish(document, json, quiet, lambda: show_backtest(document))


def retrain(
    workspace: Workspace = HERE,
    force: Annotated[bool, typer.Option("--force", help="Train although nothing is due.")] = False,
    goal: Goal = None,
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train when it is due, by age, new outcomes or drift; promote only through the gate."""
    from features.ending import ended_in
    from features.lake import Lake
    from training.retrain import retrain as train_if_due

    (settings, room), cut, lake = towards(goal, workspace), moment(as_of), Lake(workspace / "lake")
    terminal.warn(ended_in(lake, cut))
    with terminal.progress(quiet, "Looking whether it is due", 5) as step:
        due, trained = train_if_due(lake, settings, room, cut, step, force=force)
    terminal.finish({"due": due, **vars(trained)}, json, quiet, lambda: show_trained(trained, due))
    terminal.warn(trained.unrecorded)
    if not trained.promoted:
        raise typer.Exit(REFUSED)


def show_trained(trained: Any, due: str = "") -> None:
    """Print why it was due, what a model learned from, how good it is, and whether it was promoted."""
    if due:
        typer.echo(due)
    typer.echo(
        f"Model {trained.version} ({trained.evidence}) learned from {trained.snapshots:,} snapshots with "
        f"{trained.wins:,} wins and is {'champion' if trained.promoted else 'challenger'}. {trained.why}"
    )
    if trained.tuning:
        typer.echo(trained.tuning)
    for leak in trained.leaks:
        typer.echo(f"• Left out: {leak['feature']}: {leak['why']}.")
    show_metrics("On later data", "snapshots", [("latest", trained.metrics)])


def show_backtest(document: dict[str, Any]) -> None:
    """Print the metrics of every fold and of all."""
    folds = [(str(fold["test_from"])[:10], fold) for fold in document["folds"]]
    show_metrics("Backtest", "test from", [*folds, ("all", document["overall"])])


def show_metrics(title: str, head: str, measured: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Print a line of metrics for each fold or model; ``head`` says what their names are."""
    rows = [(name, *(terminal.figure(metrics[key]) for key in METRICS)) for name, metrics in measured]
    terminal.show_table(title, (head, *METRICS.values()), rows)
