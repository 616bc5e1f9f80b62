"""Outcomes: when a lead was won or closed, and from when that was known."""

from __future__ import annotations

import numpy as np
from tables import history, micros, stage, version

from features.history import NEVER, Ints
from features.outcomes import open_moments, outcomes_of
from features.settings import Goal
from features.verbs import Moments

GOAL = Goal(won=["won", "signed"], lost=["lost"], horizon_days=90)

# Ada signed on day 5, reported on day 10, and was won on day 6, reported on day 8; Bob was lost; Cy is open.
WORLD = history(
    [version("ada", 0), version("bob", 1, created=1), version("cy", 2, created=2)],
    stages=[
        stage("ada", 1, "new"),
        stage("ada", 5, "signed", received=10),
        stage("ada", 6, "won", received=8),
        stage("ada", 9, "lost"),
        stage("bob", 3, "lost"),
        stage("cy", 4, "demo"),
    ],
)


def days(times: Ints) -> list[float | None]:
    return [None if time == NEVER else (time - micros(0)) / 86.4e9 for time in times.tolist()]


def test_a_lead_is_won_at_its_first_win_and_closed_at_its_first_end() -> None:
    outcomes = outcomes_of(WORLD, GOAL)
    assert days(outcomes.won) == [5, None, None]
    assert days(outcomes.closed) == [5, 3, None]


def test_an_outcome_is_known_from_the_first_report_of_one() -> None:
    outcomes = outcomes_of(WORLD, GOAL)
    assert days(outcomes.won_known) == [8, None, None]
    assert days(outcomes.closed_known) == [8, 3, None]


def test_outcomes_before_a_moment_are_those_known_before_it() -> None:
    assert days(outcomes_of(WORLD, GOAL, micros(8)).closed) == [None, 3, None]
    assert days(outcomes_of(WORLD, GOAL, micros(8.001)).closed) == [6, 3, None]
    assert days(outcomes_of(WORLD, GOAL, micros(10.001)).closed) == [5, 3, None]


def test_a_lead_is_open_from_after_its_creation_until_its_end_is_known() -> None:
    times = np.array([micros(day) for day in (0, 0.001, 3, 3.001, 5.5, 8, 8.001)])
    asked = Moments(WORLD, np.repeat([0, 1, 2], len(times)), np.tile(times, 3))
    opened = open_moments(WORLD, outcomes_of(WORLD, GOAL), asked)
    seen = {lead: days(opened.as_of[opened.lead == position]) for position, lead in enumerate(WORLD.lead_ids)}
    assert seen == {"ada": [0.001, 3, 3.001, 5.5, 8], "bob": [3], "cy": [3, 3.001, 5.5, 8, 8.001]}


def test_a_stage_that_nobody_reached_ends_nothing() -> None:
    outcomes = outcomes_of(WORLD, Goal(won=["bought"], lost=[], horizon_days=90))
    assert days(outcomes.closed) == [None, None, None]
