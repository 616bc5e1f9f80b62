"""Score-adjusted attribution: what closes less when a channel's touches are taken away.

Two hazards are fitted to the time in which leads were open (``moments``, ``hazard``): that of closing and that of being
lost, each with what touches add to it. The baseline is the lead's score from before the touches, by what it is and does
of its own, so that intent is not mistaken for effect. Of each close, a channel's credit is the part of the rate that
its touches added; of each loss that its touches added, it owes the chance that the lead would have closed. The rest
of the closes would have happened anyway. Credit may be negative, and is shown so.

A channel whose touches come right before the close far more than later effects can explain only collects what was
decided (brand search on the way to signing): its touches of the same period then count for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from attribution.hazard import Fit, Rows, fitted
from attribution.journeys import Flags, Floats, Ints
from attribution.moments import Moments, OpenTime, Touched, adstock, moments, recent

HALF_LIVES_DAYS = (7.0, 30.0)  # a channel's decay is a sum of these two, as fitted
AGES = 24  # steps of the baseline over a lead's age
MOST_LOSSES = 10_000  # looked at; the rest are like them
SURE = 4.0  # standard errors that a harvest, or an effect on losses, must stand out by
TIMES = 1.5  # times the lagged effect that a harvest must be
NORMAL_90 = 1.645
FEWEST_ENDS = 20  # closes, or losses, from which anything can be told

Score = Callable[[Ints, Floats], Floats]  # (lead, day) -> probability of closing, from before the touches


class Adjusted(NamedTuple):
    """Credit of k channels for the closes of leads."""

    lead: Ints  # (closes,) who closed
    part: Floats  # (closes, k) of each close
    owed: Floats  # (k,) closes lost by losses that the channel brought about
    credit: Floats  # (k,) parts added up, less what is owed
    error: Floats  # (k,) standard error of the credit
    harvests: Flags  # (k,)
    unguarded: Floats  # (k,) parts added up, had harvests been taken for effects

    @property
    def anyway(self) -> float:
        """Closes that would have happened without any touch."""
        return float(len(self.lead) - self.credit.sum())

    @property
    def low_and_high(self) -> Floats:
        """90 % interval of the credit (2, k)."""
        return self.credit + np.outer([-NORMAL_90, NORMAL_90], self.error)


class Model(NamedTuple):
    """One hazard as fitted, with its first column of exposure for each channel that of the same period."""

    rows: Rows
    fit: Fit
    moments: Moments
    probability: Floats  # (r,)


def score_adjusted(time: OpenTime, touched: Touched, channels: int, score: Score) -> Adjusted:
    """Credit of the channels that are numbered 0 to ``channels`` − 1.

    The score must not have learned from these leads' own outcomes, nor from the touches that are credited.
    """
    won = _model(time, time.won, None, touched, channels, score, scaled=True)
    same_period = _parts(won, channels)[0].sum(axis=0)
    harvests = _harvests(won.fit, channels)
    if harvests.any():
        won = _without_same_period(won, harvests)
    parts, slopes = _parts(won, channels)
    owed, owed_error = _owed(time, touched, channels, score)
    own_error = _error(np.ones(len(parts)), slopes, won.fit, channels)
    return Adjusted(
        lead=won.moments.lead[: won.moments.ends],
        part=parts,
        owed=owed,
        credit=parts.sum(axis=0) - owed,
        error=np.hypot(own_error, owed_error),
        harvests=harvests,
        unguarded=same_period,
    )


def _owed(time: OpenTime, touched: Touched, k: int, score: Score) -> tuple[Floats, Floats]:
    """Return the closes that losses cost which each channel surely brought about (k,), and their standard errors."""
    if time.lost.sum() < FEWEST_ENDS:
        return np.zeros(k), np.zeros(k)
    lost = _model(time, time.lost, MOST_LOSSES, touched, k, score, scaled=False)
    parts, slopes = _parts(lost, k)
    chance = lost.probability[: len(parts)] * lost.moments.stands_for
    owed, error = chance @ parts, _error(chance, slopes, lost.fit, k)
    sure = owed > SURE * error
    return np.where(sure, owed, 0.0), np.where(sure, error, 0.0)


def _harvests(fit: Fit, k: int) -> Flags:
    """Whether a channel's touches of the same period go with closes far more than its earlier ones."""
    slope, error = fit.theta.reshape(-1, k), np.sqrt(np.diag(fit.covariance).clip(0)).reshape(-1, k)
    lagged = np.maximum(slope[1:].sum(axis=0), 0)
    return np.asarray((slope[0] - lagged > SURE * error[0]) & (slope[0] > TIMES * lagged))


def _without_same_period(model: Model, of: Flags) -> Model:
    """Return the hazard fitted anew without some channels' touches of the same period."""
    x = model.rows.x.copy()
    x[:, : len(of)][:, of] = 0
    rows = model.rows._replace(x=x)
    return model._replace(rows=rows, fit=fitted(rows))


def _model(
    time: OpenTime, ended: Flags, most: int | None, touched: Touched, k: int, score: Score, *, scaled: bool
) -> Model:
    looked = moments(time, ended, most)
    probability = np.clip(score(looked.lead, looked.asked(time)), 1e-6, 1 - 1e-6)
    days = looked.days * _rhythm(looked)
    age = looked.day - time.born[looked.lead]
    edges = (
        np.unique(np.quantile(age[: looked.ends], np.linspace(0, 1, AGES + 1)[1:-1])) if looked.ends else np.empty(0)
    )
    step = np.digitize(age, edges)
    of_age = np.bincount(step, probability * days, len(edges) + 1) / np.bincount(step, days, len(edges) + 1).clip(1e-12)
    relative = np.log(probability) - np.log(of_age.clip(1e-9))[step]
    where = (looked.lead, looked.day, *touched)
    x = [recent(*where, k), *(adstock(*where, np.full(k, half)) for half in HALF_LIVES_DAYS)]
    z = np.column_stack([step[:, None] == np.arange(len(edges) + 1), relative]).astype(np.float64)
    scale = np.exp(relative) if scaled else np.ones(len(relative))
    rows = Rows(looked.ends, days, scale, z[:, np.any(z != 0, axis=0)], np.concatenate(x, axis=1))
    return Model(rows, fitted(rows), looked, probability)


def _rhythm(looked: Moments) -> Floats:
    """How much more ends happen on each row's day of the week than on an average day."""
    weekday = np.floor(looked.day).astype(np.int64) % 7
    ends = np.bincount(weekday[: looked.ends], minlength=7) + 1 / 7
    beat = ends / np.bincount(weekday, looked.days, 7).clip(1e-9)
    return np.asarray((beat / (ends.sum() / looked.days.sum()))[weekday])


def _parts(model: Model, k: int) -> tuple[Floats, Floats]:
    """Part of each end that each channel brought about (ends, k), and by unit of each slope (ends, p)."""
    n, rows = model.rows.ends, model.rows
    rate = model.fit.anyway(rows)[:n] + model.fit.added(rows)[:n].sum(axis=1)
    by_slope = (rows.scale[:, None] * rows.x)[:n] / rate[:, None]
    return (by_slope * model.fit.theta).reshape(n, -1, k).sum(axis=1), by_slope


def _error(weight: Floats, by_slope: Floats, fit: Fit, k: int) -> Floats:
    """Return standard errors (k,) of weighted sums of parts, from those of the slopes."""
    pull = (weight @ by_slope).reshape(-1, k)
    among = fit.covariance.reshape(len(pull), k, len(pull), k)
    variance = np.einsum("ac,acbc,bc->c", pull, among, pull)
    return np.asarray(np.sqrt(np.maximum(variance, 0)))
