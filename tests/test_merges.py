"""Merges: which records are one lead, as of any moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tables import claim, history, merge, micros, moment, stage, table, touch, version

from attribution.runs import attribute
from features.catalogue import CATALOGUE
from features.history import DAY, NEVER, History
from features.identities import touches_of_leads
from features.lake import Lake
from features.matrix import feature_matrix
from features.merges import ALWAYS, at, tenures
from features.outcomes import open_moments, outcomes_of
from features.reading import read_history
from features.settings import Settings
from features.templates import learned_features
from features.verbs import Moments
from training.snapshots import labelled, snapshots

Row = dict[str, Any]
FEATURES = tuple(feature for feature in CATALOGUE if not feature.each)


def whose(*merges: Row) -> dict[str, list[tuple[float, str]]]:
    """Return from which day on each record is whose; −1 stands for always."""
    told: dict[str, list[tuple[float, str]]] = {}
    for row in tenures(table("identities", merges)).to_pylist():
        day = -1 if row["since"] == ALWAYS else (row["since"] - micros(0)) / DAY
        mine = told.setdefault(row["record"], [])
        mine += [(day, row["lead_id"])] if not mine or mine[-1][1] != row["lead_id"] else []
    return told


# Whose a record is


def test_a_record_is_its_own_lead_until_it_is_merged() -> None:
    assert whose(merge("b", "a", 5)) == {"b": [(-1, "b"), (5, "a")], "a": [(-1, "a")]}


def test_chains_are_followed_in_whichever_order_they_were_made() -> None:
    assert whose(merge("a", "b", 3), merge("b", "c", 5))["a"] == [(-1, "a"), (3, "b"), (5, "c")]
    assert whose(merge("a", "b", 5), merge("b", "c", 3))["a"] == [(-1, "a"), (5, "c")]


def test_an_unmerged_record_takes_along_what_was_merged_into_it() -> None:
    told = whose(merge("a", "b", 1), merge("b", "c", 3), merge("b", "b", 5))
    assert told == {
        "a": [(-1, "a"), (1, "b"), (3, "c"), (5, "b")],
        "b": [(-1, "b"), (3, "c"), (5, "b")],
        "c": [(-1, "c")],
    }


def test_the_latest_row_about_a_record_counts() -> None:
    assert whose(merge("a", "b", 1), merge("a", "c", 5))["a"] == [(-1, "a"), (1, "b"), (5, "c")]


def test_of_two_rows_at_one_moment_the_one_whose_lead_sorts_last_counts() -> None:
    for rows in ([merge("a", "b", 1), merge("a", "c", 1)], [merge("a", "c", 1), merge("a", "b", 1)]):
        assert whose(*rows)["a"] == [(-1, "a"), (1, "c")]


def test_in_a_circle_the_newest_row_names_the_survivor() -> None:
    two = whose(merge("a", "b", 1), merge("b", "a", 5))
    assert two == {"a": [(-1, "a"), (1, "b"), (5, "a")], "b": [(-1, "b"), (5, "a")]}
    three = whose(merge("a", "b", 1), merge("b", "c", 2), merge("c", "a", 3), merge("d", "c", 9))
    assert three["d"] == [(-1, "d"), (9, "a")]
    assert three["b"] == [(-1, "b"), (2, "c"), (3, "a")]


def test_in_a_circle_made_at_one_moment_the_row_whose_duplicate_sorts_last_names_it() -> None:
    assert whose(merge("b", "a", 1), merge("a", "b", 1)) == {"a": [(-1, "a")], "b": [(-1, "b"), (1, "a")]}


NAMES = st.sampled_from("abcd")
MERGES = st.lists(st.builds(merge, NAMES, NAMES, st.integers(1, 9)), max_size=7)


def plainly(merges: list[Row], record: str, day: float) -> str:
    """Return whose a record is as of a day, as the rules are written."""
    rows = sorted((m["observed_at"], m["duplicate_id"], m["lead_id"]) for m in merges if m["observed_at"] < moment(day))
    latest: dict[str, tuple[Any, str, str]] = {}
    for on, duplicate, lead in rows:
        if duplicate not in latest or latest[duplicate][2] != lead:
            latest[duplicate] = (on, duplicate, lead)
    into = {duplicate: row for duplicate, row in latest.items() if row[2] != duplicate}
    path = [record]
    while path[-1] in into:
        path.append(into[path[-1]][2])
        if path[-1] in path[:-1]:
            return max(into[member] for member in path[path.index(path[-1]) :])[2]
    return path[-1]


@settings(deadline=None)
@given(MERGES, st.randoms())
def test_a_record_is_whose_the_rules_say_on_every_day_in_any_order_of_rows(merges: list[Row], dice: Any) -> None:
    every = dice.sample(merges, len(merges))
    for day in range(11):
        told = at(tenures(table("identities", every)), micros(day)).to_pylist()
        mine = {row["record"]: row["lead_id"] for row in told}
        assert [mine.get(record, record) for record in "abcd"] == [plainly(merges, record, day) for record in "abcd"]


def test_thousands_of_duplicates_of_one_lead_are_quick() -> None:
    rows = [merge(f"d{i:05}", "a", 1 + i / 5000) for i in range(5000)]
    assert len(tenures(table("identities", rows))) == 10_001


# By hand. Ada has a touch on day 1, a visit; her duplicate Ida, created on day 2, two on days 3 and 4, one of them a
# click. They are merged on day 6.
LEADS = [version("ada", 0, {"seats": 5}), version("ida", 2, {"seats": 40}, created=2), version("zoe", 0)]
TOUCHES = [touch("ada", 1), touch("ida", 3), touch("ida", 4, "click", "Direct"), touch("zoe", 2)]
MERGED = [merge("ida", "ada", 6)]
UNMERGED = [*MERGED, merge("ida", "ida", 9)]


def live(seen: History, day: float) -> list[str]:
    """Return the leads that are open as of a day."""
    everyone = np.arange(len(seen.lead_ids))
    moments = Moments(seen, everyone, np.full(len(everyone), micros(day)))
    opened = open_moments(seen, outcomes_of(seen, Settings().goal), moments)
    return [seen.lead_ids[lead] for lead in opened.lead]


def rows_of(seen: History, day: float, *, ago: float = 0) -> dict[str, list[Any]]:
    """Return the feature values of every lead that is open as of a day, then or some days before."""
    leads = live(seen, day)
    features = [*FEATURES, *learned_features(seen, micros(day), [line for line in CATALOGUE if line.each == "stage"])]
    where = Moments(seen, seen.positions(leads, micros(day)), np.full(len(leads), micros(day - ago)))
    return dict(zip(leads, feature_matrix(features, where).tolist(), strict=True))


def touched(seen: History, day: float) -> dict[str, float]:
    """Return how many touches every open lead has had as of a day."""
    return {lead: row[[f.name for f in FEATURES].index("touches")] for lead, row in rows_of(seen, day).items()}


def test_before_a_merge_there_are_two_leads_and_after_it_one_with_the_touches_of_both() -> None:
    seen = history(LEADS, TOUCHES, identities=MERGED)
    assert touched(seen, 5) == {"ada": 1, "ida": 2, "zoe": 1}
    assert touched(seen, 6) == {"ada": 1, "ida": 2, "zoe": 1}  # at the moment itself it is not known yet
    assert touched(seen, 6.001) == {"ada": 3, "zoe": 1}


def test_after_an_unmerge_there_are_two_leads_again() -> None:
    seen = history(LEADS, TOUCHES, identities=UNMERGED)
    assert touched(seen, 9) == {"ada": 3, "zoe": 1}
    assert touched(seen, 9.001) == {"ada": 1, "ida": 2, "zoe": 1}


def test_a_touch_of_the_duplicate_after_the_merge_is_the_survivors_when_it_is_known() -> None:
    seen = history(LEADS, [*TOUCHES, touch("ida", 7, received=8)], identities=MERGED)
    assert [touched(seen, day)["ada"] for day in (6.5, 7.5, 8.5)] == [3, 3, 4]


def test_the_attributes_observed_last_count_whosever_they_were() -> None:
    seen = history(LEADS, TOUCHES, identities=UNMERGED)
    seats = learned_features(seen, micros(9))[0]
    ada = [seen.positions(["ada"], micros(day))[0] for day in (6, 7, 10)]
    moments = Moments(seen, np.array(ada), np.array([micros(day) for day in (6, 7, 10)]))
    assert (seats.name, feature_matrix([seats], moments)[:, 0].tolist()) == ("seats", [5, 40, 5])


def test_a_survivor_was_created_when_it_was_and_not_when_its_duplicate_was() -> None:
    seen = history(LEADS, TOUCHES, identities=[merge("ada", "ida", 6)])
    assert seen.created[seen.positions(["ida"], micros(7))].tolist() == [micros(2)]
    assert live(seen, 1) == ["ada", "zoe"]


def test_a_close_of_the_duplicate_closes_the_survivor_from_the_merge_on() -> None:
    seen = history(LEADS, TOUCHES, [stage("ida", 5, "won")], MERGED)
    assert [live(seen, day) for day in (4, 5.5, 7)] == [["ada", "ida", "zoe"], ["ada", "zoe"], ["zoe"]]


def test_what_both_records_hold_under_two_event_ids_counts_once() -> None:
    twice = [touch("ada", 1), touch("ada", 1, received=2), touch("ida", 1), touch("ida", 3), touch("ida", 1, "click")]
    assert touched(history(LEADS, twice, identities=MERGED), 7)["ada"] == 4  # two visits on day 1, one on 3, a click


def test_a_touch_that_the_survivor_heard_of_late_is_known_from_the_earlier_of_the_two() -> None:
    seen = history(LEADS, [touch("ada", 1, received=8), touch("ida", 1)], identities=UNMERGED)
    assert [touched(seen, day)["ada"] for day in (5, 7, 8.5, 9.5)] == [0, 1, 1, 1]


def test_a_change_of_stage_in_both_records_counts_once() -> None:
    stages = [stage("ada", 3, "mql"), stage("ida", 3, "mql"), stage("ida", 4, "sql")]
    seen = history(LEADS, TOUCHES, stages, MERGED)
    changes = [f for f in CATALOGUE if f.name == "stage_changes"]
    where = Moments(seen, seen.positions(["ada"], micros(7)), np.array([micros(7)]))
    assert feature_matrix(changes, where).tolist() == [[2]]


def test_a_merge_into_a_lead_that_is_not_here_leaves_no_lead() -> None:
    seen = history(LEADS, TOUCHES, identities=[merge("ida", "bob", 6)])
    assert [live(seen, day) for day in (5, 7)] == [["ada", "ida", "zoe"], ["ada", "zoe"]]


def test_after_an_unmerge_a_week_ago_looks_as_if_there_had_been_no_merge() -> None:
    seen = history(LEADS, TOUCHES, identities=UNMERGED)
    plain = history(LEADS, TOUCHES)
    for lead in ("ada", "ida"):
        place, same = seen.positions([lead], micros(10))[0], plain.positions([lead], micros(10))[0]
        events = [h.touches.of_leads(at, at + 1) for h, at in ((seen, place), (plain, same))]
        assert events[0].known.tolist() == events[1].known.tolist()


def test_a_record_that_returns_is_not_known_to_be_a_leads_while_it_was_anothers() -> None:
    rows = [merge("ida", "ada", 4.5), merge("ida", "zoe", 6), merge("ida", "ada", 8)]
    seen = history(LEADS, TOUCHES, identities=rows)
    assert [touched(seen, day) for day in (5, 7, 9)] == [
        {"ada": 3, "zoe": 1},
        {"ada": 1, "zoe": 3},
        {"ada": 3, "zoe": 1},
    ]
    undone = [merge("ida", "ada", 4.5), merge("ada", "zoe", 6), merge("ada", "ada", 8)]
    seen = history(LEADS, TOUCHES, identities=undone)
    assert [touched(seen, day) for day in (5, 7, 9)] == [{"ada": 3, "zoe": 1}, {"zoe": 4}, {"ada": 3, "zoe": 1}]


# Training


def labels(seen: History, before: float) -> list[tuple[str, float, float]]:
    how = Settings.model_validate({"goal": {"horizon_days": 10}, "snapshots": {"ages_days": [3, 5, 7]}})
    rows = labelled(seen, how, micros(before))
    days = (rows.moments.as_of - micros(0)) / DAY
    return [(seen.lead_ids[i], at, y) for i, at, y in zip(rows.moments.lead, days, rows.labels, strict=True)]


def test_a_duplicate_has_no_snapshot_after_the_merge() -> None:
    seen = history(LEADS, TOUCHES, identities=UNMERGED)
    how = Settings.model_validate({"snapshots": {"ages_days": [1, 3, 5, 7.5]}})
    taken = snapshots(seen, how.goal, how.snapshots, micros(30))
    names = [(seen.lead_ids[lead], (day - micros(0)) / DAY) for lead, day in zip(taken.lead, taken.as_of, strict=True)]
    assert [name for name in sorted(names) if name[0] == "ida"] == [("ida", 3), ("ida", 5), ("ida", 9.5)]
    assert [name for name in sorted(names) if name[0] == "ada"] == [("ada", 1), ("ada", 3), ("ada", 5), ("ada", 7.5)]


def test_what_became_of_a_duplicate_is_what_became_of_the_survivor() -> None:
    won = [stage("ada", 8, "won")]
    assert labels(history(LEADS[:2], TOUCHES, won, MERGED), 30) == [
        ("ada", 3, 1), ("ada", 5, 1), ("ada", 7, 1), ("ida", 5, 1),
    ]  # fmt: skip
    assert [row for row in labels(history(LEADS[:2], TOUCHES, won), 30) if row[0] == "ida"] == [
        ("ida", 5, 0), ("ida", 7, 0), ("ida", 9, 0),
    ]  # fmt: skip


def test_labels_known_before_a_merge_do_not_know_of_it() -> None:
    won = [stage("ada", 8, "won")]
    seen = history(LEADS[:2], TOUCHES, won, [merge("ida", "ada", 25)])
    assert [row for row in labels(seen, 25) if row[0] == "ida"] == [("ida", 5, 0), ("ida", 7, 0), ("ida", 9, 0)]
    assert [row for row in labels(seen, 26) if row[0] == "ida"] == [("ida", 5, 1), ("ida", 7, 1)]


def test_names_are_counted_by_leads_as_they_were_known_then() -> None:
    leads = [version(f"lead-{i:02}", 0) for i in range(20)]
    touches = [touch(f"lead-{i:02}", 1, "click") for i in range(20)]
    seen = history(leads, touches, identities=[merge("lead-01", "lead-00", 5), merge("lead-01", "lead-01", 9)])
    found = [[f.name for f in learned_features(seen, micros(day)) if f.name == "click_touches"] for day in (4, 7, 10)]
    assert found == [["click_touches"], [], ["click_touches"]]


# Properties

PEOPLE = ("ada", "bob", "cem")
WHO, DAYS = st.sampled_from(PEOPLE), st.integers(0, 20)
EVENTS = st.lists(
    st.builds(
        lambda lead, day, late, device: touch(lead, day, received=day + late, anonymous=device),
        st.none() | WHO, DAYS, st.integers(0, 5), st.sampled_from(["a", "b"]),
    ),
    max_size=8,
)  # fmt: skip
CHANGES = st.lists(st.builds(stage, WHO, DAYS, st.sampled_from(["mql", "won"])), max_size=3)
VERSIONS = [version("ada", 0), version("bob", 2, created=2), version("cem", 4, created=4), version("bob", 9, created=2)]
IDENTITIES = st.lists(
    st.builds(merge, WHO, WHO, DAYS) | st.builds(claim, st.sampled_from(["a", "b"]), WHO, DAYS), max_size=4
)


@settings(deadline=None, max_examples=60)
@given(EVENTS, CHANGES, IDENTITIES, WHO, WHO, st.integers(0, 9), st.integers(10, 15))
def test_a_merge_and_its_unmerge_change_nothing_as_of_before_or_after_them(
    touches: list[Row], stages: list[Row], identities: list[Row], one: str, other: str, merged: int, unmerged: int
) -> None:
    assume(not any(row.get("duplicate_id") == one for row in identities))  # an unmerge undoes every merge of a record
    both = [*identities, merge(one, other, merged), merge(one, one, unmerged)]
    plain, undone = history(VERSIONS, touches, stages, identities), history(VERSIONS, touches, stages, both)
    for day in (merged, unmerged + 0.001, 30):
        np.testing.assert_equal(rows_of(undone, day), rows_of(plain, day))
        np.testing.assert_equal(rows_of(undone, day, ago=7), rows_of(plain, day, ago=7))  # what a trend compares with
        names = [learned_features(seen, micros(day)) for seen in (plain, undone)]
        assert names[0] == names[1]


@settings(deadline=None, max_examples=60)
@given(EVENTS, CHANGES, IDENTITIES, st.integers(1, 20), EVENTS, IDENTITIES)
def test_the_future_changes_nothing(
    touches: list[Row], stages: list[Row], identities: list[Row], cut: int, more: list[Row], named: list[Row]
) -> None:
    so_far = [row for row in identities if row["observed_at"] < moment(cut)]
    since = [row for row in named if row["observed_at"] >= moment(cut)]
    known = [row for row in touches if row["received_at"] < moment(cut)]
    later = [row for row in more if row["received_at"] >= moment(cut)]
    before = history(VERSIONS, known, stages, so_far)
    after = history(VERSIONS, known + later, stages, so_far + since)
    np.testing.assert_equal(rows_of(after, cut), rows_of(before, cut))
    assert learned_features(after, micros(cut)) == learned_features(before, micros(cut))
    assert labels(after, cut) == labels(before, cut)


@settings(deadline=None, max_examples=40)
@given(EVENTS, CHANGES, IDENTITIES, st.randoms())
def test_the_order_of_rows_changes_nothing(
    touches: list[Row], stages: list[Row], identities: list[Row], dice: Any
) -> None:
    seen = history(VERSIONS, touches, stages, identities)
    dice.shuffle(touches)
    dice.shuffle(identities)
    for day in (5, 21):
        np.testing.assert_equal(rows_of(history(VERSIONS, touches, stages, identities), day), rows_of(seen, day))


@settings(deadline=None, max_examples=40)
@given(EVENTS, IDENTITIES, DAYS)
def test_no_touch_is_counted_twice(touches: list[Row], identities: list[Row], day: int) -> None:
    seen = history(VERSIONS, touches, identities=identities)
    assert sum(touched(seen, day).values()) <= sum(row["received_at"] < moment(day) for row in touches)


def lake_of(folder: Path, touches: list[Row], stages: list[Row], identities: list[Row]) -> Lake:
    lake = Lake(folder)
    named = {"leads": VERSIONS, "touches": touches, "stages": stages, "identities": identities}
    for name, rows in named.items():
        lake.append(name, table(name, rows))
    return lake


@settings(deadline=None, max_examples=12)
@given(EVENTS, CHANGES, IDENTITIES, st.integers(1, 21))
def test_a_lead_alone_equals_the_lead_in_a_batch_and_attribution_sees_its_touches(
    tmp_path_factory: pytest.TempPathFactory, touches: list[Row], stages: list[Row], identities: list[Row], day: int
) -> None:
    lake = lake_of(tmp_path_factory.mktemp("lake"), touches, stages, identities)
    seen = read_history(lake)
    every = rows_of(seen, day)
    for lead in every:
        np.testing.assert_equal(rows_of(read_history(lake, [lead]), day)[lead], every[lead])
    leads = touches_of_leads(lake, micros(day))[0]["lead_id"].to_pylist()
    assert {lead: leads.count(lead) for lead in every} == touched(seen, day)


def test_a_win_of_a_duplicate_is_credited_to_the_touches_of_both_records_once(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.append("leads", table("leads", LEADS))
    lake.append("touches", table("touches", [*TOUCHES, touch("ada", 3)]))  # Ida's visit on day 3 too
    lake.append("stages", table("stages", [stage("ida", 8, "won"), stage("ada", 8, "won"), stage("ada", 9, "won")]))
    lake.append("identities", table("identities", MERGED))
    answer = attribute(lake, Settings(), moment(20), ["linear"]).summary()
    third = pytest.approx(1 / 3)
    assert {name: row["credit"] for name, row in answer["models"]["linear"].items()} == {
        "Direct": third, "Email": pytest.approx(2 / 3),
    }  # fmt: skip
    assert answer["unattributed"]["credit"] == 0


def test_a_credit_run_as_of_before_a_merge_sees_two_leads(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.append("touches", table("touches", TOUCHES))
    lake.append("stages", table("stages", [stage("ida", 5, "won"), stage("ada", 5, "won")]))
    lake.append("identities", table("identities", UNMERGED))
    closes = []
    for day in (6, 7, 10):
        answer = attribute(lake, Settings(), moment(day), ["last"]).summary()["models"]["last"]
        closes.append(sum(row["credit"] for row in answer.values()))
    assert closes == [2, 1, 2]


def test_what_a_lead_turned_out_to_be_is_asked_as_of_a_moment() -> None:
    seen = history(LEADS, TOUCHES, identities=UNMERGED)
    first = seen.positions(["ida"], micros(5))
    later = [[seen.lead_ids[i] for i in seen.turned_out(first, micros(day))] for day in (6, 7, 10)]
    assert later == [["ida"], ["ada"], ["ida"]]
    assert seen.turned_out(first, NEVER).tolist() == seen.positions(["ida"], micros(10)).tolist() != first.tolist()


def test_the_callers_tables_are_never_changed() -> None:
    ours = table("identities", UNMERGED)
    tenures(ours)
    assert ours.equals(table("identities", UNMERGED))
    assert isinstance(ours, pa.Table)
