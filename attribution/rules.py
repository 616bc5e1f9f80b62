"""Rules that weigh the touches of a journey by their place or their age.

A weight is a number of 0 or more; at least one touch of each journey weighs more than 0. Only the ratios
inside a journey matter: ``shares`` normalises them, in one place. Definitions: Adobe Analytics' attribution
models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from attribution.journeys import Floats, Journeys

Rule = Callable[[Journeys], Floats]

DIRECT = "direct"
ENDS = 0.4  # what position-based gives to the first touch, and again to the last
HALF_LIFE_DAYS = 7.0


def first(journeys: Journeys) -> Floats:
    """All to the first touch."""
    return np.where(journeys.since_first == 0, 1.0, 0.0)


def last(journeys: Journeys) -> Floats:
    """All to the last touch."""
    return np.where(journeys.until_last == 0, 1.0, 0.0)


def last_non_direct(journeys: Journeys) -> Floats:
    """All to the last touch whose channel is not Direct; to the last one where every touch is Direct."""
    is_direct = np.array([name.casefold() == DIRECT for name in journeys.channels], dtype=np.bool_)
    direct = is_direct[journeys.channel]
    rank = journeys.since_first + len(direct) * ~direct  # any other channel stands above Direct
    highest = np.zeros(len(journeys.conversions), np.int64)
    np.maximum.at(highest, journeys.journey, rank)
    return np.where(rank == highest[journeys.journey], 1.0, 0.0)


def linear(journeys: Journeys) -> Floats:
    """Equal parts to all touches."""
    return np.ones(len(journeys.journey))


def position_based(journeys: Journeys) -> Floats:
    """40 % to the first touch, 40 % to the last, 20 % spread over those between (U-shaped)."""
    is_first, is_last = first(journeys), last(journeys)
    between = (1 - 2 * ENDS) / (journeys.since_first + journeys.until_last - 1).clip(min=1)
    return ENDS * (is_first + is_last) + between * (1 - is_first) * (1 - is_last)


def time_decay(journeys: Journeys, half_life_days: float = HALF_LIFE_DAYS) -> Floats:
    """Half as much for every half-life before the journey's last touch.

    Counted from there, not from the conversion: the ratios are the same, and the last touch of a long journey
    still weighs 1.
    """
    return np.exp2(-journeys.age_days / half_life_days)


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "first": first,
        "last": last,
        "last_non_direct": last_non_direct,
        "linear": linear,
        "position_based": position_based,
        "time_decay": time_decay,
    }
)
