"""Running the service for as long as somebody wants it, and asking it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from features.errors import ConfigError
from features.settings import Settings
from serving.service import listen, server

STEP = 0.01  # seconds between two looks at whether it has started


@contextmanager
def running(workspace: Path, settings: Settings, port: int | None = None) -> Iterator[str]:
    """Run the service in a thread, and yield its address once it answers; without a port, on the configured one.

    Raises:
        ConfigError: when the port is taken, or the service does not start.

    """
    with closing(listen(settings.serve.port if port is None else port)) as opened:
        served = server(workspace, settings)
        thread = threading.Thread(target=served.run, kwargs={"sockets": [opened]})
        thread.start()
        try:
            while not served.started and thread.is_alive():
                time.sleep(STEP)
            if not served.started:
                raise ConfigError("The service did not start; what it printed above says why.")
            yield f"http://127.0.0.1:{opened.getsockname()[1]}"
        finally:
            served.should_exit = True
            thread.join()


def free(port: int) -> int:
    """Return the port if nobody listens on it, else 0, which takes any."""
    try:
        listen(port).close()
    except ConfigError:
        return 0
    return port


def until_interrupted() -> None:
    """Wait for Ctrl-C or for a polite kill."""
    stopped = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stopped.set())
    stopped.wait()


def ask(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the service's answer to a request."""
    reply = httpx.post(url, json=body, timeout=60, trust_env=False)
    reply.raise_for_status()
    return dict(reply.json())
