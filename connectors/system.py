"""A system, as the layer above sees it: what it can be read by, and how scores are written to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from connectors.landing import Reading
from connectors.session import Manners, Session


@dataclass(frozen=True)
class Score:
    """What is to be written of one lead."""

    lead_id: str
    record: str  # its id in the system
    probability: float
    grade: str
    trend: str
    reasons: str
    model_version: str
    scored_at: datetime


@dataclass(frozen=True)
class Field:
    """One field that holds a part of a score."""

    label: str
    kind: str  # number, text or time
    value: Callable[[Score], float | str | datetime]


FIELDS = {
    "close_probability": Field("Close probability", "number", lambda score: round(score.probability, 4)),
    "score_grade": Field("Score grade", "text", lambda score: score.grade),
    "score_trend": Field("Score trend", "text", lambda score: score.trend),
    "score_top_factors": Field("Score: top factors", "text", lambda score: score.reasons),
    "score_model_version": Field("Score: model version", "text", lambda score: score.model_version),
    "scored_at": Field("Scored at", "time", lambda score: score.scored_at),
}


@dataclass(frozen=True)
class System(ABC):
    """One connected system: ``settings`` are its own, ``asked`` says which fields its mapping wants."""

    session: Session
    settings: Any
    asked: Mapping[str, Any]

    name: ClassVar[str]
    prefix: ClassVar[str]  # of the lead_ids of its people

    @staticmethod
    @abstractmethod
    def manners(settings: Any, environment: Mapping[str, str]) -> Manners:
        """Return how the system is asked.

        Raises:
            ConfigError: when a secret or an address is missing.

        """

    @abstractmethod
    def batch(self, changed: int) -> int:
        """Return how many scores are written in one call, when so many changed."""

    @abstractmethod
    def readings(self) -> list[Reading]:
        """Return the streams that can be read, in the order in which they are."""

    @abstractmethod
    def prepare(self) -> None:
        """See to it that the fields are there, or say who has to make them."""

    @abstractmethod
    def write(self, scores: Sequence[Score]) -> list[str]:
        """Write scores, and say of each why it was refused; nothing, if it was not."""

    def takes(self, lead_id: str, scored: str) -> bool:  # noqa: ARG002  # most systems take all
        """Say whether the record of a lead, which is known to be the one that was scored, takes its score."""
        return True

    def record(self, lead_id: str) -> str:
        """Return the id in the system of one of its people."""
        return lead_id.removeprefix(self.prefix)
