"""The service over HTTP: BentoML's, exported as an ASGI app, behind our own guard, under our own uvicorn, on one port.

``bentoml serve`` listens on every interface and opens a second, unauthenticated port; here nothing listens but what
is asked for. What is asked most is answered without BentoML's own request path, by the same function.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
from collections.abc import Callable
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
from serving.door import Door
from serving.guard import Guard
from serving.messages import EventsRequest, ExplainRequest, FeedbackRequest, FlatRequest, ScoreRequest
from serving.monitoring import Gauges
from serving.port import HOST, LOOPBACK
from serving.port import listen as listen  # noqa: PLC0414  # who runs a server needs both
from serving.replies import EventsReply, ExplanationsReply, FlatReply, ScoresReply
from serving.tokens import Keyring, tokens
from serving.watch import Watch

IDLE_SECONDS = 75  # a connection may be kept open for
DRAIN_SECONDS = 4  # clients have so long to take their connections elsewhere


def service(make: Callable[[], Desk]) -> Any:
    """Return the BentoML service of the desk that is made when the service starts."""

    @bentoml.service(name="touchstone", metrics={"enabled": False}, logging={"access": {"enabled": False}})
    class Touchstone:
        """Close probabilities of leads, with reasons."""

        def __init__(self) -> None:
            self.desk = make()

        @bentoml.api(route="/score")  # type: ignore[untyped-decorator]  # BentoML ships no types
        def score(self, request: ScoreRequest, /) -> ScoresReply:
            """Score leads by id, or with their history sent along."""
            return ScoresReply.model_validate_json(self.desk.scored(request, now()))

        @bentoml.api(route="/score/flat")  # type: ignore[untyped-decorator]
        def flat(self, request: FlatRequest, /) -> FlatReply:
            """Score one lead by id, in flat keys."""
            return self.desk.flat(request, now())

        @bentoml.api(route="/explain")  # type: ignore[untyped-decorator]
        def explain(self, request: ExplainRequest, /) -> ExplanationsReply:
            """Explain scores: the effect of every feature, and the outlook."""
            return self.desk.explained(request, now())

        @bentoml.api(route="/events")  # type: ignore[untyped-decorator]
        def events(self, request: EventsRequest, /) -> EventsReply:
            """Store new touches, stages and versions of leads, durably."""
            return self.desk.intake.events(request, now())

        @bentoml.api(route="/feedback")  # type: ignore[untyped-decorator]
        def feedback(self, request: FeedbackRequest, /) -> EventsReply:
            """Store that sales accepted or rejected a lead, and why."""
            return self.desk.intake.feedback(request, now())

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
        self.desk, self.limits = Desk(workspace, settings, now), settings.serve
        self.watch, self.audit, registry = Watch(self.desk, now), Audit(workspace, now), CollectorRegistry()
        self.app = App(self.desk, service(lambda: self.desk).to_asgi(), registry, now, os.environ)
        registry.register(Gauges(workspace))
        self.guard = Guard(self.app, self.app.way, self.limits, keyring, registry, self.audit.write)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or live from startup to shutdown."""
        if scope["type"] != "lifespan":
            await self.guard(scope, receive, send)
            return

        async def watched(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete":
                await asyncio.to_thread(self._begin)
            elif message["type"] == "lifespan.shutdown.complete":
                await asyncio.to_thread(self._end)
            await send(message)

        await self.guard(scope, receive, watched)

    def refused_at_once(self, scope: Any) -> bytes | None:
        """Return the answer to a request that the guard refuses by its head alone while it is full; else None."""
        return self.guard.refused_at_once(scope)

    def _begin(self) -> None:
        self.desk.warm_up(now())
        self.desk.intake.start()
        self.watch.start()
        gc.collect()
        gc.freeze()  # what was loaded stays; looking through it again and again would stop answers for 40 ms

    def _end(self) -> None:
        gc.unfreeze()  # what is frozen is never thrown away, and DuckDB lists all that is left when Python ends
        self.desk.intake.stop()
        self.watch.stop()
        self.audit.close()

    def drain(self) -> None:
        """Tell every client to open its next connection elsewhere."""
        self.guard.draining = self.app.draining = True


class Server(uvicorn.Server):
    """Uvicorn, which closes no connection under a client's request: each is told first that it will be closed."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready, self._parent = ready, os.getppid()

    async def on_tick(self, counter: int) -> bool:
        """Stop, too, when whoever started this process is gone."""
        return await super().on_tick(counter) or os.getppid() != self._parent

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()

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


def server(workspace: Path, settings: Settings, host: str = HOST, ready: Callable[[], None] = lambda: None) -> Server:
    """Return a server, not yet running, for ``run(sockets=[listen(port)])``; it says when it answers."""
    app = Application(workspace, settings, host)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, ws="none", timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS, loop="uvloop", http=Door,
    )  # fmt: skip
    return Server(config, ready)


def now() -> datetime:
    """Return the moment; nothing below the service reads the clock."""
    return datetime.now(UTC)


def _is_ours_to_mend(record: logging.LogRecord) -> bool:
    """Keep a refused request out of the log: its sender has been told what to mend."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, BentoMLException) and error.error_code < HTTPStatus.INTERNAL_SERVER_ERROR)
