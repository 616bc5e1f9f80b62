"""The champion that serves: a promoted model is taken over by exchanging one reference, once it has proven itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from features.errors import ModelError
from serving.scorer import CHAMPION, Scorer, champion

LOG = logging.getLogger("touchstone")


class Champion:
    """The model that the pointer in a folder of models names, as long as it can be loaded; else the one before.

    Raises:
        ModelError: when there is none at first.

    """

    def __init__(self, models: Path) -> None:
        self._pointer, self._models = models / CHAMPION, models
        self._seen = self._stamp()
        self.scorer = champion(models)

    def look(self, prove: Callable[[Scorer], None]) -> bool:
        """Take over what was promoted since the last look, after ``prove`` has tried it; say whether it was."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            scorer = champion(self._models)
            prove(scorer)
        except ModelError as error:
            LOG.warning("The promoted model is not taken over; %s goes on serving. %s", self.scorer.version, error)
            return False
        exchanged = scorer.version != self.scorer.version
        self.scorer = scorer  # requests under way keep the one they began with
        return exchanged

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._pointer.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns
