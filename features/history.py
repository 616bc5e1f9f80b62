"""What happened to a set of leads, in columns: the form that the sweep reads.

Times are int64 microseconds since 1970, UTC. Every event has two: when it ``occurred``, and from when it was
``known`` (the later of occurred and received). Names (kinds, channels, stages) are coded as integers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

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

    def leads(self) -> Ints:
        """Return the lead of each event."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


@dataclass(frozen=True)
class History:
    """What is stored of some leads: their versions, touches and stages, and when they were created."""

    lead_ids: tuple[str, ...]  # sorted
    created: Ints  # of each lead
    versions: Events
    attributes: tuple[dict[str, object], ...]  # of each version
    touches: Events
    stages: Events

    def positions(self, lead_ids: Sequence[str]) -> Ints:
        """Return the position of each lead; −1 for a lead that is not here."""
        found = pc.index_in(pa.array(lead_ids, pa.string()), pa.array(self.lead_ids, pa.string()))
        return np.asarray(found.fill_null(-1), dtype=np.int64)


def history_of(leads: pa.Table, touches: pa.Table, stages: pa.Table) -> History:
    """Return the history in three tables of the contract; touches and stages of other leads are left out."""
    leads, touches, stages = (
        _ordered(name, table) for name, table in (("leads", leads), ("touches", touches), ("stages", stages))
    )
    lead_ids = pc.unique(leads["lead_id"])
    versions = _events(lead_ids, leads, "observed_at", "observed_at", ())
    created = np.full(len(lead_ids), NEVER)
    np.minimum.at(created, versions.leads(), _microseconds(leads, "created_at"))
    return History(
        lead_ids=tuple(lead_ids.to_pylist()),
        created=created,
        versions=versions,
        attributes=tuple(json.loads(text) if text else {} for text in leads["attributes"].to_pylist()),
        touches=_events(lead_ids, touches, "occurred_at", "received_at", ("kind", "channel")),
        stages=_events(lead_ids, stages, "occurred_at", "received_at", ("stage",)),
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


def _events(lead_ids: pa.Array, table: pa.Table, occurred: str, received: str, coded: Sequence[str]) -> Events:
    lead = pc.index_in(table["lead_id"], lead_ids)
    table, lead = table.filter(lead.is_valid()), lead.drop_null()
    codes, names = {}, {}
    for column in coded:
        encoded = table[column].combine_chunks().dictionary_encode()
        codes[column] = np.array(encoded.indices.fill_null(-1), dtype=np.int32)
        names[column] = tuple(encoded.dictionary.to_pylist())
    happened = _microseconds(table, occurred)
    return Events(
        start=np.searchsorted(np.asarray(lead, dtype=np.int64), np.arange(len(lead_ids) + 1)),
        occurred=happened,
        known=np.maximum(happened, _microseconds(table, received)),
        codes=codes,
        names=names,
    )
