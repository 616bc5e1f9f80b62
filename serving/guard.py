"""The guard: what every request has to pass before anything of it is read or worked on.

In this order: whose token it is and what it may do, how many requests of it a second, that the body is JSON, how large
it is, how long it takes to arrive, and how many requests wait already. A refusal is a sentence, and cheap.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Sequence
from http import HTTPStatus
from itertools import count
from time import perf_counter
from typing import Any
from urllib.parse import quote

from prometheus_client import CollectorRegistry, Gauge, Histogram

from features.settings import Serve
from serving.asked import FORM, JSON, Asked, Ended, Refused, Way, busy, refuse
from serving.audit import Line
from serving.bearers import Bearers
from serving.door import too_long_a_head, written
from serving.tokens import Keyring

LOG = logging.getLogger("touchstone")
SAFE = {"GET", "HEAD"}
REQUEST_ID = re.compile(rb"[\w.-]{1,64}")


class Guard:
    """An ASGI app around another, which finds whose token it is in ``scope["touchstone.token"]``.

    ``scope["touchstone.alone"]`` says that nobody else waits.
    """

    def __init__(
        self,
        inner: Any,
        way: Callable[[str, str], Way],
        limits: Serve,
        keyring: Keyring | None,
        registry: CollectorRegistry,
        audit: Callable[[Sequence[Line]], None],
    ) -> None:
        self.inner, self.way, self.limits, self.audit = inner, way, limits, audit
        self.bearers = Bearers(keyring, limits)
        self.draining = False
        self.waiting = 0
        self._most_bytes = round(limits.body_megabytes * 1e6)
        self._begun, self._numbers = secrets.token_hex(4), count()
        self._ended = list[Ended]()  # what was refused at once, until it is written down with what was let in
        self._seconds = Histogram(
            "touchstone_request_seconds", "Seconds until a request was answered", ("path", "status"), registry=registry
        )
        Gauge("touchstone_waiting", "Requests that are worked on or wait for it", registry=registry).set_function(
            lambda: self.waiting
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let in what may come in; answer the rest here."""
        if scope["type"] == "lifespan":
            await self.inner(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        asked, status = self._asked(scope), HTTPStatus.OK.value

        async def answer(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", asked.request_id), *self._last()]
            await send(message)

        try:
            self._admit(asked)
            body = b"" if scope["method"] in SAFE else await self._body(receive)
            if asked.way.scope is None and not asked.way.is_signed:
                await self.inner(scope, _replayed(body), answer)
            else:
                await self._through_the_gate(scope | {"touchstone.token": asked.token}, body, answer)
        except Refused as refused:
            if refused.status == HTTPStatus.UNAUTHORIZED and asked.is_of_a_browser:
                refused.status = HTTPStatus.SEE_OTHER
                refused.headers.append((b"location", b"/sign-in?next=" + quote(scope["path"]).encode()))
            await refuse(refused.status, refused.sentence, answer, refused.headers)
        except Exception:
            status = HTTPStatus.INTERNAL_SERVER_ERROR.value
            LOG.exception("Request %s to %s failed.", asked.request_id.decode(), asked.way.name)
            await refuse(status, "The service failed; its log says why.", answer)
        self._note(asked, status)

    def refused_at_once(self, scope: Any) -> bytes | None:
        """Return the answer, as it is sent, to what is posted while no more may wait; None if there is room.

        It is asked before anything is set up for a request: at four times the load that can be worked on, the service
        would be busy with refusing. It is written down as soon as one of those ends that take all places.
        """
        if self.waiting < self.limits.waiting or scope["method"] in SAFE:
            return None
        asked = self._asked(scope)
        try:
            self._admit(asked)
        except Refused as refused:
            self._ended.append(_ended(asked, refused.status))
            headers = [*refused.headers, (b"x-request-id", asked.request_id), *self._last()]
            return written(refused.status, refused.sentence, headers)
        return None

    def _asked(self, scope: Any) -> Asked:
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given if REQUEST_ID.fullmatch(given) else f"{self._begun}{next(self._numbers):08x}".encode()
        return Asked(scope, self.way(scope["method"], scope["path"]), headers, request_id, perf_counter())

    def _note(self, asked: Asked, status: int) -> None:
        """Write down what became of a request, and of those that were refused at once since the last one."""
        ended, self._ended = [*self._ended, _ended(asked, status)], []
        for one in ended:
            self._seconds.labels(one.asked.way.name, one.status).observe(one.seconds)
        lines = [line for one in ended if (line := _line(one))]
        if lines:
            self.audit(lines)

    def _admit(self, asked: Asked) -> None:
        """Look whose request it is, and whether its head is in order."""
        scope, headers, way = asked.scope, asked.headers, asked.way
        size = sum(len(name) + len(value) for name, value in scope["headers"]) + len(scope.get("query_string", b""))
        if size > self.limits.head_kilobytes * 1000:
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, too_long_a_head(self.limits))
        if way.scope:
            asked.token = self.bearers.token(headers)
            if not asked.token.allows(way.scope):
                raise Refused(
                    HTTPStatus.FORBIDDEN,
                    f"The token {asked.token.name} may not do this; it takes the scope {way.scope}.",
                )
            self.bearers.count(asked.token)
        if scope["method"] in SAFE:
            return
        kind = headers.get(b"content-type", JSON.encode()).split(b";")[0].strip().decode("latin-1")
        if kind.lower() != JSON and not (way.takes_forms and kind.lower() == FORM):
            raise Refused(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The body is {kind[:100]}. Send JSON, with content-type {JSON}."
            )
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self._most_bytes:
            raise self._too_large()
        if way.scope or way.is_signed:
            self._look_for_room()  # nobody sends a body only to be refused after it

    async def _body(self, receive: Any) -> bytes:
        """Return the body, if it is small enough and here soon enough."""
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                return await self._parts(receive)
        except TimeoutError:
            raise Refused(
                HTTPStatus.REQUEST_TIMEOUT,
                f"The body did not arrive within {self.limits.body_seconds:g} seconds.",
                connection="close",
            ) from None

    async def _parts(self, receive: Any) -> bytes:
        parts, size, message = list[bytes](), 0, await receive()
        while True:
            if message["type"] == "http.disconnect":
                raise Refused(HTTPStatus.BAD_REQUEST, "The body ended before it was whole.")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._most_bytes:
                raise self._too_large()
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)
            message = await receive()

    async def _through_the_gate(self, scope: Any, body: bytes, send: Any) -> None:
        self._look_for_room()
        self.waiting += 1
        try:
            await asyncio.sleep(0)  # all that has arrived is counted before one is worked on
            await self.inner(scope | {"touchstone.alone": self.waiting == 1}, _replayed(body), send)
        finally:
            self.waiting -= 1

    def _look_for_room(self) -> None:
        if self.waiting >= self.limits.waiting:
            raise busy("Too many requests wait already.")

    def _too_large(self) -> Refused:
        most = f"{self.limits.body_megabytes:g} MB"
        return Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body is larger than {most}. Send several requests.",
            connection="close",
        )

    def _last(self) -> list[tuple[bytes, bytes]]:
        """Return what tells a client to open another connection, once this service is about to stop."""
        return [(b"connection", b"close")] if self.draining else []


def _ended(asked: Asked, status: int) -> Ended:
    return Ended(asked, int(status), perf_counter() - asked.begun)


def _line(one: Ended) -> Line | None:
    """Return the line of the audit log; none of what is open to anyone."""
    asked, scope = one.asked, one.asked.scope
    if asked.way.scope is None:
        return None
    return Line(asked.token.name, scope["method"], scope["path"], one.status, asked.request_id.decode())


def _replayed(body: bytes) -> Any:
    """Return what hands a body over, as if it were just arriving."""
    sent = False

    async def receive() -> Any:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()  # nothing more comes
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
