"""Erasure's groundwork: everything that is held about a person, by whatever name it is held."""

from __future__ import annotations

from typing import Any

from features.contract import TABLES
from features.errors import DataError
from features.identities import merges, read_touches
from features.lake import Lake
from features.merges import kin

# By lead_id, or by an e-mail address, as an attribute or as the SHA-256 of its small letters.
NAMED = """
    SELECT lead_id FROM leads
    WHERE list_contains(list_transform(json_extract_string(attributes, '$.*'), lambda x: lower(trim(x))), lower($1))
    UNION SELECT lead_id FROM identities WHERE email_hash IN ($1, sha256(lower($1)))
    UNION SELECT unnest([lead_id, duplicate_id]) FROM identities WHERE $1 IN (lead_id, duplicate_id)
    UNION SELECT lead_id FROM leads WHERE lead_id = $1
    UNION SELECT lead_id FROM touches WHERE lead_id = $1
    UNION SELECT lead_id FROM stages WHERE lead_id = $1
"""
BY_LEAD = tuple(name for name, table in TABLES.items() if any(column.name == "lead_id" for column in table.columns))
HELD = "SELECT * FROM {name} WHERE {key} IN (SELECT unnest($1::VARCHAR[])) ORDER BY ALL"
QUOTING = """
    SELECT * FROM quarantine
    WHERE len(list_filter($1::VARCHAR[], lambda name: contains("row", CAST(to_json(name) AS VARCHAR)))) > 0 ORDER BY ALL
"""


def held(lake: Lake, person: str) -> dict[str, list[dict[str, Any]]]:
    """Return every row that is held about a person, table by table.

    The person, named by a lead_id or an e-mail address, is all records that were ever merged with that one. Touches
    include those that were anonymous; rows in quarantine are those that quote a record's id or the name asked for.

    Raises:
        DataError: when nobody is known by that name.

    """
    with lake.connection() as connection:
        named = connection.sql(NAMED, params=[person]).to_arrow_table()["lead_id"].drop_null().to_pylist()
        if not named:
            raise DataError(f'Nobody is known as "{person}". Give a lead_id, or the e-mail address of a lead.')
        ids = kin(named, merges(lake))
        touches = ("lead_id", "occurred_at", "received_at", "event_id")
        events = read_touches(lake, touches, ids)["event_id"].to_pylist()
        asked = {name: ("event_id", events) if name == "touches" else ("lead_id", ids) for name in BY_LEAD}
        tables = {
            name: connection.sql(HELD.format(name=name, key=key), params=[wanted]).to_arrow_table()
            for name, (key, wanted) in asked.items()
        }
        tables["quarantine"] = connection.sql(QUOTING, params=[[*ids, person]]).to_arrow_table()
    return {name: table.drop_columns("row_hash" if "row_hash" in table.column_names else []).to_pylist()
            for name, table in tables.items()}  # fmt: skip
