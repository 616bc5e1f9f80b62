"""More than can be answered: four times as much, and bodies that dawdle."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import NamedTuple

import uvloop

from benchmarks.service.bars import bar
from benchmarks.service.load import HEAD, by_id, each, open_leads, stream, with_history
from benchmarks.service.servers import Serving, touchstone

ROUNDS = 3  # of each, the median counts, or the worst


def overload(workspace: Path) -> None:
    """Four times as much as can be answered, for 20 seconds, of leads with 300 touches sent along.

    What can be answered is measured before and after, since machines that are shared do not stay as quick as they were.
    """
    with touchstone(workspace) as ours:
        bodies = [with_history(300, n) for n in range(20)]
        uvloop.run(stream(ours.port, bodies, 50, 2, 8))
        each(ours, "/score", bodies, 100)
        rounds = [_flooded(ours, bodies) for _ in range(ROUNDS)]
        bar("goodput as a share of capacity", median(one.goodput for one in rounds), least=0.85)
        bar("refused, p99 ms", max(one.refused for one in rounds) * 1e3, most=200)
        bar("recovered after, s", max(one.recovered for one in rounds), most=1)


class Flooded(NamedTuple):
    """What became of 20 seconds: the share of capacity that was answered; seconds to refuse (p99) and to recover."""

    goodput: float
    refused: float
    recovered: float


def _flooded(ours: Serving, bodies: list[bytes]) -> Flooded:
    before = each(ours, "/score", bodies, 300)[1]
    asked = 4 / median(before)
    found = uvloop.run(stream(ours.port, bodies, asked, 20, 200))
    end = time.perf_counter()
    while ours.ask("POST", "/score", bodies[0])[0] != 200:
        pass
    recovered = time.perf_counter() - end
    capacity = 1 / median(before + each(ours, "/score", bodies, 300)[1])
    statuses = Counter(status for *_, status in found)
    goodput = sum(status == 200 and at + took <= 20 for at, took, status in found) / 20 / capacity
    print(f"  capacity {capacity:.0f}/s, asked {len(found) / 20:.0f} of {asked:.0f}/s: {dict(statuses)}")
    refused = sorted(took for _, took, status in found if status == 429)
    return Flooded(goodput, refused[round(0.99 * len(refused)) - 1] if refused else 0.0, recovered)


def slow(workspace: Path) -> None:
    """500 bodies that arrive a byte at a time, beside good requests."""

    async def both(server: Serving) -> Counter[int]:
        head = HEAD + b"1000\r\n\r\n"
        dawdlers = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(500)]
        for _, writer in dawdlers:
            writer.write(head + b"{")

        async def dawdle() -> None:
            while True:
                for _, writer in dawdlers:
                    writer.write(b" ")
                await asyncio.sleep(1)

        dawdling = asyncio.create_task(dawdle())
        found = await stream(server.port, [by_id(open_leads(server, 1))], 50, 8, 10)
        dawdling.cancel()
        return Counter(status for *_, status in found)

    with touchstone(workspace) as ours:
        statuses = asyncio.run(both(ours))
        bar("good requests served beside 500 slow bodies", statuses[200] / statuses.total(), least=1)
