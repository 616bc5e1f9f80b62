"""What the model says of every open lead, here and in the systems where sales works."""

from __future__ import annotations

import json as jsonlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import terminal
from commands.clock import moment, now
from commands.options import HERE, TABLE, AsOf, Engine, Goal, Json, Quiet, Workspace, towards
from commands.statuses import NOTHING_TO_DO, PARTLY
from commands.systems import each, fail

SHOWN = 10  # leads in a table
EFFECT = re.compile(", (?:raises|lowers) the odds ")  # of a reason: what stands before is the fact
ARROWS = {"improving": "▲", "declining": "▼", "steady": "="}


def score(
    workspace: Workspace = HERE,
    goal: Goal = None,
    as_of: AsOf = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the scores to this CSV or Parquet file.", callback=TABLE)
    ] = None,
    outlook: Annotated[
        Path | None,
        typer.Option(help="Write when each lead may close, or be lost, to this CSV or Parquet file.", callback=TABLE),
    ] = None,
    engine: Engine = "local",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score every open lead."""
    from features.ending import ended_in
    from features.errors import NothingToDo
    from features.history import microseconds
    from features.lake import Lake
    from serving import batch
    from serving.exploration import WHY

    (settings, room), cut, lake = towards(goal, workspace), moment(as_of), Lake(workspace / "lake")
    terminal.warn(ended_in(lake, cut))
    with terminal.progress(quiet, "Scoring open leads"):
        scores, objectors, outlooks, withheld = batch.score_and_store(
            room,
            lake,
            settings.goal,
            microseconds(cut),
            settings.exploration,
            engine,
            outlook=outlook is not None,
        )
    if scores.empty and objectors and not withheld:
        raise NothingToDo(f"All {len(objectors)} open leads objected to profiling and are not scored.")
    if scores.empty and not withheld:
        raise NothingToDo(
            f"No lead is open as of {cut:%Y-%m-%d %H:%M} UTC. Ingest newer leads, or give another --as-of."
        )
    if output:
        batch.write(scores, output)
    if outlook is not None and outlooks is not None:
        batch.write(outlooks, outlook)
    document = {
        "scores": jsonlib.loads(scores.to_json(orient="records", date_format="iso")),
        "not_scored": [
            *({"lead_id": lead, "why": "objected to profiling"} for lead in objectors),
            *({"lead_id": lead, "why": WHY} for lead in withheld),
        ],
    }
    terminal.finish(document, json, quiet, lambda: show_scores(scores, objectors, withheld))


def sync(
    systems: Annotated[
        list[str] | None, typer.Argument(help="hubspot, salesforce, marketo or mailchimp; default: all that were read.")
    ] = None,
    workspace: Workspace = HERE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the scores that changed back to the connected systems."""
    from connectors.connections import opened
    from connectors.mapping import SYSTEMS
    from connectors.writeback import sync as write_back
    from features.errors import NothingToDo
    from features.settings import read_settings

    settings = read_settings(workspace)
    named = systems or [system for system in SYSTEMS if (workspace / "connectors" / system).exists()]
    if not named:
        raise NothingToDo("No system was read yet. Give `touchstone ingest hubspot`, or name a system.")
    results = []
    with terminal.progress(quiet, "Writing scores back") as step:

        def write(system: str) -> None:
            with opened(system, workspace, settings, now()) as (connection, dock):
                band = getattr(settings.connectors, system).band
                results.append(write_back(connection, dock, band, step, dry=dry_run))

        failed = each(named, write)
    terminal.finish({"systems": [vars(one) for one in results]}, json, quiet, lambda: show_synced(results))
    fail(failed)
    if any(one.refused for one in results):
        raise typer.Exit(PARTLY)
    if not any(one.written or one.changes for one in results):
        raise typer.Exit(NOTHING_TO_DO)


def show_scores(scores: Any, objectors: Sequence[str] = (), withheld: Sequence[str] = ()) -> None:
    """Print the most probable leads, and how many are not scored, or scored and not shown."""
    rows = [
        (
            row.lead_id,
            f"{row.probability:.0%}",
            f"{row.low:.0%} to {row.high:.0%}",
            f"{row.grade} {ARROWS.get(row.trend, '')}",
            next((EFFECT.split(reason["text"])[0] for reason in jsonlib.loads(row.reasons)), ""),
        )
        for row in scores.head(SHOWN).itertuples()
    ]
    title = f"The {len(rows)} most probable of {len(scores):,} open leads"
    terminal.show_sentences(title, ("lead", "closes", "90 % interval", "grade", "first reason"), rows)
    if objectors:
        typer.echo(f"{_leads(len(objectors))} not scored: objected to profiling.")
    if withheld:
        typer.echo(f"{_leads(len(withheld))} scored and not shown, to measure what showing the score is worth.")


def _leads(count: int) -> str:
    return "1 lead is" if count == 1 else f"{count:,} leads are"


def show_synced(results: Sequence[Any]) -> None:
    """Print what became of the scores of each connected system, and of a dry run what would change."""
    for one in results:
        typer.echo(
            f"{one.system}: {one.written:,} written, {one.unchanged:,} unchanged, {one.withheld:,} withheld, "
            f"{one.refused:,} refused"
        )
        for reason in one.reasons:
            typer.echo(f"  {reason}")
        if one.refused:
            typer.echo(f"  connectors/{one.system}/refused.jsonl names each; they are tried again next time.")
        if one.changes:
            rows = [
                (
                    change["lead_id"],
                    terminal.percent(change["probability_before"]),
                    terminal.percent(change["probability"]),
                    f"{change['grade_before'] or '–'} → {change['grade']}",
                )
                for change in one.changes[:SHOWN]
            ]
            terminal.show_table(f"{len(one.changes):,} would be written", ("lead", "was", "is", "grade"), rows)
