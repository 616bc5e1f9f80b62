"""Many people are synchronised as fast as HubSpot's limits allow; ``benchmarks/connect.py`` takes 100,000."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from connected import NOW, Account, FakeClock, scored

from connectors.standins.hubspot import HubSpot

PEOPLE, WITH_HISTORY, IN_A_BATCH = 10_000, 50, 100
CALLS, SECONDS = 190, 10.0  # what an account may do


def synchronised(people: int, workspace: Path) -> tuple[float, float]:
    """Return the seconds, by the clock of the limits, that it takes to read so many people and to write them."""
    clock = FakeClock()
    hubspot = HubSpot(NOW, seconds=clock.seconds)
    hubspot.switches.calls_in_window, hubspot.switches.window = CALLS, SECONDS
    for number in range(1, people + 1):
        hubspot.put("contacts", str(number), NOW - timedelta(days=1), email=f"p{number}@example.com", jobtitle="Clerk")
    account = Account("hubspot", hubspot, workspace, clock, streams=("contacts",))
    assert sum(result.stored for result in account.read() if result.table == "leads") == people
    reading = clock.at
    clock.wait(SECONDS)  # the next command does not know what this one sent last
    began = clock.at
    scored(account, {f"hubspot:{number}": 0.3 for number in range(1, people + 1)})
    assert (account.sync().written, hubspot.told_to_wait) == (people, 0)
    return reading, clock.at - began


def computed(people: int) -> tuple[float, float]:
    """Return the seconds that the limits allow at best."""
    return people / WITH_HISTORY * SECONDS / CALLS, people / IN_A_BATCH * SECONDS / CALLS


def test_many_people_take_the_computed_time_and_nobody_is_told_to_wait(tmp_path: Path) -> None:
    reading, writing = synchronised(PEOPLE, tmp_path)
    at_best = computed(PEOPLE)
    assert (reading < 1.2 * at_best[0], writing < 1.2 * at_best[1]) == (True, True)
