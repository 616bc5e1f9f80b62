"""What happened to a set of leads, in columns: the form that the sweep reads.

Times are int64 microseconds since 1970, UTC. Every event has two: when it ``occurred``, and from when it was
``known`` (the later of occurred and received). Names (kinds, channels, stages) are coded as integers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.accounts import Accounts, Tenures, accounts_of, tenures_of
from features.coding import lead_codes, names_in, places_among
from features.contract import TABLES, schema
from features.events import DAY as DAY  # noqa: PLC0414  # every reader of history needs these four
from features.events import Events as Events  # noqa: PLC0414
from features.identities import NONE, TOUCH, identified, known, moments
from features.merges import NEVER as NEVER  # noqa: PLC0414
from features.merges import Ints as Ints  # noqa: PLC0414
from features.merges import belonging, editions, tenures
from features.order import in_order
from features.passes import starts
from features.versions import whole

PROPERTY = "properties."
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_FEEDBACK = schema("feedback").empty_table()
STAGE = ("occurred_at", "stage")  # two records that both hold such a change of stage hold one
FEEDBACK = ("at", "verdict", "reason", "by")


class Tables(NamedTuple):
    """What a history is made of, as tables of the contract."""

    leads: pa.Table
    touches: pa.Table
    stages: pa.Table
    identities: pa.Table = NONE
    feedback: pa.Table = NO_FEEDBACK

    def with_more(self, other: Tables) -> Tables:
        """Return these rows and those of another, in the columns of this one."""
        return Tables(*(
            pa.concat_tables([rows, more.select(rows.column_names).cast(rows.schema)])
            for rows, more in zip(self, other, strict=True)
        ))  # fmt: skip


@dataclass(frozen=True)
class Heirs:
    """Who a lead turned out to be: edition ``of`` is edition ``heir`` for moments in (since, until]."""

    of: Ints
    heir: Ints
    since: Ints
    until: Ints


@dataclass(frozen=True)
class History:
    """What is stored of some leads: their versions, touches, stages, what sales said, and when they were created.

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
    contacts: Tenures  # which account each lead is a contact of, and when
    feedback: Events  # what sales said of the lead: verdict, reason and by

    @cached_property
    def accounts(self) -> Accounts:
        """The accounts of these leads; all their contacts have to be in this history."""
        return accounts_of(self.contacts, self.touches, self.stages, self.lead_ids)

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


def history_of(
    leads: pa.Table,
    touches: pa.Table,
    stages: pa.Table,
    identities: pa.Table = NONE,
    feedback: pa.Table = NO_FEEDBACK,
    more: Sequence[str] = (),
) -> History:
    """Return the history in tables of the contract; what belongs to other leads is left out.

    ``more`` are columns of touches to code beside kind and channel: a column of the contract, or ``properties.NAME``.
    """
    leads = in_order(leads, TABLES["leads"].order)
    records, created = _created(leads)
    whose = tenures(identities)
    parts = editions(whose, records)
    lead_ids = parts["lead_id"].combine_chunks()
    versions, stages = known(leads, "observed_at", "observed_at"), known(stages, "occurred_at", "received_at")
    touches = _human(identified(touches, identities))
    versions = whole(_placed("leads", belonging(versions, whose, parts), lead_ids))
    touches = _placed("touches", belonging(touches, whose, parts, TOUCH), lead_ids)
    stages = _placed("stages", belonging(stages, whose, parts, STAGE), lead_ids)
    said = belonging(known(feedback, "at", "at"), whose, parts, FEEDBACK)
    said = _placed("feedback", said, lead_ids)
    since, until = np.asarray(parts["since"]), np.asarray(parts["until"])
    return History(
        lead_ids=tuple(lead_ids.to_pylist()),
        since=since,
        until=until,
        created=created[np.asarray(pc.index_in(lead_ids, records))],
        versions=_events(len(lead_ids), versions, "observed_at", _attributes(versions["attributes"])),
        touches=_events(len(lead_ids), touches, "occurred_at", _columns(touches, "kind", "channel", *more)),
        stages=_events(len(lead_ids), stages, "occurred_at", _columns(stages, "stage")),
        heirs=_heirs(whose, parts),
        contacts=tenures_of(versions, since, until),
        feedback=_events(len(lead_ids), said, "at", _columns(said, "verdict", "reason", "by")),
    )


def microseconds(moment: datetime) -> int:
    """Return a moment as int64 microseconds since 1970, exactly.

    >>> microseconds(datetime(1970, 1, 2, tzinfo=UTC)) == DAY
    True
    """
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment_of(micros: int) -> datetime:
    """Return int64 microseconds since 1970 as a moment in UTC, exactly.

    >>> moment_of(DAY).isoformat()
    '1970-01-02T00:00:00+00:00'
    """
    return EPOCH + timedelta(microseconds=micros)


def _created(leads: pa.Table) -> tuple[pa.Array, Ints]:
    """Return the leads of versions that are in order, and when each was created, as its own first version says."""
    codes = lead_codes(leads["lead_id"])
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    lead_ids = names_in(leads["lead_id"]).take(pa.array(codes[first]))
    return lead_ids.cast(pa.string()), moments(leads, "created_at")[first]


def _human(touches: pa.Table) -> pa.Table:
    """Return touches without those that a machine made, which tell nothing of a lead."""
    if not pc.any(touches["machine"]).as_py():
        return touches
    return touches.filter(pc.invert(touches["machine"].fill_null(False)))


def _placed(name: str, rows: pa.Table, lead_ids: pa.Array) -> pa.Table:
    """Return the rows of these leads with their ``place`` among them, in order."""
    first = places_among(rows["lead_id"], lead_ids)
    place = first + np.asarray(rows["edition"])
    rows = rows.append_column("place", pa.array(place))
    if (first < 0).any():
        rows, place = rows.filter(pa.array(first >= 0)), place[first >= 0]
    return in_order(rows, TABLES[name].order, place)


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


def _columns(table: pa.Table, *names: str) -> dict[str, pa.ChunkedArray]:
    """Return columns of texts; those that are properties are taken out of their JSON."""
    inside = _attributes(table["properties"]) if any(name.startswith(PROPERTY) for name in names) else {}
    empty = pa.chunked_array([pa.nulls(len(table), pa.string())])
    return {
        name: inside.get(name.removeprefix(PROPERTY), empty) if name.startswith(PROPERTY) else _coded(table[name])
        for name in names
    }


def _coded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if pa.types.is_dictionary(column.type) else column.cast(pa.string())


def _attributes(texts: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Return a column for each attribute in JSON objects: its values as texts, null where there is none."""
    coded = texts.combine_chunks().dictionary_encode()
    objects = json.loads(f"[{','.join(text or '{}' for text in coded.dictionary.to_pylist())}]")  # one call is quick
    names = sorted({name for attributes in objects for name in attributes})
    columns = {name: pa.array([_text(attributes.get(name)) for attributes in objects], pa.string()) for name in names}
    return {name: pa.chunked_array([column.take(coded.indices)]) for name, column in columns.items()}


def _text(value: Any) -> str | None:
    return value or None if value is None or isinstance(value, str) else json.dumps(value)


def _events(leads: int, rows: pa.Table, occurred: str, columns: dict[str, pa.ChunkedArray]) -> Events:
    names = {name: names_in(column) for name, column in columns.items()}
    return Events(
        start=starts(np.asarray(rows["place"]), leads),
        occurred=moments(rows, occurred),
        known=np.asarray(rows["known"]),
        codes={name: places_among(column, names[name]).astype(np.int32) for name, column in columns.items()},
        names={name: tuple(found.to_pylist()) for name, found in names.items()},
    )
