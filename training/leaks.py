"""Leaks: columns that know the outcome, because they were written after it. They are left out, and said.

What a lead does has its own time, and is cut at the moment of the snapshot. An attribute is as old as its row says,
which a system that overwrites its fields gets wrong: the call's length is known after the call, the basket's value
after the purchase. That shows in the data, if not for certain; ``keep_columns`` keeps what is innocent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.history import NEVER, History
from features.outcomes import Outcomes
from features.verbs import Feature
from training.lines import logistic_line
from training.metrics import roc_auc

Floats = NDArray[np.float64]
TOO_GOOD = 0.95  # ROC AUC of one column, and correlation of its absence with the outcome (TransmogrifAI's default)
SOMETHING = 0.6  # ROC AUC of those together, below which there is nothing to beat
TELLING = 0.75  # ROC AUC from which on one attribute that beats all other columns together is suspected
FEWEST_KNOWN = 20  # values of a column to judge it by
BY_CHANCE = 1e-6  # probability that all known values of an innocent column belong to the same class
AFTERWARDS = 0.9  # share of an attribute's values that were first known after the lead was closed


@dataclass(frozen=True)
class Leak:
    """A feature that seems to know the outcome, and why."""

    feature: str
    why: str


def leaks(matrix: Floats, labels: Floats, features: Sequence[Feature]) -> tuple[Leak, ...]:
    """Return the features (columns) that seem to know the labels (n); both classes must be there."""
    found = {}
    alone = [_auc_alone(matrix[:, i], labels, feature) for i, feature in enumerate(features)]
    for i, feature in enumerate(features):
        sentences = _sentences(matrix[:, i], labels, feature, alone[i])
        if why := next(sentences, None):
            found[feature.name] = why
    rest = [i for i, feature in enumerate(features) if feature.name not in found]
    suspect = max((i for i in rest if features[i].verb == "attribute"), key=lambda i: alone[i], default=None)
    if suspect is not None and alone[suspect] >= TELLING:
        others = [i for i in rest if i != suspect]
        together = _auc_together(matrix[:, others], labels, [features[i] for i in others])
        if alone[suspect] > together >= SOMETHING:
            found[features[suspect].name] = (
                f"alone it ranks leads better (ROC AUC {alone[suspect]:.2f}) than all other columns together "
                f"({together:.2f}): was it written after the outcome?"
            )
    return tuple(Leak(name, why) for name, why in found.items())


def written_afterwards(history: History, outcomes: Outcomes, before: int) -> tuple[Leak, ...]:
    """Return the attributes whose values were mostly first known when the lead was closed already."""
    versions, found = history.versions, []
    lead = versions.leads()
    for name in sorted(versions.codes):
        known = (versions.codes[name] >= 0) & (versions.known < before)
        first = np.full(len(history.lead_ids), NEVER)
        np.minimum.at(first, lead[known], versions.known[known])
        closed = (first < NEVER) & (outcomes.closed < NEVER)
        late = int((first >= outcomes.closed)[closed].sum())
        if late >= FEWEST_KNOWN and late >= AFTERWARDS * closed.sum():
            why = f"{late:,} of {closed.sum():,} leads that were closed had no value of it before they were"
            found.append(Leak(name, why))
    return tuple(found)


def _sentences(values: Floats, labels: Floats, feature: Feature, alone: float) -> Iterator[str]:
    if alone > TOO_GOOD:
        yield f"alone it tells who is won (ROC AUC {alone:.3f})"
    if feature.verb != "attribute":
        return
    known = ~np.isnan(values)
    if 0 < known.sum() < len(known) and abs(np.corrcoef(known, labels)[0, 1]) > TOO_GOOD:
        yield "whether it is known tells who is won"
    wins = labels[known]
    share = labels.mean() if wins[:1] == 1 else 1 - labels.mean()
    if len(np.unique(wins)) == 1 and not known.all() and share ** len(wins) < BY_CHANCE:
        yield f"it is known only of leads that were {'won' if wins[0] else 'not won'}"


def _auc_alone(values: Floats, labels: Floats, feature: Feature) -> float:
    """Return how well one column ranks, up or down; a category by the share of wins in its levels."""
    known = ~np.isnan(values)
    seen, wins = values[known], labels[known]
    if len(np.unique(wins)) < 2 or len(seen) < FEWEST_KNOWN:  # noqa: PLR2004  # classes
        return 0.5
    if feature.levels:
        place = seen.astype(np.int64)
        seen = (np.bincount(place, wins) / np.bincount(place).clip(1))[place]
    found = roc_auc(wins, seen)
    return max(found, 1 - found)


def _auc_together(matrix: Floats, labels: Floats, features: Sequence[Feature]) -> float:
    """Return how well a line of all columns ranks the half of the rows that it did not see."""
    half, alike = np.arange(len(matrix)) % 2 == 0, np.ones(len(matrix))
    if not features or any(len(np.unique(labels[part])) == 1 for part in (half, ~half)):
        return 0.5
    line = logistic_line(matrix[half], labels[half], alike[half], features)
    return roc_auc(labels[~half], line.margins(matrix[~half]))
