"""The seen: which event ids the lake and the journal hold, to tell what is new, what is known and what contradicts.

Of the lake's touches a number of eight bytes each is held, sorted; an id whose number is there is looked up. Of what
was posted since, the content's hash is held beside the id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.lake import Lake

NUMBERS = "SELECT md5_number_lower(event_id)::UBIGINT AS number FROM touches ORDER BY 1"
ROWS = "SELECT * FROM touches WHERE event_id IN (SELECT unnest($1::VARCHAR[]))"
Row = Mapping[str, Any]


class Seen:
    """The ids of the touches of one lake."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self._numbers: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._posted: dict[str, str] = {}  # id → hash of what was posted under it

    def read(self) -> None:
        """Read the ids that the lake holds."""
        self._numbers = self.lake.query(NUMBERS)["number"].to_numpy()

    def add(self, rows: Sequence[Row]) -> None:
        """Take note of what was acknowledged."""
        self._posted |= {row["event_id"]: content(row) for row in rows}

    def sorted_out(self, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
        """Return which of some posted touches are new, and the ids that another content has."""
        fresh, clashes, doubted = dict[str, Row](), list[str](), list[Row]()
        numbers = np.array([number(row["event_id"]) for row in rows], np.uint64)
        place = np.searchsorted(self._numbers, numbers)
        there = (place < len(self._numbers)) & (np.append(self._numbers, np.uint64(0))[place] == numbers)
        for row, may_be_there in zip(rows, there.tolist(), strict=True):
            event_id = row["event_id"]
            before = self._posted.get(event_id) or (content(fresh[event_id]) if event_id in fresh else None)
            if before is not None:
                clashes += [event_id] * (before != content(row))
            elif may_be_there:
                doubted.append(row)
            else:
                fresh[event_id] = row
        stored = {row["event_id"]: row for row in self._stored([row["event_id"] for row in doubted])}
        for row in doubted:
            if row["event_id"] not in stored:
                fresh[row["event_id"]] = row
            elif not _says(stored[row["event_id"]], row):
                clashes.append(row["event_id"])
        return list(fresh.values()), clashes

    def _stored(self, event_ids: Sequence[str]) -> list[Row]:
        return list(self.lake.query(ROWS, [list(event_ids)]).to_pylist()) if event_ids else []


def number(event_id: str) -> int:
    """Return the number that stands for an id, as ``NUMBERS`` has it."""
    return int.from_bytes(hashlib.md5(event_id.encode(), usedforsecurity=False).digest()[8:], "little")


def content(row: Row) -> str:
    """Return a hash of what was posted; when it was received is not part of it unless the sender said so."""
    return hashlib.blake2b(json.dumps(row, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def _says(stored: Row, posted: Row) -> bool:
    """Say whether a stored touch holds all that was posted."""
    properties = json.loads(stored["properties"] or "{}")
    told = {name: value for name, value in posted.items() if value not in (None, {}) and name != "properties"}
    same = all(_plain(stored[name]) == _plain(value) for name, value in told.items())
    return same and all(_text(properties.get(name)) == _text(value) for name, value in posted["properties"].items())


def _plain(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
