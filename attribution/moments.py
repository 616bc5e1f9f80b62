"""Moments at which leads are looked at: how they ended, and a sample of the time in which they were open.

Whole journeys of converters and others cannot be compared: touches stop at the close, so those who close soon have
few (immortal time). The time in which a lead was open can: at each of its moments it might have closed. A sample of
that time, weighed as so many days, and every close are all that the likelihood of a hazard asks for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from attribution.journeys import Codes, Flags, Floats, Ints

CONTROLS = 12  # moments of open time for each end
FEWEST = 60_000  # of them, however few the ends: or credit would move by a third of its interval with the sample's luck
PERIOD_DAYS = 1.0  # touches so recent are of the same period; the score is asked before it


class OpenTime(NamedTuple):
    """Leads from their creation to their close or to the moment of the analysis, in days from any origin."""

    born: Floats  # (l,)
    end: Floats  # (l,)
    won: Flags  # (l,) whether the end is a close
    lost: Flags  # (l,) whether it is a loss


class Touched(NamedTuple):
    """Touches of leads, ordered by lead and time."""

    start: Ints  # (l + 1,) lead i has the touches start[i] to before start[i + 1]
    day: Floats  # (n,)
    channel: Codes  # (n,) of k


class Moments(NamedTuple):
    """Ends of one kind first, then the sample of open time: r rows."""

    lead: Ints  # (r,)
    day: Floats  # (r,)
    ends: int  # how many of the rows are ends
    stands_for: float  # how many ends each of them stands for
    days: Floats  # (r,) of open time that a row stands for, shared by as many as an end stands for; 0 of an end

    def asked(self, time: OpenTime) -> Floats:
        """Days (r,) as of which the score is asked: before the touches of the same period, but not before creation."""
        return np.maximum(self.day - PERIOD_DAYS, time.born[self.lead])


def moments(time: OpenTime, ended: Flags, most: int | None = None, seed: int = 0) -> Moments:
    """Return ends of one kind, evenly chosen if more than ``most``, and moments of all open time put end to end."""
    which = np.flatnonzero(ended & (time.end > time.born))
    all_of_them = len(which)
    if most is not None and len(which) > most:
        which = which[np.linspace(0, len(which) - 1, most).astype(np.int64)]
    stands_for = all_of_them / max(len(which), 1)
    until, sample = np.cumsum(np.maximum(time.end - time.born, 0)), max(FEWEST, CONTROLS * len(which))
    at = (np.arange(sample) + np.random.default_rng(seed).random(sample)) * (until[-1] / sample)
    lead = np.minimum(np.searchsorted(until, at, side="right"), len(until) - 1)
    return Moments(
        lead=np.concatenate([which, lead]),
        day=np.concatenate([time.end[which], time.end[lead] - (until[lead] - at)]),
        ends=len(which),
        stands_for=stands_for,
        days=np.concatenate([np.zeros(len(which)), np.full(sample, until[-1] / sample / stands_for)]),
    )


@njit(cache=True, nogil=True)
def recent(lead: Ints, day: Floats, start: Ints, touched: Floats, channel: Codes, k: int) -> Floats:
    """Touches of the same period (r, k): how many of each channel lie less than a period before each moment."""
    found = np.zeros((len(lead), k))
    for row in range(len(lead)):
        for i in range(start[lead[row]], start[lead[row] + 1]):
            if day[row] - PERIOD_DAYS < touched[i] <= day[row]:
                found[row, channel[i]] += 1
    return found


@njit(cache=True, nogil=True)
def adstock(lead: Ints, day: Floats, start: Ints, touched: Floats, channel: Codes, half_life_days: Floats) -> Floats:
    """Touches of earlier periods (r, k), each counting half for every half-life (k,) since that period ended."""
    found = np.zeros((len(lead), len(half_life_days)))
    for row in range(len(lead)):
        for i in range(start[lead[row]], start[lead[row] + 1]):
            age = day[row] - PERIOD_DAYS - touched[i]
            if age < 0:
                break
            found[row, channel[i]] += 2.0 ** (-age / half_life_days[channel[i]])
    return found
