"""What is held about a person is found by every name that person has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tables import claim, merge, moment, stage, table, touch, version

from features.contract import schema
from features.erasure import BY_LEAD, held
from features.errors import DataError
from features.lake import Lake

HASH = hashlib.sha256(b"ada@x.org").hexdigest()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Return a lake: Ada read a page before she was known, has a duplicate, Ida, and shares a device with Bob."""
    made = Lake(tmp_path / "lake")
    rows = {
        "leads": [version("ada", 0, {"Mail": "Ada@x.org"}), version("ida", 1, created=1), version("bob", 0)],
        "touches": [
            touch(None, 1, "page", anonymous="a"), touch("ida", 2, "click"), touch("bob", 3, "open"),
            touch(None, 7, "pricing", anonymous="a"), touch(None, 1, "unknown", anonymous="z"),
        ],
        "stages": [stage("ida", 4, "won"), stage("bob", 4, "lost")],
        "identities": [
            claim("a", "ada", 2), claim("a", "bob", 6), merge("ida", "ada", 5),
            claim(HASH, "ada", 2) | {"anonymous_id": None, "email_hash": HASH},
        ],
    }  # fmt: skip
    for name, some in rows.items():
        made.append(name, table(name, some))
    refused = [{"table": "stages", "row": json.dumps({"lead_id": who}), "row_hash": who} for who in ("ida", "adam")]
    made.append("quarantine", pa.Table.from_pylist(refused, schema("quarantine")))
    made.append("scores", pa.Table.from_pylist([{"lead_id": "ada", "probability": 0.5}], schema("scores")))
    return made


def short(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    """Return what identifies the rows of each table that has any."""
    key = {"touches": "kind", "stages": "stage", "quarantine": "row"}
    return {name: sorted(row[key.get(name, "lead_id")] for row in rows) for name, rows in found.items() if rows}


@pytest.mark.parametrize("name", ["ada", "ida", "ADA@x.org", HASH])
def test_a_person_is_found_by_every_name_with_all_that_is_held(lake: Lake, name: str) -> None:
    assert short(held(lake, name)) == {
        "leads": ["ada", "ida"],
        "touches": ["click", "page"],
        "stages": ["won"],
        "identities": ["ada", "ada", "ada"],
        "scores": ["ada"],
        "quarantine": ['{"lead_id": "ida"}'],
    }


def test_what_another_did_on_a_shared_device_is_the_others(lake: Lake) -> None:
    assert short(held(lake, "bob"))["touches"] == ["open", "pricing"]


def test_every_table_that_names_a_lead_is_searched() -> None:
    assert BY_LEAD == ("leads", "touches", "stages", "identities", "feedback", "scores", "credits")


def test_nobody_is_an_error_that_says_what_to_give(lake: Lake) -> None:
    with pytest.raises(
        DataError, match=r'^Nobody is known as "eve" in .*lake\. Give a lead_id, or the e-mail address of a lead\.$'
    ):
        held(lake, "eve")


def test_export_prints_one_json_document(lake: Lake, command: Callable[..., tuple[int, str]]) -> None:
    status, printed = command("export", "bob", workspace=lake.folder.parent)
    assert (status, json.loads(printed)["stages"][0]["occurred_at"]) == (0, str(moment(4)))
