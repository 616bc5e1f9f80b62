"""Where everything is kept: the first settings, and sharing with a team."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

import terminal
from commands.clock import now
from commands.options import HERE, AnyWorkspace, Json, Quiet


def init(
    workspace: AnyWorkspace = HERE,
    sheet: Annotated[
        Path | None, typer.Option("--from", help="Guess how this CSV export, with one row a lead, is to be read.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write touchstone.toml, with every setting explained, or with the mapping of your own leads."""
    from features.durable import write_durably
    from features.errors import NothingToDo
    from features.settings import FILE
    from features.settings.page import settings_page

    path = workspace / FILE
    if path.exists():
        raise NothingToDo(f"{path} is there already; it was left as it is.")
    document, ended = dict[str, Any](written=str(path)), ""
    if sheet:
        from connectors.proposal import proposal
        from connectors.sheet import opened

        with opened(sheet) as rows:
            guessed = proposal(rows, now())
        ended = guessed.ended
        document |= {"found": guessed.found, "notes": guessed.notes}
        if not (json or quiet):
            show_proposal(sheet, guessed)
        if not yes and sys.stdin.isatty() and not terminal.agreed(f"Write this to {path}?", by_default=True):
            raise NothingToDo(
                "Nothing was written. Rename columns of the file, or map them in touchstone.toml yourself."
            )
    workspace.mkdir(parents=True, exist_ok=True)
    write_durably(path, guessed.page if sheet else settings_page())
    terminal.finish(document, json, quiet, lambda: show_initialised(path, sheet, ended))


def join(
    store: Annotated[str, typer.Argument(help="Address of an object store, such as s3://bucket/touchstone.")],
    workspace: AnyWorkspace = HERE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Share the lake and the models with a team: make the workspace a mirror of an object store."""
    from features.store import join as join_store

    with terminal.progress(quiet, "Bringing both together"):
        brought = join_store(workspace, store)
    document = {"store": store, "brought": brought}
    said = "now holds what this workspace held" if brought else "is what this workspace shows now"
    terminal.finish(document, json, quiet, lambda: typer.echo(f"{store} {said}."))


def show_proposal(sheet: Any, guessed: Any) -> None:
    """Print how a sheet is going to be read."""
    terminal.show_sentences(f"How {sheet.name} is read", ("what", "column", "how"), guessed.found)
    for note in guessed.notes:
        typer.echo(f"• {note}")


def show_initialised(path: Any, sheet: Any, ended: str) -> None:
    """Print that the settings are written, and what comes next."""
    if sheet is None:
        typer.echo(f"{path} is written. Every setting is explained in it.")
        return
    typer.echo(f"{path} is written: look it over, and change what was guessed wrong. Then:")
    where = "" if str(path.parent) == "." else f" --workspace {quote(str(path.parent))}"
    as_of = f" --as-of {ended}" if ended else ""
    steps = (f"ingest {quote(str(sheet))}", f"train{as_of}", f"score{as_of}")
    typer.echo("\n".join(f"  touchstone {step}{where}" for step in steps))
