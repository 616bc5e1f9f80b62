"""Robustness: each change does to the history what it says, and each model's answer moves by what follows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tables import moment, stage, table, touch, version
from test_adjusted import company

from attribution.adjusted import score_adjusted
from attribution.lead_days import LeadDays, Probability
from attribution.robustness import (
    PLACEBO,
    _shares,
    asked_once,
    changed,
    robustness,
    touches_of,
    with_placebo,
    with_touches,
)
from features.errors import DataError
from features.history import History
from features.lake import Lake
from features.settings import Settings

NOW = moment(400)


def history(leads: int = 300) -> pd.DataFrame:
    """Return four touches of each lead, on days 0 to 3."""
    names = np.repeat([f"lead-{i:03}" for i in range(leads)], 4)
    days = pd.to_timedelta(np.tile(np.arange(4), leads), unit="D")
    return pd.DataFrame(
        {"lead_id": names, "event_id": [f"e{i}" for i in range(4 * leads)], "kind": "visit", "contact": names,
         "occurred_at": (pd.Timestamp("2026-01-01", tz="UTC") + days).as_unit("us"), "channel": "Email"}
    )  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Return a lake of 200 leads: Email on day 0, Events on day 60, and every second one won on day 100."""
    made = Lake(tmp_path_factory.mktemp("company") / "lake")
    leads = [f"lead-{i:03}" for i in range(200)]
    touches = [touch(lead, day, channel=name) for lead in leads for day, name in ((0, "Email"), (60, "Events"))]
    rows: dict[str, Iterable[dict[str, object]]] = {
        "leads": [version(lead, 0) for lead in leads], "touches": touches,
        "stages": [stage(lead, 100, "won") for lead in leads[::2]],
    }  # fmt: skip
    for name, told in rows.items():
        made.append(name, table(name, told))
    return made


def told(lake: Lake, *models: str, lookback_days: float = 50) -> dict[tuple[str, str], dict[str, object]]:
    asked = Settings.model_validate({"attribution": {"lookback_days": lookback_days}})
    rows = robustness(lake, asked, NOW, models, None)
    return {(str(row["scenario"]), str(row["model"])): row for row in rows.to_dict("records")}


def test_a_fifth_of_the_leads_lose_their_earlier_touches_and_no_later_one() -> None:
    rows = dict(changed(history(), 0))["20% of identities lost"]
    left = rows.groupby("lead_id")["occurred_at"].agg(["size", "max"])
    assert len(left) == 300
    assert set(left["max"]) == {history()["occurred_at"].max()}
    assert 0.1 < (left["size"] < 4).mean() < 0.25


def test_touches_are_lost_and_doubled_at_random_in_the_share_that_is_said() -> None:
    rows = dict(changed(history(), 0))
    assert len(rows["30% of touches lost"]) == pytest.approx(0.7 * 1200, rel=0.05)
    doubled = rows["10% of touches doubled"]
    assert len(doubled) == 1320
    assert doubled["event_id"].is_unique
    assert doubled.duplicated(["lead_id", "occurred_at"]).sum() == 120


def test_a_placebo_has_the_moments_of_real_touches_and_the_leads_of_chance() -> None:
    rows = with_placebo(history(), np.random.default_rng(0))
    placebo = rows[rows["channel"] == PLACEBO]
    assert len(placebo) == 120
    assert set(placebo["occurred_at"]) <= set(history()["occurred_at"])
    assert (placebo["lead_id"] != placebo["contact"]).mean() > 0.95
    pd.testing.assert_frame_equal(rows[rows["channel"] != PLACEBO], history(), check_like=True)


def test_the_same_seed_changes_the_same_and_another_does_not() -> None:
    one, same, other = (dict(changed(history(), seed))["30% of touches lost"] for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert not one.index.equals(other.index)


def test_a_longer_window_lets_earlier_touches_earn(lake: Lake) -> None:
    found = told(lake, "first", "last")
    assert found["half the window", "first"]["moved"] == 0.5  # Events is gone, and nothing earns in its place
    twice = found["twice the window", "first"]
    assert (twice["moved"], twice["channel"], twice["before"], twice["after"]) == (1, "Events", 1, 0)
    assert found["twice the window", "last"]["moved"] == 0


def test_without_a_window_a_half_and_two_of_the_default_are_tried(lake: Lake) -> None:
    assert told(lake, "first", lookback_days=float("inf"))["half the window", "first"]["moved"] == 1


def test_the_window_that_is_changed_is_that_of_the_stage_and_a_channel_that_is_gone_has_nothing(lake: Lake) -> None:
    asked = Settings.model_validate({"attribution": {"lookback_days": 365, "windows_days": {"won": 50}}})
    row = robustness(lake, asked, NOW, ["first"], None).iloc[0]
    assert (row["scenario"], row["moved"]) == ("half the window", 0.5)
    assert (row["channel"], row["before"], row["after"], row["low"], row["high"]) == ("Events", 1, 0, 0, 0)


def test_rules_of_ones_own_are_changed_too(lake: Lake) -> None:
    asked = Settings.model_validate({"attribution": {"lookback_days": 365, "custom": {"ours": [0, 0, 1]}}})
    rows = robustness(lake, asked, NOW, ["ours"], None)
    assert (set(rows["model"]), rows["channel"].iloc[-1]) == ({"ours"}, "(placebo)")


def test_a_score_is_asked_again_at_other_moments_and_not_at_the_same() -> None:
    told = asked_once(lambda lead, moment: lead + 0.1 * moment)
    lead, now, later = np.array([1]), np.array([2]), np.array([3])
    assert (told(lead, now)[0], told(lead, later)[0], told(lead, now)[0]) == (1.2, 1.3, 1.2)


def test_touches_of_nobody_change_nothing(tmp_path: Path) -> None:
    found = []
    for strangers in (0, 30):
        made = Lake(tmp_path / str(strangers))
        leads = [f"lead-{i}" for i in range(20)]
        touches = [touch(lead, i, channel=name) for lead in leads for i, name in enumerate(("Email", "Events"))]
        touches += [touch(None, day, channel="Ads", anonymous=f"cookie-{day}") for day in range(strangers)]
        made.append("leads", table("leads", [version(lead, 0) for lead in leads]))
        made.append("touches", table("touches", touches))
        made.append("stages", table("stages", [stage(lead, 40, "won") for lead in leads[::2]]))
        found.append(robustness(made, Settings(), NOW, ["linear"], None))
    pd.testing.assert_frame_equal(*found)


def test_what_leads_do_of_their_own_and_what_is_excluded_earns_nothing_in_any_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, seen, own = Lake(tmp_path / "lake"), list[tuple[str, ...]](), list[History]()
    kinds = (("visit", "Email"), ("page_view", "Direct"), ("email_open", "Mail"))
    made.append("leads", table("leads", [version("ada", 0)]))
    made.append("touches", table("touches", [touch("ada", 1, kind, channel) for kind, channel in kinds]))
    made.append("stages", table("stages", [stage("ada", 2, "won")]))

    def all_alike(days: LeadDays, _score: object) -> SimpleNamespace:
        seen.append(days.channels)
        k = len(days.channels)
        return SimpleNamespace(credit=np.ones(k), low_and_high=np.ones((2, k)))

    monkeypatch.setattr("attribution.robustness.adjusted", all_alike)

    def of_intent(history: History) -> Probability:
        own.append(history)
        return lambda lead, _: lead * 0.0

    robustness(made, Settings(), NOW, ["score_adjusted"], of_intent)
    assert set().union(*seen) == {"Email", PLACEBO}
    assert [one.touches.names["kind"][code] for one in own for code in one.touches.codes["kind"]] == ["page_view"]


def test_where_nothing_earns_there_are_no_shares_to_move(lake: Lake) -> None:
    robust = robustness(lake, Settings(), moment(50), ["first"], None)  # nobody has been won yet
    assert set(robust["moved"]) == {0}


def test_credit_below_zero_has_no_share() -> None:
    assert _shares(pd.DataFrame({"credit": [-1.0, 3.0, 1.0]})).tolist() == [0, 0.75, 0.25]


def test_lost_touches_move_the_first_touch_and_rules_pay_a_placebo_for_being_there(lake: Lake) -> None:
    found = told(lake, "first", "linear", lookback_days=365)
    lost = found["30% of touches lost", "first"]
    assert lost["moved"] == pytest.approx(1 - 0.7 / 0.91, abs=0.1)
    placebo = found["a placebo channel", "linear"]
    assert (placebo["channel"], placebo["before"]) == (PLACEBO, 0)
    assert 0.03 < placebo["after"] < 0.2  # type: ignore[operator]
    assert 0 < placebo["low"] < placebo["high"]  # type: ignore[operator]


def test_a_placebo_touches_nobody_before_others_do_which_would_tell_that_the_lead_does_not_close_till_then() -> None:
    time, touched, _, intent = company(1)
    days = LeadDays(tuple(f"lead-{i:05}" for i in range(len(intent))), time, touched, ("Display", "Email", "Events"))
    found = with_placebo(touches_of(days), np.random.default_rng(0))
    placebo = found["channel"] == PLACEBO
    first = found[~placebo].groupby("lead_id")["occurred_at"].min()
    given = found[placebo]
    assert (given["occurred_at"] >= given["lead_id"].map(first)).all()
    assert given["lead_id"].nunique() > 0.5 * len(given)
    assert len(given) == pytest.approx(0.1 * (~placebo).sum(), abs=1)


def test_score_adjusted_credit_of_a_placebo_covers_zero() -> None:
    time, touched, _, intent = company(1)
    days = LeadDays(tuple(f"lead-{i:05}" for i in range(len(intent))), time, touched, ("Display", "Email", "Events"))
    again = with_touches(days, touches_of(days))
    np.testing.assert_array_equal(again.touched.start, touched.start)
    other = with_touches(days, with_placebo(touches_of(days), np.random.default_rng(0)))
    assert other.channels == (PLACEBO, "Display", "Email")
    found = score_adjusted(other.time, other.touched, 3, lambda lead, _: 1 - np.exp(-0.1 * intent[lead]))
    low, high = found.low_and_high[:, 0]
    assert low < 0 < high


def test_score_adjusted_is_changed_too_and_its_score_asked_once(tmp_path: Path) -> None:
    made = Lake(tmp_path / "lake")
    leads = [f"lead-{i:03}" for i in range(150)]
    random, asked = np.random.default_rng(0), []
    won = {lead: 5 + 30 * random.random() for lead in leads[::3]}
    made.append("leads", table("leads", [version(lead, 0) for lead in leads]))
    made.append("stages", table("stages", [stage(lead, day, "won") for lead, day in won.items()]))
    days = [(lead, 40 * random.random()) for lead in leads for _ in range(3)]
    made.append("touches", table("touches", [touch(lead, day) for lead, day in days]))

    def chance(lead: np.ndarray, _moment: np.ndarray) -> np.ndarray:
        asked.append(len(lead))
        return np.full(len(lead), 0.1)

    rows = robustness(made, Settings(), NOW - timedelta(days=350), ["score_adjusted"], lambda _: chance)
    assert rows["scenario"].tolist() == [
        "20% of identities lost", "30% of touches lost", "10% of touches doubled", "a placebo channel",
    ]  # fmt: skip
    assert len(asked) == 1
    assert rows["channel"].iloc[-1] == PLACEBO


def test_a_model_that_cannot_be_tried_alone_is_a_sentence(lake: Lake) -> None:
    sentence = "shapley_counterfactual cannot be tried with other histories. Name another model beside it."
    with pytest.raises(DataError, match=f"^{sentence}$"):
        robustness(lake, Settings(), NOW, ["shapley_counterfactual"], None)
