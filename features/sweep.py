"""The sweep: one pass over a lead's events answers every measure at every moment.

Events enter in the order in which they became known, and leave a window in the order in which they occurred;
each event is touched a fixed number of times, however many moments are asked. What is measured at a moment
depends only on events known before it, never on the other moments, leads or events of the call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features import walk
from features.events import Events
from features.merges import Ints
from features.passes import are_in_order, never_falls
from features.plan import Measure, Wanted, planned
from features.walk import Floats, Matrix


def sweep(events: Events, lead: Ints, as_of: Ints, measures: Iterable[Measure]) -> dict[Measure, Floats]:
    """Return each measure at each moment (lead[i], as_of[i]), from events known before as_of[i].

    ``lead`` holds positions in ``events``, ``as_of`` microseconds; moments may come in any order.
    """
    nothing = np.empty((len(lead), 0), np.float32)
    wanted = Wanted(apart=tuple(dict.fromkeys(measures)))
    return dict(zip(wanted.apart, sweep_into(nothing, events, lead, as_of, wanted).T, strict=True))


def sweep_into(matrix: Matrix, events: Events, lead: Ints, as_of: Ints, wanted: Wanted) -> Floats:
    """Write measures to their columns of a matrix of moments × features; return the others, as columns."""
    answers = np.empty((len(wanted.apart), len(lead))).T  # each measure's answers lie together
    if len(lead) and (wanted.columns or wanted.apart):
        first = lead.min()
        some = events.of_leads(first, lead.max() + 1)
        if not len(some.occurred):  # as in most requests, which must be quick
            columns, nothing, apart = _of_nothing(wanted)
            matrix[:, columns], answers[:] = nothing, apart
            return answers
        _walk(matrix, answers, some, lead - first, as_of, wanted)
        for place, measure in enumerate(wanted.apart):
            if measure.what in {"latest", "earliest"}:
                answers[:, place] += events.start[first]
    return answers


def _walk(matrix: Matrix, answers: Floats, events: Events, lead: Ints, as_of: Ints, wanted: Wanted) -> None:
    """Write measures to their columns of a matrix, and the others to the answers."""
    plan, group = planned(events, wanted)
    occurred, known = _fixed(events.occurred), _fixed(events.known)
    offsets = np.array([*accumulate((len(events.names[column]) for column in plan.set_names), initial=0)])
    walked = walk.Walked(
        events.start, occurred, known, _arrivals(events, known), group,
        _rows([events.codes[column] for column in plan.names], np.int32),
        _rows([events.numbers(column) for column in plan.numbers], np.float64),
        offsets,
    )  # fmt: skip
    walk.walk(walked, plan.steps, plan.asked, in_order(lead, as_of), lead, as_of, matrix, answers.T)


@lru_cache(maxsize=64)
def _of_nothing(wanted: Wanted) -> tuple[Ints, Matrix, Floats]:
    """Return what is measured where nothing happened: columns of a matrix, what stands there, and what apart."""
    columns = np.array([column for column, _ in wanted.columns], np.int64)
    row, answers = np.empty((1, columns.max(initial=-1) + 1), np.float32), np.empty((len(wanted.apart), 1)).T
    _walk(row, answers, no_events(wanted), np.zeros(1, np.int64), np.zeros(1, np.int64), wanted)
    return columns, row[0, columns], answers[0]


def no_events(wanted: Wanted) -> Events:
    """Return the events, none, of one lead, with the columns that measures look at."""
    names = {name for measure in wanted.measures for name in (measure.column, *dict(measure.where))}
    none = np.empty(0, np.int64)
    codes = {name: none.astype(np.int32) for name in names}
    return Events(np.zeros(2, np.int64), none, none, codes, dict.fromkeys(names, ()))


def in_order(lead: Ints, as_of: Ints) -> Ints:
    """Return the places of the moments by lead and time."""
    return np.arange(len(lead)) if are_in_order(lead, as_of, 0) else np.lexsort((as_of, lead))


def _rows(columns: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    """Return columns of the events as rows of one array; one empty row where there is none."""
    if len(columns) == 1:
        return _fixed(columns[0][None])
    return _fixed(np.stack(columns) if columns else np.empty((1, 0), dtype))


def _arrivals(events: Events, known: Ints) -> Ints:
    """Return the events of each lead in the order in which they became known; none if that is their own order."""
    if never_falls(events.start, known):
        return np.empty(0, np.int64)
    return np.lexsort((known, events.leads()))


def _fixed(column: NDArray[Any]) -> NDArray[Any]:
    """Return a column that is not written to, as those of Arrow are not: for another kind, all is compiled again."""
    fixed = column[:]
    fixed.flags.writeable = False
    return fixed
