"""Snapshots: the moments at which open leads are looked at, and what became of them.

A snapshot is (lead, as_of) for a lead that was open for all that was known then. Its label at horizon H is
"won in (as_of, as_of + H]". While that cannot be known yet it is censored: left out, never called a loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.history import DAY, NEVER, History, Ints
from features.objections import profiled
from features.outcomes import open_moments, outcomes_of
from features.settings import Goal, Settings, Snapshots
from features.verbs import Moments

MONDAY = 4 * DAY  # 1970-01-05; weekly snapshots are taken on Mondays at midnight UTC


@dataclass(frozen=True)
class Labelled:
    """Snapshots whose outcome is known, with their labels (1 = won within the horizon)."""

    moments: Moments
    labels: NDArray[np.float64]

    def between(self, start: int, end: int = NEVER) -> Labelled:
        """Return the snapshots taken in [start, end), in microseconds."""
        chosen = (self.moments.as_of >= start) & (self.moments.as_of < end)
        moments = Moments(self.moments.history, self.moments.lead[chosen], self.moments.as_of[chosen])
        return Labelled(moments, self.labels[chosen])


def snapshots(history: History, goal: Goal, when: Snapshots, until: int) -> Moments:
    """Return all moments before ``until`` at which an open lead is looked at, in order of lead and time."""
    outcomes = outcomes_of(history, goal)
    last = np.minimum(np.minimum(outcomes.closed_known, history.created + int(when.max_age_days * DAY)), until)
    if when.ages_days:
        ages = np.sort(np.array(when.ages_days) * DAY).astype(np.int64)
        lead = np.repeat(np.arange(len(history.lead_ids)), len(ages))
        as_of = (history.created[:, None] + ages).ravel()
    else:
        lead, as_of = _calendar(history.created, last, int(when.every_days * DAY))
    chosen = as_of < np.minimum(last[lead] + 1, until)
    return open_moments(history, outcomes, Moments(history, lead[chosen], as_of[chosen]))


def labelled(history: History, settings: Settings, before: int) -> Labelled:
    """Return the snapshots whose outcome was known before a moment (microseconds).

    ``mature_when = "horizon"``: the horizon and the reporting lag are past. ``"closed"``: the lead is won or
    lost, and the label is whether it was won, however late. A snapshot after a close that was not yet known
    is left out: nobody can win a lead twice. What became of a lead that was found to be another's duplicate is what
    became of that lead. Nothing is learned from who has objected to profiling by then, or was erased.
    """
    goal, when = settings.goal, settings.snapshots
    moments = snapshots(history, goal, when, before)
    known = outcomes_of(history, goal, before)
    person = history.turned_out(moments.lead, before)
    won, closed = known.won[person], known.closed[person]
    if when.mature_when == "closed":
        mature, labels = closed < NEVER, won < NEVER
    else:
        end = moments.as_of + int(goal.horizon_days * DAY)
        mature, labels = end + int(when.reporting_lag_days * DAY) < before, won <= end
    usable = mature & (closed > moments.as_of) & profiled(history, before)[moments.lead]
    chosen = Moments(history, moments.lead[usable], moments.as_of[usable])
    return Labelled(chosen, labels[usable].astype(np.float64))


def _calendar(created: Ints, last: Ints, step: int) -> tuple[Ints, Ints]:
    """Return every multiple of ``step`` after a lead's creation and up to its last moment."""
    first = (created - MONDAY) // step + 1
    count = np.maximum((last - MONDAY) // step - first + 1, 0)
    lead = np.repeat(np.arange(len(created)), count)
    place = np.arange(len(lead)) - np.repeat(np.cumsum(count) - count, count)
    return lead, MONDAY + (first[lead] + place) * step
