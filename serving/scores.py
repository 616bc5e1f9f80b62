"""Scores in words: grade, trend and reasons, as sales sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from features.history import DAY
from features.matrix import feature_matrix
from features.merges import Ints
from features.verbs import Moments
from serving.scorer import Scorer
from serving.spec import Flags, Floats, Spec, probability
from serving.words import about

REASONS = 5  # up, and as many down
GRADES = (("A", 90), ("B", 70), ("C", 40), ("D", 0))  # from this percentile on
TREND_DAYS = 7
STEADY = 0.1  # a smaller change of the log-odds is no trend


@dataclass(frozen=True)
class Reason:
    """One fact and its effect on the log-odds."""

    feature: str
    value: float | str | None
    effect: float
    text: str


@dataclass(frozen=True)
class Score:
    """What is said of one lead."""

    lead_id: str
    as_of: int  # microseconds
    horizon_days: float
    probability: float
    low: float
    high: float
    percentile: float
    grade: str
    trend: str
    fit: float
    engagement: float
    reasons: tuple[Reason, ...]
    evidence: str
    model_version: str


def scores(scorer: Scorer, moments: Moments) -> list[Score]:
    """Return the score at each moment, from what was known before it."""
    asked, now, existed = _with_a_week_before(moments)
    matrix = feature_matrix(scorer.spec.features, asked)  # one walk over the history of a lead answers both
    margins, effects = scorer.told(matrix, now)
    said = scorer.log_odds(margins)
    moved = np.where(existed, said[now] - said[now - 1], np.nan)
    matrix, margins, probabilities = matrix[now], margins.take(now, axis=1), probability(said[now])
    low, high = scorer.intervals(margins)
    percentiles = scorer.percentiles(probabilities)
    is_fit = scorer.spec.is_fit
    return [
        Score(
            lead_id=moments.history.lead_ids[lead],
            as_of=int(moments.as_of[i]),
            horizon_days=scorer.spec.horizon_days,
            probability=float(probabilities[i]),
            low=float(low[i]),
            high=float(high[i]),
            percentile=float(percentiles[i]),
            grade=next(grade for grade, least in GRADES if percentiles[i] >= least),
            trend=_trend(float(moved[i])),
            fit=float(effects[i, is_fit].sum()),
            engagement=float(effects[i, ~is_fit].sum()),
            reasons=_reasons(scorer.spec, matrix[i], effects[i]),
            evidence=scorer.spec.evidence,
            model_version=scorer.version,
        )
        for i, lead in enumerate(moments.lead)
    ]


def _with_a_week_before(moments: Moments) -> tuple[Moments, Ints, Flags]:
    """Return the moments, each after the one a week before if the lead existed then; their places; and which did."""
    before = moments.as_of - TREND_DAYS * DAY
    existed = moments.history.created[moments.lead] < before
    now = np.cumsum(1 + existed) - 1
    lead, as_of = np.repeat(moments.lead, 1 + existed), np.repeat(moments.as_of, 1 + existed)
    as_of[now[existed] - 1] = before[existed]
    return Moments(moments.history, lead, as_of), now, existed


def _trend(moved: float) -> str:
    if math.isnan(moved):
        return "not enough information"
    if abs(moved) < STEADY:
        return "steady"
    return "improving" if moved > 0 else "declining"


def _reasons(spec: Spec, row: Floats, effects: Floats) -> tuple[Reason, ...]:
    order = np.argsort(effects, kind="stable")
    strongest = np.concatenate([order[: -REASONS - 1 : -1], order[:REASONS]])
    told = [*zip(strongest.tolist(), row[strongest].tolist(), effects[strongest].tolist(), strict=True)]
    half = len(told) // 2
    up, down = [one for one in told[:half] if one[2] > 0], [one for one in told[half:] if one[2] < 0]
    return tuple(_reason(spec, *one) for one in (*up, *down))


_called = lru_cache(maxsize=10_000)(about)  # of features, which every lead has again


def _reason(spec: Spec, i: int, value: float, effect: float) -> Reason:
    feature = spec.features[i]
    what, said = _called(feature.about), feature.said(value)
    fact = ""
    if spec.facts:
        fact = f"; of such leads {spec.facts[i].rate(value):.0%} close, of all {spec.base_rate:.0%}"
    direction = "raises" if effect > 0 else "lowers"
    return Reason(
        feature=feature.name,
        value=None if math.isnan(value) else said if feature.levels else value,
        effect=effect,
        text=f"{what}: {said}{spec.usually[i]}, {direction} the odds {math.exp(abs(effect)):.2f} times{fact}",
    )
