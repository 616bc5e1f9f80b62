"""Monitoring: whether the champion still says what comes true, and if not, what moved, how sure that is, what to do.

Of a company in which nothing changes, few checks cry wolf: the configured share of those of promises, kept or not
(training/promises.py), and of drift of features and scores (training/drift.py), and one in a hundred of those of volume
(features/volume.py). The fourth, skew, needs no chance: a score that is computed again from what was known then is the
same score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.checkup import checkup
from features.goals import for_goal_of
from features.history import History, microseconds, moment_of
from features.lake import Lake
from features.matrix import feature_matrix
from features.reading import read_history
from features.settings import Settings
from features.verbs import Moments, columns_of
from serving.scorer import Scorer, champion
from training.drift import Shift, drifted
from training.gate import slices_of
from training.promises import EARLY_MATTERS, Floats, Kept, broken, doubts, early, early_days, expected, kept, served

LATEST = """
    SELECT lead_id, epoch_us(as_of) AS as_of, probability FROM scores WHERE model_version = $1
    ORDER BY as_of DESC, lead_id LIMIT 500
"""
SAME = 1e-9  # a probability that differs by less is the same
POST_SECONDS = 10
RETRAIN = "touchstone retrain"
TOLD = 5  # features, groups or leads that one alarm names


@dataclass(frozen=True)
class Alarm:
    """What moved, how sure that is, and what to do."""

    part: str  # promises, drift, skew or volume
    what: str
    sure: str
    do: str


def monitored(lake: Lake, settings: Settings, workspace: Path, as_of: datetime) -> dict[str, Any]:
    """Return what is watched, as of a moment.

    ``promises`` of matured scores by group, ``early`` ones of scores that are not mature, ``expected`` quality of the
    latest scores, ``drift``, ``skew``, and ``alarms``: each says what moved, how sure that is and what to do.

    Raises:
        ModelError: when no model serves.

    """
    scorer, now = champion(workspace / "models"), microseconds(as_of)
    history, watch = read_history(lake, more=columns_of(scorer.spec.features)), settings.monitor
    said, slices, matrix = _judged(lake, history, settings, scorer, now)
    unsure, days = doubts(scorer, matrix), early_days(scorer)
    groups = kept(said, slices, unsure)
    news = (said["matured"] > scorer.spec.learned_until).to_numpy()  # the champion learned from the others
    soon = _early(lake, history, settings, scorer, now, days) if days else []
    share = watch.false_alarms / 2  # of each of the two looks at promises
    moved, recent = drifted(scorer, history, settings, now)
    again, latest = _skew(lake, history, scorer)
    retrain = for_goal_of(workspace, RETRAIN)
    alarms = [
        *_of_promises(broken(kept(said[news], slices[news], unsure[:, news]), share), watch.false_alarms),
        *_of_promises(broken(soon, share, EARLY_MATTERS), watch.false_alarms, f" within {days or 0:g} days"),
        *_of_drift(moved, watch.recent_days, watch.false_alarms),
        *_of_skew(again),
        *_of_volume(checkup(lake, settings.goal, as_of)["arrivals"]),
    ]
    return {
        "as_of": as_of.astimezone(UTC).isoformat(),
        "model_version": scorer.version,
        "learned_until": moment_of(scorer.spec.learned_until).isoformat(),
        "promises": [asdict(one) for one in groups],
        "early": {"days": days, "promises": [asdict(one) for one in soon]},
        "expected": expected(latest),
        "drift": {
            "leads_of_late": int(recent.sum()),
            "leads_before": int((~recent).sum()),
            "moved": [asdict(one) for one in moved],
        },
        "skew": again,
        "alarms": [asdict(replace(alarm, do=alarm.do.replace(RETRAIN, retrain))) for alarm in alarms],
    }


def posted(address: str, found: dict[str, Any]) -> str:
    """Post what was found to an address; return why it did not arrive, or nothing."""
    import httpx

    try:
        httpx.post(address, json=found, timeout=POST_SECONDS).raise_for_status()
    except httpx.HTTPError as error:
        return f"The alarms did not arrive at {httpx.URL(address).host}: {error.__class__.__name__}."
    return ""


def _judged(
    lake: Lake, history: History, settings: Settings, scorer: Scorer, now: int, within: float = np.inf
) -> tuple[pd.DataFrame, pd.DataFrame, Floats]:
    """Return the scores to judge, their slices, and their features."""
    said = served(lake, history, settings, now, settings.monitor.matured_days, within)
    moments = Moments(history, said["lead"].to_numpy(np.int64), said["as_of"].to_numpy(np.int64))
    matrix = feature_matrix(scorer.spec.features, moments)
    return said, slices_of(matrix, scorer.spec.features), matrix


def _early(lake: Lake, history: History, settings: Settings, scorer: Scorer, now: int, days: float) -> list[Kept]:
    """Return how early promises were kept of which the champion did not learn."""
    said, slices, matrix = _judged(lake, history, settings, scorer, now, days)
    due = said.assign(probability=early(scorer, said["probability"].to_numpy(np.float64), matrix, days))
    news = (said["matured"] > scorer.spec.learned_until).to_numpy()
    return kept(due[news], slices[news], doubts(scorer, matrix, early=True)[:, news])


def _skew(lake: Lake, history: History, scorer: Scorer) -> tuple[dict[str, Any], Floats]:
    """Score the leads of the champion's latest scores again; return how many differ, and what was said of them."""
    rows = lake.query(LATEST, [scorer.version]).to_pandas()
    as_of, said = rows["as_of"].to_numpy(np.int64), rows["probability"].to_numpy(np.float64)
    lead = history.positions(rows["lead_id"].tolist(), as_of) if len(rows) else np.empty(0, np.int64)
    here = lead >= 0
    again = scorer.probabilities(feature_matrix(scorer.spec.features, Moments(history, lead[here], as_of[here])))
    differs = np.abs(again - said[here]) > SAME
    examples = rows["lead_id"][here][differs].head(TOLD).tolist()
    return {"scored_again": int(here.sum()), "differ": int(differs.sum()), "examples": examples}, said


def _of_promises(groups: Sequence[Kept], false_alarms: float, within: str = "") -> list[Alarm]:
    sure = f"A model as sure as this one is so far off in fewer than {false_alarms:.0%} of checks."
    do = f"Train again: {RETRAIN}. If the new model is refused, look at what drifted."
    return [
        Alarm(
            "promises",
            f"{one.group}: {one.closed} of {one.leads} leads closed{within}, {one.promised:.0f} were promised.",
            sure,
            do,
        )
        for one in groups[:TOLD]
    ]


def _of_drift(moved: Sequence[Shift], days: float, false_alarms: float) -> list[Alarm]:
    if not moved:
        return []
    told = "; ".join(f"{one.feature}: {one.now}, {one.before} before" for one in moved[:TOLD])
    more = f", and {len(moved) - TOLD} more features" if len(moved) > TOLD else ""
    return [
        Alarm(
            "drift",
            f"The leads of the last {days:g} days are different. {told}{more}.",
            f"Unchanged leads look so in fewer than {false_alarms:.0%} of checks, in any feature.",
            "If a field was renamed or a source broke, mend its mapping (touchstone check); if the market has moved, "
            f"train again: {RETRAIN}.",
        )
    ]


def _of_skew(skew: dict[str, Any]) -> list[Alarm]:
    if not skew["differ"]:
        return []
    return [
        Alarm(
            "skew",
            f"{skew['differ']} of {skew['scored_again']} scores are not what is computed now for the same moments: "
            f"{', '.join(skew['examples'])}.",
            "It is computed, not estimated.",
            "Rows came in later than their received_at says, or were corrected. Let the source send when it sent.",
        )
    ]


def _of_volume(arrivals: Sequence[str]) -> list[Alarm]:
    sure = "Fewer than 1% of checks of steady sources say so of any."
    return [Alarm("volume", said, sure, "See all sources: touchstone check.") for said in arrivals]
