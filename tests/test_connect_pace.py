"""100,000 people are synchronised as fast as HubSpot's limits allow, in bounded memory."""

from __future__ import annotations

import resource
from datetime import timedelta
from pathlib import Path

from connected import NOW, Account, FakeClock, scored

from connectors.standins.hubspot import HubSpot

PEOPLE, WITH_HISTORY, IN_A_BATCH = 100_000, 50, 100
CALLS, SECONDS = 190, 10.0  # what an account may do
MEGABYTES = 900  # most of it is what the lake's own query may take


def most_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_a_hundred_thousand_people_take_the_computed_time_and_little_memory(tmp_path: Path) -> None:
    clock = FakeClock()
    hubspot = HubSpot(NOW, seconds=clock.seconds)
    hubspot.switches.calls_in_window, hubspot.switches.window = CALLS, SECONDS
    for number in range(1, PEOPLE + 1):
        hubspot.put("contacts", str(number), NOW - timedelta(days=1), email=f"p{number}@example.com", jobtitle="Clerk")
    account = Account("hubspot", hubspot, tmp_path, clock, streams=("contacts",))
    before = most_megabytes()
    assert sum(result.stored for result in account.read() if result.table == "leads") == PEOPLE
    reading = PEOPLE / WITH_HISTORY * SECONDS / CALLS
    assert (clock.at < 1.2 * reading, hubspot.told_to_wait) == (True, 0)

    began = clock.at
    scored(account, {f"hubspot:{number}": 0.3 for number in range(1, PEOPLE + 1)})
    assert account.sync().written == PEOPLE
    writing = PEOPLE / IN_A_BATCH * SECONDS / CALLS
    assert (clock.at - began < 1.2 * writing, hubspot.told_to_wait) == (True, 0)
    assert most_megabytes() - before < MEGABYTES
