"""Volume: a move or a gap is told when chance does not explain it, and not otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from features.volume import Move, gaps, moves, weeks_of

STEADY = dict.fromkeys(range(1, 64), 10)


def by_day(weeks: list[int], rhythm: tuple[int, ...] = (1, 2, 2, 2, 2, 1, 0)) -> dict[int, int]:
    """Return rows by days ago: a week's rows spread by a rhythm; the last week first."""
    spread = np.array(rhythm) / sum(rhythm)
    return {7 * w + d + 1: round(rows * spread[d]) for w, rows in enumerate(weeks) for d in range(7)}


def moved(sources: dict[Any, dict[int, int]], first: int) -> dict[Any, Move]:
    return moves(sources, dict.fromkeys(sources, first))


def test_weeks_are_whole_and_end_yesterday() -> None:
    days = {0: 500, 1: 1, 7: 2, 8: 4, 14: 8, 63: 16, 64: 500, -1: 500}
    assert weeks_of(days, 70) == [3, 12, 0, 0, 0, 0, 0, 0, 16]
    assert weeks_of(days, 20) == [3, 12]


def test_a_steady_source_does_not_move_whatever_its_weekly_rhythm() -> None:
    found = moved({"a": by_day([100] * 9), "b": by_day([7] * 9, (7, 0, 0, 0, 0, 0, 0))}, 63)
    assert [(move.last_7_days, move.weekly_before, move.weeks, move.chance) for move in found.values()] == [
        (100, 100, 8, 1),
        (7, 7, 8, 1),
    ]


@pytest.mark.parametrize(
    ("recent", "is_alarm"), [(100, False), (75, False), (50, True), (0, True), (130, False), (160, True)]
)
def test_a_large_move_is_an_alarm_and_a_small_one_is_not(recent: int, is_alarm: bool) -> None:
    assert moved({"a": by_day([recent, *[100] * 8])}, 63)["a"].is_alarm is is_alarm


def test_a_source_whose_weeks_always_vary_may_vary_on() -> None:
    bursts = by_day([0, 300, 10, 0, 250, 5, 0, 400, 20])
    assert not moved({"bursts": bursts, "steady": by_day([100] * 9)}, 63)["bursts"].is_alarm


def test_a_source_that_comes_in_rare_bursts_may_burst() -> None:
    quiet = {str(i): by_day([0, 90, 0, 0, 0, 80, 0, 0, 0]) for i in range(3)}
    burst = moved({"burst": by_day([400, 0, 0, 90, 0, 0, 0, 80, 0]), **quiet}, 63)["burst"]
    assert (burst.last_7_days, burst.is_alarm) == (400, False)


def test_a_source_that_is_new_is_an_alarm_once_it_is_no_chance() -> None:
    assert [moved({"new": {1: rows}, "old": STEADY}, 63)["new"].is_alarm for rows in (1, 2, 8)] == [False, False, True]


def test_a_source_that_stopped_is_an_alarm() -> None:
    assert moved({"gone": by_day([0, *[40] * 8])}, 63)["gone"].is_alarm


@pytest.mark.parametrize(
    ("weeks", "is_alarm"),
    [
        ([0, 0, 0, 0, 20, 100, 110, 90, 100], True),  # 34 days
        ([0, 0, 0, 0, 20, 100, 0, 90, 100], False),  # it paused before
        ([0, 0, 0, 0, 0, 0, 110, 90, 100], False),  # there are too few weeks before to say
        ([0, 0, 0, 0, 1, 2, 1, 3, 1], False),  # it has always been rare
    ],
)
def test_a_source_that_fell_silent_weeks_ago_is_an_alarm_still(weeks: list[int], is_alarm: bool) -> None:
    found = moved({"mails": by_day(weeks), "steady": by_day([100] * 9)}, 63).get("mails")
    assert (found is not None and found.is_alarm) == is_alarm
    if is_alarm and found:
        assert (found.last_7_days, found.weekly_before, found.weeks) == (0, 100, 4)


def test_of_many_sources_one_needs_stronger_evidence() -> None:
    fallen = by_day([63, *[100] * 8])
    others = {str(i): by_day([100] * 9) for i in range(200)}
    alone = moved({"a": fallen}, 63)["a"].chance
    assert moved({"a": fallen, **others}, 63)["a"].chance == pytest.approx(min(1, 201 * alone), rel=1e-6)


def test_too_few_weeks_say_nothing() -> None:
    assert moved({"a": by_day([0, 100, 100, 100])}, 34) == {}
    assert list(moved({"a": by_day([0, 100, 100, 100, 100])}, 35)) == ["a"]
    assert moved({}, 63) == {}
    assert moved({"old": {200: 5}}, 250) == {}
    assert list(moves({"a": STEADY, "b": STEADY}, {"a": 63, "b": 20})) == ["a"]


@pytest.mark.parametrize("dispersion", [1.0, 4.0, 15.0])
def test_at_most_one_quiet_check_in_a_hundred_cries_wolf(dispersion: float) -> None:
    rng = np.random.default_rng(7)
    levels = np.array([3, 20, 60, 150, 400, 1000])
    alarms = 0
    for _ in range(200):
        rates = levels * rng.gamma(levels / dispersion, dispersion / levels, (9, 6)) if dispersion > 1 else levels
        weeks = rng.poisson(rates, (9, 6))
        found = moved({i: {7 * w + 1: int(weeks[w, i]) for w in range(9)} for i in range(6)}, 63)
        alarms += any(move.is_alarm for move in found.values())
    assert alarms <= 5  # 2 are expected at most; more than 5 come in 1 of 60 draws, and this one is drawn


def test_a_halved_source_is_found_in_most_checks() -> None:
    rng = np.random.default_rng(7)
    found = 0
    for _ in range(100):
        weeks = rng.poisson([[200 if w else 100, 50, 400] for w in range(9)])
        found += moved({i: {7 * w + 1: int(weeks[w, i]) for w in range(9)} for i in range(3)}, 63)[0].is_alarm
    assert found >= 90


def test_days_without_rows_are_gaps_where_their_weekday_has_many() -> None:
    assert gaps(STEADY | {12: 0, 11: 0, 10: 0, 1: 0}, 63) == [(12, 10, 10), (1, 1, 10)]


def test_an_empty_day_is_no_gap_where_its_weekday_has_few_or_often_none() -> None:
    weekdays = {day: rows for day, rows in STEADY.items() if day % 7 not in (5, 6)}
    assert gaps(weekdays, 63) == []
    assert gaps(dict.fromkeys(range(1, 64), 9) | {12: 0}, 63) == []
    assert gaps(weekdays | {8: 0}, 63) == [(8, 8, 10)]


def test_a_weekday_that_is_often_empty_has_no_gaps() -> None:
    assert gaps(STEADY | {12: 0, 19: 0, 26: 0}, 63) == []
    assert gaps(STEADY | {12: 0, 19: 0}, 63) == [(19, 19, 10), (12, 12, 10)]


def test_days_before_the_history_are_no_gaps() -> None:
    assert gaps(dict.fromkeys(range(1, 36), 10), 35) == []
    assert gaps(dict.fromkeys(range(1, 22), 10), 21) == []
