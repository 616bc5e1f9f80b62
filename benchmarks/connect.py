"""The round trip of 5,000 people through each system, and 100,000 people through HubSpot's limits, on stand-ins.

Prints the CPU seconds of each part, the seconds that the limits' clock counted beside those they allow at best, and the
most memory that was held. What must hold on the way is asserted by the tests that take the same way with fewer people.

Run: .venv/bin/python benchmarks/connect.py [PEOPLE [PEOPLE OF THE LIMITS]]
"""

from __future__ import annotations

# ruff: noqa: E402, I001

import resource
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0:1] = [str(ROOT), str(ROOT / "tests")]  # not this folder, whose features.py is no package

from connected import people
from test_connect_pace import computed, synchronised
from test_connect_round_trip import round_trip

PEOPLE, OF_THE_LIMITS = 5_000, 100_000
LEAST_AUC, MOST_AUC = 0.6, 0.85
SYSTEMS = ("hubspot", "salesforce", "marketo", "mailchimp")


class Laps:
    """CPU seconds of one part after the other."""

    def __init__(self) -> None:
        self.last = self.now()

    def now(self) -> float:
        """Return the CPU seconds that this process has taken."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    def lap(self, name: str) -> None:
        """Print what a part took."""
        print(f"  {name:10} {self.now() - self.last:7.1f} s CPU", flush=True)
        self.last = self.now()


def main() -> None:
    """Print what each way took."""
    given = [int(text) for text in sys.argv[1:]]
    most, many = (*given, *(PEOPLE, OF_THE_LIMITS)[len(given) :])
    laps = Laps()
    with tempfile.TemporaryDirectory() as folder:
        before = _megabytes()
        print(f"HubSpot's limits, {many:,} people")
        took, at_best = synchronised(many, Path(folder)), computed(many)
        laps.lap("all")
        for name, seconds, least in zip(("reading", "writing"), took, at_best, strict=True):
            print(f"  {name:10} {seconds:7.1f} s by the limits' clock, {least:.1f} s at best")
        print(f"  held {_megabytes() - before:,.0f} MB more than before")
    people(most)
    laps.lap("simulating")
    for name in SYSTEMS:
        print(f"{name}, {most:,} people")
        with tempfile.TemporaryDirectory() as folder:
            auc = round_trip(name, Path(folder), most, laps.lap)
            print(f"  ROC AUC {auc:.3f}", flush=True)
            assert most < PEOPLE or LEAST_AUC < auc < MOST_AUC  # noqa: S101  # it learned, and not in hindsight


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
