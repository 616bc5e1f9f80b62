"""The work list: every open lead with its latest score and what sales sorts and filters by, as a table in memory.

It is made of the resident history and the lake's tables in a second or two for 200,000 leads, and leads of whom more
is known since are put in their place one by one. A page of it is one query of a few milliseconds.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import duckdb
import numpy as np
import pyarrow as pa

from features.contract import literal
from features.history import Events, History, Ints, moment_of
from features.lake import Lake
from features.objections import objecting
from features.outcomes import open_moments, outcomes_of
from features.settings import Goal
from features.verbs import Moments
from features.versions import MERGED, WHOLE_SINCE

Order = Literal[
    "probability", "low", "high", "grade", "trend", "lead_id", "owner", "stage", "amount", "created_at",
    "last_touch_at", "touches",
]  # fmt: skip
ORDERS: tuple[str, ...] = get_args(Order)
Judged = Literal["no", "accepted", "rejected"]  # by sales
MOST_ROWS = 1000  # of one page
TIMES = pa.timestamp("us", tz="UTC")
# What the lake tells of leads beside their history; a version that says only what changed adds to those before it.
TOLD = f"""
    WITH whole AS (
        SELECT lead_id, {WHOLE_SINCE} AS since
        FROM leads WHERE observed_at < $as_of $of_some GROUP BY lead_id),
    known AS (
        SELECT lead_id, arg_max(owner, observed_at) AS owner, arg_max(account_id, observed_at) AS account_id,
               {MERGED} AS attributes
        FROM leads SEMI JOIN open USING (lead_id) JOIN whole USING (lead_id)
        WHERE observed_at < $as_of AND observed_at >= coalesce(since, observed_at) $of_some GROUP BY lead_id),
    deals AS (
        SELECT lead_id, arg_max(amount, occurred_at) AS amount, arg_max(currency, occurred_at) AS currency
        FROM stages WHERE amount IS NOT NULL AND greatest(occurred_at, received_at) < $as_of $of_some
        GROUP BY lead_id),
    said AS (
        SELECT lead_id,
               arg_max(struct_pack(probability, low, high, grade, trend, as_of, model_version), as_of) AS score,
               arg_max(coalesce(withheld, false), as_of) AS kept_back
        FROM scores WHERE goal IS NULL AND as_of <= $as_of $of_some GROUP BY lead_id)
    SELECT open.*, coalesce(kept_back, false) AS withheld, owner, account_id, attributes, amount, currency,
           CASE WHEN objects OR kept_back THEN NULL ELSE score.probability END AS probability,
           CASE WHEN objects OR kept_back THEN NULL ELSE score.low END AS low,
           CASE WHEN objects OR kept_back THEN NULL ELSE score.high END AS high,
           CASE WHEN objects OR kept_back THEN NULL ELSE score.grade END AS grade,
           CASE WHEN objects OR kept_back THEN NULL ELSE score.trend END AS trend,
           CASE WHEN objects OR kept_back THEN NULL ELSE score.as_of END AS scored_as_of,
           CASE WHEN objects OR kept_back THEN NULL ELSE score.model_version END AS model_version,
           lower(concat_ws(' ', lead_id, owner, account_id, attributes)) AS searched
    FROM open LEFT JOIN known USING (lead_id) LEFT JOIN deals USING (lead_id) LEFT JOIN said USING (lead_id)
"""
SHOWN = """lead_id, account_id, owner, attributes, stage, CAST(amount AS DOUBLE) AS amount, currency, created_at,
    last_touch_at, last_touch_kind, last_touch_channel, touches, probability, low, high, grade, trend, scored_as_of,
    model_version, objects, withheld, verdict"""

# A lead whose score is withheld stands where any lead might: at the end of the list nobody would ever call it, and
# what is measured would be the place, not the score.
PLACED = f"""CASE WHEN withheld
    THEN (SELECT quantile_disc(probability, {[i / 100 for i in range(101)]}) FROM worklist)[
        1 + CAST(hash(lead_id) % 101 AS BIGINT)]
    ELSE probability END"""


@dataclass(frozen=True)
class Asked:
    """Which open leads to show: those that match everything given, in an order, from ``offset`` on."""

    owner: str | None = None
    grade: str | None = None
    stage: str | None = None
    channel: str | None = None  # of the last touch
    trend: str | None = None
    judged: Judged | None = None
    search: str = ""  # words that stand in the lead's id, owner, account or attributes, all of them
    least: float | None = None  # probability
    order: Order = "probability"
    ascending: bool = False
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True)
class Page:
    """The rows asked for, as dictionaries in the columns of ``SHOWN``, and how many leads match in all."""

    rows: list[dict[str, Any]]
    total: int


class Worklist:
    """The table, and one lock for those who write to it; readers each have a cursor of their own."""

    def __init__(self, lake: Lake, goal: Goal, *, explores: bool = False) -> None:
        self.lake, self.goal, self.explores = lake, goal, explores
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._writing = threading.Lock()

    @property
    def ready(self) -> bool:
        """Say whether the list was made."""
        return self._connection is not None

    def make(self, history: History, as_of: int) -> None:
        """Make the list of the whole lake, whose history is known, as of a moment (microseconds)."""
        rows = self._rows(history, np.arange(len(history.lead_ids)), as_of)
        made = duckdb.connect(config={"memory_limit": "1GB", "autoinstall_known_extensions": False, "threads": 1})
        made.execute("SET TimeZone = 'UTC'; SET enable_external_access = false")
        made.register("rows", rows)
        made.execute("CREATE TABLE worklist AS FROM rows")
        made.unregister("rows")
        with self._writing:
            before, self._connection = self._connection, made
        del before  # its readers have cursors of their own

    def renew(self, history: History, leads: Ints, as_of: int) -> None:
        """Put some leads of a history in their place, as of a moment; those that are open no more leave the list."""
        with self._writing:
            if self._connection is None or not len(leads):
                return
            rows = self._rows(history, leads, as_of, some=True)
            known = pa.table({"lead_id": pa.array([history.lead_ids[lead] for lead in leads.tolist()], pa.string())})
            cursor = self._connection.cursor()
            cursor.register("rows", rows)
            cursor.register("known", known)
            cursor.execute("""
                BEGIN; DELETE FROM worklist WHERE lead_id IN (SELECT lead_id FROM known);
                INSERT INTO worklist FROM rows; COMMIT""")

    def page(self, asked: Asked) -> Page:
        """Return the leads asked for; none before the list was made."""
        if self._connection is None:
            return Page([], 0)
        where, values = _conditions(asked)
        direction = "ASC" if asked.ascending else "DESC"
        by = PLACED if self.explores and asked.order == "probability" else asked.order
        order = f"{by} {direction} NULLS LAST, lead_id"
        cursor = self._connection.cursor()
        rows = cursor.sql(
            f"SELECT {SHOWN} FROM worklist WHERE {where} ORDER BY {order} LIMIT {asked.limit} OFFSET {asked.offset}",
            params=values,
        ).to_arrow_table()
        ((total,),) = cursor.execute(f"SELECT count(*) FROM worklist WHERE {where}", values).fetchall()
        read = [row | {"attributes": json.loads(row["attributes"] or "{}")} for row in rows.to_pylist()]
        return Page(read, int(total))

    def choices(self) -> dict[str, list[str]]:
        """Return the owners, stages, last channels, grades and trends that can be asked for."""
        if self._connection is None:
            return {}
        cursor, columns = self._connection.cursor(), ("owner", "stage", "last_touch_channel", "grade", "trend")
        return {
            name: [
                str(value)
                for (value,) in cursor.execute(
                    f"SELECT DISTINCT {name} FROM worklist WHERE {name} IS NOT NULL ORDER BY 1"
                ).fetchall()
            ]
            for name in columns
        }

    def query(self, sql: str, values: Sequence[object] = ()) -> pa.Table:
        """Return the answer of a query over the table ``worklist``, as for a chart of the open leads."""
        if self._connection is None:
            raise LookupError("The work list is not made yet.")
        return self._connection.cursor().sql(sql, params=list(values)).to_arrow_table()

    def _rows(self, history: History, leads: Ints, as_of: int, *, some: bool = False) -> pa.Table:
        asked = Moments(history, leads, np.full(len(leads), as_of))
        is_open = open_moments(history, outcomes_of(history, self.goal), asked).lead
        objects = objecting(history, as_of)[is_open]
        found = _of_history(history, is_open, as_of).append_column("objects", pa.array(objects))
        names = ", ".join(literal(lead) for lead in found["lead_id"].to_pylist()) if some else ""
        told = TOLD.replace("$of_some", f"AND lead_id IN ({names or 'NULL'})" if some else "")
        with self.lake.connection(("leads", "stages", "scores")) as connection:
            connection.register("open", found)
            return connection.sql(told, params={"as_of": moment_of(as_of)}).to_arrow_table()


def _of_history(history: History, leads: Ints, as_of: int) -> pa.Table:
    """Return what the history tells of some leads: when created and last touched, their stage, what sales said last."""
    touched, last = _latest(history.touches, leads, as_of)
    _, moved = _latest(history.stages, leads, as_of)
    _, judged = _latest(history.feedback, leads, as_of)
    occurred = np.append(history.touches.occurred, 0)[last]
    return pa.table({
        "lead_id": pa.array([history.lead_ids[lead] for lead in leads.tolist()], pa.string()),
        "created_at": pa.array(history.created[leads]).cast(TIMES),
        "touches": pa.array(touched),
        "last_touch_at": pa.array(occurred, mask=last < 0).cast(TIMES),
        "last_touch_kind": _names(history.touches, "kind", last),
        "last_touch_channel": _names(history.touches, "channel", last),
        "stage": _names(history.stages, "stage", moved),
        "verdict": _names(history.feedback, "verdict", judged),
    })  # fmt: skip


def _latest(events: Events, leads: Ints, as_of: int) -> tuple[Ints, Ints]:
    """Return how many events of each lead were known before a moment, and the row of the latest; −1 without one."""
    known = events.known < as_of
    counts = np.concatenate([[0], np.cumsum(known)])
    number = counts[events.start[leads + 1]] - counts[events.start[leads]]
    latest = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1)) if len(known) else known.astype(int)
    last = np.full(len(leads), -1)
    last[number > 0] = latest[events.start[leads + 1][number > 0] - 1]
    return number, last


def _names(events: Events, column: str, rows: Ints) -> pa.Array:
    codes = np.append(events.codes[column], -1)[rows]
    return pa.array(events.names[column], pa.string()).take(pa.array(codes, mask=codes < 0))


def _conditions(asked: Asked) -> tuple[str, list[object]]:
    """Return the condition of a page in SQL, and its values."""
    equal = {
        "owner": asked.owner, "grade": asked.grade, "stage": asked.stage, "last_touch_channel": asked.channel,
        "trend": asked.trend, "coalesce(verdict, 'no')": asked.judged,
    }  # fmt: skip
    parts: list[tuple[str, object]] = [(f"{name} = ?", value) for name, value in equal.items() if value is not None]
    parts += [("contains(searched, ?)", word) for word in asked.search.lower().split()]
    if asked.least is not None:
        parts.append(("probability >= ?", asked.least))
    return " AND ".join([condition for condition, _ in parts] or ["true"]), [value for _, value in parts]
