"""The door: what a connection has to pass before there is a request that the guard could look at.

So many may be open at once, and the head of a request has to be small and soon here; uvicorn bounds neither. A refusal
is written straight to the connection, which is closed.

While more is asked than can be worked on, the guard refuses most of it by its head. That is told here, too, before
uvicorn sets anything up for the request: its body is passed over, and the connection stays open.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from features.settings import Serve

CLOSES = b"\r\nconnection: close\r\n"


class Behind(Protocol):
    """The app behind the door."""

    limits: Serve

    def refused_at_once(self, scope: Mapping[str, Any]) -> bytes | None:
        """Return the answer, as it is sent, to a request that is refused by its head; None to look into it."""


class Door(HttpToolsProtocol):
    """A connection of a client; the limits are those of the app behind it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._app = cast("Behind", self.config.app)
        self._limits = self._app.limits
        self._head = 0  # bytes of it that have come
        self._is_whole = False
        self._is_refused = False
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
        """Hand the request to the app, if it is not refused at once."""
        self._is_whole = True
        self._stop_waiting()
        refusal = self._refusal()
        self._is_refused = refusal is not None
        if refusal is None:
            super().on_headers_complete()
            return
        self.transport.write(refusal)
        if CLOSES in refusal:
            self.transport.close()
        else:
            self._timer = self.loop.call_later(self._limits.body_seconds, self.transport.close)  # if the body dawdles

    def on_body(self, body: bytes) -> None:
        """Hand a part of the body to the app, if the request was."""
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        if self._is_refused:
            self._stop_waiting()
            self.on_response_complete()  # waits for the next on this connection
        else:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, f"{msg} Send HTTP/1.1.")

    def _refusal(self) -> bytes | None:
        """Return the answer to a request that is refused at once; only where it is answered in its turn and goes on."""
        is_next = self.cycle is None or self.cycle.response_complete
        if not is_next or self.expect_100_continue or not self.parser.should_keep_alive():
            return None
        path = unquote(httptools.parse_url(self.url).path.decode("ascii"))
        return self._app.refused_at_once(self.scope | {"method": self.parser.get_method().decode(), "path": path})

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
        self.transport.write(written(status, why, [(b"retry-after", b"1"), (b"connection", b"close")]))
        self.transport.close()


def written(status: HTTPStatus, why: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return an answer of one sentence as it is sent."""
    begin, body = _same(status, why)
    return b"".join([begin, *(b"%b: %b\r\n" % header for header in headers), b"\r\n", body])


@lru_cache(64)
def _same(status: HTTPStatus, why: str) -> tuple[bytes, bytes]:
    """Return how an answer begins, and its body: the same for all who are refused for the same reason."""
    body = json.dumps({"error": why}).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    )
    return head.encode(), body


def too_long_a_head(limits: Serve) -> str:
    """Return what is said of a head that is too large."""
    return f"The head of the request is larger than {limits.head_kilobytes:g} kB. Send less in headers and address."
