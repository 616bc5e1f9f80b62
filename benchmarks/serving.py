"""The service under load, beside BentoML's own no-op: CPU a request, overload, slow bodies, swaps, kills.

    python benchmarks/serving.py [cost overload slow swaps events memory hostile ...]   (default: all)

CPU is what the serving process used (user and system). The no-op is a BentoML service exported as an ASGI app under the
same uvicorn, uvloop and httptools; the one that parses reads the same body with the same strict models.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from shutil import copytree
from statistics import median
from typing import Any

from pydantic import BaseModel

HERE = Path(__file__)
sys.path[0] = str(HERE.parents[1])  # not this folder, whose serving.py is no package

from serving.messages import ScoreRequest  # noqa: E402

NOW = datetime.now(UTC)
TICK = os.sysconf("SC_CLK_TCK")
MISSED = list[str]()
HEAD = b"POST /score HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: "


def main() -> None:
    """Run the parts named."""
    if sys.argv[1:2] == ["noop"]:
        serve_noop(int(sys.argv[2]))
        return
    parts: dict[str, Callable[[Path], None]] = {
        "cost": cost, "overload": overload, "slow": slow, "hostile": hostile, "memory": memory, "swaps": swaps,
        "events": events,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        made = company(Path(os.environ.get("TOUCHSTONE_COMPANY", f"{folder}/company")))
        for name in sys.argv[1:] or parts:
            print(f"\n{name}")
            parts[name](copytree(made, Path(folder) / name))
    print(f"\n{len(MISSED)} bars missed" + "".join(f"\n  {one}" for one in MISSED))
    sys.exit(bool(MISSED))


def bar(what: str, value: float, least: float = -float("inf"), most: float = float("inf")) -> None:
    """Print a figure and whether it meets its bar."""
    met = least <= value <= most
    wanted = f"at least {least:g}" if least > -float("inf") else f"at most {most:g}"
    print(f"  {what}: {value:,.3g}   bar: {wanted}   {'met' if met else 'MISSED'}")
    if not met:
        MISSED.append(what)


def company(workspace: Path) -> Path:
    """Return a workspace of 3,000 leads with a champion, made if it is not there."""
    if workspace.exists():
        return workspace
    from features.ingestion import files_in, ingest
    from features.lake import Lake
    from features.settings import Settings
    from simulation.company import Company
    from simulation.files import write
    from training.train import train

    settings, lake = Settings(), Lake(workspace / "lake")
    ingest(lake, settings, files_in(write(Company(NOW, leads=3000, days=300), workspace / "files")), NOW)
    train(lake, settings, workspace, NOW)
    return workspace


# What is asked of, and by whom


class Asked(BaseModel):
    """A small request."""

    lead_ids: list[str] = []


class Done(BaseModel):
    """A small answer."""

    done: bool = True


def serve_noop(port: int) -> None:
    """Serve a BentoML service that does nothing, on a port."""
    import bentoml
    import uvicorn

    @bentoml.service(metrics={"enabled": False}, logging={"access": {"enabled": False}})
    class Noop:
        @bentoml.api(route="/noop")
        def noop(self, request: Asked, /) -> Done:
            return Done(done=bool(request))

        @bentoml.api(route="/parse")
        def parse(self, request: ScoreRequest, /) -> Done:
            return Done(done=bool(request))

    uvicorn.run(Noop.to_asgi(), port=port, log_level="error", access_log=False, loop="uvloop", http="httptools")


class Serving:
    """A server in a process of its own."""

    def __init__(self, words: Sequence[str], port: int) -> None:
        self.port = port
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603
        for _ in range(1200):
            if self.process.poll() is not None or self._answers():
                break
            time.sleep(0.05)
        if self.process.poll() is not None:
            raise SystemExit(self.process.stderr.read().decode() if self.process.stderr else "It did not start.")

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/livez")[0] == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Ask on a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {"content-type": "application/json"})
        reply = connection.getresponse()
        found = reply.status, reply.read()
        connection.close()
        return found

    @property
    def worker(self) -> int:
        """The process that answers: a supervisor's latest child, or the server itself."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[-1]) if children else self.process.pid

    def cpu(self) -> float:
        """Seconds of CPU that the process has used."""
        fields = Path(f"/proc/{self.worker}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def megabytes(self) -> float:
        """Memory that the process holds."""
        return int(Path(f"/proc/{self.worker}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def command(workspace: Path, port: int) -> list[str]:
    """Return how the service is run."""
    touchstone = str(Path(sys.executable).with_name("touchstone"))
    return [touchstone, "serve", "--workspace", str(workspace), "--port", str(port)]


@contextmanager
def touchstone(workspace: Path, port: int = 3911) -> Iterator[Serving]:
    """Run the service as users do."""
    server = Serving(command(workspace, port), port)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(20)


@contextmanager
def noop(port: int = 3912) -> Iterator[Serving]:
    """Run the no-op."""
    server = Serving([sys.executable, str(HERE), "noop", str(port)], port)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(20)


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


# The parts


def cost(workspace: Path) -> None:
    """CPU of a request, beside the no-op's."""
    with touchstone(workspace) as ours, noop() as theirs:
        lead_ids = open_leads(ours, 300)
        ids, sent = [by_id([one]) for one in lead_ids], [with_history(300, n) for n in range(20)]
        hundred = [by_id(lead_ids[at : at + 100]) for at in (0, 100, 200)]
        now = [json.dumps({"lead_ids": [one], "as_of": NOW.isoformat()}).encode() for one in lead_ids]
        asked = {
            "no-op": (theirs, "/noop", ids, 2000),
            "by id": (ours, "/score", ids, 2000),
            "by id, computed": (ours, "/score", now, 200),
            "no-op that parses": (theirs, "/parse", sent, 300),
            "300 touches sent": (ours, "/score", sent, 100),
            "100 by id": (ours, "/score", hundred, 300),
        }
        rounds = [{name: each(*one)[0] for name, one in asked.items()} for _ in range(3)]
        told = {name: median(one[name] for one in rounds) for name in rounds[0]}
        for name, seconds in told.items():
            print(f"  {name}: {seconds * 1e6:,.0f} µs of CPU a request")
        bar("by id, requests per CPU second as a share of the no-op's", told["no-op"] / told["by id"], least=0.8)
        bar(
            "300 touches sent, as a share of the no-op that parses",
            told["no-op that parses"] / told["300 touches sent"],
            least=0.6,
        )
        bar("100 leads by id, µs of CPU a lead", told["100 by id"] * 1e4, most=40)
        took = sorted(each(ours, "/score", ids, 3000)[1])
        bar("p99 at one connection, ms", took[round(0.99 * len(took))] * 1e3, most=5)


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


def overload(workspace: Path) -> None:
    """Four times as much as can be answered, for 20 seconds, of leads with 300 touches sent along."""
    with touchstone(workspace) as ours:
        bodies = [with_history(300, n) for n in range(20)]
        asyncio.run(stream(ours.port, bodies, 50, 2, 8))
        each(ours, "/score", bodies, 100)
        capacity = 1 / median(each(ours, "/score", bodies, 300)[1])
        found = asyncio.run(stream(ours.port, bodies, 4 * capacity, 20, 200))
        statuses = Counter(status for *_, status in found)
        print(f"  capacity {capacity:.0f}/s, asked {4 * capacity:.0f}/s: {dict(statuses)}")
        bar("goodput as a share of capacity", statuses[200] / 20 / capacity, least=0.85)
        refused = sorted(took for _, took, status in found if status == 429)
        bar("refused, p99 ms", refused[round(0.99 * len(refused)) - 1] * 1e3 if refused else 0, most=200)
        after = time.perf_counter()
        while ours.ask("POST", "/score", bodies[0])[0] != 200:
            pass
        bar("recovered after, s", time.perf_counter() - after, most=1)


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


def hostile(workspace: Path) -> None:
    """Bodies that are not what they should be."""
    deep = b"[" * 1_000_000
    bodies = {
        "100 MB declared": b"", "a million deep": b'{"lead_ids": ' + deep,
        "deep attributes": b'{"leads": [{"attributes": ' + deep,
        "NaN": b'{"leads": [{"lead_id": "a", "created_at": "2026-01-01T00:00:00Z", "attributes": {"x": NaN}}]}',
        "1e999": b'{"leads": [{"lead_id": "a", "created_at": "2026-01-01T00:00:00Z", "attributes": {"x": 1e999}}]}',
        "pickle": b"cos\nsystem\n(S'true'\ntR.", "empty": b"",
        "an object of 7 MB": b'{"x": "' + b"y" * 7_000_000 + b'"}',
    }  # fmt: skip
    with touchstone(workspace) as ours:
        ours.ask("POST", "/score", by_id(open_leads(ours, 1)))
        before = ours.megabytes()
        for name, body in bodies.items():
            connection = HTTPConnection("127.0.0.1", ours.port, timeout=20)
            connection.putrequest("POST", "/score")
            connection.putheader("content-type", "application/json")
            connection.putheader("content-length", str(100_000_000 if "100 MB" in name else len(body)))
            connection.endheaders()
            try:
                connection.send(body)
                reply = connection.getresponse()
                status, said = reply.status, reply.read()[:90]
            except OSError as error:
                status, said = 0, str(error).encode()
            print(f"  {name}: {status} {said.decode()}")
            if not 400 <= status < 500:
                MISSED.append(name)
        status = _chunked(ours.port)
        print(f"  100 MB in chunks: {status}")
        bar("memory grew by, MB", ours.megabytes() - before, most=32)


def _chunked(port: int) -> str:
    """Send 100 MB in chunks, for as long as they are taken."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("POST", "/score")
    connection.putheader("content-type", "application/json")
    connection.putheader("transfer-encoding", "chunked")
    connection.endheaders()
    sent = 0
    try:
        while sent < 100:
            connection.send(b"f4240\r\n" + b" " * 1_000_000 + b"\r\n")
            sent += 1
        connection.send(b"0\r\n\r\n")
    except OSError:
        return f"hung up on after {sent} MB"
    reply = connection.getresponse()
    return f"{reply.status} after {sent} MB"


def memory(workspace: Path) -> None:
    """50,000 requests."""
    with touchstone(workspace) as ours:
        lead_ids = open_leads(ours, 500)
        bodies = [by_id([one]) for one in lead_ids] + [with_history(10, n) for n in range(20)]
        each(ours, "/score", bodies, 10_000)
        before = ours.megabytes()
        each(ours, "/score", bodies, 50_000)
        bar("memory grew by, MB", ours.megabytes() - before, most=16)


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
                except OSError:
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


if __name__ == "__main__":
    main()
