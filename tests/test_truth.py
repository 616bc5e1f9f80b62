"""The truth about a simulated company is exact: it is what happens, and it follows from what was recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from simulation.company import Company, tables
from simulation.dice import poisson, uniform
from simulation.effects import channel_effects
from simulation.happenings import DAY, FORM, happenings
from simulation.law import EFFECTS, MOVING, PROCESSES, STATES, WORLDS, Floats, K, Rules, World, rules
from simulation.lives import HARVESTED, LOST, OPEN, WON, Cohort, Lives, lives
from simulation.people import births, people
from simulation.truth import _laguerre, close_probabilities, truth

UNTIL = datetime(2026, 11, 20, tzinfo=UTC)
CONFOUNDED = WORLDS["confounded retargeting"]
HORIZONS = (30, 60, 90)
RETARGETING = next(j for j, process in enumerate(PROCESSES) if process.channel == "Display")


def cohort(leads: int = 2_000, days: int = 100, seed: int = 3, world: World = CONFOUNDED) -> Cohort:
    """Return leads created on the first ``days`` days, whose lives are looked at for 100 days more."""
    some = people(births(leads, days, 0, seed), 0, days, world, seed)
    return some.cohort.chosen(np.arange(leads))._replace(ends=np.full(leads, days + 101))


def at_age(some: Cohort, law: Rules, age: int, seed: int = 3) -> Lives:
    return lives(some, law, 0, seed, some.born + 1 + age, events=False)


# Stated probabilities


@pytest.mark.parametrize("world", [World(), CONFOUNDED, World(fatigue=0.02, new_routing=True, drift=2)])
def test_as_many_leads_close_as_was_stated_overall_and_in_every_fifth(world: World) -> None:
    law, age = rules(world), np.arange(8_000) % 28
    some = cohort(8_000, world=world)
    lived = at_age(some, law, age)
    is_open = lived.states.still_open
    stated = close_probabilities(some, lived.states, law, 0, HORIZONS, nodes=5)[is_open]
    days = lived.end_day[is_open] - (some.born + 1 + age)[is_open]
    for h, horizon in enumerate(HORIZONS):
        p, won = stated[:, h], (lived.end[is_open] == WON) & (days < horizon)
        parts = [np.arange(len(p)), *np.array_split(np.argsort(p), 5)]
        errors = [(won[part] - p[part]).sum() / np.sqrt((p[part] * (1 - p[part])).sum()) for part in parts]
        assert np.abs(errors).max() < 3


def test_without_touches_that_move_it_the_probability_is_the_closed_form() -> None:
    law = rules(World())
    only_time = np.where(np.isin(list(STATES), ["fresh", "settled"]), law.wins, 0)
    law = law._replace(wins=only_time, loss=0.0, loses=np.zeros_like(law.loses))
    some = cohort(200)
    states = at_age(some, law, 5).states
    coming = np.zeros(len(some.number))
    for day in range(60):
        left = states.adstock * law.kept**day
        coming += law.week[(states.day + day) % 7] * some.closes * (law.win + left @ only_time)
    rate = K + states.exposure
    expected = 1 - (rate / (rate + coming)) ** (K + states.events)
    stated = close_probabilities(some, states, law, 0, [60], nodes=40)[:, 0]
    assert states.still_open.sum() > 100
    np.testing.assert_allclose(stated[states.still_open], expected[states.still_open], rtol=1e-9)


def test_two_days_with_a_touch_that_may_come_are_as_worked_out_by_hand() -> None:
    """Webinars come at 0.5 a day, thrice as often to who came by one; a day later, each adds 0.3 to the hazard."""
    law = rules(World(effects={"Events": 0.3}))
    webinar = np.array([process.kind == "webinar_attended" for process in PROCESSES])
    law = law._replace(base=np.where(webinar, 0.5, 0.0) * np.ones((2, 1)), win=0.1, loss=0.0)
    law = law._replace(gain=law.gain._replace(value=law.gain.value * 0), loses=law.loses * 0)
    law = law._replace(wins=np.where(np.array(list(STATES)) == "Events", 0.3, 0.0))
    some = cohort(400)
    states = at_age(some, rules(World()), 0).states
    states = states._replace(adstock=states.adstock * 0)
    stated = close_probabilities(some, states, law, 0, [2], nodes=40)[:, 0]
    for i in np.flatnonzero(states.still_open)[:60]:
        first, second = law.week[states.day[i] % 7], law.week[(states.day[i] + 1) % 7]
        webinars = first * 0.5 * (3 if some.came_by[i, webinar].any() else 1)
        z = stats.gamma(K + states.events[i], scale=1 / (K + states.exposure[i])).ppf(
            (np.arange(20_000) + 0.5) / 20_000
        )
        certain = np.exp(-z * some.closes[i] * (first + second) * 0.1)
        perhaps = np.exp(webinars * (np.exp(-z * some.closes[i] * second * 0.3) - 1))
        assert stated[i] == pytest.approx(1 - (certain * perhaps).mean(), abs=1e-4)


def test_losing_is_a_competing_risk_taken_on_fridays() -> None:
    law = rules(World())._replace(loss=50.0)  # nobody survives a review
    some = cohort(2_000)
    states = at_age(some, rules(World()), 0).states
    until_friday = (4 - states.day) % 7 + 1
    for days in range(1, 8):
        who = np.flatnonzero(states.still_open & (until_friday == days))
        chosen = type(states)._make(column[who] for column in states)
        first, friday, after, late = close_probabilities(some.chosen(who), chosen, law, 0, [1, days, days + 1, 90]).T
        assert (first <= friday).all()
        np.testing.assert_allclose(after, friday, rtol=1e-12)
        np.testing.assert_allclose(late, friday, rtol=1e-12)


def test_the_sum_over_the_hidden_intensity_is_exact_for_polynomials() -> None:
    z, weight = _laguerre(3.5, 4)
    moments = [weight @ z**power for power in range(8)]
    assert moments == pytest.approx([1, 3.5, *(np.prod(3.5 + np.arange(power)) for power in range(2, 8))])


def test_more_nodes_change_no_probability() -> None:
    law, some = rules(CONFOUNDED), cohort(500)
    states = at_age(some, law, 8).states
    eight, forty = (close_probabilities(some, states, law, 0, HORIZONS, nodes) for nodes in (8, 40))
    np.testing.assert_allclose(eight, forty, atol=2e-7)


def test_the_state_of_a_lead_follows_from_what_was_recorded() -> None:
    """A slow reading of the events gives the same adstock, events and exposure as the law that made them."""
    world = World(retargeting=0.8, fatigue=0.02)
    law, some, age = rules(world), cohort(150, world=world), 20
    lived = lives(some, law, 0, 3, some.born + 1 + age)
    for i in np.flatnonzero(lived.states.still_open)[:40]:
        mine = lived.person == i
        a, events, exposure = dict.fromkeys(STATES, 0.0), 0, 0.0
        for day in range(some.arrives[i], some.born[i] + 1 + age):
            is_lead, beat = day > some.born[i], law.week[day % 7]
            jumps = dict.fromkeys(STATES, 0.0)
            for j, process in enumerate(PROCESSES):
                count = int((mine & (lived.day == day) & (lived.process == j)).sum())
                gain = {"price": 0.8} if j == RETARGETING else process.gain
                base = 0.0 if j == RETARGETING else process.base
                if process.by_lead and (is_lead or process.visitors):
                    exposure += beat * some.engages[i] * (base + sum(gain[s] * a[s] for s in gain))
                    events += count
                for state, jump in process.jump.items():
                    jumps[state] += jump * (count + (day == some.born[i] and bool(some.came_by[i, j])))
            if is_lead:
                wins = dict(zip(STATES, law.wins, strict=True))
                exposure += beat * some.closes[i] * (law.win + sum(wins[s] * a[s] for s in STATES))
            if day == some.born[i]:
                jumps["fresh"], jumps["settled"] = jumps["fresh"] + 1, jumps["settled"] + 1
            a = {state: a[state] * 0.5 ** (1 / STATES[state]) + jumps[state] for state in STATES}
        assert lived.states.events[i] == events
        assert lived.states.exposure[i] == pytest.approx(exposure)
        assert lived.states.adstock[i].tolist() == pytest.approx(list(a.values()))


def test_the_hidden_intensity_changes_no_probability_of_the_same_history() -> None:
    law, some = rules(CONFOUNDED), cohort(50)
    states = at_age(some, law, 3).states
    richer = some._replace(intensity=some.intensity * 10)
    stated, told = (close_probabilities(one, states, law, 0, HORIZONS) for one in (some, richer))
    np.testing.assert_array_equal(stated, told)


def test_truth_is_told_of_the_leads_open_at_a_midnight() -> None:
    company = Company(UNTIL, leads=300, days=120)
    as_of = UNTIL - timedelta(days=30)
    known = tables(company)
    created = known["leads"].drop_duplicates("lead_id").set_index("lead_id")["created_at"]
    ended = known["stages"][known["stages"]["stage"].isin(["won", "lost"])].set_index("lead_id")["occurred_at"]
    is_open = (created < as_of) & ~(created.index.to_series().map(ended) < as_of)
    told = truth(company, as_of, [30, 90])
    assert sorted(told["lead_id"].unique()) == sorted(is_open[is_open].index)
    within = told.pivot_table(index="lead_id", columns="horizon_days", values="probability")
    assert (within[30] < within[90]).all()
    assert within.min().min() > 0
    assert within.max().max() < 1


@pytest.mark.parametrize("as_of", [UNTIL - timedelta(hours=1), UNTIL - timedelta(days=120), UNTIL + timedelta(days=1)])
def test_truth_refuses_what_is_no_midnight_of_the_company(as_of: datetime) -> None:
    sentence = f"as_of is {as_of.isoformat()}; give a midnight in UTC after 2026-07-23, up to 2026-11-20."
    with pytest.raises(ValueError, match=sentence.replace("+", r"\+")):
        truth(Company(UNTIL, leads=10, days=120), as_of)


def test_on_a_day_before_most_leads_were_created_truth_tells_of_those_who_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulation.company.CHAPTER", 40)
    monkeypatch.setattr("simulation.people.CHAPTER", 40)
    company = Company(UNTIL, leads=100, days=60)
    as_of = UNTIL - timedelta(days=50)  # the last chapter has no lead by then
    created = tables(company)["leads"].drop_duplicates("lead_id").set_index("lead_id")["created_at"]
    told = truth(company, as_of, [30])
    assert 0 < len(told) <= (created < as_of).sum() < 40
    assert set(told["lead_id"]) <= set(created[created < as_of].index)


def test_midnight_is_midnight_in_any_zone() -> None:
    company = Company(UNTIL, leads=50, days=60)
    in_tokyo = UNTIL.astimezone(timezone(timedelta(hours=9)))
    pd.testing.assert_frame_equal(truth(company, UNTIL), truth(company, in_tokyo))


# Effects


def test_a_channel_whose_effect_is_zero_wins_nobody() -> None:
    some = cohort()
    for channel in MOVING:
        world = World(effects={**EFFECTS, channel: 0.0})
        ends = [lives(some, rules(world, without), 0, 3, events=False).end for without in (frozenset(), {channel})]
        assert (ends[0] == ends[1]).all()


def test_a_channel_switched_off_touches_nobody_not_even_those_who_came_by_it() -> None:
    some, place = cohort(), list(STATES).index("Paid Search")
    on, off = (lives(some, rules(World(), without), 0, 3, some.born + 1) for without in (frozenset(), {"Paid Search"}))
    mine = np.array([process.channel == "Paid Search" for process in PROCESSES])
    assert (on.states.adstock[some.came_by[:, mine].any(axis=1), place] >= 1).all()
    assert not off.states.adstock[:, place].any()
    assert mine[on.process].any()
    assert not mine[off.process].any()


def test_the_effect_of_re_simulation_is_that_of_the_exact_formula() -> None:
    some = cohort(6_000, days=1)._replace(ends=np.full(6_000, 92))
    for channel in ("Sales outreach", "Organic Search"):
        laws = [rules(World(), without) for without in (frozenset(), frozenset({channel}))]
        lived = [at_age(some, law, 0) for law in laws]
        stated = [
            close_probabilities(some, one.states, law, 0, [91], nodes=5).sum()
            for one, law in zip(lived, laws, strict=True)
        ]
        lost = (lived[0].end == WON).astype(int) - (lived[1].end == WON)
        assert lost.sum() > 10
        assert abs(lost.sum() - (stated[0] - stated[1])) < 3 * np.sqrt((lost**2).sum())


def test_effects_are_counted_in_closes_and_shapley_shares_out_what_all_win() -> None:
    company = Company(UNTIL, leads=120, days=90, world=CONFOUNDED)
    told = channel_effects(company, shapley=True).set_index("channel")
    assert list(told.index) == [*MOVING, "all"]
    assert told.loc["Display", ["effect", "standard_error", "shapley"]].tolist() == [0, 0, 0]
    assert told["shapley"].drop("all").sum() == pytest.approx(told.loc["all", "effect"])
    assert told.loc["all", "shapley"] == told.loc["all", "effect"] > 0
    assert told["effect"].map(float.is_integer).all()


# Worlds


def test_retargeting_follows_looks_at_the_prices() -> None:
    some = cohort()
    lived = lives(some, rules(CONFOUNDED), 0, 3)
    kinds = np.array([process.kind for process in PROCESSES])
    looked = lived.day[kinds[lived.process] == "pricing_view"], lived.person[kinds[lived.process] == "pricing_view"]
    first = pd.Series(looked[0]).groupby(looked[1]).min()
    clicks = lived.process == RETARGETING
    assert clicks.sum() > 100
    assert (lived.day[clicks] > first.reindex(lived.person[clicks]).to_numpy()).all()


def test_a_harvesting_ad_is_clicked_on_the_way_to_signing_and_changes_nothing() -> None:
    some = cohort()
    plain, harvested = (lives(some, rules(World(harvest=share)), 0, 3) for share in (0.0, 0.6))
    extra = harvested.nth == HARVESTED
    assert (plain.end == harvested.end).all()
    assert (harvested.end[harvested.person[extra]] == WON).all()
    assert (harvested.day[extra] == harvested.end_day[harvested.person[extra]]).all()
    assert extra.sum() / (harvested.end == WON).sum() == pytest.approx(0.6, abs=0.08)
    assert len(harvested.person) - extra.sum() == len(plain.person)


def test_drift_changes_the_hazard_of_leads_created_in_the_later_half() -> None:
    slow, fast = (cohort(world=World(drift=drift)) for drift in (1.0, 2.0))
    assert (fast.closes / slow.closes).tolist() == [1.0 + (born >= 50) for born in slow.born]


def test_the_new_routing_calls_only_those_who_asked_for_a_demo() -> None:
    world = World(new_routing=True)
    some = cohort(days=400, world=world)
    lived = lives(some, rules(world), 0, 3)
    kinds = np.array([process.kind for process in PROCESSES])[lived.process]
    asked = pd.Series(lived.day[kinds == "demo_request"]).groupby(lived.person[kinds == "demo_request"]).min()
    called = lived.person[kinds == "sales_call"], lived.day[kinds == "sales_call"]
    late = some.born[called[0]] >= 200
    assert (called[1][late] > asked.reindex(called[0][late]).to_numpy()).all()
    assert asked.reindex(called[0][~late]).isna().mean() > 0.3


def test_mail_that_tires_leads_loses_them() -> None:
    calm, tired = (lives(cohort(), rules(World(fatigue=share)), 0, 3, events=False).end for share in (0.0, 0.05))
    assert (tired == LOST).sum() > 1.1 * (calm == LOST).sum()


def test_a_world_that_cannot_be_says_everything_that_is_wrong() -> None:
    sentence = (
        "This world cannot be: no touch of Direct can move a lead; use Email, Display, Events, Organic Search, "
        "Paid Search, Paid Social, Referral, AI Assistant, Sales outreach; the effect of Email is negative; a hazard "
        "cannot be; harvest is a share between 0 and 1; drift is negative."
    )
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        World(effects={"Direct": 1.0, "Email": -1.0}, harvest=1.5, drift=-1)


# Lives


def test_a_lead_lives_the_same_life_alone_and_among_others() -> None:
    some, law = cohort(60), rules(CONFOUNDED)
    together = lives(some, law, 0, 3)
    for i in range(0, 60, 7):
        alone = lives(some.chosen(np.array([i])), law, 0, 3)
        mine = together.person == i
        assert (alone.end[0], alone.end_day[0]) == (together.end[i], together.end_day[i])
        for column in ("process", "day", "nth"):
            assert getattr(alone, column).tolist() == getattr(together, column)[mine].tolist()


def test_a_shorter_look_at_a_life_sees_its_beginning() -> None:
    some, law = cohort(300), rules(CONFOUNDED)
    whole = lives(some, law, 0, 3)
    half = lives(some._replace(ends=np.full(300, 100)), law, 0, 3)
    early = whole.day < 100
    assert half.day.tolist() == whole.day[early].tolist()
    assert (half.end == np.where(whole.end_day < 100, whole.end, OPEN)).all()


def test_what_a_lead_does_tells_of_its_intensity_and_what_reaches_it_does_not() -> None:
    law, nobody = rules(World()), np.zeros(2_000)
    calm = cohort()._replace(closes=nobody, leaves=nobody)  # nobody comes to an end
    eager = calm._replace(intensity=calm.intensity * 3)
    counts = [np.bincount(lives(one, law, 0, 3).process, minlength=len(PROCESSES)) for one in (calm, eager)]
    exogenous = [
        j for j, process in enumerate(PROCESSES) if process.channel in {"Email", "Events"} and not process.by_lead
    ]
    visits = [j for j, process in enumerate(PROCESSES) if process.by_lead]
    assert counts[0][exogenous].tolist() == counts[1][exogenous].tolist()
    assert (counts[1][visits] > 2 * counts[0][visits]).all()


def test_draws_are_uniform_and_differ_by_person_day_and_purpose() -> None:
    number = np.arange(20_000)
    draws: list[Floats] = [
        uniform(7, number, 1),
        uniform(7, number, 2),
        uniform(8, number, 1),
        uniform(7, number, 1, 1),
    ]
    for one in draws:
        assert np.histogram(one, 10, (0, 1))[0] == pytest.approx(2_000, abs=180)
    correlations = np.corrcoef(draws)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 0.03


def test_poisson_counts_follow_their_mean_and_grow_with_it() -> None:
    u = (np.arange(100_000) + 0.5) / 100_000
    for mean in (0.01, 0.7, 6.0):
        counts = np.array([poisson(mean, one) for one in u])
        assert (counts.mean(), counts.var()) == pytest.approx((mean, mean), rel=0.01)
    assert all(poisson(0.5, one) <= poisson(0.6, one) for one in u[::100])


def test_events_are_written_at_a_second_of_their_day_and_never_after_the_end() -> None:
    company = Company(UNTIL, leads=400, days=120, world=World(harvest=1.0))
    (some,) = company.chapters()
    lived = company.lives(some)
    written = happenings(some, lived, 0, company.seed)
    person = written.events["person"].to_numpy()
    assert (written.events["at"].to_numpy() < written.people["closed"].to_numpy()[person]).all()
    days = set(zip(lived.person.tolist(), lived.process.tolist(), lived.day.tolist(), strict=True))
    done = written.events[written.events["process"] != FORM]
    assert set(zip(done["person"], done["process"], done["at"] // DAY, strict=True)) <= days
    opening = written.events[written.events["process"] == FORM]
    assert opening["at"].tolist() == written.people["born"].to_numpy()[opening["person"]].tolist()
    closed = written.people["closed"].to_numpy()[lived.end > 0]
    assert (closed // DAY == lived.end_day[lived.end > 0]).all()
