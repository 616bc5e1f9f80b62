"""Lines of Marketo: what it says of what leads did, flattened, and a score as it takes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from connectors.landing import Row
from connectors.system import FIELDS, Score

NAMES = {name: "ml" + name.title().replace("_", "") for name in FIELDS}


def of_activity(activity: Row, kind: str) -> Row:
    """Return an activity, with its attributes by their names."""
    told = {attribute["name"]: attribute["value"] for attribute in activity.get("attributes", [])}
    return {"id": activity.get("marketoGUID") or str(activity["id"]), "lead": str(activity["leadId"]), "type": kind,
            "at": activity["activityDate"], "of": activity.get("primaryAttributeValue"), "told": told}  # fmt: skip


def of_member(program: Row, member: Row) -> Row:
    """Return a member of a program."""
    told = {name: str(value).lower() if isinstance(value, bool) else value for name, value in member.items()}
    return {**told, "program": program["id"], "name": program["name"], "channel": program.get("channel")}


def fields_of(score: Score) -> dict[str, Any]:
    """Return a score in the fields that hold it."""
    values = {NAMES[name]: field.value(score) for name, field in FIELDS.items()}
    return {name: f"{v:%Y-%m-%dT%H:%M:%SZ}" if isinstance(v, datetime) else v for name, v in values.items()}


def why_of(one: Row) -> str:
    """Return why a record was not updated."""
    return "; ".join(reason["message"] for reason in one.get("reasons", [])) or f"Marketo {one['status']} it."
