"""Happenings: lives in time, every event at its second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulation.dice import uniform
from simulation.law import CHANNELS, KINDS, PROCESSES, Floats, Ints
from simulation.lives import HARVESTED, NOT_BORN, OPEN, WON, Lives
from simulation.people import People

SECOND = 1_000_000  # microseconds
DAY, MINUTE = 86_400 * SECOND, 60 * SECOND
NEVER = np.iinfo(np.int64).max
HOURS = np.array([2, 1, 1, 1, 1, 2, 5, 12, 50, 95, 110, 105, 80, 75, 95, 105, 95, 75, 55, 13, 9, 6, 4, 3])
OFFICE_HOURS = np.array([0] * 9 + [1] * 10 + [0] * 5)  # when sales calls, meets and signs
REVIEW = np.array([0] * 16 + [1] * 2 + [0] * 6)  # Fridays, when leads are given up
MORE_PAGES = 0.85  # chance that a visitor turns one more page
MOST_PAGES = 20
FORM = len(PROCESSES)  # stands among the processes for what made somebody a lead
AT, PAGES, OPENING, CLOSING = range(1, 5)  # what is drawn here


@dataclass(frozen=True)
class Happenings:
    """What happened to some people, ordered by person and time; times in microseconds since 1970.

    ``people`` has a row for everybody: number, is_lead, born and closed (NEVER if not), end.
    """

    people: pd.DataFrame
    events: pd.DataFrame  # person, process, at, nth; each page of a visit is one


def happenings(some: People, happened: Lives, first_day: int, seed: int) -> Happenings:
    """Return lives in time: nothing reaches a lead after its end but what was on its way."""
    cohort, leads = some.cohort, len(some.leads)
    number = cohort.number
    everyone = pd.DataFrame({"number": number, "is_lead": np.arange(len(number)) < leads})
    born_at = first_day + np.where(cohort.born < NOT_BORN, cohort.born, 0) * DAY
    everyone["born"] = np.where(everyone["is_lead"], born_at + _moment(HOURS, uniform(seed, number, OPENING)), NEVER)
    closing = uniform(seed, number, CLOSING)
    at_close = np.where(happened.end == WON, _moment(OFFICE_HOURS, closing), _moment(REVIEW, closing))
    everyone["closed"] = np.where(happened.end != OPEN, first_day + happened.end_day * DAY + at_close, NEVER)
    everyone["end"] = happened.end
    return Happenings(everyone, _events(everyone, happened, first_day, seed))


def _events(everyone: pd.DataFrame, happened: Lives, first_day: int, seed: int) -> pd.DataFrame:
    number, born, closed = (everyone[name].to_numpy() for name in ("number", "born", "closed"))
    places = (number[happened.person], happened.day, happened.process, happened.nth)
    u = uniform(seed, *places, AT)
    by_sales = CHANNELS[happened.process] == "Sales outreach"
    at = first_day + happened.day * DAY + np.where(by_sales, _moment(OFFICE_HOURS, u), _moment(HOURS, u))
    harvested = happened.nth == HARVESTED
    at[harvested] = closed[happened.person[harvested]] - (MINUTE + u[harvested] * 50 * MINUTE).astype(np.int64)
    pages = np.ones(len(at), np.int64)
    visits = KINDS[happened.process] == "page_view"
    more = np.log1p(-uniform(seed, *(place[visits] for place in places), PAGES)) / np.log(MORE_PAGES)
    pages[visits] += np.minimum(more.astype(np.int64), MOST_PAGES - 1)
    each = np.repeat(np.arange(len(at)), pages)
    page = np.arange(len(each)) - np.repeat(np.cumsum(pages) - pages, pages)
    reading = ((10 + 110 * u[each]) * SECOND).astype(np.int64) * page
    midnight = at[each] - (at[each] - first_day) % DAY + DAY
    events = pd.DataFrame(
        {
            "person": happened.person[each],
            "process": happened.process[each],
            "at": np.minimum(at[each] + reading, midnight - SECOND),
            "nth": happened.nth[each] * MOST_PAGES + page,
        }
    )
    leads = np.flatnonzero(everyone["is_lead"])
    opening = pd.DataFrame({"person": leads, "process": FORM, "at": born[leads], "nth": 0})
    events = pd.concat([events[events["at"].to_numpy() < closed[events["person"]]], opening])
    return events.sort_values(["person", "at", "process", "nth"], ignore_index=True)


def _moment(hours: NDArray[np.int64], u: Floats) -> Ints:
    """Return the second of the day at which u of what happens on a day has happened, in microseconds."""
    below = np.concatenate([[0], np.cumsum(hours / hours.sum())])
    hour = np.searchsorted(below, u, side="right") - 1
    within = (u - below[hour]) / (below[hour + 1] - below[hour])
    return np.asarray((hour * 3600 + np.minimum(within * 3600, 3599).astype(np.int64)) * SECOND, dtype=np.int64)
