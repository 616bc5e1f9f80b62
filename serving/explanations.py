"""Explanations: all that a score is made of, and when the lead will close if it does."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from features.matrix import feature_matrix
from features.verbs import Feature, Moments
from serving.line import Floats
from serving.outlook import outlook
from serving.replies import EffectReply, ExplanationReply
from serving.scorer import Scorer


def explanations(scorer: Scorer, moments: Moments, as_of: datetime) -> list[ExplanationReply]:
    """Return the explanation of each moment's score."""
    features = scorer.spec.features
    matrix = feature_matrix(features, moments)
    margins = scorer.margins(matrix)
    effects, log_odds, said = scorer.effects(matrix, margins), scorer.log_odds(margins), scorer.calibrated(margins)
    ahead = outlooks(scorer, matrix)
    return [
        ExplanationReply(
            lead_id=moments.history.lead_ids[lead],
            probability=float(said[i]),
            log_odds=float(log_odds[i]),
            base=float(log_odds[i] - effects[i].sum()),
            effects=[
                EffectReply(
                    feature=f.name,
                    about=f.about,
                    group=f.group,
                    value=_value(f, float(matrix[i, k])),
                    effect=float(effects[i, k]),
                )
                for k, f in enumerate(features)
            ],
            **ahead[i],
            model_version=scorer.version,
            as_of=as_of,
        )
        for i, lead in enumerate(moments.lead)
    ]  # fmt: skip


def outlooks(scorer: Scorer, matrix: Floats) -> list[dict[str, Any]]:
    """Return, of each row, how probable it is to be won within each horizon, or lost, and the days until it closes."""
    ahead = outlook(scorer, matrix)
    return [
        {
            "won_within_days": {f"{days:g}": float(ahead.won[h, i]) for h, days in enumerate(ahead.days)},
            "lost": finite(float(ahead.lost[i])),
            "days_to_close": finite(float(ahead.days_to_close[i])),
        }
        for i in range(len(matrix))
    ]


def _value(feature: Feature, value: float) -> float | str | None:
    return None if math.isnan(value) else feature.said(value) if feature.levels else value


def finite(number: float) -> float | None:
    """Return a number, or None for what JSON cannot say."""
    return number if math.isfinite(number) else None
