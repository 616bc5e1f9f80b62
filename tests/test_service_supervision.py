"""Supervision: `touchstone serve` as a process, killed, changed under its clients, and stopped. A story in one test."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from trained import Company

from features.lake import Lake

WORDS = ("serve", "--port", "0", "--json")


def started(workspace: Path, stderr: int | None = None) -> tuple[subprocess.Popen[str], int]:
    """Return the running service, and its port."""
    program = str(Path(sys.executable).with_name("touchstone"))
    words = [program, *WORDS, "--workspace", str(workspace)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=stderr, text=True)
    assert process.stdout
    said = "".join(iter(process.stdout.readline, "}\n")) + "}"
    process.stdout.close()
    return process, int(json.loads(said)["url"].rpartition(":")[2])


def workers(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(child) for child in children.split()]


def listening(process: int) -> set[str]:
    """Return the addresses on which a process listens, as the kernel writes them."""
    own = {os.readlink(f"/proc/{process}/fd/{name}") for name in os.listdir(f"/proc/{process}/fd")}  # noqa: PTH115, PTH208
    rows = [
        row.split() for kind in ("tcp", "tcp6") for row in Path(f"/proc/{process}/net/{kind}").read_text().splitlines()
    ]
    return {row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own}


def post(connection: HTTPConnection, path: str, body: object) -> int:
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    reply = connection.getresponse()
    reply.read()
    return reply.status


def test_the_service_survives_kills_changes_its_code_without_losing_a_request_and_stops_in_time(
    tmp_path: Path, trained_company: Company
) -> None:
    workspace = shutil.copytree(trained_company.workspace, tmp_path / "workspace")
    process, port = started(workspace)
    (worker,) = workers(process)
    assert listening(process.pid) == listening(worker) == {f"0100007F:{port:04X}"}

    at = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    touches = [
        {"event_id": f"e{i}", "lead_id": "ada", "occurred_at": at, "kind": "x", "channel": "Email"} for i in range(9)
    ]
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        assert post(connection, "/events", {"touches": touches}) == 200
    for victim in (process.pid, worker):
        os.kill(victim, signal.SIGKILL)
    process.wait()

    process, port = started(workspace)
    stored = Lake(workspace / "lake").query("SELECT event_id FROM touches WHERE lead_id = 'ada' ORDER BY 1")
    assert stored["event_id"].to_pylist() == [touch["event_id"] for touch in touches]

    answered, lost, stopped = list[int](), list[str](), threading.Event()
    lead = {"lead_id": "bob", "created_at": at}

    def client() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        while not stopped.is_set():
            try:
                answered.append(post(connection, "/score", {"leads": [lead]}))
            except (OSError, HTTPException) as error:
                lost.append(repr(error))
                connection.close()
        connection.close()

    clients = [threading.Thread(target=client) for _ in range(4)]
    for one in clients:
        one.start()
    (before,) = workers(process)
    process.send_signal(signal.SIGHUP)
    for _ in range(1200):
        if workers(process) not in ([before], []) and len(workers(process)) == 1:
            break
        time.sleep(0.05)
    after = len(answered)
    while len(answered) < after + 50:
        time.sleep(0.01)
    stopped.set()
    for one in clients:
        one.join()
    assert workers(process) != [before]
    assert (set(answered), lost) == ({200}, [])

    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert time.monotonic() - begun < 10

    process, port = started(workspace, stderr=subprocess.PIPE)
    os.kill(workers(process)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=20)
    assert said.startswith("TouchstoneError: The service was killed (SIGKILL), as where memory is short.")
    assert process.returncode == 1


@pytest.mark.parametrize("words", [("--port", "0"), ("--port", "0", "--host", "0.0.0.0")])  # noqa: S104
def test_what_cannot_serve_says_why_and_ends(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "uvicorn.py").write_text("raise SystemExit(9)")  # in the folder that one is in, and nobody's library
    program = str(Path(sys.executable).with_name("touchstone"))
    done = subprocess.run(
        [program, "serve", "--workspace", str(tmp_path), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    sentences = {2: "ModelError: There is no champion", 4: "ConfigError: The service may be reached from elsewhere"}
    assert done.stderr.startswith(sentences[len(words)])
    assert done.returncode == {2: 1, 4: 2}[len(words)]
