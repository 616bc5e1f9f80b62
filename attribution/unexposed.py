"""Moments of a hazard before exposure is told: age, the score beside that of others of the age, the week's rhythm."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from attribution.hazard import Rows
from attribution.journeys import Flags, Floats, Ints
from attribution.moments import Moments, OpenTime, moments

AGES = 24  # pieces of the baseline over a lead's age

Score = Callable[[Ints, Floats], Floats]  # (lead, day) -> probability of closing, from before the touches


class Unexposed(NamedTuple):
    """Moments of the hazard of an end, r rows."""

    moments: Moments
    probability: Floats  # (r,) the score
    relative: Floats  # (r,) log of it, beside that of an average lead of the age
    age: Ints  # (r,) which of the baseline's ages is nearest
    rows: Rows  # of no exposure


def unexposed(time: OpenTime, ended: Flags, most: int | None, score: Score) -> Unexposed:
    """Return the moments of the hazard of an end, of as many ends at most, and what its baseline knows of them."""
    looked = moments(time, ended, most)
    probability = np.clip(score(looked.lead, looked.asked(time)), 1e-6, 1 - 1e-6)
    days = looked.days * _rhythm(looked)
    age = looked.day - time.born[looked.lead]
    of_age = _over_age(age, age[: looked.ends])
    nearest, ages = of_age.argmax(axis=1), of_age.shape[1]
    usual = np.bincount(nearest, probability * days, ages) / np.bincount(nearest, days, ages).clip(1e-12)
    relative = np.log(probability) - np.log(usual.clip(1e-9))[nearest]
    z = np.column_stack([of_age, relative])
    rows = Rows(
        ends=looked.ends,
        days=days,
        scale=np.ones(len(days)),
        z=z[:, np.any(z != 0, axis=0)],
        x=np.empty((0, 0)),
        precision=np.empty(0),
    )
    return Unexposed(looked, probability, relative, nearest, rows)


def _over_age(age: Floats, of_ends: Floats) -> Floats:
    """Return weights (r, ages) by which the baseline is a line between ages at which as many ended; they add up to 1.

    Steps would not do: within a step, what comes regularly grows with age, and would seem to have an effect.
    """
    if not len(of_ends):
        return np.ones((len(age), 1))
    knots = np.unique(np.quantile(of_ends, np.linspace(0, 1, AGES + 1)))
    return np.stack([np.interp(age, knots, row) for row in np.eye(len(knots))], axis=1)


def _rhythm(looked: Moments) -> Floats:
    """How much more ends happen on each row's day of the week than on an average day."""
    weekday = np.floor(looked.day).astype(np.int64) % 7
    ends = np.bincount(weekday[: looked.ends], minlength=7) + 1 / 7
    beat = ends / np.bincount(weekday, looked.days, 7).clip(1e-9)
    return np.asarray((beat / (ends.sum() / looked.days.sum()))[weekday])
