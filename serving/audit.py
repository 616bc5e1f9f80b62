"""The audit log: who read and changed what, a line of JSON a request, without a name of anybody it was about.

A lead in a path stands as a keyed hash, so that who may read ``audit.key`` can look up who asked for a certain lead,
and the log itself tells nothing of people. The log turns over at ten megabytes; ten of them are kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
from collections.abc import Callable
from datetime import datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

FILE, KEY = "audit.jsonl", "audit.key"
MOST_BYTES, KEPT = 10_000_000, 10
LEAD = re.compile(r"(/(?:my-)?leads/)([^/]+)")  # of the API, or of a page


class Audit:
    """The log of one workspace."""

    def __init__(self, workspace: Path, clock: Callable[[], datetime]) -> None:
        self._clock, self._key = clock, _key(workspace / KEY)
        self._file = RotatingFileHandler(
            workspace / FILE, maxBytes=MOST_BYTES, backupCount=KEPT, encoding="utf-8", delay=True
        )

    def write(self, token: str, method: str, path: str, status: int, request_id: str) -> None:
        """Add a line."""
        line = {"at": self._clock().isoformat(), "token": token, "method": method, "path": self.hashed(path),
                "status": int(status), "request_id": request_id}  # fmt: skip
        self._file.emit(logging.LogRecord("audit", logging.INFO, "", 0, json.dumps(line), None, None))

    def hashed(self, path: str) -> str:
        """Return a path with the lead in it hashed."""
        named = LEAD.match(path)
        if named is None:
            return path
        lead_id = named[2].encode("utf-8", "surrogatepass")
        return named[1] + hashlib.blake2b(lead_id, key=self._key, digest_size=12).hexdigest() + path[named.end() :]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _key(file: Path) -> bytes:
    if not file.exists():
        file.write_bytes(secrets.token_bytes(32))
        file.chmod(0o600)
    return file.read_bytes()
