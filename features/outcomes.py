"""Outcomes: when each lead was won or closed, and since when that is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.history import NEVER, History, Ints
from features.settings import Goal
from features.verbs import Moments


@dataclass(frozen=True)
class Outcomes:
    """Of each lead, in microseconds: its first win and its first close (won or lost); ``NEVER`` if there is none.

    ``opened`` is since when it is known that the lead can be won: since its creation, or since the first of the stages
    that the goal comes ``after``. A goal is reached once: who has renewed is not scored for that again.
    """

    opened: Ints
    won: Ints
    won_known: Ints
    closed: Ints
    closed_known: Ints


def outcomes_of(history: History, goal: Goal, before: int = NEVER) -> Outcomes:
    """Return the outcomes that were known before a moment."""
    won, won_known = _first(history, goal.won, before)
    lost, lost_known = _first(history, goal.lost, before)
    opened = np.maximum(history.created, _first(history, goal.after, before)[1]) if goal.after else history.created
    return Outcomes(opened, won, won_known, np.minimum(won, lost), np.minimum(won_known, lost_known))


def open_moments(history: History, outcomes: Outcomes, moments: Moments) -> Moments:
    """Return the moments at which the lead could be won and, for all that was known then, was open and no duplicate."""
    opened, closed_known = outcomes.opened[moments.lead], outcomes.closed_known[moments.lead]
    is_open = (opened < moments.as_of) & (closed_known >= moments.as_of) & history.live(moments.lead, moments.as_of)
    return Moments(history, moments.lead[is_open], moments.as_of[is_open])


def _first(history: History, names: list[str], before: int) -> tuple[Ints, Ints]:
    """Return of each lead when the first of some stages occurred, and when one of them was first known."""
    stages = history.stages
    occurred, known = np.full((2, len(history.lead_ids)), NEVER)
    if not len(stages.occurred):  # as in most requests, which must be quick
        return occurred, known
    means = np.array([*(name in names for name in stages.names["stage"]), False])  # the last is for no stage
    meant = means[stages.codes["stage"]] & (stages.known < before)
    leads = stages.leads()[meant]
    np.minimum.at(occurred, leads, stages.occurred[meant])
    np.minimum.at(known, leads, stages.known[meant])
    return occurred, known
