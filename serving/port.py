"""The one port that the service opens, on loopback unless it is told otherwise."""

from __future__ import annotations

import socket

from features.errors import ConfigError

HOST = "127.0.0.1"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")  # names under which only this machine is asked
WAITING = 2048  # connections that wait to be taken


def listen(port: int, host: str = HOST) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises:
        ConfigError: when the port is taken, or the host is none of this machine's.

    """
    # asyncio switches Nagle's delay off only for a socket that says it is TCP
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
        opened.listen(WAITING)
    except OSError as error:
        opened.close()
        where = f"Port {port}" if host == HOST else f"Port {port} of {host}"
        raise ConfigError(f"{where} cannot be used: {error.strerror}. Choose another with --port.") from None
    return opened
