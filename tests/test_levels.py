"""Levels: a category with hundreds of levels counts by how many of their leads were won, where that tells something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from by_hand import alike, day, world
from numpy.typing import NDArray
from scipy.optimize import minimize

from features.catalogue import CATALOGUE
from features.history import DAY, History
from features.matrix import feature_matrix
from features.settings import Settings
from features.templates import MANY_LEVELS, MOST_LEVELS, seen_names, written_out
from features.verbs import Feature, Moments
from serving.scorer import save
from serving.spec import probability
from training.ensemble import Model, parts
from training.learning import model_of
from training.levels import SPREADS, level_effects, member_tables, with_levels
from training.snapshots import Labelled, labelled

Floats = NDArray[np.float64]
LEADS, OWNERS = 6_000, 200
SETTINGS = Settings.model_validate({
    "goal": {"horizon_days": 30}, "snapshots": {"ages_days": [2]}, "training": {"trees": 20, "members": 3},
})  # fmt: skip


def company(spread: float) -> tuple[History, Floats]:
    """Return leads of 200 owners, whose effects on the log-odds have such a standard deviation; and the truth."""
    draws = np.random.default_rng(0)
    effects = draws.normal(0, spread, OWNERS)
    owner, eager = draws.integers(0, OWNERS, LEADS), draws.integers(0, 2, LEADS)
    truth = probability(effects[owner] + eager - 1.5)
    names = [f"lead-{i:04}" for i in range(LEADS)]
    created = {name: i * 300 / LEADS for i, name in enumerate(names)}
    touches = [
        (name, created[name] + 1, ("page_view", "demo_request")[eager[i]], "Email") for i, name in enumerate(names)
    ]
    won = draws.random(LEADS) < truth
    stages = [(name, created[name] + 10, "won" if won[i] else "lost") for i, name in enumerate(names)]
    owners = {name: {"rep": f"rep {owner[i]}"} for i, name in enumerate(names) if i % 50}  # or nobody's
    return world(created, touches, stages, owners), truth


@pytest.fixture(scope="module")
def matters() -> tuple[Model, Moments, Floats]:
    """Return the model of a company whose owners matter, snapshots of all its leads, and the truth of each."""
    history, truth = company(1.0)
    model, _ = model_of(history, SETTINGS, day(400))
    lead = np.arange(LEADS)
    return model, Moments(history, lead, history.created[lead] + 2 * DAY), truth


def regret(model: Model, moments: Moments, truth: Floats) -> float:
    said = model.scorer().probabilities(feature_matrix(model.spec.features, moments))
    return float(np.mean(truth * np.log(truth / said) + (1 - truth) * np.log((1 - truth) / (1 - said))))


def test_who_among_hundreds_of_owners_wins_more_is_learned(
    matters: tuple[Model, Moments, Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, moments, truth = matters
    rep = next(i for i, feature in enumerate(model.spec.features) if feature.name == "rep")
    assert model.spec.coarser == ((rep, MOST_LEVELS),)
    assert len(model.spec.features[rep].levels) > 0.9 * OWNERS  # but those with fewer than 20 leads
    monkeypatch.setattr("training.learning.with_levels", lambda model, *_: model)
    without, _ = model_of(moments.history, SETTINGS, day(400))
    assert regret(model, moments, truth) < 0.3 * regret(without, moments, truth)
    monkeypatch.setattr("training.levels.WORTH", 10_000)  # so much nothing gains
    finer = written_out(seen_names(moments.history, day(400)), CATALOGUE, MANY_LEVELS)
    rows = labelled(moments.history, SETTINGS, day(400))
    assert with_levels(without, rows, finer, SETTINGS.training.seed) is without


def test_owners_who_do_not_matter_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    history, _ = company(0.0)
    found: list[tuple[Model, Model]] = []

    def watched(model: Model, rows: Labelled, finer: Sequence[Feature], seed: int) -> Model:
        found.append((model, with_levels(model, rows, finer, seed)))
        return model

    monkeypatch.setattr("training.learning.with_levels", watched)
    model_of(history, SETTINGS, day(400))
    ((before, after),) = found
    assert after is before


def test_no_member_s_table_knows_an_outcome_of_its_own_part() -> None:
    draws = np.random.default_rng(1)
    lead = np.repeat(np.arange(300), 2)
    rows = alike(Moments(world({}), lead, np.arange(600)), draws.random(600) < 0.3)
    said, part, level = draws.normal(-1, 1, (3, 600)), np.repeat(np.arange(300) % 3, 2), draws.integers(0, 20, 600)
    tables = member_tables(said, rows, part, level, 20)
    for k in range(3):
        other = replace(rows, labels=np.where(part == k, 1 - rows.labels, rows.labels))
        assert [
            same for same in range(3) if (member_tables(said, other, part, level, 20)[same] == tables[same]).all()
        ] == [k]


def test_many_snapshots_of_one_lead_count_as_one() -> None:
    draws = np.random.default_rng(2)
    labels, level, said = draws.random(400) < 0.4, draws.integers(0, 8, 400), draws.normal(-1, 1, (2, 400))
    once = alike(Moments(world({}), np.arange(400), np.arange(400)), labels)
    thrice = Labelled(
        Moments(world({}), np.repeat(np.arange(400), 3), np.arange(1200)), np.repeat(labels, 3), np.ones(1200)
    )
    part = np.arange(400) % 2
    tables = member_tables(said, once, part, level, 8)
    again = member_tables(np.repeat(said, 3, axis=1), thrice, np.repeat(part, 3), np.repeat(level, 3), 8)
    assert again == pytest.approx(tables)


def test_effects_are_the_most_probable_under_their_prior() -> None:
    draws = np.random.default_rng(3)
    level, weights = draws.integers(0, 12, 1200), draws.uniform(0.5, 1.5, 1200)
    log_odds = draws.normal(-1, 1, 1200)
    labels = (draws.random(1200) < probability(log_odds + draws.normal(0, 0.7, 12)[level])).astype(float)

    def lost(effects: Floats, spread: float) -> float:
        z = log_odds + effects[level]
        return float(weights @ (np.logaddexp(0, z) - labels * z) + effects @ effects / 2 / spread**2)

    found = level_effects(log_odds, labels, weights, level, 12)
    most_probable = [
        minimize(lost, np.zeros(12), (spread,), method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-8}).x
        for spread in SPREADS
    ]
    near = [float(np.abs(found - one).max()) for one in most_probable]
    assert min(near) < 1e-3
    assert SPREADS[int(np.argmin(near))] in (0.5, 0.7, 1.0)

    def evidence(effects: Floats, spread: float) -> float:
        p = probability(log_odds + effects[level])
        curvature = np.bincount(level, weights * p * (1 - p)) + 1 / spread**2
        return -lost(effects, spread) - float(np.log(curvature * spread**2).sum()) / 2

    likeliest = np.argmax([evidence(*each) for each in zip(most_probable, SPREADS, strict=True)])
    assert int(np.argmin(near)) == likeliest


def test_levels_that_are_alike_have_no_effects_at_all() -> None:
    level = np.arange(2000) % 20
    labels = (np.arange(2000) // 20 % 4 == 0).astype(float)  # a quarter of each
    assert level_effects(np.full(2000, np.log(1 / 3)), labels, np.ones(2000), level, 20).tolist() == [0] * 20


def test_a_level_that_nobody_has_yet_has_no_effect() -> None:
    said = level_effects(np.zeros(40), np.repeat([1.0, 0.0], 20), np.ones(40), np.repeat([0, 1], 20), 3)
    assert said[0] > 0.5 > -0.5 > said[1]
    assert said[2] == 0


def test_what_is_saved_says_the_same_of_a_lead_alone_and_among_others(
    matters: tuple[Model, Moments, Floats], tmp_path: Path
) -> None:
    model, moments, _ = matters
    scorer = save(tmp_path, model.spec, model.trees)
    assert scorer.spec == model.spec
    matrix = feature_matrix(model.spec.features, moments)[:200]
    together = model.scorer().probabilities(matrix)
    assert [scorer.probabilities(matrix[i : i + 1])[0] for i in range(200)] == together.tolist()
    ((column, coarse),) = model.spec.coarser
    assert max(row[column] or 0 for row, _ in scorer.spec.golden) > coarse  # the copy is tried with finer levels, too


def test_what_is_judged_on_unseen_leads_is_what_the_members_say(matters: tuple[Model, Moments, Floats]) -> None:
    model, moments, _ = matters
    rows = labelled(moments.history, SETTINGS, day(400))
    part, matrix = parts(rows, 3, SETTINGS.training.seed), feature_matrix(model.spec.features, rows.moments)
    said = model.scorer().margins(matrix)[part, np.arange(len(part))]
    assert model.unseen == pytest.approx(
        model.moved[1] ** -1 * (model.spec.calibration.log_odds(said) - model.moved[0])
    )
    column = model.spec.coarser[0][0]  # centred on the leads that each member learned from
    assert [line.effects(matrix)[:, column].mean() for line in model.spec.lines] == pytest.approx([0] * 3, abs=0.005)


def test_ranks_and_base_rates_are_those_of_the_model_that_knows_the_levels(
    matters: tuple[Model, Moments, Floats],
) -> None:
    model, _, _ = matters
    ((column, _),) = model.spec.coarser
    said = probability(model.moved[0] + model.moved[1] * np.asarray(model.unseen))
    assert model.spec.ranks[::50] == pytest.approx(tuple(np.quantile(said, [0, 0.5, 1])))
    assert len(model.spec.facts[column].edges) == len(model.spec.features[column].levels)


def test_the_effect_of_a_level_is_a_reason_like_others_and_they_add_up(matters: tuple[Model, Moments, Floats]) -> None:
    model, moments, _ = matters
    scorer, matrix = model.scorer(), feature_matrix(model.spec.features, moments)
    margins = scorer.margins(matrix)
    effects = scorer.effects(matrix, margins)
    told = scorer.log_odds(margins) - effects.sum(axis=1)
    assert np.ptp(told) < 1e-8
    assert effects[:, model.spec.coarser[0][0]].std() > 0.5


def test_trees_take_levels_that_they_do_not_know_for_the_other_ones(matters: tuple[Model, Moments, Floats]) -> None:
    ((column, other),) = matters[0].spec.coarser
    rows = np.zeros((3, len(matters[0].spec.features)))
    rows[:, column] = [3, 150, np.nan]
    seen = matters[0].spec.as_trees_see(rows)[:, column]
    assert [3, other] == seen[:2].tolist()
    assert np.isnan(seen[2])
    assert rows[1, column] == 150
