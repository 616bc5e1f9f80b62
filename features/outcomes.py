"""Outcomes: when each lead was won or closed, and since when that is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.history import NEVER, History, Ints
from features.settings import Goal
from features.verbs import Moments


@dataclass(frozen=True)
class Outcomes:
    """Of each lead, in microseconds: its first win and its first close (won or lost); ``NEVER`` if there is none."""

    won: Ints
    won_known: Ints
    closed: Ints
    closed_known: Ints


def outcomes_of(history: History, goal: Goal, before: int = NEVER) -> Outcomes:
    """Return the outcomes that were known before a moment."""
    won, won_known = _first(history, goal.won, before)
    lost, lost_known = _first(history, goal.lost, before)
    return Outcomes(won, won_known, np.minimum(won, lost), np.minimum(won_known, lost_known))


def open_moments(history: History, outcomes: Outcomes, moments: Moments) -> Moments:
    """Return the moments at which the lead existed and, for all that was known then, was open and no duplicate."""
    created, closed_known = history.created[moments.lead], outcomes.closed_known[moments.lead]
    is_open = (created < moments.as_of) & (closed_known >= moments.as_of) & history.live(moments.lead, moments.as_of)
    return Moments(history, moments.lead[is_open], moments.as_of[is_open])


def _first(history: History, names: list[str], before: int) -> tuple[Ints, Ints]:
    """Return of each lead when the first of some stages occurred, and when one of them was first known."""
    stages = history.stages
    means = np.array([*(name in names for name in stages.names["stage"]), False])  # the last is for no stage
    meant = means[stages.codes["stage"]] & (stages.known < before)
    leads = stages.leads()[meant]
    occurred, known = np.full((2, len(history.lead_ids)), NEVER)
    np.minimum.at(occurred, leads, stages.occurred[meant])
    np.minimum.at(known, leads, stages.known[meant])
    return occurred, known
