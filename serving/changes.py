"""What changed since the last score: how much of it is news, how much is time, and how much is another model.

Between two scores three things happen at once. They are told apart by asking the earlier model twice more: what would
it say now if nothing had become known since (what is left is *decay*: touches leave their windows, the lead grows
older), and what does it say now with all that became known (*new data*)? What remains is the *new model*. The three
add up to the whole change of the log-odds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from features.accounts import Tenures
from features.errors import DataError
from features.events import Events
from features.history import History
from features.matrix import feature_matrix
from features.verbs import Moments
from serving.scorer import Scorer
from serving.spec import Floats
from serving.words import about

MOST = 6  # changes told
TRIFLE = 0.02  # log-odds; a smaller change is not told
Cause = Literal["new data", "decay", "new model"]


@dataclass(frozen=True)
class Change:
    """One difference between two scores: why, of which feature (none: of the model), log-odds, and a sentence."""

    cause: Cause
    feature: str
    effect: float
    text: str


@dataclass(frozen=True)
class Changes:
    """Two scores of a lead and what lies between them.

    ``moved`` is the change of the log-odds, of which each cause in ``by_cause`` has its part; ``told`` are the largest
    of the single changes, the largest first.
    """

    before: float  # probability
    after: float
    moved: float
    by_cause: dict[Cause, float]
    told: tuple[Change, ...]


def changes(earlier: Scorer, later: Scorer, history: History, lead_id: str, then: int, now: int) -> Changes:
    """Return what lies between what one model said of a lead then and what another, or the same, says now.

    Args:
        earlier: the model that scored the lead then.
        later: the model that scores it now.
        history: of the lead, and of the other contacts of its account; with the columns both models look at.
        lead_id: the lead.
        then: moment of the earlier score, in microseconds.
        now: moment of the later one.

    Raises:
        DataError: when the lead was not known at both moments.

    """
    at = [int(history.positions([lead_id], moment)[0]) for moment in (then, now)]
    if min(at) < 0 or history.created[at[0]] >= then or then > now:
        raise DataError(f"{lead_id} was not known at both moments, so that nothing can be said of what changed.")
    asked = ((history, at[0], then), (_known_before(history, then), at[1], now), (history, at[1], now))
    rows = np.concatenate([_row(earlier, *one) for one in asked])
    margins = earlier.margins(rows)
    effects, said = earlier.effects(rows, margins), earlier.log_odds(margins)
    newest = later.log_odds(later.margins(_row(later, *asked[2])))[0]
    found = [
        *_by_feature(earlier, "decay", rows[0], rows[1], effects[1] - effects[0]),
        *_by_feature(earlier, "new data", rows[1], rows[2], effects[2] - effects[1]),
        *_by_model(earlier, later, float(newest - said[2])),
    ]
    told = sorted((one for one in found if abs(one.effect) >= TRIFLE), key=lambda one: -abs(one.effect))[:MOST]
    return Changes(
        before=1 / (1 + math.exp(-said[0])),
        after=1 / (1 + math.exp(-newest)),
        moved=float(newest - said[0]),
        by_cause={
            "decay": float(said[1] - said[0]),
            "new data": float(said[2] - said[1]),
            "new model": float(newest - said[2]),
        },
        told=tuple(told),
    )


def _row(scorer: Scorer, history: History, lead: int, moment: int) -> Floats:
    return feature_matrix(scorer.spec.features, Moments(history, np.array([lead]), np.array([moment])))


def _by_feature(scorer: Scorer, cause: Cause, before: Floats, after: Floats, effects: Floats) -> Iterator[Change]:
    for feature, old, new, effect in zip(scorer.spec.features, before, after, effects, strict=True):
        if feature.said(float(old)) == feature.said(float(new)):
            what = f"{about(feature.about)}: still {feature.said(float(new))}, but it counts otherwise with the rest"
        else:
            what = f"{about(feature.about)}: {feature.said(float(new))} instead of {feature.said(float(old))}"
        why = " as time went by" if cause == "decay" else ""
        yield Change(cause, feature.name, float(effect), f"{what}{why}, {_odds(float(effect))}")


def _by_model(earlier: Scorer, later: Scorer, effect: float) -> Iterator[Change]:
    if earlier.version != later.version:
        models = f"{later.version} instead of {earlier.version}"
        yield Change("new model", "", effect, f"The model was trained again: {models}, {_odds(effect)}")


def _odds(effect: float) -> str:
    return f"{'raises' if effect > 0 else 'lowers'} the odds {math.exp(abs(effect)):.2f} times"


def _known_before(history: History, moment: int) -> History:
    """Return a history without what became known from a moment on."""
    joined = history.contacts.since < moment
    return replace(
        history,
        versions=_before(history.versions, moment),
        touches=_before(history.touches, moment),
        stages=_before(history.stages, moment),
        feedback=_before(history.feedback, moment),
        contacts=Tenures(*(column[joined] for column in history.contacts)),
    )


def _before(events: Events, moment: int) -> Events:
    return events.chosen(events.known < moment)
