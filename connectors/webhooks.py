"""Webhooks: what systems send by themselves, believed only if it is theirs.

``received`` knows no server: it takes a request's method, headers, query and body, and the moment, and returns what was
delivered: lines as the connectors land them, and whom to forget. Whoever calls it keeps the delivery safe before it is
acknowledged, and has it taken in later, through the door that files take. A delivery that comes twice changes nothing:
the lake knows its rows.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

from connectors.landing import Row
from connectors.mapping import mapped, mapping_of
from connectors.moments import iso_of, milliseconds
from connectors.secret import needed
from features.erasure import erase
from features.errors import ConfigError, DataError, NothingToDo, TouchstoneError
from features.ingestion import Ingested, ingest_held
from features.lake import Lake
from features.settings import Settings
from features.sources import sources_of

OLDEST = timedelta(minutes=5)  # HubSpot's rule; one that claims to be so far in the future is as little believed
STATUS = {"subscribe": "subscribed", "unsubscribe": "unsubscribed", "cleaned": "cleaned"}  # by Mailchimp's events

Asked = Callable[[], Row]  # which fields are read


class Forged(TouchstoneError):
    """A webhook is not from whom it says, or not of now."""


class Unreadable(TouchstoneError):
    """A webhook is from whom it says, and not as they send them."""


@dataclass(frozen=True)
class Request:
    """A request to one of our webhooks; names of headers are in small letters."""

    method: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    at: datetime


@dataclass(frozen=True)
class Delivery:
    """What a webhook brought: lines by the file that they are landed in, whom they are about, and whom to forget."""

    lines: Mapping[str, list[Row]]
    leads: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()


def received(
    system: str, request: Request, settings: Settings, environment: Mapping[str, str], workspace: Path
) -> Delivery:
    """Return what a webhook of one of DOORS delivers.

    Raises:
        Forged, Unreadable: when it is not believed, or cannot be understood.
        ConfigError: when webhooks of the system are not set up here.

    """

    def asked() -> Row:  # only what is believed is worth reading a file for
        return mapping_of(system, settings, workspace).read

    try:
        delivery = DOORS[system](request, settings, environment, asked)
        json.dumps(delivery.lines, ensure_ascii=False, allow_nan=False).encode()  # it can be written down
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise Unreadable(f"This is not a webhook as {system} sends them.") from None
    return delivery


def take_in_held(
    deliveries: Iterable[Delivery], lake: Lake, settings: Settings, workspace: Path, folder: Path, as_of: datetime
) -> list[Ingested]:
    """Ingest what was delivered, by way of files in an empty folder; the caller holds ``lake.writing()``."""
    lines = defaultdict[str, list[Row]](list)
    for delivery in deliveries:
        for name, some in delivery.lines.items():
            lines[name] += some
    for name, some in lines.items():
        (folder / name).write_text("".join(f"{json.dumps(line)}\n" for line in some), "utf-8")
    known = mapped(settings, workspace)
    files = sources_of((folder / name for name, some in lines.items() if some), known)
    return [ingest_held(lake, known, file, source, as_of) for file, source in files]


def forget(deliveries: Iterable[Delivery], lake: Lake) -> None:
    """Forget whom deliveries say to forget."""
    for person in (person for delivery in deliveries for person in delivery.forget):
        try:
            erase(lake, person)
        except (DataError, NothingToDo):  # unknown here, or forgotten before
            continue


def _hubspot(request: Request, settings: Settings, environment: Mapping[str, str], asked: Asked) -> Delivery:
    """Return what HubSpot sent: changes of contacts, whom to forget."""
    (secret,) = needed(environment, "HUBSPOT_CLIENT_SECRET")
    if not settings.connectors.hubspot.public_url:
        raise ConfigError("Set connectors.hubspot.public_url to the address that HubSpot sends its webhooks to.")
    stamp = request.headers.get("x-hubspot-request-timestamp", "")
    signed = f"{request.method}{settings.connectors.hubspot.public_url}".encode() + request.body + stamp.encode()
    right = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest())
    if not hmac.compare_digest(right, request.headers.get("x-hubspot-signature-v3", "").encode()):
        raise Forged("The signature is wrong. See that connectors.hubspot.public_url is the address HubSpot sends to.")
    if not stamp.isdecimal() or abs(milliseconds(request.at) - int(stamp)) > OLDEST / timedelta(milliseconds=1):
        raise Forged("The webhook is not of the last five minutes. See that this machine's clock is right.")
    events = json.loads(request.body)
    if not (isinstance(events, list) and events):
        raise Unreadable("This is not a webhook as hubspot sends them.")
    lines, leads, forget, fields = list[Row](), list[str](), list[str](), asked()["contacts"]
    for event in events:
        kind, lead = event["subscriptionType"], f"hubspot:{event['objectId']}"
        (forget if kind == "contact.privacyDeletion" else leads).append(lead)
        lines += _of_event(event, kind, fields)
    return Delivery({"hubspot-contacts.jsonl": lines}, tuple(leads), tuple(forget))


def _of_event(event: Row, kind: str, fields: Sequence[str]) -> Iterator[Row]:
    """Yield lines of one event of HubSpot; of a field that is not read, such as one that we write, nothing."""
    at = iso_of(event["occurredAt"])
    own = {"id": str(event["objectId"]), "created": at, "at": at}
    if kind == "contact.creation":
        yield {"record": "contact", **own, "properties": {}}
    elif kind == "contact.deletion":
        yield {"record": "contact", **own, "properties": {"hs_email_optout": "deleted"}}
    elif kind == "contact.propertyChange" and event["propertyName"] in fields:
        name, value = event["propertyName"], event["propertyValue"]
        yield {"record": "contact", **own, "properties": {name: value}}
        if name == "lifecyclestage" and value:
            yield {"record": "stage", **own, "stage": value}
        if name == "email" and value:
            yield {"record": "email", **own, "email": value}


def _mailchimp(request: Request, settings: Settings, environment: Mapping[str, str], asked: Asked) -> Delivery:
    """Return what Mailchimp sent. It signs nothing, so its address holds a secret; a GET only asks if we are here."""
    (secret,) = needed(environment, "MAILCHIMP_WEBHOOK_SECRET")
    if not hmac.compare_digest(secret.encode(), request.query.get("secret", "").encode()):
        raise Forged("The secret in the webhook's address is wrong.")
    if request.method != "POST":
        return Delivery({})
    sent = dict(parse_qsl(request.body.decode(), strict_parsing=True))
    at = datetime.fromisoformat(f"{sent['fired_at']}Z").isoformat()
    if sent["data[list_id]"] != settings.connectors.mailchimp.audience or sent["type"] == "campaign":
        return Delivery({})
    if sent["type"] == "upemail":
        moved = {"email": sent["data[new_email]"], "old_email": sent["data[old_email]"], "at": at}
        return Delivery({"mailchimp-moves.jsonl": [moved]}, (_member(moved["email"]), _member(moved["old_email"])))
    merged = {name: sent[f"data[merges][{name}]"] for name in asked()["members"] if f"data[merges][{name}]" in sent}
    about = {"email": sent["data[email]"], "status": STATUS.get(sent["type"]), "created": at, "at": at}
    return Delivery({"mailchimp-members.jsonl": [{**about, "fields": merged}]}, (_member(about["email"]),))


def _member(email: str | None) -> str:
    return f"mailchimp:{hashlib.md5(str(email).strip().lower().encode(), usedforsecurity=False).hexdigest()}"


Door = Callable[[Request, Settings, Mapping[str, str], Asked], Delivery]
DOORS: dict[str, Door] = {"hubspot": _hubspot, "mailchimp": _mailchimp}
