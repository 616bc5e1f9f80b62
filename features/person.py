"""A person: everything by which somebody is known in the lake, however many records and devices that is.

A device that another lead also claims is not a person's alone, nor is an e-mail address that stands in another
lead's attributes: such names are the other's, too, and stay.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

import duckdb

from features.errors import DataError
from features.identities import merges, read_touches
from features.lake import Lake
from features.merges import kin

EMAIL = r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;]+"
VALUE_LENGTH = 6  # shorter values of attributes tell nobody apart

# By lead_id, or by an e-mail address, as an attribute or as the SHA-256 of its small letters.
NAMED = """
    SELECT lead_id FROM leads
    WHERE list_contains(list_transform(json_extract_string(attributes, '$.*'), lambda x: lower(trim(x))), lower($1))
    UNION SELECT lead_id FROM identities WHERE email_hash IN ($1, sha256(lower($1)))
    UNION SELECT unnest([lead_id, duplicate_id]) FROM identities WHERE $1 IN (lead_id, duplicate_id)
    UNION SELECT lead_id FROM leads WHERE lead_id = $1
    UNION SELECT lead_id FROM touches WHERE lead_id = $1
    UNION SELECT lead_id FROM stages WHERE lead_id = $1
    UNION SELECT lead_id FROM feedback WHERE lead_id = $1
    UNION SELECT lead_id FROM scores WHERE lead_id = $1
    UNION SELECT lead_id FROM credits WHERE lead_id = $1
"""
# A row in quarantine is as it came. If it names a lead or a device under our names, these decide; if under a file's
# own, any of its values may be one; a line that is no JSON object is split where the fields of a file are.
QUOTED = r"""coalesce(list_has_any(list_transform(
    CASE WHEN NOT coalesce(json_valid("row"), false) OR json_type("row") <> 'OBJECT'
         THEN regexp_split_to_array("row", '[\s,;|"]+')
         WHEN len(list_filter(json_keys("row"), lambda k: k IN ('lead_id', 'duplicate_id', 'anonymous_id'))) > 0
         THEN json_extract_string("row", ['/lead_id', '/duplicate_id', '/anonymous_id', '/email_hash'])
         ELSE json_extract_string("row", '$.*') END, lambda x: trim(x)), $names::VARCHAR[])
    OR len(list_filter($emails::VARCHAR[], lambda x: contains(lower("row"), x))) > 0, false)"""
ANONYMOUS = """
    SELECT anonymous_id AS id FROM touches WHERE event_id IN (SELECT unnest($events::VARCHAR[]))
    UNION SELECT unnest([anonymous_id, email_hash]) FROM identities WHERE lead_id IN (SELECT unnest($ids::VARCHAR[]))
"""
OTHERS_ANONYMOUS = """
    SELECT anonymous_id AS id FROM touches
    WHERE event_id NOT IN (SELECT unnest($events::VARCHAR[])) AND anonymous_id IN (SELECT unnest($mine::VARCHAR[]))
    UNION SELECT unnest([anonymous_id, email_hash]) FROM identities
    WHERE lead_id NOT IN (SELECT unnest($ids::VARCHAR[]))
"""
HASHED = """
    SELECT event_id AS id FROM touches WHERE lead_id IS NULL AND anonymous_id IN (SELECT unnest($mine::VARCHAR[]))
    AND anonymous_id NOT IN (SELECT coalesce(anonymous_id, email_hash, '') FROM identities)
"""  # nobody claims these touches, but the hash is of the person's address
ATTRIBUTES = """
    WITH told AS (SELECT lead_id IN (SELECT unnest($ids::VARCHAR[])) AS mine,
                         lower(trim(unnest(json_extract_string(attributes, '$.*')))) AS id FROM leads)
    SELECT id, NOT bool_and(mine) AS shared FROM told
    WHERE length(id) >= $length GROUP BY id HAVING bool_or(mine) ORDER BY id
"""
SINCE = """
    SELECT min(moment) AS moment FROM (
        SELECT created_at AS moment FROM leads WHERE lead_id IN (SELECT unnest($ids::VARCHAR[]))
        UNION ALL SELECT occurred_at FROM touches WHERE event_id IN (SELECT unnest($events::VARCHAR[]))
        UNION ALL SELECT occurred_at FROM stages WHERE lead_id IN (SELECT unnest($ids::VARCHAR[])))
"""


@dataclass(frozen=True)
class Person:
    """Everything by which somebody is known.

    ``token`` is random and names what remains. Names are sorted. ``anonymous_ids`` (and e-mail hashes) are those in
    rows of theirs, ``own_ids`` those of them that are nobody else's; ``values`` are attributes that no other lead has;
    ``since`` is the earliest moment of any row, in ISO 8601, or empty.
    """

    token: str
    lead_ids: tuple[str, ...]
    event_ids: tuple[str, ...] = ()
    anonymous_ids: tuple[str, ...] = ()
    own_ids: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    shared_emails: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    since: str = ""

    def is_called(self, name: str) -> bool:
        """Say whether somebody who asks by this name means this person."""
        return name in (*self.lead_ids, *self.own_ids) or name.strip().lower() in self.emails


def records_of(lake: Lake, connection: duckdb.DuckDBPyConnection, name: str) -> list[str]:
    """Return the lead_ids of every record that was ever merged with those a person is known by.

    Raises:
        DataError: when nobody is known by that name.

    """
    ids = connection.sql(NAMED, params=[name]).to_arrow_table()["lead_id"].drop_null().to_pylist()
    quoting = {"names": [name], "emails": [name.strip().lower()] if "@" in name else []}
    if not ids and connection.sql(f"SELECT 1 FROM quarantine WHERE {QUOTED} LIMIT 1", params=quoting).fetchall():
        ids = [name]  # known only by rows that were refused
    if not ids:
        where = f'Nobody is known as "{name}" in {lake.folder}.'
        raise DataError(f"{where} Give a lead_id, or the e-mail address of a lead.")
    return kin(ids, merges(lake))


def events_of(lake: Lake, lead_ids: list[str]) -> list[str]:
    """Return the event_ids of the touches of some leads, those included that were anonymous."""
    touches = ("lead_id", "occurred_at", "received_at", "event_id")
    return [str(event) for event in read_touches(lake, touches, lead_ids)["event_id"].to_pylist()]


def person_of(lake: Lake, connection: duckdb.DuckDBPyConnection, name: str) -> Person:
    """Return the person who is known by a lead_id, an e-mail address or its hash.

    Raises:
        DataError: when nobody is known by that name.

    """

    def listed(sql: str, **asked: Any) -> list[str]:
        found = connection.sql(sql, params=asked).to_arrow_table()["id"].drop_null()
        return sorted(set(found.to_pylist()))

    ids = records_of(lake, connection, name)
    events = events_of(lake, ids)
    told = connection.sql(ATTRIBUTES, params={"ids": ids, "length": VALUE_LENGTH}).to_arrow_table().to_pylist()
    bears = {shared: [row["id"] for row in told if row["shared"] == shared] for shared in (True, False)}
    emails = {value for value in bears[False] if _is_email(value)}
    emails |= {name.strip().lower()} if _is_email(name) else set()
    hashes = listed("SELECT sha256(unnest($emails::VARCHAR[])) AS id", emails=sorted(emails))
    events = sorted({*events, *listed(HASHED, mine=hashes)})
    anonymous = listed(ANONYMOUS, events=events, ids=ids)
    others = set(listed(OTHERS_ANONYMOUS, events=events, ids=ids, mine=anonymous))
    since = connection.sql(SINCE, params={"ids": ids, "events": events}).to_arrow_table()["moment"][0].as_py()
    return Person(
        token=uuid.uuid4().hex,
        lead_ids=tuple(ids),
        event_ids=tuple(events),
        anonymous_ids=tuple(anonymous),
        own_ids=tuple(sorted({*anonymous, *hashes} - others)),
        emails=tuple(sorted(emails)),
        shared_emails=tuple(value for value in bears[True] if _is_email(value)),
        values=tuple(value for value in bears[False] if value not in emails),
        since="" if since is None else since.isoformat(),
    )


def _is_email(text: str) -> bool:
    return re.fullmatch(EMAIL, text.strip()) is not None
