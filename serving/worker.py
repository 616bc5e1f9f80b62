"""The worker: the process that serves, on a socket that was opened for it, until it is told to stop."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from features.disk import told
from features.errors import ConfigError, TouchstoneError

FAILED, USAGE = 1, 2


def work(socket_number: int, ready: int, workspace: Path, host: str) -> None:
    """Serve a workspace on an inherited socket; say so on the pipe ``ready`` as soon as requests are answered."""
    from features.settings import read_settings
    from serving.service import server

    running = server(workspace, read_settings(workspace), host, lambda: os.close(ready))
    with socket.socket(fileno=socket_number) as opened:
        running.run(sockets=[opened])
    if not running.started:
        raise ConfigError("The service did not start; what it printed above says why.")


def main() -> int:
    """Run the worker; return its exit status."""
    socket_number, ready, workspace, host = sys.argv[1:]
    try:
        with told():
            work(int(socket_number), int(ready), Path(workspace), host)
    except TouchstoneError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201  # whoever started it reads this
        return USAGE if isinstance(error, ConfigError) else FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
