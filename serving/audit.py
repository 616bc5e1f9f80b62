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
from collections.abc import Callable, Sequence
from datetime import datetime
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

LOG = logging.getLogger("touchstone")
FILE, KEY = "audit.jsonl", "audit.key"
MOST_BYTES, KEPT = 10_000_000, 10
LEAD = re.compile(r"(/(?:my-)?leads/)([^/]+)")  # of the API, or of a page


class Line(NamedTuple):
    """One request: by whose token, what was asked, and what became of it."""

    token: str
    method: str
    path: str
    status: int
    request_id: str


class Audit:
    """The log of one workspace. What is written stands there, though the process dies; lines together are one write."""

    def __init__(self, workspace: Path, clock: Callable[[], datetime]) -> None:
        self._clock, self._key = clock, _key(workspace / KEY)
        self._path, self._bytes = workspace / FILE, 0
        self._file: FileIO | None = None  # until the first line

    def write(self, lines: Sequence[Line]) -> None:
        """Add lines, of this moment."""
        at = {"at": self._clock().isoformat()}
        told = [json.dumps(at | line._asdict() | {"path": self.hashed(line.path)}) + "\n" for line in lines]
        try:
            self._file = self._file or self._opened()
            self._bytes += self._file.write("".join(told).encode())
            if self._bytes >= MOST_BYTES:
                self._turn_over()
        except OSError as error:  # the request was answered; what it could not be written for is for whoever runs this
            LOG.error("The audit log %s lacks a line: %s.", self._path, error)  # noqa: TRY400  # the sentence says all

    def _opened(self) -> FileIO:
        file = self._path.open("ab", buffering=0)
        self._bytes = file.tell()
        return file

    def _turn_over(self) -> None:
        self.close()
        logs = [self._path, *(self._path.with_name(f"{FILE}.{n}") for n in range(1, KEPT + 1))]
        for newer, older in reversed([*pairwise(logs)]):
            if newer.exists():
                newer.replace(older)

    def hashed(self, path: str) -> str:
        """Return a path with the lead in it hashed."""
        named = LEAD.match(path)
        if named is None:
            return path
        lead_id = named[2].encode("utf-8", "surrogatepass")
        return named[1] + hashlib.blake2b(lead_id, key=self._key, digest_size=12).hexdigest() + path[named.end() :]

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
        self._file = None


def _key(file: Path) -> bytes:
    if not file.exists():
        file.write_bytes(secrets.token_bytes(32))
        file.chmod(0o600)
    return file.read_bytes()
