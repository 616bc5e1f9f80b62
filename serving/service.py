"""The service over HTTP: BentoML's, exported as an ASGI app, behind our own guard, under our own uvicorn, on one port.

``bentoml serve`` listens on every interface and opens a second, unauthenticated port; here nothing listens but what
is asked for. What is asked most is answered without BentoML's own request path, by the same function.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import bentoml
import uvicorn
from bentoml.exceptions import BentoMLException
from prometheus_client import CollectorRegistry

from features.errors import ConfigError
from features.settings import Settings
from serving.app import App
from serving.audit import Audit
from serving.desk import Desk
from serving.guard import LOOPBACK, Guard, Limits
from serving.messages import ExplainRequest, FlatRequest, ScoreRequest
from serving.replies import ExplanationsReply, FlatReply, ScoresReply
from serving.tokens import Keyring, tokens
from serving.watch import Watch

HOST = "127.0.0.1"
IDLE_SECONDS = 75  # a connection may be kept open for
DRAIN_SECONDS = 4  # clients have so long to take their connections elsewhere


def service(desk: Desk) -> Any:
    """Return the BentoML service of a desk."""

    @bentoml.service(name="touchstone", metrics={"enabled": False}, logging={"access": {"enabled": False}})
    class Touchstone:
        """Close probabilities of leads, with reasons."""

        @bentoml.api(route="/score")  # type: ignore[untyped-decorator]  # BentoML ships no types
        def score(self, request: ScoreRequest, /) -> ScoresReply:
            """Score leads by id, or with their history sent along."""
            return ScoresReply.model_validate_json(desk.scored(request, now()))

        @bentoml.api(route="/score/flat")  # type: ignore[untyped-decorator]
        def flat(self, request: FlatRequest, /) -> FlatReply:
            """Score one lead by id, in flat keys."""
            return desk.flat(request, now())

        @bentoml.api(route="/explain")  # type: ignore[untyped-decorator]
        def explain(self, request: ExplainRequest, /) -> ExplanationsReply:
            """Explain scores: the effect of every feature, and the outlook."""
            return desk.explained(request, now())

    return Touchstone


class Application:
    """The ASGI app of one workspace: the guard around the app; the watch lives as long as the server.

    Raises:
        ConfigError: when it is to be reached from elsewhere, and there is no token.

    """

    def __init__(self, workspace: Path, settings: Settings, host: str = HOST) -> None:
        keyring = Keyring(workspace) if tokens(workspace) or host not in LOOPBACK else None
        if keyring and not tokens(workspace):
            raise ConfigError(
                f"The service may be reached from elsewhere on {host}, so it takes tokens, and there is none. "
                "Make one first: touchstone tokens create NAME --scope read"
            )
        logging.getLogger("bentoml._internal.server.http_app").addFilter(_is_ours_to_mend)
        self.desk = Desk(workspace, settings)
        self.watch, self.audit, registry = Watch(self.desk, now), Audit(workspace, now), CollectorRegistry()
        self.app = App(self.desk, service(self.desk).to_asgi(), registry, now)
        self.guard = Guard(self.app, self.app.way, Limits(), keyring, registry, self.audit.write)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or live from startup to shutdown."""
        if scope["type"] != "lifespan":
            await self.guard(scope, receive, send)
            return

        async def watched(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete":
                self.watch.start()
            elif message["type"] == "lifespan.shutdown.complete":
                self.watch.stop()
                self.audit.close()
            await send(message)

        await self.guard(scope, receive, watched)

    def drain(self) -> None:
        """Tell every client to open its next connection elsewhere."""
        self.guard.draining = self.app.draining = True


class Server(uvicorn.Server):
    """Uvicorn, which closes no connection under a client's request: each is told first that it will be closed."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, answer what comes on those there are, and close them."""
        app: Application = self.config.app  # type: ignore[assignment]
        app.drain()
        for opened in self.servers:
            opened.close()
        for _ in range(DRAIN_SECONDS * 50):
            if not self.server_state.connections:
                break
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


def listen(port: int, host: str = HOST) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises:
        ConfigError: when the port is taken.

    """
    # asyncio switches Nagle's delay off only for a socket that says it is TCP
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
        opened.listen(2048)
    except OSError as error:
        opened.close()
        raise ConfigError(f"Port {port} cannot be used: {error.strerror}. Choose another with --port.") from None
    return opened


def server(workspace: Path, settings: Settings, host: str = HOST) -> Server:
    """Return a server, not yet running, for ``run(sockets=[listen(port)])``."""
    app = Application(workspace, settings, host)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, ws="none", timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS, loop="uvloop", http="httptools",
    )  # fmt: skip
    return Server(config)


def now() -> datetime:
    """Return the moment; nothing below the service reads the clock."""
    return datetime.now(UTC)


def _is_ours_to_mend(record: logging.LogRecord) -> bool:
    """Keep a refused request out of the log: its sender has been told what to mend."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, BentoMLException) and error.error_code < HTTPStatus.INTERNAL_SERVER_ERROR)
