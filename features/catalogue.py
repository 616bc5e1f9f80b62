"""The catalogue: one line a feature. It is the data dictionary.

Lines with ``each`` are templates; ``learned_features`` writes them out for the names and categories that a
history shows, and the model keeps the result, so that tomorrow's names cannot change yesterday's features.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from features.history import Events, History
from features.sweep import Floats, sweep
from features.verbs import VERBS, Feature, Moments, number

FEWEST_LEADS = 20  # a name seen with fewer leads teaches nothing
MOST_NAMES = 60  # of a column
MOST_LEVELS = 30  # of an attribute; rarer ones are "other"


def count(name: str, about: str, days: float | None = None, each: str = "") -> Feature:
    """Count touches within the last ``days``."""
    return Feature(name, "count", about, "touches", days=days, each=each)


def recency(name: str, about: str, each: str = "") -> Feature:
    """Return days since the last touch; missing if there was none."""
    return Feature(name, "recency", about, "days", each=each)


def distinct(name: str, column: str, about: str, days: float | None = None) -> Feature:
    """Count different names in a column of the touches within the last ``days``."""
    return Feature(name, "distinct", about, f"{column}s", days=days, column=column)


CATALOGUE: tuple[Feature, ...] = (
    Feature("{}", "attribute", "{} of the lead, as known then", group="fit", each="attribute"),
    Feature("age_days", "age", "Days since the lead was created", "days", "fit"),
    count("touches", "Touches so far"),
    count("touches_1d", "Touches in the last day", 1),
    count("touches_7d", "Touches in the last 7 days", 7),
    count("touches_30d", "Touches in the last 30 days", 30),
    count("touches_90d", "Touches in the last 90 days", 90),
    count("{}_touches", "Touches of kind {} so far", each="kind"),
    count("{}_touches_7d", "Touches of kind {} in the last 7 days", 7, each="kind"),
    count("{}_touches_30d", "Touches of kind {} in the last 30 days", 30, each="kind"),
    count("{}_channel_touches_90d", "Touches through {} in the last 90 days", 90, each="channel"),
    recency("days_since_touch", "Days since the last touch"),
    recency("days_since_{}", "Days since the last touch of kind {}", each="kind"),
    recency("days_since_{}_channel", "Days since the last touch through {}", each="channel"),
    Feature("days_since_first_touch", "first_seen", "Days since the first touch", "days"),
    Feature("activity_7d", "decayed", "Touches, each counting half after 7 days", "touches", days=7),
    Feature("activity_30d", "decayed", "Touches, each counting half after 30 days", "touches", days=30),
    Feature("momentum_7d", "trend", "Touches this week against the weekly mean of four", "times", days=7),
    Feature("days_between_touches", "rhythm", "Mean days between two touches", "days"),
    distinct("channels", "channel", "Different channels so far"),
    distinct("channels_30d", "channel", "Different channels in the last 30 days", 30),
    distinct("kinds", "kind", "Different kinds of touch so far"),
    distinct("kinds_7d", "kind", "Different kinds of touch in the last 7 days", 7),
    Feature("stage", "stage", "Stage the lead is in", column="stage", each="stage"),
    Feature("days_in_stage", "in_stage", "Days since the stage last changed", "days"),
    Feature("stage_changes", "stage_changes", "Changes of stage so far", "changes"),
)


def learned_features(history: History, before: int, catalogue: Sequence[Feature] = CATALOGUE) -> tuple[Feature, ...]:
    """Return the catalogue with its templates written out for what was known before a moment (microseconds)."""
    return tuple(feature for line in catalogue for feature in _written_out(line, history, before))


def feature_matrix(features: Sequence[Feature], moments: Moments) -> Floats:
    """Return the features (columns) at the moments (rows): the one function behind training, batch and service.

    A row depends only on what was known of its own lead before its own moment.
    """
    history = moments.history
    events = {"touches": history.touches, "stages": history.stages, "versions": history.versions}
    needs = [VERBS[feature.verb].needs(feature, history) for feature in features]
    measured = {}
    for name, rows in events.items():
        wanted = [
            measure
            for feature, measures in zip(features, needs, strict=True)
            if VERBS[feature.verb].events == name
            for measure in measures
        ]
        measured[name] = sweep(rows, moments.lead, moments.as_of, wanted) if wanted else {}
    matrix = np.empty((len(moments), len(features)))
    for column, (feature, measures) in enumerate(zip(features, needs, strict=True)):
        verb = VERBS[feature.verb]
        matrix[:, column] = verb.value(feature, moments, *(measured[verb.events][m] for m in measures))
    return matrix


def _written_out(line: Feature, history: History, before: int) -> Iterator[Feature]:
    if not line.each:
        yield line
    elif line.each == "attribute":
        yield from _attributes(line, history, before)
    elif line.each == "stage":
        yield replace(line, each="", levels=_frequent_names(history.stages, "stage", before))
    else:
        for name in _frequent_names(history.touches, line.each, before):
            yield replace(
                line,
                each="",
                name=line.name.format(name),
                about=line.about.format(name),
                where=((line.each, name),),
            )


def _attributes(line: Feature, history: History, before: int) -> Iterator[Feature]:
    known = [history.attributes[row] for row in np.flatnonzero(history.versions.known < before)]
    for name in sorted({name for attributes in known for name in attributes}):
        values = [value for attributes in known if (value := attributes.get(name)) not in (None, "")]
        feature = replace(line, each="", name=line.name.format(name), about=line.about.format(name), column=name)
        if values and all(not math.isnan(number(value)) for value in values):
            yield feature
        elif levels := _frequent(Counter(map(str, values)), MOST_LEVELS):
            yield replace(feature, levels=levels)


def _frequent_names(events: Events, column: str, before: int) -> tuple[str, ...]:
    codes, names = events.codes[column].astype(np.int64), events.names[column]
    seen = (events.known < before) & (codes >= 0)
    pairs = np.unique(codes[seen] + events.leads()[seen] * len(names))  # one for each name and lead
    leads = np.bincount(pairs % max(len(names), 1), minlength=len(names))
    return _frequent(Counter(dict(zip(names, leads.tolist(), strict=True))), MOST_NAMES)


def _frequent(leads: Counter[str], most: int) -> tuple[str, ...]:
    ranked = sorted(leads.items(), key=lambda item: (-item[1], item[0]))
    return tuple(name for name, seen in ranked[:most] if seen >= FEWEST_LEADS)
