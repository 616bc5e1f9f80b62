"""Touchstone's command line: the story of a lead, from its first touch to its score, command by command."""

from __future__ import annotations

import sys

import typer

from commands.credit import attribute
from commands.demo import demo
from commands.history import check, features, ingest
from commands.learning import backtest, retrain, train
from commands.models import models
from commands.people import erase, export
from commands.reports import monitor, report
from commands.scores import score, sync
from commands.service import serve, tokens
from commands.statuses import FAILED, NOTHING_TO_DO, PARTLY, USAGE
from commands.workspace import init, join

STORY = (
    demo, init, join,
    ingest, check, features,
    train, backtest, score, attribute,
    retrain, monitor, report, sync,
    export, erase, serve,
)  # fmt: skip

app = typer.Typer(
    help="Which leads will close, and which touches made them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in STORY:
    app.command()(command)
app.add_typer(models, name="models")
app.add_typer(tokens, name="tokens")


def main() -> None:
    """Run a command; an error that the user can mend is one sentence and an exit status, not a traceback."""
    from features.disk import told
    from features.errors import ConfigError, NothingToDo, Partly, TouchstoneError

    try:
        with told():
            app()
    except TouchstoneError as error:
        typer.secho(f"{type(error).__name__}: {error}", err=True, fg=typer.colors.RED)
        status = {ConfigError: USAGE, NothingToDo: NOTHING_TO_DO, Partly: PARTLY}.get(type(error), FAILED)
        sys.exit(status)
    except KeyboardInterrupt:
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
