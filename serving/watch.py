"""The watch: a thread that takes over what others have changed, the champion and the lake, while answers go on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime

import numpy as np

from features.errors import TouchstoneError
from features.history import microseconds
from features.verbs import Moments
from serving.desk import Desk
from serving.scorer import Scorer
from serving.scores import scores

LOG = logging.getLogger("touchstone")
EVERY = 0.2  # seconds
FOLLOWED = 1.0  # seconds between two looks at a team's store, of one small request each
TRIED = 3  # leads that a new champion scores before it serves


class Watch:
    """Looks after one desk from ``start`` to ``stop``."""

    def __init__(self, desk: Desk, clock: Callable[[], datetime]) -> None:
        self.desk, self.clock = desk, clock
        self._stopped, self._followed = threading.Event(), -FOLLOWED
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def start(self) -> None:
        """Read what is there, and begin."""
        self._look()
        self._try(self.desk.champion.scorer)
        self._thread.start()

    def stop(self) -> None:
        """End, once what is being read is read."""
        self._stopped.set()
        self._thread.join()

    def look(self) -> None:
        """Take over what has changed since the last look."""
        self._follow()
        if self.desk.champion.look(self._try):
            LOG.warning("Model %s is champion now.", self.desk.champion.scorer.version)
        more = self.desk.champion.scorer.spec.columns
        with self.desk.residence.changing:  # not between a change of our own and the word of it
            current = self.desk.residence.is_current(more)
        if not current or self.desk.residence.is_worn:
            self.desk.read_again(more)

    def _follow(self) -> None:
        """Ask the team's store, if there is one, now and then."""
        store, now = self.desk.lake.store, time.monotonic()
        if store and now - self._followed >= FOLLOWED:
            self._followed = now
            store.follow()

    def _watch(self) -> None:
        while not self._stopped.wait(EVERY):
            self._look()

    def _look(self) -> None:
        try:
            self.look()
        except (TouchstoneError, OSError) as error:
            LOG.warning("The service goes on with what it knew. %s", error)
        except Exception:
            LOG.exception("The service goes on with what it knew.")

    def _try(self, scorer: Scorer) -> None:
        """Let a model score a few leads, which also prepares what its first request would have to."""
        now = self.desk.residence.now
        if now is not None:
            lead_ids = [*now.place][:TRIED]
            history, positions = now.excerpt(lead_ids)
            scores(scorer, Moments(history, positions, np.full(len(lead_ids), microseconds(self.clock()))))
