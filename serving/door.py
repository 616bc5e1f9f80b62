"""The door: what a connection has to pass before there is a request that the guard could look at.

So many may be open at once, and the head of a request has to be small and soon here; uvicorn bounds neither. A refusal
is written straight to the connection, which is closed.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from features.settings import Serve


class Door(HttpToolsProtocol):
    """A connection of a client; the limits are those of the server's app."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits: Serve = self.config.app.limits  # type: ignore[union-attr]  # it is our Application
        self._head = 0  # bytes of it that have come
        self._is_whole = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Let the connection in, if there is room."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections are open. Ask again in a second.")
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; refuse a head that is too large, and wait for one that has begun."""
        if self.transport.is_closing():
            return
        self._head += len(data)
        super().data_received(data)
        if self._is_whole:
            self._head = 0
        elif self._head > self._limits.head_kilobytes * 1000:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, too_long_a_head(self._limits))
        elif self._timer is None:
            self._wait()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._is_whole = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand the request to the app."""
        self._is_whole = True
        self._stop_waiting()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, f"{msg} Send HTTP/1.1.")

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self._limits.body_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        why = f"The head of the request did not arrive within {self._limits.body_seconds:g} seconds."
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, why)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._stop_waiting()
        body = json.dumps({"error": why}).encode()
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
        self.transport.write(head.encode() + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)
        self.transport.close()


def too_long_a_head(limits: Serve) -> str:
    """Return what is said of a head that is too large."""
    return f"The head of the request is larger than {limits.head_kilobytes:g} kB. Send less in headers and address."
