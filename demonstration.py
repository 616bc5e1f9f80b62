"""The demo: a simulated company goes through every step, from its files or from four CRMs to its scores.

Like the command line it knows every room; it tells nothing itself, and returns what the command line shows.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from attribution import runs
from attribution.pipeline import pipeline
from connectors.connections import landed, opened
from connectors.standins import company
from connectors.standins.population import population
from connectors.writeback import Synced
from connectors.writeback import sync as write_back
from features.errors import ConfigError
from features.history import microseconds
from features.ingestion import Ingested, files_in, ingest
from features.lake import Lake
from features.settings import FILE, Settings, read_settings
from features.settings.page import settings_page
from serving import batch, ledger, monitoring
from simulation.company import Company
from simulation.files import write
from simulation.law import WORLDS
from training.baseline import baseline
from training.monitor import monitored
from training.train import Trained, train

FILES = "demo-files"  # of the company, in the workspace
PEOPLE = 2_000  # who live in the CRMs
WEEKS = 21  # for which scores were served before: long enough for the first of them to have come true or not
SMALL = {"trees": 40, "members": 2, "outlook_days": [30]}  # the model that served then, so that the demo starts soon
Step = Callable[[str], None]


class Demo(NamedTuple):
    """What the demo's company came to."""

    settings: Settings
    ingested: list[Ingested]
    trained: Trained
    scores: pd.DataFrame
    run: runs.Run


class RoundTrip(NamedTuple):
    """What went from the CRMs to scores and back; ``there`` is a lead of each system, as sales sees it in it."""

    ingested: list[Ingested]
    trained: Trained
    synced: list[Synced]
    there: dict[str, Any]


def simulate(now: datetime, folder: Path) -> list[Path]:
    """Write the files of the demo's company, whose ads follow everybody who looks at the prices, and move nobody."""
    return write(Company(now, world=WORLDS["confounded retargeting"]), folder)


def demonstrate(workspace: Path, now: datetime, step: Step) -> Demo:
    """Take the company from its files to scores and credit.

    Raises:
        ConfigError: when the workspace holds somebody's own lake.

    """
    lake, files = Lake(workspace / "lake"), workspace / FILES
    if lake.versions() and not files.exists():
        raise ConfigError(f"{workspace} holds a lake of your own. Give the demo another folder with --workspace.")
    settings = _prepared(workspace, now)
    ingested = ingest(lake, settings, files_in([files]), now, step)
    if "scores" not in lake.versions():
        live_through(workspace, lake, settings, now, WEEKS, step)
    trained = train(lake, settings, workspace, now, step)
    step("Scoring open leads")
    scored = batch.score_and_store(workspace, lake, settings.goal, microseconds(now), settings.exploration)
    step("Crediting channels")
    with lake.writing():  # nobody is erased between reading and storing
        own = partial(baseline, settings=settings, as_of=microseconds(now))
        models = [*settings.attribution.models, "score_adjusted"]  # the rules credit the ads with whom they followed
        run, then = runs.attribute(lake, settings, now, models, own), now - timedelta(weeks=WEEKS)
        for made, at in ((run, now), (pipeline(lake, settings, then), then)):  # the latter to be trued up
            runs.store(lake, made)
            ledger.keep(workspace, made.summary(), at.isoformat())
    step("Looking whether promises are kept")
    monitoring.keep(workspace, monitored(lake, settings, workspace, now))
    return Demo(settings, ingested, trained, scored.scores, run)


def live_through(workspace: Path, lake: Lake, settings: Settings, now: datetime, weeks: int, step: Step) -> None:
    """Train as the company would have done so many weeks ago, and score every week until now, which is left out.

    Each of these knows only what was known at its moment, so it says what it would have said then.
    """
    small = settings.model_copy(update={"training": settings.training.model_copy(update=SMALL)})
    train(lake, small, workspace, now - timedelta(weeks=weeks), step)
    step("Scoring week by week")
    scorer, history = batch.champion_and_history(workspace, lake)
    weeks_ago = [microseconds(now - timedelta(weeks=ago)) for ago in range(weeks, 0, -1)]
    batch.store(lake, pd.concat([batch.score_open(scorer, history, settings.goal, then) for then in weeks_ago]))


def demonstrate_with_crm(workspace: Path, now: datetime, step: Step) -> RoundTrip:
    """Let the company's people live in four systems, of which stand-ins answer on loopback, and go the round trip.

    Raises:
        ConfigError: when the workspace holds a lake.

    """
    lake = Lake(workspace / "lake")
    if lake.versions():
        raise ConfigError(f"{workspace} holds a lake. Give this demo another folder with --workspace.")
    _prepared(workspace, now)
    people = population(workspace / FILES)
    people = people[:: max(1, len(people) // PEOPLE)]  # old and new ones
    standins = company.company(people, now)
    with company.running(standins) as urls:
        settings = Settings.model_validate({"connectors": company.configured(urls), "sources": [company.STAGES]})
        ingested = [one for name in standins for one in landed(name, workspace, settings, now, step, company.SECRETS)]
        stages = company.write_stages(company.mailed(people), workspace)
        ingested += ingest(lake, settings, [stages], now, step)
        trained = train(lake, settings, workspace, now, step)
        step("Scoring open leads")
        scores = batch.score_and_store(workspace, lake, settings.goal, microseconds(now)).scores
        synced = []
        for name in standins:
            with opened(name, workspace, settings, now, company.SECRETS) as (connection, dock):
                synced.append(write_back(connection, dock, 0, step))
    best = {name: next((lead for lead in scores["lead_id"] if lead.startswith(name)), None) for name in standins}
    there = {lead: company.shown(standins[name], lead.partition(":")[2]) for name, lead in best.items() if lead}
    return RoundTrip(ingested, trained, synced, there)


def _prepared(workspace: Path, now: datetime) -> Settings:
    """Return the settings of the demo, and see to it that its files are there."""
    if not (workspace / FILES).exists():
        simulate(now, workspace / FILES)
    if not (workspace / FILE).exists():
        (workspace / FILE).write_text(settings_page(), "utf-8")
    return read_settings(workspace)
