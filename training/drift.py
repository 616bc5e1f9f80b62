"""Drift: what is different about the leads of late, told from chance for all features together.

Compared are leads of one age: those who reached it in the last weeks, and those who did in the weeks before. Each lead
counts once, so that nothing but time tells the two groups apart, and if nothing has changed they can be shuffled. What
moves further than the furthest move of any feature in all but a share of the shuffled groups is no chance: just that
share of checks cries wolf, however many features there are and however they hang together (max-T, Westfall and Young
1993). A fixed threshold of the population stability index cries on a third of quiet samples of 100 leads, and
sees nothing in large ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.history import DAY, History
from features.matrix import feature_matrix
from features.objections import profiled
from features.outcomes import open_moments, outcomes_of
from features.settings import Goal, Monitor, Settings
from features.verbs import Feature, Moments
from serving.scorer import Scorer

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
BINS = 10  # of a number, of about as many leads each; what is missing is one more
SHUFFLES, SEED = 999, 0
FEWEST = 30  # leads in each group, below which nothing is said
SCORE = Feature("score", "count", "log-odds of closing, as the champion has it", "log-odds")
MOST = 5_000  # leads of each group that are looked at


@dataclass(frozen=True)
class Shift:
    """A feature that moved: what it was and is, and the share of quiet checks in which any moves as far."""

    feature: str
    before: str
    now: str
    chance: float


def drifted(scorer: Scorer, history: History, settings: Settings, as_of: int) -> tuple[list[Shift], Flags]:
    """Return what moved of a model's features and of its score, and which of the leads compared are of late.

    What all contacts of an account did is left out: it heaps up as the company grows.
    """
    moments, recent = reached(history, settings.goal, settings.monitor, as_of)
    matrix = feature_matrix(scorer.spec.features, moments)
    score = scorer.log_odds(scorer.margins(matrix))
    own = [i for i, feature in enumerate(scorer.spec.features) if feature.of == "lead"]
    looked_at = [*(scorer.spec.features[i] for i in own), SCORE]
    return shifts(looked_at, np.column_stack([matrix[:, own], score]), recent, settings.monitor.false_alarms), recent


def reached(history: History, goal: Goal, watch: Monitor, as_of: int) -> tuple[Moments, Flags]:
    """Return when open leads reached the age at which they are compared, and which did so of late.

    Args:
        history: of all leads.
        goal: says which leads are open.
        watch: the age, and how many days are of late and before.
        as_of: now, in microseconds.

    """
    outcomes = outcomes_of(history, goal)
    at = np.minimum(outcomes.opened, as_of) + int(watch.age_days * DAY)
    since, border = as_of - int((watch.recent_days + watch.before_days) * DAY), as_of - int(watch.recent_days * DAY)
    leads = np.flatnonzero((at >= since) & (at < as_of) & profiled(history, as_of))
    moments = open_moments(history, outcomes, Moments(history, leads, at[leads]))
    recent = moments.as_of >= border
    kept = np.sort(np.concatenate([_some(np.flatnonzero(recent)), _some(np.flatnonzero(~recent))]))
    return Moments(history, moments.lead[kept], moments.as_of[kept]), recent[kept]


def shifts(features: Sequence[Feature], matrix: Floats, recent: Flags, false_alarms: float) -> list[Shift]:
    """Return the features (columns) in which the recent rows differ from the others, the surest first.

    ``false_alarms`` is the share of checks of unchanged leads in which any feature is named.
    """
    if min(recent.sum(), (~recent).sum()) < FEWEST or not features:
        return []
    chances = _chances([_bins(matrix[:, i], bool(f.levels)) for i, f in enumerate(features)], recent)
    told = np.argsort(chances, kind="stable")
    return [
        Shift(features[i].name, *_said(features[i], matrix[:, i], recent), float(chances[i]))
        for i in told
        if chances[i] <= false_alarms
    ]


def _some(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows if len(rows) <= MOST else np.random.default_rng(SEED).choice(rows, MOST, replace=False)


def _bins(values: Floats, named: bool) -> NDArray[np.int64]:
    """Return the bin of each value: the first holds what is missing, the others rise."""
    known = np.isfinite(values)
    codes = np.zeros(len(values), np.int64)
    if named:
        codes[known] = 1 + values[known].astype(np.int64)
    elif known.any():
        edges = np.unique(np.quantile(values[known], np.linspace(0, 1, BINS + 1)[1:-1]))
        codes[known] = 1 + np.searchsorted(edges, values[known], "right")
    return np.unique(codes, return_inverse=True)[1]


def _chances(binned: Sequence[NDArray[np.int64]], recent: Flags) -> Floats:
    """Return of each feature the share of shuffles in which any feature moves as far as it does."""
    rows, late = len(recent), int(recent.sum())
    sizes = [int(codes.max()) + 1 for codes in binned]
    starts = np.cumsum([0, *sizes[:-1]])
    one_hot = np.zeros((rows, sum(sizes)), np.float32)
    for start, codes in zip(starts, binned, strict=True):
        one_hot[np.arange(rows), start + codes] = 1
    groups = np.empty((1 + SHUFFLES, rows), np.float32)
    groups[0], rng = recent, np.random.default_rng(SEED)
    for i in range(1, len(groups)):
        groups[i] = rng.permutation(recent)
    counts = (groups @ one_hot).astype(np.float64)
    everyone = one_hot.sum(axis=0, dtype=np.float64)
    excess = counts - everyone * (late / rows)
    spread = np.add.reduceat(excess**2 / everyone, starts, axis=1)  # chi-square, up to a factor
    rank = np.concatenate([_middles(everyone[start : start + n]) for start, n in zip(starts, sizes, strict=True)])
    slope = np.add.reduceat(excess * rank, starts, axis=1) ** 2  # rank sum: a small move one way
    moved = np.cbrt(np.hstack([spread, slope]))  # nearly normal (Wilson and Hilferty 1931), so that both compare
    deviation = moved[1:].std(axis=0)
    far = (moved - moved[1:].mean(axis=0)) / np.where(deviation > 0, deviation, np.inf)
    furthest = far[1:].max(axis=1)
    own = np.maximum(*np.split(far[0], 2))
    return np.asarray((1 + (furthest[:, None] >= own).sum(axis=0)) / (1 + SHUFFLES))


def _middles(counts: Floats) -> Floats:
    """Return the middle rank of each bin, from −½ to ½."""
    return np.asarray((np.cumsum(counts) - counts / 2) / counts.sum() - 0.5)


def _said(feature: Feature, values: Floats, recent: Flags) -> tuple[str, str]:
    """Return in words what a feature was before and is of late: by what moved most."""
    before, now = values[~recent], values[recent]
    sentences = list(_differences(feature, before, now))
    _, was, is_ = max(sentences, key=lambda sentence: sentence[0])
    return was, is_


def _differences(feature: Feature, before: Floats, now: Floats) -> Iterator[tuple[float, str, str]]:
    """Yield how much each side of a feature moved (as shares, or in standard deviations), and what it was and is."""
    empty = [np.isnan(values).mean() for values in (before, now)]
    yield abs(empty[1] - empty[0]), f"missing for {empty[0]:.0%}", f"missing for {empty[1]:.0%}"
    for place in range(len(feature.levels) + 1 if feature.levels else 0):
        shares = [(values == place).mean() for values in (before, now)]
        level = feature.said(float(place))
        yield abs(shares[1] - shares[0]), f"{level} for {shares[0]:.0%}", f"{level} for {shares[1]:.0%}"
    known = [values[np.isfinite(values)] for values in (before, now)]
    if not feature.levels and len(known[0]) and len(known[1]):
        spread = np.concatenate(known).std()
        moved = abs(known[1].mean() - known[0].mean()) / spread if spread > 0 else 0.0
        was, is_ = (f"{values.mean():,.3g} {feature.unit} on average".replace("  ", " ") for values in known)
        yield moved, was, is_
