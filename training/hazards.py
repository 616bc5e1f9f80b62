"""Learning hazards: the trees of a competing-risks model, grown on lead-periods, open leads among them.

A lead-period is a snapshot and one of the periods after it, through which the lead could be watched and at whose
beginning it was still open. What is still open teaches as much as what is closed, as far as it was watched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from features.history import DAY, History
from features.matrix import feature_matrix
from features.settings import Settings, Training
from features.verbs import Feature
from training.boosting import boosted
from training.snapshots import Lives, lives

Floats = NDArray[np.float64]
ENDS = (7.0, 14.0, 21.0, 30.0, 45.0, 60.0, 75.0, 90.0, 120.0, 150.0, 180.0)  # days; as far as the horizons reach
PARTS = 10  # periods of leads that count once they are closed: as many are closed in each
MOST = 50_000  # snapshots that are followed through their periods


@dataclass(frozen=True)
class Course:
    """Leads to be followed through periods: their lives, the periods' ends in days, and how many make the score."""

    lives: Lives
    ends: tuple[float, ...]
    scored: int


def course(history: History, settings: Settings, before: int) -> Course:
    """Return what a competing-risks model learns from, as it was known before a moment (microseconds)."""
    followed = lives(history, settings, before)
    return Course(followed, *_periods(followed, settings))


def _periods(lives: Lives, settings: Settings) -> tuple[tuple[float, ...], int]:
    if settings.snapshots.mature_when == "closed":
        closed = (lives.ends - lives.moments.as_of)[lives.how > 0] / DAY
        ends = np.unique(np.quantile(closed, np.arange(1, PARTS + 1) / PARTS)).tolist()
        return tuple(ends), len(ends)
    horizon = settings.goal.horizon_days
    asked = {*settings.training.outlook_days, horizon}
    ends = sorted(asked | {end for end in ENDS if end < max(asked)})
    return tuple(ends), ends.index(horizon) + 1


def hazards(
    course: Course, part_of_lead: NDArray[np.int64], features: Sequence[Feature], how: Training
) -> list[lgb.Booster]:
    """Return the trees of each member for winning, then of each for losing; each leaves out one part of the leads."""
    some = np.sort(np.random.default_rng(how.seed).permutation(len(course.lives.how))[:MOST])
    followed = course.lives.chosen(some)
    matrix = feature_matrix(features, followed.moments)
    row, period, won, lost = lead_periods(followed, course.ends)
    part = part_of_lead[followed.moments.lead[row]]
    members = []
    for label, asked in ((won, np.ones(len(row), np.bool_)), (lost, ~won)):
        for k in range(part_of_lead.max() + 1):
            seen = asked & (part != k)
            rows = np.column_stack([matrix[row[seen]], period[seen].astype(matrix.dtype)])
            members.append(boosted(rows, label[seen].astype(np.float64), np.ones(seen.sum()), features, how))
    return members


def lead_periods(lives: Lives, ends: Sequence[float]) -> tuple[NDArray[np.int64], ...]:
    """Return of each lead-period its snapshot, its period, and whether the lead was won in it, or lost."""
    begin, end = (np.array(days) * DAY for days in ((0.0, *ends[:-1]), ends))
    lasted = (lives.ends - lives.moments.as_of)[:, None]
    watched = (lives.watched - lives.moments.as_of)[:, None] >= end
    row, period = np.nonzero(watched & (lasted > begin))
    closes = lasted[row, 0] <= end[period]
    return row, period, closes & (lives.how[row] == 1), closes & (lives.how[row] == 2)  # noqa: PLR2004  # lost
