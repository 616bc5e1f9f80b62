"""The service, and who may ask it what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

import terminal
from commands.clock import now
from commands.options import HERE, Json, Port, Quiet, Workspace

tokens = typer.Typer(help="Who may ask the service what: make, list and revoke tokens.", no_args_is_help=True)


def serve(
    workspace: Workspace = HERE,
    port: Port = None,
    host: Annotated[str, typer.Option(help="Address to listen on; beyond loopback every request needs a token.")] = (
        "127.0.0.1"
    ),
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run the service: scores, events, the work list and its pages; SIGHUP takes over new code."""
    from features.settings import read_settings
    from serving.supervision import supervise

    def say(url: str) -> None:
        terminal.finish({"url": url}, json, quiet, lambda: typer.echo(f"Serving on {url}. Stop with Ctrl-C."))

    configured = read_settings(workspace).serve.port
    raise typer.Exit(supervise(workspace, configured if port is None else port, host, say))


@tokens.command("create")
def tokens_create(
    name: Annotated[str, typer.Argument(help="Whose token it is, or what for.")],
    scope: Annotated[list[str], typer.Option(help="read, score, ingest or admin (all of them); repeat for several.")],
    workspace: Workspace = HERE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a token and print it, once."""
    from serving.tokens import create

    made = {"name": name, "scopes": scope, "token": create(workspace, name, scope, now())}
    terminal.finish(made, json, quiet, lambda: typer.echo(made["token"]))


@tokens.command("list")
def tokens_list(workspace: Workspace = HERE, json: Json = False, quiet: Quiet = False) -> None:
    """List the tokens; what proves them is not kept."""
    from serving.tokens import listed

    found = listed(workspace)
    terminal.finish({"tokens": found}, json, quiet, lambda: show_tokens(found))


@tokens.command("revoke")
def tokens_revoke(
    name: Annotated[str, typer.Argument(help="The token that is to be refused from now on.")],
    workspace: Workspace = HERE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take a token away; a running service refuses it at once."""
    from serving.tokens import revoke

    revoke(workspace, name)
    terminal.finish({"revoked": name}, json, quiet, lambda: typer.echo(f"{name} is revoked."))


def show_tokens(found: Sequence[dict[str, Any]]) -> None:
    """Print every token: whose it is, what it may do and when it was made."""
    if not found:
        typer.echo("There is no token. Make one: touchstone tokens create NAME --scope score")
        return
    rows = [(str(one["name"]), ", ".join(one["scopes"]), str(one["created_at"])) for one in found]
    terminal.show_table("Tokens", ("name", "scopes", "made"), rows)
