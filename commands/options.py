"""Options that several commands take, and what they ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from features.settings import Settings


def _up_to_date(workspace: Path) -> Path:
    """Return a workspace, brought up to date if it mirrors what a team shares."""
    if (workspace / "store.json").exists():
        from features.store import store_of

        store = store_of(workspace)
        if store:
            store.pull()
    return workspace


Workspace = Annotated[
    Path, typer.Option(help="Folder of touchstone.toml, the lake and the models.", callback=_up_to_date)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
AsOf = Annotated[
    str | None, typer.Option(help="Moment, as 2026-02-28T09:00:00Z; without a zone it is UTC. Default: now.")
]
Engine = Annotated[Literal["local", "spark"], typer.Option(help="Where to work: on this machine, or by Apache Spark.")]
Goal = Annotated[str | None, typer.Option(help="A goal of [goals] in touchstone.toml. Default: the main one.")]
Port = Annotated[int | None, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)]
HERE = Path()


def towards(goal: str | None, workspace: Path) -> tuple[Settings, Path]:
    """Return the settings by which a goal is pursued, and the folder of its models."""
    from features.goals import room_of
    from features.settings import read_settings

    settings = read_settings(workspace)
    return (settings if goal is None else settings.for_goal(goal)), room_of(workspace, goal or "")
