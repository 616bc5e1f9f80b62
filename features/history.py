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

from features.identities import NONE, TOUCH, identified, kin, known, moments, read_touches
from features.lake import Lake
from features.merges import NEVER as NEVER  # noqa: PLC0414  # every reader of history needs the two
from features.merges import Ints as Ints  # noqa: PLC0414
from features.merges import belonging, editions, tenures

DAY = 86_400_000_000  # microseconds
READ = {
    "leads": "lead_id, created_at, observed_at, attributes, row_hash",
    "touches": "lead_id, occurred_at, received_at, event_id, kind, channel",
    "stages": "lead_id, occurred_at, received_at, stage, row_hash",
}
STAGE = ("occurred_at", "stage")  # two records that both hold such a change of stage hold one


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
class Heirs:
    """Who a lead turned out to be: edition ``of`` is edition ``heir`` for moments in (since, until]."""

    of: Ints
    heir: Ints
    since: Ints
    until: Ints


@dataclass(frozen=True)
class History:
    """What is stored of some leads: their versions, touches and stages, and when they were created.

    A lead that was merged, and unmerged again, has several editions, one after the other, each with the events that
    were its own then; every other lead has one. ``lead_ids`` and all that is counted by lead is by edition.
    The coded columns of ``versions`` are the attributes; their names are texts, as JSON writes them.
    """

    lead_ids: tuple[str, ...]  # sorted; of one lead, by time
    since: Ints  # an edition answers for moments after this one,
    until: Ints  # and up to this one
    created: Ints  # of each lead, as its first version says
    versions: Events
    touches: Events
    stages: Events
    heirs: Heirs

    def live(self, lead: Ints, as_of: Ints | int) -> NDArray[np.bool_]:
        """Say whether each position answers for a moment; after a merge, the duplicate's does no more."""
        return np.asarray((self.since[lead] < as_of) & (as_of <= self.until[lead]))

    def positions(self, lead_ids: Sequence[str], as_of: Ints | int) -> Ints:
        """Return the position of each lead as of a moment (its own, or one for all); −1 for a lead that is not here.

        A lead that is another's duplicate then has a position, which is not live.
        """
        here = pa.array(self.lead_ids, pa.string())
        place = pc.index_in(pa.array(lead_ids, pa.string()), here).fill_null(-1).to_numpy().astype(np.int64)
        first = np.append(pc.index_in(here, here).to_numpy(), -1)
        until = np.append(self.until, NEVER)
        while (later := (until[place] < as_of) & (first[place + 1] == first[place])).any():
            place += later
        return np.asarray(place)

    def turned_out(self, lead: Ints, as_of: int) -> Ints:
        """Return the position of what each lead is known to be as of a moment: itself, or what it was merged into."""
        heir = np.arange(len(self.lead_ids))
        holds = (self.heirs.since < as_of) & (as_of <= self.heirs.until)
        heir[self.heirs.of[holds]] = self.heirs.heir[holds]
        return np.asarray(heir[lead])


def history_of(leads: pa.Table, touches: pa.Table, stages: pa.Table, identities: pa.Table = NONE) -> History:
    """Return the history in tables of the contract; what belongs to other leads is left out."""
    records, created = _created(leads)
    whose = tenures(identities)
    parts = editions(whose, records)
    lead_ids = parts["lead_id"].combine_chunks()
    versions, stages = known(leads, "observed_at", "observed_at"), known(stages, "occurred_at", "received_at")
    touches = identified(touches, identities)
    versions = _placed(belonging(versions, whose, parts), lead_ids, "observed_at", "row_hash")
    touches = _placed(belonging(touches, whose, parts, TOUCH), lead_ids, "occurred_at", "event_id")
    stages = _placed(belonging(stages, whose, parts, STAGE), lead_ids, "occurred_at", "stage", "row_hash")
    return History(
        lead_ids=tuple(lead_ids.to_pylist()),
        since=np.array(parts["since"]),
        until=np.array(parts["until"]),
        created=created[np.asarray(pc.index_in(lead_ids, records))],
        versions=_events(len(lead_ids), versions, "observed_at", _attributes(versions["attributes"])),
        touches=_events(len(lead_ids), touches, "occurred_at", _columns(touches, "kind", "channel")),
        stages=_events(len(lead_ids), stages, "occurred_at", _columns(stages, "stage")),
        heirs=_heirs(whose, parts),
    )


def read_history(lake: Lake, lead_ids: Sequence[str] | None = None) -> History:
    """Return the stored history of some leads and of those they were merged with, or of all."""
    with lake.connection([*READ, "identities"]) as connection:
        concerned = None if lead_ids is None else kin(connection, lead_ids)
        where = "" if concerned is None else "WHERE lead_id IN (SELECT unnest($1::VARCHAR[]))"
        leads, stages = (
            connection.sql(
                f"SELECT {READ[name]} FROM {name} {where}", params=[] if concerned is None else [concerned]
            ).to_arrow_table()
            for name in ("leads", "stages")
        )
        touches, identities = read_touches(connection, READ["touches"], concerned)
    return history_of(leads, touches, stages, identities)


def microseconds(moment: datetime) -> int:
    """Return a moment as int64 microseconds since 1970, exactly.

    >>> microseconds(datetime(1970, 1, 2, tzinfo=UTC)) == DAY
    True
    """
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _created(leads: pa.Table) -> tuple[pa.Array, Ints]:
    """Return the leads, sorted, and when each was created, as its own first version says."""
    rows = leads.select(["lead_id", "observed_at", "row_hash", "created_at"])
    rows = rows.sort_by([(column, "ascending") for column in rows.column_names[:3]])
    lead_ids = pc.unique(rows["lead_id"])
    first = np.searchsorted(np.asarray(pc.index_in(rows["lead_id"], lead_ids)), np.arange(len(lead_ids)))
    return lead_ids, moments(rows, "created_at")[first]


def _placed(rows: pa.Table, lead_ids: pa.Array, *order: str) -> pa.Table:
    """Return the rows of these leads with their ``place`` among them, ordered by it and then as told."""
    place = pc.add(pc.index_in(rows["lead_id"], lead_ids), rows["edition"])
    rows = rows.append_column("place", place).filter(pc.is_valid(place))
    return rows.sort_by([(column, "ascending") for column in ("place", *order)])


def _heirs(whose: pa.Table, parts: pa.Table) -> Heirs:
    """Return what each edition of a merged record turned out to be, and when that was known."""
    if not len(whose):  # as in a request, which must be quick
        return Heirs(*np.empty((4, 0), np.int64))
    places = parts.append_column("place", pa.array(np.arange(len(parts)))).drop_columns("edition")
    rows = whose.join(places, "lead_id", join_type="inner", right_suffix=" of heir")
    of = places.select(["lead_id", "place"]).rename_columns(["record", "of"])
    rows = rows.join(of, "record", join_type="inner")
    since = np.maximum(np.array(rows["since"]), np.array(rows["since of heir"]))
    until = np.minimum(np.array(rows["until"]), np.array(rows["until of heir"]))
    return Heirs(np.array(rows["of"]), np.array(rows["place"]), since, until)


def _columns(table: pa.Table, *names: str) -> dict[str, pa.Array]:
    return {name: table[name].combine_chunks() for name in names}


def _attributes(texts: pa.ChunkedArray) -> dict[str, pa.Array]:
    """Return a column for each attribute in JSON objects: its values as texts, null where there is none."""
    objects = json.loads(f"[{','.join(text or '{}' for text in texts.to_pylist())}]")  # one call for all is quick
    names = sorted({name for attributes in objects for name in attributes})
    return {name: pa.array([_text(attributes.get(name)) for attributes in objects], pa.string()) for name in names}


def _text(value: Any) -> str | None:
    return value or None if value is None or isinstance(value, str) else json.dumps(value)


def _events(leads: int, rows: pa.Table, occurred: str, columns: dict[str, pa.Array]) -> Events:
    encoded = {name: column.dictionary_encode() for name, column in columns.items()}
    return Events(
        start=np.searchsorted(np.array(rows["place"]), np.arange(leads + 1)),
        occurred=moments(rows, occurred),
        known=np.array(rows["known"]),
        codes={name: np.array(coded.indices.fill_null(-1), dtype=np.int32) for name, coded in encoded.items()},
        names={name: tuple(coded.dictionary.to_pylist()) for name, coded in encoded.items()},
    )
