"""More than can be answered: four times as much, and bodies that dawdle."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from statistics import median

from benchmarks.service.bars import bar
from benchmarks.service.load import HEAD, by_id, each, open_leads, stream, with_history
from benchmarks.service.servers import Serving, touchstone


def overload(workspace: Path) -> None:
    """Four times as much as can be answered, for 20 seconds, of leads with 300 touches sent along.

    What can be answered is measured before and after, since machines that are shared do not stay as quick as they were.
    """
    with touchstone(workspace) as ours:
        bodies = [with_history(300, n) for n in range(20)]
        asyncio.run(stream(ours.port, bodies, 50, 2, 8))
        each(ours, "/score", bodies, 100)
        before = each(ours, "/score", bodies, 300)[1]
        asked = 4 / median(before)
        found = asyncio.run(stream(ours.port, bodies, asked, 20, 200))
        end = time.perf_counter()
        while ours.ask("POST", "/score", bodies[0])[0] != 200:
            pass
        recovered = time.perf_counter() - end
        capacity = 1 / median(before + each(ours, "/score", bodies, 300)[1])
        statuses = Counter(status for *_, status in found)
        print(f"  capacity {capacity:.0f}/s, asked {asked:.0f}/s: {dict(statuses)}")
        bar("goodput as a share of capacity", statuses[200] / 20 / capacity, least=0.85)
        refused = sorted(took for _, took, status in found if status == 429)
        bar("refused, p99 ms", refused[round(0.99 * len(refused)) - 1] * 1e3 if refused else 0, most=200)
        bar("recovered after, s", recovered, most=1)


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
