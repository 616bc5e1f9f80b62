"""Erasure: everything held about a person is shown, or forgotten.

An erasure is written down before it begins (``erasing.json`` in the lake's folder, which names the person), each of
its steps can be repeated, and the note is deleted last. Killed at any moment, the lake is whole, and the next
ingest or erasure, whoever's, completes this one first.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from features.contract import TABLES
from features.errors import DataError, NothingToDo
from features.forgotten import forgotten
from features.lake import SPILL, Lake
from features.person import QUOTED, Person, events_of, person_of, records_of
from features.store import EDITION, share, unshare
from features.tombstones import KEPT, bury, forget_versions, searching

NOTE = "erasing.json"
BY_LEAD = tuple(name for name, table in TABLES.items() if any(column.name == "lead_id" for column in table.columns))
HELD = "SELECT * FROM {name} WHERE {key} IN (SELECT unnest($1::VARCHAR[])) ORDER BY ALL"


def held(lake: Lake, person: str) -> dict[str, list[dict[str, Any]]]:
    """Return every row that is held about a person, table by table.

    The person, named by a lead_id or an e-mail address, is all records that were ever merged with that one. Touches
    include those that were anonymous; rows in quarantine are those that quote a record's id or the name asked for.

    Raises:
        DataError: when nobody is known by that name.

    """
    with lake.connection() as connection:
        ids = records_of(lake, connection, person)
        events = events_of(lake, ids)
        asked = {name: ("event_id", events) if name == "touches" else ("lead_id", ids) for name in BY_LEAD}
        tables = {
            name: connection.sql(HELD.format(name=name, key=key), params=[wanted]).to_arrow_table()
            for name, (key, wanted) in asked.items()
        }
        quoting = {"names": [*ids, person], "emails": [person.strip().lower()] if "@" in person else []}
        quarantine = f"SELECT * FROM quarantine WHERE {QUOTED} ORDER BY ALL"
        tables["quarantine"] = connection.sql(quarantine, params=quoting).to_arrow_table()
    return {name: table.drop_columns("row_hash" if "row_hash" in table.column_names else []).to_pylist()
            for name, table in tables.items()}  # fmt: skip


def to_erase(lake: Lake, name: str) -> Person:
    """Return who would be erased by that name; also one whose erasure was interrupted.

    Raises:
        DataError: when nobody is known by that name.
        NothingToDo: when the person was erased before.

    """
    interrupted = _interrupted(lake)
    if interrupted and interrupted.is_called(name):
        return interrupted
    try:
        with lake.connection() as connection:
            return person_of(lake, connection, name)
    except DataError:
        if forgotten(lake).knows(name):
            raise NothingToDo(f'"{name}" was erased before; nothing is held under that name.') from None
        raise


def erase(lake: Lake, name: str, progress: Callable[[str], None] = lambda _: None) -> Person:
    """Forget a person in every table and every version of it, and take them in no more; return who was forgotten.

    Raises:
        DataError: when nobody is known by that name.
        NothingToDo: when the person was erased before.

    """
    with lake.writing():
        person, interrupted = to_erase(lake, name), _interrupted(lake)
        if interrupted:
            _complete(lake, interrupted, progress)
        if interrupted != person:
            share(lake.folder / NOTE, json.dumps(asdict(person)))
            _complete(lake, person, progress)
    return person


def complete_interrupted(lake: Lake, progress: Callable[[str], None] = lambda _: None) -> None:
    """Complete the erasure that was killed, if one was."""
    if _interrupted(lake):
        with lake.writing():
            interrupted = _interrupted(lake)  # another process may have completed it
            if interrupted:
                _complete(lake, interrupted, progress)


def _complete(lake: Lake, person: Person, progress: Callable[[str], None]) -> None:
    forgotten(lake).with_person(person).save(lake)
    with searching(lake, person) as connection:
        for name in KEPT:
            progress(f"Forgetting in {name}")
            bury(connection, lake, name, person)
            forget_versions(lake, name)
    left = [*(lake.folder / SPILL).glob("*"), *lake.folder.glob(f".{NOTE}.*")]  # by killed queries, by a killed erasure
    for file in left:  # a query that runs keeps its file open
        file.unlink(missing_ok=True)
    if lake.store:
        share(lake.folder / EDITION.rpartition("/")[2], person.token)  # the other mirrors are to forget, too
    unshare(lake.folder / NOTE)


def _interrupted(lake: Lake) -> Person | None:
    note = lake.folder / NOTE
    if not note.exists():
        return None
    read = json.loads(note.read_text("utf-8"))
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in read.items()}
    return Person(**fields)
