"""The book: one row for every lead, open or closed, in memory, so that a page counts 200,000 leads in milliseconds.

It is made of the lake in the background, when somebody first asks and again when the lake has changed; until the new
one is there, pages count in the one before and say of when it is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb

from attribution.deals import owners
from features.errors import NothingToDo
from features.history import microseconds
from features.identities import touches_of_leads
from features.lake import Lake
from features.money import OPEN, UNTOLD_COST, unpriced
from features.settings import Settings
from features.versions import MERGED, WHOLE_SINCE
from serving import ledger
from serving.pages.closes import CLOSES, CREDIT, PLEDGED, SPENT, owned, worth
from serving.pages.promises import KEPT, PROMISES

LOG = logging.getLogger("touchstone")
READ = ("leads", "touches", "stages", "identities", "spend", "rates", "feedback", "scores", "credits")
PAUSE = timedelta(seconds=60)  # at least, between one book and the next
STEPS = 5  # of a journey that are kept: the first of each stretch of one channel
MOST_LEVELS = 15  # of an attribute that leads can be told apart by
MOST_TRAITS = 6  # such attributes
KEPT_ANSWERS = 300  # of queries, so that a page that was counted once is there at once

KNOWN = f"""
    CREATE TEMP TABLE known AS
    WITH whole AS (
        SELECT lead_id, min(created_at) AS born, {WHOLE_SINCE} AS since FROM leads
        WHERE observed_at < $as_of AND lead_id NOT IN (SELECT record FROM merged WHERE record <> lead_id)
        GROUP BY lead_id)
    SELECT lead_id, any_value(born) AS created_at, {MERGED} AS attributes
    FROM leads JOIN whole USING (lead_id)
    WHERE observed_at < $as_of AND observed_at >= coalesce(since, observed_at) GROUP BY lead_id
"""
PEOPLE = """
    CREATE TABLE people AS
    SELECT lead_id, coalesce(attributes ->> '$.name', attributes ->> '$.email') AS name,
           attributes ->> '$.company' AS company FROM known
"""
MOVES = """
    CREATE TABLE moves AS
    SELECT coalesce(merged.lead_id, stages.lead_id) AS lead_id, stage, min(occurred_at) AS entered_at,
           any_value(reason) AS reason
    FROM stages LEFT JOIN merged ON merged.record = stages.lead_id
    WHERE greatest(occurred_at, received_at) < $as_of GROUP BY ALL
"""
ENDED = """
    CREATE TEMP TABLE ended AS
    SELECT lead_id, min(entered_at) FILTER (stage IN (SELECT unnest($won::VARCHAR[]))) AS won_at,
           min(entered_at) FILTER (stage IN (SELECT unnest($lost::VARCHAR[]))) AS lost_at
    FROM moves GROUP BY lead_id
"""
ORIGINS = """
    CREATE TEMP TABLE reached AS
    SELECT lead_id, count(*) FILTER (occurred_at <= coalesce(won_at, lost_at, occurred_at)) AS touches,
           coalesce(arg_max(struct_pack(channel, event_id), occurred_at) FILTER (occurred_at <= created_at),
                    arg_min(struct_pack(channel, event_id), occurred_at)) AS origin,
           min(occurred_at) FILTER (kind LIKE 'sales%' AND occurred_at >= created_at) AS sales_at
    FROM found JOIN known USING (lead_id) LEFT JOIN ended USING (lead_id)
    WHERE NOT coalesce(machine, false) GROUP BY lead_id
"""
VERDICTS = """
    CREATE TABLE verdicts AS
    SELECT lead_id, verdict, reason, "by", "at" AS judged_at FROM feedback WHERE "at" < $as_of
    QUALIFY row_number() OVER (PARTITION BY lead_id ORDER BY "at" DESC, row_hash) = 1
"""
SAID = """
    CREATE TEMP TABLE said AS
    SELECT lead_id, min(as_of) AS first_scored_at, arg_min(probability, as_of) AS first_probability,
           arg_max(probability, as_of) AS probability
    FROM scores WHERE goal IS NULL AND as_of <= $as_of GROUP BY lead_id
"""
PURSUED = """
    CREATE TABLE pursued AS
    SELECT lead_id, coalesce(goal, '') AS goal, max(as_of) AS scored_at, arg_max(horizon_days, as_of) AS horizon_days,
           arg_max(probability, as_of) AS probability, arg_max(low, as_of) AS low, arg_max(high, as_of) AS high,
           arg_max(grade, as_of) AS grade, arg_max(model_version, as_of) AS model_version,
           arg_max(coalesce(withheld, false), as_of) AS withheld
    FROM scores WHERE as_of <= $as_of GROUP BY ALL
"""
EXPLORED = """
    CREATE TABLE explored AS
    SELECT lead_id, min(as_of) AS since, arg_min(horizon_days, as_of) AS horizon_days,
           arg_min(probability, as_of) AS probability, arg_min(withheld, as_of) AS withheld,
           arg_min(propensity, as_of) AS propensity
    FROM scores WHERE goal IS NULL AND as_of <= $as_of AND propensity > 0 AND propensity < 1 GROUP BY lead_id
"""
DEALS = f"""
    CREATE TEMP TABLE deals AS SELECT lead_id AS owner, value_cents / 100.0 AS amount, unrated FROM ({OPEN})
"""
BOOK = """
    CREATE TABLE book AS
    SELECT known.lead_id, created_at, coalesce(origin.channel, '(no touch)') AS channel,
           coalesce(campaign, '') AS campaign, coalesce(reached.touches, 0) AS touches, sales_at,
           won_at, CASE WHEN won_at IS NULL THEN lost_at END AS lost_at,
           value, first_scored_at, first_probability, probability,
           row_number() OVER (PARTITION BY coalesce(owned.owner, lead_id) ORDER BY probability DESC NULLS LAST,
                              lead_id) = 1 AS is_likeliest,
           CASE WHEN is_likeliest THEN amount END AS amount, CASE WHEN is_likeliest THEN unrated END AS unrated
    FROM known LEFT JOIN reached USING (lead_id) LEFT JOIN said USING (lead_id) LEFT JOIN ended USING (lead_id)
    LEFT JOIN owned ON owned.record = lead_id LEFT JOIN deals ON deals.owner = coalesce(owned.owner, lead_id)
    LEFT JOIN (SELECT lead_id, sum(value) AS value FROM closes GROUP BY lead_id) AS brought USING (lead_id)
    LEFT JOIN (SELECT event_id, campaign FROM touches
               SEMI JOIN (SELECT origin.event_id AS event_id FROM reached) USING (event_id)) AS named
        ON named.event_id = origin.event_id
"""
JOURNEYS = f"""
    CREATE TABLE journeys AS
    WITH led AS (
        SELECT lead_id, found.channel, occurred_at, event_id,
               lag(found.channel) OVER (PARTITION BY lead_id ORDER BY occurred_at, event_id) AS before
        FROM found JOIN book USING (lead_id)
        WHERE NOT coalesce(machine, false) AND kind NOT IN (SELECT unnest($idle::VARCHAR[]))
              AND occurred_at <= coalesce(won_at, lost_at, $as_of))
    SELECT lead_id, list(channel ORDER BY occurred_at, event_id)[:{STEPS}] AS path, count(*) AS length,
           min(occurred_at) AS touched_at
    FROM led WHERE before IS DISTINCT FROM led.channel GROUP BY lead_id
"""
TRAITS = f"""
    CREATE TABLE traits AS
    WITH pairs AS (
        SELECT lead_id, unnest(json_keys(attributes)) AS name, attributes FROM known WHERE attributes IS NOT NULL),
    valued AS (SELECT lead_id, name, json_extract_string(attributes, '$."' || name || '"') AS value FROM pairs),
    few AS (
        SELECT name FROM valued WHERE value IS NOT NULL GROUP BY name
        HAVING count(DISTINCT value) BETWEEN 2 AND {MOST_LEVELS} ORDER BY count(*) DESC, name LIMIT {MOST_TRAITS})
    SELECT lead_id, name, value FROM valued SEMI JOIN few USING (name) WHERE value IS NOT NULL
"""
HEARD = """
    CREATE TABLE heard AS
    SELECT lead_id, trim(json_extract_string(attributes, '$."' || replace($heard, '"', '') || '"')) AS said FROM known
    WHERE said <> ''
"""
STEPS_TAKEN = """
    CREATE TABLE steps_taken AS
    WITH entered AS (
        SELECT lead_id, stage, entered_at FROM moves UNION ALL SELECT lead_id, 'created', created_at FROM book)
    SELECT lead_id, stage, entered_at, lag(stage) OVER one AS before,
           epoch(entered_at - lag(entered_at) OVER one) / 86400 AS days
    FROM entered WINDOW one AS (PARTITION BY lead_id ORDER BY entered_at, stage <> 'created')
"""
STATEMENTS = (
    KNOWN, PEOPLE, MOVES, ENDED, ORIGINS, VERDICTS, SAID, DEALS, PURSUED, EXPLORED, CLOSES, BOOK, STEPS_TAKEN, JOURNEYS,
    CREDIT, PLEDGED, PROMISES, KEPT, SPENT, TRAITS, HEARD,
)  # fmt: skip
FRESHNESS = {"leads": "observed_at", "touches": "received_at", "stages": "received_at", "spend": "received_at",
             "rates": "day", "identities": "observed_at", "feedback": '"at"', "scores": "as_of"}  # fmt: skip


@dataclass(frozen=True)
class Edition:
    """One book: its tables, as of when, and of which versions of the lake."""

    connection: duckdb.DuckDBPyConnection
    as_of: datetime
    versions: Mapping[str, int]
    currency: str  # of all money in it
    pledged_at: datetime | None  # when the open pipeline was credited that is trued up since
    _answers: dict[tuple[object, ...], list[dict[str, Any]]] = field(default_factory=dict, repr=False)

    def rows(self, sql: str, values: Mapping[str, object] = MappingProxyType({})) -> list[dict[str, Any]]:
        """Return the answer of a query over the tables of the book, which never changes; leave the rows as they are."""
        asked = {name: value for name, value in values.items() if f"${name}" in sql}
        key = (sql, *asked.items())
        if key not in self._answers:
            if len(self._answers) >= KEPT_ANSWERS:
                self._answers.clear()
            self._answers[key] = self.connection.cursor().sql(sql, params=asked).to_arrow_table().to_pylist()
        return self._answers[key]

    @cached_property
    def segments(self) -> list[tuple[str, str]]:
        """Return the attributes and the values by which leads can be told apart."""
        found = self.rows("SELECT DISTINCT name, value FROM traits ORDER BY name, value")
        return [(row["name"], row["value"]) for row in found]

    @cached_property
    def campaigns(self) -> list[str]:
        """Return the campaigns that cost something, earned something, or brought a lead."""
        found = self.rows("""
            SELECT DISTINCT campaign FROM (
                SELECT campaign FROM spent UNION SELECT campaign FROM credit UNION SELECT campaign FROM book)
            WHERE campaign <> '' ORDER BY campaign""")
        return [row["campaign"] for row in found]

    @cached_property
    def unrated(self) -> str:
        """Return sentences on costs and open deals of which no rate is known; nothing where there are none."""
        (costs,) = self.rows(
            "SELECT count(*) AS rows, list(DISTINCT currency ORDER BY currency) AS named FROM spent WHERE cost IS NULL"
        )
        (deals,) = self.rows("""
            SELECT count(DISTINCT lead_id) AS rows, list(DISTINCT code ORDER BY code) AS named
            FROM (SELECT lead_id, unnest(unrated) AS code FROM book)""")
        return " ".join(filter(None, [
            unpriced(costs["rows"], "cost", costs["named"], UNTOLD_COST, self.currency),
            unpriced(deals["rows"], "open deal", deals["named"], "open pipeline is told without", self.currency),
        ]))  # fmt: skip

    @cached_property
    def models(self) -> list[str]:
        """Return the attribution models that credit touches, so that a part of the closes can be looked at alone."""
        found = self.rows("SELECT model FROM credit WHERE lead_id IS NOT NULL GROUP BY model ORDER BY model")
        return [row["model"] for row in found]


class Book:
    """The current edition, exchanged as a whole."""

    def __init__(self, workspace: Path, lake: Lake, settings: Settings) -> None:
        self._workspace, self._lake, self._settings = workspace, lake, settings
        self._edition: Edition | None = None
        self._making = threading.Lock()

    def edition(self, now: datetime) -> Edition | None:
        """Return the book as it is; None while the first is being made. A new one is begun if the lake has changed."""
        here = self._edition
        is_old = here is None or (now - here.as_of > PAUSE and here.versions != self._lake.current_versions(READ))
        if is_old and self._making.acquire(blocking=False):
            threading.Thread(target=self._make, args=(now,), name="book").start()
        return here

    def make(self, now: datetime) -> Edition:
        """Make the book of all that is known before a moment, and let it be the current one."""
        versions = self._lake.current_versions(READ)
        latest = ledger.of_touches(self._workspace), next(iter(ledger.runs(self._workspace, "open")), None)
        self._edition = edition_of(Lake(self._lake.folder, versions), self._settings, now, versions, *latest)
        return self._edition

    def _make(self, now: datetime) -> None:
        try:
            self.make(now)
        except NothingToDo:
            pass
        except Exception:
            LOG.exception("The pages go on with what they counted before.")
        finally:
            self._making.release()


def edition_of(
    lake: Lake,
    settings: Settings,
    as_of: datetime,
    versions: Mapping[str, int],
    run: Mapping[str, Any] | None,
    pledged: Mapping[str, Any] | None,
) -> Edition:
    """Return the book of a lake as of a moment, with the credit of one attribution run, and of one of open pipeline."""
    touches, merged = touches_of_leads(lake, microseconds(as_of))
    how, goal = settings.attribution, settings.goal
    made = lake.connection(READ)
    made.register("found", touches)
    made.register("merged", merged)
    whose = owners(lake, settings, as_of, merged)
    made.register("owned", owned(whose))
    asked: dict[str, object] = {
        "as_of": as_of, "currency": how.currency, "won": goal.won, "lost": goal.lost, "idle": how.exclude_kinds,
        "ended": [*goal.won, *goal.lost],
        "rate_days": how.rate_days, "records": list(whose), "survivors": list(whose.values()),
        "run": run and run["run_id"], "pledged": pledged and pledged["run_id"], "heard": settings.report.heard_from,
    }  # fmt: skip
    for statement in (one.replace("$worth", worth(how)) for one in STATEMENTS):
        if not threading.main_thread().is_alive():  # nobody will open it
            raise NothingToDo("The service stops.")
        made.execute(statement, {name: value for name, value in asked.items() if f"${name}" in statement})
    fresh = " UNION ALL ".join(
        f"SELECT '{name}' AS name, count(*) AS rows, CAST(max({column}) AS TIMESTAMPTZ) AS latest FROM {name}"
        for name, column in FRESHNESS.items()
    )
    made.execute(f"CREATE TABLE freshness AS {fresh}")
    for name in ("known", "ended", "reached", "said", "deals"):
        made.execute(f"DROP TABLE {name}")
    for name in ("found", "owned"):
        made.unregister(name)
    return Edition(made, as_of, versions, how.currency, datetime.fromisoformat(pledged["as_of"]) if pledged else None)
