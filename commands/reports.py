"""What people are told again and again: whether promises are kept, and how sales and marketing stand."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer

import terminal
from commands.clock import moment
from commands.options import FILE, HERE, AsOf, Goal, Json, Quiet, Workspace, lake_with_leads, towards
from commands.statuses import REFUSED


def monitor(
    workspace: Workspace = HERE,
    alarms: Annotated[Path | None, typer.Option(help="Write the alarms to this JSON file.", callback=FILE)] = None,
    webhook: Annotated[
        str | None, typer.Option(help="Post alarms, if any, to this address. Default: monitor.webhook.")
    ] = None,
    goal: Goal = None,
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say whether promises are kept, what drifted, and what to do; the exit status is 3 if there is an alarm."""
    from features.durable import write_durably
    from features.lake import Lake
    from serving.monitoring import keep
    from training.monitor import monitored, posted

    settings, room = towards(goal, workspace)
    with terminal.progress(quiet, "Watching"):
        found = monitored(Lake(workspace / "lake"), settings, room, moment(as_of))
    terminal.finish(found, json, quiet, lambda: show_monitored(found))
    keep(room, found)
    webhook = webhook or settings.monitor.webhook
    if alarms:
        write_durably(alarms, jsonlib.dumps(found["alarms"], ensure_ascii=False, indent=1))
    if webhook and found["alarms"]:
        terminal.warn(posted(webhook, found))
    if found["alarms"]:
        raise typer.Exit(REFUSED)


def report(
    workspace: Workspace = HERE,
    output: Annotated[
        Path | None, typer.Option(help="Write one HTML page that needs no service to this file.", callback=FILE)
    ] = None,
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say how sales and marketing stand together: the hand-over, the funnel, what each channel brought."""
    from features.durable import write_durably
    from features.settings import read_settings
    from serving.pages.report import page
    from serving.pages.report import report as together

    with terminal.progress(quiet, "Counting"):
        told = together(workspace, lake_with_leads(workspace), read_settings(workspace), moment(as_of))
    if output:
        write_durably(output, page(told))
    terminal.finish(told, json, quiet, lambda: show_report(told))


def show_monitored(found: dict[str, Any]) -> None:
    """Print how promises were kept, and each alarm: what moved, how sure that is, what to do."""
    kept = [
        (one["group"], f"{one['leads']:,}", f"{one['promised']:.1f}", f"{one['closed']:,}", f"{one['chance']:.1%}")
        for one in found["promises"]
    ]
    if kept:
        terminal.show_table("Matured scores", ("group", "leads", "closes promised", "closed", "by chance"), kept)
    else:
        typer.echo("No score that was served is old enough to be judged yet.")
    soon = [one for one in found["early"]["promises"] if one["group"] == "all"]
    for one in soon:
        typer.echo(
            f"Within {found['early']['days']:g} days {one['closed']:,} of {one['leads']:,} closed, "
            f"{one['promised']:.1f} were promised."
        )
    for alarm in found["alarms"]:
        typer.echo(f"• {alarm['what']} {alarm['sure']} {alarm['do']}")
    if not found["alarms"]:
        typer.echo(f"No alarm. Model {found['model_version']} says what it said when it was judged.")


def show_report(told: dict[str, Any]) -> None:
    """Print how sales and marketing stand together."""
    handed, currency = told["passed_on"], told["currency"]
    typer.echo(
        f"Since {told['since']:%Y-%m-%d} marketing passed on {handed['passed']:,} (stage "
        f"{handed['stage']}); sales accepted {handed['accepted']:,} and rejected {handed['rejected']:,}."
    )
    terminal.show_table(
        "The funnel", ("stage", "leads"), [(step["stage"], f"{step['leads']:,}") for step in told["funnel"]]
    )
    rows = [
        (
            one["channel"],
            f"{one['leads']:,}",
            terminal.percent(one["promised"]),
            f"{one['won']:,}",
            f"{one['revenue']:,.0f}",
            *("–" if one[name] is None else f"{one[name]:,.0f}" for name in ("spend", "cac")),
            f"{one['pipeline']:,.0f}",
        )
        for one in told["channels"]
    ]
    columns = ("channel", "leads", "promised", "won", f"revenue ({currency})", "spend", "CAC", "pipeline")
    terminal.show_table("What each channel brought", columns, rows)
    if told["unrated"]:
        typer.echo(f"• {told['unrated']}")
    if told["why_not"]:
        terminal.show_table(
            "Why sales said no", ("reason", "leads"), [(r["reason"] or "–", f"{r['leads']:,}") for r in told["why_not"]]
        )
