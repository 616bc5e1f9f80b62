"""The champion as the bar for a new model: what it says of later snapshots, or what stands for it there.

A champion that learned after the first of these snapshots was taken may have seen how they ended, and would be praised
for remembering. Then its settings are compared instead: a model of them learns from what the new settings are judged by
learning from, and both say what they think of the same snapshots.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from features.catalogue import catalogue_of
from features.errors import ConfigError, ModelError
from features.history import History
from features.settings import Goal, Settings
from features.verbs import Feature
from serving.scorer import CARD, Scorer, champion
from training.backtest import backtest, predictions_of
from training.leaks import Leak
from training.learning import named
from training.snapshots import Labelled

SEEN, NOT_COMPARED = "The champion has seen these leads:", "it was not compared with"


@dataclass(frozen=True)
class Incumbent:
    """The model that serves, and the settings by which it learned; None if its card names none that can be used."""

    scorer: Scorer
    settings: Settings | None

    @property
    def looks_at(self) -> tuple[Feature, ...]:
        """Return the features that it, or another model of its settings, may look at."""
        return (*self.scorer.spec.features, *(catalogue_of(self.settings.features) if self.settings else ()))

    def says(
        self, tested: Labelled, history: History, settings: Settings, as_of: int, leaks: Sequence[Leak]
    ) -> tuple[pd.DataFrame | None, str]:
        """Return predictions of later snapshots, and a sentence where they are not the champion's own.

        None where there is nothing to compare: it learned of another goal, by the same settings or of other snapshots,
        or looks at what the leak report names, so that no model that does not can beat it.
        """
        if unlike := self._other_goal(settings.goal):
            return None, f"The champion {unlike}: {NOT_COMPARED}."
        if knowing := named(self.scorer.spec.features, leaks):
            return None, f"The champion looks at {', '.join(knowing)}, which the leak report names: {NOT_COMPARED}."
        start, then = int(tested.moments.as_of.min()), self.settings
        if self.scorer.spec.learned_until <= start:
            return predictions_of(self.scorer, tested), ""
        if then is None or then.snapshots != settings.snapshots:
            return None, f"{SEEN} {NOT_COMPARED}."
        if learned_by(then) == learned_by(settings):
            return None, f"{SEEN} it learned by the same settings."
        return backtest(history, then, as_of, [start]).predictions, f"{SEEN} a model of its settings stands for it."

    def _other_goal(self, goal: Goal) -> str:
        """Say what it learned to tell instead of a goal; nothing, if it is the same. A goal's name is no part of it."""
        if (days := self.scorer.spec.horizon_days) != goal.horizon_days:
            return f"looks {days:g} days ahead, and not {goal.horizon_days:g}"
        if self.settings and self.settings.goal.model_dump() != goal.model_dump():
            return "learned of another goal"
        return ""


def incumbent(models: Path) -> Incumbent | None:
    """Return the model to beat; None if there is none yet, or one that cannot serve."""
    try:
        scorer = champion(models)
    except ModelError:
        return None
    return Incumbent(scorer, _settings(models / scorer.version / CARD))


def learned_by(settings: Settings) -> dict[str, Any]:
    """Return the settings that make a model what it is, as JSON."""
    return settings.model_dump(mode="json", include={"goal", "features", "snapshots", "training", "feedback"})


def _settings(card: Path) -> Settings | None:
    """Return the settings of a model's card; None where these are of another time and cannot be used."""
    try:
        settings = Settings.model_validate(json.loads(card.read_bytes())["settings"])
        catalogue_of(settings.features)
    except (OSError, KeyError, ValueError, ConfigError):
        return None
    return settings
