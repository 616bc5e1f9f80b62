"""Pace: how fast, and how often in a day, a system may be asked. Time is counted by a clock that is handed in."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from features.errors import Partly


@dataclass(frozen=True)
class Clock:
    """What time passes by: seconds since some moment, and a way to wait."""

    seconds: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep


class Pace:
    """At most so many calls in any so many seconds."""

    def __init__(self, calls: int, seconds: float, clock: Clock) -> None:
        self.window, self.clock = seconds, clock
        self.sent = deque[float](maxlen=calls)

    def keep(self) -> None:
        """Wait until one more call may be sent, and count it."""
        if len(self.sent) == self.sent.maxlen:
            too_early = self.sent[0] + self.window - self.clock.seconds()
            if too_early > 0:
                self.clock.wait(too_early)
        self.sent.append(self.clock.seconds())


@dataclass
class Quota:
    """How many of a day's calls may be ours, and how many were: the day's limit is shared with everybody else."""

    calls_a_day: int
    share: float  # of the day's calls, 0 to 1
    day: str  # as 2026-02-28
    calls: dict[str, int] = field(default_factory=dict)  # by day, of today alone

    def spend(self, system: str) -> None:
        """Count one call.

        Raises:
            Partly: when the share is used up.

        """
        used, most = self.calls.get(self.day, 0), int(self.calls_a_day * self.share)
        if used >= most:
            raise Partly(
                f"{system} was called {used:,} times on {self.day}, which is the share of {self.share:.0%} of "
                f"{self.calls_a_day:,} calls a day that connectors.{system}.share_of_quota leaves to us. What was done "
                "is kept; give the command again tomorrow, and it goes on from here."
            )
        self.calls = {self.day: used + 1}
