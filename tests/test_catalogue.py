"""The catalogue: features are learned from what was known, and say only what was known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import history, micros, stage, touch, verdict, version

from features import matrix as matrices
from features.catalogue import CATALOGUE
from features.history import History
from features.matrix import feature_matrix
from features.templates import FEWEST_LEADS, MOST_LEVELS, added, learned_features, seen_names, written_out
from features.verbs import VERBS, Feature, Moments

NAN = math.nan
Row = dict[str, Any]


def at(seen: History, *moments: tuple[str, float]) -> Moments:
    """Return moments given as (lead, day)."""
    as_of = np.array([micros(day) for _, day in moments], np.int64)
    return Moments(seen, seen.positions([lead for lead, _ in moments], as_of), as_of)


def feature(name: str) -> Feature:
    return next(line for line in CATALOGUE if line.name == name)


def values(seen: History, wanted: Feature, lead: str, *days: float) -> list[float]:
    """Return a feature of a lead on some days."""
    return feature_matrix([wanted], at(seen, *((lead, day) for day in days)))[:, 0].tolist()


def exactly(*numbers: float) -> Any:
    return pytest.approx(list(numbers), rel=1e-6, abs=0, nan_ok=True)


def half(days: float, *ages: float) -> float:
    """Return a sum that counts each event half after some days."""
    return sum(2 ** (-age / days) for age in ages)


# By hand: Ada was touched on days 1, 2 and 4, the first reported on day 6; Bob never.


WORLD = history(
    [
        version("ada", 0, {"country": "DE", "seats": 10}),
        version("ada", 5, {"country": "AT", "seats": "many"}),
        version("bob", 3, {"country": "FR"}, created=1),
    ],
    [
        touch("ada", 1, "visit", "Email", received=6),
        touch("ada", 2, "visit", "Search"),
        touch("ada", 4, "click", "Search"),
    ],
    [stage("ada", 1, "new"), stage("ada", 3, "demo", received=8), stage("ada", 7, "won")],
    feedback=[verdict("ada", 2, reason="not now"), verdict("ada", 6), verdict("bob", 7, "accepted")],
)


@pytest.mark.parametrize(
    ("name", "ada", "bob"),
    [
        ("age_days", [5, 9], [4, 8]),
        ("touches", [2, 3], [0, 0]),
        ("touches_1d", [1, 0], [0, 0]),
        ("touches_7d", [2, 2], [0, 0]),
        ("touches_14d", [2, 3], [0, 0]),
        ("touches_30d", [2, 3], [0, 0]),
        ("touches_90d", [2, 3], [0, 0]),
        ("touches_180d", [2, 3], [0, 0]),
        ("web_touches_7d", [1, 1], [0, 0]),
        ("web_touches_30d", [1, 2], [0, 0]),
        ("days_since_web", [3, 7], [NAN, NAN]),
        ("web_momentum_7d", [4, 2], [NAN, NAN]),
        ("active_days_7d", [2, 2], [0, 0]),
        ("active_days_30d", [2, 3], [0, 0]),
        ("active_days_90d", [2, 3], [0, 0]),
        ("attributes_known", [2, 2], [1, 1]),
        ("days_since_touch", [1, 5], [NAN, NAN]),
        ("days_since_first_touch", [3, 8], [NAN, NAN]),
        ("activity_3d", [half(3, 3, 1), half(3, 8, 7, 5)], [0, 0]),
        ("activity_30d", [half(30, 3, 1), half(30, 8, 7, 5)], [0, 0]),
        ("activity_7d", [half(7, 3, 1), half(7, 8, 7, 5)], [0, 0]),
        ("momentum_7d", [4, 4 * 2 / 3], [NAN, NAN]),
        ("momentum_30d", [4, 4], [NAN, NAN]),
        ("weeks_in_a_row", [1, 2], [0, 0]),
        ("silence_overdue", [1 / 2, 5 / 1.5], [NAN, NAN]),
        ("longest_silence", [2, 2], [NAN, NAN]),
        ("days_between_touches", [2, 1.5], [NAN, NAN]),
        ("channels", [1, 2], [0, 0]),
        ("channels_30d", [1, 2], [0, 0]),
        ("kinds", [2, 2], [0, 0]),
        ("kinds_7d", [2, 2], [0, 0]),
        ("kinds_30d", [2, 2], [0, 0]),
        ("days_in_stage", [4, 2], [NAN, NAN]),
        ("stage_changes", [1, 3], [0, 0]),
        ("stage_changes_30d", [1, 3], [0, 0]),
        ("rejections", [1, 2], [0, 0]),
        ("days_since_verdict", [3, 3], [NAN, 2]),
    ],
)
def test_a_feature_worked_by_hand_on_days_5_and_9(name: str, ada: list[float], bob: list[float]) -> None:
    assert values(WORLD, feature(name), "ada", 5, 9) == exactly(*ada)
    assert values(WORLD, feature(name), "bob", 5, 9) == exactly(*bob)


# Cy, created on day 2, came by an ad on day 1, was mailed on day 2, clicked on day 3, asked for a demo on days 4 and
# 10; sales called on day 6 and met him on day 12. Di works for the same company from day 5 on, and looked at prices
# on day 7.


COMPANY = history(
    [
        version("cy", 2, {"title": "Head of IT"}, created=2, account="acme"),
        version("di", 0),
        version("di", 5, account="acme"),
        version("eve", 0, account="other"),
    ],
    [
        touch("cy", 1, "ad_click", "Paid Search"),
        touch("cy", 2, "email_sent", "Email"),
        touch("cy", 3, "email_click", "Email"),
        touch("cy", 4, "demo_request", "Direct"),
        touch("cy", 6, "sales_call", "Sales outreach"),
        touch("cy", 10, "demo_request", "Direct"),
        touch("cy", 12, "sales_meeting", "Sales outreach"),
        touch("di", 7, "pricing_view", "Referral"),
        touch("eve", 7, "pricing_view", "Referral"),
    ],
    [stage("cy", 4, "mql"), stage("di", 8, "mql"), stage("eve", 8, "mql")],
)


@pytest.mark.parametrize(
    ("name", "day_9", "day_13"),
    [
        ("intent_touches", 1, 2),
        ("intent_touches_7d", 1, 1),
        ("intent_touches_30d", 1, 2),
        ("days_since_intent", 5, 3),
        ("intent_14d", 2 ** (-5 / 14), 2 ** (-9 / 14) + 2 ** (-3 / 14)),
        ("intent_share_90d", 1 / 5, 2 / 7),
        ("days_to_first_intent", 2, 2),
        ("email_clicks_30d", 1, 1),
        ("email_click_share_90d", 1 / 5, 1 / 7),
        ("emails_sent_30d", 1, 1),
        ("paid_share_90d", 1 / 5, 1 / 7),
        ("sales_touches", 1, 2),
        ("sales_touches_7d", 1, 2),
        ("sales_touches_30d", 1, 2),
        ("meetings", 0, 1),
        ("days_since_sales_touch", 3, 1),
        ("days_to_first_sales_touch", 4, 4),
        ("account_contacts", 2, 2),
        ("account_active_contacts_30d", 2, 2),
        ("account_touches_7d", 5, 4),
        ("account_touches_30d", 6, 8),
        ("account_intent_30d", 2, 3),
        ("account_days_since_touch", 2, 1),
        ("account_activity_14d", half(14, 8, 7, 6, 5, 3, 2), half(14, 12, 11, 10, 9, 7, 6, 3, 1)),
        ("account_channels_90d", 5, 5),
        ("account_stage_changes_90d", 2, 2),
    ],
)  # fmt: skip
def test_a_feature_of_intent_sales_and_account_worked_by_hand(name: str, day_9: float, day_13: float) -> None:
    assert values(COMPANY, feature(name), "cy", 9, 13) == exactly(day_9, day_13)


def test_a_lead_without_an_account_misses_what_an_account_does() -> None:
    of_account = [line for line in CATALOGUE if line.of == "account"]
    assert np.isnan(feature_matrix(of_account, at(COMPANY, ("di", 5)))).all()
    assert not np.isnan(feature_matrix(of_account, at(COMPANY, ("di", 5.001)))).any()


def test_a_share_is_missing_and_a_first_touch_before_creation_is_below_zero() -> None:
    assert values(COMPANY, feature("paid_share_90d"), "di", 6) == exactly(NAN)
    ads = replace(feature("days_to_first_intent"), where=(("kind", "ad_click"),))
    assert values(COMPANY, ads, "cy", 9) == [-1]


def test_the_first_and_the_last_channel_are_names() -> None:
    first, last = (replace(feature(name), levels=("Direct", "Email")) for name in ("first_channel", "last_channel"))
    assert values(COMPANY, first, "cy", 1, 1.5, 9) == exactly(NAN, 2, 2)
    assert values(COMPANY, last, "cy", 1.5, 3.5, 5) == exactly(2, 1, 0)


def test_a_job_title_says_seniority_and_department_and_an_empty_one_nothing() -> None:
    seniority, department = (replace(feature(name), each="") for name in ("seniority", "department"))
    assert [seniority.said(x) for x in values(COMPANY, seniority, "cy", 3)] == ["director"]
    assert [department.said(x) for x in values(COMPANY, department, "cy", 3)] == ["it"]
    assert values(COMPANY, seniority, "di", 3) == exactly(NAN)


def test_missing_says_whether_something_is_known() -> None:
    unknown = Feature("no_title", "missing", "", column="title")
    assert [values(COMPANY, unknown, lead, 3) for lead in ("cy", "di")] == [[0], [1]]


def test_a_property_is_filtered_added_up_and_compared() -> None:
    pages = [("/pricing", 30), ("/blog", 5), ("/pricing", "12.5"), ("/pricing", "long")]
    rows = [
        touch("ada", day, properties={"path": path, "seconds": seconds}) for day, (path, seconds) in enumerate(pages, 1)
    ]
    seen = history([version("ada", 0)], [*rows, touch("ada", 9)], more=("properties.path", "properties.seconds"))
    on_pricing: Any = (("properties.path", "/pricing"),)
    asked = {
        "count": Feature("", "count", "", where=on_pricing),
        "total": Feature("", "total", "", column="properties.seconds", where=on_pricing),
        "greatest": Feature("", "greatest", "", column="properties.seconds"),
        "lately": Feature("", "greatest", "", column="properties.seconds", days=8),
    }
    found = {name: values(seen, line, "ada", 1, 10, 11) for name, line in asked.items()}
    assert found["count"] == [0, 3, 3]
    assert found["total"] == [0, 42.5, 42.5]
    assert found["greatest"] == exactly(NAN, 30, 30)
    assert found["lately"] == exactly(NAN, 12.5, 12.5)
    assert values(seen, replace(asked["total"], days=8), "ada", 10, 11) == [12.5, 12.5]


def test_what_a_machine_did_tells_nothing_of_a_lead() -> None:
    seen = history([version("ada", 0)], [touch("ada", 1), touch("ada", 2, "email_open", machine=True)])
    assert values(seen, feature("touches"), "ada", 9) == [1]
    assert values(seen, feature("kinds"), "ada", 9) == [1]


def test_every_line_of_the_catalogue_without_a_template_is_worked_by_hand() -> None:
    tests = (test_a_feature_worked_by_hand_on_days_5_and_9, test_a_feature_of_intent_sales_and_account_worked_by_hand)
    by_hand = {name for test in tests for name, _, _ in test.pytestmark[0].args[1]}
    assert {line.name for line in CATALOGUE if not line.each} - by_hand == set()


def test_the_catalogue_has_what_practitioners_expect() -> None:
    assert len(CATALOGUE) >= 60
    assert {line.group for line in CATALOGUE} == {"fit", "intent", "engagement"}


@pytest.mark.parametrize("days", [1, 7, 30, 90])
def test_a_window_is_as_long_as_its_name_says(days: int) -> None:
    last = 4  # the day of Ada's last touch
    assert values(WORLD, feature(f"touches_{days}d"), "ada", last + days, last + days + 0.001)[1] == 0
    assert values(WORLD, feature(f"touches_{days}d"), "ada", last + days)[0] >= 1


def test_a_feature_of_one_kind_counts_that_kind() -> None:
    clicks = replace(feature("{}_touches_7d"), where=(("kind", "click"),))
    since = replace(feature("days_since_{}_channel"), where=(("channel", "Email"),))
    assert values(WORLD, clicks, "ada", 4, 5, 11, 11.001) == exactly(0, 1, 1, 0)
    assert values(WORLD, since, "ada", 5, 6, 7) == exactly(NAN, NAN, 6)


def test_missing_is_not_zero() -> None:
    never = [feature(name) for name in ("days_since_touch", "momentum_7d", "days_between_touches", "days_in_stage")]
    assert np.isnan(feature_matrix(never, at(WORLD, ("bob", 5)))).all()


def test_a_trend_is_missing_when_four_weeks_were_silent_and_zero_when_one_was() -> None:
    assert values(WORLD, feature("momentum_7d"), "ada", 12, 40) == exactly(0, NAN)


COUNTRY = Feature("country", "attribute", "", group="fit", column="country", levels=("AT", "DE"))
SEATS = Feature("seats", "attribute", "", group="fit", column="seats")


def test_an_attribute_is_that_of_the_version_known_then() -> None:
    assert values(WORLD, COUNTRY, "ada", 0, 0.5, 5, 5.001) == exactly(NAN, 1, 1, 0)
    assert values(WORLD, SEATS, "ada", 5, 5.001) == exactly(10, NAN)


def test_a_level_never_seen_is_other_and_an_attribute_never_seen_is_missing() -> None:
    assert values(WORLD, COUNTRY, "bob", 4) == [2]
    assert values(WORLD, SEATS, "bob", 4) == exactly(NAN)
    assert values(WORLD, replace(SEATS, column="unheard of"), "ada", 4) == exactly(NAN)


@pytest.mark.parametrize(
    ("text", "number"), [("1200.5", 1200.5), (" -3 ", -3), ("many", NAN), ("inf", NAN), ("NaN", NAN)]
)
def test_a_number_is_a_finite_one(text: str, number: float) -> None:
    assert values(history([version("ada", 0, {"seats": text})]), SEATS, "ada", 1) == exactly(number)


def test_an_attribute_reads_the_same_from_a_file_and_from_a_request() -> None:
    seen = history(
        [version("file", 0, {"paid": "true", "seats": "5"}), version("request", 0, {"paid": True, "seats": 5})]
    )
    paid = replace(COUNTRY, column="paid", levels=("false", "true"))
    matrix = feature_matrix([paid, SEATS], at(seen, ("file", 1), ("request", 1)))
    assert matrix.tolist() == [[1, 5], [1, 5]]


def test_the_stage_is_the_one_known_then() -> None:
    level = replace(feature("stage"), levels=("demo", "new"))
    assert values(WORLD, level, "ada", 1, 2, 6, 7.5, 9) == exactly(NAN, 1, 1, 2, 2)
    early = history([version("ada", 0)], (), [stage("ada", 1, "new"), stage("ada", 3, "demo", received=8)])
    assert values(early, level, "ada", 8, 8.001) == exactly(1, 0)


def test_values_are_said_in_words() -> None:
    assert [COUNTRY.said(value) for value in (0, 1, 2, NAN)] == ["AT", "DE", "other", "unknown"]
    assert [feature("touches").said(value) for value in (0, 12_345, 1.25, NAN)] == ["0", "12,345", "1.2", "none"]


# What is learned


CROWD = [f"l{i:02}" for i in range(FEWEST_LEADS)]
CROWD_LEADS = [version(lead, 0, {"country": "DE", "seats": i, "rare": i % 2 or "odd"}) for i, lead in enumerate(CROWD)]
CROWD_TOUCHES = [
    touch(lead, 1, kind, channel) for lead in CROWD for kind, channel in (("visit", "Email"), ("click", "Ads"))
]
CROWD_STAGES = [stage(lead, day, name) for lead in CROWD for day, name in ((1, "new"), (2, "demo"))]
TAUGHT = history(CROWD_LEADS, CROWD_TOUCHES, CROWD_STAGES)


def learned(seen: History, day: float) -> dict[str, Feature]:
    return {line.name: line for line in learned_features(seen, micros(day))}


def templates(seen: History, day: float) -> set[str]:
    """Return the names that learning adds to the fixed ones."""
    return set(learned(seen, day)) - {line.name for line in CATALOGUE if not line.each}


def of_kind(kind: str) -> set[str]:
    return {f"{kind}_touches{window}" for window in ("", "_7d", "_30d", "_90d")} | {f"days_since_{kind}"}


def of_channel(channel: str) -> set[str]:
    counts = {f"{channel}_channel_touches", f"{channel}_channel_touches_90d", f"{channel}_channel_share_90d"}
    return counts | {f"days_since_{channel}_channel"}


NAMED = {"stage", "first_channel", "last_channel", "last_kind", "last_verdict"}  # their levels are learned
REACHED = {"days_since_new_stage", "days_since_demo_stage"}
TOUCHED = {*of_kind("visit"), *of_kind("click"), *of_channel("Email"), *of_channel("Ads")}
ALL = {"country", "seats", *NAMED, *REACHED, *TOUCHED}


def test_templates_are_written_out_for_every_frequent_name() -> None:
    assert templates(TAUGHT, 9) == ALL
    clicks = learned(TAUGHT, 9)["click_touches_7d"]
    assert clicks == Feature(
        "click_touches_7d",
        "count",
        "Touches of kind click in the last 7 days",
        "touches",
        days=7,
        where=(("kind", "click"),),
    )


def test_nothing_is_learned_from_what_was_not_known_before_the_moment() -> None:
    assert templates(TAUGHT, 0) == NAMED
    assert templates(TAUGHT, 1) == {"country", "seats", *NAMED}
    assert learned(TAUGHT, 1)["stage"].levels == ()
    assert templates(TAUGHT, 1.001) == ALL - {"days_since_demo_stage"}
    assert templates(TAUGHT, 2.001) == ALL
    assert (learned(TAUGHT, 2)["stage"].levels, learned(TAUGHT, 2.001)["stage"].levels) == (("new",), ("demo", "new"))


def test_names_seen_with_too_few_leads_are_not_learned_however_often_they_came() -> None:
    often = [touch(lead, day, "demo", "Fair") for lead in CROWD[1:] for day in (1, 2, 3)]
    moves = [stage(lead, day, "trial") for lead in CROWD[1:] for day in (3, 4)]
    versions = [version(lead, day, {"city": "Bonn"}) for lead in CROWD[1:] for day in (1, 2)]
    seen = history([*CROWD_LEADS, *versions], [*CROWD_TOUCHES, *often], [*CROWD_STAGES, *moves])
    assert templates(seen, 9) == ALL
    assert learned(seen, 9)["stage"].levels == ("demo", "new")
    enough = history(
        [*CROWD_LEADS, *versions, version(CROWD[0], 3, {"city": "Bonn"})], [*often, touch(CROWD[0], 1, "demo", "Fair")]
    )
    assert templates(enough, 9) == {"country", "seats", "city", *NAMED, *of_kind("demo"), *of_channel("Fair")}


def test_an_attribute_is_a_number_if_every_known_value_is_one() -> None:
    assert (learned(TAUGHT, 9)["seats"].levels, learned(TAUGHT, 9)["country"].levels) == ((), ("DE",))
    corrected = [version(lead, 5, {"seats": "many"}) for lead in CROWD]
    seen = history([*CROWD_LEADS, *corrected])
    assert learned(seen, 5)["seats"].levels == ()
    assert learned(seen, 5.001)["seats"].levels == ("many",)


def test_levels_are_the_most_frequent_and_alphabetical_where_they_tie() -> None:
    names = [f"c{i:02}" for i in range(MOST_LEVELS + 1)]
    leads = [
        version(f"{name}-{i}", 0, {"country": name}) for name in names for i in range(FEWEST_LEADS + (name == "c30"))
    ]
    assert learned(history(leads), 9)["country"].levels == ("c30", *names[: MOST_LEVELS - 1])


def test_an_attribute_called_like_a_feature_is_named_apart() -> None:
    seen = history([version(lead, 0, {"stage": "x", "touches": 5}) for lead in CROWD])
    names = [line.name for line in learned_features(seen, micros(9))]
    assert names[:2] == ["stage_attribute", "touches_attribute"]
    assert {"stage", "touches"} < set(names)
    assert len(names) == len(set(names))


def test_an_email_and_a_title_are_found_by_what_they_are_called_and_not_without() -> None:
    told = {"E-Mail": "a@example.com", "job title": "CEO"}
    seen = history([version(lead, 0, told) for lead in CROWD])
    assert {name: learned(seen, 9)[name].column for name in ("email_kind", "seniority", "department")} == {
        "email_kind": "E-Mail",
        "seniority": "job title",
        "department": "job title",
    }
    assert "email_kind" not in learned(TAUGHT, 9)


def test_features_of_accounts_are_learned_where_enough_leads_have_one() -> None:
    few, many = (
        history([version(lead, 1, account="acme" if i < some else None) for i, lead in enumerate(CROWD)])
        for some in (FEWEST_LEADS - 1, FEWEST_LEADS)
    )
    assert "account_touches_7d" not in learned(few, 9)
    assert "account_touches_7d" not in learned(many, 1)
    assert "account_touches_7d" in learned(many, 1.001)


def test_names_seen_in_parts_of_the_leads_add_up() -> None:
    tables = (CROWD_LEADS, CROWD_TOUCHES, CROWD_STAGES)
    sides = [[[row for row in rows if (row["lead_id"] < "l07") is side] for rows in tables] for side in (True, False)]
    seen = added(*(seen_names(history(*side), micros(9)) for side in sides))
    assert written_out(seen) == learned_features(TAUGHT, micros(9))


def test_names_with_braces_and_blanks_are_only_names() -> None:
    seen = history([version(lead, 0) for lead in CROWD], [touch(lead, 1, "{0} x") for lead in CROWD])
    assert of_kind("{0} x") <= templates(seen, 9)


def test_every_feature_of_the_catalogue_has_a_verb_and_a_meaning() -> None:
    assert [line.name for line in CATALOGUE if line.verb not in VERBS or not line.about] == []
    assert len({line.name for line in CATALOGUE}) == len(CATALOGUE)


# Properties, for all learned features


FEATURES = learned_features(TAUGHT, micros(9))
LEADS = ("ada", "bob", "cy")
NOW = 10

AT_ONCE = st.none()
who = st.sampled_from(LEADS)
past = st.integers(-8, 4 * NOW - 1).map(lambda quarter: quarter / 4)
some_day = st.integers(-8, 8 * NOW).map(lambda quarter: quarter / 4)
future = st.integers(4 * NOW, 8 * NOW).map(lambda quarter: quarter / 4)
kinds = st.sampled_from(["visit", "click", "call"])
channels = st.sampled_from(["Email", "Ads", "Fair"])
names = st.sampled_from(["new", "demo", "won"])
attributes = st.fixed_dictionaries({}, optional={"country": st.sampled_from(["DE", "FR"]), "seats": st.integers(0, 3)})


def touches(occurred: Any, received: Any = AT_ONCE) -> Any:
    return st.lists(st.builds(touch, who, occurred, kinds, channels, received), max_size=8)


def stages(occurred: Any, received: Any = AT_ONCE) -> Any:
    return st.lists(st.builds(stage, who, occurred, names, received), max_size=4)


def versions(observed: Any) -> Any:
    return st.lists(st.builds(version, who, observed, attributes, created=some_day), max_size=4)


FIRST = [version(lead, 0, {"country": "DE", "seats": 1}) for lead in LEADS]
worlds = st.tuples(versions(some_day).map(lambda more: [*FIRST, *more]), touches(some_day, some_day), stages(some_day))
moments = st.lists(st.tuples(who, some_day), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(
    worlds,
    versions(future),
    st.one_of(touches(future), touches(past, future)),
    st.one_of(stages(future), stages(past, future)),
    st.lists(st.tuples(who, past), max_size=4),
)
def test_the_future_changes_nothing(
    world: tuple[list[Row], list[Row], list[Row]],
    more_versions: list[Row],
    more_touches: list[Row],
    more_stages: list[Row],
    earlier: list[tuple[str, float]],
) -> None:
    leads, touched, moved = world
    then = history(leads, touched, moved)
    later = history([*leads, *more_versions], [*touched, *more_touches], [*moved, *more_stages])
    asked = [*((lead, NOW) for lead in LEADS), *earlier]
    matrix = feature_matrix(FEATURES, at(then, *asked))
    assert np.array_equal(matrix, feature_matrix(FEATURES, at(later, *asked)), equal_nan=True)


@settings(max_examples=20, deadline=None)
@given(worlds, versions(future), st.one_of(touches(future), touches(past, future)), stages(future))
def test_the_future_teaches_nothing(
    world: tuple[list[Row], list[Row], list[Row]],
    more_versions: list[Row],
    more_touches: list[Row],
    more_stages: list[Row],
) -> None:
    leads, touched, moved = [*CROWD_LEADS, *world[0]], [*CROWD_TOUCHES, *world[1]], [*CROWD_STAGES, *world[2]]
    then = history(leads, touched, moved)
    strangers = [touch(lead, NOW, "robot", "Space") for lead in CROWD]
    later = history([*leads, *more_versions], [*touched, *more_touches, *strangers], [*moved, *more_stages])
    assert learned_features(later, micros(NOW)) == learned_features(then, micros(NOW))


@settings(max_examples=30, deadline=None)
@given(worlds, moments, st.sampled_from([1, 2, 100]))
def test_a_lead_alone_equals_the_lead_in_a_batch_however_the_batch_is_cut(
    world: tuple[list[Row], list[Row], list[Row]], asked: list[tuple[str, float]], block: int
) -> None:
    together = history(*world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrices, "BLOCK", block)
        batch = feature_matrix(FEATURES, at(together, *asked))
    for row, (lead, day) in zip(batch, asked, strict=True):
        alone = history(*([one for one in rows if one["lead_id"] == lead] for rows in world))
        assert np.array_equal(row[None], feature_matrix(FEATURES, at(alone, (lead, day))), equal_nan=True)


@settings(max_examples=30, deadline=None)
@given(worlds, moments, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(
    world: tuple[list[Row], list[Row], list[Row]], asked: list[tuple[str, float]], random: Any
) -> None:
    shuffled = [random.sample(rows, len(rows)) for rows in world]
    matrix = feature_matrix(FEATURES, at(history(*world), *asked))
    assert np.array_equal(matrix, feature_matrix(FEATURES, at(history(*shuffled), *asked)), equal_nan=True)


def test_no_moments_have_no_rows() -> None:
    assert feature_matrix(FEATURES, at(WORLD)).shape == (0, len(FEATURES))


def test_the_callers_moments_and_history_are_never_changed() -> None:
    asked = at(WORLD, ("bob", 5), ("ada", 9), ("ada", 5))
    before = asked.lead.copy(), asked.as_of.copy(), WORLD.touches.occurred.copy(), WORLD.touches.known.copy()
    feature_matrix(FEATURES, asked)
    after = asked.lead, asked.as_of, WORLD.touches.occurred, WORLD.touches.known
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
