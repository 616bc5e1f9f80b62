"""Servers in processes of their own, the service and the no-op, and what they use."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "serving.py"


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
        """Seconds of CPU that the process has used, to the nanosecond (Linux: clock_getcpuclockid)."""
        return time.clock_gettime(~self.worker << 3 | 2)

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
    server = Serving([sys.executable, str(SCRIPT), "noop", str(port)], port)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(20)
