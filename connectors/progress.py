"""Progress: how far each stream of a system was read, in a file that a person can read.

``state.json`` in the folder of a system says of each stream ``since`` (all before this moment of the system's clock is
in the lake), and of a run that is not over ``began`` (what ``since`` will be), ``at`` (where the next page begins),
``rows`` and ``bytes`` (of the pages that wait beside it, to be taken into the lake).
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from features.durable import write_durably
from features.errors import DataError

FILE = "state.json"


@dataclass
class Stream:
    """How far one stream was read; moments are ISO 8601 of the system's clock."""

    since: str = ""
    began: str = ""
    at: dict[str, Any] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0


@dataclass
class Progress:
    """How far all streams of a system were read, and how many calls were made on which day."""

    file: Path
    streams: dict[str, Stream]
    calls: dict[str, int]

    def of(self, name: str) -> Stream:
        """Return the progress of a stream, which may not have begun."""
        return self.streams.setdefault(name, Stream())

    def save(self) -> None:
        """Write the file, wholly or not at all."""
        said = {"streams": {name: asdict(stream) for name, stream in self.streams.items()}, "calls": self.calls}
        write_durably(self.file, json.dumps(said, indent=1))


@contextmanager
def progress_of(folder: Path) -> Iterator[Progress]:
    """Hold what is known of a system's folder; one program at a time may.

    Raises:
        DataError: when another program works there, or the file was damaged by hand.

    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"Another ingest or sync works in {folder}. Wait until it is done.") from None
        try:
            read = json.loads(file.read_text("utf-8")) if file.exists() else {"streams": {}, "calls": {}}
            streams = {name: Stream(**told) for name, told in read["streams"].items()}
            progress = Progress(file, streams, dict(read["calls"]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f"{file} cannot be understood ({error}). Mend it, or delete it: then everything is read once more, "
                "and what happened is not stored twice."
            ) from None
        yield progress
