"""Rules: the conformance table of attribution weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution.journeys import Journeys
from attribution.paths import path_journeys
from attribution.rules import RULES, Rule, time_decay
from attribution.shares import shares

CHANNEL = st.sampled_from(["Direct", "Email", "Paid Search", "Webinar"])
PATHS = st.lists(st.lists(CHANNEL, max_size=6), min_size=1, max_size=8)


def journeys_of(*paths: str) -> Journeys:
    return path_journeys(pd.DataFrame({"path": list(paths)}).assign(conversions=1, nulls=0, value_cents=0))


def percent(rule: Rule, seen: Journeys) -> list[float]:
    return (100 * shares(rule(seen), seen.journey)).round(1).tolist()


@pytest.mark.parametrize(
    ("model", "path", "expected"),
    [
        ("first", "A > B > C > D", [100, 0, 0, 0]),
        ("first", "A > B", [100, 0]),
        ("first", "A", [100]),
        ("last", "A > B > C > D", [0, 0, 0, 100]),
        ("last", "A > B", [0, 100]),
        ("last", "A", [100]),
        ("linear", "A > B > C > D", [25, 25, 25, 25]),
        ("linear", "A > B", [50, 50]),
        ("linear", "A", [100]),
        ("last_non_direct", "A > B > C", [0, 0, 100]),
        ("last_non_direct", "A > B > Direct > Direct", [0, 100, 0, 0]),
        ("last_non_direct", "Direct > A > Direct", [0, 100, 0]),
        ("last_non_direct", "A > Direct", [100, 0]),
        ("last_non_direct", "a > direct", [100, 0]),
        ("last_non_direct", "Direct > Direct > Direct", [0, 0, 100]),
        ("last_non_direct", "Direct > Direct", [0, 100]),
        ("last_non_direct", "Direct", [100]),
        ("position_based", "A > B > C > D > E", [40, 6.7, 6.7, 6.7, 40]),
        ("position_based", "A > B > C > D", [40, 10, 10, 40]),
        ("position_based", "A > B > C", [40, 20, 40]),
        ("position_based", "A > B", [50, 50]),
        ("position_based", "A", [100]),
        ("time_decay", "A > B", [47.5, 52.5]),
        ("time_decay", "A", [100]),
    ],
)
def test_a_journey_is_weighed_as_the_conformance_table_says(model: str, path: str, expected: list[float]) -> None:
    assert percent(RULES[model], journeys_of(path)) == expected


@pytest.mark.parametrize("model", RULES)
def test_a_journey_is_weighed_alike_alone_and_among_others(model: str) -> None:
    paths = ["A > Direct", "B", "Direct", "A > B > C > Direct", "Direct > Direct"]
    alone = [weight for path in paths for weight in percent(RULES[model], journeys_of(path))]
    assert percent(RULES[model], journeys_of(*paths)) == alone


def test_touches_0_0_6_and_9_days_before_conversion_get_the_worked_shares_of_time_decay() -> None:
    seen = replace(journeys_of("A > B > C > D"), age_days=np.array([9.0, 6.0, 0.0, 0.0]))
    assert percent(time_decay, seen) == [13.8, 18.6, 33.8, 33.8]


def test_time_decay_halves_with_every_half_life() -> None:
    seen = replace(journeys_of("A > B > C"), age_days=np.array([6.0, 3.0, 0.0]))
    assert time_decay(seen, half_life_days=3).tolist() == [0.25, 0.5, 1]


def test_the_last_touch_of_a_journey_of_a_hundred_years_still_weighs_one() -> None:
    seen = replace(journeys_of("A > B"), age_days=np.array([36_500.0, 0.0]))
    assert percent(time_decay, seen) == [0, 100]


@pytest.mark.parametrize("model", RULES)
@settings(deadline=None)
@given(paths=PATHS)
def test_no_weight_is_negative_and_every_journey_with_touches_has_a_weight(model: str, paths: list[list[str]]) -> None:
    seen = journeys_of(*(" > ".join(path) for path in paths))
    weights = RULES[model](seen)
    assert (weights >= 0).all()
    assert (np.bincount(seen.journey, weights, len(paths)) > 0).tolist() == [bool(path) for path in paths]


@settings(deadline=None)
@given(PATHS)
def test_direct_never_weighs_more_under_last_non_direct_than_under_last(paths: list[list[str]]) -> None:
    seen = journeys_of(*(" > ".join(path) for path in paths))
    direct = np.array([name == "Direct" for name in seen.channels], dtype=bool)[seen.channel]
    assert RULES["last_non_direct"](seen)[direct].sum() <= RULES["last"](seen)[direct].sum()
