"""Load: what is asked, one after another on one connection, or at a rate, whether answers come or not."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from random import Random
from typing import Any

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


async def stream(
    port: int, bodies: Sequence[bytes], rate: float, seconds: float, connections: int
) -> list[tuple[float, float, int]]:
    """Ask at a rate, whether answers come or not; return (asked at, seconds, status); 0 for a connection that broke."""
    found, free = list[tuple[float, float, int]](), asyncio.Queue[Any]()
    heads = [HEAD + b"%d\r\n\r\n" % len(body) + body for body in bodies]
    for _ in range(connections):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))

    async def one(at: float, n: int) -> None:
        reader, writer = await free.get()
        begun = time.perf_counter()
        try:
            writer.write(heads[n % len(heads)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            status = int(head[9:12])
        except (OSError, asyncio.IncompleteReadError):
            status = 0
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        found.append((at, time.perf_counter() - begun, status))
        free.put_nowait((reader, writer))

    begun, tasks = time.perf_counter(), set[asyncio.Task[None]]()
    for n in range(round(rate * seconds)):
        due = begun + n / rate
        if due > time.perf_counter():
            await asyncio.sleep(due - time.perf_counter())
        task = asyncio.create_task(one(n / rate, n))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.wait(tasks, timeout=30)
    return found
