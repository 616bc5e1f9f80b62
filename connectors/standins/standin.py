"""What every stand-in has: its switches, its clock, its count of calls, and a way to be asked without a network."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Scope = MutableMapping[str, Any]


@dataclass
class Switches:
    """What is to go wrong. Numbers are of calls to come."""

    too_fast: int = 0  # so many calls are told to come later
    broken: int = 0  # … fail with 503
    expired: int = 0  # … find their token expired
    lost: int = 0  # … are done, and their reply is lost
    slow: int = 0  # … are answered after a second
    refused: set[str] = field(default_factory=set)  # records that cannot be written
    short_pages: bool = False  # pages hold fewer rows than were asked for
    calls_a_day: int | None = None
    calls_in_window: int | None = None  # of ``window`` seconds; who calls more often is told to come later
    window: float = 10.0
    skew_seconds: float = 0.0  # its clock is fast by so much


@dataclass
class Standin(ABC):
    """One system's state. ``seconds`` is what time passes by; at 0 it is ``began``."""

    began: datetime
    switches: Switches = field(default_factory=Switches)
    seconds: Callable[[], float] = time.monotonic
    calls: list[str] = field(default_factory=list)  # METHOD path, of every call
    told_to_wait: int = 0
    worn_out: bool = False  # the token that was given last; another has to be asked for

    def __post_init__(self) -> None:
        """Begin to count time."""
        self._zero = self.seconds()
        self._recent = deque[float]()

    def moment(self) -> datetime:
        """Return what time it is here."""
        return self.began + timedelta(seconds=self.seconds() - self._zero + self.switches.skew_seconds)

    @abstractmethod
    def routes(self) -> list[Route]:
        """Return what can be asked."""

    def too_fast(self) -> Response:
        """Return what is said to those who ask too fast."""
        return JSONResponse({"message": "too many requests"}, 429)

    @abstractmethod
    def day_over(self) -> Response:
        """Return what is said when the day's calls are used up."""

    def expired(self) -> Response:
        """Return what is said to those whose token is over."""
        return JSONResponse({"message": "expired"}, 401)

    @abstractmethod
    def is_known(self, request: Request) -> bool:
        """Say whether a caller bears what opens this system."""

    async def trouble(self, request: Request) -> Response | None:  # a line for each switch
        """Return what goes wrong with a call, if anything does."""
        switches, path = self.switches, request.url.path
        self.calls.append(f"{request.method} {path}")
        self._recent.append(self.seconds())
        while self._recent and self._recent[0] <= self.seconds() - switches.window:
            self._recent.popleft()
        if switches.calls_in_window is not None and len(self._recent) > switches.calls_in_window:
            self._recent.pop()
            self.told_to_wait += 1
            return self.too_fast()
        if switches.calls_a_day is not None and len(self.calls) > switches.calls_a_day:
            return self.day_over()
        if switches.too_fast:
            switches.too_fast -= 1
            return self.too_fast()
        if switches.broken:
            switches.broken -= 1
            return JSONResponse({"message": "unavailable"}, 503)
        if switches.slow:
            switches.slow -= 1
            await asyncio.sleep(1)
        if path.endswith("/token"):
            self.worn_out = False
            return None
        if switches.expired:
            switches.expired -= 1
            self.worn_out = True
        return self.expired() if self.worn_out or not self.is_known(request) else None

    def app(self) -> Callable[..., Any]:
        """Return the ASGI app."""
        inner = Starlette(routes=self.routes())

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await inner(scope, receive, send)
                return

            async def dated(message: Scope) -> None:
                if message["type"] == "http.response.start":
                    date = format_datetime(self.moment().astimezone(UTC), usegmt=True).encode()
                    message["headers"] = [*message["headers"], (b"date", date)]
                await send(message)

            trouble = await self.trouble(Request(scope, receive))
            await (trouble or inner)(scope, receive, dated)

        return app


class InProcess(httpx.BaseTransport):
    """Carries calls to a stand-in of this process, whose endpoints wait for nothing: no event loop is needed."""

    def __init__(self, standin: Standin) -> None:
        self.standin, self.app = standin, standin.app()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the stand-in's reply."""
        body, sent = request.read(), list[Scope]()
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        scope = {
            "type": "http", "http_version": "1.1", "method": request.method, "headers": headers, "scheme": "http",
            "path": request.url.path, "raw_path": request.url.raw_path, "query_string": request.url.query,
            "server": (request.url.host, 80), "client": ("127.0.0.1", 1), "root_path": "",
        }  # fmt: skip

        async def receive() -> Scope:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Scope) -> None:
            sent.append(message)

        running = self.app(scope, receive, send)
        try:
            running.send(None)
        except StopIteration:
            pass
        else:
            running.close()
            raise httpx.ReadTimeout("the stand-in is slow", request=request)
        if self.standin.switches.lost:
            self.standin.switches.lost -= 1
            raise httpx.ReadError("the reply was lost", request=request)
        start, rest = sent[0], sent[1:]
        content = b"".join(message.get("body", b"") for message in rest)
        return httpx.Response(start["status"], headers=start["headers"], content=content, request=request)
