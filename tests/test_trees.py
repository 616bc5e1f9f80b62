"""Trees, read from LightGBM's text; what is odd is refused, since it would be a plausible score."""

from __future__ import annotations

import re

import pytest

from features.errors import ModelError
from serving.trees import Split, Tree, read_trees

TEXT = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=binary sigmoid:1
feature_names=age channel
feature_infos=[0:9] 0:1:2:33
tree_sizes=400 100

Tree=0
num_leaves=3
num_cat=1
split_feature=0 1
split_gain=9 1
threshold=4.5 0
decision_type=10 1
left_child=1 -1
right_child=-2 -3
leaf_value=0.5 -0.25 1e-3
leaf_weight=1 2 3
leaf_count=10 20 30
internal_value=0 0
internal_weight=0 0
internal_count=60 40
cat_boundaries=0 2
cat_threshold=5 2
is_linear=0
shrinkage=0.04


Tree=1
num_leaves=1
num_cat=0
split_feature=
split_gain=
threshold=
decision_type=
left_child=
right_child=
leaf_value=-1.5
leaf_weight=
leaf_count=60
internal_value=
internal_weight=
internal_count=
is_linear=0
shrinkage=1


end of trees

feature_importances:
age=1
"""


def test_a_tree_is_its_splits_and_its_leaves() -> None:
    asked = (Split(0, 4.5, missing_left=True), Split(1, 0.0, categories=frozenset({0, 2, 33})))
    tree = Tree(asked, (1, -1), (-2, -3), (60, 40), (0.5, -0.25, 0.001), (10, 20, 30))
    assert read_trees(TEXT, 2) == [tree, Tree((), (), (), (), (-1.5,), (60,))]


def test_the_mean_of_a_tree_is_over_the_rows_that_came_to_its_leaves() -> None:
    first, second = read_trees(TEXT, 2)
    assert (first.mean, second.mean) == (pytest.approx((10 * 0.5 - 20 * 0.25 + 30 * 0.001) / 60), -1.5)


@pytest.mark.parametrize(
    ("decision", "split"),
    [
        (0, Split(0, 4.5, missing_left=True)),  # what is missing counts as 0
        (2, Split(0, 4.5, missing_left=True)),
        (4, Split(0, 4.5, zero_missing=True)),
        (6, Split(0, 4.5, missing_left=True, zero_missing=True)),
        (8, Split(0, 4.5)),
    ],
)
def test_the_kind_of_decision_says_where_the_missing_go(decision: int, split: Split) -> None:
    (tree, _) = read_trees(TEXT.replace("decision_type=10", f"decision_type={decision}"), 2)
    assert tree.splits[0] == split


def test_where_the_missing_count_as_0_they_go_where_0_goes() -> None:
    text = TEXT.replace("decision_type=10", "decision_type=2").replace("threshold=4.5", "threshold=-4.5")
    assert read_trees(text, 2)[0].splits[0] == Split(0, -4.5)


ODD = [
    ("tree\n", "trees\n", "the first line 'trees'; expected was tree"),
    ("version=v4", "version=v5", "version 'v5'; expected was v4"),
    ("num_class=1", "num_class=3", "num_class '3'; expected was 1"),
    ("num_class=1\n", "", "num_class None; expected was 1"),
    ("objective=binary sigmoid:1", "objective=regression", "objective 'regression'; expected was binary sigmoid:1"),
    ("max_feature_idx=1", "max_feature_idx=2", "max_feature_idx '2'; expected was 1"),
    (
        "label_index=0",
        "label_index=0\naverage_output=1",
        "the head holds average_output; expected was nothing of the kind",
    ),
    ("label_index=0", "label_index=0\naverage_output", "the head holds a line that is no entry, or one twice"),
    ("label_index=0", "label_index=0\nlabel_index=0", "the head holds a line that is no entry, or one twice"),
    ("end of trees", "end of", "the text does not end; expected was end of trees"),
    ("Tree=1", "Tree=2", "Tree 1 is numbered 2"),
    ("is_linear=0\nshrinkage=1\n", "is_linear=1\nshrinkage=1\n", "Tree 1 is numbered 1 and holds"),
    ("shrinkage=1\n", "shrinkage=1\nleaf_const=0\n", "Tree 1 is numbered 1 and holds"),
    ("leaf_count=60\n", "", "Tree 1 is numbered 1 and holds"),
    ("num_leaves=1\n", "num_leaves=0\n", "Tree 1 is numbered 1 and holds"),
    ("num_leaves=1\n", "num_leaves=4\n", "Tree 1, split_feature holds 0 numbers; expected was 3 that can be"),
    ("num_leaves=3", "num_leaves=two", "Tree 0, num_leaves says invalid literal for int() with base 10: 'two'"),
    ("threshold=4.5", "threshold=4.5 4", "Tree 0, threshold holds 3 numbers; expected was 2 that can be"),
    ("threshold=4.5", "threshold=nan", "Tree 0, threshold holds 2 numbers; expected was 2 that can be"),
    ("leaf_value=0.5", "leaf_value=inf", "Tree 0, leaf_value holds 3 numbers; expected was 3 that can be"),
    ("threshold=4.5", "threshold=-inf", "Tree 0, threshold holds 2 numbers; expected was 2 that can be"),
    ("leaf_count=10", "leaf_count=1" + "0" * 5000, "Tree 0, leaf_count says Exceeds the limit"),
    ("left_child=1 -1", "left_child=0 -1", "Tree 0 has the children [-3, -2, -1, 0]"),
    ("left_child=1 -1", "left_child=1 -2", "Tree 0 has the children [-3, -2, -2, 1]"),
    ("right_child=-2 -3", "right_child=-2 -9", "Tree 0 has the children [-9, -2, -1, 1]"),
    ("split_feature=0 1", "split_feature=0 2", "Tree 0 asks a feature that is not there; expected was one of 2"),
    ("split_feature=0 1", "split_feature=-1 1", "Tree 0 asks a feature that is not there; expected was one of 2"),
    ("decision_type=10", "decision_type=12", "Tree 0 decides by 12; expected was a known kind of decision"),
    ("decision_type=10", "decision_type=-2", "Tree 0 decides by -2; expected was a known kind of decision"),
    ("threshold=4.5 0", "threshold=4.5 1", "Tree 0 asks for the categories 1; expected was one of 1"),
    ("threshold=4.5 0", "threshold=4.5 0.5", "Tree 0 asks for the categories 0.5; expected was one of 1"),
    ("cat_boundaries=0 2", "cat_boundaries=0 0", "Tree 0 bounds its categories by (0, 0)"),
    ("cat_boundaries=0 2", "cat_boundaries=1 2", "Tree 0 bounds its categories by (1, 2)"),
    ("cat_boundaries=0 2", "cat_boundaries=0 99999999999", "Tree 0 bounds its categories by (0, 99999999999)"),
    ("cat_threshold=5 2", "cat_threshold=5", "Tree 0, cat_threshold holds 1 numbers; expected was 2 that can be"),
    ("cat_threshold=5 2", "cat_threshold=5 4294967296", "Tree 0 has categories that are no words"),
    ("cat_threshold=5 2", "cat_threshold=5 -1", "Tree 0 has categories that are no words"),
    ("internal_count=60", "internal_count=0", "Tree 0 has a part without rows; expected was some in each"),
]


@pytest.mark.parametrize(
    ("whole", "odd", "sentence"), ODD, ids=[f"{whole[:20]!r} to {odd[:30]!r}" for whole, odd, _ in ODD]
)
def test_what_is_odd_is_refused_and_named(whole: str, odd: str, sentence: str) -> None:
    assert TEXT.count(whole) == 1 or whole in {"tree\n", "Tree=1", "max_feature_idx=1"}
    with pytest.raises(ModelError, match=re.escape(f"The trees of the model cannot be read: {sentence}")):
        read_trees(TEXT.replace(whole, odd, 1), 2)
