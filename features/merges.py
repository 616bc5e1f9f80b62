"""Merges: which records are one lead, and since when.

A row of ``identities`` with a duplicate_id says that from ``observed_at`` on a record is another lead's. Nothing
is rewritten: a question as of a moment before the merge sees two leads, one after it sees one. The rules:

- Of the rows about one record the latest counts; of two at one moment, the one whose lead_id sorts last. A row that
  says what holds already changes nothing.
- A record that is named its own lead is a lead of its own again (an unmerge).
- Chains are followed: with a → b → c all three are c.
- In a circle the newest row names the survivor; of two at one moment, the one whose duplicate_id sorts last.
- What both records hold is one: of the events with the same content a lead has as many as the record with most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.coding import places_among

PAIR = ("duplicate_id", "lead_id")
Ints = NDArray[np.int64]
ALWAYS, NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max  # before every moment, and after
TENURES = pa.schema([
    ("record", pa.string()), ("lead_id", pa.string()),
    ("since", pa.int64()), ("until", pa.int64()), ("linked", pa.int64()),
])  # fmt: skip


def kin(lead_ids: Iterable[str], identities: pa.Table) -> list[str]:
    """Return some leads and every record that was ever merged with one of them, sorted."""
    wanted, merges = set(lead_ids), identities.filter(pc.is_valid(identities["duplicate_id"]))
    before: set[str] = set()
    while len(before) < len(wanted):
        before, ids = wanted, pa.array(sorted(wanted), pa.string())
        named = merges.filter(pc.or_(*(pc.is_in(merges[column], ids) for column in PAIR)))
        wanted = wanted.union(*(named[column].cast(pa.string()).to_pylist() for column in PAIR))
    return sorted(wanted)


def firsts(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the first, in order, of all that each is tied to, by pairs that belong together."""
    first: dict[str, str] = {}

    def first_of(one: str) -> str:
        while first.setdefault(one, one) != one:
            first[one] = one = first[first[one]]
        return one

    for pair in pairs:
        one, two = sorted(map(first_of, pair))
        first[two] = one
    return {one: first_of(one) for one in first}


def pairs_of(identities: pa.Table) -> list[tuple[str, str]]:
    """Return the records that were ever merged, two by two."""
    merges = identities.filter(pc.is_valid(identities["duplicate_id"]))
    return list(zip(*(merges[column].cast(pa.string()).to_pylist() for column in PAIR), strict=True))


def tenures(identities: pa.Table) -> pa.Table:
    """Return whose each record was: its ``lead_id`` for moments in (since, until], in microseconds.

    ``linked`` is when the latest of the rows that make it so was known. It is earlier than ``since`` for a record that
    returns to a lead because a merge was undone: what the record holds is known as if there had been no such merge.
    Only records that take part in a merge are named; every other is its own lead, always.
    """
    rows = identities.filter(pc.is_valid(identities["duplicate_id"]))
    rows = rows.sort_by([(column, "ascending") for column in ("observed_at", "duplicate_id", "lead_id")])
    moments = np.array(rows["observed_at"].cast(pa.int64()))
    into: dict[str, tuple[int, str]] = {}  # of each merged record: since when, and into which
    beneath: dict[str, set[str]] = defaultdict(set)  # the other way round
    told: dict[str, list[tuple[int, tuple[str, int]]]] = {}  # of each record: from when on, whose it is, and why
    told_of = zip(moments.tolist(), *(rows[c].to_pylist() for c in ("duplicate_id", "lead_id")), strict=True)
    for at, duplicate, lead in told_of:
        for record in (duplicate, lead):
            told.setdefault(record, [(ALWAYS, (record, ALWAYS))])
        if duplicate in into and into[duplicate][1] == lead:
            continue
        if duplicate in into:
            beneath[into.pop(duplicate)[1]].discard(duplicate)
        into[duplicate] = (at, lead)  # itself: a circle of one
        beneath[lead].add(duplicate)
        survivor = _survivor(into, duplicate)
        for record in _below(beneath, duplicate):
            told[record].append((at, (survivor, _linked(into, record, survivor))))
    return pa.Table.from_pylist(list(_stretches(told)), TENURES)


def editions(whose: pa.Table, lead_ids: pa.Array) -> pa.Table:
    """Return the editions of leads, by lead and time: ``lead_id``, ``edition`` from 0, ``since``, ``until``.

    A lead's events only ever grow within one edition, for questions as of moments in (since, until]. A lead that
    never lost a record it had been given, nor its own independence, has one edition for all time.
    """
    names = ["lead_id", "edition", "since", "until"]
    if not len(whose):
        same = (pa.array(np.full(len(lead_ids), value), pa.int64()) for value in (0, ALWAYS, NEVER))
        return pa.table([lead_ids, *same], names)
    plain = lead_ids.filter(pc.invert(pc.is_in(lead_ids, whose["lead_id"].combine_chunks())))
    ends: dict[str, set[int]] = defaultdict(set)
    own = []
    for row in whose.filter(pc.is_in(whose["lead_id"], lead_ids)).to_pylist():
        ends[row["lead_id"]].add(row["until"])
        own += [row] if row["record"] == row["lead_id"] else []
    parts: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for row in own:
        cuts = sorted(end for end in ends[row["lead_id"]] if row["since"] < end <= row["until"])
        parts[row["lead_id"]] += pairwise([row["since"], *cuts])
    split = [(lead, place, *part) for lead, several in parts.items() for place, part in enumerate(several)]
    columns = zip(*split, strict=True) if split else ([], [], [], [])
    count = len(plain)
    always, never = (pa.array(np.full(count, end), pa.int64()) for end in (ALWAYS, NEVER))
    return pa.concat_tables([
        pa.table([plain, pa.array(np.zeros(count, np.int64)), always, never], names),
        pa.table([pa.array(c, type_) for c, type_ in zip(columns, _EDITION, strict=True)], names),
    ]).sort_by([("lead_id", "ascending"), ("edition", "ascending")])  # fmt: skip


def at(stretches: pa.Table, moment: int) -> pa.Table:
    """Return the tenures or editions that hold at a moment (microseconds)."""
    return stretches.filter(pc.and_(pc.less(stretches["since"], moment), pc.greater_equal(stretches["until"], moment)))


def belonging(rows: pa.Table, whose: pa.Table, parts: pa.Table, content: Sequence[str] = ()) -> pa.Table:
    """Return rows under every edition of every lead that they belong to, with the ``edition``.

    Args:
        rows: with lead_id, ``known`` (microseconds) and, if there is ``content``, event_id or row_hash.
        whose: tenures; a row given to another lead is known from the merge on.
        parts: editions.
        content: columns in which two rows of two records are the same event, which then counts once.

    """
    if not len(whose):
        return rows.append_column("edition", pa.array(np.zeros(len(rows), np.int64)))
    merged = pa.array(places_among(rows["lead_id"], whose["record"].combine_chunks()) >= 0)
    stays = rows.filter(pc.invert(merged))
    stays = stays.append_column("edition", pa.array(np.zeros(len(stays), np.int64)))
    moved = _plain(rows.filter(merged)).rename_columns({"lead_id": "record"}).join(whose, "record", join_type="inner")
    known = pc.max_element_wise(moved["known"], moved["linked"])
    moved = moved.set_column(moved.column_names.index("known"), "known", known)
    moved = moved.join(parts, "lead_id", join_type="inner", right_suffix=" of edition")
    end = moved["until of edition"]
    within = pc.and_(pc.less(moved["since"], end), pc.greater_equal(moved["until"], end))
    moved = moved.filter(pc.and_(within, pc.less(moved["known"], end)))
    return pa.concat_tables([stays, _united(moved, content).select(stays.column_names).cast(stays.schema)])


_EDITION = (pa.string(), pa.int64(), pa.int64(), pa.int64())


def _survivor(into: Mapping[str, tuple[int, str]], record: str) -> str:
    """Follow a record's merges to the lead that survives."""
    path: dict[str, tuple[int, str]] = {}
    while record in into and record not in path:
        path[record] = into[record][0], record
        record = into[record][1]
    if record not in path:
        return record
    circle = list(path)[list(path).index(record) :]
    return into[max(path[member] for member in circle)[1]][1]


def _linked(into: Mapping[str, tuple[int, str]], record: str, survivor: str) -> int:
    """Return when the latest of the merges that lead from a record to its survivor was known."""
    latest = ALWAYS
    while record != survivor:
        latest, record = max(latest, into[record][0]), into[record][1]
    return latest


def _below(beneath: Mapping[str, set[str]], record: str) -> Iterable[str]:
    """Return a record and all that were merged into it, directly or not."""
    found, waiting = {record}, [record]
    while waiting:
        new = beneath.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def _stretches(told: Mapping[str, list[tuple[int, tuple[str, int]]]]) -> Iterable[dict[str, object]]:
    """Yield the tenures in what was told of each record, in order; what was overruled at once is left out."""
    for record, tellings in told.items():
        lasting = [*dict(tellings).items(), (NEVER, ("", NEVER))]
        changes = [lasting[0], *(b for a, b in pairwise(lasting) if a[1] != b[1])]
        for (since, (lead, linked)), (until, _) in pairwise(changes):
            yield {"record": record, "lead_id": lead, "since": since, "until": until, "linked": linked}


def _plain(rows: pa.Table) -> pa.Table:
    """Return rows with texts in the place of coded names."""
    plain = (field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in rows.schema)
    return rows.cast(pa.schema(plain))


def _united(moved: pa.Table, content: Sequence[str]) -> pa.Table:
    """Return rows without those that another record of the same lead holds too: the one known first stays."""
    if not content:
        return moved
    key = "event_id" if "event_id" in moved.column_names else "row_hash"
    same = ["lead_id", "edition", *content]
    seen = moved.select([*same, "record", "known", key]).to_pandas().sort_values(["known", "record", key])
    seen["nth"] = seen.groupby([*same, "record"], sort=False, dropna=False).cumcount()
    return moved.take(pa.array(np.sort(seen.drop_duplicates([*same, "nth"]).index.to_numpy())))
