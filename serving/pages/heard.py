"""Heard: where leads say they heard of us, beside the channel that was tracked. Neither is all the truth."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from serving.pages.book import Edition

SHOWN = 15  # sources
CHANNELS = 3  # tracked channels of each
SOURCES = """
    SELECT said, channel, count(*) AS leads, count(won_at) AS won, coalesce(sum(value), 0) AS revenue
    FROM heard JOIN book USING (lead_id) WHERE created_at >= $since GROUP BY ALL ORDER BY leads DESC, channel
"""


def heard(edition: Edition, since: object) -> list[dict[str, Any]]:
    """Return what leads since a moment said, most often first: leads, won, revenue, and how they were tracked.

    ``tracked`` are the channels that most often brought those leads, each with its share of them.
    """
    of = defaultdict[str, list[dict[str, Any]]](list)
    for row in edition.rows(SOURCES, {"since": since}):
        of[row["said"]].append(row)
    found = [
        {
            "said": said,
            **{name: sum(row[name] for row in rows) for name in ("leads", "won", "revenue")},
            "tracked": [
                {"channel": row["channel"], "share": row["leads"] / sum(one["leads"] for one in rows)}
                for row in rows[:CHANNELS]
            ],
        }
        for said, rows in of.items()
    ]
    return sorted(found, key=lambda row: (-row["leads"], row["said"]))[:SHOWN]
