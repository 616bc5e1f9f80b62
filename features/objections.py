"""Objections: who may not be profiled (GDPR, Article 21), and so is neither scored nor learned from.

A lead objects by its attribute ``objects_to_profiling``: the column of that name in a file of leads, or another one
mapped to it under [sources.columns]. It holds from the moment that version of the lead was known, until a later
version says no. Anything but a plain no is an objection, such as the day it was made. What remains of an erased person
is not profiled either. Credit of channels is no profile of a person, and goes on.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from features.history import History
from features.tombstones import PREFIX, is_tombstone

OBJECTION = "objects_to_profiling"  # an attribute, because whoever takes objections down writes them to the lead
OPT_OUT = "opted_out"  # of being written to: connectors say it with yes or no, and do not write such people's scores
NO = {"", "0", "f", "false", "n", "no", "none", "null"}

Flags = NDArray[np.bool_]


def objecting(history: History, before: int, attribute: str = OBJECTION) -> Flags:
    """Say of each lead whether its person objects, for all that is known before a moment (microseconds).

    Another attribute that is said in the same way may be asked for, such as ``OPT_OUT``.
    """
    objects = np.zeros(len(history.lead_ids), bool)
    if attribute not in history.versions.codes:  # as in most requests, which must be quick
        return objects
    codes, names = history.versions.codes[attribute], history.versions.names[attribute]
    told = (codes >= 0) & (history.versions.known < before)
    means = np.array([name.strip().lower() not in NO for name in names], bool)
    objects[history.versions.leads()[told]] = means[codes[told]]  # versions are in order: the latest overrules
    return np.asarray(objects | objects[history.turned_out(np.arange(len(objects)), before)])


def profiled(history: History, before: int) -> Flags:
    """Say of each lead whether it may be profiled, for all that is known before a moment (microseconds)."""
    may = ~objecting(history, before)
    first = bisect_left(history.lead_ids, PREFIX)  # they are sorted
    for place, lead in enumerate(takewhile(lambda lead: lead.startswith(PREFIX), history.lead_ids[first:]), first):
        may[place] &= not is_tombstone(lead)
    return np.asarray(may)
