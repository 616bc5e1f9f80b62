"""Score-adjusted attribution: what closes less when a channel's touches are taken away.

Two hazards are fitted to the time in which leads were open (``moments``, ``hazard``): that of closing and that of being
lost, each with what touches add to it. The baseline is the lead's score from before the touches, by what it is and does
of its own, so that intent is not mistaken for effect. Of each close, a channel's credit is the part of the rate that
its touches added; of each loss that its touches added, it owes the chance that the lead would have closed. The rest
of the closes would have happened anyway. Credit may be negative, and is shown so.

Whom targeting sees is keener than the score knows. So what a touch tells of intent is told apart from its effect: that
somebody was ever touched, and how often, fades no more than intent does. A channel is guarded so far as its touches
follow the score (``targeting``).

A channel whose touches come right before the close far more than later effects can explain only collects what was
decided (brand search on the way to signing): its touches of the same period then count for nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from attribution.hazard import Fit, Rows, fitted
from attribution.journeys import Flags, Floats, Ints
from attribution.moments import Moments, OpenTime, Touched, adstock, recent
from attribution.targeting import precision, targeting
from attribution.unexposed import Score, unexposed

HALF_LIVES_DAYS = (7.0, 10.0, 14.0)  # of what touches leave behind; closes can hardly tell these apart: all are asked
MIDDLE = 1  # of them, by which harvests are told
EARNING = 2  # sets of exposure that earn credit: touches of the same period, and earlier ones as they fade
MOST_LOSSES = 10_000  # looked at; the rest are like them
SURE = 4.0  # standard errors that a harvest must stand out by
VERY_SURE = 8.0  # that an effect on losses must: they are so many that a baseline a little off looks like effects
TIMES = 1.5  # times the lagged effect that a harvest must be
NORMAL_90 = 1.645
FEWEST_ENDS = 20  # closes, or losses, from which anything can be told


class Adjusted(NamedTuple):
    """Credit of k channels for the closes of leads."""

    lead: Ints  # (closes,) who closed
    part: Floats  # (closes, k) of each close
    owed: Floats  # (k,) closes lost by losses that the channel brought about
    credit: Floats  # (k,) parts added up, less what is owed
    covariance: Floats  # (k, k) of the credit: how channels' errors go together
    harvests: Flags  # (k,)
    unguarded: Floats  # (k,) parts added up, had harvests been taken for effects
    later: float  # chance that a close that touches brought about would else have come later

    @property
    def anyway(self) -> float:
        """Closes that would have happened without any touch."""
        return float(len(self.lead) - self.credit.sum())

    @property
    def error(self) -> Floats:
        """Standard error of the credit (k,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance).clip(0)))

    @property
    def low_and_high(self) -> Floats:
        """90 % interval of the credit (2, k)."""
        return self.credit + np.outer([-NORMAL_90, NORMAL_90], self.error)


class Model(NamedTuple):
    """One hazard as fitted.

    The columns of exposure are sets of k: touches of the same period, earlier ones as they fade, and all of them. The
    last is a memory of whom targeting saw: it does not fade, as intent does not and effects do, and earns nothing. That
    of closing knows besides, among the columns of the baseline, who was touched at all.
    """

    rows: Rows
    fit: Fit
    moments: Moments
    probability: Floats  # (r,)


def score_adjusted(time: OpenTime, touched: Touched, channels: int, score: Score) -> Adjusted:
    """Credit of the channels that are numbered 0 to ``channels`` − 1.

    The score must not have learned from these leads' own outcomes, nor from the touches that are credited. Credit is
    the mean over the half-lives, and its covariance holds how far these are apart.
    """
    models = _closing(time, touched, channels, score)
    unguarded = _parts(models[MIDDLE], channels)[0].sum(axis=0)
    harvests = _harvests(models[MIDDLE], channels)
    if harvests.any():
        models = [_without_same_period(model, harvests) for model in models]
    each, slopes = zip(*(_parts(model, channels) for model in models), strict=True)
    parts = np.mean(each, axis=0)
    owed, of_owed = _owed(time, touched, channels, score)
    own = _covariance(np.ones(len(parts)), slopes[MIDDLE], models[MIDDLE].fit, channels)
    apart = np.cov([some.sum(axis=0) for some in each], rowvar=False).reshape(channels, channels)
    return Adjusted(
        lead=models[MIDDLE].moments.lead[: len(parts)],
        part=parts,
        owed=owed,
        credit=parts.sum(axis=0) - owed,
        covariance=own + apart + of_owed,
        harvests=harvests,
        unguarded=unguarded,
        later=_later(parts, models[MIDDLE].probability[: len(parts)]),
    )


def _later(parts: Floats, probability: Floats) -> float:
    """Return the mean score of those who closed, weighed by what touches had to do with it."""
    weight = parts.sum(axis=1).clip(0)
    return float(weight @ probability / weight.sum()) if weight.sum() > 0 else 0.0


def _owed(time: OpenTime, touched: Touched, k: int, score: Score) -> tuple[Floats, Floats]:
    """Return the closes that losses cost which each channel surely brought about (k,), and their covariance (k, k)."""
    if time.lost.sum() < FEWEST_ENDS:
        return np.zeros(k), np.zeros((k, k))
    lost = _losing(time, touched, k, score)
    parts, slopes = _parts(lost, k)
    chance = lost.probability[: len(parts)] * lost.moments.stands_for
    owed, covariance = chance @ parts, _covariance(chance, slopes, lost.fit, k)
    sure = owed > VERY_SURE * np.sqrt(np.diag(covariance))
    return np.where(sure, owed, 0.0), np.where(np.outer(sure, sure), covariance, 0.0)


def _harvests(model: Model, k: int) -> Flags:
    """Whether a channel's touches of the same period go with closes far more than its earlier ones."""
    fit, there = model.fit, model.rows.x[:, :k].any(axis=0)
    slope, error = fit.theta.reshape(-1, k), np.sqrt(np.diag(fit.covariance).clip(0)).reshape(-1, k)
    lagged = np.maximum(slope[1], 0)
    return np.asarray(there & (slope[0] - lagged > SURE * error[0]) & (slope[0] > TIMES * lagged))


def _without_same_period(model: Model, of: Flags) -> Model:
    """Return the hazard fitted anew without some channels' touches of the same period."""
    x = model.rows.x.copy()
    x[:, : len(of)][:, of] = 0
    rows = model.rows._replace(x=x)
    return model._replace(rows=rows, fit=fitted(rows))


def _closing(time: OpenTime, touched: Touched, k: int, score: Score) -> list[Model]:
    """Return the hazard of closing, which goes with the score, fitted with each half-life."""
    some = unexposed(time, time.won, None, score)
    rows = some.rows._replace(scale=np.exp(some.relative))
    exposed = [rows._replace(x=_exposure(some.moments, touched, k, days)) for days in HALF_LIVES_DAYS]
    n = rows.ends
    follows = targeting(exposed[MIDDLE].x[n:, :k] > 0, some.relative[n:], some.age[n:], some.moments.days[n:])
    return [Model(them, fitted(them), some.moments, some.probability) for them in _guarded(exposed, follows)]


def _losing(time: OpenTime, touched: Touched, k: int, score: Score) -> Model:
    """Return the hazard of being lost, on which touches count alike for whoever they reach."""
    some = unexposed(time, time.lost, MOST_LOSSES, score)
    rows = some.rows._replace(x=_exposure(some.moments, touched, k, HALF_LIVES_DAYS[MIDDLE]))
    rows = rows._replace(precision=np.zeros(rows.z.shape[1] + rows.x.shape[1]))
    return Model(rows, fitted(rows), some.moments, some.probability)


def _exposure(looked: Moments, touched: Touched, k: int, half_life: float) -> Floats:
    """Return touches of the same period, earlier ones as they fade, and all of the latter (r, 3 k)."""
    where = (looked.lead, looked.day, *touched)
    earlier = [adstock(*where, np.full(k, fades)) for fades in (half_life, np.inf)]
    return np.concatenate([recent(*where, k), *earlier], axis=1)


def _guarded(exposed: list[Rows], follows: Floats) -> list[Rows]:
    """Return rows whose baseline knows who was ever touched, and priors on what tells of intent.

    If touches follow the score, being touched cannot tell of less intent than it knows, nor of more if they shun it.
    """
    k, middle = len(follows), exposed[MIDDLE]
    ever = middle.x[:, EARNING * k :] > 0
    for_good, intent = precision(follows, middle.ends / float(middle.days @ middle.scale))
    known = np.concatenate([np.zeros(middle.z.shape[1]), intent, np.zeros(EARNING * k), for_good])
    told = fitted(middle._replace(z=np.column_stack([middle.z, ever]), precision=known)).beta[-k:]
    z = np.column_stack([middle.z, ever & (told * follows >= 0)])
    return [some._replace(z=z, precision=known) for some in exposed]


def _parts(model: Model, k: int) -> tuple[Floats, Floats]:
    """Part of each end that each channel brought about (ends, k), and by unit of each slope (ends, p)."""
    n, rows = model.rows.ends, model.rows
    by_slope = rows.x[:n] * model.fit.part_per_unit(rows)[:n, None]
    by_slope[:, EARNING * k :] = 0
    return (by_slope * model.fit.theta).reshape(n, -1, k).sum(axis=1), by_slope


def _covariance(weight: Floats, by_slope: Floats, fit: Fit, k: int) -> Floats:
    """Return the covariance (k, k) of weighted sums of parts, from that of the slopes."""
    pull = (weight @ by_slope).reshape(-1, k)
    among = fit.covariance.reshape(len(pull), k, len(pull), k)
    return np.asarray(np.einsum("ac,acbd,bd->cd", pull, among, pull))
