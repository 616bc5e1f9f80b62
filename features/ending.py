"""Whether the data ended: nothing came for longer than ever before."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from features.lake import Lake

SILENT_DAYS = 7
DAYS_TO_KNOW = 10  # with rows, before a silence says something
DAYS = """
    SELECT DISTINCT CAST($1 AS DATE) - CAST(seen AS DATE) AS days_ago FROM (
        SELECT occurred_at AS seen FROM touches UNION ALL SELECT occurred_at FROM stages UNION ALL
        SELECT created_at FROM leads
    )
"""


def is_silent(days_ago: Collection[int]) -> bool:
    """Return whether there were rows on many days, and then none for a week, and for longer than ever between them."""
    past = sorted(day for day in days_ago if day >= 0)
    if len(past) < DAYS_TO_KNOW or past[0] <= SILENT_DAYS:
        return False
    return max(later - earlier for earlier, later in pairwise(past)) < past[0]


def ended_in(lake: Lake, as_of: datetime) -> str:
    """Return what is to be said of a lake that got no lead, touch or stage of late; nothing if it did."""
    return ended(lake.query(DAYS, [as_of])["days_ago"].to_pylist(), as_of)


def ended(days_ago: Collection[int], as_of: datetime) -> str:
    """Return what is to be said of data with rows on these days; nothing unless they ended before a moment."""
    if not is_silent(days_ago):
        return ""
    age = min(day for day in days_ago if day >= 0)
    newest = as_of.astimezone(UTC).date() - timedelta(days=age)
    return (
        f"Nothing came for {age:,} days: the newest row is of {newest}. See whether the sources still send, and ingest "
        f"what is missing. If the data ends there, give train, backtest, score and monitor "
        f"--as-of {newest + timedelta(days=1)}: all days after it count as time in which nobody was won."
    )
