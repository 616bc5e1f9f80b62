"""Drift: what is different about the leads of late is found and named; what chance does is not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tables import history, micros, stage, version

from features.history import DAY
from features.settings import Goal, Monitor
from features.verbs import Feature
from training.drift import Shift, reached, shifts

Floats = NDArray[np.float64]
VISITS = Feature("visits", "count", "pages seen", "pages")
PAUSE = Feature("pause", "recency", "days since the last touch", "days")
INDUSTRY = Feature("industry", "attribute", "industry", group="fit", levels=("Mining", "Retail"))
FEATURES = (VISITS, PAUSE, INDUSTRY)


def leads(rng: np.random.Generator, count: int) -> Floats:
    """Return the features of leads, all of one kind."""
    visits = rng.poisson(rng.gamma(2, 2, count)).astype(np.float64)
    pause = np.where(visits > 0, rng.exponential(5, count), np.nan)
    return np.column_stack([visits, pause, rng.integers(0, 3, count)])


def of_late(recent: int, before: int) -> NDArray[np.bool_]:
    return np.arange(recent + before) < recent


def test_quiet_leads_raise_an_alarm_in_about_as_many_checks_as_stated() -> None:
    rng, late = np.random.default_rng(1), of_late(60, 180)
    alarms = sum(bool(shifts(FEATURES, leads(rng, 240), late, 0.05)) for _ in range(200))
    assert 2 <= alarms <= 20  # 10 are expected; fewer or more have a chance below one in 300


def test_a_feature_that_is_there_many_times_raises_no_more_alarms() -> None:
    rng, late = np.random.default_rng(2), of_late(60, 180)
    many = tuple(Feature(f"visits_{i}", "count", "") for i in range(30))
    alarms = sum(bool(shifts(many, leads(rng, 240)[:, np.zeros(30, int)], late, 0.05)) for _ in range(60))
    assert alarms <= 8  # 3 are expected


def test_what_moved_is_named_with_what_it_was_and_is() -> None:
    matrix, late = leads(np.random.default_rng(3), 800), of_late(300, 500)
    matrix[late, 0] += 3
    assert shifts(FEATURES, matrix, late, 0.01) == [
        Shift("visits", "4.02 pages on average", "7.14 pages on average", 0.001),
    ]


def test_a_field_that_was_renamed_is_missing() -> None:
    matrix, late = leads(np.random.default_rng(4), 800), of_late(300, 500)
    matrix[late, 2] = np.nan
    assert shifts(FEATURES, matrix, late, 0.01) == [Shift("industry", "missing for 0%", "missing for 100%", 0.001)]


def test_another_mix_of_levels_is_named_by_the_level_that_moved_most() -> None:
    matrix, late = leads(np.random.default_rng(5), 800), of_late(300, 500)
    matrix[late, 2] = np.where(np.arange(300) < 200, 1, matrix[late, 2])
    (shift,) = shifts(FEATURES, matrix, late, 0.01)
    assert (shift.feature, shift.before, shift.now) == ("industry", "Retail for 30%", "Retail for 76%")


def test_a_small_move_one_way_is_found_among_a_thousand_leads() -> None:
    found = 0
    for seed in range(20):
        rng, late = np.random.default_rng(seed), of_late(1000, 1000)
        matrix = rng.normal(size=(2000, 3))
        matrix[late, 1] += 0.25
        found += [shift.feature for shift in shifts(FEATURES[:2], matrix[:, :2], late, 0.01)] == ["pause"]
    assert found >= 19


@pytest.mark.parametrize(("recent", "before", "said"), [(29, 100, 0), (100, 29, 0), (30, 30, 1)])
def test_of_few_leads_nothing_is_said(recent: int, before: int, said: int) -> None:
    late = of_late(recent, before)
    matrix = np.where(late, 5.0, 0.0)[:, None]
    assert len(shifts([VISITS], matrix, late, 0.01)) == said


def test_leads_are_compared_at_one_age_and_only_if_they_were_open_then() -> None:
    now, ago = 200, {
        "late": 20, "border": 35, "before": 36, "oldest": 119, "too-old": 120, "young": 7, "lost": 50, "grown": 8,
    }  # fmt: skip
    told = history(
        [version(lead, now - days, created=now - days) for lead, days in ago.items()],
        stages=[stage("lost", now - 44, "lost")],
    )
    moments, recent = reached(told, Goal(), Monitor(), micros(now))
    names = [told.lead_ids[lead] for lead in moments.lead]
    assert dict(zip(names, recent.tolist(), strict=True)) == {
        "late": True, "grown": True, "border": True, "before": False, "oldest": False,
    }  # fmt: skip
    assert (moments.as_of - told.created[moments.lead] == 7 * DAY).all()
