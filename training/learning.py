"""Learning: the model that could be had at a moment, from all that was known then and from nothing later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from features.catalogue import catalogue_of
from features.history import History
from features.outcomes import outcomes_of
from features.settings import Settings
from features.templates import MANY_LEVELS, seen_names, written_out
from features.verbs import Feature
from training.ensemble import Model, fit
from training.hazards import course
from training.leaks import Leak, written_afterwards
from training.levels import with_levels
from training.recalibration import recalibrated
from training.snapshots import Labelled, learnable


def model_of(history: History, settings: Settings, before: int) -> tuple[Model, Labelled]:
    """Return the model that learns from what was known before a moment (microseconds), and what it learned from.

    It looks at no column that its leak report names, but for those that ``keep_columns`` keeps.
    """
    how, rows = settings.training, learnable(history, settings, before)
    late = [
        leak
        for leak in written_afterwards(history, outcomes_of(history, settings.goal, before), before)
        if leak.feature not in how.keep_columns
    ]
    seen, catalogue = seen_names(history, before), catalogue_of(settings.features)
    features = written_out(seen, catalogue)
    innocent = tuple(feature for feature in features if not named([feature], late))
    followed = course(history, settings, before) if how.model == "competing_risks" else None
    model = fit(rows, innocent, settings.goal.horizon_days, how, followed)
    model = with_levels(model, rows, written_out(seen, catalogue, MANY_LEVELS), how.seed)
    model = recalibrated(model, rows, history, settings, before)
    return replace(model, leaks=(*model.leaks, *late)), rows


def named(features: Sequence[Feature], leaks: Sequence[Leak]) -> list[str]:
    """Return the names of the features that a leak report names, themselves or the attribute that they look at."""
    names = {leak.feature for leak in leaks}
    return [one.name for one in features if one.name in names or (one.verb == "attribute" and one.column in names)]
