"""Promises: what was served is held against what closed, once the whole horizon is past."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import history, merge, micros, moment, stage, version

from features.lake import Lake
from features.settings import Settings
from features.verbs import Feature
from serving.batch import store
from serving.line import Line, Term
from serving.scorer import Scorer
from serving.spec import Prospect, Spec
from training.promises import Kept, broken, doubts, early, early_days, expected, kept, served

NO_SLICES = pd.DataFrame(index=range(0))


def said(*rows: tuple[float, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["probability", "label"])


def scores(lake: Lake, rows: list[tuple[str, float, float]]) -> None:
    """Store scores: of a lead, on a day, a probability."""
    store(
        lake,
        pd.DataFrame({
            "lead_id": [lead for lead, _, _ in rows],
            "as_of": pd.to_datetime([moment(day) for _, day, _ in rows], utc=True).as_unit("us"),
            "horizon_days": 90.0,
            "probability": [p for _, _, p in rows],
            "low": 0.0, "high": 1.0, "grade": "A", "trend": "steady", "reasons": "[]", "model_version": "v1",
        }),
    )  # fmt: skip


def test_of_each_lead_the_first_matured_score_counts(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    scores(
        lake,
        [("a", 10, 0.1), ("a", 40, 0.2), ("b", 41, 0.3), ("old", 9.9, 0.4), ("young", 110.1, 0.5), ("c", 110, 0.6)],
    )
    told = history([version(lead, 0) for lead in ("a", "b", "c", "old", "young")])
    found = served(lake, told, Settings(), micros(200), days=100)
    names = [told.lead_ids[lead] for lead in found["lead"]]
    assert dict(zip(names, found["probability"], strict=True)) == {"a": 0.1, "b": 0.3, "c": 0.6}
    assert found["as_of"].tolist() == [micros(10), micros(41), micros(110)]
    assert found["matured"].tolist() == [micros(100), micros(131), micros(200)]


@pytest.mark.parametrize(
    ("won", "received", "label"), [(99.9, 99.9, 1), (100, 100, 1), (100.1, 100.1, 0), (99, 201, 0)]
)
def test_a_lead_closed_if_it_was_won_within_the_horizon_and_we_know(
    tmp_path: Path, won: float, received: float, label: int
) -> None:
    lake = Lake(tmp_path / "lake")
    scores(lake, [("a", 10, 0.1)])
    told = history([version("a", 0)], stages=[stage("a", won, "won", received)])
    assert served(lake, told, Settings(), micros(200), days=100)["label"].tolist() == [label]


def test_what_is_reported_late_is_waited_for(tmp_path: Path) -> None:
    lake, late = Lake(tmp_path / "lake"), Settings.model_validate({"snapshots": {"reporting_lag_days": 10}})
    scores(lake, [("early", -0.1, 0.1), ("first", 0, 0.2), ("last", 100, 0.3), ("young", 100.1, 0.4)])
    told = history([version(lead, -1, created=-1) for lead in ("early", "first", "last", "young")])
    assert served(lake, told, late, micros(200), days=100)["probability"].tolist() == [0.2, 0.3]


def test_a_lead_that_turned_out_to_be_another_closed_with_it_and_one_nobody_knows_is_left_out(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    scores(lake, [("twin", 10, 0.1), ("erased", 10, 0.2), ("other", 10, 0.3)])
    leads = [version(lead, 0) for lead in ("twin", "heir", "other")]
    told = history(leads, stages=[stage("heir", 50, "won")], identities=[merge("twin", "heir", 30)])
    found = served(lake, told, Settings(), micros(200), days=100).set_index("probability")
    assert found["label"].to_dict() == {0.1: 1, 0.3: 0}


def test_promises_are_told_for_all_by_band_and_by_slice() -> None:
    rows = said(*[(0.02, 0)] * 120, *[(0.5, 1)] * 60, *[(0.5, 0)] * 60)
    slices = pd.DataFrame({"channel": ["Email"] * 120 + ["Direct"] * 120})
    found = [(one.group, one.leads, round(one.promised, 6), one.closed) for one in kept(rows, slices)]
    assert found == [
        ("all", 240, 62.4, 60),
        ("promised 0% to 5%", 120, 2.4, 0),
        ("promised 40% to 100%", 120, 60, 60),
        ("channel Direct", 120, 60, 60),
    ]


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=8), st.data())
def test_chance_is_that_of_all_outcomes_that_could_have_been(promised: list[float], data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.integers(0, 1), min_size=len(promised), max_size=len(promised)))
    law = np.zeros(len(promised) + 1)
    for ends in product((0, 1), repeat=len(promised)):
        law[sum(ends)] += np.prod([p if end else 1 - p for p, end in zip(promised, ends, strict=True)])
    count = sum(labels)
    tails = law[: count + 1].sum(), law[count:].sum()
    (everyone, *_) = kept(said(*zip(promised, labels, strict=True)), NO_SLICES)
    assert everyone.chance == pytest.approx(min(1, 2 * min(tails)))


def test_many_promises_have_nearly_the_chance_of_few() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(1, 9, 1000)
    few, many = (kept(said(*((x, int(i < 120)) for i, x in enumerate(of))), NO_SLICES)[0] for of in (p, [*p, 1e-9]))
    assert (few.leads, many.leads) == (1000, 1001)
    assert many.chance == pytest.approx(few.chance, rel=0.25)
    doubtful, doubted = (
        kept(said(*((x, int(i < 120)) for i, x in enumerate(of))), NO_SLICES, np.full((1, len(of)), 0.1))[0]
        for of in (p, [*p, 1e-9])
    )
    assert doubted.chance == pytest.approx(doubtful.chance, rel=0.25)


@pytest.mark.parametrize(
    ("closed", "chance", "alarm"), [(60, 0.0001, True), (60, 0.006, False), (55, 0.0001, False), (30, 0.0001, True)]
)
def test_a_promise_is_broken_if_chance_does_not_explain_it_and_it_matters(
    closed: int, chance: float, alarm: bool
) -> None:
    groups = [Kept("all", 500, 48.0, closed, chance), Kept("promised 5% to 10%", 400, 30, 31, 0.8)]
    assert bool(broken(groups, 0.01)) == alarm


def test_true_promises_are_called_broken_in_no_more_checks_than_stated() -> None:
    rng, alarms = np.random.default_rng(7), 0
    for _ in range(300):
        p = rng.beta(1, 6, 200)
        rows = pd.DataFrame({"probability": p, "label": (rng.random(200) < p).astype(int)})
        alarms += bool(broken(kept(rows, NO_SLICES), 0.05))
    assert alarms <= 25  # 15 are allowed on average


def test_a_model_that_is_as_wrong_as_it_may_be_is_called_broken_in_no_more_checks_than_stated() -> None:
    rng, alarms, unforgiving = np.random.default_rng(7), 0, 0
    for _ in range(120):
        p = rng.beta(1, 6, 200)
        truth = 1 / (1 + np.exp(-np.log(p / (1 - p)) - rng.normal(0, 0.3)))
        rows = pd.DataFrame({"probability": p, "label": (rng.random(200) < truth).astype(int)})
        alarms += bool(broken(kept(rows, NO_SLICES, np.full((1, 200), 0.3)), 0.05))
        unforgiving += bool(broken(kept(rows, NO_SLICES), 0.05))
    assert alarms <= 12  # 6 are allowed on average
    assert unforgiving > 20


def test_ways_to_be_wrong_add_up_in_squares_and_those_that_differ_by_lead_cancel_out() -> None:
    rows = said(*[(0.2, 1)] * 40, *[(0.2, 0)] * 60)
    alike, apart = np.full((1, 100), 0.5), np.where(np.arange(100) < 50, 0.5, -0.5)[None, :]
    ((certain, *_), (sure, *_), (unsure, *_), (twice, *_)) = (
        kept(rows, NO_SLICES, ways) for ways in (None, apart, np.vstack([alike, apart]), np.vstack([alike, alike]))
    )
    assert sure.chance == pytest.approx(certain.chance)
    assert unsure.chance == pytest.approx(kept(rows, NO_SLICES, alike)[0].chance)
    assert twice.chance == pytest.approx(kept(rows, NO_SLICES, alike * np.sqrt(2))[0].chance)
    assert certain.chance < unsure.chance < twice.chance


def test_all_leads_have_half_of_the_false_alarms_and_the_parts_share_the_rest() -> None:
    def alarms(chance: float) -> list[str]:
        groups = [Kept(group, 500, 48.0, 80, chance) for group in ("all", "promised 5% to 10%", "channel Email")]
        return [one.group for one in broken(groups, 0.01)]

    assert alarms(0.0024) == ["all", "promised 5% to 10%", "channel Email"]
    assert alarms(0.0026) == alarms(0.0049) == ["all"]
    assert alarms(0.0051) == []


def test_a_model_doubts_what_its_members_disagree_on_and_its_base_rate() -> None:
    visits = Feature("visits", "count", "Visits", "visits")
    lines = tuple(Line(base, (Term(),)) for base in (-2.5, -2.0, -1.5, -1.0, -0.5))
    spec = Spec((visits,), 90, 0.0, leads=99, outcomes=50, lines=lines, line_share=1.0, medians=(0.0,))
    step, base = 0.5 * np.sqrt(4 / 5 * 4 / 2), np.sqrt(1 / (100 * 0.25))
    model = Scorer(spec, None, "v1")
    members_then_base = doubts(model, np.zeros((2, 1))).T
    assert members_then_base == pytest.approx(np.array([[-2 * step, -step, 0, step, 2 * step, base]] * 2))
    assert doubts(model, np.zeros((1, 1)), early=True)[-1] == pytest.approx(np.sqrt(2) * base)


def test_the_expected_figures_are_those_that_true_promises_come_to() -> None:
    from training.metrics import metrics

    rng = np.random.default_rng(1)
    p = rng.beta(2, 6, 40_000)
    came = metrics((rng.random(len(p)) < p).astype(np.float64), p)
    for name, figure in expected(p).items():
        assert figure == pytest.approx(came[name], abs=0.01)


def test_of_no_score_nothing_is_expected() -> None:
    assert expected(np.empty(0)) == {"roc_auc": None, "log_loss": None, "brier": None}
    assert kept(said(), NO_SLICES) == []
    assert broken([], 0.01) == []


def test_of_another_goal_no_score_is_judged(tmp_path: Path) -> None:
    lake, told = Lake(tmp_path / "lake"), history([version("a", 0), version("b", 0)])
    scores(lake, [("a", 10, 0.1)])
    both = Settings.model_validate({"goals": {"renewed": {"won": ["renewed"]}}})
    assert len(served(lake, told, both, micros(200), days=100)) == 1
    assert len(served(lake, told, both.for_goal("renewed"), micros(200), days=100)) == 0


def test_an_early_promise_is_judged_as_soon_as_it_is_due(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    scores(lake, [("a", 10, 0.1), ("b", 10, 0.1), ("young", 10.1, 0.5)])
    told = history(
        [version(lead, 0) for lead in ("a", "b", "young")], stages=[stage("a", 39, "won"), stage("b", 41, "won")]
    )
    found = served(lake, told, Settings(), micros(40), days=100, within=30)
    assert [told.lead_ids[lead] for lead in found["lead"]] == ["a", "b"]
    assert (found["label"].tolist(), found["matured"].tolist()) == ([1, 0], [micros(40), micros(40)])


def test_of_a_promise_as_much_is_due_early_as_the_prospects_say() -> None:
    visits = Feature("visits", "count", "Visits", "visits")
    prospects = tuple(
        Prospect(days, False, Line(base, (Term(),))) for days, base in ((30, -3.0), (60, -2.5), (90, -2.0))
    )
    scorer = Scorer(Spec((visits,), 90, 0.0, 0, medians=(0.0,), prospects=prospects), None, "v1")
    share = (1 / (1 + np.exp(3.0))) / (1 / (1 + np.exp(2.0)))
    assert early_days(scorer) == 30
    assert early(scorer, np.array([0.5, 0.1]), np.zeros((2, 1)), 30) == pytest.approx([0.5 * share, 0.1 * share])
    assert early(scorer, np.array([0.5]), np.zeros((1, 1)), 90) == pytest.approx([0.5])
    assert early_days(Scorer(Spec((visits,), 90, 0.0, 0, medians=(0.0,)), None, "v0")) is None
