"""Scores in words: what sales reads of a lead, and that only its own past is in it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from by_hand import Row, day, moment, world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from trained import Company
from weighed import weighing

from features.history import History
from features.verbs import Feature, Moments
from serving.batch import open_leads
from serving.facts import Fact
from serving.scorer import Scorer
from serving.scores import Reason, Score, scores
from serving.spec import Calibration, Spec

Floats = NDArray[np.float64]
AGE = Feature("age_days", "age", "Days since the lead was created", "days", "fit")
INDUSTRY = Feature(
    "industry", "attribute", "Industry of the lead", group="fit", column="industry", levels=("Mining", "Retail")
)
TOUCHES = Feature("touches_7d", "count", "Touches in the last 7 days", "touches", days=7)
KINDS = tuple(
    Feature(f"{kind}_touches", "count", f"Touches of kind {kind}", "touches", where=(("kind", kind),))
    for kind in "abcdefg"
)


def scored(scorer: Scorer, history: History, at: float) -> list[Score]:
    everyone = np.arange(len(history.lead_ids))
    return scores(scorer, Moments(history, everyone, np.full(len(everyone), day(at))))


def test_a_score_says_all_there_is_to_say_of_a_lead() -> None:
    history = world(
        {"ada": 0}, [("ada", 6, "a", "Email"), ("ada", 7, "a", "Email")], attributes={"ada": {"industry": "Mining"}}
    )
    scorer = weighing([AGE, TOUCHES], [-0.1, 0.5], base=-1.0, medians=(20.0, 0.0), ranks=tuple(np.linspace(0, 1, 101)))
    (score,) = scored(scorer, history, 10)
    p = 1 / (1 + math.exp(1))  # −1 − 0.1 · 10 days + 0.5 · 2 touches
    variance = 0.4 + 40 / 30 + 1 / (101 * 0.25)  # of what is unseen, and of the base rate among a hundred leads
    middle, reach = -1 - variance / 2 * (1 - 2 * p), 1.6449 * math.sqrt(variance)
    raises, lowers = "raises the odds 2.72 times", "lowers the odds 2.72 times"
    assert score == Score(
        lead_id="ada",
        as_of=day(10),
        horizon_days=90,
        probability=pytest.approx(p),
        low=pytest.approx(1 / (1 + math.exp(reach - middle))),
        high=pytest.approx(1 / (1 + math.exp(-reach - middle))),
        percentile=pytest.approx(100 * p),
        grade="D",
        trend="improving",  # a week ago −1 − 0.1 · 3 days
        fit=pytest.approx(-1.0),
        engagement=pytest.approx(1.0),
        reasons=(
            Reason("touches_7d", 2, pytest.approx(1.0), f"Touches in the last 7 days: 2 (usually 0), {raises}"),
            Reason("age_days", 10, pytest.approx(-1.0), f"Days since the lead was created: 10 (usually 20), {lowers}"),
        ),
        evidence="model",
        model_version="v1",
    )  # fmt: skip


def test_a_reason_calls_kinds_of_touches_as_people_do() -> None:
    opened = Feature("opened", "count", "Touches of kind email_open so far", "touches", where=(("kind", "email_open"),))
    (score,) = scored(weighing([opened], [1.0]), world({"ada": 0}, [("ada", 1, "email_open", "Email")]), 10)
    assert [reason.text.partition(":")[0] for reason in score.reasons] == ["Opened an e-mail so far"]


# Grade


@pytest.mark.parametrize(
    ("percentile", "grade"),
    [(100, "A"), (90, "A"), (89, "B"), (70, "B"), (69, "C"), (40, "C"), (39, "D"), (0, "D")],
)
def test_the_grade_follows_the_rank_among_leads(percentile: int, grade: str) -> None:
    ranks = tuple(0.5 + (rank - percentile) / 1000 for rank in range(101))  # 0.5 is at this percentile
    (score,) = scored(weighing([AGE], [0.0], ranks=ranks), world({"ada": 0}), 1)
    assert (score.probability, score.percentile, score.grade) == (0.5, pytest.approx(percentile), grade)


# Trend


@pytest.mark.parametrize(
    ("a_day", "trend"),
    [(0.02, "improving"), (-0.02, "declining"), (0.014, "steady"), (-0.014, "steady"), (0.0, "steady")],
)
def test_the_trend_is_the_change_of_the_log_odds_in_a_week(a_day: float, trend: str) -> None:
    (score,) = scored(weighing([AGE], [a_day]), world({"ada": 0}), 30)  # changes by 7 · a_day; steady below 0.1
    assert score.trend == trend


@pytest.mark.parametrize(
    ("age", "trend"), [(6.9, "not enough information"), (7, "not enough information"), (7.1, "improving")]
)
def test_a_lead_younger_than_a_week_has_no_trend(age: float, trend: str) -> None:
    (score,) = scored(weighing([AGE], [1.0]), world({"ada": 0}), age)
    assert score.trend == trend


# Reasons


def test_reasons_are_five_up_and_five_down_the_strongest_first() -> None:
    history = world({"ada": 0}, [("ada", 1, kind, "Email") for kind in "abcdefg"])
    up = [0.1, 0.7, 0.3, 0.6, 0.2, 0.5, 0.4]
    (score,) = scored(weighing(KINDS, up), history, 2)
    assert [(reason.feature, reason.effect) for reason in score.reasons] == [
        ("b_touches", pytest.approx(0.7)),
        ("d_touches", pytest.approx(0.6)),
        ("f_touches", pytest.approx(0.5)),
        ("g_touches", pytest.approx(0.4)),
        ("c_touches", pytest.approx(0.3)),
    ]
    (score,) = scored(weighing(KINDS, [-weight for weight in up]), history, 2)
    assert [reason.feature for reason in score.reasons] == [f"{kind}_touches" for kind in "bdfgc"]
    (score,) = scored(weighing(KINDS, [0.1, -0.2, 0.3, 0, -0.4, 0, 0]), history, 2)
    assert [reason.feature for reason in score.reasons] == ["c_touches", "a_touches", "e_touches", "b_touches"]


def test_a_reason_says_how_many_of_such_leads_close_and_how_many_of_all() -> None:
    facts = (Fact((10.0, 20.0), (0.5, 0.25, 0.125), missing=0.4),)
    told = {}
    for age in (9.9, 10, 30):
        (score,) = scored(weighing([AGE], [1.0], facts=facts), world({"ada": 0}), age)
        told[age] = score.reasons[0].text.partition("; ")[2]
    assert told == {
        9.9: "of such leads 50% close, of all 50%",
        10: "of such leads 25% close, of all 50%",
        30: "of such leads 12% close, of all 50%",
    }


def test_effects_that_cancel_each_other_are_still_reasons() -> None:
    history = world({"ada": 0}, [("ada", 1, kind, "Email") for kind in "ab"])
    (score,) = scored(weighing(KINDS[:2], [0.5, -0.5], calibration=Calibration(0.4, 0.8, 0)), history, 2)
    stretched = 0.5 * (0.4 + 0.8) / 2  # the slope of the calibration where the odds are even
    assert [(reason.feature, reason.effect) for reason in score.reasons] == [
        ("a_touches", pytest.approx(stretched)),
        ("b_touches", pytest.approx(-stretched)),
    ]


def test_what_moves_nothing_is_no_reason() -> None:
    (score,) = scored(weighing([AGE, TOUCHES], [0.0, 1.0]), world({"ada": 0}), 2)
    assert (score.reasons, score.fit, score.engagement) == ((), 0, 0)


@pytest.mark.parametrize(
    ("industry", "value", "text"),
    [
        ("Mining", "Mining", "Industry of the lead: Mining, raises the odds 1.00 times"),
        ("Retail", "Retail", "Industry of the lead: Retail, raises the odds 2.72 times"),
        ("Piracy", "other", "Industry of the lead: other, raises the odds 7.39 times"),
    ],
)
def test_a_category_is_said_by_its_name(industry: str, value: str, text: str) -> None:
    history = world({"ada": 0}, attributes={"ada": {"industry": industry}})
    (score,) = scored(weighing([INDUSTRY, AGE], [1.0, 0.0], medians=(0.0, None)), history, 1)
    said = [(reason.value, reason.text) for reason in score.reasons]
    assert said == ([(value, text)] if industry != "Mining" else [])


def test_what_is_not_known_of_a_lead_can_be_a_reason_too() -> None:
    scorer = weighing([INDUSTRY], [-1.0], missing=1.0)
    (score,) = scored(scorer, world({"ada": 0}), 1)
    assert score.reasons == (
        Reason("industry", None, pytest.approx(-1.0), "Industry of the lead: unknown, lowers the odds 2.72 times"),
    )


def test_fit_and_engagement_are_the_effects_of_their_features() -> None:
    history = world({"ada": 0}, [("ada", 1, "a", "Email")], attributes={"ada": {"industry": "Retail"}})
    (score,) = scored(weighing([AGE, INDUSTRY, TOUCHES], [0.1, 0.5, -0.3]), history, 2)
    assert (score.fit, score.engagement) == (pytest.approx(0.1 * 2 + 0.5), pytest.approx(-0.3))


def test_without_a_model_every_lead_has_the_base_rate_and_no_reason() -> None:
    scorer = Scorer(Spec((AGE,), 90, math.log(1 / 3), leads=10, medians=(None,)), None, "v0")
    ada, bob = scored(scorer, world({"ada": 0, "bob": 9}), 10)
    assert ada.probability == bob.probability == pytest.approx(0.25)
    assert (ada.percentile, ada.grade, ada.reasons, ada.evidence) == (50, "C", (), "prior")
    assert (ada.trend, bob.trend) == ("steady", "not enough information")


def test_no_moments_have_no_scores() -> None:
    assert scored(weighing([AGE, TOUCHES], [1.0, 1.0]), world({}), 10) == []


# Only its own past


def test_a_lead_alone_is_the_lead_in_the_batch(trained_company: Company) -> None:
    everyone = open_leads(trained_company.history, trained_company.settings.goal, trained_company.as_of)
    batch = scores(trained_company.scorer, everyone)
    assert len(batch) > 100
    for i in range(0, len(batch), 4):
        alone = Moments(everyone.history, everyone.lead[i : i + 1], everyone.as_of[i : i + 1])
        assert scores(trained_company.scorer, alone) == [batch[i]]


def test_the_order_of_leads_changes_no_score(trained_company: Company) -> None:
    everyone = open_leads(trained_company.history, trained_company.settings.goal, trained_company.as_of)
    shuffled = np.random.default_rng(0).permutation(len(everyone))
    other = Moments(everyone.history, everyone.lead[shuffled], everyone.as_of[shuffled])
    batch = scores(trained_company.scorer, everyone)
    assert scores(trained_company.scorer, other) == [batch[i] for i in shuffled]


KIND = st.sampled_from(["page_view", "email_click", "demo_request", "webinar_attended", "never seen before"])
CHANNEL = st.sampled_from(["Email", "Direct", "Paid Search", "Carrier pigeon"])
STAGE = st.sampled_from(["mql", "sql", "opportunity", "won", "lost"])
DAYS = st.integers(0, 60 * 24).map(lambda hour: hour / 24)
NOW = 30.0


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    touches=st.lists(st.tuples(DAYS, KIND, CHANNEL, DAYS), max_size=8),
    stages=st.lists(st.tuples(DAYS, STAGE, DAYS), max_size=4),
)
def test_the_future_changes_nothing(trained_company: Company, touches: list[Row], stages: list[Row]) -> None:
    touched = [("ada", on, kind, channel, max(on, received)) for on, kind, channel, received in touches]
    moved = [("ada", on, stage, max(on, received)) for on, stage, received in stages]
    so_far = world({"ada": 0}, [row for row in touched if row[-1] < NOW], [row for row in moved if row[-1] < NOW])
    in_the_end = world({"ada": 0}, touched, moved)
    assert scored(trained_company.scorer, in_the_end, NOW) == scored(trained_company.scorer, so_far, NOW)


def test_a_touch_is_in_the_score_from_the_moment_after_it_was_received() -> None:
    history = world({"ada": 0}, [("ada", 5, "a", "Email", 10)])
    scorer = weighing([TOUCHES], [1.0])
    before, at, after = (scored(scorer, history, at)[0].engagement for at in (9.9, 10, 10.001))
    assert (before, at, after) == (0, 0, pytest.approx(1.0))
    assert moment(10).day == 15
