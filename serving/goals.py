"""Further goals: the champions of [goals], beside the main one that the service keeps at hand."""

from __future__ import annotations

from pathlib import Path

from bentoml.exceptions import InvalidArgument

from features.errors import ModelError
from features.goals import room_of
from features.settings import Settings
from serving.champion import Champion
from serving.scorer import Scorer


class Goals:
    """The champions of all further goals, each read when it is first asked for, and again when another serves."""

    def __init__(self, workspace: Path, settings: Settings) -> None:
        self._workspace, self._settings = workspace, settings
        self._champions: dict[str, Champion] = {}

    def scorer(self, name: str) -> Scorer:
        """Return the model that serves a goal.

        Raises:
            InvalidArgument: when there is no such goal, or no model for it yet.

        """
        if name not in self._settings.goals:
            known = f"The goals are: {', '.join(self._settings.goals)}." if self._settings.goals else "There are none."
            raise InvalidArgument(f"There is no goal {name}. {known}")
        try:
            if name not in self._champions:
                self._champions[name] = Champion(room_of(self._workspace, name) / "models")
            self._champions[name].look(lambda _: None)
        except ModelError:
            raise InvalidArgument(f"No model serves {name} yet. Run `touchstone train --goal {name}`.") from None
        return self._champions[name].scorer
