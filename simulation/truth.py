"""The truth: the exact probability that a lead will close, and the exact effect of every channel.

What a lead did up to s tells of its hidden intensity: with n events, and exposures Λ (of what it does) and G (of
winning), Z given the past is gamma with shape K + n and rate K + Λ + G. Were the future's exposure G' fixed, the
chance not to win in it would be ((K + Λ + G) / (K + Λ + G + G'))^(K + n). It is not: touches will come and answer
what the lead will do. But all rates are linear in the adstock A, so that given Z = z

    E[exp(−hazards of the coming days) | A] = exp(−α − v · A),

where α and v follow from the day after's, one day at a time (an affine process in discrete time, as in Duffie,
Filipović, Schachermayer 2003). The mean over Z is a Gauss–Laguerre sum. Losing is a competing risk, taken on
Fridays: with T the chance to be still open after one of them, and U before anybody is given up on it, T of the
last one minus U of this one are won in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import numpy as np
import pandas as pd
from numba import njit

from simulation.company import Company
from simulation.law import Bools, Floats, Ints, K, Rules, rules
from simulation.lives import Cohort, States, lives
from simulation.people import lead_ids

NODES = 8  # of the Gauss–Laguerre sum; 40 change no probability by more than 1e-7
THREADS = 2


def truth(company: Company, as_of: datetime, horizons: Sequence[int] = (30, 60, 90)) -> pd.DataFrame:
    """Return the exact probability of every lead that is open at a midnight (UTC): lead_id, horizon_days, probability.

    Given is all that happened before, and the law; the hidden intensity is not.

    Raises:
        ValueError: when ``as_of`` is not midnight, or not among the company's days.

    """
    day = (pd.Timestamp(as_of).tz_convert("UTC") - company.first_day) / pd.Timedelta(days=1)
    if day != int(day) or not 0 < day <= company.days:
        last = company.first_day + pd.Timedelta(days=company.days)
        raise ValueError(
            f"as_of is {as_of.isoformat()}; give a midnight in UTC after {company.first_day:%Y-%m-%d}, "
            f"up to {last:%Y-%m-%d}."
        )
    known, weekday, law = [], company.first_day.weekday(), rules(company.world)
    for some in company.chapters():
        leads = some.cohort.chosen(np.flatnonzero(some.cohort.born[: len(some.leads)] < day))
        look = np.full(len(leads.number), int(day))
        states = lives(leads, law, weekday, company.seed, look, events=False).states
        chance = pd.DataFrame(close_probabilities(leads, states, law, weekday, horizons), columns=list(horizons))
        rows = chance.assign(lead_id=lead_ids(leads.number))[states.still_open]
        known.append(rows.melt("lead_id", var_name="horizon_days", value_name="probability"))
    return pd.concat(known, ignore_index=True)


def close_probabilities(
    cohort: Cohort, states: States, law: Rules, weekday: int, horizons: Sequence[int], nodes: int = NODES
) -> Floats:
    """Return the probability (m, h) that each lead wins within each horizon of whole days; NaN if it is not open.

    Args:
        cohort: m people.
        states: what the past has left of them, at the beginning of a day.
        law: that they live under.
        weekday: of day 0; Monday is 0.
        horizons: h numbers of days.
        nodes: of the sum over the hidden intensity.

    """
    chance = np.full((len(cohort.number), len(horizons)), np.nan)
    some_open = np.flatnonzero(states.still_open)
    sums = {events: _laguerre(K + events, nodes) for events in np.unique(states.events[some_open]).tolist()}

    def answer(who: Ints) -> None:
        z, weight = np.array([sums[events] for events in states.events[who].tolist()]).transpose(1, 0, 2)
        z = z / (K + states.exposure[who])[:, None]
        first = (states.day[who] + weekday) % 7
        chance[who] = _chances(cohort.chosen(who), law, states.adstock[who], z, weight, first, np.array(horizons))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(answer, filter(len, np.array_split(some_open, 8 * THREADS))))
    return chance


def _laguerre(shape: float, nodes: int) -> Floats:
    """Return nodes and weights (2, nodes) of the mean over a gamma of that shape and rate 1 (Golub, Welsch 1969)."""
    i = np.arange(nodes)
    beside = np.sqrt(i[1:] * (i[1:] + shape - 1))
    values, vectors = np.linalg.eigh(np.diag(2 * i + shape) + np.diag(beside, 1) + np.diag(beside, -1))
    return np.stack([values, vectors[0] ** 2])


@njit(cache=True, nogil=True)
def _chances(
    cohort: Cohort, law: Rules, adstock: Floats, z: Floats, weight: Floats, first: Ints, horizons: Ints
) -> Floats:
    chance = np.zeros((len(z), len(horizons)))
    longest = horizons.max()
    still_open, given_up_next = np.zeros(longest // 7 + 1), np.zeros(longest // 7 + 1)
    v, come = np.zeros(len(law.kept)), np.zeros(len(law.by_lead))
    for i in range(len(z)):
        friday = (law.review - first[i]) % 7  # the days before the first review
        for node in range(z.shape[1]):
            who = (cohort.engages[i] * z[i, node], cohort.closes[i] * z[i, node], cohort.leaves[i])
            how = (cohort.came_by[i], cohort.routing[i])
            # T and U after every review are one recursion each, since all of them begin on a Friday.
            for last_review, chances in ((False, given_up_next), (True, still_open)):
                v[:] = 0
                alpha = 0.0
                for back in range(longest):
                    giving_up = back % 7 == 0 and (back > 0 or last_review)
                    alpha += _day_before(who, how, law, law.week[(law.review - back) % 7], giving_up, v, come)
                    if back >= friday and (back - friday) % 7 == 0:
                        chances[(back - friday) // 7] = np.exp(-alpha - _dot(v, adstock[i]))
            for h in range(len(horizons)):
                v[:] = 0
                alpha = 0.0
                for back in range(horizons[h]):
                    day = (first[i] + horizons[h] - 1 - back) % 7
                    alpha += _day_before(who, how, law, law.week[day], day == law.review and back > 0, v, come)
                before, won = 1.0, 0.0
                for review in range((horizons[h] - 1 - friday + 6) // 7):  # those before the horizon's last day
                    won += before - given_up_next[review]
                    before = still_open[review]
                won += before - np.exp(-alpha - _dot(v, adstock[i]))
                chance[i, h] += weight[i, node] * won
    return chance


@njit(cache=True, nogil=True, inline="always")
def _day_before(
    who: tuple[float, float, float],
    how: tuple[Bools, int],
    law: Rules,
    beat: float,
    review: bool,
    v: Floats,
    come: Floats,
) -> float:
    """Turn v at a day's end into v at its beginning, and return what the day adds to α."""
    engages, closes, leaves = who
    came_by, routing = how
    alpha = beat * closes * law.win
    for j in range(len(come)):  # E[exp(−jump · N)] of a Poisson N
        left = 0.0
        for at in range(law.jump.start[j], law.jump.start[j + 1]):
            left += law.jump.value[at] * v[law.jump.state[at]]
        come[j] = 0.0
        if left != 0:
            scale = engages if law.by_lead[j] else (law.own if came_by[j] else 1.0)
            come[j] = beat * scale * (1 - np.exp(-left))
            alpha += law.base[routing, j] * come[j]
    for at in range(len(v)):
        v[at] = law.kept[at] * v[at] + beat * closes * law.wins[at]
    for j in range(len(come)):
        if come[j] != 0:
            row = routing * len(come) + j
            for at in range(law.gain.start[row], law.gain.start[row + 1]):
                v[law.gain.state[at]] += law.gain.value[at] * come[j]
    if review:
        alpha += leaves * law.loss
        for at in range(len(v)):
            v[at] += leaves * law.loses[at]
    return alpha


@njit(cache=True, nogil=True, inline="always")
def _dot(v: Floats, adstock: Floats) -> float:
    total = 0.0
    for at in range(len(v)):
        total += v[at] * adstock[at]
    return total
