"""The forest: what LightGBM says, to the last bit, and its reasons, from tables instead of trees."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.errors import ModelError
from serving.forest import Forest, forest_of
from serving.pieces import DEEPEST
from training.boosting import merged

Floats = NDArray[np.float64]
COLUMNS, CATEGORY = 6, 5  # of which the last is a category
KINDS: dict[str, dict[str, Any]] = {
    "eight leaves": {},
    "thirty-one leaves": {"num_leaves": 31},
    "chains": {"num_leaves": 31, "max_depth": DEEPEST, "min_data_in_leaf": 1},
    "zero is missing": {"zero_as_missing": True},
    "nothing is missing": {"use_missing": False},
    "one leaf": {"min_data_in_leaf": 2000},
}


def rows(count: int = 3000, seed: int = 0) -> Floats:
    """Return numbers with gaps and zeros, and a category of eighty."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(count, COLUMNS)).round(2)
    matrix[:, 1] = rng.poisson(1, count)
    matrix[:, CATEGORY] = rng.integers(0, 80, count)
    matrix[rng.random(matrix.shape) < 0.15] = np.nan
    return matrix


def grown(seed: int = 0, **parameters: Any) -> lgb.Booster:
    """Return twenty trees of which missing values, zeros and the category decide something."""
    matrix, rng = rows(seed=seed), np.random.default_rng(seed + 100)
    odds = 2 * np.isnan(matrix[:, 0]) - np.isnan(matrix[:, 2]) + (matrix[:, 1] == 0) + (matrix[:, CATEGORY] % 7 < 3)
    labels = (rng.random(len(matrix)) < 1 / (1 + np.exp(1 - odds - np.nan_to_num(matrix[:, 3])))).astype(float)
    usual = {"objective": "binary", "num_leaves": 8, "max_depth": DEEPEST, "learning_rate": 0.2, "num_threads": 1}
    data = lgb.Dataset(matrix, labels, categorical_feature=[CATEGORY], params={"verbose": -1, **parameters})
    return lgb.train({**usual, "verbose": -1, "max_cat_to_onehot": 4, **parameters}, data, 20)


def tabulated(members: Sequence[lgb.Booster]) -> Forest:
    """Return the forest of these members."""
    text = merged([member.model_to_string() for member in members])
    found = forest_of(text, [member.num_trees() for member in members], COLUMNS)
    assert found is not None
    return found


MATRIX = rows(seed=7)
BOOSTERS = {kind: grown(**parameters) for kind, parameters in KINDS.items()}
FORESTS = {kind: tabulated([booster]) for kind, booster in BOOSTERS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_forest_says_of_every_row_what_lightgbm_says_to_the_last_bit(kind: str) -> None:
    assert FORESTS[kind].margins(MATRIX)[0].tolist() == BOOSTERS[kind].predict(MATRIX, raw_score=True).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_effects_are_the_shap_values_that_lightgbm_takes_so_long_to_find(kind: str) -> None:
    found = np.asarray(BOOSTERS[kind].predict(MATRIX, pred_contrib=True))
    assert np.abs(FORESTS[kind].effects(MATRIX) - found[:, :-1]).max() < 1e-7
    assert FORESTS[kind].base == pytest.approx(found[0, -1], abs=1e-12)


def test_the_trees_that_are_compared_ask_all_kinds_of_questions() -> None:
    texts = {kind: booster.model_to_string() for kind, booster in BOOSTERS.items()}
    decisions = {
        kind: {
            int(word) for line in text.split("\n") if line.startswith("decision_type=") for word in line[14:].split()
        }
        for kind, text in texts.items()
    }
    assert decisions["eight leaves"] >= {8, 9, 10}  # missing right, a category, missing left
    assert decisions["zero is missing"] & {4, 6} == {4, 6}
    assert decisions["nothing is missing"] & {0, 2}
    assert len(FORESTS["thirty-one leaves"].pieces.member) > 20 < len(FORESTS["chains"].pieces.member)
    assert BOOSTERS["one leaf"].num_trees() == 1


NUMBER = st.one_of(st.floats(), st.integers(-3, 100).map(float), st.sampled_from([0.0, -0.0, 1e-36, -0.5, 1e300]))


@settings(deadline=None, max_examples=200)
@given(st.lists(NUMBER, min_size=COLUMNS, max_size=COLUMNS), st.sampled_from([*KINDS]))
@example([float("inf"), float("-inf"), -0.0, 1e-36, 1e300, 3e9], "eight leaves")
@example([0.0, 0.0, 0.0, 0.0, 0.0, -0.5], "zero is missing")
def test_a_forest_says_what_lightgbm_says_of_any_numbers(row: list[float], kind: str) -> None:
    asked = np.array([row])
    assert FORESTS[kind].margins(asked)[0].tolist() == BOOSTERS[kind].predict(asked, raw_score=True).tolist()


def test_each_member_speaks_for_itself_and_their_mean_has_the_effects() -> None:
    members = [grown(seed) for seed in (1, 2, 3)]
    forest = tabulated(members)
    said = [member.predict(MATRIX, raw_score=True).tolist() for member in members]
    assert forest.margins(MATRIX).tolist() == said
    total = forest.effects(MATRIX).sum(axis=1) + forest.base
    assert total == pytest.approx(np.mean(said, axis=0), abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_who_asks_for_both_is_told_the_margins_of_all_rows_and_the_effects_on_some(kind: str) -> None:
    forest, some = FORESTS[kind], np.array([0, 3, 127, 128, 300, len(MATRIX) - 1])
    margins, effects = forest.told(MATRIX, some)
    assert margins.tolist() == forest.margins(MATRIX).tolist()
    assert effects.tolist() == forest.effects(MATRIX)[some].tolist()
    assert [one.shape for one in forest.told(MATRIX, some[:0])] == [margins.shape, (0, COLUMNS)]


@pytest.mark.parametrize("kind", ["eight leaves", "zero is missing", "chains"])
def test_a_row_alone_is_the_row_in_the_batch_to_the_last_bit(kind: str) -> None:
    forest, some = FORESTS[kind], range(0, len(MATRIX), 37)
    margins, effects = forest.margins(MATRIX)[0], forest.effects(MATRIX)
    assert [forest.margins(MATRIX[i : i + 1])[0, 0] for i in some] == [margins[i] for i in some]
    assert [forest.effects(MATRIX[i : i + 1])[0].tolist() for i in some] == [effects[i].tolist() for i in some]


def test_rows_of_half_the_precision_are_the_rows_that_they_are() -> None:
    halved = MATRIX.astype(np.float32)
    forest = FORESTS["eight leaves"]
    assert forest.margins(halved).tolist() == forest.margins(halved.astype(np.float64)).tolist()  # type: ignore[arg-type]


def test_the_order_of_rows_and_columns_in_memory_changes_nothing() -> None:
    forest = FORESTS["eight leaves"]
    assert forest.margins(np.asfortranarray(MATRIX)).tolist() == forest.margins(MATRIX).tolist()
    assert forest.effects(MATRIX[::-1]).tolist() == forest.effects(MATRIX)[::-1].tolist()


def test_threads_get_what_each_asked_for() -> None:
    forest = FORESTS["thirty-one leaves"]
    parts = [MATRIX[i::8] for i in range(8)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(forest.margins, parts * 10))
    assert [one.tolist() for one in found] == [forest.margins(part).tolist() for part in parts] * 10


def test_no_trees_are_no_forest() -> None:
    assert forest_of("", (), COLUMNS) is None


def test_rows_with_another_number_of_features_are_refused() -> None:
    with pytest.raises(ModelError, match=r"^The rows have 5 features, the model's trees 6\. Train again\.$"):
        FORESTS["eight leaves"].margins(MATRIX[:, :5])


def test_a_text_with_other_trees_than_were_grown_is_refused() -> None:
    text = BOOSTERS["eight leaves"].model_to_string()
    with pytest.raises(ModelError, match=r"^The model's text holds 20 trees, 21 were grown\. Train again\.$"):
        forest_of(text, (20, 1), COLUMNS)


def test_a_tree_deeper_than_training_grows_is_refused() -> None:
    deep = grown(num_leaves=31, max_depth=-1, min_data_in_leaf=1)
    with pytest.raises(
        ModelError, match=r"^A tree of the model is deeper than 10 splits, which training does not grow\."
    ):
        tabulated([deep])
