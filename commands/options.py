"""Options that several commands take, and what they ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from features.lake import Lake
    from features.settings import Settings


def _up_to_date(workspace: Path) -> Path:
    """Return a workspace, brought up to date if it mirrors what a team shares."""
    if (workspace / "store.json").exists():
        from features.store import store_of

        store = store_of(workspace)
        if store:
            store.pull()
    return workspace


def there(workspace: Path) -> Path:
    """Return a workspace that is there: of a mistyped one nothing is known, which would look like an answer."""
    from features.errors import ConfigError

    if not workspace.is_dir():
        remedy = f"Name that of your workspace, or begin one: touchstone init --workspace {workspace}"
        raise ConfigError(f"There is no folder {workspace}. {remedy}")
    return _up_to_date(workspace)


def to_write(*endings: str) -> Callable[[Path | None], Path | None]:
    """Return what looks, before the work begins, whether its answer can be written to the file that is named."""

    def looked_at(file: Path | None) -> Path | None:
        from features.errors import ConfigError

        if file is not None and not file.parent.is_dir():
            raise ConfigError(f"There is no folder {file.parent} to write {file.name} into. Make it, or name another.")
        if file is not None and endings and file.suffix not in endings:
            raise ConfigError(f"{file} is neither {' nor '.join(endings)}. Give the file one of these endings.")
        return file

    return looked_at


FILE, TABLE = to_write(), to_write(".csv", ".parquet")
FOLDER = "Folder of touchstone.toml, the lake and the models."
Workspace = Annotated[Path, typer.Option(help=FOLDER, callback=there)]
AnyWorkspace = Annotated[Path, typer.Option(help=FOLDER, callback=_up_to_date)]  # of what makes it, or may do without
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


def lake_with_leads(workspace: Path) -> Lake:
    """Return the lake of a workspace, for what would be an empty answer without leads."""
    from features.errors import DataError
    from features.lake import Lake

    lake = Lake(workspace / "lake")
    if lake.table("leads") is None:
        raise DataError("The lake holds no leads. Ingest some first: touchstone ingest FILE.")
    return lake
