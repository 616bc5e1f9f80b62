"""Competing risks: won, lost or still open, period by period, learned from open leads, too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from by_hand import day, world
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.history import DAY, NEVER, History
from features.matrix import feature_matrix
from features.settings import Settings
from features.verbs import Moments
from serving.hazards import Hazards, answers, chances_by_the_end
from serving.outlook import outlook
from serving.scorer import Scorer, load, save
from serving.spec import probability
from training import ensemble
from training import hazards as learning_hazards
from training.hazards import Course, course, lead_periods
from training.learning import model_of
from training.snapshots import Lives, lives

Floats = NDArray[np.float64]
SETTINGS = Settings.model_validate({
    "goal": {"horizon_days": 30}, "snapshots": {"ages_days": [2]},
    "training": {"model": "competing_risks", "trees": 30, "members": 3, "outlook_days": [10, 60]},
})  # fmt: skip
END = 200


@dataclass(frozen=True)
class Says:
    """A forest that says the same of every lead, by period; each feature has an effect of so much."""

    log_odds: tuple[float, ...]
    effect: float = 0.0
    members: int = 1

    def margins(self, matrix: Floats) -> Floats:
        return np.array([[self.log_odds[int(period)] for period in matrix[:, -1]]])

    def effects(self, matrix: Floats) -> Floats:
        return np.full(matrix.shape, self.effect)


def of(won: tuple[float, ...], lost: tuple[float, ...], scored: int = 2, effect: float = 0.0) -> Hazards:
    """Return hazards of these probabilities, by period."""
    said: list[Any] = [Says(tuple(float(np.log(p / (1 - p))) for p in chances), effect) for chances in (won, lost)]
    return Hazards(*said, days=(7.0, 14.0, 30.0)[: len(won)], scored=scored, base=-1.0)


ONE = np.zeros((1, 2))


def test_who_is_won_was_open_until_then() -> None:
    won, lost = of((0.2, 0.5), (0.5, 0.5)).ends(ONE)
    assert won[:, 0] == pytest.approx([0.2, 0.2 + 0.8 * 0.5 * 0.5])
    assert lost[:, 0] == pytest.approx([0.8 * 0.5, 0.4 + 0.4 * 0.5 * 0.5])


def test_the_score_is_of_the_scored_periods_alone() -> None:
    assert probability(of((0.2, 0.5, 0.5), (0.5, 0.5, 0.5), scored=2).margins(ONE)) == pytest.approx(0.4)
    assert probability(of((0.2, 0.5, 0.5), (0.5, 0.5, 0.5), scored=1).margins(ONE)) == pytest.approx(0.2)


CHANCES = st.lists(st.floats(0.01, 0.9), min_size=3, max_size=3)


@given(CHANCES, CHANCES)
def test_an_effect_on_a_hazard_counts_by_how_the_score_answers_to_it(won: list[float], lost: list[float]) -> None:
    log_odds = [np.log(chances) - np.log1p(-np.array(chances)) for chances in (np.array(won), np.array(lost))]

    def score(to_won: Floats, to_lost: Floats) -> float:
        ends, _ = chances_by_the_end(probability(to_won)[:, None], probability(to_lost)[:, None])
        return float(np.log(ends[-1, 0] / (1 - ends[-1, 0])))

    due = answers(np.array(won)[:, None], np.array(lost)[:, None])
    for which, answer in enumerate(due):
        for period in range(3):
            step = [np.zeros(3), np.zeros(3)]
            step[which][period] = 1e-5
            up = score(log_odds[0] + step[0], log_odds[1] + step[1])
            down = score(log_odds[0] - step[0], log_odds[1] - step[1])
            assert answer[period, 0] == pytest.approx((up - down) / 2e-5, abs=1e-4)


def test_effects_sum_to_the_score_from_its_base_even_where_no_feature_has_one() -> None:
    for effect in (0.0, 0.3):
        found = of((0.2, 0.5), (0.5, 0.5), effect=effect)
        assert found.effects(ONE).sum() == pytest.approx(float(found.margins(ONE)[0, 0]) + 1)


def test_a_lead_period_was_watched_to_its_end_and_begun_by_an_open_lead() -> None:
    moments = Moments(world({"won": 0, "lost": 0, "open": 0, "late": 0}), np.arange(4), np.full(4, day(0)))
    ends, watched = (np.array([day(one) for one in days]) for days in ((10, 20, 29, 1), (29, 29, 29, 2)))
    row, period, won, lost = lead_periods(Lives(moments, ends, watched, np.array([1, 2, 0, 1])), (7, 14, 28, 60))
    found = list(zip(row.tolist(), period.tolist(), won.tolist(), lost.tolist(), strict=True))
    assert found == [
        (0, 0, False, False), (0, 1, True, False),
        (1, 0, False, False), (1, 1, False, False), (1, 2, False, True),
        (2, 0, False, False), (2, 1, False, False), (2, 2, False, False),
    ]  # fmt: skip


def test_who_closes_as_a_period_ends_closes_in_it_and_is_not_open_in_the_next() -> None:
    moments = Moments(world({"won": 0}), np.arange(1), np.full(1, day(0)))
    row, period, won, lost = lead_periods(
        Lives(moments, np.array([day(14)]), np.array([day(60)]), np.array([1])), (7, 14, 28)
    )
    assert (row.tolist(), period.tolist(), won.tolist(), lost.tolist()) == ([0, 0], [0, 1], [False, True], [False] * 2)


def test_lives_end_when_the_lead_closes_or_nobody_watches_any_more() -> None:
    stages = [("ada", 5, "won"), ("bob", 6, "lost"), ("cyd", 12, "won"), ("dan", 4, "won", 12)]
    history = world({"ada": 0, "bob": 0, "cyd": 0, "dan": 0}, stages=stages)
    found = lives(history, SETTINGS, day(10))
    assert [history.lead_ids[lead] for lead in found.moments.lead] == ["ada", "bob", "cyd", "dan"]
    assert ((found.ends - day(0)) / DAY).tolist() == [5, 6, 10, 10]
    assert ((found.watched - day(0)) / DAY).tolist() == [10, 10, 10, 10]
    assert found.how.tolist() == [1, 2, 0, 0]


def test_periods_end_at_every_horizon_that_is_asked_for_and_the_score_s_own() -> None:
    found = course(world({"ada": 0}), SETTINGS, day(10))
    assert (found.ends, found.scored) == ((7, 10, 14, 21, 30, 45, 60), 5)


def test_periods_of_leads_that_count_once_closed_hold_as_many_closes_each() -> None:
    closed = SETTINGS.model_copy(update={"snapshots": SETTINGS.snapshots.model_copy(update={"mature_when": "closed"})})
    names = [f"lead-{i}" for i in range(10)]
    history = world(dict.fromkeys(names, 0), stages=[(name, 3 + i, "won") for i, name in enumerate(names)])
    found = course(history, closed, NEVER)
    assert found.ends == pytest.approx([1.9, 2.8, 3.7, 4.6, 5.5, 6.4, 7.3, 8.2, 9.1, 10])
    assert found.scored == 10


@pytest.fixture(scope="module")
def company() -> History:
    """Return leads, every second one eager: a day 4 % of these are won and 1 % of the others; 2 % of all are lost."""
    draws, created, touches, stages = np.random.default_rng(0), {}, [], []
    for i in range(1_500):
        lead, on, eager = f"lead-{i:04}", i * END / 1_500, i % 2 == 0
        created[lead] = on
        touches.append((lead, on + 0.5, "demo_request" if eager else "page_view", "Email"))
        won, lost = draws.exponential(25 if eager else 100), draws.exponential(50)
        if on + 2 + min(won, lost) < END:
            stages.append((lead, on + 2 + min(won, lost), "won" if won < lost else "lost"))
    return world(created, touches, stages)


@pytest.fixture(scope="module")
def scorer(company: History, tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """Return the competing-risks model of the company, as saved and loaded again."""
    model, _ = model_of(company, SETTINGS, day(END))
    return save(tmp_path_factory.mktemp("models"), model.spec, model.trees)


def within(days: float, won: float, lost: float) -> float:
    """Return the probability of being won within so many days by two hazards a day."""
    return float(won / (won + lost) * (1 - np.exp(-(won + lost) * days)))


@pytest.fixture(scope="module")
def newest(company: History, scorer: Scorer) -> Floats:
    """Return the features of the 100 last leads two days after they came."""
    lead = np.arange(1_390, 1_490)
    return feature_matrix(scorer.spec.features, Moments(company, lead, company.created[lead] + 2 * DAY))


def test_the_hazards_are_found_again_at_every_horizon(scorer: Scorer, newest: Floats) -> None:
    found = outlook(scorer, newest)
    assert found.days == (7, 10, 14, 21, 30, 45, 60)
    for i, days in enumerate(found.days):
        assert found.won[i, ::2].mean() == pytest.approx(within(days, 0.04, 0.02), abs=0.06), days
        assert found.won[i, 1::2].mean() == pytest.approx(within(days, 0.01, 0.02), abs=0.06), days
    assert found.lost[::2].mean() == pytest.approx(within(30, 0.02, 0.04), abs=0.06)
    assert found.lost[1::2].mean() == pytest.approx(within(30, 0.02, 0.01), abs=0.06)


def test_nobody_is_won_and_lost_and_time_takes_no_win_back(scorer: Scorer, newest: Floats) -> None:
    found = outlook(scorer, newest)
    assert (np.diff(found.won, axis=0) >= 0).all()
    assert found.won[found.days.index(30)] == pytest.approx(scorer.probabilities(newest))
    assert ((found.lost >= 0) & (found.lost + scorer.probabilities(newest) <= 1)).all()
    assert ((found.days_to_close > 0) & (found.days_to_close <= 60)).all()


def test_its_reasons_sum_to_the_score(scorer: Scorer, newest: Floats) -> None:
    margins = scorer.margins(newest)
    assert scorer.forest is not None
    assert scorer.lines is not None
    base = (scorer.forest.base + scorer.lines.base) / 2
    total = scorer.effects(newest, margins).sum(axis=1) + scorer.spec.calibration.log_odds(np.array(base))
    assert total == pytest.approx(scorer.log_odds(margins), abs=1e-9)
    effects = scorer.effects(newest, margins).sum(axis=1)
    assert effects[::2].min() > effects[1::2].max()


def test_a_lead_alone_is_the_lead_among_others_to_the_last_bit(scorer: Scorer, newest: Floats) -> None:
    assert scorer.probabilities(newest)[7] == scorer.probabilities(newest[7:8])[0]


def test_the_same_history_gives_the_same_model_and_is_loaded_as_it_was(
    company: History, scorer: Scorer, tmp_path: Path
) -> None:
    model, _ = model_of(company, SETTINGS, day(END))
    again = save(tmp_path, model.spec, model.trees)
    assert again.version == scorer.version
    assert load(tmp_path / again.version).spec == scorer.spec
    assert len(scorer.spec.trees) == 6
    assert scorer.members == 3


def test_open_leads_are_learned_from(company: History) -> None:
    followed = course(company, SETTINGS, day(END))
    assert (followed.lives.how == 0).sum() > 50
    row, *_ = lead_periods(followed.lives, followed.ends)
    assert (followed.lives.how[row] == 0).sum() > 100


def test_a_lead_is_in_one_part_for_trees_and_lines(company: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the member that judges it would have seen it."""
    dealt: list[NDArray[np.int64]] = []
    grow = ensemble.hazards

    def watched(followed: Course, part: NDArray[np.int64], *others: Any) -> list[lgb.Booster]:
        dealt.append(part)
        return grow(followed, part, *others)

    monkeypatch.setattr(ensemble, "hazards", watched)
    _, rows = model_of(company, SETTINGS, day(END))
    assert (dealt[0][rows.moments.lead] == ensemble.parts(rows, 3, SETTINGS.training.seed)).all()
    assert set(dealt[0].tolist()) == {0, 1, 2}


def test_a_member_leaves_out_its_part_and_who_is_won_is_not_asked_whether_it_is_lost(
    company: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(learning_hazards, "boosted", lambda rows, labels, *_: asked.append((len(rows), labels.sum())))
    followed = course(company, SETTINGS, day(END))
    learning_hazards.hazards(followed, np.arange(1_500) % 2, (), SETTINGS.training)
    (first, wins), (second, more), (of_first, _), (of_second, _) = asked
    assert (first - of_first, second - of_second) == (wins, more)
    assert first + second == len(lead_periods(followed.lives, followed.ends)[0])
