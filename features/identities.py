"""Identities: whose an anonymous touch is, as of any moment.

A claim says that an anonymous id is a lead's, from a moment on. A row of ``identities`` is one (an e-mail hash is
an anonymous id like any other: the touches of that person bear it as their anonymous_id), and so is a touch that
bears both a lead_id and an anonymous_id, from when it is known. The rules:

- A touch that bears a lead_id is that lead's.
- An anonymous touch is the lead's whose claim is the latest at or before the touch occurred; if there is none yet,
  the lead's that claims the id first. Of two claims at one moment, the one whose lead_id sorts last is the later.
- It is known to be the lead's from the later of its own moment and the claim's: nothing is known in hindsight.

So a device that two leads share gives each the touches after its own identification, and what came before both
goes to the first. No touch has two leads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.contract import ARROW, quoted, schema
from features.lake import Lake
from features.merges import at, belonging, editions, kin, tenures
from features.ordered import Leads

Ints = NDArray[np.int64]
NONE = schema("identities").empty_table()
READ = ("lead_id", "event_id", "occurred_at", "received_at", "kind", "channel", "machine")
MOMENTS = ("occurred_at", "received_at")
TOUCH = ("occurred_at", "kind", "channel")  # two records that both hold such a touch hold one
CLAIM = ("lead_id", "observed_at", "anonymous_id", "email_hash", "duplicate_id")
# The anonymous ids that some lead claims, among those of anonymous touches.
CLAIMED = """
    CREATE TEMP TABLE lost AS SELECT DISTINCT anonymous_id FROM touches WHERE lead_id IS NULL;
    CREATE TEMP TABLE claimed AS
        SELECT anonymous_id FROM lost WHERE anonymous_id IN (
            SELECT coalesce(anonymous_id, email_hash) FROM identities WHERE duplicate_id IS NULL)
        UNION
        SELECT anonymous_id FROM touches WHERE lead_id IS NOT NULL AND anonymous_id IN (FROM lost)
"""
CLAIMED_BY_SOME = "CREATE TEMP TABLE claimed AS SELECT unnest($1::VARCHAR[]) AS anonymous_id"
CLAIMANTS = """
    SELECT * FROM identities
    WHERE duplicate_id IS NULL AND coalesce(anonymous_id, email_hash) IN (FROM claimed)
"""


def merges(lake: Lake) -> pa.Table:
    """Return what identities say of duplicates, which are few."""
    return lake.read_where("identities", CLAIM, "duplicate_id", empty=False)


def read_touches(lake: Lake, columns: Sequence[str], lead_ids: Sequence[str] | None = None) -> pa.Table:
    """Return the touches of some leads, or of all, in order; after them those that were anonymous."""
    touches = lake.read("touches", columns, Leads() if lead_ids is None else Leads(ids=tuple(sorted(lead_ids))))
    return with_found(touches, found(lake, columns, lead_ids))


def with_found(rows: pa.Table, more: pa.Table) -> pa.Table:
    """Return rows as the lake reads them, and more rows after them."""
    return pa.concat_tables([rows, more.select(rows.column_names).cast(rows.schema)]) if len(more) else rows


def found(lake: Lake, columns: Sequence[str], lead_ids: Sequence[str] | None = None) -> pa.Table:
    """Return the anonymous touches that are some leads', or anyone's, each as one of its lead's.

    It is as if it had been received when it was known whose it is. No other row is held: only the ids that somebody
    claims are looked for, and nothing is where no touch is anonymous.
    """
    none = schema("touches").empty_table().select(columns)
    if not any(part.of_nobody for part in lake.parts("touches")):
        return none
    ids = None if lead_ids is None else _claimed_by(lake, lead_ids)
    if ids == []:
        return none
    touches, claims = lake.patiently(lambda: _concerned(lake, columns, ids))
    theirs = _found(known(touches, *MOMENTS), claims)
    if lead_ids is not None:
        theirs = theirs.filter(pc.is_in(theirs["lead_id"], pa.array(lead_ids, pa.string())))
    return _replaced(theirs, "received_at", theirs["known"].cast(ARROW["time"])).select(columns)


def known(rows: pa.Table, occurred: str, received: str) -> pa.Table:
    """Return rows with ``known``: the later of when they occurred and were received, in microseconds."""
    return rows.append_column("known", pa.array(np.maximum(moments(rows, occurred), moments(rows, received))))


def moments(rows: pa.Table, column: str) -> Ints:
    """Return a column of times as microseconds since 1970."""
    return np.asarray(rows[column].cast(ARROW["time"]).cast(pa.int64()), dtype=np.int64)


def identified(touches: pa.Table, identities: pa.Table) -> pa.Table:
    """Return the touches that are some lead's, with it and ``known``; ``anonymous_id`` is dropped.

    Touches that nobody claims are left out, whenever that is asked: of these nothing is known.
    """
    touches = known(touches, *MOMENTS)
    columns = [name for name in touches.column_names if name != "anonymous_id"]
    if not touches["lead_id"].null_count:  # as in a request, which must be quick
        return touches.select(columns)
    owned = touches.filter(pc.is_valid(touches["lead_id"]))
    return pa.concat_tables([owned.select(columns), _found(touches, identities).select(columns)])


def touches_of_leads(lake: Lake, as_of: int, lead_ids: Sequence[str] | None = None) -> tuple[pa.Table, pa.Table]:
    """Return the touches that leads are known to have as of a moment (microseconds), and merged records' ``lead_id``.

    The touches have lead_id, event_id, occurred_at, kind, channel and machine. Of some leads, they are those of all
    records that were ever merged with one of them.
    """
    merged = merges(lake)
    touches = read_touches(lake, READ, None if lead_ids is None else kin(lead_ids, merged))
    touches = known(touches.cast(schema("touches").empty_table().select(READ).schema), *MOMENTS)
    whose = survivors(merged, as_of)
    parts = at(editions(whose, pc.unique(whose["lead_id"])), as_of)
    touches = belonging(touches.filter(pc.less(touches["known"], as_of)), whose, parts, TOUCH)
    touches = touches.filter(pc.less(touches["known"], as_of))
    return touches.select(["lead_id", "event_id", *TOUCH, "machine"]), whose.select(["record", "lead_id"])


def survivors(merged: pa.Table, as_of: int) -> pa.Table:
    """Return whose each merged ``record`` is known to be as of a moment (microseconds), as ``lead_id``."""
    return at(tenures(merged), as_of)


def numbers(lake: Lake, as_of: int) -> dict[str, int]:
    """Return how many touches, known before a moment (microseconds), are whose, for a check-up.

    anonymous: of no lead yet; orphans: of leads that are not in the lake; lost_merges: how many duplicates there are
    of leads that are not in the lake.
    """
    lost = known(lake.read_where("touches", MOMENTS, "lead_id", empty=True), *MOMENTS)
    named = known(found(lake, READ), *MOMENTS)
    before, identified_before = (pc.sum(pc.less(rows["known"], as_of)).as_py() or 0 for rows in (lost, named))
    with lake.connection(("touches", "leads")) as connection:
        leads, touched = (
            connection.sql(f"SELECT DISTINCT lead_id FROM {name}").to_arrow_table()["lead_id"]
            for name in ("leads", "touches")
        )
    whose = survivors(merges(lake), as_of)
    merged = whose.filter(pc.not_equal(whose["record"], whose["lead_id"]))
    strays = _absent(merged, leads)["record"].to_pylist()
    strangers = _absent(pa.table({"lead_id": pa.chunked_array([*touched.chunks, *named["lead_id"].chunks])}), leads)
    touches, _ = touches_of_leads(lake, as_of, [*strays, *strangers["lead_id"].drop_null().to_pylist()])
    orphans = len(_absent(touches, leads))
    return {"anonymous": before - identified_before, "orphans": orphans, "lost_merges": len(strays)}


def _absent(rows: pa.Table, leads: pa.ChunkedArray) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows["lead_id"], leads.combine_chunks())))


def _found(touches: pa.Table, identities: pa.Table) -> pa.Table:
    """Return the anonymous ones among touches that are some lead's, with it and since when that is ``known``."""
    owned = touches.filter(pc.is_valid(touches["lead_id"]))
    lost = touches.filter(pc.is_null(touches["lead_id"]))
    claims = _claims(owned, identities)
    ids = pc.unique(claims["anonymous_id"])
    lost = lost.filter(pc.is_in(lost["anonymous_id"], ids))
    claim = _claim(_places(lost["anonymous_id"], ids), moments(lost, "occurred_at"),
                   _places(claims["anonymous_id"], ids), np.array(claims["at"]))  # fmt: skip
    since = np.array(claims["at"])[claim]
    lost = _replaced(lost, "lead_id", claims["lead_id"].take(pa.array(claim)))
    return _replaced(lost, "known", pa.array(np.maximum(np.array(lost["known"]), since)))


def _concerned(lake: Lake, columns: Sequence[str], ids: list[str] | None) -> tuple[pa.Table, pa.Table]:
    """Return the touches that bear some anonymous ids, or any that a lead claims, and what identities say of these."""
    listed = ", ".join(map(quoted, columns))
    concerned = f"SELECT {listed}, anonymous_id FROM touches WHERE anonymous_id IN (FROM claimed)"
    with lake.connection(("touches", "identities")) as connection:
        connection.execute(CLAIMED if ids is None else CLAIMED_BY_SOME, [] if ids is None else [ids])
        return connection.sql(concerned).to_arrow_table(), connection.sql(CLAIMANTS).to_arrow_table()


def _claimed_by(lake: Lake, lead_ids: Sequence[str]) -> list[str]:
    """Return the anonymous ids that some leads ever claimed."""
    leads = Leads(ids=tuple(sorted(lead_ids)))
    told = lake.read("identities", CLAIM, leads)
    proving = lake.read("touches", ("lead_id", "occurred_at", "anonymous_id"), leads)
    claimed = [told["anonymous_id"], told["email_hash"], proving["anonymous_id"]]
    return [str(id_) for ids in claimed for id_ in pc.unique(ids.drop_null()).to_pylist()]


def _claims(owned: pa.Table, identities: pa.Table) -> pa.Table:
    """Return the claims in time order: ``anonymous_id``, ``lead_id``, ``at`` in microseconds."""
    proving = owned.filter(pc.is_valid(owned["anonymous_id"]))
    told = identities.filter(pc.is_null(identities["duplicate_id"]))
    ids = pc.coalesce(told["anonymous_id"], told["email_hash"])
    names = ["anonymous_id", "lead_id", "at"]
    claims = pa.concat_tables([
        pa.table([ids, told["lead_id"], pa.array(moments(told, "observed_at"))], names),
        pa.table([proving["anonymous_id"], proving["lead_id"], proving["known"]], names),
    ])  # fmt: skip
    return claims.sort_by([(name, "ascending") for name in ("at", "lead_id", "anonymous_id")])


def _claim(lost_id: Ints, occurred: Ints, claimed_id: Ints, at: Ints) -> Ints:
    """Return the row of the claim that decides each lost touch: the latest up to then, else the id's first."""
    order = np.argsort(claimed_id, kind="stable")  # by id, then time
    ids = np.concatenate([claimed_id[order], lost_id])
    is_lost = np.repeat([False, True], [len(order), len(lost_id)])
    walk = np.lexsort((is_lost, np.concatenate([at[order], occurred]), ids))  # at one moment the claim comes first
    latest = np.maximum.accumulate(np.where(is_lost[walk], -1, walk))  # perhaps of an earlier id, hence the maximum:
    decides = np.empty(len(ids), np.int64)
    decides[walk] = np.maximum(latest, np.searchsorted(claimed_id[order], ids[walk]))
    return order[decides[len(order) :]]


def _places(ids: pa.ChunkedArray, among: pa.Array) -> Ints:
    return np.asarray(pc.index_in(ids, among), dtype=np.int64)


def _replaced(rows: pa.Table, column: str, values: pa.Array) -> pa.Table:
    return rows.set_column(rows.column_names.index(column), column, values)
