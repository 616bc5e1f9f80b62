"""Rules that weigh the touches of a journey by their place, their age, their channel or the stages they led to.

A rule is one of five forms with its numbers. A weight is 0 or more; only the ratios inside a journey matter, and
``shares`` normalises them, in one place. Definitions: Adobe Analytics' attribution models; HubSpot and Marketo
Measure for those by milestones; Zhao et al. (2018), Shapley value methods for attribution modeling, for the game in
which a coalition of channels wins what is won by journeys that touch no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from attribution.journeys import Codes, Flags, Floats, Ints, Journeys
from features.errors import ConfigError
from features.settings import Settings

U = np.uint64  # of places in compiled code: none is negative, and none is asked whether it is
ENDS, DECAY, LAST_BUT_DIRECT, DISTINCT, MILESTONES = range(5)  # forms
DIRECT = "direct"
HALF_LIFE_DAYS = 7.0
REST = "rest"  # touches that hold no milestone
PLACES = ("first", "middle", "last")


class Rule(NamedTuple):
    """A form and its numbers: weights by place, a half-life in days, or weights by milestone."""

    form: int
    numbers: tuple[float, ...] = ()
    stages: Mapping[str, float] = {}  # MILESTONES: weight of each, and of the rest


def by_place(first: float, middle: float, last: float) -> Rule:
    """Weights of the first touch, of all between together, and of the last; of one or two touches, none is between."""
    return Rule(ENDS, (first, middle, last))


def time_decay(half_life_days: float = HALF_LIFE_DAYS) -> Rule:
    """Half as much for every half-life before the journey's last touch.

    Counted from there, not from the conversion: the ratios are the same, and the last touch of a long journey
    still weighs 1.
    """
    return Rule(DECAY, (half_life_days,))


def by_milestone(**weights: float) -> Rule:
    """Weights of the touches that led to milestones, and of the rest together; those of one touch add up.

    What no touch can take is spread evenly over the milestones that have one.
    """
    return Rule(MILESTONES, stages=weights)


RULES: Mapping[str, Rule] = {
    "first": by_place(1, 0, 0),
    "last": by_place(0, 0, 1),
    "last_non_direct": Rule(LAST_BUT_DIRECT),  # to the last of all where every touch is Direct
    "linear": time_decay(math.inf),
    "position_based": by_place(0.4, 0.2, 0.4),
    "time_decay": time_decay(),
    "j": by_place(0.2, 0.2, 0.6),
    "inverse_j": by_place(0.6, 0.2, 0.2),
    "u_hubspot": by_milestone(first=0.4, lead=0.4, rest=0.2),
    "u_marketo": by_milestone(first=0.5, lead=0.5),
    "w": by_milestone(first=0.3, lead=0.3, opportunity=0.3, rest=0.1),
    "full_path": by_milestone(first=0.225, lead=0.225, opportunity=0.225, won=0.225, rest=0.1),
    "shapley": Rule(DISTINCT),  # equal parts to the distinct channels of a journey
}


def own_rules(settings: Settings) -> dict[str, Rule]:
    """Return the rules that a user configured.

    Raises:
        ConfigError: naming every rule whose weights are not three, none, or negative.

    """
    how = settings.attribution
    wrong = [
        f"attribution.custom.{name} is {weights}: give three weights of 0 or more, such as [0.3, 0.4, 0.3]."
        for name, weights in how.custom.items()
        if len(weights) != len(PLACES) or min(weights) < 0
    ]
    wrong += [
        f"attribution.milestones.{name} is {weights}: give weights of 0 or more, such as {{ first = 0.5, mql = 0.5 }}."
        for name, weights in how.milestones.items()
        if min(weights.values(), default=-1) < 0
    ]
    if wrong:
        raise ConfigError(" ".join(wrong))
    places = {name: by_place(*weights) for name, weights in how.custom.items()}
    return places | {name: by_milestone(**weights) for name, weights in how.milestones.items()}


class Weighing(NamedTuple):
    """Rules and what they ask of journeys, as arrays for compiled code."""

    forms: Codes  # (r,)
    numbers: Floats  # (r, ≥ 3 and > s) numbers of the form; of MILESTONES, a weight a stage and that of the rest
    direct: Flags  # (k,) whether the channel is Direct
    age_days: Floats  # (n,), or (0,) where touches are one day apart
    milestone: Codes  # (m, s)


def weighing(journeys: Journeys, rules: Sequence[Rule]) -> Weighing:
    """Arrangement of rules for journeys; their milestones must be among the journeys' stages."""
    stages = journeys.stages
    numbers = np.zeros((len(rules), max(3, len(stages) + 1)))
    for row, rule in zip(numbers, rules, strict=True):
        row[: len(rule.numbers)] = rule.numbers
        if rule.form == MILESTONES:
            row[: len(stages) + 1] = [rule.stages.get(stage, 0) for stage in (*stages, REST)]
    m = len(journeys.conversions)
    return Weighing(
        forms=np.array([rule.form for rule in rules], np.int32),
        numbers=numbers,
        direct=_direct(journeys.channels),
        age_days=np.empty(0) if journeys.age_days is None else journeys.age_days,
        milestone=np.empty((m, 0), np.int32) if journeys.milestone is None else journeys.milestone,
    )


@lru_cache(1)
def _direct(channels: tuple[str, ...]) -> Flags:
    return np.array([name.casefold() == DIRECT for name in channels], np.bool_)


def shares(journeys: Journeys, rule: Rule) -> Floats:
    """Each touch's part of its journey under a rule (n,); the parts of a journey add up to 1."""
    share = np.empty(len(journeys.channel))
    _share(journeys.start, journeys.channel, *weighing(journeys, [rule]), share)
    return share


@njit(cache=True, nogil=True)
def _share(
    start: Ints, channel: Codes, forms: Codes, numbers: Floats, direct: Flags, age: Floats, milestone: Codes,
    share: Floats,
) -> None:  # fmt: skip
    for j in range(len(start) - 1):
        for at in range(start[j], start[j + 1], start[j + 1] - start[j] or 1):
            share_journey(j, at, start[j + 1], 0, channel, forms, numbers, direct, age, milestone, share, at)


@njit(cache=True, nogil=True, inline="always")
def share_journey(  # noqa: C901, PLR0912  # the five forms, compiled into one loop
    j: int, begin: int, end: int, rule: int, channel: Codes, forms: Codes, numbers: Floats, direct: Flags,
    age: Floats, milestone: Codes, share: Floats, to: int,
) -> None:  # fmt: skip
    """Write the parts of the touches from ``begin`` to before ``end``, all of journey ``j``, from ``share[to]`` on."""
    n, form, total = end - begin, forms[rule], 0.0
    if form == ENDS:
        for i in range(n):
            share[to + i] = numbers[rule, 1] / max(n - 2, 1) if n > 2 else 0.0  # noqa: PLR2004  # of two, none between
        share[to + n - 1] = numbers[rule, 2]
        share[to] = numbers[rule, 0]
    elif form == DECAY:
        for i in range(n):
            share[to + i] = 2.0 ** (-(age[begin + i] if len(age) else n - 1 - i) / numbers[rule, 0])
    elif form == LAST_BUT_DIRECT:
        for i in range(n):
            share[to + i] = 0.0
        i = n - 1
        while i > 0 and direct[channel[begin + i]]:
            i -= 1
        share[to + (n - 1 if direct[channel[begin + i]] else i)] = 1.0
    elif form == DISTINCT:
        for i in range(n):
            same, own = 0, channel[U(begin + i)]
            for other in range(U(begin), U(end)):
                same += channel[other] == own
            share[to + i] = 1.0 / same
    else:
        _by_milestone(numbers[rule], milestone[j], share[to : to + n])
    for i in range(n):
        total += share[to + i]
    per_weight = 1.0 / total if total > 0 else 0.0
    for i in range(n):  # nothing is lost where nothing weighs
        share[to + i] = share[to + i] * per_weight if total > 0 else 1.0 / n


@njit(cache=True, nogil=True)
def _by_milestone(numbers: Floats, place: Codes, share: Floats) -> None:
    stages = len(place)
    rest, takers, holders = numbers[stages], 0, 0
    share[:] = 0
    untaken = 0.0
    for s in range(stages):
        if numbers[s] > 0 and place[s] >= 0:
            takers += 1
            holders += share[place[s]] == 0
            share[place[s]] += numbers[s]
        else:
            untaken += numbers[s]
    if holders == len(share):
        untaken, rest = untaken + rest, 0.0
    for i in range(len(share)):
        if share[i] == 0:
            share[i] = rest / (len(share) - holders)
    for s in range(stages):
        if numbers[s] > 0 and place[s] >= 0:
            share[place[s]] += untaken / takers
