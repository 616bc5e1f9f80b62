"""Exploration: some leads are worked without their score, and what showing it earned is told with an interval."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from served import serving, until_ready
from trained import NOW, Company

from features.lake import Lake
from features.settings import Exploration, Settings
from serving import batch
from serving.exploration import OFF, WHY, Earned, earned, withheld
from serving.worklist import Asked, Worklist

Floats = NDArray[np.float64]
MANY = [f"lead-{i}" for i in range(4000)]


def test_about_the_share_of_leads_is_drawn_and_the_same_ones_again() -> None:
    drawn = withheld(MANY, Exploration(share=0.1, key="a"))
    assert 340 <= drawn.sum() <= 460  # 400 are expected; beyond is rarer than one in 1,000
    assert drawn.tolist() == withheld(MANY, Exploration(share=0.1, key="a")).tolist()
    assert drawn.tolist() != withheld(MANY, Exploration(share=0.1, key="b")).tolist()
    assert not withheld(MANY, OFF).any()


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.lists(st.text(max_size=8), max_size=20))
def test_who_is_drawn_at_a_share_is_drawn_at_every_larger_one_whoever_else_is_there(
    one: float, other: float, leads: list[str]
) -> None:
    fewer, more = (withheld(leads, Exploration(share=share, key="k")) for share in sorted((one, other)))
    assert (fewer <= more).all()
    assert fewer.tolist() == [bool(withheld([lead], Exploration(share=min(one, other), key="k"))[0]) for lead in leads]


def test_what_was_earned_is_worked_by_hand() -> None:
    outcome, kept_back = np.array([1.0] * 30 + [0] * 30 + [1] * 10 + [0] * 20), np.arange(90) >= 60
    found = earned("closes", outcome, np.zeros(90), kept_back, np.full(90, 0.3))
    assert found is not None
    assert (found.shown, found.withheld, found.of_shown) == (60, 30, pytest.approx(0.5))
    assert found.of_withheld == pytest.approx(1 / 3)
    assert found.a_lead == pytest.approx(1 / 6)
    spread = (0.25 / 59 + (2 / 9) / 29) ** 0.5
    assert (found.high - found.low) / 2 == pytest.approx(2.0 * spread, rel=0.01)  # Student's t of 60 is 2.0
    assert (found.together, found.together_low) == (pytest.approx(10), pytest.approx(60 * found.low))


def test_a_lead_weighs_one_over_the_chance_of_being_of_its_kind() -> None:
    kept_back = np.tile(np.arange(4) == 0, 40)
    propensity = np.where(np.arange(160) < 80, 0.2, 0.5)
    outcome = np.where(np.arange(160) < 80, 0.0, 1.0)
    found = earned("closes", outcome, np.zeros(160), kept_back, propensity)
    assert found is not None
    assert found.of_withheld == pytest.approx((1 / 0.5) / (1 / 0.5 + 1 / 0.2))
    assert found.of_shown == pytest.approx((1 / 0.5) / (1 / 0.5 + 1 / 0.8))


def test_nothing_is_said_of_too_few() -> None:
    assert earned("closes", np.ones(60), np.zeros(60), np.arange(60) < 29, np.full(60, 0.5)) is None


def simulated(seed: int, effect: float, *, promises: bool = True) -> Earned:
    """Return what an experiment of 600 leads says, whose showing adds ``effect`` to everybody's chance."""
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 5, 600) * (1 - effect)
    kept_back = rng.random(600) < 0.25
    outcome = (rng.random(600) < p + effect * ~kept_back).astype(float)
    found = earned("closes", outcome, p if promises else np.zeros(600), kept_back, np.full(600, 0.25))
    assert found is not None
    return found


@pytest.mark.parametrize("effect", [0.0, 0.1])
def test_the_interval_holds_the_truth_as_often_as_it_says(effect: float) -> None:
    runs = [simulated(seed, effect) for seed in range(400)]
    held = sum(run.low <= effect <= run.high for run in runs)
    assert 366 <= held <= 393  # 380 are expected; beyond has a chance below one in 200
    assert np.mean([run.a_lead for run in runs]) == pytest.approx(effect, abs=0.006)


def test_what_was_promised_makes_the_interval_narrower() -> None:
    with_it, without = (simulated(3, 0.1, promises=promises) for promises in (True, False))
    assert with_it.high - with_it.low < 0.95 * (without.high - without.low)


HALF = Settings.model_validate({"exploration": {"share": 0.5}})


@pytest.fixture
def explored(trained_company: Company, tmp_path: Path) -> tuple[Company, batch.Scored]:
    """Return a company half of whose scores are withheld, and what may be said of it."""
    shutil.copytree(trained_company.workspace, tmp_path / "company")
    own = replace(trained_company, workspace=tmp_path / "company", lake=Lake(tmp_path / "company" / "lake"))
    how = HALF.exploration
    return own, batch.score_and_store(own.workspace, own.lake, own.settings.goal, own.as_of, how)


def test_a_withheld_score_is_stored_with_its_propensity_and_not_told(explored: tuple[Company, batch.Scored]) -> None:
    company, told = explored
    stored = company.lake.query("SELECT lead_id, withheld, propensity FROM scores ORDER BY lead_id").to_pandas()
    assert stored["propensity"].unique().tolist() == [0.5]
    assert sorted(stored["lead_id"][stored["withheld"]]) == sorted(told.withheld)
    assert sorted(told.scores["lead_id"]) == sorted(stored["lead_id"][~stored["withheld"]])
    assert len(told.withheld) > 0
    assert "withheld" not in told.scores.columns


def test_a_lead_whose_score_is_withheld_stands_anywhere_in_the_work_list(
    explored: tuple[Company, batch.Scored],
) -> None:
    company, told = explored
    worklist = Worklist(company.lake, company.settings.goal, explores=True)
    worklist.make(company.history, company.as_of)
    rows = worklist.page(Asked(limit=1000)).rows
    hidden = [row for row in rows if row["withheld"]]
    assert {row["lead_id"] for row in hidden} == set(told.withheld)
    assert {row["probability"] for row in hidden} == {None}
    places = np.array([place for place, row in enumerate(rows) if row["withheld"]]) / len(rows)
    assert abs(places.mean() - 0.5) < 0.12
    assert places.min() < 0.2
    shown = [row["probability"] for row in rows if not row["withheld"]]
    assert shown == sorted(shown, reverse=True)


def test_the_service_says_why_it_does_not_score_such_a_lead(explored: tuple[Company, batch.Scored]) -> None:
    from bentoml.exceptions import InvalidArgument

    from serving.desk import Desk
    from serving.messages import ScoreRequest

    company, told = explored
    desk = Desk(company.workspace, HALF, lambda: NOW)
    lead, other = told.withheld[0], str(told.scores["lead_id"].iloc[0])
    with pytest.raises(InvalidArgument, match=rf"^{lead} is not scored: {WHY}\.$"):
        desk.scored(ScoreRequest(lead_ids=[lead, other]), NOW)
    reply = desk.lead(lead, NOW)
    assert (reply.score, reply.not_scored, reply.scores) == (None, f"{lead} is not scored: {WHY}.", [])
    assert b'"probability"' in desk.scored(ScoreRequest(lead_ids=[other]), NOW)


def test_my_leads_says_that_such_a_lead_is_withheld(explored: tuple[Company, batch.Scored]) -> None:
    company, told = explored
    with serving(company.workspace, HALF) as client:
        until_ready(client)
        page = client.get("/my-leads", params={"search": told.withheld[0]}).text
    assert "withheld, to measure what the score is worth" in page
