"""Pieces: trees as tables, from the answers of a few splits to what is said, and to how much of it is due to whom.

A tree, or a part of one, is a *piece*: a few splits, each answered yes (left) or no. The answers of all its splits
together are a number of as many bits, and whatever the piece says depends on that number alone. So it is worked out
once for every number: the value of the leaf that is reached, and the exact SHAP value of each feature (path-dependent,
as in LightGBM's ``pred_contrib``: Lundberg, Erion, Lee 2018).

The SHAP value of a feature i at a leaf of value v is, if zⱼ is the share of the rows that the splits on the way which
ask feature j let pass, and oⱼ is 1 if they let this row pass, else 0 (after Yang 2021, "Fast TreeSHAP", and Yu et al.
2022, "Linear TreeShap"),

    v (oᵢ − zᵢ) ∫₀¹ ∏_{j≠i} (t oⱼ + (1 − t) zⱼ) dt,

a polynomial of t of degree k − 1 for k features, which Gauss's quadrature in n nodes integrates exactly for k ≤ 2 n.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from features.errors import ModelError
from serving.trees import Split, Tree

Floats = NDArray[np.float64]
Halves = NDArray[np.float32]
Ints = NDArray[np.int64]
WIDEST = 8  # splits of a piece, if there is a choice: a larger table is no longer near the processor
DEEPEST = 10  # splits on the way to a leaf; training grows no deeper
ABSCISSAE, WEIGHTS = np.polynomial.legendre.leggauss(DEEPEST // 2)  # on [−1, 1]
NODES, WEIGHTS = (ABSCISSAE + 1) / 2, WEIGHTS / 2
NUMBER, NUMBER_MISSING_LEFT, NUMBER_OR_ZERO, CATEGORY = range(4)  # how a split decides
NOBODY = np.empty(0, np.bool_)


class Pieces(NamedTuple):
    """Pieces in compressed rows: those of what stands at ``x_start[piece]`` to before ``x_start[piece + 1]``."""

    member: Ints
    split_start: Ints
    feature: Ints  # of each split
    kind: Ints
    threshold: Floats
    missing_left: NDArray[np.bool_]  # asked where 0 is missing, too
    category_start: Ints  # of each split
    goes_left: NDArray[np.bool_]  # of each category
    column_start: Ints
    columns: Ints  # the features that are asked, each once
    value_start: Ints
    effect_start: Ints


class Leaves(NamedTuple):
    """The leaves of the pieces and the steps on the way to each, in compressed rows."""

    start: Ints  # of each piece
    value: Floats
    step_start: Ints  # of each leaf
    split: Ints  # of each step, its place in the piece
    left: NDArray[np.bool_]
    share: Floats  # of the rows at the split that go there
    column: Ints  # place of the feature among the piece's columns


def pieces_of(members: Sequence[int], trees: Sequence[Tree]) -> tuple[Pieces, Floats, Halves]:
    """Return the pieces of trees, each of a member, what they say and the effects, by piece and number of answers.

    The effects of a piece are those of all its columns for the answers 0, for 1, …: a row reads them side by side. In
    float32 half as much has to be near the processor, and they are right to some 1e-8; what is said has all its bits.

    Raises:
        ModelError: when a tree is deeper than training grows them.

    """
    pieces, leaves = _flat(
        [(m, ways) for m, tree in zip(members, trees, strict=True) for ways in _parts(tree, tree.root)]
    )
    values, effects = np.zeros(pieces.value_start[-1]), np.zeros(pieces.effect_start[-1])
    _tabulate(pieces, leaves, values, effects)
    return pieces, values, effects.astype(np.float32)


class Step(NamedTuple):
    """From a split to its child: which split, whether to the left, and the share of the rows that go there."""

    split: Split
    number: int
    left: bool
    share: float


class Way(NamedTuple):
    """All steps to a leaf, and its value."""

    steps: tuple[Step, ...]
    value: float


def _parts(tree: Tree, node: int, steps: tuple[Step, ...] = ()) -> Iterator[list[Way]]:
    """Yield the ways to the leaves below a node in parts that ask few splits, those on the way to the node included."""
    ways = list(_ways(tree, node, steps))
    if node < 0 or len(steps) + len(ways) - 1 <= WIDEST:
        yield ways
        return
    for child, step in _children(tree, node):
        yield from _parts(tree, child, (*steps, step))


def _ways(tree: Tree, node: int, steps: tuple[Step, ...]) -> Iterator[Way]:
    if len(steps) > DEEPEST:
        raise ModelError(
            f"A tree of the model is deeper than {DEEPEST} splits, which training does not grow. Train again."
        )
    if node < 0:
        yield Way(steps, tree.values[~node])
        return
    for child, step in _children(tree, node):
        yield from _ways(tree, child, (*steps, step))


def _children(tree: Tree, node: int) -> Iterator[tuple[int, Step]]:
    for child, left in ((tree.left[node], True), (tree.right[node], False)):
        yield child, Step(tree.splits[node], node, left, tree.rows(child) / tree.rows(node))


def _flat(parts: Sequence[tuple[int, list[Way]]]) -> tuple[Pieces, Leaves]:
    asked = [{step.number: step.split for way in ways for step in way.steps} for _, ways in parts]
    places = [{number: place for place, number in enumerate(splits)} for splits in asked]
    columns = [sorted({split.feature for split in splits.values()}) for splits in asked]
    splits = [split for one in asked for split in one.values()]
    left = [
        np.isin(np.arange(max(split.categories, default=-1) + 1), [*split.categories])
        if split.categories is not None
        else NOBODY
        for split in splits
    ]
    steps = [
        (place[step.number], step, names.index(step.split.feature))
        for (_, ways), place, names in zip(parts, places, columns, strict=True)
        for way in ways
        for step in way.steps
    ]
    pieces = Pieces(
        member=np.array([member for member, _ in parts]),
        split_start=_starts(map(len, asked)),
        feature=np.array([split.feature for split in splits], np.int64),
        kind=np.array([_kind(split) for split in splits], np.int64),
        threshold=np.array([split.threshold for split in splits], np.float64),
        missing_left=np.array([split.missing_left for split in splits], np.bool_),
        category_start=_starts(map(len, left)),
        goes_left=np.concatenate([NOBODY, *left]),
        column_start=_starts(map(len, columns)),
        columns=np.array([column for one in columns for column in one], np.int64),
        value_start=_starts(1 << len(one) for one in asked),
        effect_start=_starts(len(names) << len(one) for names, one in zip(columns, asked, strict=True)),
    )
    leaves = Leaves(
        start=_starts(len(ways) for _, ways in parts),
        value=np.array([way.value for _, ways in parts for way in ways]),
        step_start=_starts(len(way.steps) for _, ways in parts for way in ways),
        split=np.array([place for place, _, _ in steps], np.int64),
        left=np.array([step.left for _, step, _ in steps], np.bool_),
        share=np.array([step.share for _, step, _ in steps], np.float64),
        column=np.array([column for _, _, column in steps], np.int64),
    )
    return pieces, leaves


def _kind(split: Split) -> int:
    if split.categories is not None:
        return CATEGORY
    if split.zero_missing:
        return NUMBER_OR_ZERO
    return NUMBER_MISSING_LEFT if split.missing_left else NUMBER


def _starts(lengths: Iterable[int]) -> Ints:
    return np.array([0, *accumulate(lengths)], np.int64)


@njit(cache=True, nogil=True)
def _tabulate(  # noqa: C901  # one loop nest, compiled as a whole
    pieces: Pieces, leaves: Leaves, values: Floats, effects: Floats
) -> None:
    """Write what each piece says, and why, for every number that its splits' answers make."""
    on_way, stays, kept = np.zeros(DEEPEST, np.bool_), np.zeros(DEEPEST, np.bool_), np.zeros(DEEPEST)
    for piece in range(len(pieces.member)):
        size = pieces.value_start[piece + 1] - pieces.value_start[piece]
        columns = pieces.column_start[piece + 1] - pieces.column_start[piece]
        for leaf in range(leaves.start[piece], leaves.start[piece + 1]):
            value = leaves.value[leaf]
            for answers in range(size):
                on_way[:] = False
                stays[:] = True
                kept[:] = 1.0
                reached = True
                for step in range(leaves.step_start[leaf], leaves.step_start[leaf + 1]):
                    column = leaves.column[step]
                    on_way[column] = True
                    kept[column] *= leaves.share[step]
                    if ((answers >> leaves.split[step]) & 1 == 1) != leaves.left[step]:
                        stays[column] = False
                        reached = False
                if reached:
                    values[pieces.value_start[piece] + answers] = value
                for node in range(len(NODES)):
                    t, product = NODES[node], WEIGHTS[node] * value
                    for column in range(columns):
                        if on_way[column]:
                            product *= t * stays[column] + (1 - t) * kept[column]
                    for column in range(columns):
                        if on_way[column]:
                            factor = t * stays[column] + (1 - t) * kept[column]
                            cell = pieces.effect_start[piece] + answers * columns + column
                            effects[cell] += product / factor * (stays[column] - kept[column])
