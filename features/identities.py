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

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.contract import ARROW, schema
from features.lake import Lake
from features.merges import at, belonging, editions, tenures

Ints = NDArray[np.int64]
NONE = schema("identities").empty_table()
READ = "lead_id, event_id, occurred_at, received_at, kind, channel"
TOUCH = ("occurred_at", "kind", "channel")  # two records that both hold such a touch hold one
# Which leads a question concerns: those asked for, and every record ever merged with one of them.
KIN = """
    WITH RECURSIVE kin(lead_id) AS (
        SELECT unnest($1::VARCHAR[])
        UNION
        SELECT unnest([duplicate_id, i.lead_id]) FROM kin JOIN identities AS i
        ON duplicate_id IS NOT NULL AND kin.lead_id IN (duplicate_id, i.lead_id))
    SELECT lead_id FROM kin
"""
# The anonymous ids that some lead claims, among those of anonymous touches.
CLAIMED = """
    WITH lost AS MATERIALIZED (SELECT DISTINCT anonymous_id FROM touches WHERE lead_id IS NULL),
         claimed AS MATERIALIZED (
            SELECT anonymous_id FROM lost WHERE anonymous_id IN (
                SELECT coalesce(anonymous_id, email_hash) FROM identities WHERE duplicate_id IS NULL AND {concerned})
            UNION
            SELECT anonymous_id FROM touches WHERE lead_id IS NOT NULL AND anonymous_id IN (FROM lost) AND {concerned})
"""
LOST = "SELECT lead_id IS NULL AS lost FROM touches WHERE greatest(occurred_at, received_at) < make_timestamptz($1)"
EVERYONE, SOME = "true", "lead_id IN (SELECT unnest($1::VARCHAR[]))"


def kin(connection: duckdb.DuckDBPyConnection, lead_ids: Sequence[str]) -> list[str]:
    """Return some leads and every record that was ever merged with one of them."""
    return [str(lead) for lead in connection.sql(KIN, params=[list(lead_ids)]).to_arrow_table()["lead_id"].to_pylist()]


def read_touches(
    connection: duckdb.DuckDBPyConnection, columns: str, lead_ids: Sequence[str] | None = None
) -> tuple[pa.Table, pa.Table]:
    """Return the touches that may be some leads' (or anyone's), and the identities that decide it.

    A touch comes with its anonymous_id only where that decides something.
    """
    concerned, wanted = (EVERYONE, []) if lead_ids is None else (SOME, [list(lead_ids)])
    claimed = CLAIMED.format(concerned=concerned)
    touches = f"""{claimed}
        SELECT {columns}, CASE WHEN anonymous_id IN (FROM claimed) THEN anonymous_id END AS anonymous_id
        FROM touches WHERE lead_id IS NOT NULL AND {concerned} OR anonymous_id IN (FROM claimed)"""
    identities = f"""{claimed}
        SELECT * FROM identities
        WHERE duplicate_id IS NOT NULL AND {concerned} OR coalesce(anonymous_id, email_hash) IN (FROM claimed)"""
    return (
        connection.sql(touches, params=wanted).to_arrow_table(),
        connection.sql(identities, params=wanted).to_arrow_table(),
    )


def known(rows: pa.Table, occurred: str, received: str) -> pa.Table:
    """Return rows with ``known``: the later of when they occurred and were received, in microseconds."""
    return rows.append_column("known", pa.array(np.maximum(moments(rows, occurred), moments(rows, received))))


def moments(rows: pa.Table, column: str) -> Ints:
    """Return a column of times as microseconds since 1970."""
    return np.array(rows[column].cast(ARROW["time"]).cast(pa.int64()), dtype=np.int64)


def identified(touches: pa.Table, identities: pa.Table) -> pa.Table:
    """Return the touches that are some lead's, with it and ``known``; ``anonymous_id`` is dropped.

    Touches that nobody claims are left out, whenever that is asked: of these nothing is known.
    """
    touches = known(touches, "occurred_at", "received_at")
    columns = [name for name in touches.column_names if name != "anonymous_id"]
    if not touches["lead_id"].null_count:  # as in a request, which must be quick
        return touches.select(columns)
    owned = touches.filter(pc.is_valid(touches["lead_id"]))
    lost = touches.filter(pc.is_null(touches["lead_id"]))
    claims = _claims(owned, identities)
    ids = pc.unique(claims["anonymous_id"])
    lost = lost.filter(pc.is_in(lost["anonymous_id"], ids))
    claim = _claim(_places(lost["anonymous_id"], ids), moments(lost, "occurred_at"),
                   _places(claims["anonymous_id"], ids), np.array(claims["at"]))  # fmt: skip
    since = np.array(claims["at"])[claim]
    lost = _replaced(lost, "lead_id", claims["lead_id"].take(pa.array(claim)))
    lost = _replaced(lost, "known", pa.array(np.maximum(np.array(lost["known"]), since)))
    return pa.concat_tables([owned.select(columns), lost.select(columns)])


def touches_of_leads(lake: Lake, as_of: int) -> tuple[pa.Table, pa.Table]:
    """Return the touches that leads are known to have as of a moment (microseconds), and merged records' ``lead_id``.

    The touches have lead_id, event_id, occurred_at, kind and channel.
    """
    with lake.connection(("touches", "identities")) as connection:
        touches, identities = read_touches(connection, READ)
    whose, touches = tenures(identities), identified(touches, identities)
    whose = at(whose, as_of)
    parts = at(editions(whose, pc.unique(whose["lead_id"])), as_of)
    touches = belonging(touches.filter(pc.less(touches["known"], as_of)), whose, parts, TOUCH)
    touches = touches.filter(pc.less(touches["known"], as_of))
    return touches.select(["lead_id", "event_id", *TOUCH]), whose.select(["record", "lead_id"])


def numbers(lake: Lake, as_of: int) -> dict[str, int]:
    """Return how many touches, known before a moment (microseconds), are whose, for a check-up.

    anonymous: of no lead yet; identified: anonymous ones that became a lead's; orphans: of leads that are not in
    the lake; lost_merges: duplicates of leads that are not in the lake.
    """
    with lake.connection(("touches", "identities", "leads")) as connection:
        mine = identified(*read_touches(connection, READ))
        lost = connection.sql(LOST, params=[as_of]).to_arrow_table()["lost"]
        leads = connection.sql("SELECT DISTINCT lead_id FROM leads").to_arrow_table()["lead_id"]
    count = pc.sum(pc.less(mine["known"], as_of)).as_py() or 0
    named = len(lost) - (pc.sum(lost).as_py() or 0)
    touches, merged = touches_of_leads(lake, as_of)
    orphans = pc.sum(pc.invert(pc.is_in(touches["lead_id"], leads))).as_py() or 0
    lost_merges = pc.sum(pc.invert(pc.is_in(merged["lead_id"], leads))).as_py() or 0
    return {
        "anonymous": len(lost) - count, "identified": count - named, "orphans": orphans, "lost_merges": lost_merges,
    }  # fmt: skip


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
