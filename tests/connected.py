"""What tests of connectors share: a company's people, a clock that a test moves, and a connection to a stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pyarrow as pa

from connectors.connections import World, connected
from connectors.landing import Dock, land
from connectors.pace import Clock
from connectors.standins.hubspot import HubSpot
from connectors.standins.mailchimp import Mailchimp
from connectors.standins.marketo import Marketo
from connectors.standins.population import Person, population
from connectors.standins.salesforce import Salesforce
from connectors.standins.standin import InProcess, Standin
from connectors.system import System
from connectors.writeback import Synced, sync
from features.contract import schema
from features.ingestion import Ingested
from features.lake import Lake
from features.settings import Settings
from simulation.company import Company
from simulation.files import write

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECRETS = {
    "HUBSPOT_TOKEN": "pat-standin",
    "SALESFORCE_CLIENT_ID": "standin-client",
    "SALESFORCE_CLIENT_SECRET": "standin-secret",
    "MARKETO_CLIENT_ID": "standin-client",
    "MARKETO_CLIENT_SECRET": "standin-secret",
    "MAILCHIMP_API_KEY": "standinkey-us1",
}


@dataclass
class FakeClock:
    """A clock that passes only while somebody waits."""

    at: float = 0.0
    waits: list[float] = field(default_factory=list)

    def seconds(self) -> float:
        return self.at

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.at += seconds

    def clock(self) -> Clock:
        return Clock(self.seconds, self.wait)


@cache
def people(most: int) -> tuple[Person, ...]:
    """Return so many people of a simulated company, the same ones each time; nobody may change them."""
    with TemporaryDirectory() as folder:
        write(Company(NOW, leads=int(most * 1.1) + 20, days=400), Path(folder))
        return tuple(population(Path(folder), most))


@dataclass
class Account:
    """A workspace and the stand-in that it is connected to."""

    name: str
    standin: Standin
    workspace: Path
    clock: FakeClock = field(default_factory=FakeClock)
    configured: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=lambda: SECRETS)
    as_of: datetime = NOW
    streams: tuple[str, ...] = ()  # those that are read; none: all

    @property
    def lake(self) -> Lake:
        return Lake(self.workspace / "lake")

    @property
    def settings(self) -> Settings:
        return Settings.model_validate({
            "connectors": {self.name: {"share_of_quota": 1, **self.configured}},
            "training": {"trees": 40, "members": 2},
        })  # fmt: skip

    @contextmanager
    def open(self) -> Iterator[tuple[System, Dock]]:
        with httpx.Client(transport=InProcess(self.standin)) as http:
            world = World(self.secrets, http, self.clock.clock())
            with connected(self.name, self.workspace, self.lake, self.settings, self.as_of, world) as (system, dock):
                yield system, dock

    def read(self, say: Callable[[str], None] = lambda _: None) -> list[Ingested]:
        with self.open() as (system, dock):
            readings = [one for one in system.readings() if not self.streams or one.name in self.streams]
            return list(land(dock, system.session, readings, say))

    def sync(self, *, dry: bool = False, say: Callable[[str], None] = lambda _: None) -> Synced:
        with self.open() as (system, dock):
            return sync(system, dock, getattr(self.settings.connectors, self.name).band, say, dry=dry)

    def rows(self, table: str) -> list[dict[str, Any]]:
        return self.lake.query(f"SELECT * FROM {table} ORDER BY ALL").to_pylist()

    def told(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """Return some columns of a table, in their order."""
        rows = self.lake.query(f"SELECT {', '.join(columns)} FROM {table} ORDER BY ALL").to_pylist()
        return [tuple(row.values()) for row in rows]

    def count(self, table: str) -> int:
        ((count,),) = (row.values() for row in self.lake.query(f"SELECT count(*) FROM {table}").to_pylist())
        return int(count)


def account_of(name: str, workspace: Path, most: int) -> Account:
    """Return an account of some people in the system of that name, whose fields were deployed where they have to be."""
    clock = FakeClock()
    kinds: dict[str, type[Standin]] = {
        "hubspot": HubSpot, "salesforce": Salesforce, "marketo": Marketo, "mailchimp": Mailchimp,
    }  # fmt: skip
    standin = kinds[name].of(people(most), NOW, seconds=clock.seconds)  # type: ignore[attr-defined]
    if isinstance(standin, Salesforce):
        standin.deploy()
    configured = {"mailchimp": {"audience": "a1b2c3"}, "hubspot": {}}.get(name, {"base_url": "https://standin.example"})
    return Account(name, standin, workspace, clock, configured)


REASON = "Looked at the prices, raises the odds 2 times"


def scored(
    account: Account, probabilities: Mapping[str, float], grade: str = "B", days: float = 0,
    why: Mapping[str, float] = {REASON: 0.7},
) -> None:  # fmt: skip
    """Store scores of leads, as a model of version v1 might have served them; ``why`` has each reason's effect."""
    reasons = json.dumps([{"effect": effect, "text": text} for text, effect in why.items()])
    rows = [
        {"lead_id": lead, "as_of": account.as_of + timedelta(days=days), "horizon_days": 90.0, "probability": p,
         "low": p, "high": p, "grade": grade, "trend": "steady", "reasons": reasons, "model_version": "v1"}
        for lead, p in probabilities.items()
    ]  # fmt: skip
    account.lake.append("scores", pa.Table.from_pylist(rows, schema("scores")))
