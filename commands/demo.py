"""``touchstone demo``: every step on a simulated company, told as each command would tell it."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer

import terminal
from commands.clock import now
from commands.credited import show_credit
from commands.history import show_ingested
from commands.learning import show_trained
from commands.options import HERE, AnyWorkspace, Json, Port, Quiet
from commands.scores import show_scores, show_synced


def demo(
    workspace: AnyWorkspace = HERE,
    once: Annotated[bool, typer.Option("--once", help="Score one lead over HTTP, print it, and stop.")] = False,
    export: Annotated[Path | None, typer.Option(help="Only write the company's files to this folder.")] = None,
    with_crm: Annotated[
        bool, typer.Option("--with-crm", help="Instead: read its people from four CRMs, and write their scores back.")
    ] = False,
    port: Port = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Simulate a company, run every step below, and serve its scores."""
    import demonstration
    from serving.running import ask, free, running, until_interrupted

    today = now()
    if export:
        written = [str(path) for path in demonstration.simulate(today, export)]
        terminal.finish({"files": written}, json, quiet, lambda: typer.echo("\n".join(written)))
        return
    with terminal.progress(quiet, "Simulating a company") as step:
        if with_crm:
            trip = demonstration.demonstrate_with_crm(workspace, today, step)
        else:
            settings, ingested, trained, scores, run = demonstration.demonstrate(workspace, today, step)
    if with_crm:
        told = {"trained": vars(trip.trained), "systems": [vars(one) for one in trip.synced], "there": trip.there}
        terminal.finish(told, json, quiet, lambda: show_round_trip(trip))
        return
    if not (json or quiet):
        show_ingested(ingested)
        show_trained(trained)
        show_scores(scores)
        show_credit(run.summary())
    asked = {"lead_ids": [str(scores["lead_id"].iloc[0])], "as_of": today.isoformat()}
    if port is None:
        port = 0 if once else free(settings.serve.port)
    with running(workspace, settings, port) as url:
        reply = ask(f"{url}/score", asked)
        if json:
            document = {"trained": vars(trained), "scored": len(scores), **run.summary(), **reply, "url": url}
            terminal.print_json(document)
        elif not quiet:
            terminal.print_json(reply)
            typer.echo(f"\nThe MLflow run {trained.run_id} is finished. The service on {url} answered:")
            typer.echo(
                f"  curl -s {url}/score -H 'content-type: application/json' -d '{jsonlib.dumps(asked)}'\n"
                f"Its pages for sales, marketing and engineers: {url}/"
            )
        if not once:
            typer.echo("It goes on answering. Stop it with Ctrl-C.", err=True)
            until_interrupted()


def show_round_trip(trip: Any) -> None:
    """Print what came from connected systems, what was learned, and what went back."""
    show_ingested(trip.ingested)
    show_trained(trip.trained)
    show_synced(trip.synced)
    typer.echo("\nThe most promising lead of each system, as sales sees it there:")
    terminal.print_json(trip.there)
