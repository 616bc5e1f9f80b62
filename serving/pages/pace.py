"""Pace: how many days leads take from their first touch to each stage, by its channel and by its month."""

from __future__ import annotations

from typing import Any

from serving.pages.book import Edition
from serving.pages.choice import CAMPAIGN, SEGMENT, Choice
from serving.pages.words import NOTHING, number, span
from serving.words import plain

MOST_STAGES, MOST_MONTHS = 6, 12
FEWEST = 5  # leads of which a median is worth telling
PACE = f"""
    WITH touched AS (
        SELECT path[1] AS channel, strftime(touched_at, '%Y-%m') AS month, stage,
               epoch(entered_at - touched_at) / 86400 AS days
        FROM journeys JOIN book USING (lead_id) JOIN moves USING (lead_id)
        WHERE touched_at >= $since AND entered_at >= touched_at AND {SEGMENT} AND {CAMPAIGN})
    SELECT channel, month, stage, count(*) AS leads, median(days) AS days FROM touched
    GROUP BY GROUPING SETS ((channel, stage), (month, stage))
"""


def by_first_touch(edition: Edition, choice: Choice) -> dict[str, Any]:
    """Return the stages that most leads came to, and a row of medians for each channel and month of first touch."""
    found = edition.rows(PACE, choice.values())
    often: dict[str, int] = {}
    for row in found:
        often[row["stage"]] = often.get(row["stage"], 0) + row["leads"]
    stages = sorted(often, key=lambda stage: (-often[stage], stage))[:MOST_STAGES]
    return {
        "stages": [plain(stage) for stage in stages],
        "by_channel": _rows(found, "channel", stages),
        "by_month": _rows(found, "month", stages)[-MOST_MONTHS:],
    }


def _rows(found: list[dict[str, Any]], by: str, stages: list[str]) -> list[list[str]]:
    told = {(row[by], row["stage"]): row for row in found if row[by] is not None}
    return [
        [name, *(_cell(told.get((name, stage))) for stage in stages)] for name in sorted({name for name, _ in told})
    ]


def _cell(row: dict[str, Any] | None) -> str:
    return f"{span(row['days'])} ({number(row['leads'])})" if row and row["leads"] >= FEWEST else NOTHING
