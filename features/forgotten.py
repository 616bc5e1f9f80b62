"""The forgotten: who was erased and is not taken in again, as keyed hashes from which nobody can be read.

``erased.json`` in the lake's folder holds a random key and HMAC-SHA256 of each name. A name can be asked for, not
listed; whoever has the file and guesses a name can see whether the guess was right, so keep it as you keep the lake.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

import duckdb

from features.contract import literal, quoted
from features.lake import Lake
from features.person import Person
from features.store import share

FILE = "erased.json"
SENTENCE = "The row belongs to an erased person; nothing of it was kept."
KINDS = {"lead_id": "lead", "duplicate_id": "lead", "anonymous_id": "device", "email_hash": "device"}
BLOCK, INNER, OUTER = 64, 0x36, 0x5C  # of HMAC (RFC 2104) with SHA-256


@dataclass(frozen=True)
class Forgotten:
    """The names of erased people, hashed with ``key``."""

    key: bytes
    hashes: frozenset[str] = frozenset()

    def hashed(self, kind: str, name: str) -> str:
        """Return the keyed hash of a name; the same text as a lead and as a device are two names."""
        return hmac.new(self.key, f"{kind} {name}".encode(), hashlib.sha256).hexdigest()

    def with_person(self, person: Person) -> Forgotten:
        """Return the list with a person on it."""
        names = {"lead": person.lead_ids, "device": person.own_ids, "e-mail": person.emails}
        return Forgotten(self.key, self.hashes | {self.hashed(kind, x) for kind, some in names.items() for x in some})

    def knows(self, name: str) -> bool:
        """Say whether somebody of this name was erased."""
        forms = {"lead": name, "device": name, "e-mail": name.strip().lower()}
        return any(self.hashed(kind, form) in self.hashes for kind, form in forms.items())

    def save(self, lake: Lake) -> None:
        """Write the list, wholly or not at all."""
        names = {"key": self.key.hex(), "hashes": sorted(self.hashes)}
        share(lake.folder / FILE, json.dumps(names, indent=1))

    def take_out(self, connection: duckdb.DuckDBPyConnection, present: Iterable[str]) -> int:
        """Take the rows of erased people out of ``mapped`` and ``rejected``, and return how many they were.

        The connection must know admission's MACROS; ``present`` are the contract's columns that ``mapped`` has.
        """
        if not self.hashes:
            return 0
        connection.execute(self._macros())
        known = [f"is_forgotten({literal(KINDS[name])}, text_of({quoted(name)}))" for name in present if name in KINDS]
        known += [f"tells_forgotten({quoted(name)})" for name in present if name in {"attributes", "properties"}]
        ((lines,),) = connection.sql("SELECT count(*) FROM rejected WHERE names_forgotten(line)").fetchall()
        if lines:
            connection.execute("DELETE FROM rejected WHERE names_forgotten(line)")
        if not known:
            return int(lines)
        theirs = f"coalesce({' OR '.join(known)}, false)"
        ((rows,),) = connection.sql(f"SELECT count(*) FROM mapped WHERE {theirs}").fetchall()
        connection.execute("ALTER VIEW mapped RENAME TO mapped_of_everyone")
        connection.execute(f"CREATE TEMP VIEW mapped AS FROM mapped_of_everyone WHERE NOT {theirs}")
        return int(rows + lines)

    def _macros(self) -> str:
        """Return SQL: the keyed hash, and what is asked of a name, of a JSON object and of a line."""
        inner, outer = (bytes(byte ^ pad for byte in self.key.ljust(BLOCK, b"\0")).hex() for pad in (INNER, OUTER))
        hashes = ", ".join(map(literal, sorted(self.hashes)))
        return rf"""
            CREATE TEMP MACRO keyed(kind, name) AS sha256(
                unhex('{outer}') || unhex(sha256(unhex('{inner}') || encode(kind || ' ' || name))));
            CREATE TEMP MACRO is_forgotten(kind, name) AS keyed(kind, name) IN ({hashes});
            CREATE TEMP MACRO tells_forgotten(told) AS list_has_any(list_transform(list_filter(
                CASE WHEN json_valid(CAST(told AS VARCHAR)) THEN json_extract_string(CAST(told AS VARCHAR), '$.*') END,
                lambda x: contains(x, '@')), lambda x: keyed('e-mail', lower(trim(x)))), [{hashes}]);
            CREATE TEMP MACRO names_forgotten(line) AS list_has_any(flatten(list_transform(
                regexp_split_to_array(line, '[\s,;|"]+'),
                lambda x: [keyed('lead', x), keyed('device', x), keyed('e-mail', lower(x))])), [{hashes}]);
        """


def forgotten(lake: Lake) -> Forgotten:
    """Return the list of a lake; while nobody was erased, an empty one with a new key."""
    file = lake.folder / FILE
    if not file.exists():
        return Forgotten(secrets.token_bytes(32))
    read = json.loads(file.read_text("utf-8"))
    return Forgotten(bytes.fromhex(read["key"]), frozenset(read["hashes"]))
