"""Connections: a configured system, ready to be read and written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx

from connectors.hubspot import HubSpot
from connectors.landing import Dock, Reading, land
from connectors.mailchimp import Mailchimp
from connectors.mapping import mapped, mapping_of
from connectors.marketo import Marketo
from connectors.pace import Clock, Quota
from connectors.progress import progress_of
from connectors.salesforce import Salesforce
from connectors.session import Session
from connectors.system import System
from features.errors import ConfigError
from features.ingestion import Ingested
from features.lake import Lake
from features.settings import Settings

SYSTEMS: dict[str, type[System]] = {system.name: system for system in (HubSpot, Salesforce, Marketo, Mailchimp)}


@dataclass(frozen=True)
class World:
    """What a connection needs of the world: secrets, a network and a clock."""

    environment: Mapping[str, str]
    http: httpx.Client
    clock: Clock = field(default_factory=Clock)


@contextmanager
def connected(
    name: str, workspace: Path, lake: Lake, settings: Settings, as_of: datetime, world: World
) -> Iterator[tuple[System, Dock]]:
    """Hold a system, and the dock where its history is landed: ``connectors/<name>`` in the workspace.

    Raises:
        ConfigError: when there is no such system, or a secret is missing.

    """
    if name not in SYSTEMS:
        raise ConfigError(f'There is no connector to "{name}". Name one of {", ".join(SYSTEMS)}.')
    with progress_of(workspace / "connectors" / name) as progress:
        own = getattr(settings.connectors, name)
        quota = Quota(own.calls_a_day, own.share_of_quota, f"{as_of:%Y-%m-%d}", progress.calls)
        session = Session(SYSTEMS[name].manners(own, world.environment), world.http, quota, as_of, world.clock)
        system = SYSTEMS[name](session, own, mapping_of(name, settings, workspace).read)
        dock = Dock(name, lake, mapped(settings, workspace), progress.file.parent, progress, as_of)
        try:
            yield system, dock
        finally:
            progress.calls = quota.calls
            progress.save()


@contextmanager
def opened(
    name: str, workspace: Path, settings: Settings, as_of: datetime, environment: Mapping[str, str] = os.environ
) -> Iterator[tuple[System, Dock]]:
    """Hold a system of a workspace and its dock, asked over the network with the secrets of the environment."""
    lake = Lake(workspace / "lake")
    with (
        httpx.Client() as http,
        connected(name, workspace, lake, settings, as_of, World(environment, http)) as connection,
    ):
        yield connection


def landed(
    name: str, workspace: Path, settings: Settings, as_of: datetime, say: Callable[[str], None],
    environment: Mapping[str, str] = os.environ,
) -> Iterator[Ingested]:  # fmt: skip
    """Land what is new in a system, and yield what became of it."""
    with opened(name, workspace, settings, as_of, environment) as (system, dock):
        yield from land(dock, system.session, wanted(system), say)


def wanted(system: System) -> list[Reading]:
    """Return the streams of a system that are read.

    Raises:
        ConfigError: when leave_out names what is no stream of it.

    """
    readings, left_out = system.readings(), system.settings.leave_out
    names = [reading.name for reading in readings]
    if unknown := sorted({*left_out} - {*names}):
        raise ConfigError(
            f"connectors.{system.name}.leave_out names {', '.join(unknown)}, which {system.name} does not have. It has "
            f"{', '.join(names)}."
        )
    return [reading for reading in readings if reading.name not in left_out]
