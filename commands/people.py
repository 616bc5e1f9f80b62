"""What is held about a person, and forgetting it."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

import terminal
from commands.options import HERE, Json, Quiet, Workspace


def export(
    person: Annotated[str, typer.Argument(help="A lead_id, or the e-mail address of a lead.")],
    workspace: Workspace = HERE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print everything that is held about a person, as one JSON document."""
    from features.erasure import held
    from features.lake import Lake

    document = held(Lake(workspace / "lake"), person)
    terminal.finish(document, json, quiet, lambda: terminal.print_json(document))


def erase(
    person: Annotated[str, typer.Argument(help="A lead_id, or the e-mail address of a lead.")],
    workspace: Workspace = HERE,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Forget a person everywhere, keep the channels' totals, and name the models to train again."""
    from features.erasure import erase as erase_person
    from features.erasure import to_erase
    from features.errors import ConfigError, NothingToDo
    from features.goals import rooms
    from features.lake import Lake
    from features.tombstones import rows_of
    from features.traces import traces
    from serving.witnesses import witnesses

    lake = Lake(workspace / "lake")
    if not yes:
        wanted = to_erase(lake, person)
        if not sys.stdin.isatty():
            raise ConfigError("Nothing was erased. There is no terminal on which to ask; give --yes to erase at once.")
        show_person(person, wanted, rows_of(lake, wanted))
        if not terminal.agreed("Erase all of it? It cannot be undone.", by_default=False):
            raise NothingToDo("Nothing was erased.")
    with terminal.progress(quiet, "Looking for the person", 10) as step:
        erased = erase_person(lake, person, step)
        step("Searching the workspace")
        elsewhere = traces(workspace, lake.folder, erased)
    document = {
        "erased": person,
        "records": len(erased.lead_ids),
        "models": [one for room in rooms(workspace) for one in witnesses(room / "models", erased.since)],
        "elsewhere": elsewhere,
        "shared": list(erased.shared_emails),
    }
    terminal.finish(document, json, quiet, lambda: show_erased(document))


def show_person(name: str, person: Any, counts: dict[str, int]) -> None:
    """Print on standard error who would be erased, and how many rows of which table."""
    rows = ", ".join(f"{count:,} in {table}" for table, count in counts.items())
    known = ", ".join(person.lead_ids)
    typer.echo(f'"{name}" is {known}. Rows held: {rows or "none any more; an erasure was interrupted"}.', err=True)


def show_erased(document: dict[str, Any]) -> None:
    """Print that a person is forgotten, and what is left for the user to do."""
    typer.echo(
        f"{document['erased']} is forgotten, in every table and every version of it. The channels' totals are as they "
        "were; versions of the lake before now are gone, so training runs that read them cannot be repeated."
    )
    versions = [f"{one['version']}{' (champion)' if one['champion'] else ''}" for one in document["models"]]
    if versions:
        typer.echo(f"Models that may have learned from the person: {', '.join(versions)}. Retrain to forget.")
    for email in document["shared"]:
        typer.echo(f"{email} stands in other leads, too. If they are this person: touchstone erase {email}")
    if document["elsewhere"]:
        rows = [(trace["file"], trace["what_to_do"]) for trace in document["elsewhere"]]
        terminal.show_sentences("Files that still name the person", ("file", "what to do"), rows)
    typer.echo("Backups and copies outside the workspace are for you to clear.")
