"""Recalibration: the score follows the latest matured snapshots where that surely makes later promises truer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from by_hand import day, days, world

from features.history import DAY, History
from features.matrix import feature_matrix
from features.settings import Settings
from features.verbs import Moments
from serving.scorer import save
from serving.spec import probability
from training import learning, recalibration
from training.ensemble import Model
from training.learning import model_of
from training.snapshots import Labelled, settled

SETTINGS = Settings.model_validate({
    "goal": {"horizon_days": 30}, "snapshots": {"ages_days": [2]}, "training": {"trees": 20, "members": 3},
})  # fmt: skip
LEADS, END = 2_000, 400


def company(turns: float, back: float = END) -> History:
    """Return leads of which a fifth is won, but a half of those that come between two days; nobody recorded why."""
    created, touches, stages = {}, [], []
    draws = np.random.default_rng(0).random(LEADS)
    for i in range(LEADS):
        lead, on, eager = f"lead-{i:04}", i * END / LEADS, i % 2
        rate = (0.5 if turns <= on < back else 0.2) + (0.1 if eager else -0.1)
        created[lead] = on
        touches.append((lead, on + 0.5, ("page_view", "demo_request")[eager], "Email"))
        stages.append((lead, on + 10, "won" if draws[i] < rate else "lost"))
    return world(created, touches, stages)


def promised(model: Model, history: History) -> float:
    """Return the mean score, two days after they came, of the leads of the last ten days."""
    late = np.flatnonzero(history.created >= day(END - 10))
    rows = feature_matrix(model.spec.features, Moments(history, late, history.created[late] + 2 * DAY))
    return float(model.scorer().probabilities(rows).mean())


@pytest.fixture(scope="module")
def turned() -> tuple[History, Model, Model, Labelled]:
    """Return a company where half are won from day 200 on, its model before and after recalibration, and its rows."""
    history = company(200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "recalibrated", lambda model, *_: model)
        plain, rows = model_of(history, SETTINGS, day(END))
    return history, plain, recalibration.recalibrated(plain, rows, history, SETTINGS, day(END)), rows


def test_a_share_of_wins_that_moved_for_good_is_followed(turned: tuple[History, Model, Model, Labelled]) -> None:
    history, plain, moved, _ = turned
    assert promised(plain, history) < 0.4
    assert promised(moved, history) == pytest.approx(0.5, abs=0.05)


def test_what_is_learned_is_recalibrated(turned: tuple[History, Model, Model, Labelled]) -> None:
    history, _, moved, _ = turned
    assert model_of(history, SETTINGS, day(END))[0] == moved


@pytest.mark.parametrize(
    ("turns", "back", "why"),
    [(END, END, "nothing moved"), (200, 280, "it moved back"), (360, END, "nobody of those who came since is settled")],
)
def test_a_share_of_wins_that_did_not_move_for_good_is_not_followed(turns: float, back: float, why: str) -> None:
    model, _ = model_of(company(turns, back), SETTINGS, day(END))
    assert model.moved == (0, 1), why


def test_what_is_known_later_moves_nothing(turned: tuple[History, Model, Model, Labelled]) -> None:
    *_, rows = turned
    other, before = company(200, 370), day(360)  # all that differs became known on day 380 or later
    early = rows.chosen(rows.moments.as_of < before - 30 * DAY)
    plain = replace(turned[1], unseen=turned[1].unseen[: len(early.labels)])  # type: ignore[index]
    here = recalibration.recalibrated(plain, early, turned[0], SETTINGS, before)
    assert here.moved != (0, 1)
    assert here == recalibration.recalibrated(plain, early, other, SETTINGS, before)


def test_a_recalibrated_model_stretches_and_moves_the_log_odds_and_its_ranks_with_them(
    turned: tuple[History, Model, Model, Labelled],
) -> None:
    _, plain, moved, _ = turned
    intercept, slope = moved.moved
    margins = np.linspace(-4, 4, 9)
    before, after = (model.spec.calibration.log_odds(margins) for model in (plain, moved))
    assert after == pytest.approx(intercept + slope * before)
    ranks = np.array(plain.spec.ranks)
    assert moved.spec.ranks == pytest.approx(probability(intercept + slope * np.log(ranks / (1 - ranks))))


def test_a_recalibrated_model_is_saved_and_loaded(
    turned: tuple[History, Model, Model, Labelled], tmp_path: Path
) -> None:
    _, _, moved, _ = turned
    assert save(tmp_path, moved.spec, moved.trees).spec == moved.spec


def test_snapshots_are_settled_once_nearly_all_outcomes_of_their_age_are_known() -> None:
    leads = [f"lead-{i:02}" for i in range(50)]  # one a day, looked at two days later; every second one closes after 20
    history = world(
        dict(zip(leads, range(50), strict=True)), stages=[(f"lead-{i:02}", i + 20, "won") for i in range(0, 50, 2)]
    )
    closed = SETTINGS.model_copy(update={"snapshots": SETTINGS.snapshots.model_copy(update={"mature_when": "closed"})})
    assert days(settled(history, SETTINGS, day(50)).moments)[-1] == 19  # the whole horizon has to be past
    assert days(settled(history, closed, day(50)).moments)[-1] == 30  # all who closed did within 18 days
    assert len(settled(history, closed, day(10)).labels) == 0
