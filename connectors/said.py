"""What was said: what each record said last that a system tells only as it is now, so that it is not news again.

Whoever writes scores into records finds them modified at the next read, with nothing new in what is read of them; each
would become one more version of a lead, every day. And what happened once is told again whenever a campaign is renamed,
or what a lead did is moved to its contact. Only hashes are kept, of records and of what they said.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MADE = "CREATE TABLE IF NOT EXISTS said (stream, record, content, PRIMARY KEY (stream, record)) WITHOUT ROWID"

Line = dict[str, Any]


@dataclass(frozen=True)
class Present:
    """How lines that tell a record as it is now are compared.

    ``record`` names it, and is empty for lines that are history; fields ``moved`` say when, and nothing else. Of what
    happened ``once``, nothing that is said later is news.
    """

    record: Callable[[Line], str] = lambda _: ""
    moved: tuple[str, ...] = ()
    once: bool = False


HISTORY = Present()  # of a stream that tells nothing but history


@dataclass(frozen=True)
class Said:
    """What was said in one stream of a system, in a file of SQLite."""

    file: Path
    stream: str
    present: Present

    def news(self, rows: Iterable[Line]) -> list[Line]:
        """Return the lines that are history, or say something else than the one of their record that is known."""
        with self._opened() as known:
            return [row for row in rows if not self._is_known(known, row)]

    def learn(self, rows: Iterable[Line]) -> None:
        """Take note of what is in the lake now."""
        told = ((self.stream, *self._hashed(row)) for row in rows if self.present.record(row))
        with self._opened() as known:
            known.executemany("INSERT OR REPLACE INTO said VALUES (?, ?, ?)", told)

    def forget(self) -> None:
        """Know nothing: everything is read anew."""
        with self._opened() as known:
            known.execute("DELETE FROM said WHERE stream = ?", (self.stream,))

    def _is_known(self, known: sqlite3.Connection, row: Line) -> bool:
        asked = "SELECT 1 FROM said WHERE (stream, record, content) = (?, ?, ?)"
        return bool(self.present.record(row) and known.execute(asked, (self.stream, *self._hashed(row))).fetchone())

    def _hashed(self, row: Line) -> tuple[str, str]:
        apart = set(row) if self.present.once else {*self.present.moved, "landed_at"}
        content = {name: value for name, value in row.items() if name not in apart}
        texts = self.present.record(row), json.dumps(content, sort_keys=True)
        record, said = (hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts)
        return record, said

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.file)) as opened, opened:
            opened.execute(MADE)
            yield opened
