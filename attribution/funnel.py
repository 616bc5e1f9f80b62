"""The funnel of lead-days: in which state a lead was, what reached it that day, and what followed.

A state is a third of the scores from before the day (``THIRDS``: as many closes in each) and the last channel that
reached the lead within ``FADES_DAYS`` before it, if any: so what a touch leaves behind is told from what others leave.
Channels that reached it earlier are forgotten: one that often comes after a channel that works seems to take away.
Days come from the moments that ``moments`` looks at. A day on which several channels reached a lead is shared by them.
Who was lost has left, and so has who was still open at the end: what closes is what closes in the time looked at.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pandas as pd
from numba import njit

from attribution.adjusted import MOST_LOSSES, NORMAL_90
from attribution.counterfactual import Funnel, counterfactual_values
from attribution.credit import Unattributed
from attribution.journeys import Codes, Floats, Ints
from attribution.lead_days import LeadDays, Probability, refuse_too_few
from attribution.moments import PERIOD_DAYS, OpenTime, Touched, moments, recent
from attribution.shares import whole
from attribution.unexposed import Score
from features.history import DAY

FADES_DAYS = 14.0  # after which nobody remembers what reached it last
THIRDS = (1 / 3, 2 / 3)
MOST_BEGINNINGS = 10_000  # leads looked at as they begin; the rest are like them
GROUPS = 10  # of leads, each left out once, by which the credit's error is told


class Steps(NamedTuple):
    """r days of leads, each standing for some, and b leads as they begin."""

    states: int  # m
    lead: Ints  # (r,)
    state: Ints  # (r,) of m
    action: Floats  # (r, 1 + k) share of nothing and of each channel in what reached it; adds up to 1
    followed_by: Ints  # (r,) a state, a close (m) or that the lead left (m + 1)
    days: Floats  # (r,)
    beginner: Ints  # (b,) lead
    beginning: Ints  # (b,) state

    def funnel(self, without: int | None = None) -> Funnel:
        """Count the days, leaving out one group of leads."""
        m = self.states
        days = np.zeros((m, self.action.shape[1], m + 2))
        kept, begins = (who % GROUPS != without for who in (self.lead, self.beginner))
        np.add.at(days.swapaxes(1, 2), (self.state[kept], self.followed_by[kept]),
                  self.action[kept] * self.days[kept, None])  # fmt: skip
        start = np.bincount(self.beginning[begins], minlength=m)
        return Funnel(start / max(start.sum(), 1), days)


def steps(time: OpenTime, touched: Touched, k: int, score: Score) -> Steps:
    """Return the days of leads that are looked at; the score is as ``adjusted`` asks it."""
    looked = moments(time, time.won)
    leaves = np.flatnonzero(~time.won & (time.end > time.born))
    some = leaves[np.linspace(0, len(leaves) - 1, min(len(leaves), MOST_LOSSES)).astype(np.int64)]
    lead, day = np.append(looked.lead, some), np.append(looked.day, time.end[some])
    before = np.maximum(day - PERIOD_DAYS, time.born[lead])
    stay = slice(looked.ends, len(looked.lead))
    chance = score(lead, before)
    thirds = np.quantile(chance[: looked.ends], THIRDS)

    def state(who: Ints, when: Floats, likely: Floats) -> Ints:
        return np.searchsorted(thirds, likely) * (k + 1) + 1 + _last(who, when, *touched)

    begins = np.linspace(0, len(time.born) - 1, min(len(time.born), MOST_BEGINNINGS)).astype(np.int64)
    won = (len(THIRDS) + 1) * (k + 1)
    followed_by = np.repeat([won, won, won + 1], [looked.ends, len(looked.lead) - looked.ends, len(some)])
    followed_by[stay] = state(lead[stay], day[stay], score(lead[stay], day[stay]))
    reached = recent(lead, day, *touched, k) > 0
    action = np.column_stack([~reached.any(axis=1), reached]).astype(np.float64)
    days = np.concatenate(
        [np.ones(looked.ends), looked.days[stay], np.full(len(some), len(leaves) / max(len(some), 1))]
    )
    return Steps(won, lead, state(lead, before, chance), action / action.sum(axis=1, keepdims=True), followed_by, days,
                 begins, state(begins, time.born[begins], score(begins, time.born[begins])))  # fmt: skip


def counterfactual_credit(days: LeadDays, probability: Probability) -> tuple[Floats, Floats]:
    """Return each channel's part of the closes (k,), and its standard error: by leaving out groups of leads in turn.

    Raises:
        DataError: when so little closed that nothing can be told.

    """
    refuse_too_few("shapley_counterfactual", days)
    seen = steps(days.time, days.touched, len(days.channels), lambda lead, day: probability(lead, _moment(day)))
    parts = np.stack([_parts(seen.funnel(without)) for without in (None, *range(GROUPS))])
    spread = ((parts[1:] - parts[1:].mean(axis=0)) ** 2).sum(axis=0)
    return parts[0], np.sqrt((GROUPS - 1) / GROUPS * spread)


def _parts(funnel: Funnel) -> Floats:
    found = counterfactual_values(funnel)
    return np.asarray(found.pair.sum(axis=0) / (found.pair.sum() + found.anyway))


def _moment(day: Floats) -> Ints:
    return (day * DAY).astype(np.int64)


def table(
    days: LeadDays, probability: Probability, wins: pd.DataFrame, model: str
) -> tuple[pd.DataFrame, Unattributed]:
    """Return the channels' rows as ``credit.Attribution`` has them, and what would have closed anyway.

    Value goes as closes do; ``wins`` has value_cents, all of which is handed out.
    """
    part, error = counterfactual_credit(days, probability)
    total = int(wins["value_cents"].sum())
    exact = total * np.append(part, 1 - part.sum())
    cents = [
        Decimal(amount).scaleb(-2) for amount in whole(exact, np.array([total]), np.array([0, len(exact)])).tolist()
    ]
    credit, half = len(wins) * part, len(wins) * NORMAL_90 * error
    rows = pd.DataFrame(
        {"model": model, "channel": list(days.channels), "credit": credit, "value": cents[:-1],
         "low": credit - half, "high": credit + half}
    ).sort_values("credit", ascending=False, ignore_index=True)  # fmt: skip
    return rows, {"credit": len(wins) - float(credit.sum()), "value": cents[-1]}


@njit(cache=True, nogil=True)
def _last(lead: Ints, day: Floats, start: Ints, touched: Floats, channel: Codes) -> Ints:
    """Return which channel reached each lead last, at or before a day, and not longer ago than is remembered; or −1."""
    found = np.full(len(lead), -1)
    for row in range(len(lead)):
        for i in range(start[lead[row]], start[lead[row] + 1]):
            if day[row] - FADES_DAYS < touched[i] <= day[row]:
                found[row] = channel[i]
    return found
