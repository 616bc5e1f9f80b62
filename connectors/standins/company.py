"""A company whose people live in four systems, which stand-ins answer for on loopback."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn

from connectors.standins.hubspot import HubSpot
from connectors.standins.mailchimp import Mailchimp
from connectors.standins.marketo import Marketo
from connectors.standins.population import Person
from connectors.standins.salesforce import Salesforce
from connectors.standins.standin import Standin

SECRETS = {  # they open nothing but the stand-ins
    "HUBSPOT_TOKEN": "pat-standin",
    "SALESFORCE_CLIENT_ID": "standin-client",
    "SALESFORCE_CLIENT_SECRET": "standin-secret",
    "MARKETO_CLIENT_ID": "standin-client",
    "MARKETO_CLIENT_SECRET": "standin-secret",
    "MAILCHIMP_API_KEY": "standinkey-us1",
}
STAGES: dict[str, Any] = {  # a source for Mailchimp's people
    "file": "mailed-stages.csv", "table": "stages", "keep_other_columns": False,
    "columns": {"lead_id": {"sql": "'mailchimp:' || md5(lower(email))"}},
}  # fmt: skip
STARTING = 20.0  # seconds


def company(people: Sequence[Person], now: datetime) -> dict[str, Standin]:
    """Return a stand-in for each system; every fourth person is in the same one."""
    salesforce = Salesforce.of(people[1::4], now)
    salesforce.deploy()
    return {
        "hubspot": HubSpot.of(people[0::4], now),
        "salesforce": salesforce,
        "marketo": Marketo.of(people[2::4], now),
        "mailchimp": Mailchimp.of(mailed(people), now),
    }


def mailed(people: Sequence[Person]) -> Sequence[Person]:
    """Return those who are in Mailchimp, which knows no stages."""
    return people[3::4]


def write_stages(people: Sequence[Person], folder: Path) -> Path:
    """Write what became of people to a file that names them by their addresses, as ``STAGES`` reads it."""
    file = folder / str(STAGES["file"])
    with file.open("w", encoding="utf-8", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(("email", "stage", "occurred_at"))
        for person in people:
            rows.writerows((person.email, stage["stage"], stage["occurred_at"].isoformat()) for stage in person.stages)
    return file


def configured(urls: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the section [connectors] of a workspace that is connected to stand-ins."""
    more: dict[str, dict[str, Any]] = {  # a stand-in needs nobody to be slow
        "hubspot": {"calls_in_10_seconds": 10_000, "searches_a_second": 1_000},
        "salesforce": {"calls_in_20_seconds": 10_000},
        "marketo": {"calls_in_20_seconds": 10_000},
        "mailchimp": {"audience": "a1b2c3", "calls_a_second": 1_000},
    }
    return {name: {"base_url": url, "share_of_quota": 1, **more[name]} for name, url in urls.items()}


@contextmanager
def running(standins: Mapping[str, Standin]) -> Iterator[dict[str, str]]:
    """Let stand-ins answer on free ports of 127.0.0.1; the addresses are by name."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(_served(standin)) for name, standin in standins.items()}


@contextmanager
def _served(standin: Standin) -> Iterator[str]:
    options = {"host": "127.0.0.1", "port": 0, "log_level": "error", "lifespan": "off", "date_header": False}
    server = uvicorn.Server(uvicorn.Config(standin.app(), **options))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + STARTING
    while not server.started and time.monotonic() < until:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(STARTING)


def shown(standin: Standin, record: str) -> dict[str, str]:
    """Return the fields of ours that a person bears there, as sales would see them."""
    if isinstance(standin, HubSpot):
        told = standin.objects["contacts"][record]["properties"]
    elif isinstance(standin, Salesforce):
        told = standin.objects["Lead" if record.startswith("00Q") else "Contact"][record]
    elif isinstance(standin, Marketo):
        told = standin.people[int(record)]
    elif isinstance(standin, Mailchimp):
        told = standin.people[record]["merge_fields"]
    else:
        raise TypeError(standin)
    ours = ("ml", "Score", "Close_", "SCORE", "CLOSEPROB")
    return {name: str(value) for name, value in told.items() if name.startswith(ours)}
