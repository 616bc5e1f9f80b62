"""Recalibration: where the share of wins moves, the score follows what the latest snapshots say of it.

The members' scores of snapshots that they did not see tell how far what was promised lies from what came of it, and
those of snapshots whose horizon is not past yet from what should have come of it so far. Of the latest of these an
intercept and a slope are learned, shrunk towards changing nothing; how many are the latest is chosen, too. What moved
once need not go on moving: the two are taken only if whoever had always done the same would surely have promised more
truly lately. That is asked part by part, of each with what was known when it began, so that a share that moved shortly
before and stayed where it went counts for it. On a bank's loans and calls and on a shop's sessions it was never so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.history import History
from features.matrix import feature_matrix
from features.settings import Settings
from serving.spec import Calibration, probability
from training.ensemble import Model, with_golden
from training.snapshots import Labelled, so_far

Floats = NDArray[np.float64]
RECENT = 0.125  # share of what all snapshots tell that is judged by
WINDOWS = (0.25, 0.125, 0.0625)  # and that is learned from, one of these
PRIOR, TRUST = np.array([0.0, 1.0]), np.array([4.0, 100.0])  # of intercept and slope: mean; 1 / variance
FEWEST = 20  # leads won among the latest, and as many not won
PARTS = 4  # of the latest, each told by what was known when it began
SURE = 2.5  # standard errors of the gain, the best of three
NEWTON_STEPS = 12
SUREST = 1 - 1e-12  # of all promises


@dataclass(frozen=True)
class Told:
    """Snapshots with what came of them so far, and the log-odds that members who did not see their leads gave them.

    ``share`` is that of the wins within the horizon which show as early as each snapshot could show one.
    """

    rows: Labelled
    share: Floats
    log_odds: Floats

    def between(self, start: int, end: int) -> Told:
        """Return the snapshots taken in [start, end), in microseconds."""
        within = (self.rows.moments.as_of >= start) & (self.rows.moments.as_of < end)
        return Told(self.rows.chosen(within), self.share[within], self.log_odds[within])

    def latest(self, share: float) -> int:
        """Return the moment from which on the latest of them were taken, which tell such a share of what all tell."""
        order = np.argsort(self.rows.moments.as_of, kind="stable")
        told = np.cumsum(self.share[order])
        return int(self.rows.moments.as_of[order[np.searchsorted(told, (1 - share) * told[-1])]])

    @property
    def weight(self) -> float:
        """Return what a snapshot counts: all alike, together as much as there are leads.

        Were it the leads that count alike, those who were won at once, and so have few snapshots, would count too much.
        """
        return len(np.unique(self.rows.moments.lead)) / len(self.share)

    def loss(self, log_odds: Floats) -> Floats:
        """Return the log loss of such promises, snapshot by snapshot."""
        due = self.share * np.minimum(probability(log_odds), SUREST)
        return np.asarray(-np.log(np.where(self.rows.labels == 1, due, 1 - due)))


def recalibrated(model: Model, rows: Labelled, history: History, settings: Settings, before: int) -> Model:
    """Return the model as it has to be now; the same one where nothing is gained by moving it.

    Args:
        model: that learned from the rows.
        rows: the snapshots.
        history: of all leads.
        settings: goal and snapshots.
        before: what became known before this moment (microseconds) is known.

    """
    if model.unseen is None:
        return model
    told = _teller(model, rows, history, settings, before)
    latest = told(before)
    if not len(latest.share):
        return model
    begins = [latest.latest(RECENT * (1 - part / PARTS)) for part in range(PARTS)]
    parts = [(latest.between(begin, end), told(begin)) for begin, end in pairwise([*begins, before])]
    gains = {window: _gain(parts, window) for window in WINDOWS}
    window = max(gains, key=lambda window: _at_least(gains[window], 1))
    if _at_least(gains[window], SURE) <= 0:
        return model
    return _moved(model, *update_of(latest, window))


def _teller(model: Model, rows: Labelled, history: History, settings: Settings, before: int) -> Callable[[int], Told]:
    """Return what tells, of each moment until ``before``, what was known then.

    A snapshot that nobody could learn from yet is scored by all members.
    """
    last, _ = so_far(history, settings, before)
    learned, index = _index(rows), _index(last)
    place = learned.get_indexer(index)
    log_odds, seen, scorer = np.asarray(model.unseen)[place], place >= 0, model.scorer()
    others = feature_matrix(model.spec.features, last.chosen(~seen).moments)
    log_odds[~seen] = scorer.log_odds(scorer.margins(others))

    def told(moment: int) -> Told:
        known, share = so_far(history, settings, moment)
        at = index.get_indexer(_index(known))
        return Told(known.chosen(at >= 0), share[at >= 0], log_odds[at[at >= 0]])

    return told


def _index(rows: Labelled) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([rows.moments.lead, rows.moments.as_of])


def update_of(told: Told, window: float) -> tuple[float, float]:
    """Return the intercept and the slope that the latest of the snapshots ask for; (0, 1) if they are too few."""
    nothing = float(PRIOR[0]), float(PRIOR[1])
    if not len(told.share):
        return nothing
    told = told.between(told.latest(window), int(told.rows.moments.as_of.max()) + 1)
    labels = told.rows.labels
    if min(len(np.unique(told.rows.moments.lead[labels == label])) for label in (0, 1)) < FEWEST:
        return nothing
    terms, found = np.stack([np.ones(len(labels)), told.log_odds], axis=1), PRIOR
    for _ in range(NEWTON_STEPS):
        p = np.minimum(probability(terms @ found), SUREST)
        due = told.share * p  # by now
        slope = (1 - p) / (1 - due)  # of the log-odds of what is due, by those of what is promised
        gradient = told.weight * terms.T @ ((due - labels) * slope) + TRUST * (found - PRIOR)
        curvature = told.weight * (terms * (due * (1 - due) * slope**2)[:, None]).T @ terms + np.diag(TRUST)
        found = found - np.linalg.solve(curvature, gradient)
    return float(found[0]), max(float(found[1]), 0.0)


def _gain(parts: list[tuple[Told, Told]], window: float) -> Floats:
    """Return what each lead loses less, in nats, of what is told in parts, each after what was told when it began."""
    less = []
    for now, then in parts:
        intercept, slope = update_of(then, window)
        less.append(now.loss(now.log_odds) - now.loss(intercept + slope * now.log_odds))
    lead = np.unique(np.concatenate([now.rows.moments.lead for now, _ in parts]), return_inverse=True)[1]
    return np.asarray(np.bincount(lead, np.concatenate(less)), np.float64)


def _at_least(gain: Floats, errors: float) -> float:
    """Return the mean less so many of its standard errors."""
    return float(gain.mean() - errors * gain.std() / np.sqrt(len(gain)))


def _moved(model: Model, intercept: float, slope: float) -> Model:
    """Return the model with its calibrated log-odds stretched and moved, which is a beta calibration again."""
    old, ranks = model.spec.calibration, np.array(model.spec.ranks)
    calibration = Calibration(slope * old.a, slope * old.b, slope * old.c + intercept)
    moved = probability(intercept + slope * (np.log(ranks) - np.log1p(-ranks)))
    spec = replace(model.spec, calibration=calibration, ranks=tuple(moved.tolist()))
    rows = np.array([row for row, _ in spec.golden], np.float64)
    return with_golden(replace(model, spec=spec, moved=(intercept, slope)), rows)
