"""Swaps: of champions and of code, while clients ask."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.service.bars import bar
from benchmarks.service.load import by_id, open_leads
from benchmarks.service.servers import touchstone


def swaps(workspace: Path) -> None:  # noqa: C901  # it is a story
    """Ten champions and ten new workers under sixteen clients that keep their connections."""
    from training.registry import serve

    versions = [file.parent.name for file in (workspace / "models").glob("*/manifest.json")]
    if len(versions) < 2:
        versions.append(_other_version(workspace, versions[0]))
    with touchstone(workspace) as ours:
        bodies = [by_id([one]) for one in open_leads(ours, 100)]
        stopped, lost, answered, served = threading.Event(), Counter[str](), Counter[int](), set[str]()

        def client() -> None:
            connection, n = HTTPConnection("127.0.0.1", ours.port, timeout=30), 0
            while not stopped.is_set():
                n += 1
                try:
                    connection.request("POST", "/score", bodies[n % len(bodies)], {"content-type": "application/json"})
                    reply = connection.getresponse()
                    said = reply.read()
                    answered[reply.status] += 1
                    served.add(json.loads(said)["scores"][0]["model_version"])
                except (OSError, KeyError) as error:
                    lost[repr(error)] += 1
                    connection.close()

        clients = [threading.Thread(target=client) for _ in range(16)]
        for one in clients:
            one.start()
        for n in range(10):
            serve(workspace / "models", versions[n % 2])
            time.sleep(1)
        seen = len(served)
        for _ in range(10):
            before = ours.worker
            ours.process.send_signal(signal.SIGHUP)
            while ours.worker == before or len(_children(ours.process.pid)) > 1:
                time.sleep(0.1)
        while answered.total() < 20_000:
            time.sleep(0.1)
        stopped.set()
        for one in clients:
            one.join()
        print(f"  {dict(answered)}, lost {dict(lost)}")
        bar("requests", answered.total(), least=20_000)
        bar("lost", lost.total() + answered.total() - answered[200], most=0)
        bar("champions that served", seen, least=2)
        begun = time.perf_counter()
    bar("stopped after, s", time.perf_counter() - begun, most=10)


def _children(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def _other_version(workspace: Path, version: str) -> str:
    """Return another model: the same with another base rate."""
    from dataclasses import replace

    from serving.scorer import load, save

    scorer = load(workspace / "models" / version)
    trees = (workspace / "models" / version / "model.txt").read_text()
    return save(workspace / "models", replace(scorer.spec, leads=scorer.spec.leads + 1), trees).version
