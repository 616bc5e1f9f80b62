"""A population: the people of a company, as each stand-in tells of them in its own words.

It is read from files of leads, touches and stages, such as ``touchstone demo --export`` writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from features.contract import literal

PEOPLE = """
    SELECT lead_id, any_value(email) AS email, min(created_at) AS created, arg_min(COLUMNS(* EXCLUDE (lead_id, email,
        created_at, observed_at)), observed_at)
    FROM {leads} WHERE email IS NOT NULL GROUP BY lead_id ORDER BY lead_id
"""
CLAIMED = """
    SELECT coalesce(t.lead_id, i.lead_id) AS lead_id, t.* EXCLUDE (lead_id) FROM {touches} AS t
    LEFT JOIN (
        SELECT anonymous_id, min(lead_id) AS lead_id FROM {identities} WHERE anonymous_id IS NOT NULL GROUP BY 1) AS i
    USING (anonymous_id) WHERE coalesce(t.lead_id, i.lead_id) IS NOT NULL
"""


@dataclass
class Person:
    """One person: what is known of them, what they did, and how far they came."""

    number: int  # from 1 on
    email: str
    created: datetime
    known: dict[str, Any]
    touches: list[dict[str, Any]] = field(default_factory=list)  # event_id, occurred_at, kind, channel, campaign, page
    stages: list[dict[str, Any]] = field(default_factory=list)  # stage, occurred_at, amount, currency


def population(folder: Path, most: int | None = None) -> list[Person]:
    """Return the people in the files of a folder; no two of them share an address."""
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        read = {file.stem: f"read_parquet({literal(str(file))})" if file.suffix == ".parquet"
                else f"read_csv({literal(str(file))})" for file in folder.iterdir()}  # fmt: skip
        rows = connection.sql(PEOPLE.format(**read)).to_arrow_table().to_pylist()
        rows = list({row["email"].lower(): row for row in rows}.values())[:most]
        people = {row["lead_id"]: _person(number, row) for number, row in enumerate(rows, start=1)}
        for person, found in _by_lead(connection, f"({CLAIMED.format(**read)})", people):
            person.touches.append(found)
        for person, found in _by_lead(connection, read["stages"], people):
            person.stages.append(found)
    return list(people.values())


def _person(number: int, row: dict[str, Any]) -> Person:
    return Person(number, row.pop("email"), row.pop("created"), row)


def _by_lead(
    connection: duckdb.DuckDBPyConnection, relation: str, people: dict[str, Person]
) -> Iterable[tuple[Person, dict[str, Any]]]:
    rows = connection.sql(f"SELECT * FROM {relation} ORDER BY occurred_at").to_arrow_table().to_pylist()
    return [(people[row["lead_id"]], row) for row in rows if row["lead_id"] in people]
