"""The journal: what was acknowledged and is not in the lake yet, safe on the disk before anybody is told so.

An event is a line of JSON, ``{"table", "at", "row"}``, in a file that only grows. From time to time the file is closed
and another begun; a closed file is taken into the lake and removed. Each process has files of its own and holds a lock
on them, so that whoever starts later finds what one that was killed has left, and nothing else.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

FOLDER, ENDING, ROOM = "journal", ".jsonl", "taking-in"


class Event(NamedTuple):
    """A row that was posted for a table, and when (ISO 8601)."""

    table: str
    at: str
    row: Mapping[str, Any]


class Journal:
    """The journal of one process in a workspace."""

    def __init__(self, workspace: Path) -> None:
        self.folder = workspace / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        self._open: FileIO | None = None

    def append(self, events: Sequence[Event]) -> None:
        """Write events, durably: they are on the disk when this returns."""
        lines = "".join(f"{json.dumps(event._asdict(), allow_nan=False)}\n" for event in events).encode()
        opened = self._open or self._begun()
        size = opened.tell()
        try:
            while lines:  # a disk that is nearly full takes a part, and refuses the rest at the next attempt
                lines = lines[opened.write(lines) :]
            os.fsync(opened.fileno())
        except OSError:  # as of a full disk; what was half written is no event
            opened.truncate(size)
            raise

    def close(self) -> None:
        """Begin another file with the next event; the one before is ready to be taken in."""
        if self._open:
            self._open.close()  # and its lock is gone
            self._open = None

    def closed(self) -> list[Path]:
        """Return the files that nobody writes to any more, the oldest first: of this process, and of those killed."""
        files = sorted(self.folder.glob(f"*{ENDING}"), key=lambda file: (file.stat().st_mtime_ns, file.name))
        return [file for file in files if not _is_held(file)]

    @contextmanager
    def room(self) -> Iterator[Path]:
        """Yield an empty folder to take events in by; only who writes to the lake may, who is one at a time.

        What a killed process left there is removed: it is somebody's data, and nobody would look for it.
        """
        folder = self.folder / ROOM
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder.resolve()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _begun(self) -> FileIO:
        """Begin a file, which has its name once it is held: it would be taken for closed, and removed, before."""
        name = secrets.token_hex(8)
        begun = self.folder / f"{name}.begun"
        self._open = FileIO(begun, "a")
        fcntl.flock(self._open, fcntl.LOCK_EX)
        begun.rename(self.folder / f"{name}{ENDING}")
        _sync_folder(self.folder)
        return self._open


def events_in(file: Path) -> Iterator[Event]:
    """Yield the events of a file; a last line that was cut short was never acknowledged."""
    for line in file.read_bytes().split(b"\n")[:-1]:
        yield Event(**json.loads(line))


def _is_held(file: Path) -> bool:
    with file.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _sync_folder(folder: Path) -> None:
    """Let the disk know of a new file, too."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
