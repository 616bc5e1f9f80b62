"""Recalibration: the score follows the latest snapshots where that surely makes later promises truer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from by_hand import day, days, world
from scipy.optimize import minimize

from features.history import DAY, History
from features.matrix import feature_matrix
from features.settings import Settings
from features.verbs import Moments
from serving.scorer import save
from serving.spec import probability
from training import learning, recalibration
from training.ensemble import Model
from training.learning import model_of
from training.snapshots import Labelled, so_far

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


def unmoved(history: History) -> tuple[Model, Labelled]:
    """Return what is learned at the end before it is recalibrated, and from what."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "recalibrated", lambda model, *_: model)
        return model_of(history, SETTINGS, day(END))


@pytest.fixture(scope="module")
def turned() -> tuple[History, Model, Model, Labelled]:
    """Return a company where half are won from day 200 on, its model before and after recalibration, and its rows."""
    history = company(200)
    plain, rows = unmoved(history)
    return history, plain, recalibration.recalibrated(plain, rows, history, SETTINGS, day(END)), rows


def test_a_share_of_wins_that_moved_for_good_is_followed(turned: tuple[History, Model, Model, Labelled]) -> None:
    history, plain, moved, _ = turned
    assert promised(plain, history) < 0.4
    assert promised(moved, history) == pytest.approx(0.5, abs=0.05)


def test_a_share_of_wins_is_followed_as_soon_as_some_of_the_latest_show_that_it_stayed_where_it_went(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It moved when the latest eighth of the snapshots began: what was known then says nothing of it."""
    history = company(350)
    plain, rows = unmoved(history)

    def moved() -> Model:
        return recalibration.recalibrated(plain, rows, history, SETTINGS, day(END))

    assert promised(moved(), history) == pytest.approx(0.5, abs=0.05)
    monkeypatch.setattr(recalibration, "WINDOWS", (0.25,))
    assert moved().moved == (0, 1), "more snapshots than were taken since are too many to learn from"
    monkeypatch.setattr(recalibration, "WINDOWS", (0.0625,))
    assert moved().moved != (0, 1)
    monkeypatch.setattr(recalibration, "PARTS", 1)
    assert moved().moved == (0, 1), "in one part, nothing was known of it when the part began"


def test_what_is_learned_is_recalibrated(turned: tuple[History, Model, Model, Labelled]) -> None:
    history, _, moved, _ = turned
    assert model_of(history, SETTINGS, day(END))[0] == moved


@pytest.mark.parametrize(
    ("turns", "back", "why"),
    [(END, END, "nothing moved"), (200, 280, "it moved back"), (360, END, "too little came of it to be sure")],
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


def test_what_came_of_the_latest_leads_so_far_tells_that_the_share_moved() -> None:
    """Leads are won after 10 or 80 days, or never. From day 150 on a half is; none of these is 190 days old yet."""
    created = {f"lead-{i:04}": i * 340 / LEADS for i in range(LEADS)}
    draws = np.random.default_rng(0).random(LEADS)
    won = [i for i, on in enumerate(created.values()) if draws[i] < (0.5 if on >= 150 else 0.2) + (-0.1, 0.1)[i % 2]]
    stages = [(f"lead-{i:04}", created[f"lead-{i:04}"] + (10, 80)[i // 2 % 2], "won") for i in won]
    touches = [
        (lead, on + 0.5, ("page_view", "demo_request")[i % 2], "Email") for i, (lead, on) in enumerate(created.items())
    ]
    long = SETTINGS.model_copy(update={"goal": SETTINGS.goal.model_copy(update={"horizon_days": 190})})
    model, _ = model_of(world(created, touches, stages), long, day(340))
    assert model.moved[0] > 0.4


def promises(lag_days: float = 0) -> tuple[list[float], list[int], list[float]]:
    """Return when snapshots were taken, what came of them by day 50, and the share of wins that shows as early.

    A lead a day, looked at two days later; of four one is won 8 days after that, and one 18 days after.
    """
    leads = [f"lead-{i:02}" for i in range(50)]
    stages = [(lead, i + (10, 0, 20)[i % 4], "won") for i, lead in enumerate(leads) if i % 2 == 0]
    when = SETTINGS.snapshots.model_copy(update={"reporting_lag_days": lag_days})
    late = SETTINGS.model_copy(update={"snapshots": when})
    known, share = so_far(world(dict(zip(leads, range(50), strict=True)), stages=stages), late, day(50))
    return days(known.moments), known.labels.astype(int).tolist(), share.tolist()


def test_snapshots_tell_what_came_of_them_so_far_once_they_are_as_old_as_the_earliest_win() -> None:
    taken, labels, share = promises()
    assert taken == list(range(2, 42))
    assert labels == [int(i % 4 == 0 or (i % 4 == 2 and i < 30)) for i in range(40)]  # the others are not won yet
    early = 10 * 48 / 40 / (10 * 48 / 40 + 7 * 48 / 30)  # 10 early wins and 7 late, of 40 and 30 of 48 who could be
    assert share == pytest.approx([1.0] * 30 + [early] * 10)


def test_a_win_that_may_not_all_be_reported_yet_does_not_count_so_far() -> None:
    taken, labels, _ = promises(lag_days=5)
    assert [at for at, won in zip(taken, labels, strict=True) if won][-2:] == [30, 34]  # won on days 38 and 42
    assert labels[26] == 0  # won on day 46


def test_where_outcomes_have_no_end_those_tell_that_are_as_old_as_nearly_all_outcomes() -> None:
    leads = [f"lead-{i:02}" for i in range(50)]  # one a day, looked at two days later; every second one closes after 20
    history = world(
        dict(zip(leads, range(50), strict=True)), stages=[(f"lead-{i:02}", i + 20, "won") for i in range(0, 50, 2)]
    )
    closed = SETTINGS.model_copy(update={"snapshots": SETTINGS.snapshots.model_copy(update={"mature_when": "closed"})})
    known, share = so_far(history, closed, day(50))
    assert days(known.moments)[-1] == 30  # all who closed did within 18 days
    assert share.tolist() == [1.0] * len(known.labels)


@pytest.mark.parametrize("mature_when", ["horizon", "closed"])
def test_where_nobody_was_won_yet_nothing_tells(mature_when: str) -> None:
    when = SETTINGS.snapshots.model_copy(update={"mature_when": mature_when})
    known, share = so_far(world({"ada": 0}), SETTINGS.model_copy(update={"snapshots": when}), day(50))
    assert (len(known.labels), share.tolist()) == (0, [])


def test_a_promise_that_was_sure_and_broken_is_a_loss_and_no_error(
    turned: tuple[History, Model, Model, Labelled],
) -> None:
    history, plain, _, rows = turned
    certain = replace(plain, unseen=np.full(len(rows.labels), 60.0))
    assert np.isfinite(recalibration.recalibrated(certain, rows, history, SETTINGS, day(END)).moved).all()


def test_many_snapshots_of_one_lead_are_one_lead_s_evidence() -> None:
    """What moved on day 360 is not sure yet, and is no surer for being looked at five times."""
    often = SETTINGS.model_copy(
        update={"snapshots": SETTINGS.snapshots.model_copy(update={"ages_days": [2, 2.1, 2.2, 2.3, 2.4]})}
    )
    assert model_of(company(360), often, day(END))[0].moved == (0, 1)


@pytest.mark.parametrize(("wins", "moves"), [(19, False), (20, True)])
def test_from_twenty_leads_won_and_as_many_not_won_the_latest_tell_something(wins: int, moves: bool) -> None:
    leads = np.arange(200)
    rows = Labelled(Moments(world({}), leads, leads), (leads % 200 >= 200 - wins).astype(float), np.ones(200))
    told = recalibration.Told(rows, np.ones(200), np.zeros(200))
    assert (recalibration.update_of(told, 1.0) != (0, 1)) == moves


def test_the_update_is_what_loses_least(turned: tuple[History, Model, Model, Labelled]) -> None:
    *_, rows = turned
    draws = np.random.default_rng(1)
    share, log_odds = draws.uniform(0.3, 1, len(rows.labels)), draws.normal(-1, 1, len(rows.labels))
    pairs = Moments(rows.moments.history, rows.moments.lead // 2, rows.moments.as_of)  # of snapshots of one lead
    told = recalibration.Told(replace(rows, moments=pairs), share, log_odds)
    latest = told.between(told.latest(0.25), day(END))

    def lost(update: np.ndarray) -> float:
        off = update - recalibration.PRIOR
        return float(latest.loss(update[0] + update[1] * latest.log_odds).sum() / 2 + recalibration.TRUST @ off**2 / 2)

    assert recalibration.update_of(told, 0.25) == pytest.approx(minimize(lost, recalibration.PRIOR).x, abs=0.005)
