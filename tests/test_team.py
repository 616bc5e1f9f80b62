"""A team: two replicas of the service and one trainer on one store, with MLflow's server on PostgreSQL. One story.

Each has a workspace of its own, a mirror of the store. PostgreSQL is Debian's; the store speaks S3; both run here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from shared import absent
from test_service_supervision import started, workers
from trained import Company

from features.lake import Lake
from features.store import store_of

WAIT = 240.0  # seconds until the test gives up; what is claimed of time is claimed by name
PROGRAM = str(Path(sys.executable).with_name("touchstone"))


def artifacts_beside(bucket: str) -> str:
    return f"{bucket.rpartition('/')[0]}/mlflow"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """Return the address of a database of an empty PostgreSQL."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)
    if programs is None:
        absent("PostgreSQL is not installed (apt-get install postgresql)")
    assert programs
    folder, port = Path(tempfile.mkdtemp()), free_port()
    user = None if os.geteuid() else "postgres"  # it refuses to be run by root
    if user:
        shutil.chown(folder, user)

    def run(name: str, *words: str) -> None:
        command = [str(programs.with_name(name)), *words]
        subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    data, said = str(folder / "data"), str(folder / "log")
    run("initdb", "--pgdata", data, "--username", "mlflow", "--auth", "trust", "--no-sync", "--no-instructions")
    options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
    run("pg_ctl", "start", "--pgdata", data, "--log", said, "--wait", "--options", options)
    yield f"postgresql://mlflow@127.0.0.1:{port}/postgres"
    run("pg_ctl", "stop", "--pgdata", data, "--mode", "immediate")
    shutil.rmtree(folder)


@pytest.fixture
def mlflow_server(postgres: str, s3: str, bucket: str, tmp_path: Path) -> Iterator[str]:
    """Return the address of MLflow's server on PostgreSQL and the store."""
    port, own = free_port(), artifacts_beside(bucket)
    words = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", postgres, "--artifacts-destination", own]
    with (tmp_path / "mlflow.log").open("w") as said:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words],
            stdout=said, stderr=said, start_new_session=True, cwd=tmp_path,
            env={**os.environ, "MLFLOW_S3_ENDPOINT_URL": s3, "AWS_DEFAULT_REGION": "us-east-1"},
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(f"{address}/health") or server.poll() is not None)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def answers(address: str) -> bool:
    try:
        return httpx.get(address, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def until(holds: Callable[[], bool]) -> float:
    """Wait until something holds; return for how many seconds."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < WAIT
        time.sleep(0.05)
    return time.monotonic() - begun


def touchstone(workspace: Path, *words: str, **environment: str) -> dict[str, object]:
    done = subprocess.run(
        [PROGRAM, *words, "--workspace", str(workspace), "--json"],
        env={**os.environ, **environment}, check=False, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert done.returncode in {0, 3}  # a model that the gate refuses is told, too
    return dict(json.loads(done.stdout))


class Replica:
    """A running service on a workspace of its own."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.process, port = started(workspace)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=WAIT)

    def kill(self) -> None:
        for victim in (self.process.pid, *workers(self.process)):
            os.kill(victim, signal.SIGKILL)
        self.process.wait()
        self.client.close()

    def stop(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait()

    def post(self, path: str, body: object) -> httpx.Response:
        return self.client.post(path, json=body)

    def knows(self, lead: str, kind: str) -> bool:
        """Say whether a lead's page tells of an event."""
        return any(event.get("name") == kind or event.get("kind") == kind for event in self.timeline(lead))

    def timeline(self, lead: str) -> list[dict[str, object]]:
        return list(self.client.get(f"/leads/{lead}").json()["timeline"])

    def scores(self, lead: str) -> bool:
        """Say whether the lead is open to what the replica holds in memory."""
        return self.post("/score", {"lead_ids": [lead]}).status_code == 200

    def model(self) -> object:
        return self.client.get("/model").json()["version"]


def touched(lead: str, kind: str, event_id: str) -> dict[str, object]:
    at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    return {"touches": [{"event_id": event_id, "lead_id": lead, "occurred_at": at, "kind": kind, "channel": "Email"}]}


def test_a_team_shares_events_models_and_what_a_killed_replica_had_acknowledged(
    trained_company: Company, mlflow_server: str, bucket: str, s3: str, tmp_path: Path
) -> None:
    trainer = shutil.copytree(trained_company.workspace, tmp_path / "trainer")
    (trainer / "touchstone.toml").write_text("[training]\ntrees = 20\n")
    assert touchstone(trainer, "join", bucket) == {"store": bucket, "brought": True}
    for name in ("one", "two"):
        assert touchstone(tmp_path / name, "join", bucket) == {"store": bucket, "brought": False}
    first = trained_company.scorer.version
    one, two = Replica(tmp_path / "one"), Replica(tmp_path / "two")
    now = datetime.now(UTC)
    mia = [{"lead_id": lead, "created_at": (now - timedelta(days=9)).isoformat()} for lead in ("mia", "noa")]
    assert one.post("/events", {"leads": mia}).status_code == 200
    until(lambda: two.scores("mia") and two.scores("noa"))

    # Events to either are seen by both, in the lake and in the history that each holds in memory.
    assert one.post("/events", touched("mia", "call", "e1")).status_code == 200
    assert two.post("/events", touched("noa", "visit", "e2")).status_code == 200
    until(lambda: all(each.knows("mia", "call") and each.knows("noa", "visit") for each in (one, two)))
    won = {"stages": [{"lead_id": "mia", "stage": "won", "occurred_at": (now - timedelta(hours=1)).isoformat()}]}
    assert one.post("/events", won).status_code == 200
    until(lambda: not two.scores("mia"))

    # The trainer's model is recorded by MLflow's server, and a promotion reaches both replicas within 5 seconds.
    trained = touchstone(trainer, "train", MLFLOW_TRACKING_URI=mlflow_server)
    run = httpx.get(f"{mlflow_server}/api/2.0/mlflow/runs/get", params={"run_id": trained["run_id"]}, trust_env=False)
    assert run.json()["run"]["info"]["status"] == "FINISHED"
    host, path = artifacts_beside(bucket).removeprefix("s3://").split("/")
    assert "spec.json" in httpx.get(f"{s3}/{host}", params={"prefix": path}, trust_env=False).text
    other = str(trained["version"])
    assert other != first
    for version in (first, other):
        touchstone(trainer, "models", "promote", version, MLFLOW_TRACKING_URI=mlflow_server)
        took = until(lambda version=version: one.model() == two.model() == version)
        assert took < 5

    # A replica is killed with what it acknowledged on its own disk: the other goes on, and nothing is lost.
    for i in range(9):
        assert one.post("/events", touched("noa", "meeting", f"k{i}")).status_code == 200
    one.kill()
    assert two.post("/events", touched("noa", "meeting", "k9")).status_code == 200
    assert two.scores("noa")
    one = Replica(tmp_path / "one")
    until(lambda: all(count_of(each, "noa", "meeting") == 10 for each in (one, two)))
    one.stop()
    two.stop()
    store = store_of(trainer)
    assert store
    store.pull()
    meetings = Lake(trainer / "lake").query("SELECT event_id FROM touches WHERE kind = 'meeting' AND lead_id = 'noa'")
    assert sorted(meetings["event_id"].to_pylist()) == [f"k{i}" for i in range(10)]


def count_of(replica: Replica, lead: str, kind: str) -> int:
    return sum(kind in event.values() for event in replica.timeline(lead))
