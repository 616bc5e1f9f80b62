"""The outlook: when a lead will close, if it does, and that nothing in it contradicts the score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from by_hand import day, eager_and_idle
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from trained import Company

from features.history import NEVER
from features.matrix import feature_matrix
from features.settings import Settings
from features.templates import learned_features
from features.verbs import Feature
from serving.batch import open_leads
from serving.line import Line, Term
from serving.outlook import outlook, outlook_table
from serving.scorer import Scorer
from serving.spec import Prospect, Spec, probability
from training.prospects import prospects

AGE = Feature("age", "age", "")
MARGIN = st.floats(-6, 6)


def says(own: float, margins: dict[float, float], lost: float | None = None, horizon: float = 90) -> Scorer:
    """Return a scorer with these log-odds of closing within each horizon."""
    found = [Prospect(days, False, Line(margin, (Term(),))) for days, margin in margins.items()]
    found += [] if lost is None else [Prospect(horizon, True, Line(lost, (Term(),)))]
    line = Line(own, (Term(),))
    spec = Spec((AGE,), horizon, 0.0, leads=9, lines=(line,), line_share=1.0, evidence="model", prospects=tuple(found))
    return Scorer(spec, None, "v")


ONE = np.zeros((1, 1))


def test_sooner_horizons_share_the_score_and_later_ones_share_the_rest() -> None:
    odds = {30: 0.1, 90: 0.2, 180: 0.4}
    margins = {days: float(np.log(p / (1 - p))) for days, p in odds.items()}
    found = outlook(says(np.log(3 / 7), margins, lost=0.0), ONE)
    assert found.days == (30, 90, 180)
    assert found.won[:, 0] == pytest.approx([0.3 * 0.1 / 0.2, 0.3, 1 - 0.7 * 0.6 / 0.8])
    assert found.lost[0] == pytest.approx(0.5 / 0.8 * 0.7)
    # half of 0.475 is 0.2375, between 30 days (0.15) and 90 (0.3)
    assert found.days_to_close[0] == pytest.approx(30 + 60 * (0.2375 - 0.15) / 0.15)


@hypothesis_settings(deadline=None)
@given(MARGIN, MARGIN, MARGIN, MARGIN, MARGIN)
def test_the_outlook_never_falls_with_the_horizon_nor_contradicts_the_score(
    own: float, first: float, main: float, last: float, lost: float
) -> None:
    scorer = says(own, {30: first, 90: main, 180: last}, lost)
    found = outlook(scorer, ONE)
    assert (np.diff(found.won[:, 0]) >= -1e-12).all()
    assert found.won[1, 0] == pytest.approx(float(probability(np.array(own))))
    assert found.won[0, 0] >= 0
    assert found.won[2, 0] <= 1
    assert 0 <= found.lost[0] <= 1 - found.won[1, 0] + 1e-12
    assert 0 < found.days_to_close[0] <= 180


def test_without_prospects_only_the_score_is_known() -> None:
    found = outlook(says(0.0, {}), ONE)
    assert (found.days, found.won.tolist()) == ((90,), [[0.5]])
    assert np.isnan(found.lost[0])
    assert np.isnan(found.days_to_close[0])


def test_leads_that_close_on_their_twentieth_day_are_expected_to() -> None:
    history = eager_and_idle(200)
    settings = Settings.model_validate({
        "goal": {"horizon_days": 30}, "snapshots": {"ages_days": [2]}, "training": {"outlook_days": [10, 20, 60]},
    })  # fmt: skip
    learned = prospects(history, settings, NEVER, learned_features(history, NEVER))
    assert [(one.days, one.lost) for one in learned] == [(10, False), (20, False), (30, False), (60, False), (30, True)]
    base = says(0.0, {})
    features = learned_features(history, NEVER)
    scorer = replace(
        base, spec=replace(base.spec, features=features, horizon_days=30, prospects=learned, lines=(learned[2].line,))
    )
    moments = open_leads(history, settings.goal, day(3))
    found = outlook(scorer, feature_matrix(features, moments))
    assert found.won[0].max() < 0.05  # nobody was won within ten days
    assert found.won[1] == pytest.approx(found.won[2], abs=0.02)
    assert 10 < found.days_to_close[0] < 20


def test_data_with_a_natural_end_have_no_further_horizons() -> None:
    history, settings = eager_and_idle(80), Settings.model_validate({"snapshots": {"mature_when": "closed"}})
    assert prospects(history, settings, NEVER, learned_features(history, NEVER)) == ()


def test_the_table_has_a_row_for_each_open_lead(trained_company: Company) -> None:
    moments = open_leads(trained_company.history, trained_company.settings.goal, trained_company.as_of)
    table = outlook_table(trained_company.scorer, moments)
    assert list(table) == [
        "lead_id", "as_of", "won_within_30_days", "won_within_60_days", "won_within_90_days", "won_within_180_days",
        "lost", "expected_close",
    ]  # fmt: skip
    assert len(table) == len(moments)
    assert (table["expected_close"] > table["as_of"]).all()
    matrix = feature_matrix(trained_company.scorer.spec.features, moments)
    assert table["won_within_90_days"].to_numpy() == pytest.approx(trained_company.scorer.probabilities(matrix))
    assert isinstance(table["expected_close"].dtype, pd.DatetimeTZDtype)
