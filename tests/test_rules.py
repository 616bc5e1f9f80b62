"""Rules: the conformance table of attribution weights."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pathed import path_journeys

from attribution.journeys import NONE, Journeys
from attribution.rules import MILESTONES, RULES, Rule, by_milestone, by_place, own_rules, shares, time_decay
from features.errors import ConfigError
from features.settings import Attribution, Settings

CHANNEL = st.sampled_from(["Direct", "Email", "Paid Search", "Webinar"])
PATHS = st.lists(st.lists(CHANNEL, max_size=6), min_size=1, max_size=8)
BY_ORDER = [name for name, rule in RULES.items() if rule.form != MILESTONES]


def journeys_of(*paths: str) -> Journeys:
    return path_journeys(pd.DataFrame({"path": list(paths)}).assign(conversions=1, nulls=0, value_cents=0))


def percent(rule: Rule, seen: Journeys) -> list[float]:
    return (100 * shares(seen, rule)).round(2).tolist()


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
        ("position_based", "A > B > C > D > E", [40, 6.67, 6.67, 6.67, 40]),
        ("position_based", "A > B > C > D", [40, 10, 10, 40]),
        ("position_based", "A > B > C", [40, 20, 40]),
        ("position_based", "A > B", [50, 50]),
        ("position_based", "A", [100]),
        ("j", "A > B > C > D", [20, 10, 10, 60]),
        ("j", "A > B", [25, 75]),
        ("j", "A", [100]),
        ("inverse_j", "A > B > C > D", [60, 10, 10, 20]),
        ("inverse_j", "A > B", [75, 25]),
        ("inverse_j", "A", [100]),
        ("time_decay", "A > B", [47.53, 52.47]),
        ("time_decay", "A", [100]),
        ("shapley", "A > B > A > C", [16.67, 33.33, 16.67, 33.33]),
        ("shapley", "A > A", [50, 50]),
        ("shapley", "A", [100]),
    ],
)
def test_a_journey_is_weighed_as_the_conformance_table_says(model: str, path: str, expected: list[float]) -> None:
    assert percent(RULES[model], journeys_of(path)) == expected


@pytest.mark.parametrize(
    ("weights", "path", "expected"),
    [
        ((1, 2, 1), "A > B > C > D", [25, 25, 25, 25]),
        ((1, 2, 1), "A > B > C", [25, 50, 25]),
        ((1, 7, 3), "A > B", [25, 75]),
        ((1, 7, 3), "A", [100]),
        ((0, 1, 0), "A > B > C", [0, 100, 0]),
        ((0, 1, 0), "A > B", [50, 50]),  # nothing weighs, and nothing is lost
    ],
)
def test_custom_weights_are_normalised_and_drop_a_middle_that_is_not_there(
    weights: tuple[float, float, float], path: str, expected: list[float]
) -> None:
    assert percent(by_place(*weights), journeys_of(path)) == expected


STAGES = ("first", "won", "lead", "opportunity")


def milestones(path: str, lead: int, opportunity: int) -> Journeys:
    """Return one journey, with the place of the touch before each stage."""
    seen = journeys_of(path)
    place = np.array([[0, len(seen.channel) - 1, lead, opportunity]], np.int32)
    return replace(seen, stages=STAGES, milestone=place)


@pytest.mark.parametrize(
    ("model", "lead", "opportunity", "expected"),
    [
        ("u_hubspot", 2, 3, [40, 10, 40, 10, 0]),
        ("u_marketo", 2, 3, [50, 0, 50, 0, 0]),
        ("w", 2, 3, [30, 5, 30, 30, 5]),
        ("full_path", 2, 3, [22.5, 10, 22.5, 22.5, 22.5]),
    ],
)
def test_milestones_get_their_vendors_weights(model: str, lead: int, opportunity: int, expected: list[float]) -> None:
    path = "A > B > C > D > E" if model != "u_hubspot" else "A > B > C > D"
    expected = expected[: 1 + path.count(">")]
    assert percent(RULES[model], milestones(path, lead, opportunity)) == expected


@pytest.mark.parametrize(
    ("model", "path", "lead", "opportunity", "expected"),
    [
        ("u_marketo", "A > B > C", 0, 1, [100, 0, 0]),  # the first touch made the lead
        ("u_hubspot", "A > B > C", 0, 1, [80, 10, 10]),
        ("u_hubspot", "A > B", 1, NONE, [50, 50]),  # no touch is left for the rest: 20 go to both
        ("u_hubspot", "A", 0, 0, [100]),
        ("w", "A > B > C", 1, NONE, [45, 45, 10]),  # no opportunity: 30 go to the two others
        ("w", "A > B > C", NONE, NONE, [90, 5, 5]),
        ("w", "A", NONE, NONE, [100]),
        ("full_path", "A > B > C > D", 1, 2, [25, 25, 25, 25]),
        ("full_path", "A > B > C", 0, 2, [45, 10, 45]),
        ("full_path", "A > B", 1, 1, [25, 75]),
    ],
)
def test_milestones_of_one_touch_add_up_and_what_no_touch_can_take_is_spread_evenly(
    model: str, path: str, lead: int, opportunity: int, expected: list[float]
) -> None:
    assert percent(RULES[model], milestones(path, lead, opportunity)) == expected


def test_milestones_of_ones_own_are_weighed_like_the_named_ones() -> None:
    rule = by_milestone(lead=3, opportunity=1)
    assert percent(rule, milestones("A > B > C", 1, 2)) == [0, 75, 25]
    assert percent(rule, milestones("A > B > C", NONE, NONE)) == [33.33, 33.33, 33.33]


@pytest.mark.parametrize("model", BY_ORDER)
def test_a_journey_is_weighed_alike_alone_and_among_others(model: str) -> None:
    paths = ["A > Direct", "B", "Direct", "A > B > C > Direct", "Direct > Direct"]
    alone = [weight for path in paths for weight in percent(RULES[model], journeys_of(path))]
    assert percent(RULES[model], journeys_of(*paths)) == alone


def test_touches_0_0_6_and_9_days_before_conversion_get_the_worked_shares_of_time_decay() -> None:
    seen = replace(journeys_of("A > B > C > D"), age_days=np.array([9.0, 6.0, 0.0, 0.0]))
    assert (100 * shares(seen, time_decay())).round(1).tolist() == [13.8, 18.6, 33.8, 33.8]


def test_time_decay_halves_with_every_half_life() -> None:
    seen = replace(journeys_of("A > B > C"), age_days=np.array([6.0, 3.0, 0.0]))
    np.testing.assert_allclose(shares(seen, time_decay(half_life_days=3)), np.array([1, 2, 4]) / 7)


def test_the_last_touch_of_a_journey_of_a_hundred_years_still_weighs_one() -> None:
    seen = replace(journeys_of("A > B"), age_days=np.array([36_500.0, 0.0]))
    assert percent(time_decay(), seen) == [0, 100]


@pytest.mark.parametrize("model", BY_ORDER)
@settings(deadline=None)
@given(paths=PATHS)
def test_no_share_is_negative_and_those_of_a_journey_add_up(model: str, paths: list[list[str]]) -> None:
    seen = journeys_of(*(" > ".join(path) for path in paths))
    part = shares(seen, RULES[model])
    assert (part >= 0).all()
    sums = np.bincount(seen.journey, part, len(paths))
    np.testing.assert_allclose(sums, [float(bool(path)) for path in paths])


@settings(deadline=None)
@given(PATHS)
def test_direct_never_weighs_more_under_last_non_direct_than_under_last(paths: list[list[str]]) -> None:
    seen = journeys_of(*(" > ".join(path) for path in paths))
    direct = np.array([name == "Direct" for name in seen.channels], dtype=bool)[seen.channel]
    assert shares(seen, RULES["last_non_direct"])[direct].sum() <= shares(seen, RULES["last"])[direct].sum()


def test_every_rule_of_ones_own_that_cannot_be_used_is_named_with_its_weights() -> None:
    how = Attribution.model_validate(
        {"custom": {"two": [1, 2], "good": [1, 0, 1]}, "milestones": {"less": {"won": -1}}}
    )
    sentence = (
        "attribution.custom.two is [1.0, 2.0]: give three weights of 0 or more, such as [0.3, 0.4, 0.3]. "
        "attribution.milestones.less is {'won': -1.0}: give weights of 0 or more, such as { first = 0.5, mql = 0.5 }."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        own_rules(Settings(attribution=how))
