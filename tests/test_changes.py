"""What changed since the last score: new data, decay and a new model, which add up."""

from __future__ import annotations

import math
import re

import pytest
import tables
from by_hand import day, eager_and_idle, world
from hypothesis import given, settings
from hypothesis import strategies as st
from weighed import weighing

from features.errors import DataError
from features.history import NEVER
from features.settings import Training
from features.templates import learned_features
from features.verbs import Feature
from serving.changes import TRIFLE, Change, changes
from serving.scorer import Scorer
from training.ensemble import fit

AGE = Feature("age_days", "age", "Days since the lead was created", "days", "fit")
TOUCHES = Feature("touches_7d", "count", "Touches in the last 7 days", "touches", days=7)
ADA = world({"ada": 0}, [("ada", 1, "a", "Email"), ("ada", 2, "a", "Email"), ("ada", 9, "a", "Email", 9.5)])


def said(scorer: Scorer, then: float, now: float, later: Scorer | None = None) -> dict[str, float]:
    """Return what each cause moved."""
    found = changes(scorer, later or scorer, ADA, "ada", day(then), day(now))
    assert sum(found.by_cause.values()) == pytest.approx(found.moved)
    odds = [p / (1 - p) for p in (found.before, found.after)]
    assert math.log(odds[1] / odds[0]) == pytest.approx(found.moved)
    return {cause: round(effect, 9) for cause, effect in found.by_cause.items()}


def test_what_became_known_is_new_data() -> None:
    assert said(weighing([TOUCHES], [0.5]), 1.5, 3) == {"decay": 0, "new data": 0.5, "new model": 0}


def test_what_leaves_its_window_is_decay() -> None:
    assert said(weighing([TOUCHES], [0.5]), 3, 8.5) == {"decay": -0.5, "new data": 0, "new model": 0}


def test_a_lead_that_loses_old_touches_and_gains_a_new_one_is_told_of_both() -> None:
    assert said(weighing([TOUCHES, AGE], [0.5, 0.1]), 3, 10) == {"decay": -0.3, "new data": 0.5, "new model": 0}


def test_what_occurred_before_and_was_received_after_the_earlier_score_is_new_data() -> None:
    assert said(weighing([TOUCHES], [0.5]), 9.25, 9.75) == {"decay": 0, "new data": 0.5, "new model": 0}


def test_another_model_is_a_cause_of_its_own() -> None:
    later = weighing([TOUCHES], [0.5], base=1.0, version="v2")
    assert said(weighing([TOUCHES], [0.5]), 1.5, 1.5, later) == {"decay": 0, "new data": 0, "new model": 1.0}


def test_each_change_is_told_in_a_sentence_the_largest_first() -> None:
    later = weighing([TOUCHES, AGE], [0.5, 0.1], base=0.3, version="v2")
    found = changes(weighing([TOUCHES, AGE], [0.5, 0.1]), later, ADA, "ada", day(3), day(10))
    assert found.told == (
        Change("decay", "touches_7d", pytest.approx(-1.0),
               "Touches in the last 7 days: 0 instead of 2 as time went by, lowers the odds 2.72 times"),
        Change("decay", "age_days", pytest.approx(0.7),
               "Days since the lead was created: 10 instead of 3 as time went by, raises the odds 2.01 times"),
        Change("new data", "touches_7d", pytest.approx(0.5),
               "Touches in the last 7 days: 1 instead of 0, raises the odds 1.65 times"),
        Change("new model", "", pytest.approx(0.3),
               "The model was trained again: v2 instead of v1, raises the odds 1.35 times"),
    )  # fmt: skip


def test_nothing_is_told_where_nothing_changed() -> None:
    found = changes(weighing([TOUCHES], [0.5]), weighing([TOUCHES], [0.5]), ADA, "ada", day(3), day(3))
    assert (found.moved, found.told, found.before) == (0, (), found.after)


def test_a_trifle_is_not_told_but_counted() -> None:
    found = changes(weighing([AGE], [TRIFLE / 4]), weighing([AGE], [TRIFLE / 4]), ADA, "ada", day(1), day(4))
    assert (found.told, found.by_cause["decay"]) == ((), pytest.approx(0.75 * TRIFLE))


def test_what_a_colleague_did_and_who_became_one_is_new_data() -> None:
    leads = [tables.version("ada", 0, account="x"), tables.version("bob", 0), tables.version("bob", 4, account="x")]
    history = tables.history(leads, [tables.touch("bob", 1), tables.touch("bob", 5)])
    every = Feature("account_touches", "count", "Touches of the account", of="account")
    counting = weighing([every], [1.0])
    found = changes(counting, counting, history, "ada", tables.micros(3), tables.micros(6))
    assert found.by_cause == {"decay": 0, "new data": pytest.approx(2), "new model": 0}
    (told,) = found.told
    assert told.text == "Touches of the account: 2 instead of 0, raises the odds 7.39 times"


def test_what_sales_said_since_is_new_data() -> None:
    history = tables.history([tables.version("ada", 0)], feedback=[tables.verdict("ada", 4, reason="not now")])
    counting = weighing([Feature("rejections", "count", "Times sales rejected the lead", events="feedback")], [-1.0])
    found = changes(counting, counting, history, "ada", tables.micros(3), tables.micros(6))
    assert found.by_cause == {"decay": 0, "new data": pytest.approx(-1), "new model": 0}


@pytest.mark.parametrize(("lead", "then", "now"), [("bob", 3, 10), ("ada", 0, 10), ("ada", 5, 4)])
def test_a_lead_that_was_not_known_at_both_moments_is_refused(lead: str, then: float, now: float) -> None:
    sentence = f"{lead} was not known at both moments, so that nothing can be said of what changed."
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        changes(weighing([AGE], [1.0]), weighing([AGE], [1.0]), ADA, lead, day(then), day(now))


HISTORY = eager_and_idle(120)
WINS = [(i // 2 % 5 != 0) == (i % 2 == 0) for i in range(120)]


@pytest.fixture(scope="module")
def models() -> tuple[Scorer, Scorer]:
    """Return two models of the same leads."""
    from by_hand import at_age

    rows, features = at_age(HISTORY, 2, WINS), learned_features(HISTORY, NEVER)
    quick = [Training.model_validate({"trees": trees, "members": 3}) for trees in (5, 15)]
    one, other = (fit(rows, features, 90, how).scorer() for how in quick)
    return one, Scorer(other.spec, other.forest, "other")


@settings(deadline=None, max_examples=30)
@given(lead=st.integers(0, 119), ages=st.tuples(st.floats(0.1, 15), st.floats(0.1, 15)).map(sorted))
def test_the_causes_add_up_for_every_lead_and_what_is_told_is_of_them(
    models: tuple[Scorer, Scorer], lead: int, ages: list[float]
) -> None:
    then, now = (day(lead * 3 + age) for age in ages)
    found = changes(*models, HISTORY, f"lead-{lead:04}", then, now)
    assert sum(found.by_cause.values()) == pytest.approx(found.moved, abs=1e-9)
    for cause, effect in found.by_cause.items():
        told = [one.effect for one in found.told if one.cause == cause]
        if len(found.told) < 6:  # all but trifles
            assert sum(told) == pytest.approx(effect, abs=TRIFLE * len(models[0].spec.features))
