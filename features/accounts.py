"""Accounts: the leads of one company, and what all of them did.

A lead is a contact of the account that its version known at a moment names, so a question as of a moment sees the
contacts known then, each with all of its events. A contact that moves to another account takes them along: from then
on they are no more the old account's. What two contacts both hold (a meeting noted with each) is one event: of the
events with the same time and names an account has as many as the contact with most.

An account that lost a contact has several *editions*, as a lead that lost a record has (features/merges.py): within one
edition its events only ever grow, so one pass can answer every moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.coding import names_in, places_among
from features.events import Events
from features.merges import NEVER, Ints

ACCOUNT, CONTACT = "account_id", "contact"


class Tenures(NamedTuple):
    """Lead ``lead`` is a contact of account ``account`` for moments in (since, until]; by lead and time."""

    lead: Ints
    account: Ints
    since: Ints
    until: Ints


@dataclass(frozen=True)
class Accounts:
    """The events of each edition of each account, and which edition is a lead's at a moment."""

    touches: Events
    stages: Events
    contacts: Events  # one event a contact, when it was known to be one
    tenures: Tenures
    first: Ints  # of each account, its first edition
    until: Ints  # of each edition, the last moment it answers for

    def positions(self, lead: Ints, as_of: Ints) -> Ints:
        """Return the edition of the account that each lead is a contact of as of a moment; −1 if of none."""
        leads, accounts, since, until = (np.append(column, -1) for column in self.tenures)
        place = np.searchsorted(self.tenures.lead, lead)
        while (later := (leads[place] == lead) & (until[place] < as_of)).any():
            place += later
        is_contact = (leads[place] == lead) & (since[place] < as_of)
        edition = np.where(is_contact, np.append(self.first, -1)[accounts[place]], -1)
        while (later := (edition >= 0) & (np.append(self.until, NEVER)[edition] < as_of)).any():
            edition += later
        return np.asarray(edition)


def tenures_of(versions: pa.Table, since: Ints, until: Ints) -> Tenures:
    """Return the tenures in versions that are in order, with ``place`` (their lead) and ``known``.

    ``since`` and ``until`` are between which moments each lead answers.
    """
    if versions[ACCOUNT].null_count == len(versions):
        return Tenures(*np.empty((4, 0), np.int64))
    account = places_among(versions[ACCOUNT], names_in(versions[ACCOUNT]))
    lead, known = np.asarray(versions["place"]), np.asarray(versions["known"])
    order = np.lexsort((known, lead))
    account = account[np.maximum.accumulate(order)]  # of the latest version among those known by then
    lead, known = lead[order], known[order]
    changes = _changes(lead) | _changes(account)
    lead, known, account = lead[changes], known[changes], account[changes]
    ends = np.append(known[1:], NEVER)
    ends[:-1][lead[1:] != lead[:-1]] = NEVER
    starts, ends = np.maximum(known, since[lead]), np.minimum(ends, until[lead])
    holds = (account >= 0) & (starts < ends)
    return Tenures(lead[holds], account[holds], starts[holds], ends[holds])


def accounts_of(tenures: Tenures, touches: Events, stages: Events, lead_ids: tuple[str, ...]) -> Accounts:
    """Return the accounts that leads are contacts of."""
    accounts = np.arange(tenures.account.max(initial=-1) + 1)
    account = np.concatenate([tenures.account, accounts])
    until = np.concatenate([tenures.until, np.full(len(accounts), NEVER)])
    order = np.lexsort((until, account))
    account, until = account[order], until[order]
    differs = _changes(account) | _changes(until)
    account, until = account[differs], until[differs]
    first = np.searchsorted(account, accounts)
    editions = np.append(first[1:], len(account)) - first
    tenure = np.repeat(np.arange(len(tenures.lead)), editions[tenures.account])
    edition = first[tenures.account[tenure]] + _places_within(editions[tenures.account])
    holds = (tenures.since[tenure] < until[edition]) & (until[edition] <= tenures.until[tenure])
    tenure, edition = tenure[holds], edition[holds]
    order = np.lexsort((tenures.since[tenure], edition))
    met, start = tenures.since[tenure[order]], np.searchsorted(edition[order], np.arange(len(until) + 1))

    def joined(events: Events) -> Events:
        size = np.diff(events.start)[tenures.lead[tenure]]
        pair = np.repeat(np.arange(len(tenure)), size)
        row = events.start[tenures.lead[tenure]][pair] + _places_within(size)
        known = np.maximum(events.known[row], tenures.since[tenure[pair]])
        heard = known < until[edition[pair]]
        of, row, known = edition[pair[heard]], row[heard], known[heard]
        contact = tenures.lead[tenure[pair[heard]]]
        order = _once(of, contact, known, events.occurred[row], [codes[row] for codes in events.codes.values()])
        row = row[order]
        return Events(
            np.searchsorted(of[order], np.arange(len(until) + 1)),
            events.occurred[row],
            known[order],
            {name: codes[row] for name, codes in events.codes.items()} | {CONTACT: contact[order].astype(np.int32)},
            events.names | {CONTACT: lead_ids},
        )

    return Accounts(joined(touches), joined(stages), Events(start, met, met, {}, {}), tenures, first, until)


def _once(account: Ints, contact: Ints, known: Ints, occurred: Ints, codes: list[Ints]) -> Ints:
    """Return the rows in order of account and time, without those that another contact holds too.

    Of the contacts that hold an event, the one stays that was known first.
    """
    order = np.lexsort((known, contact, *codes, occurred, account))
    content = np.zeros(len(order), np.bool_)
    for column in (account, occurred, *codes):
        content |= _changes(column[order])
    if content.all():  # as for most accounts: nothing is held twice
        return order
    group, run = np.cumsum(content), content | _changes(contact[order])
    nth = np.arange(len(order)) - np.maximum.accumulate(np.where(run, np.arange(len(order)), 0))
    best = np.lexsort((contact[order], known[order], nth, group))
    again = np.zeros(len(order), np.bool_)
    again[1:] = (np.diff(group[best]) == 0) & (np.diff(nth[best]) == 0)
    kept = np.ones(len(order), np.bool_)
    kept[best[again]] = False
    return np.asarray(order[kept])


def _changes(column: Ints) -> NDArray[np.bool_]:
    """Say of each row whether it is the first, or has another value than the one before."""
    changes = np.ones(len(column), np.bool_)
    np.not_equal(column[1:], column[:-1], out=changes[1:])
    return changes


def _places_within(sizes: Ints) -> Ints:
    """Return 0, 1, … for each of several runs of these sizes, one after the other."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
