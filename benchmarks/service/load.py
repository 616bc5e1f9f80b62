"""Load: what is asked, one after another on one connection, or at a rate, whether answers come or not."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from random import Random
from typing import cast

from benchmarks.service.servers import Serving

NOW = datetime.now(UTC)
HEAD = b"POST /score HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: "


def each(server: Serving, path: str, bodies: Sequence[bytes], times: int) -> tuple[float, list[float]]:
    """Ask one after another on one connection; return CPU seconds a request, and each one's seconds."""
    connection = HTTPConnection("127.0.0.1", server.port)
    took = list[float]()

    def ask(body: bytes) -> None:
        begun = time.perf_counter()
        connection.request("POST", path, body, {"content-type": "application/json"})
        reply = connection.getresponse()
        said = reply.read()
        if reply.status != 200:
            raise SystemExit(f"{path}: {reply.status} {said[:300]!r}")
        took.append(time.perf_counter() - begun)

    for i in range(min(times, 3 * len(bodies))):
        ask(bodies[i % len(bodies)])
    took.clear()
    before = server.cpu()
    for i in range(times):
        ask(bodies[i % len(bodies)])
    return (server.cpu() - before) / times, took


def open_leads(server: Serving, count: int) -> list[str]:
    """Return the first leads of the work list."""
    found = json.loads(server.ask("GET", f"/leads?limit={count}")[1])
    return [row["lead_id"] for row in found["leads"]]


def by_id(lead_ids: Sequence[str]) -> bytes:
    """Return a request that names leads."""
    return json.dumps({"lead_ids": list(lead_ids)}).encode()


def with_history(touches: int, n: int) -> bytes:
    """Return a request that brings one lead with so many touches."""
    dice = Random(n)  # noqa: S311
    kinds, channels = ("page_view", "email_click", "ad_click", "demo_request"), ("Email", "Direct", "Paid Search")
    told = [
        {"occurred_at": (NOW - timedelta(days=90 * dice.random())).isoformat(), "kind": dice.choice(kinds),
         "channel": dice.choice(channels), "event_id": f"e{i}"}
        for i in range(touches)
    ]  # fmt: skip
    created = (NOW - timedelta(days=100)).isoformat()
    return json.dumps({"leads": [{"lead_id": "x", "created_at": created, "touches": told}]}).encode()


class Client(asyncio.Protocol):
    """One of several connections. It asks when it is free, and tells what it was answered; 0 if it broke."""

    def __init__(self, told: Callable[[Client, float, float, int], None]) -> None:
        self.told, self.transport = told, cast("asyncio.Transport", None)
        self._asked, self._reply = 0.0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self.transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes) -> None:
        """Ask, without waiting."""
        self._asked, self._reply = time.perf_counter(), b""
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take the answer, once it is whole."""
        self._reply += data
        head, end, body = self._reply.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            self.told(self, self._asked, time.perf_counter() - self._asked, int(head[9:12]))

    def connection_lost(self, _: Exception | None) -> None:
        """Tell that it broke."""
        self.told(self, self._asked, time.perf_counter() - self._asked, 0)


async def stream(
    port: int, bodies: Sequence[bytes], rate: float, seconds: float, connections: int
) -> list[tuple[float, float, int]]:
    """Ask at a rate, whether answers come or not, as long as a connection is free.

    Return of each request when it was asked (seconds from the beginning), how long the answer took, and its status, 0
    for a connection that broke.
    """
    found, free, loop = list[tuple[float, float, int]](), deque[Client](), asyncio.get_running_loop()
    requests = [HEAD + b"%d\r\n\r\n" % len(body) + body for body in bodies]
    begun = time.perf_counter()

    def told(client: Client, asked: float, took: float, status: int) -> None:
        found.append((asked - begun, took, status))
        if status:
            free.append(client)
        else:
            loop.create_task(connect())

    async def connect() -> None:
        _, client = await loop.create_connection(lambda: Client(told), "127.0.0.1", port)
        free.append(client)

    for _ in range(connections):
        await connect()
    begun, asked = time.perf_counter(), 0
    while (now := time.perf_counter() - begun) < seconds:
        for _ in range(min(round(now * rate) - asked, len(free))):
            free.popleft().ask(requests[asked % len(requests)])
            asked += 1
        await asyncio.sleep(0.0005)
    for _ in range(3000):
        if len(found) >= asked:
            break
        await asyncio.sleep(0.01)
    return found
