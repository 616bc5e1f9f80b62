"""The feature matrix: the one function behind training, batch scores and the service."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from features.events import DAY, Events
from features.merges import Ints
from features.passes import are_in_order
from features.plan import Wanted
from features.sweep import no_events, sweep_into
from features.verbs import VERBS, Feature, Moments, Table
from features.walk import Floats, Matrix

BLOCK = 50_000  # moments measured at once; a feature that is made of several measures needs memory for these


def feature_matrix(features: Sequence[Feature], moments: Moments) -> Matrix:
    """Return the features (columns) at the moments (rows), as float32.

    A row depends only on what was known of its own lead and its lead's account before its own moment.
    """
    matrix = np.empty((len(moments), len(features)), np.float32)
    if not are_in_order(moments.lead, moments.as_of, 0):
        order = np.lexsort((moments.as_of, moments.lead))
        matrix[order] = feature_matrix(features, Moments(moments.history, moments.lead[order], moments.as_of[order]))
        return matrix
    own, of_account = _plans(_Same(tuple(features)))
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


def _own(plans: Plans, moments: Moments, matrix: Matrix) -> None:
    """Write the features that are made of the lead's own events."""
    for table, plan in plans.items():
        _write(plan, getattr(moments.history, table), moments.lead, moments, matrix)


def _of_account(plans: Plans, moments: Moments, matrix: Matrix) -> None:
    """Write the features that are made of the events of all contacts; they are missing without an account."""
    columns = [column for plan in plans.values() for column in plan.columns.tolist()]
    matrix[:, columns] = np.nan
    if not len(moments.history.contacts.lead):  # as in most requests, which must be quick
        return
    accounts = moments.history.accounts
    position = accounts.positions(moments.lead, moments.as_of)
    with_one = position >= 0
    asked = Moments(moments.history, moments.lead[with_one], moments.as_of[with_one])
    rows = np.empty((len(asked), matrix.shape[1]), np.float32)
    for table, plan in plans.items():
        _write(plan, getattr(accounts, table), position[with_one], asked, rows)
    for column in columns:
        matrix[with_one, column] = rows[:, column]


def _write(plan: TablePlan, events: Events, position: Ints, moments: Moments, matrix: Matrix) -> None:
    """Write the features that are made of some events, those at a position for each moment."""
    if plan.nothing is not None and not len(events.occurred):  # as in most requests, which must be quick
        matrix[:, plan.columns] = plan.nothing
        return
    answers = sweep_into(matrix, events, position, moments.as_of, plan.wanted)
    if plan.made:
        age = (moments.as_of - moments.history.created[moments.lead])[:, None] / DAY
    for columns, made, needs in plan.made:
        matrix[:, columns] = made(age, *(answers[:, places] for places in needs))
    for column, feature, read, place in plan.read:
        matrix[:, column] = read(feature, events, answers[:, place])


Reading = tuple[int, Feature, Callable[[Feature, Events, Floats], Floats], int]  # column, and of which measure apart


class TablePlan(NamedTuple):
    """How the features that are made of one table of events are measured, and what they are where nothing happened.

    Where one depends on the lead's age, it differs from lead to lead.
    """

    columns: Ints
    wanted: Wanted
    made: tuple[tuple[Ints, Callable[..., Floats], list[Ints]], ...]  # of measures, at places apart
    read: tuple[Reading, ...]
    nothing: Matrix | None


Plans = Mapping[Table, TablePlan]


class _Same:
    """Features, compared by identity: to compare hundreds of them would take longer than to measure a lead."""

    def __init__(self, features: tuple[Feature, ...]) -> None:
        self.features = features

    def __hash__(self) -> int:
        return id(self.features)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.features is self.features


@lru_cache(maxsize=32)
def _plans(same: _Same) -> tuple[Plans, Plans]:
    """Return how the features are measured that are made of a lead's events, and of those of its account."""
    features = same.features
    of_lead, of_account = (
        {
            table: _plan([(column, f) for column, f in enumerate(features) if (f.of, f.table) == (of, table)])
            for table in dict.fromkeys(feature.table for feature in features if feature.of == of)
        }
        for of in ("lead", "account")
    )
    return of_lead, of_account


def _plan(chosen: Sequence[tuple[int, Feature]]) -> TablePlan:
    """Return the plan for some columns, whose features look at the same table."""
    needs = {column: tuple(VERBS[feature.verb].needs(feature)) for column, feature in chosen}
    plain = [column for column, feature in chosen if not (VERBS[feature.verb].made or VERBS[feature.verb].read)]
    apart = tuple(dict.fromkeys(need for column, _ in chosen if column not in plain for need in needs[column]))
    made = []
    for verb in dict.fromkeys(VERBS[feature.verb] for _, feature in chosen):
        if verb.made:
            columns = [column for column, feature in chosen if VERBS[feature.verb] is verb]
            by_need = zip(*(needs[column] for column in columns), strict=True)
            places = [np.array([apart.index(need) for need in one]) for one in by_need]
            made.append((np.array(columns), verb.made, places))
    read = [
        (column, feature, verb.read, apart.index(needs[column][0]))
        for column, feature in chosen
        if (verb := VERBS[feature.verb]).read
    ]
    wanted = Wanted(tuple((column, needs[column][0]) for column in plain), apart)
    every = np.array(tuple(needs), np.int64)
    return TablePlan(every, wanted, tuple(made), tuple(read), None if made else _nothing(every, wanted, read))


def _nothing(columns: Ints, wanted: Wanted, read: Sequence[Reading]) -> Matrix:
    """Return the features of a lead to whom nothing happened."""
    row, nobody = np.empty((1, columns.max() + 1), np.float32), no_events(wanted)
    answers = sweep_into(row, nobody, np.zeros(1, np.int64), np.zeros(1, np.int64), wanted)
    for column, feature, value, place in read:
        row[:, column] = value(feature, nobody, answers[:, place])
    return np.asarray(row[0, columns])
