"""What was said lately: scores as JSON, to be said again as long as nothing more is known."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from serving.messages import ScoreRequest

KEPT_SECONDS = 60  # a score said without a moment is said again for so long
MOST_KEPT = 20_000


class Once(NamedTuple):
    """A score as JSON, and until when (microseconds) it may be said again."""

    until: int
    content: bytes


class Said:
    """The scores said lately, by lead. ``basis`` tells which model and which lake they are of; another voids them."""

    def __init__(self, basis: Callable[[], object]) -> None:
        self.heard = 0  # how often more became known
        self._basis = basis
        self._said: OrderedDict[str, Once] = OrderedDict()
        self._said_of: object = None

    def answers(self, request: ScoreRequest) -> bool:
        """Say whether the answer is at hand, as far as can be told without a clock."""
        return bool(request.lead_ids) and request.as_of is None and all(i in self._said for i in request.lead_ids)

    def of(self, lead_ids: Sequence[str], now: int) -> list[bytes] | None:
        """Return what was said of all of some leads lately; None if it was not said of all, or all has changed."""
        basis = self._basis()
        if basis != self._said_of:
            self._said.clear()
            self.heard += 1
            self._said_of = basis
        found = [once.content for lead_id in lead_ids if (once := self._said.get(lead_id)) and once.until > now]
        return found if found and len(found) == len(lead_ids) else None

    def keep(self, lead_ids: Sequence[str], contents: Sequence[bytes], now: int) -> None:
        """Keep what was said of leads."""
        for lead_id, content in zip(lead_ids, contents, strict=True):
            self._said[lead_id] = Once(now + KEPT_SECONDS * 1_000_000, content)
            self._said.move_to_end(lead_id)
        while len(self._said) > MOST_KEPT:
            self._said.popitem(last=False)

    def forget(self, lead_ids: Iterable[str]) -> None:
        """Say nothing again of some leads: more is known of them."""
        self.heard += 1
        for lead_id in lead_ids:
            self._said.pop(lead_id, None)
        self._said_of = self._basis()
