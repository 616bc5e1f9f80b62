"""What happened to a set of leads, in columns: the form that the sweep reads.

Times are int64 microseconds since 1970, UTC. Every event has two: when it ``occurred``, and from when it was
``known`` (the later of occurred and received). Names (kinds, channels, stages) are coded as integers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.contract import ARROW, TABLES
from features.lake import Lake

Ints = NDArray[np.int64]
DAY = 86_400_000_000  # microseconds
READ = {
    "leads": "lead_id, created_at, observed_at, attributes, row_hash",
    "touches": "lead_id, occurred_at, received_at, event_id, kind, channel",
    "stages": "lead_id, occurred_at, received_at, stage, row_hash",
}
NEVER = np.iinfo(np.int64).max  # a moment that does not come


@dataclass(frozen=True)
class Events:
    """Events of all leads, ordered by lead and time; lead ``i`` owns the rows ``start[i]:start[i + 1]``."""

    start: Ints
    occurred: Ints
    known: Ints
    codes: dict[str, NDArray[np.int32]]  # of each coded column, −1 where it is empty
    names: dict[str, tuple[str, ...]]  # what the codes stand for

    def of_leads(self, first: int, end: int) -> Events:
        """Return the events of the leads from ``first`` to before ``end``, numbered from 0."""
        rows = slice(self.start[first], self.start[end])
        codes = {column: codes[rows] for column, codes in self.codes.items()}
        return Events(
            self.start[first : end + 1] - rows.start, self.occurred[rows], self.known[rows], codes, self.names
        )

    def leads(self) -> Ints:
        """Return the lead of each event."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


@dataclass(frozen=True)
class History:
    """What is stored of some leads: their versions, touches and stages, and when they were created.

    The coded columns of ``versions`` are the attributes; their names are texts, as JSON writes them.
    """

    lead_ids: tuple[str, ...]  # sorted
    created: Ints  # of each lead, as its first version says
    versions: Events
    touches: Events
    stages: Events

    def positions(self, lead_ids: Sequence[str]) -> Ints:
        """Return the position of each lead; −1 for a lead that is not here."""
        found = pc.index_in(pa.array(lead_ids, pa.string()), pa.array(self.lead_ids, pa.string()))
        return np.asarray(found.fill_null(-1), dtype=np.int64)


def history_of(leads: pa.Table, touches: pa.Table, stages: pa.Table) -> History:
    """Return the history in three tables of the contract; touches and stages of other leads are left out."""
    leads = _ordered("leads", leads)
    lead_ids = pc.unique(leads["lead_id"])
    touches, stages = (
        _ordered(name, table.filter(pc.is_in(table["lead_id"], lead_ids)))
        for name, table in (("touches", touches), ("stages", stages))
    )
    versions = _events(lead_ids, leads, "observed_at", "observed_at", _attributes(leads["attributes"]))
    return History(
        lead_ids=tuple(lead_ids.to_pylist()),
        created=_microseconds(leads, "created_at")[versions.start[:-1]],
        versions=versions,
        touches=_events(lead_ids, touches, "occurred_at", "received_at", _columns(touches, "kind", "channel")),
        stages=_events(lead_ids, stages, "occurred_at", "received_at", _columns(stages, "stage")),
    )


def read_history(lake: Lake, lead_ids: Sequence[str] | None = None) -> History:
    """Return the stored history of some leads, or of all."""
    where = "" if lead_ids is None else "WHERE lead_id IN (SELECT unnest($1::VARCHAR[]))"
    wanted = [] if lead_ids is None else [list(lead_ids)]
    with lake.connection(READ) as connection:
        return history_of(
            *(
                connection.sql(f"SELECT {columns} FROM {name} {where}", params=wanted).to_arrow_table()
                for name, columns in READ.items()
            )
        )


def microseconds(moment: datetime) -> int:
    """Return a moment as int64 microseconds since 1970, exactly.

    >>> microseconds(datetime(1970, 1, 2, tzinfo=UTC)) == DAY
    True
    """
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _ordered(name: str, table: pa.Table) -> pa.Table:
    return table.sort_by([(column, "ascending") for column in TABLES[name].order])


def _microseconds(table: pa.Table, column: str) -> Ints:
    times = table[column].cast(ARROW["time"]).cast(pa.int64())
    return np.array(times, dtype=np.int64)


def _columns(table: pa.Table, *names: str) -> dict[str, pa.Array]:
    return {name: table[name].combine_chunks() for name in names}


def _attributes(texts: pa.ChunkedArray) -> dict[str, pa.Array]:
    """Return a column for each attribute in JSON objects: its values as texts, null where there is none."""
    objects = json.loads(f"[{','.join(text or '{}' for text in texts.to_pylist())}]")  # one call for all is quick
    names = sorted({name for attributes in objects for name in attributes})
    return {name: pa.array([_text(attributes.get(name)) for attributes in objects], pa.string()) for name in names}


def _text(value: Any) -> str | None:
    return value or None if value is None or isinstance(value, str) else json.dumps(value)


def _events(lead_ids: pa.Array, table: pa.Table, occurred: str, received: str, columns: dict[str, pa.Array]) -> Events:
    lead = np.asarray(pc.index_in(table["lead_id"], lead_ids), dtype=np.int64)
    happened = _microseconds(table, occurred)
    encoded = {name: column.dictionary_encode() for name, column in columns.items()}
    return Events(
        start=np.searchsorted(lead, np.arange(len(lead_ids) + 1)),
        occurred=happened,
        known=np.maximum(happened, _microseconds(table, received)),
        codes={name: np.array(coded.indices.fill_null(-1), dtype=np.int32) for name, coded in encoded.items()},
        names={name: tuple(coded.dictionary.to_pylist()) for name, coded in encoded.items()},
    )
