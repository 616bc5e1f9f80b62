"""The feature matrix: the one function behind training, batch scores and the service."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from features.events import Events
from features.sweep import Measure, Wanted, in_order, sweep_into
from features.verbs import VERBS, Feature, Moments, Of
from features.walk import Floats, Matrix

BLOCK = 50_000  # moments measured at once; a feature that is made of several measures needs memory for these


def feature_matrix(features: Sequence[Feature], moments: Moments, into: Matrix | None = None) -> Matrix:
    """Return the features (columns) at the moments (rows), as float32.

    A row depends only on what was known of its own lead and its lead's account before its own moment.
    """
    matrix = np.empty((len(moments), len(features)), np.float32) if into is None else into
    order = in_order(moments.lead, moments.as_of)
    if (np.diff(order) != 1).any():
        matrix[order] = feature_matrix(features, Moments(moments.history, moments.lead[order], moments.as_of[order]))
        return matrix
    own, of_account = (_plans(tuple(features), of) for of in ("lead", "account"))
    starts = range(0, len(moments), BLOCK)

    def block(start: int) -> None:
        rows = slice(start, start + BLOCK)
        _own(own, Moments(moments.history, moments.lead[rows], moments.as_of[rows]), matrix[rows])

    if len(starts) > 1:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(block, starts))
    elif starts:
        block(0)
    if of_account:
        _of_account(of_account, moments, matrix)
    return matrix


def _own(plans: Mapping[str, TablePlan], moments: Moments, matrix: Matrix) -> None:
    """Write the features that are made of the lead's own events."""
    for table, plan in plans.items():
        events: Events = getattr(moments.history, table)
        measured = sweep_into(matrix, events, moments.lead, moments.as_of, plan.wanted)
        for column, feature, value, needs in plan.made:
            matrix[:, column] = value(feature, moments, events, *(measured[need] for need in needs))


def _of_account(plans: Mapping[str, TablePlan], moments: Moments, matrix: Matrix) -> None:
    """Write the features that are made of the events of all contacts; they are missing without an account."""
    accounts = moments.history.accounts
    position = accounts.positions(moments.lead, moments.as_of)
    with_one = position >= 0
    asked = Moments(moments.history, moments.lead[with_one], moments.as_of[with_one])
    rows = np.empty((len(asked), matrix.shape[1]), np.float32)
    for table, plan in plans.items():
        events: Events = getattr(accounts, table)
        measured = sweep_into(rows, events, position[with_one], asked.as_of, plan.wanted)
        for column, feature, value, needs in plan.made:
            rows[:, column] = value(feature, asked, events, *(measured[need] for need in needs))
        for column in plan.columns:
            matrix[:, column] = np.nan
            matrix[with_one, column] = rows[:, column]


class TablePlan(NamedTuple):
    """How the features that are made of one table of events are measured."""

    columns: tuple[int, ...]
    wanted: Wanted
    made: tuple[tuple[int, Feature, Callable[..., Floats], tuple[Measure, ...]], ...]  # of several measures


@lru_cache(maxsize=32)
def _plans(features: tuple[Feature, ...], of: Of) -> dict[str, TablePlan]:
    """Return a plan for each table of events that features of a lead, or of its account, are made of."""
    plans = dict[str, TablePlan]()
    chosen = [(column, feature) for column, feature in enumerate(features) if feature.of == of]
    for table in dict.fromkeys(feature.table for _, feature in chosen):
        plain, made = [], []
        for column, feature in chosen:
            if feature.table == table:
                verb = VERBS[feature.verb]
                needs = tuple(verb.needs(feature))
                if verb.value is None:
                    plain.append((column, needs[0]))
                else:
                    made.append((column, feature, verb.value, needs))
        apart = dict.fromkeys(need for _, _, _, needs in made for need in needs)
        columns = tuple(column for column, feature in chosen if feature.table == table)
        plans[table] = TablePlan(columns, Wanted(tuple(plain), tuple(apart)), tuple(made))
    return plans
