"""Reading: the history that the lake holds, of some leads, of all, or range of leads by range of leads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from features.accounts import ACCOUNT
from features.history import PROPERTY, History, Tables, history_of
from features.identities import found, merges, with_found
from features.lake import Lake
from features.merges import firsts, kin, pairs_of
from features.ordered import Leads

READ = {
    "leads": ("lead_id", "created_at", "observed_at", "account_id", "is_change", "attributes"),
    "touches": ("lead_id", "occurred_at", "received_at", "kind", "channel", "machine"),
    "stages": ("lead_id", "occurred_at", "received_at", "stage"),
    "feedback": ("lead_id", "at", "verdict", "reason", "by"),
}
KEYS = {
    "leads": ("row_hash",),
    "touches": ("event_id",),
    "stages": ("row_hash",),
    "feedback": ("row_hash",),
}  # settle what is at one moment
CONTACTS = "SELECT DISTINCT lead_id FROM leads WHERE account_id IN (SELECT unnest($1::VARCHAR[]))"


def read_history(
    lake: Lake, lead_ids: Sequence[str] | None = None, more: Sequence[str] = (), *, accounts: bool = False
) -> History:
    """Return the stored history of some leads and of those they were merged with, or of all.

    For ``accounts``, also of all that ever were contacts of an account that one of them ever was a contact of.
    """
    merged = merges(lake)
    if lead_ids is None:
        return history_of(*_read(lake, [Leads()], merged, found(lake, touch_columns(more, keyed=True)), more), more)
    ids = kin(lead_ids, merged)
    if accounts:
        ids = kin([*ids, *_contacts_with(lake, ids)], merged)
    return history_of(*_stored(lake, ids, merged, more), more)


def tables_of_accounts(lake: Lake, accounts: Sequence[str], but: Sequence[str], more: Sequence[str] = ()) -> Tables:
    """Return what is stored of all that ever were contacts of some accounts, except some leads."""
    merged = merges(lake)
    return _stored(lake, sorted({*kin(_contacts_of(lake, accounts), merged)} - {*but}), merged, more)


def history_chunks(
    lake: Lake, rows: int = 2_000_000, more: Sequence[str] = (), *, accounts: bool = False
) -> Iterator[History]:
    """Yield the stored history of all leads in ranges of leads, each of about so many touches, in their order.

    Records that were ever merged come together, with the first of them, and, for ``accounts``, all leads that ever
    were contacts of one account. What is not read chunk by chunk is merges and the anonymous touches that became a
    lead's. Leads that come together are sought in the whole lake for each chunk, so those are larger then.
    """
    then = Lake(lake.folder, lake.versions())  # a later ingest changes no chunk
    merged, lost = merges(then), found(then, touch_columns(more, keyed=True))
    contacts = colleagues(then) if accounts else []
    first = firsts([*pairs_of(merged), *contacts])
    for low, high in pairwise(["", *then.lead_starts("touches", rows * (5 if contacts else 1)), None]):
        joined = (record for record, one in first.items() if (low or "") <= one and (high is None or one < high))
        alone = Leads(low or "", high, but=tuple(sorted(first)))
        chunk = history_of(*_read(then, [alone, Leads(ids=tuple(sorted(joined)))], merged, lost, more), more)
        if chunk.lead_ids:
            yield chunk


def colleagues(lake: Lake) -> list[tuple[str, str]]:
    """Return the leads that ever were contacts of one account, two by two."""
    known = lake.read_where("leads", ("lead_id", ACCOUNT), ACCOUNT, empty=False)
    contacts = pa.table({name: known[name].cast(pa.string()) for name in known.column_names})
    contacts = contacts.group_by(["lead_id", ACCOUNT]).aggregate([]).sort_by(ACCOUNT)
    leads, accounts = contacts["lead_id"].to_pylist(), contacts[ACCOUNT].to_pylist()
    return [pair for pair, (one, two) in zip(pairwise(leads), pairwise(accounts), strict=True) if one == two]


def _contacts_with(lake: Lake, lead_ids: Sequence[str]) -> list[str]:
    """Return all leads that ever were contacts of an account that one of some leads ever was a contact of."""
    known = lake.read("leads", ("lead_id", "observed_at", ACCOUNT), Leads(ids=tuple(lead_ids)))
    return _contacts_of(lake, pc.unique(known[ACCOUNT].drop_null()).to_pylist())


def _contacts_of(lake: Lake, accounts: Sequence[str]) -> list[str]:
    if not accounts:
        return []
    with lake.connection(("leads",)) as connection:
        contacts = connection.sql(CONTACTS, params=[list(accounts)]).to_arrow_table()
    return [str(lead) for lead in contacts["lead_id"].to_pylist()]


def _stored(lake: Lake, ids: Sequence[str], merged: pa.Table, more: Sequence[str]) -> Tables:
    lost = found(lake, touch_columns(more, keyed=True), ids)
    return _read(lake, [Leads(ids=tuple(ids))], merged, lost, more)


def _read(lake: Lake, several: Sequence[Leads], merged: pa.Table, lost: pa.Table, more: Sequence[str]) -> Tables:
    """Return what is stored of leads, from all merges and all touches that were anonymous.

    Where there are neither, rows come in order, and no key of theirs is read.
    """
    several = [leads for leads in several if leads.ids != ()] or list(several[:1])
    merged, lost = (pa.concat_tables(leads.rows_of(rows) for leads in several) for rows in (merged, lost))
    keyed = len(merged) + len(lost) > 0
    columns = {name: READ[name] + KEYS[name] * keyed for name in READ} | {"touches": touch_columns(more, keyed=keyed)}
    leads, touches, stages, feedback = (
        pa.concat_tables(lake.read(name, columns[name], leads) for leads in several) for name in READ
    )
    return Tables(leads, with_found(touches, lost), stages, merged, feedback)


def touch_columns(more: Sequence[str], *, keyed: bool) -> tuple[str, ...]:
    """Return the columns of touches to read, with the keys that settle what is at one moment or without."""
    stored = dict.fromkeys("properties" if column.startswith(PROPERTY) else column for column in more)
    return READ["touches"] + KEYS["touches"] * keyed + tuple(stored)
