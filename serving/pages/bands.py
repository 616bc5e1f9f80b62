"""Bands: what an MQL and an SQL are, as score bands that bring just as many leads as people can take."""

from __future__ import annotations

from typing import Any

from features.settings import Settings
from serving.pages.book import Edition

WEEKS = 12  # of which the new leads are counted
NEW = f"""
    SELECT first_probability AS probability FROM book
    WHERE created_at >= $as_of - INTERVAL {7 * WEEKS} DAY AND first_probability IS NOT NULL
    ORDER BY probability DESC
"""
IN_BAND = f"""
    SELECT count(*) FILTER (began AND created_at >= $as_of - INTERVAL {7 * WEEKS} DAY) / {WEEKS} AS a_week,
           count(*) FILTER (won_at IS NULL AND lost_at IS NULL AND probability >= $low AND probability < $high) AS now,
           avg(first_probability) FILTER (began AND mature) AS promised,
           avg(CAST(coalesce(won_at <= first_scored_at + $horizon * INTERVAL 1 DAY, false) AS INTEGER))
               FILTER (began AND mature) AS realised
    FROM (SELECT *, first_probability >= $low AND first_probability < $high AS began,
                 first_scored_at + $horizon * INTERVAL 1 DAY <= $as_of AS mature FROM book)
"""
CERTAIN = 1.01  # above every probability


def bands(edition: Edition, settings: Settings) -> list[dict[str, Any]]:
    """Return the bands, the hottest first: from which probability on, how many a week, promised and realised.

    A band begins where as many of the last weeks' new leads lie above as can be taken in that time; leads that are
    alike stay together, so that there may be a few less. ``capacity`` is how many a week can be taken, and None for
    the leads below all bands. Without a capacity, or without new leads, there are no bands.
    """
    wanted = (("SQL", settings.report.sql_a_week), ("MQL", settings.report.mql_a_week))
    new = [row["probability"] for row in edition.rows(NEW, {"as_of": edition.as_of})]
    if not new or not any(capacity for _, capacity in wanted):
        return []
    found, high = list[tuple[str, float | None, float, float]](), CERTAIN
    for name, capacity in wanted:
        if capacity:
            low = min(_cut(new, round(capacity * WEEKS)), high)
            found.append((name, capacity, low, high))
            high = low
    found.append(("other leads", None, 0.0, high))
    return [
        {
            "band": name,
            "capacity": capacity,
            "from": low,
            "to": min(high, 1.0),
            **_counted(edition, settings, low, high),
        }
        for name, capacity, low, high in found
    ]


def _cut(probabilities: list[float], count: int) -> float:
    """Return the least probability of the ``count`` highest, so that no more are at or above it."""
    if count >= len(probabilities):
        return 0.0
    return min((p for p in probabilities[:count] if p > probabilities[count]), default=CERTAIN)


def _counted(edition: Edition, settings: Settings, low: float, high: float) -> dict[str, Any]:
    values = {"as_of": edition.as_of, "horizon": int(settings.goal.horizon_days), "low": low, "high": high}
    (row,) = edition.rows(IN_BAND, values)
    return row
