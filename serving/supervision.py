"""Supervision: one small process holds the port, another serves; new code takes over once it is ready.

Both processes of a change take connections from one queue, so none is lost between them. On SIGHUP another worker is
started from the code as it is now; when it answers, the one before is told to stop, which answers all that it has
taken. A worker that does not start changes nothing.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from features.errors import TouchstoneError
from serving.port import HOST, listen

READY_SECONDS = 300  # a worker may take so long to read its history
STOP_SECONDS = 12
STOP = {signal.SIGTERM, signal.SIGINT}


def supervise(workspace: Path, port: int, host: str, say: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Raises:
        ConfigError: when the port cannot be used.
        TouchstoneError: when the worker was killed.

    """
    asked = {*STOP, signal.SIGHUP, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, asked)
    with closing(listen(port, host)) as opened:
        worker, status = _started(opened.fileno(), workspace, host)
        if worker is None:
            return status
        say(f"http://{HOST if host == HOST else host}:{opened.getsockname()[1]}")
        while True:
            heard = signal.sigwait(asked)
            if heard == signal.SIGHUP:
                other, _ = _started(opened.fileno(), workspace, host)
                if other is not None:
                    before, worker = worker, other
                    _stopped(before)
            elif heard == signal.SIGCHLD:
                if worker.poll() is not None:  # not one that was told to stop
                    if worker.returncode < 0:
                        how = f"killed ({signal.Signals(-worker.returncode).name}), as where memory is short"
                        raise TouchstoneError(
                            f"The service was {how}. No event that it acknowledged is lost. Start it again."
                        )
                    return worker.returncode or 1
            else:
                return _stopped(worker)


def _started(socket_number: int, workspace: Path, host: str) -> tuple[subprocess.Popen[bytes] | None, int]:
    """Return a worker that answers; or None, and with which status it ended."""
    heard, ready = os.pipe()
    # -P: whatever is called like a library in the folder where the command was given is not imported.
    words = [sys.executable, "-P", "-m", "serving.worker", str(socket_number), str(ready), str(workspace), host]
    worker = subprocess.Popen(words, pass_fds=(socket_number, ready), preexec_fn=_unblocked)  # noqa: S603, PLW1509
    os.close(ready)
    with selectors.DefaultSelector() as selector:
        selector.register(heard, selectors.EVENT_READ)
        for _ in range(READY_SECONDS):
            if selector.select(1):  # it closed its end: it is ready, or dead
                break
            if signal.sigpending() & STOP:
                return None, _stopped(worker)
    os.close(heard)
    try:
        return None, worker.wait(0.2)
    except subprocess.TimeoutExpired:
        return worker, 0


def _stopped(worker: subprocess.Popen[bytes]) -> int:
    """Let a worker answer what it has taken, and end; return its status, 0 if it ended as it was told."""
    worker.terminate()
    try:
        return max(worker.wait(STOP_SECONDS), 0)  # below 0 by the signal that it took note of, and raises at its end
    except subprocess.TimeoutExpired:
        worker.kill()
        return worker.wait() or 1


def _unblocked() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
