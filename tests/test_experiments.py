"""Experiments: credit moves towards them by their share of the precision, and nothing is lost."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution.adjusted import NORMAL_90
from attribution.experiments import Shrunk, refuse_untouched, shrunk
from features.errors import ConfigError
from features.settings import Experiment, read_settings

NOW = datetime(2026, 7, 1, tzinfo=UTC)
REST = 630.0


def rows() -> pd.DataFrame:
    """Return 370 closes of 1,000, each worth 10.00: Events 300 ± 65, Email 70 ± 20 (90 % intervals)."""
    return pd.DataFrame(
        {"model": "score_adjusted", "channel": ["Events", "Email"], "credit": [300.0, 70.0],
         "value": [Decimal("3000.00"), Decimal("700.00")], "low": [235.0, 50.0], "high": [365.0, 90.0]}
    )  # fmt: skip


def lift_test(channel: str, share: float, half: float, until: date = date(2026, 7, 1)) -> Experiment:
    """Return an experiment that says which share of all closes a channel brought about, more or less."""
    lift, low, high = (part / (1 - part) for part in (share, share - half, share + half))
    return Experiment(channel=channel, since=min(until, date(2026, 1, 1)), until=until, lift=lift, low=low, high=high)


def moved(*experiments: Experiment, half_life: float = 180, later: float = 0, together: float = 0) -> Shrunk:
    """Move that credit; ``together`` is the correlation of the two channels' errors."""
    error = np.array([65, 20]) / NORMAL_90
    covariance = np.outer(error, error) * np.array([[1, together], [together, 1]])
    unsure = pd.DataFrame(covariance, ["Events", "Email"], ["Events", "Email"])
    return shrunk(rows(), {"credit": REST, "value": Decimal("6300.00")}, unsure, experiments, NOW, half_life, later)


def test_credit_moves_by_the_experiment_s_share_of_the_precision() -> None:
    found = moved(lift_test("Events", 0.1, 0.065))  # as precise as the model
    assert found.told == [{"channel": "Events", "since": "2026-01-01", "until": "2026-07-01",
                           "says": pytest.approx(100), "weight": pytest.approx(0.5),
                           "before": 300, "after": pytest.approx(200)}]  # fmt: skip
    events = found.rows.set_index("channel").loc["Events"]
    assert (events["credit"], events["value"]) == (pytest.approx(200), Decimal("2000.00"))
    assert events["high"] - events["credit"] == pytest.approx(65 * sqrt(0.5))
    assert events["credit"] - events["low"] == pytest.approx(65 * sqrt(0.5))


def test_what_a_channel_loses_would_have_closed_anyway_and_a_channel_that_errs_on_its_own_stays() -> None:
    found = moved(lift_test("Events", 0.1, 0.065))
    assert found.anyway == {"credit": pytest.approx(REST + 100), "value": Decimal("7300.00")}
    pd.testing.assert_series_equal(found.rows.iloc[1], rows().iloc[1], check_names=False)


def test_a_channel_whose_error_goes_with_that_of_the_tested_one_follows_it() -> None:
    """Events loses 100, which is 100/65 of its own error; Email loses half of that many of its own."""
    found = moved(lift_test("Events", 0.1, 0.065), together=0.5).rows.set_index("channel")
    assert found["credit"].to_dict() == {"Events": pytest.approx(200), "Email": pytest.approx(70 - 100 * 0.5 * 20 / 65)}
    half = 20 * sqrt(1 - 0.5**2 * 0.5)  # what the test tells of Email is a quarter of what it tells of Events
    assert found.loc["Email", "high"] - found.loc["Email", "credit"] == pytest.approx(half)
    assert [one["channel"] for one in moved(lift_test("Events", 0.1, 0.065), together=0.5).told] == ["Events"]


def test_experiments_heard_one_after_another_tell_what_they_tell_together() -> None:
    """Precisions add up: the credit is the mean that all measurements, the model's among them, agree on."""
    found = moved(lift_test("Events", 0.1, 0.065), lift_test("Email", 0.09, 0.01), together=0.5).rows
    error = np.array([65, 20]) / NORMAL_90
    known = np.linalg.inv(np.outer(error, error) * np.array([[1, 0.5], [0.5, 1]]))
    told = np.diag((NORMAL_90 / np.array([65, 10])) ** 2)
    covariance = np.linalg.inv(known + told)
    credit = covariance @ (known @ [300, 70] + told @ [100, 90])
    ours = found.set_index("channel").loc[["Events", "Email"]]
    np.testing.assert_allclose(ours["credit"].to_numpy(float), credit, rtol=0.01)  # a lift's interval is not even
    half = (ours["high"] - ours["low"]).to_numpy(float) / 2
    np.testing.assert_allclose(half, NORMAL_90 * np.sqrt(np.diag(covariance)), rtol=0.01)


def test_an_experiment_counts_half_as_much_after_each_half_life_since_its_last_day() -> None:
    fresh = lift_test("Events", 0.1, 0.065)
    old = lift_test("Events", 0.1, 0.065, date(2026, 6, 1))
    assert moved(fresh, half_life=30).told[0]["weight"] == pytest.approx(1 / 2)
    assert moved(old, half_life=30).told[0]["weight"] == pytest.approx(1 / 3)
    assert moved(old, half_life=15).told[0]["weight"] == pytest.approx(1 / 5)


def test_a_test_sees_less_than_the_credit_because_some_would_have_closed_later() -> None:
    found = moved(lift_test("Events", 0.08, 0.065 * 0.8), later=0.2)
    assert found.told[0]["says"] == pytest.approx(100)
    assert found.told[0]["weight"] == pytest.approx(0.5)


def test_of_two_experiments_the_earlier_is_heard_first_and_channels_are_put_in_order_again() -> None:
    early, late = lift_test("Events", 0.01, 0.01, date(2026, 1, 1)), lift_test("Events", 0.05, 0.01)
    told = moved(late, early).told
    assert [one["until"] for one in told] == ["2026-01-01", "2026-07-01"]
    assert told[1]["before"] == told[0]["after"]
    assert moved(late, early).rows["channel"].tolist() == ["Email", "Events"]


def test_an_experiment_that_has_not_ended_or_of_no_channel_here_moves_nothing() -> None:
    found = moved(lift_test("Events", 0.1, 0.01, date(2026, 7, 2)), lift_test("Radio", 0.1, 0.01))
    assert found.told == []
    pd.testing.assert_frame_equal(found.rows, rows())


def test_an_experiment_of_a_channel_that_nobody_was_touched_by_is_refused_once_it_has_ended() -> None:
    known, ended, planned = ["Events", "Email"], lift_test("Evens", 0.1, 0.065), date(2026, 8, 1)
    sentence = r"^attribution\.experiments names Evens, of which no touch can earn .*: Events, Email\.$"
    with pytest.raises(ConfigError, match=sentence):
        refuse_untouched([ended, ended, lift_test("Email", 0.1, 0.065)], known, NOW)
    refuse_untouched([lift_test("Evens", 0.1, 0.065, planned)], known, NOW)


def test_no_experiment_moves_nothing_by_a_cent() -> None:
    pd.testing.assert_frame_equal(moved().rows, rows())
    assert moved().anyway == {"credit": pytest.approx(REST), "value": Decimal("6300.00")}


@settings(max_examples=50, deadline=None)
@given(st.floats(-0.4, 0.6), st.floats(0.001, 0.3), st.integers(0, 3_000))
def test_credit_stays_between_model_and_experiment_and_all_of_it_adds_up(share: float, half: float, days: int) -> None:
    until = date.fromordinal(NOW.date().toordinal() - days)
    found = moved(lift_test("Email", share, half, until))
    email = found.rows.set_index("channel").loc["Email"]
    low, high = sorted((70.0, 1_000 * share))
    assert low - 1e-6 <= email["credit"] <= high + 1e-6
    assert found.rows["credit"].sum() + found.anyway["credit"] == pytest.approx(1_000)
    assert sum(found.rows["value"], found.anyway["value"]) == Decimal("10000.00")


def test_an_experiment_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "touchstone.toml").write_text(
        '[[attribution.experiments]]\nchannel = "Display"\nsince = 2026-01-05\nuntil = 2026-02-01\n'
        "lift = 0.02\nlow = 0.03\nhigh = 0.05\n"
    )
    with pytest.raises(ConfigError, match=r"attribution\.experiments\.0: .*low ≤ lift ≤ high with low below high"):
        read_settings(tmp_path)
