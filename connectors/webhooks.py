"""Webhooks: what systems send by themselves, believed only if it is theirs, and queued before it is answered.

``received`` knows no server: it takes a request's method, headers, query and body, and the moment, and returns a status
and a sentence. What it believes it writes to the queue, a folder of files as the connectors land them, and
``take_in`` ingests the queue later, through the door that files take. A delivery that comes twice is one: the queue
knows it by its content, and the lake knows its rows.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

from connectors.landing import Row
from connectors.mapping import mapped
from connectors.moments import iso_of, milliseconds
from connectors.secret import needed
from features.durable import write_durably
from features.erasure import erase
from features.errors import DataError, NothingToDo, TouchstoneError
from features.ingestion import Ingested, ingest
from features.lake import Lake
from features.settings import Settings

OLDEST = timedelta(minutes=5)  # HubSpot's rule; one that claims to be so far in the future is as little believed
ERASE = "erase.json"
OPTED_OUT = {"unsubscribe": "unsubscribed", "cleaned": "cleaned"}  # Mailchimp's events


class Forged(TouchstoneError):
    """A webhook is not from whom it says, or not of now."""


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
    """What a webhook brought: lines, by the file that they are landed in, and people to forget."""

    lines: Mapping[str, list[Row]]
    forget: tuple[str, ...] = ()


def received(
    system: str, request: Request, settings: Settings, environment: Mapping[str, str], queue: Path
) -> tuple[int, str]:
    """Return the status and the sentence that answer a webhook; with 200 what it brought is on the disk."""
    if system not in DOORS:
        return 404, f'There is no webhook of "{system}".'
    try:
        delivery = DOORS[system](request, settings, environment)
    except Forged as refused:
        return 401, str(refused)
    except (ValueError, KeyError, TypeError, AttributeError):
        return 400, f"This is not a webhook as {system} sends them."
    _queue(queue, delivery)
    return 200, "Thank you."


def take_in(queue: Path, lake: Lake, settings: Settings, workspace: Path, as_of: datetime) -> list[Ingested]:
    """Ingest what waits in the queue, forget whom it says to forget, and empty it."""
    results = []
    for folder in sorted(path for path in queue.glob("*") if path.is_dir() and not path.name.startswith(".")):
        results += ingest(lake, mapped(settings, workspace), sorted(folder.glob("*.jsonl")), as_of)
        for person in json.loads((folder / ERASE).read_text("utf-8")):
            try:
                erase(lake, person)
            except (DataError, NothingToDo):  # unknown here, or forgotten before
                continue
        shutil.rmtree(folder)
    return results


def _queue(queue: Path, delivery: Delivery) -> None:
    """Write a delivery down, wholly or not at all."""
    brought = {file: lines for file, lines in delivery.lines.items() if lines}
    texts = {file: "".join(f"{json.dumps(line)}\n" for line in lines) for file, lines in brought.items()}
    texts[ERASE] = json.dumps(delivery.forget)
    name = hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:32]
    draft = queue / f".{name}"
    draft.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        write_durably(draft / file, text)
    if (queue / name).exists():
        shutil.rmtree(draft)
    else:
        draft.rename(queue / name)


def _hubspot(request: Request, settings: Settings, environment: Mapping[str, str]) -> Delivery:
    """Return what HubSpot sent: changes of contacts, whom to forget."""
    (secret,) = needed(environment, "HUBSPOT_CLIENT_SECRET")
    stamp = request.headers.get("x-hubspot-request-timestamp", "")
    signed = f"{request.method}{settings.connectors.hubspot.public_url}".encode() + request.body + stamp.encode()
    right = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
    if not hmac.compare_digest(right, request.headers.get("x-hubspot-signature-v3", "")):
        raise Forged("The signature is wrong. See that connectors.hubspot.public_url is the address HubSpot sends to.")
    if not stamp.isdecimal() or abs(milliseconds(request.at) - int(stamp)) > OLDEST / timedelta(milliseconds=1):
        raise Forged("The webhook is not of the last five minutes. See that this machine's clock is right.")
    lines, forget = list[Row](), list[str]()
    for event in json.loads(request.body):
        at, kind = iso_of(event["occurredAt"]), event["subscriptionType"]
        own = {"id": str(event["objectId"]), "created": at, "at": at}
        if kind == "contact.privacyDeletion":
            forget.append(f"hubspot:{own['id']}")
        elif kind == "contact.deletion":
            lines.append({"record": "contact", **own, "properties": {"hs_email_optout": "deleted"}})
        elif kind == "contact.propertyChange":
            name, value = event["propertyName"], event["propertyValue"]
            lines.append({"record": "contact", **own, "properties": {name: value}})
            lines += [{"record": "stage", **own, "stage": value}] * (name == "lifecyclestage")
            lines += [{"record": "email", **own, "email": value}] * (name == "email")
    return Delivery({"hubspot-contacts.jsonl": lines}, tuple(forget))


def _mailchimp(request: Request, _: Settings, environment: Mapping[str, str]) -> Delivery:
    """Return what Mailchimp sent. It signs nothing, so its address holds a secret; a GET only asks if we are here."""
    (secret,) = needed(environment, "MAILCHIMP_WEBHOOK_SECRET")
    if not hmac.compare_digest(secret.encode(), request.query.get("secret", "").encode()):
        raise Forged("The secret in the webhook's address is wrong.")
    if request.method == "GET":
        return Delivery({})
    sent = dict(parse_qsl(request.body.decode(), strict_parsing=True))
    at = f"{sent['fired_at'].replace(' ', 'T')}Z"
    if sent["type"] == "upemail":
        moved = {"email": sent["data[new_email]"], "old_email": sent["data[old_email]"], "at": at}
        return Delivery({"mailchimp-moves.jsonl": [moved]})
    if sent["type"] == "campaign":
        return Delivery({})
    status = OPTED_OUT.get(sent["type"], "subscribed")
    merges = ((key.removeprefix("data[merges][")[:-1], value) for key, value in sent.items())
    merged = {name: value for name, value in merges if f"data[merges][{name}]" in sent and "[" not in name}
    line = {"email": sent["data[email]"], "status": status, "created": at, "at": at, "fields": merged}
    return Delivery({"mailchimp-members.jsonl": [line]})


Door = Callable[[Request, Settings, Mapping[str, str]], Delivery]
DOORS: dict[str, Door] = {"hubspot": _hubspot, "mailchimp": _mailchimp}
