"""Snapshots: when an open lead is looked at, and what can honestly be said of what became of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from by_hand import Row, day, days, world
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from features.history import History
from features.settings import Settings
from training.snapshots import labelled, learnable, snapshots

MICROSECOND = 1 / 86_400_000_000  # in days


def settings(horizon_days: float = 14, **when: Any) -> Settings:
    return Settings.model_validate({"goal": {"horizon_days": horizon_days}, "snapshots": when})


def taken(history: History, until: float, **when: Any) -> list[tuple[str, float]]:
    """Return the (lead, day) of every snapshot."""
    how = settings(**when)
    moments = snapshots(history, how.goal, how.snapshots, day(until))
    return [(history.lead_ids[lead], at) for lead, at in zip(moments.lead, days(moments), strict=True)]


def known(history: History, before: float, **how: Any) -> list[tuple[str, float, float]]:
    """Return the (lead, day, label) of every snapshot whose outcome was known before a day."""
    rows = labelled(history, settings(**how), day(before))
    ids = [history.lead_ids[lead] for lead in rows.moments.lead]
    return list(zip(ids, days(rows.moments), rows.labels.tolist(), strict=True))


# When a lead is looked at


def test_weekly_snapshots_are_taken_on_mondays_at_midnight_utc() -> None:
    assert taken(world({"ada": 1.4, "bob": 8}), 22) == [("ada", 7), ("ada", 14), ("ada", 21), ("bob", 14), ("bob", 21)]


def test_a_grid_of_three_days_counts_from_a_monday_too() -> None:
    assert taken(world({"ada": 1.4}), 10, every_days=3) == [("ada", 3), ("ada", 6), ("ada", 9)]


def test_nothing_is_known_of_a_lead_at_the_moment_of_its_creation() -> None:
    assert taken(world({"ada": 7}), 15) == [("ada", 14)]


def test_no_snapshot_is_taken_at_the_moment_until_which_they_are() -> None:
    assert taken(world({"ada": 1}), 14) == [("ada", 7)]


def test_a_lead_is_looked_at_up_to_its_highest_age() -> None:
    assert taken(world({"ada": 3.9, "bob": 4}), 30, max_age_days=10) == [("ada", 7), ("bob", 7), ("bob", 14)]


def test_snapshots_at_ages_count_from_the_creation_of_each_lead() -> None:
    history = world({"ada": 1.5, "bob": 4})
    assert taken(history, 11.5, ages_days=[7, 2]) == [("ada", 3.5), ("ada", 8.5), ("bob", 6), ("bob", 11)]


def test_a_snapshot_at_an_age_beyond_the_highest_is_not_taken() -> None:
    assert taken(world({"ada": 1}), 40, ages_days=[2, 20], max_age_days=10) == [("ada", 3)]


def test_a_lead_that_was_won_or_lost_is_looked_at_no_more() -> None:
    history = world({"ada": 1, "bob": 1}, stages=[("ada", 8, "won"), ("bob", 15, "lost"), ("bob", 2, "mql")])
    assert taken(history, 30) == [("ada", 7), ("bob", 7), ("bob", 14)]


def test_a_close_that_was_received_late_leaves_the_lead_open_until_then() -> None:
    assert taken(world({"ada": 1}, stages=[("ada", 8, "lost", 15)]), 30) == [("ada", 7), ("ada", 14)]


def test_a_close_is_known_after_the_moment_of_its_receipt_not_at_it() -> None:
    assert taken(world({"ada": 1}, stages=[("ada", 8, "lost", 14)]), 30) == [("ada", 7), ("ada", 14)]


def test_of_two_closes_the_one_that_was_known_first_ends_the_looking() -> None:
    history = world({"ada": 1}, stages=[("ada", 8, "lost", 25), ("ada", 9, "won", 10)])
    assert taken(history, 30) == [("ada", 7)]


def test_a_world_without_leads_has_no_snapshots() -> None:
    assert (taken(world({}), 30), known(world({}), 30)) == ([], [])


# What became of it


def test_a_win_at_the_end_of_the_horizon_is_a_win() -> None:
    assert known(world({"ada": 1}, stages=[("ada", 21, "won")]), 22) == [("ada", 7, 1)]


def test_a_win_a_microsecond_after_the_horizon_is_none() -> None:
    assert known(world({"ada": 1}, stages=[("ada", 21 + MICROSECOND, "won")]), 22) == [("ada", 7, 0)]


def test_a_win_at_the_moment_of_the_snapshot_is_no_win_after_it() -> None:
    history = world({"ada": 1}, stages=[("ada", 21, "won")])
    assert taken(history, 60)[-1] == ("ada", 21)
    assert known(history, 60) == [("ada", 7, 1), ("ada", 14, 1)]


def test_a_win_a_microsecond_after_the_snapshot_is_a_win() -> None:
    history = world({"ada": 1}, stages=[("ada", 21 + MICROSECOND, "won")])
    assert known(history, 60) == [("ada", 7, 0), ("ada", 14, 1), ("ada", 21, 1)]


def test_a_lead_that_is_lost_first_and_won_later_within_the_horizon_was_won() -> None:
    assert known(world({"ada": 1}, stages=[("ada", 8, "lost"), ("ada", 20, "won")]), 30) == [("ada", 7, 1)]


def test_an_outcome_that_may_still_come_is_never_called_a_loss() -> None:
    history = world({"ada": 1})
    assert known(history, 21) == []
    assert known(history, 21 + MICROSECOND) == [("ada", 7, 0)]


def test_a_win_known_before_its_horizon_is_past_waits_like_every_other_outcome() -> None:
    history = world({"ada": 1, "bob": 1}, stages=[("ada", 8, "won")])
    assert known(history, 15) == []
    assert known(history, 22) == [("ada", 7, 1), ("bob", 7, 0)]


def test_outcomes_wait_for_the_reporting_lag() -> None:
    history = world({"ada": 1}, stages=[("ada", 20, "won", 25)])
    assert known(history, 25) == [("ada", 7, 0)]  # reported late, so called a loss
    assert known(history, 25, reporting_lag_days=5) == []
    assert known(history, 27, reporting_lag_days=5) == [("ada", 7, 1)]


def test_a_snapshot_after_a_close_that_was_not_yet_known_is_left_out() -> None:
    history = world({"ada": 1}, stages=[("ada", 8, "won", 16)])
    assert taken(history, 60) == [("ada", 7), ("ada", 14)]
    assert known(history, 60) == [("ada", 7, 1)]


def test_configured_stages_mean_won_and_lost() -> None:
    how = Settings.model_validate({"goal": {"won": ["signed", "paid"], "lost": ["gone"], "horizon_days": 14}})
    history = world({"ada": 1, "bob": 1, "cem": 1}, stages=[("ada", 9, "paid"), ("bob", 10, "gone"), ("cem", 9, "won")])
    assert labelled(history, how, day(22)).labels.tolist() == [1, 0, 0]


def test_a_lead_with_a_natural_end_counts_once_it_is_closed_and_only_then() -> None:
    stages = [("ada", 8, "won"), ("bob", 100, "won"), ("cem", 8, "lost")]
    history = world({"ada": 1, "bob": 1, "cem": 1, "dan": 1}, stages=stages)
    assert known(history, 9, mature_when="closed", max_age_days=7) == [("ada", 7, 1), ("cem", 7, 0)]
    assert known(history, 101, mature_when="closed", max_age_days=7) == [("ada", 7, 1), ("bob", 7, 1), ("cem", 7, 0)]


def test_snapshots_between_two_moments_include_the_first_and_not_the_second() -> None:
    rows = labelled(world({"ada": 1}), settings(), day(60))
    assert days(rows.moments) == [7, 14, 21, 28, 35, 42]
    assert days(rows.between(day(14), day(28)).moments) == [14, 21]
    assert days(rows.between(day(35)).moments) == [35, 42]


# What is learned from before the horizon is past


def learned(history: History, before: float, **how: Any) -> list[tuple[str, float, float, float]]:
    """Return the (lead, day, label, weight) of every snapshot to learn from, the mean weight being 1."""
    rows = learnable(history, settings(**how), day(before))
    ids = [history.lead_ids[lead] for lead in rows.moments.lead]
    return list(zip(ids, days(rows.moments), rows.labels.tolist(), rows.weights.round(6).tolist(), strict=True))


def test_an_outcome_that_came_early_is_learned_from_before_its_horizon_is_past() -> None:
    history = world({"ada": 1, "bob": 1, "cem": 1}, stages=[("ada", 8, "won"), ("bob", 15, "lost")])
    assert known(history, 22) == [("ada", 7, 1), ("bob", 7, 0), ("cem", 7, 0)]
    assert [row[:3] for row in learned(history, 22)] == [("ada", 7, 1), ("bob", 7, 0), ("bob", 14, 0), ("cem", 7, 0)]


def test_an_outcome_weighs_as_much_as_snapshots_were_too_young_to_show_one_as_late() -> None:
    history = world({"ada": 1, "bob": 1}, stages=[("ada", 22, "won")])  # looked at on days 7, 14 and 21, bob on 28, too
    # observed so far for 22, 15, 8 and (bob) 1 days: six of seven for more than 1 day, four for more than 8 or 14
    rare, common = 7 / 4, 7 / 6
    mean = (4 * rare + common) / 5
    assert [(lead, at, weight) for lead, at, _, weight in learned(history, 29)] == [
        ("ada", 7, pytest.approx(rare / mean, abs=1e-6)),
        ("ada", 14, pytest.approx(rare / mean, abs=1e-6)),
        ("ada", 21, pytest.approx(common / mean, abs=1e-6)),
        ("bob", 7, pytest.approx(rare / mean, abs=1e-6)),
        ("bob", 14, pytest.approx(rare / mean, abs=1e-6)),
    ]


def test_the_weighted_rate_is_that_of_all_snapshots_though_early_outcomes_are_seen_first() -> None:
    rng = np.random.default_rng(0)
    born = {f"lead-{i:04}": i / 20 for i in range(4000)}
    after = rng.exponential(10, 4000)
    stages = [(lead, on + after[i], "won") for i, (lead, on) in enumerate(born.items()) if i % 2]
    rows = learnable(world(born, stages=stages), settings(horizon_days=20, ages_days=[1]), day(100))
    ever = 1 - np.exp(-20 / 10)
    still = np.exp(-1 / 10) / (1 + np.exp(-1 / 10))  # of those open after a day, who would be won at last
    assert np.average(rows.labels, weights=rows.weights) == pytest.approx(ever * still, abs=0.02)
    assert rows.labels.mean() > ever * still + 0.02  # without weights, early wins are seen too often


def test_while_nobody_could_stay_open_through_a_horizon_nothing_is_learned() -> None:
    assert learned(world({"ada": 1, "bob": 1}, stages=[("ada", 8, "won")]), 21) == []


HOUR = 1 / 24
STAGES = st.tuples(
    st.sampled_from(["ada", "bob", "cem"]),
    st.integers(0, 60 * 24).map(lambda hour: hour * HOUR),
    st.sampled_from(["mql", "won", "lost"]),
    st.integers(0, 60 * 24).map(lambda hour: hour * HOUR),
)


@hypothesis_settings(deadline=None)
@given(
    stages=st.lists(STAGES, max_size=8),
    later=st.lists(STAGES, max_size=8),
    cut=st.integers(7 * 24, 60 * 24),
    mature_when=st.sampled_from(["horizon", "closed"]),
)
def test_what_is_learned_after_a_moment_changes_no_label_known_before_it(
    stages: list[Row], later: list[Row], cut: int, mature_when: str
) -> None:
    created = {"ada": 0.5, "bob": 3, "cem": 9}
    so_far = [(lead, on, stage, max(on, received)) for lead, on, stage, received in stages]
    since = [(lead, on, stage, max(on, received, cut * HOUR)) for lead, on, stage, received in later]
    before = known(world(created, stages=so_far), cut * HOUR, mature_when=mature_when)
    assert known(world(created, stages=[*so_far, *since]), cut * HOUR, mature_when=mature_when) == before


@hypothesis_settings(deadline=None)
@given(st.lists(STAGES, max_size=8), st.randoms())
def test_the_order_of_rows_changes_no_label(stages: list[Row], random: Any) -> None:
    created = {"ada": 0.5, "bob": 3, "cem": 9}
    shuffled = random.sample(stages, len(stages))
    assert known(world(created, stages=shuffled), 60) == known(world(created, stages=stages), 60)


def test_snapshots_are_in_the_order_of_leads_and_time() -> None:
    history = world({"cem": 2, "ada": 9, "bob": 1})
    moments = labelled(history, settings(), day(60)).moments
    order = np.lexsort((moments.as_of, moments.lead))
    assert order.tolist() == list(range(len(moments)))
