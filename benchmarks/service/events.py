"""Events: none lost by kills, and how soon one is in the score."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from random import Random

from benchmarks.service.bars import bar
from benchmarks.service.load import NOW, by_id, open_leads
from benchmarks.service.servers import Serving, command, touchstone


def events(workspace: Path) -> None:
    """Twenty times killed under a load of events; and how soon an event is in the score."""
    from features.lake import Lake

    dice, acknowledged = Random(1), set[str]()  # noqa: S311
    for kill in range(20):
        server = Serving(command(workspace, 3911), 3911)
        lead_ids = open_leads(server, 50)
        if not kill:
            bar("an event is in the score after, s", _fresh(server, lead_ids[0]), most=2)

        def post(n: int, lead_ids: Sequence[str] = lead_ids, kill: int = kill, server: Serving = server) -> None:
            at = (NOW - timedelta(days=1)).isoformat()
            for i in range(10_000):
                named = f"{kill}-{n}-{i}"
                touch = {
                    "event_id": named,
                    "lead_id": lead_ids[i % 50],
                    "occurred_at": at,
                    "kind": "x",
                    "channel": "Email",
                }
                try:
                    if server.ask("POST", "/events", json.dumps({"touches": [touch]}).encode())[0] == 200:
                        acknowledged.add(named)
                except (OSError, HTTPException):  # killed, perhaps in the middle of an answer
                    return

        posting = [threading.Thread(target=post, args=(n,)) for n in range(4)]
        for one in posting:
            one.start()
        time.sleep(0.2 + 3 * dice.random())
        worker = server.worker
        os.kill(worker, signal.SIGKILL)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        for one in posting:
            one.join()
    with touchstone(workspace):
        pass
    found = Counter(
        Lake(workspace / "lake").query("SELECT event_id FROM touches WHERE kind = 'x'")["event_id"].to_pylist()
    )
    print(f"  {len(acknowledged)} acknowledged in 20 lives, {len(found)} in the lake")
    bar("acknowledged and lost", len(acknowledged - found.keys()), most=0)
    bar("in the lake twice", sum(times > 1 for times in found.values()), most=0)


def _fresh(server: Serving, lead_id: str) -> float:
    """Return after how many seconds an event has changed its lead's score; the worst of five."""
    worst = 0.0
    for n in range(5):
        before = _engagement(server, lead_id)
        at = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
        touches = [
            {
                "lead_id": lead_id,
                "event_id": f"fresh-{n}-{i}",
                "occurred_at": at,
                "kind": "pricing_view",
                "channel": "Direct",
            }
            for i in range(5)
        ]
        begun = time.perf_counter()
        server.ask("POST", "/events", json.dumps({"touches": touches}).encode())
        while _engagement(server, lead_id) == before and time.perf_counter() - begun < 20:
            time.sleep(0.05)
        worst = max(worst, time.perf_counter() - begun)
    return worst


def _engagement(server: Serving, lead_id: str) -> float:
    return float(json.loads(server.ask("POST", "/score", by_id([lead_id]))[1])["scores"][0]["engagement"])
