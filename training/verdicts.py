"""Verdicts: what sales said of leads, as far as it is a label.

A rejection for bad data says nothing of a lead: there is none, and nothing is learned or judged by it. One for no fit
is an answer at once: the snapshots before it are learned from as not won without waiting for their horizon, unless the
lead was won after all. "Not now" is no answer: such a lead is open, only its horizon decides, and since when it waits
is a feature. The last verdict on a lead that was known at the moment counts, so that who was accepted later is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.history import NEVER, History, Ints
from features.settings import Feedback


@dataclass(frozen=True)
class Verdicts:
    """Of each lead: whether its data are bad, and when it was found not to fit (microseconds; ``NEVER``)."""

    bad_data: NDArray[np.bool_]
    no_fit: Ints


def verdicts_of(history: History, means: Feedback, before: int) -> Verdicts:
    """Return what sales had said of each lead before a moment (microseconds)."""
    said = history.feedback
    told = np.flatnonzero(said.known < before)
    last = np.full(len(history.lead_ids), -1)
    last[said.leads()[told]] = told  # in order of time: the latest overrules
    judged = np.flatnonzero(last >= 0)
    rows = last[judged]
    rejected = _among(said.codes["verdict"][rows], said.names["verdict"], ["rejected"])
    reasons = said.codes["reason"][rows], said.names["reason"]
    bad_data, no_fit = np.zeros(len(last), bool), np.full(len(last), NEVER)
    bad_data[judged] = rejected & _among(*reasons, means.bad_data)
    unfit = rejected & _among(*reasons, means.no_fit)
    no_fit[judged[unfit]] = said.occurred[rows[unfit]]
    return Verdicts(bad_data, no_fit)


def _among(codes: NDArray[np.int32], names: Sequence[str], meant: Sequence[str]) -> NDArray[np.bool_]:
    wanted = {name.strip().lower() for name in meant}
    return np.array([*(name.strip().lower() in wanted for name in names), False], bool)[codes]
