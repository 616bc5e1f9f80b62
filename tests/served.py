"""The service as users have it: running, and a client of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from features.settings import Settings
from serving.service import listen, server


@contextmanager
def serving(workspace: Path, settings: Settings) -> Iterator[httpx.Client]:
    """Run the service in a thread, as the command line does, and yield a client of it."""
    with listen(0) as opened:
        running = server(workspace, settings)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [opened]})
        thread.start()
        while not running.started and thread.is_alive():
            time.sleep(0.01)
        address = f"http://127.0.0.1:{opened.getsockname()[1]}"
        try:
            with httpx.Client(base_url=address, trust_env=False, timeout=20) as client:
                yield client
        finally:
            running.should_exit = True
            thread.join()


def until_ready(client: httpx.Client, seconds: float = 20) -> None:
    """Wait until the work list is made."""
    for _ in range(round(seconds / 0.02)):
        if client.get("/readyz").json()["worklist"]:
            return
        time.sleep(0.02)
    raise TimeoutError("The work list was not made.")
