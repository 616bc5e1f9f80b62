"""Score-adjusted attribution: in worlds of a known hazard, credit is what the touches brought about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from attribution.adjusted import Adjusted, _covariance, score_adjusted
from attribution.hazard import FLOOR, Fit, Rows, fitted
from attribution.journeys import Flags, Floats, Ints
from attribution.moments import OpenTime, Touched, adstock, moments, recent
from attribution.targeting import targeting

LEADS, DAYS = 6_000, 60
BASE, EFFECT, KEPT = 0.0015, 0.004, 0.5 ** (1 / 10)


def company(
    seed: int, *, confounded: bool = False, harvest: float = 0.0, steps: int = 8
) -> tuple[OpenTime, Touched, Floats, Floats]:
    """Return leads whose intent is known: Email (0) works, Display (1) does not and may follow intent.

    Also the closes that Email brought about, and the intent of each lead. With one step a day, all leads close at one
    hour and are touched at another.
    """
    random = np.random.default_rng(seed)
    intent = random.gamma(2, 0.5, LEADS)
    end, won, lead, day, channel = np.full(LEADS, float(DAYS)), np.zeros(LEADS, bool), [], [], []
    left, caused = np.zeros(LEADS), 0.0
    still = np.ones(LEADS, bool)
    for today in np.arange(DAYS * steps) / steps:
        rates = (np.full(LEADS, 0.05), 0.05 * (intent if confounded else 1) * np.ones(LEADS))
        hazard = intent * (BASE + EFFECT * left) / steps
        closes = still & (random.random(LEADS) < 1 - np.exp(-hazard))
        caused += (EFFECT * left / (BASE + EFFECT * left))[closes].sum()
        end[closes], won[closes] = today + 0.5 / steps, True
        brand = np.flatnonzero(closes & (random.random(LEADS) < harvest))
        lead.append(brand), day.append(np.full(len(brand), today + 0.4 / steps)), channel.append(np.full(len(brand), 2))
        left *= KEPT ** (1 / steps)
        for code, rate in enumerate(rates):
            touched = np.flatnonzero(still & (random.random(LEADS) < rate / steps))
            touched = touched[~closes[touched]]
            (
                lead.append(touched),
                day.append(np.full(len(touched), today + 0.6 / steps)),
                channel.append(np.full(len(touched), code)),
            )
            if code == 0:
                left[touched] += 1
        still &= ~closes
    order = np.lexsort((np.concatenate(day), np.concatenate(lead)))
    leads = np.concatenate(lead)[order]
    touched_ = Touched(np.searchsorted(leads, np.arange(LEADS + 1)), np.concatenate(day)[order],
                       np.concatenate(channel)[order].astype(np.int32))  # fmt: skip
    return OpenTime(np.zeros(LEADS), end, won, np.zeros(LEADS, bool)), touched_, np.array(caused), intent


def credited(
    seed: int, *, confounded: bool = False, harvest: float = 0.0, blind: bool = False
) -> tuple[Adjusted, float]:
    time, touched, caused, intent = company(seed, confounded=confounded, harvest=harvest)

    def score(lead: Ints, _day: Floats) -> Floats:
        return np.full(len(lead), 0.1) if blind else 1 - np.exp(-0.1 * intent[lead])

    return score_adjusted(time, touched, 3, score), float(caused)


def test_a_channel_gets_what_it_brought_about_and_one_that_does_nothing_gets_nothing() -> None:
    found, caused = credited(1)
    assert caused > 150
    assert found.credit[0] == pytest.approx(caused, abs=3 * found.error[0])
    assert abs(found.credit[1]) < 3 * found.error[1]
    assert not found.harvests.any()


def test_parts_and_what_would_have_closed_anyway_add_up_to_all_closes() -> None:
    found, _ = credited(2)
    assert found.part.sum() - found.owed.sum() + found.anyway == pytest.approx(len(found.lead))
    assert len(found.lead) > 500


def test_a_few_minutes_later_the_credit_is_nearly_the_same() -> None:
    time, touched, _, intent = company(2)
    later = time._replace(end=np.where(time.won, time.end, time.end + 5 / 1440))

    def score(lead: Ints, _day: Floats) -> Floats:
        return 1 - np.exp(-0.1 * intent[lead])

    now, then = (score_adjusted(one, touched, 3, score) for one in (time, later))
    assert (np.abs(now.credit - then.credit)[:2] < 0.2 * now.error[:2]).all()


def test_credit_is_the_mean_over_half_lives_and_their_variance_is_part_of_its_covariance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time, touched, _, intent = company(1, steps=1)

    def by(*half_lives: float) -> Adjusted:
        monkeypatch.setattr("attribution.adjusted.HALF_LIVES_DAYS", half_lives)
        return score_adjusted(time, touched, 3, lambda lead, _: 1 - np.exp(-0.1 * intent[lead]))

    both, short, middle = by(7, 10), by(7, 7), by(10, 10)
    apart = middle.credit - short.credit
    np.testing.assert_allclose(both.credit, (middle.credit + short.credit) / 2, rtol=1e-5)
    np.testing.assert_allclose(both.covariance, middle.covariance + np.outer(apart, apart) / 2, rtol=1e-4, atol=1e-9)


def test_the_chance_to_close_later_is_the_score_of_those_whom_touches_made_close() -> None:
    time, touched, _, _ = company(1)
    by_email = np.zeros(LEADS, bool)
    by_email[np.repeat(np.arange(LEADS), np.diff(touched.start))[touched.channel == 0]] = True
    found = score_adjusted(time, touched, 3, lambda lead, _: np.where(by_email[lead], 0.2, 0.19))
    assert 0.199 < found.later <= 0.2 + 1e-12


def test_the_score_takes_away_what_intent_lends_to_a_channel_and_where_it_knows_nothing_the_guard_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guarded, _ = credited(2, confounded=True, blind=True)
    assert abs(guarded.credit[1]) < 0.5 * guarded.error[1]
    monkeypatch.setattr("attribution.adjusted.targeting", lambda touched, *_: np.zeros(touched.shape[1]))
    seeing, _ = credited(2, confounded=True)
    blind, _ = credited(2, confounded=True, blind=True)
    assert blind.credit[1] > 3 * blind.error[1]
    assert abs(seeing.credit[1]) < seeing.error[1]


def test_touches_add_in_proportion_to_the_score_so_that_eager_leads_owe_them_no_less() -> None:
    time, touched, _, intent = company(6)
    found = score_adjusted(time, touched, 3, lambda lead, _: 1 - np.exp(-0.1 * intent[lead]))
    eager = intent[found.lead] > np.median(intent[found.lead])
    assert found.part[eager, 0].mean() == pytest.approx(found.part[~eager, 0].mean(), rel=0.25)


def test_effects_that_take_away_fade_out_before_a_rate_becomes_negative() -> None:
    z, x = np.ones((220, 1)), np.repeat([[0.0], [1.0], [0.0], [1.0]], [18, 2, 100, 100], axis=0)
    days = np.concatenate([np.zeros(20), np.ones(200)])
    rows = Rows(20, days, np.ones(220), z, x, np.zeros(2))
    fit = fitted(rows)
    rate = fit.rate(rows)
    np.testing.assert_allclose([rate[20], rate[-1]], [18 / 100, 2 / 100], rtol=1e-3)
    np.testing.assert_allclose(rate, np.exp(fit.beta[0]) + fit.per_unit(rows) * x[:, 0] * fit.theta[0])


def test_an_end_that_was_next_to_impossible_owes_no_more_than_the_floor_allows() -> None:
    rows = Rows(1, np.array([0.0]), np.ones(1), np.ones((1, 1)), np.array([[1.0, 1.0]]), np.zeros(3))
    fit = Fit(np.log([0.01]), np.array([5.0, -5.1]), np.eye(2))
    assert fit.rate(rows) < 1e-9
    assert fit.part_per_unit(rows) * 5.1 == pytest.approx([5.1 / 0.1 / FLOOR])


def test_a_harvest_is_flagged_earns_nothing_and_takes_nothing_from_others() -> None:
    found, caused = credited(4, harvest=0.6)
    assert found.harvests.tolist() == [False, False, True]
    assert found.unguarded[2] > 0.3 * len(found.lead)
    assert abs(found.credit[2]) < 0.05 * len(found.lead)
    assert found.credit[0] == pytest.approx(caused, abs=3 * found.error[0])


def test_touches_that_drive_leads_away_owe_the_closes_that_are_lost() -> None:
    time, touched, _, intent = company(5, steps=1)
    random = np.random.default_rng(0)
    first = np.array(
        [touched.day[a] if b > a else np.inf for a, b in zip(touched.start, touched.start[1:], strict=False)]
    )
    first = np.where(
        np.append(touched.channel, 0)[np.minimum(touched.start[:-1], len(touched.day))] == 1, first, np.inf
    )
    drives = (first + 2 < time.end) & (random.random(LEADS) < 0.7)
    end = np.where(drives, first + 2, time.end)
    won = time.won & ~drives
    keeps = touched.day < np.repeat(end, np.diff(touched.start))
    leads = np.repeat(np.arange(LEADS), np.diff(touched.start))[keeps]
    fewer = Touched(np.searchsorted(leads, np.arange(LEADS + 1)), touched.day[keeps], touched.channel[keeps])

    def with_losses(lost: Flags) -> Adjusted:
        return score_adjusted(
            OpenTime(time.born, end, won, lost), fewer, 3, lambda lead, _: 1 - np.exp(-0.1 * intent[lead])
        )

    found = with_losses(drives)
    assert found.owed[1] > 0
    assert abs(found.owed[0]) < 0.02 * found.owed[1]
    assert found.credit[1] < -found.error[1]
    assert found.covariance[1, 1] > with_losses(np.zeros(LEADS, bool)).covariance[1, 1]


def test_losses_that_come_whatever_touches_there_were_are_owed_by_nobody() -> None:
    time, touched, _, intent = company(5, steps=1)
    random = np.random.default_rng(0)
    lost = random.random(LEADS) < 0.1
    end = np.where(lost, time.end * random.random(LEADS), time.end)
    found = score_adjusted(OpenTime(time.born, end, time.won & ~lost, lost), touched, 3,
                           lambda lead, _: 1 - np.exp(-0.1 * intent[lead]))  # fmt: skip
    assert found.owed.tolist() == [0, 0, 0]


def test_open_time_is_sampled_evenly_and_stands_for_all_of_it() -> None:
    time = OpenTime(np.array([0.0, 5, 9]), np.array([10.0, 5, 39]), np.array([True, True, False]), np.zeros(3, bool))
    looked = moments(time, time.won)
    assert (looked.ends, looked.lead[0], looked.day[0]) == (1, 0, 10)  # the second closed as it was created
    assert looked.days.sum() == pytest.approx(40)
    of_lead = np.bincount(looked.lead, looked.days)
    np.testing.assert_allclose(of_lead, [10, 0, 30], atol=0.1)
    assert (looked.day >= time.born[looked.lead]).all()
    assert (looked.day <= time.end[looked.lead]).all()


def test_exposure_counts_the_last_day_apart_and_halves_from_its_end_on() -> None:
    where = (
        np.array([0, 0]),
        np.array([10.0, 3.0]),
        np.array([0, 4]),
        np.array([2.0, 2.5, 9.5, 11]),
        np.array([0, 1, 1, 0]),
    )
    codes = where[-1].astype(np.int32)
    assert recent(*where[:-1], codes, 2).tolist() == [[0, 1], [0, 1]]
    found = adstock(*where[:-1], codes, np.array([7.0, 6.5]))
    np.testing.assert_allclose(found, [[0.5, 0.5], [1, 0]])


def test_the_likeliest_rates_of_two_groups_are_their_closes_by_days() -> None:
    z = np.repeat([[1.0, 0], [0, 1.0]], [30, 10], axis=0)
    z = np.concatenate([z, np.repeat([[1.0, 0], [0, 1.0]], 50, axis=0)])
    days = np.concatenate([np.zeros(40), np.full(100, 2.0)])
    fit = fitted(Rows(40, days, np.ones(140), z, np.zeros((140, 1)), np.zeros(3)))
    np.testing.assert_allclose(np.exp(fit.beta), [30 / 100, 10 / 100], rtol=1e-5)
    assert fit.theta.tolist() == [0]


def test_a_prior_is_weighed_against_what_was_seen() -> None:
    """200 days at the rate e^β of 20 ends, β + β' for another 200 with 40: of β' it is known that it is near 0."""
    z = np.concatenate(
        [np.repeat([[1.0, 0], [1.0, 1.0]], [20, 40], axis=0), np.repeat([[1.0, 0], [1, 1.0]], 100, axis=0)]
    )
    days = np.concatenate([np.zeros(60), np.full(200, 2.0)])
    known = Rows(60, days, np.ones(260), z, np.zeros((260, 1)), np.array([0.0, 50.0, 0.0]))
    found = fitted(known).beta
    rate = np.exp([found[0], found.sum()])
    assert 0.05 < found[1] < np.log(2) - 0.05
    np.testing.assert_allclose([60 - 200 * rate.sum(), 40 - 200 * rate[1]], [0, 50.0 * found[1]], atol=1e-2)


def test_a_channel_follows_the_score_so_far_as_its_touches_do() -> None:
    random = np.random.default_rng(0)
    n, age = 200_000, np.tile([0, 1], 100_000)
    relative = random.normal(0, 0.5, n) + 2 * age  # the score rises with age, and so do touches of the first channel
    rate = 0.05 * np.exp(np.stack([2 * age, 0.7 * relative, -0.4 * relative, np.full(n, -9.0)], axis=1))
    touched = random.random((n, 4)) < rate
    found = targeting(touched, relative, age, np.ones(n))
    assert found[0] == 0
    assert found[1] == pytest.approx(0.7, abs=0.1)
    assert found[2] == pytest.approx(-0.4, abs=0.1)
    assert found[3] == 1  # a handful of touches cannot tell
    assert targeting(touched, np.zeros(n), age, np.ones(n)).tolist() == [
        1,
        1,
        1,
        1,
    ]  # nor can a score that knows nothing


def test_moments_that_see_the_same_touches_are_no_further_proof_of_targeting() -> None:
    random = np.random.default_rng(1)
    relative = random.normal(0, 0.5, 3_000)
    touched = random.random((3_000, 1)) < 0.2 * np.exp(0.5 * relative[:, None])
    dense = [np.repeat(some, 20, axis=0) for some in (touched, relative, np.zeros(3_000, np.int64))]
    once = targeting(touched, relative, np.zeros(3_000, np.int64), np.ones(3_000))
    np.testing.assert_allclose(targeting(*dense, np.full(60_000, 1 / 20)), once)
    assert targeting(*dense, np.ones(60_000)) > once


def test_touches_that_follow_more_intent_than_the_score_knows_are_guarded_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Email comes to anybody, Display to the keen, of which the score has but a blurred picture."""
    time, touched, _, intent = company(5, confounded=True)
    blurred = intent * np.exp(np.random.default_rng(0).normal(0, 0.5, LEADS))
    followed = []

    def found(heard: float) -> Adjusted:
        def follows(*seen: Any) -> Floats:
            followed.append(targeting(*seen))
            return heard * followed[-1]

        monkeypatch.setattr("attribution.adjusted.targeting", follows)
        return score_adjusted(time, touched, 3, lambda lead, _: 1 - np.exp(-0.1 * blurred[lead]))

    guarded, without = found(1), found(0)
    assert followed[0][0] == 0
    assert followed[0][1] > 0.3
    assert without.credit[1] > 3 * without.error[1]
    assert abs(guarded.credit[1]) < 0.5 * guarded.error[1]
    assert guarded.credit[0] == pytest.approx(without.credit[0], abs=0.5 * without.error[0])


def test_errors_of_channels_go_together_as_those_of_their_slopes_do() -> None:
    """Two channels with a slope of the same period and one of earlier touches each: weighed sums of slopes."""
    of_slopes = np.array([[4.0, 1, 0, 2], [1, 9, 1, 0], [0, 1, 1, 0.5], [2, 0, 0.5, 16]])
    by_slope, weight = np.array([[1.0, 0, 2, 0], [0, 3, 0, 1]]), np.array([1.0, 2])
    sums = np.array([[1.0, 0, 2, 0], [0, 6, 0, 2]])  # of each channel
    found = _covariance(weight, by_slope, Fit(np.zeros(0), np.zeros(4), of_slopes), 2)
    np.testing.assert_allclose(found, sums @ of_slopes @ sums.T)
