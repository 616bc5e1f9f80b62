"""Recalibration: where the share of wins moves, the score follows what the latest matured snapshots say of it.

The members' scores of snapshots that they did not see tell how far what was promised lies from what came of it. Of the
latest of these an intercept and a slope are learned, shrunk towards changing nothing. What moved once need not go on
moving: the two are taken only if the same, done when the latest of them began and with what was known then, makes what
is promised of them surely truer. On a bank's loans and calls and on a shop's sessions that was never so (moving the
scores would have done harm as often as good); where something that nobody recorded changes for good, it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.history import History
from features.settings import Settings
from serving.spec import Calibration, probability
from training.ensemble import Model, with_golden
from training.snapshots import Labelled, settled

Floats = NDArray[np.float64]
RECENT = 0.25  # share of the settled snapshots that tell what is so now
PRIOR, TRUST = np.array([0.0, 1.0]), np.array([4.0, 100.0])  # of intercept and slope: mean; 1 / variance
FEWEST = 20  # leads won among the latest, and as many not won
SURE = 2.0  # standard errors of the gain
NEWTON_STEPS = 12


@dataclass(frozen=True)
class _Told:
    """Snapshots, and the log-odds that members who did not see their leads gave them."""

    rows: Labelled
    log_odds: Floats

    def between(self, start: int, end: int) -> _Told:
        within = (self.rows.moments.as_of >= start) & (self.rows.moments.as_of < end)
        return _Told(self.rows.chosen(within), self.log_odds[within])

    def after(self, share: float) -> int:
        """Return the moment before which such a share of the snapshots was taken."""
        return int(np.sort(self.rows.moments.as_of)[int(share * len(self.log_odds))])

    @property
    def weights(self) -> Floats:
        """Return what each snapshot counts: all of a lead count together once."""
        _, place, count = np.unique(self.rows.moments.lead, return_inverse=True, return_counts=True)
        return np.asarray(1 / count[place])


def recalibrated(model: Model, rows: Labelled, history: History, settings: Settings, before: int) -> Model:
    """Return the model as it has to be now; the same one where nothing is gained by moving it.

    Args:
        model: that learned from the rows.
        rows: the snapshots.
        history: of all leads.
        settings: goal and snapshots.
        before: what became known before this moment (microseconds) is known.

    """
    unseen = model.unseen
    if unseen is None:
        return model
    index = pd.MultiIndex.from_arrays([rows.moments.lead, rows.moments.as_of])

    def told(moment: int) -> _Told:
        known = settled(history, settings, moment)
        place = index.get_indexer(pd.MultiIndex.from_arrays([known.moments.lead, known.moments.as_of]))
        return _Told(known.chosen(place >= 0), unseen[place[place >= 0]])

    latest = told(before)
    if not len(latest.log_odds):
        return model
    began = latest.after(1 - RECENT)
    gain = _gains(latest.between(began, before), _update(told(began)))
    if gain.mean() <= SURE * gain.std() / np.sqrt(len(gain)):
        return model
    return _moved(model, *_update(latest))


def _update(told: _Told) -> tuple[float, float]:
    """Return the intercept and the slope that the latest of the snapshots ask for; (0, 1) if they are too few."""
    nothing = float(PRIOR[0]), float(PRIOR[1])
    if not len(told.log_odds):
        return nothing
    told = told.between(told.after(1 - RECENT), int(told.rows.moments.as_of.max()) + 1)
    labels, weights = told.rows.labels, told.weights
    if min(len(np.unique(told.rows.moments.lead[labels == label])) for label in (0, 1)) < FEWEST:
        return nothing
    terms, found = np.stack([np.ones(len(labels)), told.log_odds], axis=1), PRIOR
    for _ in range(NEWTON_STEPS):
        p = probability(terms @ found)
        gradient = terms.T @ (weights * (p - labels)) + TRUST * (found - PRIOR)
        curvature = (terms * (weights * p * (1 - p))[:, None]).T @ terms + np.diag(TRUST)
        found = found - np.linalg.solve(curvature, gradient)
    return float(found[0]), max(float(found[1]), 0.0)


def _gains(told: _Told, update: tuple[float, float]) -> Floats:
    """Return of each lead what it loses less by the update, in nats."""
    before, after = told.log_odds, update[0] + update[1] * told.log_odds
    gained = np.logaddexp(0, before) - np.logaddexp(0, after) - told.rows.labels * (before - after)
    lead = np.unique(told.rows.moments.lead, return_inverse=True)[1]
    return np.asarray(np.bincount(lead, gained * told.weights), np.float64)


def _moved(model: Model, intercept: float, slope: float) -> Model:
    """Return the model with its calibrated log-odds stretched and moved, which is a beta calibration again."""
    old, ranks = model.spec.calibration, np.array(model.spec.ranks)
    calibration = Calibration(slope * old.a, slope * old.b, slope * old.c + intercept)
    moved = probability(intercept + slope * (np.log(ranks) - np.log1p(-ranks)))
    spec = replace(model.spec, calibration=calibration, ranks=tuple(moved.tolist()))
    rows = np.array([row for row, _ in spec.golden], np.float64)
    return with_golden(replace(model, spec=spec, moved=(intercept, slope)), rows)
