"""The resident history: what is known of every lead, in memory, so that no request has to read the lake for it.

It is read whole when the service starts, and again in the background when the lake was written by others. Leads of
whom the service itself has stored more since, and those whom a request cannot be answered for without knowing others
(duplicates, objectors), are read from the lake.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from features.accounts import Tenures
from features.history import Events, History, Ints
from features.lake import Lake
from features.merges import ALWAYS, NEVER
from features.objections import OBJECTION
from features.reading import read_history
from features.tombstones import is_tombstone

MOST_STALE = 2_000  # leads
REMEMBERED = 10_000  # changes of the lake by the service itself, while a history is read
READ = ("leads", "touches", "stages", "identities", "feedback")  # what a history is made of


@dataclass(frozen=True)
class Resident:
    """The history of all leads as of some versions of the lake's tables, and where each lead is in it.

    ``place`` has only leads that can be answered for alone: not merged, not objecting, not erased.
    """

    history: History
    versions: Mapping[str, int]
    more: tuple[str, ...]  # the columns of touches that were read beside the usual ones
    place: Mapping[str, int]
    of_account: tuple[Ints, Ints]  # contacts' leads in the order of their accounts, and those accounts
    stale: frozenset[str] = field(default=frozenset())

    def excerpt(self, lead_ids: Sequence[str]) -> tuple[History, Ints]:
        """Return the history of some leads of ``place`` and their accounts' contacts, and the position of each."""
        asked = np.array([self.place[lead_id] for lead_id in lead_ids], np.int64)
        wanted = np.unique(np.concatenate([asked, self._colleagues(asked)]))
        return _excerpt(self.history, wanted), np.searchsorted(wanted, asked)

    def colleagues(self, lead_ids: Sequence[str]) -> set[str]:
        """Return all leads that ever were contacts of an account that one of some leads ever was a contact of."""
        asked = np.array([self.place[lead_id] for lead_id in lead_ids if lead_id in self.place], np.int64)
        return {self.history.lead_ids[lead] for lead in self._colleagues(asked).tolist()}

    def told(self, lead_ids: set[str], before: Mapping[str, int], after: Mapping[str, int]) -> Resident:
        """Return this with some leads stale, if it is of the versions before that; it is of those after then."""
        if self.versions != before or before == after:
            return self
        return replace(self, versions=after, stale=self.stale | lead_ids | self.colleagues(sorted(lead_ids)))

    def _colleagues(self, leads: Ints) -> Ints:
        contacts = self.history.contacts
        if not len(contacts.lead):
            return np.empty(0, np.int64)
        accounts = np.unique(contacts.account[_rows_of(contacts.lead, leads)])
        members, of = self.of_account
        return members[_rows_of(of, accounts)]


class Residence:
    """The resident history that is current, exchanged as a whole, and whether the lake says the same.

    Whoever changes the lake within this process holds ``changing`` from before it does until it has ``told`` of it.
    """

    def __init__(self, lake: Lake) -> None:
        self.lake, self.changing = lake, threading.RLock()
        self._now: Resident | None = None
        self._told: deque[tuple[Mapping[str, int], Mapping[str, int], set[str]]] = deque(maxlen=REMEMBERED)

    @property
    def now(self) -> Resident | None:
        """Return the resident history; None before the first was read."""
        return self._now

    def is_current(self, more: Sequence[str] = ()) -> bool:
        """Say whether the lake's tables are still those that were read, with some columns of touches."""
        now = self._now
        return now is not None and set(more) <= {*now.more} and now.versions == self.versions()

    @property
    def is_worn(self) -> bool:
        """Say whether so many leads have to be read from the lake that all are better read again."""
        return self._now is not None and len(self._now.stale) > MOST_STALE

    def versions(self) -> dict[str, int]:
        """Return the versions of the tables that a history is made of; of an unchanged lake, without reading it."""
        return self.lake.current_versions(READ)

    def read(self, more: tuple[str, ...]) -> Resident:
        """Read the history of all leads, and let it be the current one, with what was told meanwhile."""
        with self.changing:
            versions = self.versions()
        resident = resident_of(read_history(Lake(self.lake.folder, versions), more=more), versions, more)
        with self.changing:
            for before, after, lead_ids in self._told:
                resident = resident.told(lead_ids, before, after)
            self._now = resident
        return resident

    def told(self, lead_ids: set[str], before: Mapping[str, int], after: Mapping[str, int]) -> None:
        """Take note that the service stored more of some leads, and so made of some versions of the tables others."""
        with self.changing:
            self._told.append((before, after, lead_ids))
            if self._now is not None:
                self._now = self._now.told(lead_ids, before, after)


def resident_of(history: History, versions: Mapping[str, int], more: tuple[str, ...]) -> Resident:
    """Return a history with what is asked of it most."""
    alone = (history.since == ALWAYS) & (history.until == NEVER)
    alone[history.heirs.heir] = False
    if OBJECTION in history.versions.codes:
        alone[history.versions.leads()[history.versions.codes[OBJECTION] >= 0]] = False
    place = {history.lead_ids[at]: at for at in np.flatnonzero(alone).tolist()}
    place = {lead_id: at for lead_id, at in place.items() if not is_tombstone(lead_id)}
    order = np.argsort(history.contacts.account, kind="stable")
    of_account = (history.contacts.lead[order], history.contacts.account[order])
    return Resident(history, versions, more, place, of_account)


def _excerpt(history: History, leads: Ints) -> History:
    """Return the history of some leads, by position, rising; none of them was ever merged."""
    heirs = type(history.heirs)(*np.empty((4, 0), np.int64))
    contacts = history.contacts
    rows = _rows_of(contacts.lead, leads)
    account = np.unique(contacts.account[rows], return_inverse=True)[1]
    tenures = Tenures(
        np.searchsorted(leads, contacts.lead[rows]),
        account.astype(np.int64),
        contacts.since[rows],
        contacts.until[rows],
    )
    return History(
        lead_ids=tuple(history.lead_ids[lead] for lead in leads.tolist()),
        since=history.since[leads],
        until=history.until[leads],
        created=history.created[leads],
        versions=_of_leads(history.versions, leads),
        touches=_of_leads(history.touches, leads),
        stages=_of_leads(history.stages, leads),
        heirs=heirs,
        contacts=tenures,
        feedback=_of_leads(history.feedback, leads),
    )


def _of_leads(events: Events, leads: Ints) -> Events:
    begins, ends = events.start[leads], events.start[leads + 1]
    rows = _ranges(begins, ends)
    codes = {name: codes[rows] for name, codes in events.codes.items()}
    return Events(
        np.append(0, np.cumsum(ends - begins)), events.occurred[rows], events.known[rows], codes, events.names
    )


def _rows_of(column: Ints, values: Ints) -> Ints:
    """Return the rows of a rising column that have one of some values."""
    return _ranges(np.searchsorted(column, values), np.searchsorted(column, values, "right"))


def _ranges(begins: Ints, ends: Ints) -> Ints:
    """Return begin, begin + 1, … to before end, of each pair, one after the other."""
    sizes = ends - begins
    shift = np.repeat(begins - np.cumsum(sizes) + sizes, sizes)
    return np.asarray(np.arange(len(shift)) + shift)
