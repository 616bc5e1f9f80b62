"""Targeting: which channels' touches follow intent, so that intent can be mistaken for their effect.

If keen leads get no more touches of a channel than others of their age, what closes after its touches is their doing,
and a guard against intent would only add noise. Where touches follow the score by a power γ, they may follow intent
that the score does not know, too, and the more so the larger γ: it sets how much the guard can say before it is heard.
Where γ can't be told, of a rare channel or by a score that knows little, the guard is up as if γ were 1.
"""

from __future__ import annotations

import numpy as np

from attribution.journeys import Flags, Floats, Ints

SURE = 2.0  # standard errors that γ is taken to be smaller
TELLING = 0.5  # of these at most: beyond, γ can't be told
MEMORY = 0.5  # of the mean rate: standard deviation of what a touch tells for good where γ is 1
INTENT = 0.7  # of the log of the rate: of what it tells of intent to be touched at all
NONE = 1e-3  # stands for a γ of 0


def targeting(touched: Flags, relative: Floats, age: Ints, days: Floats) -> Floats:
    """Return γ of each channel (k,): its touches come at a rate ∝ s^γ among leads of an age, 0 if that may be luck.

    Args:
        touched: whether a moment of open time has a touch of the period before it (r, k).
        relative: log s before the touches (r,).
        age: a number of each moment's group of ages (r,).
        days: that a moment stands for (r,).

    It is one step of Newton's method from 0 on the Poisson likelihood with a rate of its own for every age.

    """
    weight = np.minimum(days, 1)  # of moments so dense that several see the same touch
    of_age = np.bincount(age, weight).clip(1e-12)
    away = relative - (np.bincount(age, weight * relative) / of_age)[age]
    spread = np.bincount(age, weight * away**2) / of_age
    pull = (weight * away) @ touched
    touches = np.stack([np.bincount(age, weight * some, len(of_age)) for some in touched.T], axis=1)
    information = (spread @ touches).clip(1e-12)
    slope, unsure = pull / information, SURE / np.sqrt(information)
    return np.where(unsure < TELLING, np.sign(slope) * (np.abs(slope) - unsure).clip(0), 1.0)


def precision(follows: Floats, mean_rate: float) -> tuple[Floats, Floats]:
    """Return the precision of the priors of what γ lets a touch tell for good, and of being touched at all (2 × k,)."""
    most = np.maximum(np.abs(follows), NONE)
    return (MEMORY * mean_rate * most) ** -2, (INTENT * most) ** -2
