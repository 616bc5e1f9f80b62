"""Lives: what each lead does and meets, day by day, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from simulation.dice import draw, person, poisson
from simulation.law import Bools, Entries, Floats, Ints, Rules

OPEN, WON, LOST = 0, 1, 2
WINNING, LOSING, HARVESTING = 100, 101, 102  # draws that belong to no process
HARVESTED = 1 << 20  # nth of a click on a brand ad that a win brought about
NOT_BORN = 1 << 40  # the day on which somebody becomes a lead who never does


class Cohort(NamedTuple):
    """Who lives: m people, leads or visitors. Days are counted from the company's first, which is 0."""

    number: Ints  # of each, for its draws; two with one number live the same life
    arrives: Ints  # its first day, before it is a lead
    born: Ints  # the day on which it becomes a lead; leads follow the law from the day after
    ends: Ints  # the day before which its life is looked at
    intensity: Floats  # Z
    engages: Floats  # what multiplies all that it does
    closes: Floats  # what multiplies its hazard of winning
    leaves: Floats  # what multiplies its hazard of being lost
    came_by: Bools  # (m, J) whether a process runs through the channel it came by
    routing: Ints  # which routing it lives under: 0 or 1

    def chosen(self, which: Bools | Ints) -> Cohort:
        """Return some of the people."""
        return Cohort._make(column[which] for column in self)


class States(NamedTuple):
    """What the past has left of each lead at the beginning of one of its days: all that its future depends on."""

    day: Ints  # (m,)
    still_open: Bools  # (m,) a lead by then, and neither won nor lost
    adstock: Floats  # (m, S)
    events: Ints  # (m,) n, what it did so far
    exposure: Floats  # (m,) Λ + G, what it would have done and won so far with Z = 1


@dataclass(frozen=True)
class Lives:
    """What happened: n events and m ends."""

    person: Ints  # (n,) position in the cohort, never decreasing
    process: Ints  # (n,) position in PROCESSES
    day: Ints  # (n,)
    nth: Ints  # (n,) 0 for the first of the person, process and day; HARVESTED
    end: Ints  # (m,) OPEN, WON or LOST
    end_day: Ints  # (m,) the day of it; the last one if open
    states: States  # at the days asked for


def lives(
    cohort: Cohort, rules: Rules, weekday: int, seed: int, look: Ints | None = None, *, events: bool = True
) -> Lives:
    """Return the lives of a cohort.

    Args:
        cohort: who lives.
        rules: the world, in numbers.
        weekday: of day 0; Monday is 0.
        seed: of every draw.
        look: day of each person at whose beginning its state is wanted, at most ``ends``; the last by default.
        events: whether to return the events; without them, memory is that of the people.

    """
    look = cohort.ends if look is None else look
    m = len(cohort.number)
    count = np.zeros(m, np.int64)
    end, end_day = np.zeros(m, np.int64), np.zeros(m, np.int64)
    states = States(look, np.zeros(m, np.bool_), np.zeros((m, len(rules.kept))), np.zeros(m, np.int64), np.zeros(m))
    happened = np.empty((0, 4), np.int64)
    _live(cohort, rules, weekday, seed, states, end, end_day, count, happened)
    if events:
        happened = np.empty((int(count.sum()), 4), np.int64)
        _live(cohort, rules, weekday, seed, states, end, end_day, np.cumsum(count) - count, happened)
    who, process, day, nth = happened.T
    return Lives(who, process, day, nth, end, end_day, states)


@njit(cache=True, nogil=True)
def _live(
    cohort: Cohort,
    rules: Rules,
    weekday: int,
    seed: int,
    states: States,
    end: Ints,
    end_day: Ints,
    place: Ints,
    happened: Ints,
) -> None:
    """Let everybody live; ``place`` counts each one's events or, with room in ``happened``, says where they go."""
    today, tomorrow = np.zeros(len(rules.kept)), np.zeros(len(rules.kept))
    for i in range(len(cohort.number)):
        key = person(np.uint64(seed), np.uint64(cohort.number[i]))
        today[:] = 0
        events, exposure = 0, 0.0
        end[i], end_day[i] = OPEN, cohort.ends[i]
        for day in range(cohort.arrives[i], cohort.ends[i] + 1):
            if day == states.day[i]:
                states.still_open[i], states.adstock[i] = day > cohort.born[i], today
                states.events[i], states.exposure[i] = events, exposure
            if day == cohort.ends[i]:
                break
            beat = rules.week[(day + weekday) % 7]
            tomorrow[:] = rules.kept * today
            did, would = _meets(i, key, day, beat, cohort, rules, today, tomorrow, place, happened)
            events, exposure = events + did, exposure + would
            if day > cohort.born[i]:
                hazard = beat * cohort.closes[i] * _hazard(rules.win, rules.wins, today)
                exposure += hazard
                if draw(key, day, WINNING) >= np.exp(-cohort.intensity[i] * hazard):
                    end[i], end_day[i] = WON, day
                    if draw(key, day, HARVESTING) < rules.harvest:
                        _note(i, rules.brand, day, HARVESTED, place, happened)
                    break
                giving_up = cohort.leaves[i] * _hazard(rules.loss, rules.loses, today)
                if (day + weekday) % 7 == rules.review and draw(key, day, LOSING) >= np.exp(-giving_up):
                    end[i], end_day[i] = LOST, day
                    break
            elif day == cohort.born[i]:
                _opens(rules, cohort.came_by[i], tomorrow)
            today, tomorrow = tomorrow, today


@njit(cache=True, nogil=True, inline="always")
def _meets(
    i: int,
    key: np.uint64,
    day: int,
    beat: float,
    cohort: Cohort,
    rules: Rules,
    today: Floats,
    tomorrow: Floats,
    place: Ints,
    happened: Ints,
) -> tuple[int, float]:
    """Let a day's events happen; return how much the person did, and would have done with Z = 1."""
    did, would = 0, 0.0
    for j in range(len(rules.by_lead)):
        if day <= cohort.born[i] and not rules.visitors[j]:
            continue
        rate = beat * _rate(rules, cohort.routing[i], j, today)
        if rules.by_lead[j]:
            rate *= cohort.engages[i]
            would += rate
            rate *= cohort.intensity[i]
        elif cohort.came_by[i, j]:
            rate *= rules.own
        count = poisson(rate, draw(key, day, j))
        if rules.by_lead[j]:
            did += count
        _leave(rules.jump, j, count, tomorrow)
        for nth in range(count):
            _note(i, j, day, nth, place, happened)
    return did, would


@njit(cache=True, nogil=True, inline="always")
def _opens(rules: Rules, came_by: Bools, tomorrow: Floats) -> None:
    """Leave behind what becoming a lead does; what brought it about was a touch, too."""
    tomorrow += rules.opens
    for j in range(len(came_by)):
        if came_by[j]:
            _leave(rules.jump, j, 1, tomorrow)


@njit(cache=True, nogil=True, inline="always")
def _rate(rules: Rules, routing: int, j: int, today: Floats) -> float:
    rate: float = rules.base[routing, j]
    row = routing * len(rules.by_lead) + j
    for at in range(rules.gain.start[row], rules.gain.start[row + 1]):
        rate += rules.gain.value[at] * today[rules.gain.state[at]]
    return rate


@njit(cache=True, nogil=True, inline="always")
def _leave(jump: Entries, j: int, count: int, tomorrow: Floats) -> None:
    for at in range(jump.start[j], jump.start[j + 1]):
        tomorrow[jump.state[at]] += count * jump.value[at]


@njit(cache=True, nogil=True, inline="always")
def _hazard(constant: float, weights: Floats, today: Floats) -> float:
    for at in range(len(today)):
        constant += weights[at] * today[at]
    return constant


@njit(cache=True, nogil=True, inline="always")
def _note(i: int, j: int, day: int, nth: int, place: Ints, happened: Ints) -> None:
    if len(happened):
        happened[place[i], 0], happened[place[i], 1] = i, j
        happened[place[i], 2], happened[place[i], 3] = day, nth
    place[i] += 1
