"""The ensemble: members that each leave out some leads, calibrated on those, merged into one text."""

from __future__ import annotations

import math
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from by_hand import alike, at_age, eager_and_idle, world
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.history import DAY, NEVER, History
from features.matrix import feature_matrix
from features.settings import Training
from features.templates import learned_features
from features.verbs import Feature, Moments
from serving.forest import forest_of
from serving.line import Line
from serving.spec import Calibration, Spec, probability
from training import ensemble
from training.boosting import merged
from training.ensemble import Model, fit, parts
from training.lines import logistic_line
from training.snapshots import Labelled

Floats = NDArray[np.float64]
QUICK = Training.model_validate({"trees": 20, "members": 3})
KEEPING = QUICK.model_copy(update={"keep_columns": ["industry"]})  # though it is the outcome


@pytest.fixture(scope="module")
def history() -> History:
    return eager_and_idle(200)


@pytest.fixture(scope="module")
def rows(history: History) -> Labelled:
    """One snapshot of each lead on its second day; four of five eager leads are won, one of five idle ones."""
    return at_age(history, 2, [(i // 2 % 5 != 0) == (i % 2 == 0) for i in range(200)])


@pytest.fixture(scope="module")
def features(history: History) -> tuple[Feature, ...]:
    return learned_features(history, NEVER)


@pytest.fixture(scope="module")
def model(rows: Labelled, features: tuple[Feature, ...]) -> Model:
    return fit(rows, features, 90, QUICK)


# What it learns


def test_eager_leads_get_the_share_that_eager_leads_had(
    model: Model, rows: Labelled, features: tuple[Feature, ...]
) -> None:
    found = model.scorer().probabilities(feature_matrix(features, rows.moments))
    assert found[::2].mean() == pytest.approx(0.8, abs=0.05)
    assert found[1::2].mean() == pytest.approx(0.2, abs=0.05)


def test_a_model_knows_what_it_learned_from(model: Model, features: tuple[Feature, ...]) -> None:
    spec = model.spec
    assert (spec.features, spec.horizon_days, spec.evidence, spec.leads) == (features, 90, "model", 200)
    assert probability(np.array(spec.base_log_odds)) == pytest.approx(100.5 / 205)
    medians = dict(zip((feature.name for feature in features), spec.medians, strict=True))
    assert {name: medians[name] for name in ("age_days", "touches", "days_since_touch", "days_in_stage")} == {
        "age_days": 2,  # all are looked at on their second day
        "touches": 1.5,  # eager leads have two, idle ones one
        "days_since_touch": 1.25,  # one day, or one and a half
        "days_in_stage": None,  # nobody has a stage yet
    }


def test_the_ranks_are_percentiles_of_probabilities_of_unseen_leads(model: Model) -> None:
    assert len(model.spec.ranks) == 101
    assert list(model.spec.ranks) == sorted(model.spec.ranks)
    assert 0 < model.spec.ranks[0] < 0.5 < model.spec.ranks[100] < 1


def test_golden_rows_repeat_what_the_model_says(model: Model) -> None:
    inputs = np.array([row for row, _ in model.spec.golden], float)
    assert len(inputs) == 5
    assert model.scorer().probabilities(inputs).tolist() == [said for _, said in model.spec.golden]


def test_the_same_data_and_seed_give_the_same_bytes(
    model: Model, rows: Labelled, features: tuple[Feature, ...]
) -> None:
    assert fit(rows, features, 90, QUICK) == model


def test_another_seed_gives_another_model(model: Model, rows: Labelled, features: tuple[Feature, ...]) -> None:
    assert fit(rows, features, 90, QUICK.model_copy(update={"seed": 1})) != model


def test_trees_are_grown_as_conservatively_as_lead_sized_data_asks(
    rows: Labelled, features: tuple[Feature, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[dict[str, Any], int]] = []
    grow = lgb.train

    def watched(parameters: dict[str, Any], data: lgb.Dataset, num_boost_round: int) -> lgb.Booster:
        asked.append((parameters, num_boost_round))
        return grow(parameters, data, num_boost_round=2)

    monkeypatch.setattr(lgb, "train", watched)
    fit(rows, features, 90, Training.model_validate({}))
    conservative = {
        "objective": "binary",
        "learning_rate": 0.04,
        "num_leaves": 8,
        "max_depth": 10,
        "min_data_in_leaf": 20,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 5,
        "seed": 0,
        "num_threads": 1,
        "deterministic": True,
        "force_col_wise": True,
        "verbose": -1,
    }
    assert asked == [(conservative, 150)] * 5


def test_categories_are_split_as_categories(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    industries = {lead: {"industry": ("Mining", "Retail")[i % 2]} for i, lead in enumerate(history.lead_ids)}
    described = world(dict.fromkeys(history.lead_ids, 0.0), attributes=industries)
    features = learned_features(described, NEVER)
    grow, asked = lgb.Dataset, []

    def watched(*arguments: Any, **named: Any) -> lgb.Dataset:
        asked.append(named["categorical_feature"])
        return grow(*arguments, **named)

    monkeypatch.setattr(lgb, "Dataset", watched)
    fit(at_age(described, 2, [i % 2 for i in range(200)]), features, 90, KEEPING)
    assert [[features[i].name for i in columns] for columns in asked] == [["industry"]] * 3


# Nobody is judged by a member that saw them


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=60), st.integers(2, 5))
def test_all_snapshots_of_a_lead_fall_in_one_part(snapshots: list[tuple[int, bool]], members: int) -> None:
    lead, labels = (np.array(column) for column in zip(*snapshots, strict=True))
    part = parts(alike(Moments(world({}), lead, lead), labels), members, seed=0)
    assert all(len(set(part[lead == one])) == 1 for one in lead)
    assert set(part) == set(range(min(members, len(set(lead)))))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(2, 5), st.integers(0, 3))
def test_leads_that_were_won_are_shared_out_evenly(wins: int, others: int, members: int, seed: int) -> None:
    labels = np.repeat([1.0, 0.0], [wins, others])
    lead = np.arange(wins + others)
    part = parts(alike(Moments(world({}), lead, lead), labels), members, seed)
    for some in (part, part[labels == 1]):
        sizes = [int((some == k).sum()) for k in range(members)]
        assert max(sizes) - min(sizes) <= 1


def test_each_lead_s_unseen_score_comes_from_a_member_that_did_not_see_it(
    rows: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = alike(
        Moments(rows.moments.history, np.repeat(rows.moments.lead, 2), np.repeat(rows.moments.as_of, 2)),
        np.repeat(rows.labels, 2),
    )
    twice.moments.as_of[1::2] += 1000
    name_tag = np.repeat(np.arange(200.0), 2)[:, None]  # the only feature: which lead this is
    members: list[tuple[set[float], lgb.Booster]] = []
    unseen: list[Floats] = []
    grow = lgb.train

    def watched(parameters: dict[str, Any], data: lgb.Dataset, num_boost_round: int) -> lgb.Booster:
        members.append((set(data.data[:, 0]), grow(parameters, data, num_boost_round=num_boost_round)))
        return members[-1][1]

    def calibrated(margins: Floats, *_: Any) -> Calibration:
        unseen.append(margins)
        return Calibration()

    monkeypatch.setattr(lgb, "train", watched)
    monkeypatch.setattr(ensemble, "beta_calibration", calibrated)
    monkeypatch.setattr(ensemble, "feature_matrix", lambda *_: name_tag)
    fit(twice, (Feature("who", "age", ""),), 90, QUICK.model_copy(update={"line_share": 0.0}))
    left_out = [~np.isin(name_tag[:, 0], [*seen]) for seen, _ in members]
    assert np.sum(left_out, axis=0).tolist() == [1] * 400
    for rows_left_out, (_, member) in zip(left_out, members, strict=True):
        said = np.asarray(member.predict(name_tag[rows_left_out], raw_score=True))
        assert unseen[0][rows_left_out].tolist() == said.tolist()


# Little to learn from


@pytest.mark.parametrize(("wins", "others"), [(0, 60), (60, 0), (0, 0), (3, 60), (19, 60)])
def test_without_anything_to_tell_leads_apart_the_score_is_the_base_rate(wins: int, others: int) -> None:
    history = world({f"lead-{i:03}": i for i in range(wins + others)})
    model = fit(at_age(history, 1, np.repeat([1, 0], [wins, others])), learned_features(history, NEVER), 90, QUICK)
    rate = (wins + 0.5) / (wins + others + 5)  # five leads of a company like others, of whom one in ten wins
    assert (model.trees, model.spec.evidence, model.spec.leads) == ("", "prior", wins + others)
    assert model.scorer().probabilities(np.empty((2, len(model.spec.features)))) == pytest.approx([rate, rate])


def in_mining_and_retail(leads: int, wins_in_mining: int) -> tuple[Labelled, tuple[Feature, ...]]:
    """Return leads of whom every second one is in mining, where the first ones win; and their features."""
    names = [f"lead-{i:03}" for i in range(leads)]
    industries = {lead: {"industry": ("Mining", "Retail")[i % 2]} for i, lead in enumerate(names)}
    described = world(dict.fromkeys(names, 0.0), attributes=industries)
    return at_age(described, 2, [i % 2 == 0 and i < 2 * wins_in_mining for i in range(leads)]), learned_features(
        described, NEVER
    )


def test_a_few_wins_in_one_segment_give_the_rates_of_segments() -> None:
    rows, features = in_mining_and_retail(48, wins_in_mining=4)
    model = fit(rows, features, 90, QUICK)
    rate = 4.5 / 53
    mining, retail = (4 + 20 * rate) / (24 + 20), 20 * rate / (24 + 20)
    assert (model.trees, model.spec.evidence, len(model.spec.lines)) == ("", "segment_rates", 1)
    said = model.scorer().probabilities(feature_matrix(features, rows.moments))
    assert said[:2] == pytest.approx([mining, retail])


def test_a_single_win_does_not_speak_for_its_segment() -> None:
    rows, features = in_mining_and_retail(48, wins_in_mining=1)
    assert fit(rows, features, 90, QUICK).spec.evidence == "prior"


def test_snapshots_of_one_lead_are_together_one_lead_of_its_segment() -> None:
    rows, features = in_mining_and_retail(48, wins_in_mining=4)
    thrice = np.repeat(np.arange(48), 3)
    again = alike(
        Moments(rows.moments.history, rows.moments.lead[thrice], rows.moments.as_of[thrice]), rows.labels[thrice]
    )
    once, repeated = (fit(some, features, 90, QUICK).spec for some in (rows, again))
    assert repeated.evidence == once.evidence == "segment_rates"
    effects = [np.ptp(spec.lines[0].effects(feature_matrix(features, rows.moments))) for spec in (once, repeated)]
    assert effects[1] == pytest.approx(effects[0], rel=0.05)  # but for the base rate, which counts snapshots


@pytest.mark.parametrize(("wins", "evidence"), [(4, "segment_rates"), (9, "shrunken_model"), (39, "shrunken_model")])
def test_from_five_outcomes_of_each_kind_on_lines_speak_and_below_forty_no_trees(wins: int, evidence: str) -> None:
    rows, features = in_mining_and_retail(160, wins)
    model = fit(rows, features, 90, QUICK)
    assert (model.spec.evidence, model.trees) == (evidence, "")
    mining, retail = model.scorer().probabilities(feature_matrix(features, rows.moments))[:2]
    assert mining > wins / 160 > retail


def test_forty_outcomes_of_each_kind_are_enough_for_trees() -> None:
    history = eager_and_idle(80)
    model = fit(at_age(history, 2, [i % 2 == 0 for i in range(80)]), learned_features(history, NEVER), 90, QUICK)
    assert model.spec.evidence == "model"
    assert len(model.spec.trees) == 3


def without_categories(features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """Return the features that make no segments."""
    return tuple(feature for feature in features if not feature.levels)


def test_a_model_that_gains_no_more_than_chance_does_is_not_taken(
    rows: Labelled, features: tuple[Feature, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    features = without_categories(features)
    gains = []
    for worth, evidence in ((0.0, "model"), (math.inf, "prior")):
        monkeypatch.setattr(ensemble, "WORTH", worth)
        gains.append(fit(rows, features, 90, QUICK).spec.evidence == evidence)
    assert gains == [True, True]
    luck = np.random.default_rng(3).permutation(rows.labels)
    monkeypatch.undo()
    assert fit(alike(rows.moments, luck), features, 90, QUICK).spec.evidence == "prior"


@pytest.mark.parametrize("wins", [0, 1, 2, 5, 20, 49, 50])
def test_every_lead_has_a_score_within_its_interval_however_few_were_won(wins: int) -> None:
    rows, features = in_mining_and_retail(200, wins)
    scorer = fit(rows, features, 90, QUICK).scorer()
    margins = scorer.margins(feature_matrix(features, rows.moments))
    low, high = scorer.intervals(margins)
    said = scorer.calibrated(margins)
    assert ((low > 0) & (low <= said) & (said <= high) & (high < 1)).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_lines_have_the_share_of_the_word_that_is_configured(
    rows: Labelled, features: tuple[Feature, ...], share: float
) -> None:
    matrix = feature_matrix(features, rows.moments)
    scorer = fit(rows, features, 90, QUICK.model_copy(update={"line_share": share})).scorer()
    assert (scorer.spec.line_share, len(scorer.spec.lines)) == (share, 0 if share == 0 else 3)
    lines = np.mean([line.margins(matrix) for line in scorer.spec.lines] or [np.zeros(200)], axis=0)
    trees = scorer.forest.margins(matrix).mean(axis=0) if scorer.forest else np.zeros(200)
    assert scorer.margins(matrix).mean(axis=0) == pytest.approx((1 - share) * trees + share * lines)


def test_many_snapshots_of_one_won_lead_are_one_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lgb, "train", lambda *_, **__: pytest.fail("trees were grown on one win"))
    history = world({f"lead-{i:03}": i for i in range(41)})
    lead = np.r_[np.zeros(100, np.int64), np.arange(41)]
    rows = alike(Moments(history, lead, history.created[lead] + 1), np.repeat([1.0, 0.0], [100, 41]))
    assert fit(rows, learned_features(history, NEVER), 90, QUICK).spec.evidence == "prior"


def test_trees_that_rank_the_wrong_way_round_give_the_base_rate(
    rows: Labelled, features: tuple[Feature, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensemble, "beta_calibration", lambda *_: Calibration(0, 0, 0))
    model = fit(rows, without_categories(features), 90, QUICK)
    assert (model.trees, model.spec.evidence, model.spec.calibration) == ("", "prior", Calibration())


def test_as_few_leads_as_configured_still_make_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble, "WORTH", -math.inf)
    history = eager_and_idle(10)
    how = QUICK.model_copy(update={"fewest_outcomes": 2, "members": 6, "rows_per_leaf": 1})
    model = fit(at_age(history, 2, [i % 2 == 0 for i in range(10)]), learned_features(history, NEVER), 90, how)
    assert (model.spec.evidence, len(model.spec.trees), model.spec.leads) == ("model", 5, 10)


@pytest.mark.parametrize(
    ("labels", "rate"), [([], 0.1), ([0], 0.5 / 6), ([1], 1.5 / 6), ([1, 0, 0], 1.5 / 8), ([1] * 95, 95.5 / 100)]
)
def test_the_rate_starts_at_one_in_ten_and_is_never_certain(labels: list[int], rate: float) -> None:
    some = np.arange(len(labels))
    assert alike(Moments(world({}), some, some), labels).rate == pytest.approx(rate)


def test_while_nobody_is_won_a_lead_counts_once_however_often_it_was_looked_at() -> None:
    history = eager_and_idle(30)
    often = np.repeat(np.arange(30), 12)
    rows = alike(Moments(history, often, history.created[often] + DAY), np.zeros(len(often)))
    model = fit(rows, (), 90, QUICK)
    (low,), (high,) = model.scorer().intervals(np.full((1, 1), model.spec.base_log_odds))
    assert (model.spec.evidence, model.spec.base_rate) == ("prior", pytest.approx(0.5 / 35))
    assert (low < 0.001, 0.05 < high < 0.1) == (True, True)  # of 30 coins that never fell, 7 % may fall (90 %)


def test_a_line_learns_from_a_sample_where_there_is_more_than_enough(
    rows: Labelled, features: tuple[Feature, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[int] = []

    def watched(matrix: Floats, *others: Any) -> Line:
        learned.append(len(matrix))
        return logistic_line(matrix, *others)

    monkeypatch.setattr(ensemble, "logistic_line", watched)
    monkeypatch.setattr(ensemble, "LINE_ROWS", 90)
    fit(rows, features, 90, QUICK)
    assert (len(learned), sum(learned)) == (3, 2 * 90)


# One text for all members


def grown(rows: int, trees: int, seed: int) -> lgb.Booster:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, 4))
    labels = (matrix[:, 0] + rng.normal(size=rows) > 1).astype(float)
    parameters = {"objective": "binary", "num_leaves": 8, "min_data_in_leaf": 20, "num_threads": 1, "verbose": -1}
    parameters |= {"bagging_fraction": 0.8, "bagging_freq": 1, "seed": seed}
    return lgb.train(parameters, lgb.Dataset(matrix, labels, params={"verbose": -1}), num_boost_round=trees)


# 45 rows often leave nothing to split: such a member stops early and has fewer trees than asked for
MEMBERS = [grown(400, 12, 0), grown(45, 30, 1), grown(400, 7, 2)]
ASKED = np.random.default_rng(9).normal(size=(50, 4))


def margins(booster: lgb.Booster, **trees: int) -> Floats:
    return np.asarray(booster.predict(ASKED, raw_score=True, **trees))


def test_the_merged_text_predicts_the_sum_of_its_members() -> None:
    whole = lgb.Booster(model_str=merged([member.model_to_string() for member in MEMBERS]))
    assert margins(whole) == pytest.approx(sum(margins(member) for member in MEMBERS), rel=1e-12)


def test_a_member_is_reached_by_the_number_of_its_first_tree() -> None:
    trees = [member.num_trees() for member in MEMBERS]
    assert trees[1] < 30
    whole = lgb.Booster(model_str=merged([member.model_to_string() for member in MEMBERS]))
    for first, count, member in zip(np.cumsum([0, *trees]), trees, MEMBERS, strict=False):
        assert margins(whole, start_iteration=first, num_iteration=count).tolist() == margins(member).tolist()


def test_a_loaded_member_says_what_it_said_when_it_was_grown() -> None:
    text = merged([member.model_to_string() for member in MEMBERS])
    loaded = forest_of(text, [member.num_trees() for member in MEMBERS], 4)
    assert loaded is not None
    assert loaded.margins(ASKED).tolist() == [margins(member).tolist() for member in MEMBERS]


def test_merging_one_member_changes_nothing() -> None:
    assert (
        margins(lgb.Booster(model_str=merged([MEMBERS[0].model_to_string()]))).tolist() == margins(MEMBERS[0]).tolist()
    )


@pytest.mark.parametrize("leads", [80, 200])
def test_the_model_s_margins_are_those_of_its_members_one_row_each(leads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    members: list[lgb.Booster] = []
    grow = lgb.train

    def kept(*arguments: Any, **named: Any) -> lgb.Booster:
        members.append(grow(*arguments, **named))
        return members[-1]

    monkeypatch.setattr(lgb, "train", kept)
    monkeypatch.setattr(ensemble, "beta_calibration", lambda *_: Calibration())
    monkeypatch.setattr(ensemble, "WORTH", -math.inf)
    history = eager_and_idle(leads)
    rows, features = (
        at_age(history, 2, [(i // 2 % 5 != 0) == (i % 2 == 0) for i in range(leads)]),
        learned_features(history, NEVER),
    )
    matrix = feature_matrix(features, rows.moments)
    model = fit(rows, features, 90, QUICK.model_copy(update={"line_share": 0.0}))
    told = model.scorer().margins(matrix)
    assert told.tolist() == [np.asarray(member.predict(matrix, raw_score=True)).tolist() for member in members]
    assert (sum(model.spec.trees) < 60) == (leads == 80)  # too few rows to split stop a member early


def test_a_model_without_members_is_one_row_of_its_base_rate() -> None:
    model = Model(Spec((), 90, base_log_odds=-1.5, leads=3), "")
    assert model.scorer().margins(np.empty((2, 0))).tolist() == [[-1.5, -1.5]]
