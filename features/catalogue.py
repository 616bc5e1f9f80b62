"""The catalogue: one line a feature. It is the data dictionary.

Lines with ``each`` are templates; ``learned_features`` writes them out for the names and categories that a
history shows, and the model keeps the result, so that tomorrow's names cannot change yesterday's features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.history import Events, History
from features.objections import profiled
from features.sweep import Floats, sweep
from features.verbs import VERBS, Feature, Moments, number

FEWEST_LEADS = 20  # a name seen with fewer leads teaches nothing
MOST_NAMES = 60  # of a column
MOST_LEVELS = 30  # of an attribute; rarer ones are "other"
BLOCK = 10_000  # moments measured at once: few enough to stay in the processor's cache


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
    """Return the catalogue with its templates written out for what was known before a moment (microseconds).

    An attribute that is called like another feature is named apart: ``stage_attribute``.
    """
    features = [feature for line in catalogue for feature in _written_out(line, history, before)]
    taken = {feature.name for feature in features if feature.verb != "attribute"}
    clashes = [feature.verb == "attribute" and feature.name in taken for feature in features]
    return tuple(
        replace(feature, name=f"{feature.name}_attribute") if clash else feature
        for feature, clash in zip(features, clashes, strict=True)
    )


def feature_matrix(features: Sequence[Feature], moments: Moments) -> Floats:
    """Return the features (columns) at the moments (rows): the one function behind training, batch and service.

    A row depends only on what was known of its own lead before its own moment.
    """
    matrix = np.empty((len(moments), len(features)))
    order = np.argsort(moments.lead, kind="stable")
    for block in np.split(order, range(BLOCK, len(order), BLOCK)):
        matrix[block] = _block(features, Moments(moments.history, moments.lead[block], moments.as_of[block]))
    return matrix


def _block(features: Sequence[Feature], moments: Moments) -> Floats:
    history = moments.history
    tables = {"touches": history.touches, "stages": history.stages, "versions": history.versions}
    verbs = [VERBS[feature.verb] for feature in features]
    needs = [verb.needs(feature) for verb, feature in zip(verbs, features, strict=True)]
    measured = {}
    for name, events in tables.items():
        wanted = [need for verb, some in zip(verbs, needs, strict=True) if verb.events == name for need in some]
        measured[name] = sweep(events, moments.lead, moments.as_of, wanted)
    matrix = np.empty((len(moments), len(features)))
    for column, (feature, verb, some) in enumerate(zip(features, verbs, needs, strict=True)):
        matrix[:, column] = verb.value(feature, moments, *(measured[verb.events][need] for need in some))
    return matrix


def _written_out(line: Feature, history: History, before: int) -> Iterator[Feature]:
    if not line.each:
        yield line
    elif line.each == "attribute":
        for name in sorted(history.versions.codes):
            leads = _leads_by_name(history, history.versions, name, before)
            yield from _attribute(replace(_named(line, name), column=name), leads)
    elif line.each == "stage":
        yield replace(
            line, each="", levels=_frequent(_leads_by_name(history, history.stages, "stage", before), MOST_NAMES)
        )
    else:
        for name in _frequent(_leads_by_name(history, history.touches, line.each, before), MOST_NAMES):
            yield replace(_named(line, name), where=((line.each, name),))


def _named(line: Feature, name: str) -> Feature:
    return replace(line, each="", name=line.name.format(name), about=line.about.format(name))


def _attribute(feature: Feature, leads: dict[str, int]) -> Iterator[Feature]:
    """Yield the feature as a number if every value known is one, else with its frequent values as levels."""
    if leads and not any(math.isnan(number(name)) for name in leads):
        yield feature
    elif levels := _frequent(leads, MOST_LEVELS):
        yield replace(feature, levels=levels)


def _leads_by_name(history: History, events: Events, column: str, before: int) -> dict[str, int]:
    """Return with how many leads, as they were known then, each name of a column was seen before a moment."""
    codes, names, leads = events.codes[column].astype(np.int64), events.names[column], events.leads()
    seen = (events.known < before) & (codes >= 0) & history.live(np.arange(len(history.lead_ids)), before)[leads]
    seen &= profiled(history, before)[leads]
    pairs = pc.unique(pa.array(codes[seen] + leads[seen] * len(names))).to_numpy()  # of name and lead
    counts = np.bincount(pairs % max(len(names), 1), minlength=len(names)).tolist()
    return {name: count for name, count in zip(names, counts, strict=True) if count}


def _frequent(leads: dict[str, int], most: int) -> tuple[str, ...]:
    ranked = sorted(leads, key=lambda name: (-leads[name], name))
    return tuple(name for name in ranked[:most] if leads[name] >= FEWEST_LEADS)
