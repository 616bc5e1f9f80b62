"""The models there are, and which of them serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

import terminal
from commands.clock import moment
from commands.learning import METRICS, show_metrics
from commands.options import HERE, AsOf, Goal, Json, Quiet, Workspace, towards

models = typer.Typer(help="List, compare, promote and roll back models.", no_args_is_help=True)


@models.command("list")
def models_list(workspace: Workspace = HERE, goal: Goal = None, json: Json = False, quiet: Quiet = False) -> None:
    """List the models, the latest first, and say which one serves."""
    from training.registry import listed

    found = listed(towards(goal, workspace)[1] / "models")
    terminal.finish({"models": found}, json, quiet, lambda: show_models(found, goal))


@models.command("compare")
def models_compare(
    versions: Annotated[tuple[str, str], typer.Argument(help="Two versions.")],
    workspace: Workspace = HERE,
    goal: Goal = None,
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge two models on the same snapshots, taken after both had learned."""
    from features.history import microseconds
    from features.lake import Lake
    from features.reading import read_history
    from features.verbs import columns_of
    from serving.scorer import load
    from training.backtest import compared
    from training.registry import folders

    settings, room = towards(goal, workspace)
    one, other = map(load, folders(room / "models", versions))
    history = read_history(Lake(workspace / "lake"), more=columns_of([*one.spec.features, *other.spec.features]))
    found = compared(one, other, history, settings, microseconds(moment(as_of)))
    terminal.finish({"models": found}, json, quiet, lambda: show_compared(found))


@models.command("promote")
def models_promote(
    version: Annotated[str, typer.Argument(help="The version that is to serve.")],
    workspace: Workspace = HERE,
    goal: Goal = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Let a model serve, after it was loaded on trial."""
    from training.registry import marked
    from training.registry import serve as serve_version

    room = towards(goal, workspace)[1]
    said = {"champion": serve_version(room / "models", version)}
    terminal.finish(said, json, quiet, lambda: typer.echo(f"{version} is champion."))
    terminal.warn(marked(room, version))


@models.command("rollback")
def models_rollback(workspace: Workspace = HERE, goal: Goal = None, json: Json = False, quiet: Quiet = False) -> None:
    """Let the model serve that served before."""
    from training.registry import marked, serve_again

    room = towards(goal, workspace)[1]
    version = serve_again(room / "models")
    terminal.finish({"champion": version}, json, quiet, lambda: typer.echo(f"{version} is champion again."))
    terminal.warn(marked(room, version))


def show_models(found: Sequence[dict[str, Any]], goal: str | None = None) -> None:
    """Print every model, the latest first, with what was measured on its later data."""
    if not found:
        typer.echo(f"There is no model yet. Run `touchstone train{f' --goal {goal}' if goal else ''}`.")
        return
    figures = ("n", "roc_auc", "log_loss", "ece")
    rows = [
        (
            f"{one['version']}{' (champion)' if one['champion'] else ''}",
            str(one["as_of"] or "–")[:16],
            one["evidence"] or "–",
            *(terminal.figure(one[name]) for name in figures),
        )
        for one in found
    ]
    terminal.show_table("Models", ("version", "learned until", "evidence", *(METRICS[name] for name in figures)), rows)


def show_compared(found: dict[str, dict[str, Any]]) -> None:
    """Print the metrics of two models on the same snapshots."""
    show_metrics("On the same later snapshots", "version", list(found.items()))
