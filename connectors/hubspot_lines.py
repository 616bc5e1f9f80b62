"""Lines of HubSpot: what it says, flattened to one line for each thing that became known at a moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby

from connectors.landing import Row
from connectors.moments import iso_of, milliseconds
from connectors.system import FIELDS, Score


def of_contact(contact: Row, companies: Mapping[str, Row]) -> Iterator[Row]:
    """Yield what a contact's history says: a line for each moment at which something changed."""
    own, company = {"id": contact["id"], "created": contact["createdAt"]}, ""
    for moment, now in _moments(contact):
        company = now.get("associatedcompanyid", company)
        joined = {"company": company} if "associatedcompanyid" in now else {}
        yield {"record": "contact", **own, "at": moment, "properties": now, **joined}
        if now.get("lifecyclestage"):
            yield {"record": "stage", **own, "at": moment, "stage": now["lifecyclestage"]}
        if now.get("email"):
            yield {"record": "email", **own, "at": moment, "email": now["email"]}
    if company in companies:  # as it is now, so the mapping makes it known from when we read it
        yield {"record": "company", **own, **companies[company], "company": company}


def of_deal(deal: Row, contacts: Sequence[str], stages: Mapping[str, Row]) -> Iterator[Row]:
    """Yield the stages of a deal for its first contact alone, so that its amount counts once."""
    said: dict[str, str] = {}
    for moment, now in _moments(deal):
        said |= now
        if "dealstage" in now and contacts:
            stage = stages.get(now["dealstage"], {})
            yield {
                "id": deal["id"],
                "contact_id": contacts[0],
                "at": moment,
                "stage": now["dealstage"],
                "label": stage.get("label"),
                "closed": stage.get("metadata", {}).get("isClosed"),
                "probability": stage.get("metadata", {}).get("probability"),
                "amount": said.get("amount"),
                "currency": said.get("deal_currency_code"),
            }


def of_email_event(event: Row) -> Row:
    """Return an event of a marketing e-mail."""
    told = {"id": event["id"], "type": event["type"], "email": event["recipient"]}
    return {**told, "at": iso_of(event["created"]), "campaign": event.get("emailCampaignId")}


def of_submission(form: Row, submission: Row) -> Row:
    """Return what was submitted with a form."""
    said = {value["name"]: value["value"] for value in submission["values"]}
    told = {"id": form["id"], "form": form["name"], "email": said.get("email"), "url": submission.get("pageUrl")}
    return {**told, "at": iso_of(submission["submittedAt"])}


def of_web_event(contact: str, event: Row) -> Row:
    """Return an event on the web."""
    told = {"contact_id": contact, "id": event["id"], "type": event["eventType"], "at": event["occurredAt"]}
    return {**told, **event.get("properties", {})}


def properties_of(score: Score) -> dict[str, str]:
    """Return a score as HubSpot takes it: all values are texts, and a moment is in milliseconds."""
    values = {f"ml_{name}": field.value(score) for name, field in FIELDS.items()}
    return {name: str(milliseconds(v)) if isinstance(v, datetime) else str(v) for name, v in values.items()}


def current(one: Row) -> dict[str, str]:
    """Return the properties of an object as its history leaves them."""
    return {name: value for _, now in _moments(one) for name, value in now.items()}


def _moments(one: Row) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each moment at which an object changed, the earliest first, and the properties that changed then."""
    histories = one.get("propertiesWithHistory") or {}
    changes = sorted((v["timestamp"], name, v["value"]) for name, values in histories.items() for v in values)
    for moment, group in groupby(changes, key=lambda change: change[0]):
        yield moment, {name: value for _, name, value in group}
