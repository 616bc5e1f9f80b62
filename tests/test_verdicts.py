"""Verdicts: bad data, no fit and not now are different labels, and what sales says is known from when it was said."""

from __future__ import annotations

import numpy as np
import pytest
from tables import history, micros, stage, verdict, version

from features.catalogue import CATALOGUE
from features.history import DAY, NEVER, History
from features.matrix import feature_matrix
from features.settings import Feedback, Settings
from features.templates import FEWEST_LEADS, learned_features
from features.verbs import Moments
from training.snapshots import labelled, learnable
from training.verdicts import verdicts_of

MEANS = Feedback()
WEEKLY = Settings.model_validate({"goal": {"horizon_days": 60}})
LEADS = ("ada", "bob", "cy")


def said(*rows: tuple[object, ...]) -> History:
    return history([version(lead, 0) for lead in LEADS], feedback=[verdict(*row) for row in rows])


def test_the_reasons_of_a_rejection_are_told_apart() -> None:
    told = said(
        ("ada", 3, "rejected", "Inaccurate data "), ("bob", 4, "rejected", "NO FIT"), ("cy", 5, "rejected", "not now")
    )
    found = verdicts_of(told, MEANS, micros(9))
    assert found.bad_data.tolist() == [True, False, False]
    assert found.no_fit.tolist() == [NEVER, micros(4), NEVER]


@pytest.mark.parametrize(
    ("rows", "bad"),
    [
        ([("ada", 3, "accepted", "duplicate")], False),
        ([("ada", 3, "rejected", "duplicate"), ("ada", 5, "accepted")], False),
        ([("ada", 3, "rejected", "no fit"), ("ada", 5, "rejected", "duplicate")], True),
        ([("ada", 9, "rejected", "duplicate")], False),  # said in that very moment
        ([("ada", 3, "rejected", None)], False),
        ([], False),
    ],
)
def test_the_last_verdict_before_the_moment_counts(rows: list[tuple[object, ...]], bad: bool) -> None:
    assert bool(verdicts_of(said(*rows), MEANS, micros(9)).bad_data[0]) == bad


def test_what_a_reason_means_can_be_configured() -> None:
    own = Feedback.model_validate({"bad_data": ["spam"], "no_fit": []})
    found = verdicts_of(said(("ada", 3, "rejected", "spam"), ("bob", 3, "rejected", "no fit")), own, micros(9))
    assert (found.bad_data.tolist(), found.no_fit.tolist()) == ([True, False, False], [NEVER] * 3)


def world(*feedback: tuple[object, ...]) -> History:
    """Return leads of whom nothing is known but that Cy was won, and what sales said of them."""
    leads = [version(lead, on, created=on) for lead, on in (("ada", 100), ("bob", 100), ("cy", 100), ("old", 0))]
    return history(leads, stages=[stage("cy", 130, "won")], feedback=[verdict(*row) for row in feedback])


def of_lead(rows: object, name: str) -> list[float]:
    """Return the days after creation of the snapshots of a lead."""
    assert hasattr(rows, "moments")
    moments: Moments = rows.moments
    here = np.array([moments.history.lead_ids[lead] == name for lead in moments.lead])
    return [(at - micros(100)) / DAY for at in moments.as_of[here].tolist()]


def test_nothing_is_learned_nor_judged_by_a_lead_that_is_none() -> None:
    for rows in (learnable, labelled):
        before, after = (
            rows(told, WEEKLY, micros(400)) for told in (world(), world(("ada", 120, "rejected", "bad data")))
        )
        assert len(of_lead(before, "ada")) > 0
        assert of_lead(after, "ada") == []
        assert of_lead(after, "bob") == of_lead(before, "bob")


def test_no_fit_is_learned_at_once_and_not_now_only_when_the_horizon_is_past() -> None:
    today = micros(140)  # no snapshot of these leads is 60 days old
    told = world(
        ("ada", 120, "rejected", "no fit"), ("bob", 120, "rejected", "not now"), ("cy", 120, "rejected", "no fit")
    )
    rows = learnable(told, WEEKLY, today)
    assert of_lead(rows, "ada") == [2, 9, 16]  # those before the rejection
    assert of_lead(rows, "bob") == []
    assert of_lead(rows, "cy") == of_lead(learnable(world(), WEEKLY, today), "cy")  # won after all
    label = dict(zip(rows.moments.lead.tolist(), rows.labels.tolist(), strict=True))
    assert (label[told.lead_ids.index("ada")], label[told.lead_ids.index("cy")]) == (0, 1)
    assert of_lead(labelled(told, WEEKLY, today), "ada") == []  # nobody is judged early


def test_a_rejection_that_is_not_known_yet_teaches_nothing() -> None:
    told = world(("ada", 120, "rejected", "no fit"))
    assert of_lead(learnable(told, WEEKLY, micros(120)), "ada") == []


def test_each_reason_that_is_often_given_becomes_a_feature() -> None:
    many = [f"lead-{i:02}" for i in range(FEWEST_LEADS)]
    told = history([version(lead, 0) for lead in many], feedback=[verdict(lead, 3, reason="not now") for lead in many])
    (since,) = (f for f in learned_features(told, micros(5), CATALOGUE) if f.name == "days_since_rejected_for_not now")
    assert feature_matrix(
        (since,), Moments(told, np.zeros(2, np.int64), np.array([micros(3), micros(10)]))
    ).tolist() == [
        [pytest.approx(np.nan, nan_ok=True)],
        [7],
    ]
    assert "days_since_rejected_for_not now" not in {f.name for f in learned_features(told, micros(3), CATALOGUE)}


def test_feedback_on_a_duplicate_is_feedback_on_the_lead() -> None:
    from tables import merge

    told = history(
        [version("ada", 0), version("ada2", 0)],
        identities=[merge("ada2", "ada", 5)],
        feedback=[verdict("ada2", 3, reason="bad data")],
    )
    place = told.positions(["ada"], micros(9))
    assert verdicts_of(told, MEANS, micros(9)).bad_data[place].tolist() == [True]
