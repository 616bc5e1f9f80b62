"""The funnel of lead-days: states, actions and what followed, and the credit that touches earn by it."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tables import moment, stage, table, touch, version
from test_adjusted import LEADS, company

from attribution.funnel import counterfactual_credit, steps
from attribution.funnel import table as tabled
from attribution.journeys import Floats, Ints
from attribution.lead_days import LeadDays
from attribution.models import COUNTERFACTUAL, SCORE_ADJUSTED
from attribution.moments import OpenTime, Touched
from attribution.runs import attribute, credit_rows
from features.errors import DataError
from features.lake import Lake
from features.settings import Settings


def ada_and_bob() -> tuple[OpenTime, Touched]:
    """Return Ada, who closed on day 20 (touches of 1 on day 12, of 0 and 1 on the last), and Bob, lost on day 30."""
    time = OpenTime(np.zeros(2), np.array([20.0, 30.0]), np.array([True, False]), np.array([False, True]))
    return time, Touched(np.array([0, 3, 3]), np.array([12.0, 19.5, 19.6]), np.array([1, 0, 1], np.int32))


def eager(lead: Ints, _day: Floats) -> Floats:
    return np.where(lead == 0, 0.8, 0.2)


def test_a_close_follows_a_day_shared_by_those_who_reached_the_lead_and_the_state_before_it() -> None:
    time, touched = ada_and_bob()
    found = steps(time, touched, 2, eager)
    closed = np.flatnonzero(found.followed_by == 9)  # three thirds of scores by three memories, then closes
    assert (found.lead[closed].tolist(), found.days[closed].tolist()) == ([0], [1])
    assert found.action[closed].tolist() == [[0, 0.5, 0.5]]
    assert found.state[closed].tolist() == [2 * 0 + 3 * 0 + 2]  # no score is below hers; channel 1 came last


def test_losses_follow_too_as_does_the_end_of_all_time_and_open_time_is_counted_once() -> None:
    time, touched = ada_and_bob()
    found = steps(time, touched, 2, eager)
    lost = found.followed_by == 10
    assert (found.lead[lost].tolist(), found.action[lost].tolist()) == ([1], [[1, 0, 0]])
    assert found.days[found.followed_by < 9].sum() == pytest.approx(50)
    assert found.funnel().days.sum() == pytest.approx(52)
    still_open = steps(time._replace(lost=np.zeros(2, bool)), touched, 2, eager)
    np.testing.assert_array_equal(still_open.funnel().days, found.funnel().days)


def test_a_lead_forgets_what_reached_it_more_than_a_fortnight_ago() -> None:
    time, touched = ada_and_bob()
    found = steps(time._replace(end=np.array([40.0, 30])), touched, 2, eager)
    of_ada = np.flatnonzero((found.lead == 0) & (found.followed_by < 9))
    assert set(found.state[of_ada]) == {0, 1, 2}  # nobody, channel 0 for a while, and 1 after it
    assert found.state[np.flatnonzero(found.followed_by == 9)].tolist() == [0]


def test_a_third_of_the_closes_lies_in_each_third_of_the_scores_and_none_is_asked_before_a_lead_was_there() -> None:
    born, asked = np.array([0.0, 5.0, 9.5]), list[np.ndarray]()
    time = OpenTime(born, np.full(3, 10.0), np.ones(3, bool), np.zeros(3, bool))

    def scored(lead: Ints, day: Floats) -> Floats:
        asked.append(day - born[lead])
        return np.array([0.2, 0.5, 0.8])[lead]

    found = steps(time, Touched(np.zeros(4, np.int64), np.empty(0), np.empty(0, np.int32)), 2, scored)
    assert (found.state[: len(born)] // 3).tolist() == [0, 1, 2]
    assert np.concatenate(asked).min() >= 0


def test_leads_begin_in_the_state_of_their_creation() -> None:
    time, touched = ada_and_bob()
    found = steps(time, touched, 2, eager)
    assert found.funnel().start.sum() == pytest.approx(1)
    assert np.flatnonzero(found.funnel().start).tolist() == [0]


def test_a_group_of_leads_can_be_left_out() -> None:
    time, touched = ada_and_bob()
    found = steps(time, touched, 2, eager)
    assert found.funnel(without=0).days[:, :, 9].sum() == 0
    assert found.funnel(without=1).days[:, :, 9].sum() == 1
    shy = steps(time, touched, 2, lambda lead, day: 1 - eager(lead, day))  # Bob is likelier than any close was
    assert [shy.funnel(without).start.argmax() for without in (0, 1)] == [6, 0]


def test_a_channel_that_works_earns_some_of_what_it_brought_about_and_one_that_does_nothing_earns_nothing() -> None:
    time, touched, caused, intent = company(1)
    days = LeadDays(tuple(map(str, range(LEADS))), time, touched, ("Email", "Display", "Brand"))
    part, error = counterfactual_credit(days, lambda lead, _: 1 - np.exp(-0.1 * intent[lead]))
    closes = int(time.won.sum())
    assert 0.4 * caused < closes * part[0] < caused
    assert part[1] < 0  # it makes leads forget what worked: only the last channel is remembered
    assert part[2] == 0
    assert (error[:2] > 0).all()


def test_losses_of_which_some_are_looked_at_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = OpenTime(
        np.zeros(3), np.array([20.0, 30, 40]), np.array([True, False, False]), np.array([False, True, True])
    )
    monkeypatch.setattr("attribution.funnel.MOST_LOSSES", 1)
    found = steps(lost, Touched(np.zeros(4, np.int64), np.empty(0), np.empty(0, np.int32)), 2, eager)
    assert found.days[found.followed_by == 10].tolist() == [2]
    assert found.beginner.tolist() == [0, 1, 2]


def test_losses_that_are_looked_at_are_of_all_times(monkeypatch: pytest.MonkeyPatch) -> None:
    time = OpenTime(np.zeros(5), np.arange(10.0, 60, 10), np.arange(5) == 0, np.arange(5) > 0)
    monkeypatch.setattr("attribution.funnel.MOST_LOSSES", 2)
    found = steps(time, Touched(np.zeros(6, np.int64), np.empty(0), np.empty(0, np.int32)), 2, eager)
    assert found.lead[found.followed_by == 10].tolist() == [1, 4]


def test_who_was_lost_the_moment_that_they_came_left_no_state() -> None:
    time, touched = ada_and_bob()
    found = steps(time._replace(end=np.array([20.0, 0.0])), touched, 2, eager)
    assert set(found.lead) == {0}


def test_the_error_is_that_of_a_mean_over_groups_of_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    of_group = np.arange(10.0) ** 2

    def mean(without: int | None = None) -> Floats:
        mean = of_group.mean() if without is None else np.delete(of_group, without).mean()
        return np.array([mean, mean**2])

    monkeypatch.setattr("attribution.funnel.steps", lambda *_: SimpleNamespace(funnel=mean))
    monkeypatch.setattr("attribution.funnel._parts", lambda part: part)
    monkeypatch.setattr("attribution.funnel.refuse_too_few", lambda *_: None)
    time, touched = ada_and_bob()
    part, error = counterfactual_credit(LeadDays(("a", "b"), time, touched, ("x",)), lambda lead, _: lead * 0.0)
    assert part.tolist() == [28.5, 28.5**2]
    assert error[0] == pytest.approx(of_group.std(ddof=1) / np.sqrt(10))
    squares = np.array([mean(group)[1] for group in range(10)])  # around their own mean, which is not that of all
    assert error[1] == pytest.approx(np.sqrt(0.9 * ((squares - squares.mean()) ** 2).sum()))


def test_the_best_channel_comes_first_with_an_interval_of_90_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "attribution.funnel.counterfactual_credit", lambda *_: (np.array([0.1, 0.3]), np.array([0.01, 0.02]))
    )
    time, touched = ada_and_bob()
    wins = pd.DataFrame({"value_cents": [1_001] * 10})
    rows, anyway = tabled(LeadDays(("a", "b"), time, touched, ("x", "y")), lambda lead, _: lead * 0.0, wins, "m")
    assert rows["channel"].tolist() == ["y", "x"]
    assert rows[["low", "credit", "high"]].to_numpy() == pytest.approx(
        np.array([[3 - 0.329, 3, 3 + 0.329], [1 - 0.1645, 1, 1 + 0.1645]])
    )
    assert [*rows["value"], anyway["value"]] == [Decimal("30.03"), Decimal("10.01"), Decimal("60.06")]
    assert anyway["credit"] == pytest.approx(6)


def test_few_closes_tell_nothing() -> None:
    time, touched = ada_and_bob()
    with pytest.raises(DataError, match=r"^shapley_counterfactual needs 20 closed leads and touches .*; 1 leads have "):
        counterfactual_credit(LeadDays(("a", "b"), time, touched, ("x", "y")), lambda lead, _: lead * 0.0)


def test_a_run_has_it_beside_the_others_and_adds_up_to_the_cent(tmp_path_factory: pytest.TempPathFactory) -> None:
    lake = Lake(tmp_path_factory.mktemp("company") / "lake")
    leads = [f"lead-{i:03}" for i in range(200)]
    reached = [touch(lead, 10 + i % 40, channel="Email") for i, lead in enumerate(leads) if i % 4]
    won = [stage(lead, 60 + i % 7, "won") | {"amount": Decimal("10.01"), "currency": "EUR"}
           for i, lead in enumerate(leads) if i % 2]  # fmt: skip
    lake.append("leads", table("leads", [version(lead, 0) for lead in leads]))
    lake.append("touches", table("touches", reached))
    lake.append("stages", table("stages", won))
    run = attribute(lake, Settings(), moment(100), ["linear", COUNTERFACTUAL, SCORE_ADJUSTED],
                    lambda _: lambda lead, _: np.full(len(lead), 0.1))  # fmt: skip
    assert run.answer.models == ("linear", SCORE_ADJUSTED, COUNTERFACTUAL)
    assert set(run.summary()["anyway"]) == {SCORE_ADJUSTED, COUNTERFACTUAL}
    rows = credit_rows(run)
    sums = rows[rows["model"] == COUNTERFACTUAL].groupby("channel").agg({"credit": "sum", "value": "sum"}).sum()
    assert (sums["credit"], sums["value"]) == (pytest.approx(100), Decimal("1001.00"))
    of_email = run.answer.channels.query("model == @COUNTERFACTUAL").iloc[0]
    assert of_email["low"] <= of_email["credit"] <= of_email["high"]
    alone = attribute(lake, Settings(), moment(100), [COUNTERFACTUAL],
                      lambda _: lambda lead, _: np.full(len(lead), 0.1))  # fmt: skip
    assert (alone.answer.models, list(alone.summary()["models"])) == ((COUNTERFACTUAL,), [COUNTERFACTUAL])
    assert set(credit_rows(alone)["model"]) == {COUNTERFACTUAL}
