"""Pledges: what open deals had promised when their pipeline was credited, and what has come of it since."""

from __future__ import annotations

from typing import Any

from serving.pages.book import Edition
from serving.pages.choice import CAMPAIGN, SEGMENT, Choice

MODELS = "SELECT DISTINCT model FROM pledged ORDER BY model"
TRUED_UP = f"""
    WITH ours AS (
        SELECT pledged.*, won_at IS NOT NULL OR lost_at IS NOT NULL AS decided,
               bool_or(value <> 0) OVER (PARTITION BY lead_id) AS priced
        FROM pledged JOIN (SELECT lead_id, won_at, lost_at FROM book WHERE {SEGMENT} AND {CAMPAIGN}) USING (lead_id)
        WHERE model = $model),
    told AS (
        SELECT channel, sum(value) AS promised, coalesce(sum(value) FILTER (decided), 0) AS decided
        FROM ours GROUP BY channel),
    brought AS (
        SELECT channel, sum(value) FILTER (priced) AS came, sum(value) FILTER (NOT priced) AS unpriced
        FROM credit JOIN (SELECT DISTINCT lead_id, priced FROM ours WHERE decided) USING (lead_id)
        WHERE model = $model GROUP BY channel)
    SELECT channel, coalesce(promised, 0) AS promised, coalesce(decided, 0) AS decided, coalesce(came, 0) AS came,
           coalesce(unpriced, 0) AS unpriced
    FROM told FULL JOIN brought USING (channel) ORDER BY promised DESC, channel
"""
SUMMED = ("promised", "decided", "came", "difference", "still_open", "unpriced")


def trued_up(edition: Edition, choice: Choice, model: str) -> dict[str, Any] | None:
    """Return the model, the rows by channel and their sums; None where no pipeline was credited.

    It is the model asked for, if the pipeline was credited by it. What came is what the latest attribution run gives
    the channels for the wins among the leads that had promised something; unpriced, for those that named no amount yet.
    """
    models = [row["model"] for row in edition.rows(MODELS)]
    if edition.pledged_at is None or not models:
        return None
    used = model if model in models else models[0]
    rows = edition.rows(TRUED_UP, choice.values(model=used))
    rows = [row | {"difference": row["came"] - row["decided"], "still_open": row["promised"] - row["decided"]}
            for row in rows]  # fmt: skip
    total = {name: sum(row[name] for row in rows) for name in SUMMED}
    return {"model": used, "at": edition.pledged_at, "rows": rows, "total": total}
