"""Trees as LightGBM writes them, read without LightGBM, and refused if anything in them is not as expected.

The text comes from a file whose hash is verified; what is read here decides what a lead is worth, and indexes memory
without looking, so that nothing odd may pass: no other objective, no key too many, no tree that is not one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

from features.errors import ModelError

HEAD = {"version": "v4", "num_class": "1", "num_tree_per_iteration": "1", "label_index": "0",
        "objective": "binary sigmoid:1"}  # fmt: skip
FREE = {"max_feature_idx", "feature_names", "feature_infos", "tree_sizes"}  # other keys of the head
UNREAD = {"split_gain", "leaf_weight", "internal_value", "internal_weight", "shrinkage"}  # they decide nothing
OF_NODES = {"split_feature": int, "threshold": float, "decision_type": int, "left_child": int, "right_child": int,
            "internal_count": int}  # fmt: skip
OF_LEAVES = {"leaf_value": float, "leaf_count": int}
CATEGORICAL, MISSING_LEFT, MISSING_TYPE = 1, 2, 2  # bits of decision_type; the type is what remains after a shift
WORD = 32  # bits of a word of categories
MOST = 1 << 20  # categories of a split, leaves of a tree


@dataclass(frozen=True)
class Split:
    """A question to one feature: a number goes left up to the threshold, a category if it is one of ``categories``.

    An infinite threshold asks whether the number is missing. What is missing goes where ``missing_left`` says; of a
    category to the right. With ``zero_missing`` 0 is missing, too.
    """

    feature: int
    threshold: float
    missing_left: bool = False
    zero_missing: bool = False
    categories: frozenset[int] | None = None


@dataclass(frozen=True)
class Tree:
    """Splits with their children, of which −1 is the first leaf, −2 the second; and how many rows came to each."""

    splits: tuple[Split, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    split_rows: tuple[int, ...]
    values: tuple[float, ...]  # of the leaves, log-odds
    leaf_rows: tuple[int, ...]

    @property
    def root(self) -> int:
        """Return the first split, or the only leaf."""
        return 0 if self.splits else -1

    @property
    def mean(self) -> float:
        """Return what the tree says on average of the rows that it grew on."""
        if not self.splits:
            return self.values[0]
        return sum(n / self.split_rows[0] * value for n, value in zip(self.leaf_rows, self.values, strict=True))

    def rows(self, node: int) -> int:
        """Return how many rows came to a split or, below 0, to a leaf."""
        return self.split_rows[node] if node >= 0 else self.leaf_rows[~node]


def read_trees(text: str, features: int) -> list[Tree]:
    """Return the trees in a text, which look at so many features.

    Raises:
        ModelError: at the first thing that is not as LightGBM 4 writes it.

    """
    head, *blocks = text.partition("\nend of trees\n")[0].split("\nTree=")
    _check_head(head, features)
    if "\nend of trees\n" not in text:
        raise _odd("the text", "does not end", "end of trees")
    return [_tree(f"Tree {i}", block.rstrip("\n").split("\n"), i, features) for i, block in enumerate(blocks)]


def _check_head(head: str, features: int) -> None:
    title, *lines = head.rstrip("\n").split("\n")
    said = _entries("the head", lines)
    if title != "tree":
        raise _odd("the first line", repr(title[:20]), "tree")
    for key, expected in (HEAD | {"max_feature_idx": str(features - 1)}).items():
        if said.get(key) != expected:
            raise _odd(key, repr(said.get(key)), expected)
    if unknown := said.keys() - HEAD.keys() - FREE:
        raise _odd("the head", f"holds {', '.join(sorted(unknown))}", "nothing of the kind")


def _tree(place: str, lines: list[str], number: int, features: int) -> Tree:
    said = _entries(place, lines[1:])
    leaves, categorical = (_numbers(place, said, key, int, 1)[0] for key in ("num_leaves", "num_cat"))
    expected = {"num_leaves", "num_cat", "is_linear"} | UNREAD | OF_NODES.keys() | OF_LEAVES.keys()
    expected |= {"cat_boundaries", "cat_threshold"} if categorical else set()
    if lines[0] != str(number) or said["is_linear"] != "0" or not 1 <= leaves <= MOST or said.keys() != expected:
        raise _odd(place, f"is numbered {lines[0]} and holds {', '.join(sorted(said))}", ", ".join(sorted(expected)))
    node = {key: _numbers(place, said, key, kind, leaves - 1) for key, kind in OF_NODES.items()}
    leaf = {key: _numbers(place, said, key, kind, leaves) for key, kind in OF_LEAVES.items()}
    sets = _categories(place, said, categorical) if categorical else []
    decided = zip(node["split_feature"], node["threshold"], node["decision_type"], strict=True)
    tree = Tree(
        splits=tuple(_split(place, *one, sets) for one in decided),
        left=node["left_child"],
        right=node["right_child"],
        split_rows=node["internal_count"],
        values=leaf["leaf_value"],
        leaf_rows=leaf["leaf_count"],
    )
    children = sorted(chain(tree.left, tree.right))
    later = all(child < 0 or child > k for side in (tree.left, tree.right) for k, child in enumerate(side))
    if not later or (leaves > 1 and children != [*range(-leaves, 0), *range(1, leaves - 1)]):
        raise _odd(place, f"has the children {children}", "each split but the first, and each leaf, once")
    if any(not 0 <= split.feature < features for split in tree.splits):
        raise _odd(place, "asks a feature that is not there", f"one of {features}")
    if leaves > 1 and min((*tree.split_rows, *tree.leaf_rows)) <= 0:
        raise _odd(place, "has a part without rows", "some in each")
    return tree


def _split(place: str, feature: int, threshold: float, decision: int, sets: Sequence[frozenset[int]]) -> Split:
    kind = decision >> MISSING_TYPE  # 0: a missing number counts as 0; 1: 0 is missing, too; 2: NaN is missing
    if not 0 <= decision < 3 << MISSING_TYPE:
        raise _odd(place, f"decides by {decision}", "a known kind of decision")
    if decision & CATEGORICAL:
        if threshold not in range(len(sets)):
            raise _odd(place, f"asks for the categories {threshold:g}", f"one of {len(sets)}")
        return Split(feature, 0.0, categories=sets[int(threshold)])
    return Split(feature, threshold, bool(decision & MISSING_LEFT) if kind else threshold >= 0, kind == 1)


def _categories(place: str, said: dict[str, str], sets: int) -> list[frozenset[int]]:
    """Return the categories that go left, of each set: bits in words, each set from one boundary to the next."""
    ends = _numbers(place, said, "cat_boundaries", int, sets + 1)
    if ends[0] != 0 or list(ends) != sorted(set(ends)) or ends[-1] * WORD > MOST:
        raise _odd(place, f"bounds its categories by {ends}", "rising numbers from 0")
    words = _numbers(place, said, "cat_threshold", int, ends[-1])
    if min(words) < 0 or max(words) >> WORD:
        raise _odd(place, "has categories that are no words", "32 bits each")
    return [
        frozenset(i for i in range((b - a) * WORD) if words[a + i // WORD] >> i % WORD & 1) for a, b in pairwise(ends)
    ]


def _entries(place: str, lines: list[str]) -> dict[str, str]:
    pairs = [line.partition("=") for line in lines]
    said = {key: value for key, _, value in pairs}
    if len(said) != len(lines) or not all(equals for _, equals, _ in pairs):
        raise _odd(place, "holds a line that is no entry, or one twice", "each key once, with its value")
    return said


def _numbers(place: str, said: dict[str, str], key: str, kind: Callable[[str], Any], count: int) -> tuple[Any, ...]:
    try:
        found = tuple(map(kind, said[key].split()))
        sound = all(abs(number) < math.inf or (key == "threshold" and number == math.inf) for number in found)
    except (KeyError, ValueError) as error:
        raise _odd(f"{place}, {key}", f"says {error}", "numbers") from None
    if len(found) != count or not sound:
        raise _odd(f"{place}, {key}", f"holds {len(found)} numbers", f"{count} that can be")
    return found


def _odd(place: str, came: str, expected: str) -> ModelError:
    return ModelError(f"The trees of the model cannot be read: {place} {came}; expected was {expected}. Train again.")
