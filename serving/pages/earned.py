"""Earned: what each channel brought, earned and cost in a part of the book, under one model and beside the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from features.money import KNOWN_COST
from serving.pages.book import Edition
from serving.pages.choice import CAMPAIGN, SEGMENT, Choice

USUAL_MODEL = "linear"
NOBODY, REST = "(unattributed)", "(other campaigns, or nobody)"
BUCKETS, DRAWS, SEED = 100, 200, 0

BROUGHT = f"""
    SELECT channel, count(*) FILTER (created_at >= $since) AS leads,
           sum(probability * amount) FILTER (won_at IS NULL AND lost_at IS NULL) AS pipeline
    FROM book WHERE {SEGMENT} AND {CAMPAIGN} GROUP BY channel
"""
WON = f"SELECT count(*) AS won, coalesce(sum(value), 0) AS value FROM closes WHERE won_at >= $since AND {SEGMENT}"
EARNED = f"""
    SELECT model, channel, bucket, sum(credit) AS credit, sum(value) AS value
    FROM credit WHERE lead_id IS NOT NULL AND won_at >= $since AND {SEGMENT} AND {CAMPAIGN} GROUP BY ALL
"""
REALIZED = f"""
    SELECT channel, sum(value) AS value FROM credit
    WHERE model = $model AND touched_on >= CAST($since AS DATE) AND {SEGMENT} AND {CAMPAIGN} GROUP BY channel
"""
COST = (
    f"SELECT channel, {KNOWN_COST} AS cost FROM spent WHERE day >= CAST($since AS DATE) AND {CAMPAIGN} GROUP BY channel"
)


@dataclass(frozen=True)
class Credited:
    """What one model gives each channel: closes with a 90 % interval, and their value."""

    closes: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    value: dict[str, float]


@dataclass(frozen=True)
class Table:
    """Channels under the model asked for, with all that closed, and every model beside it."""

    model: str
    rows: list[dict[str, Any]]
    total: dict[str, Any]
    compared: list[tuple[str, Credited]]
    cost: dict[str, float]


def table_of(edition: Edition, choice: Choice, query: dict[str, str]) -> Table:
    """Return the channels of a part of the book, under the model that a query names or the usual one."""
    model = query.get("model", "")
    if model not in edition.models:
        model = usual(edition)
    by_model = _credited(edition, choice)
    (won,) = edition.rows(WON, choice.values())
    brought = {row["channel"]: row for row in edition.rows(BROUGHT, choice.values())}
    cost = {row["channel"]: row["cost"] for row in edition.rows(COST, choice.values())}  # None: a rate is unknown
    realized = {row["channel"]: row["value"] for row in edition.rows(REALIZED, choice.values(model=model))}
    one = by_model.get(model, Credited({}, {}, {}, {}))
    names = sorted({*one.closes, *cost, *brought}, key=lambda name: (-one.closes.get(name, 0), name))
    rows = [_row(name, one, brought.get(name, {}), cost.get(name), realized.get(name, 0.0)) for name in names]
    rows = [row for row in rows if row["leads"] or row["credit"] or row["pipeline"] or cost.get(row["channel"], 0) != 0]
    left = won["won"] - sum(one.closes.values()), won["value"] - sum(one.value.values())
    rest = dict.fromkeys(("leads", "low", "high", "pipeline", "cost", "cac", "roas", "roi"))
    if rows or won["won"]:
        rows.append({"channel": REST if choice.campaign else NOBODY, "credit": round(left[0], 6) + 0.0,
                     "value": round(left[1], 2) + 0.0, "apart": True, **rest})  # fmt: skip
    known, back = {name: one for name, one in cost.items() if one is not None}, sum(realized.values())
    spent = sum(known.values()) if len(known) == len(cost) else None
    total = {
        "leads": sum(row["leads"] or 0 for row in rows), "credit": won["won"], "won": won["won"], "value": won["value"],
        "pipeline": sum(row["pipeline"] or 0 for row in rows), "cost": spent,
        "cac": spent / won["won"] if spent is not None and won["won"] else None,
        "roas": won["value"] / spent if spent else None, "roi": (back - spent) / spent if spent else None,
    }  # fmt: skip
    compared = sorted(by_model.items(), key=lambda item: (item[0] != model, item[0]))
    return Table(model, rows, total, compared, known)


def usual(edition: Edition) -> str:
    """Return the model that is shown unless another is asked for."""
    return USUAL_MODEL if USUAL_MODEL in edition.models or not edition.models else edition.models[0]


def _row(name: str, one: Credited, brought: dict[str, Any], cost: float | None, realized: float) -> dict[str, Any]:
    closes, value = one.closes.get(name, 0.0), one.value.get(name, 0.0)
    return {
        "channel": name, "leads": brought.get("leads", 0), "pipeline": brought.get("pipeline"), "credit": closes,
        "low": one.low.get(name), "high": one.high.get(name), "value": value, "cost": cost,
        "cac": cost / closes if cost and closes else None, "roas": value / cost if cost else None,
        "roi": (realized - cost) / cost if cost else None, "apart": False,
    }  # fmt: skip


def _credited(edition: Edition, choice: Choice) -> dict[str, Credited]:
    """Return what each model gives, with intervals by drawing hundredths of the leads with replacement."""
    found = edition.rows(EARNED, choice.values())
    models, names = sorted({row["model"] for row in found}), sorted({row["channel"] for row in found})
    closes = np.zeros((len(models), len(names), BUCKETS))
    value = np.zeros((len(models), len(names)))
    at_model, at_name = ({name: i for i, name in enumerate(listed)} for listed in (models, names))
    for row in found:
        m, k = at_model[row["model"]], at_name[row["channel"]]
        closes[m, k, row["bucket"]] += row["credit"]
        value[m, k] += row["value"] or 0
    drawn = np.random.default_rng(SEED).multinomial(BUCKETS, np.full(BUCKETS, 1 / BUCKETS), DRAWS)
    said, varied = closes.sum(axis=2), closes @ drawn.T
    low, high = np.minimum(np.quantile(varied, 0.05, axis=2), said), np.maximum(np.quantile(varied, 0.95, axis=2), said)
    return {
        model: Credited(*(dict(zip(names, part[m].tolist(), strict=True)) for part in (said, low, high, value)))
        for m, model in enumerate(models)
    }
