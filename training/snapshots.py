"""Snapshots: the moments at which open leads are looked at, and what became of them.

A snapshot is (lead, as_of) for a lead that was open for all that was known then. Its label at horizon H is
"won in (as_of, as_of + H]". While that cannot be known yet it is censored: left out, never called a loss.

To judge, only snapshots count whose whole horizon is past. To learn, an outcome that came earlier counts, too: it is
news of the latest leads, which a horizon of 90 days would keep from us for 90 days. What closes early would then be
seen too often, so that each outcome is weighted by one over the share of snapshots old enough to show one as late as
it (inverse probability of censoring, Robins and Rotnitzky 1992). On simulated companies this takes an eighth off the
regret, as much as a competing-risks model of lead-periods does, at an eighth of its cost in scoring.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.history import DAY, NEVER, History, Ints
from features.objections import profiled
from features.outcomes import open_moments, outcomes_of
from features.settings import Goal, Settings, Snapshots
from features.verbs import Moments
from training.verdicts import verdicts_of

Floats = NDArray[np.float64]
RAREST = 0.01  # share of snapshots old enough for an outcome, below which its weight grows no more
SETTLED = 0.95  # share of outcomes that are known as early as this
PRIOR_RATE, PRIOR_LEADS = 0.1, 5.0  # the share of wins before anything is known, and how many leads it is worth
MONDAY = 4 * DAY  # 1970-01-05; weekly snapshots are taken on Mondays at midnight UTC


@dataclass(frozen=True)
class Labelled:
    """Snapshots whose outcome is known, with their labels (1 = won within the horizon) and weights (of all, mean 1)."""

    moments: Moments
    labels: Floats
    weights: Floats

    def between(self, start: int, end: int = NEVER) -> Labelled:
        """Return the snapshots taken in [start, end), in microseconds."""
        return self.chosen((self.moments.as_of >= start) & (self.moments.as_of < end))

    def chosen(self, which: NDArray[np.bool_]) -> Labelled:
        """Return some of the snapshots."""
        moments = Moments(self.moments.history, self.moments.lead[which], self.moments.as_of[which])
        return Labelled(moments, self.labels[which], self.weights[which])

    @property
    def rate(self) -> float:
        """Return the share of wins, as if a few leads had been seen before: it is never 0 or 1."""
        wins = float(self.weights @ self.labels)
        return (wins + PRIOR_RATE * PRIOR_LEADS) / (float(self.weights.sum()) + PRIOR_LEADS)


def snapshots(history: History, goal: Goal, when: Snapshots, until: int) -> Moments:
    """Return all moments before ``until`` (microseconds) at which an open lead is looked at, by lead and time."""
    outcomes = outcomes_of(history, goal)
    opened = np.minimum(outcomes.opened, until)
    last = np.minimum(np.minimum(outcomes.closed_known, opened + int(when.max_age_days * DAY)), until)
    if when.ages_days:
        ages = np.sort(np.array(when.ages_days) * DAY).astype(np.int64)
        lead = np.repeat(np.arange(len(history.lead_ids)), len(ages))
        as_of = (opened[:, None] + ages).ravel()
    else:
        lead, as_of = _calendar(opened, last, int(when.every_days * DAY))
    chosen = as_of < np.minimum(last[lead] + 1, until)
    return open_moments(history, outcomes, Moments(history, lead[chosen], as_of[chosen]))


def labelled(history: History, settings: Settings, before: int) -> Labelled:
    """Return the snapshots to judge by: those whose outcome was known before a moment (microseconds), all alike.

    ``mature_when = "horizon"``: the horizon and the reporting lag are past. ``"closed"``: the lead is won or
    lost, and the label is whether it was won, however late. A snapshot after a close that was not yet known
    is left out: nobody can win a lead twice. What became of a lead that was found to be another's duplicate is what
    became of that lead. Nothing is learned from who has objected to profiling by then, or was erased, nor from what
    sales found to be no lead at all (training/verdicts.py).
    """
    rows, needed, observed = _followed(history, settings, before)
    if settings.snapshots.mature_when == "closed":
        return rows.chosen(needed < NEVER)
    return rows.chosen(observed > int(settings.goal.horizon_days * DAY))


def learnable(history: History, settings: Settings, before: int) -> Labelled:
    """Return the snapshots to learn from: those of ``labelled``, and those whose lead was closed early, weighted.

    While no snapshot's whole horizon is past there are none: nobody could be seen to stay open through it.
    """
    rows, needed, observed = _followed(history, settings, before)
    horizon = int(settings.goal.horizon_days * DAY)
    if settings.snapshots.mature_when == "closed" or not (observed > horizon).any():
        return labelled(history, settings, before)
    known = needed < observed
    weights = _as_old(needed[known], observed)
    return replace(rows.chosen(known), weights=weights / weights.mean())


@dataclass(frozen=True)
class Lives:
    """Snapshots and what became of their leads: when each was closed, or until when it was watched, and how.

    ``how`` is 0 for a lead that is still open, 1 for a win, 2 for a loss; moments are in microseconds.
    """

    moments: Moments
    ends: Ints
    watched: Ints
    how: Ints

    def chosen(self, which: Ints) -> Lives:
        """Return some of the snapshots."""
        moments = Moments(self.moments.history, self.moments.lead[which], self.moments.as_of[which])
        return Lives(moments, self.ends[which], self.watched[which], self.how[which])


def lives(history: History, settings: Settings, before: int) -> Lives:
    """Return all snapshots before a moment, those of open leads among them, and what is known by then of each."""
    moments, won, closed, no_fit = _open_and_known(history, settings, before)
    refused = (no_fit > moments.as_of) & (won >= NEVER)  # which is a loss, from then on
    closed = np.where(refused, np.minimum(closed, no_fit), closed)
    watched = before - int(settings.snapshots.reporting_lag_days * DAY)
    how = np.where(closed >= watched, 0, np.where(won <= closed, 1, 2))
    return Lives(moments, np.minimum(closed, watched), np.full(len(moments), watched), how)


def so_far(history: History, settings: Settings, before: int) -> tuple[Labelled, Floats]:
    """Return snapshots with whether each was won so far, and the share of all wins that show as early as it could.

    Of ``mature_when = "closed"``, which knows no end, only those that are so old that all but a few are closed.
    """
    rows, needed, observed = _followed(history, settings, before)
    known = needed < np.minimum(observed, NEVER)
    if settings.snapshots.mature_when == "closed":
        old = observed > np.quantile(needed[known], SETTLED) if known.any() else known
        return rows.chosen(known & old), np.ones((known & old).sum())
    won = known & (rows.labels == 1)
    if not won.any():
        return rows.chosen(won), np.empty(0)
    order, weights = np.argsort(needed[won]), _as_old(needed[won], observed)
    share = np.concatenate([[0.0], np.cumsum(weights[order])]) / weights.sum()
    early = share[np.searchsorted(needed[won][order], observed)]
    may = early > 0
    return replace(rows, labels=won.astype(np.float64)).chosen(may), early[may]


def _followed(history: History, settings: Settings, before: int) -> tuple[Labelled, Ints, Ints]:
    """Return all snapshots with their labels, as far as known; and of each in microseconds how long it takes to know.

    That is until its lead is closed or the horizon past, and how long it could be observed so far.
    """
    goal, when = settings.goal, settings.snapshots
    moments, won, closed, no_fit = _open_and_known(history, settings, before)
    needed, observed = closed - moments.as_of, before - int(when.reporting_lag_days * DAY) - moments.as_of
    if when.mature_when == "closed":
        labels, needed = won < NEVER, np.where(closed < NEVER, needed, NEVER)
    else:
        horizon = int(goal.horizon_days * DAY)
        labels, needed = won <= moments.as_of + horizon, np.minimum(needed, horizon)
    refused = (no_fit < NEVER) & (no_fit > moments.as_of) & ~labels
    needed = np.where(refused, np.minimum(needed, no_fit - moments.as_of), needed)
    return Labelled(moments, labels.astype(np.float64), np.ones(len(moments))), needed, observed


def _as_old(needed: Ints, observed: Ints) -> Floats:
    """Return how much each outcome counts, for all snapshots that are too young to show one that takes as long."""
    as_old = 1 - np.searchsorted(np.sort(observed), needed, "right") / len(observed)
    return np.asarray(1 / as_old.clip(RAREST))


def _open_and_known(history: History, settings: Settings, before: int) -> tuple[Moments, Ints, Ints, Ints]:
    """Return all snapshots that may be learned from, and when each lead was won, closed, and found to be no fit."""
    moments = snapshots(history, settings.goal, settings.snapshots, before)
    outcomes, said = outcomes_of(history, settings.goal, before), verdicts_of(history, settings.feedback, before)
    person = history.turned_out(moments.lead, before)
    won, closed = outcomes.won[person], outcomes.closed[person]
    usable = (closed > moments.as_of) & profiled(history, before)[moments.lead] & ~said.bad_data[person]
    chosen = Moments(history, moments.lead[usable], moments.as_of[usable])
    return chosen, won[usable], closed[usable], said.no_fit[person][usable]


def _calendar(opened: Ints, last: Ints, step: int) -> tuple[Ints, Ints]:
    """Return the leads and moments at every multiple of ``step`` after a lead was opened and up to its last moment."""
    first = (opened - MONDAY) // step + 1
    count = np.maximum((last - MONDAY) // step - first + 1, 0)
    lead = np.repeat(np.arange(len(opened)), count)
    place = np.arange(len(lead)) - np.repeat(np.cumsum(count) - count, count)
    return lead, MONDAY + (first[lead] + place) * step
