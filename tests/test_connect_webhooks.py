"""Webhooks: whom they are believed, and what becomes of what they say."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.webhooks import Request, received, take_in
from features.lake import Lake
from features.settings import Settings

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
URL = "https://touchstone.example.com/webhooks/hubspot"
SETTINGS = Settings.model_validate({"connectors": {"hubspot": {"public_url": URL}}})
SECRETS = {"HUBSPOT_CLIENT_SECRET": "client-secret", "MAILCHIMP_WEBHOOK_SECRET": "hard-to-guess"}


def event(kind: str, **more: object) -> dict[str, object]:
    return {"subscriptionType": kind, "objectId": 151, "occurredAt": 1772452000000, **more}


def hubspot(*events: Mapping[str, object], at: datetime = NOW, secret: str = "client-secret") -> Request:  # noqa: S107
    """Return a request as HubSpot signs it."""
    body, stamp = json.dumps(events).encode(), str(int(at.timestamp() * 1000))
    signed = hmac.new(secret.encode(), b"POST" + URL.encode() + body + stamp.encode(), hashlib.sha256).digest()
    headers = {"x-hubspot-signature-v3": base64.b64encode(signed).decode(), "x-hubspot-request-timestamp": stamp}
    return Request("POST", headers, {}, body, NOW)


def mailchimp(**told: str) -> Request:
    form = {"fired_at": "2026-03-01 21:35:57", **{name.replace("__", "["): value for name, value in told.items()}}
    body = urlencode({f"{name}]" if "[" in name else name: value for name, value in form.items()})
    return Request("POST", {}, {"secret": "hard-to-guess"}, body.encode(), NOW)


CHANGE = event("contact.propertyChange", propertyName="lifecyclestage", propertyValue="customer")


def answer(request: Request, queue: Path, system: str = "hubspot") -> tuple[int, str]:
    return received(system, request, SETTINGS, SECRETS, queue)


def test_what_hubspot_signs_is_queued_answered_and_taken_in(tmp_path: Path) -> None:
    assert answer(hubspot(CHANGE), tmp_path / "queue") == (200, "Thank you.")
    lake = Lake(tmp_path / "lake")
    take_in(tmp_path / "queue", lake, SETTINGS, tmp_path, NOW)
    stages = lake.query("SELECT lead_id, stage, epoch_ms(occurred_at) AS at FROM stages").to_pylist()
    assert stages == [{"lead_id": "hubspot:151", "stage": "customer", "at": 1772452000000}]
    assert list((tmp_path / "queue").iterdir()) == []


def test_a_webhook_that_comes_twice_is_one(tmp_path: Path) -> None:
    queue = tmp_path / "queue"
    for at in (NOW, NOW - timedelta(seconds=30)):  # HubSpot signs what it sends again with another moment
        assert answer(hubspot(CHANGE, at=at), queue)[0] == 200
    assert len(list(queue.iterdir())) == 1
    lake = Lake(tmp_path / "lake")
    take_in(queue, lake, SETTINGS, tmp_path, NOW)
    answer(hubspot(CHANGE), queue)
    take_in(queue, lake, SETTINGS, tmp_path, NOW)
    assert lake.query("SELECT count(*) AS n FROM stages").to_pylist() == [{"n": 1}]


@pytest.mark.parametrize(
    "forged",
    [
        hubspot(CHANGE, secret="another"),  # noqa: S106
        replace(hubspot(CHANGE), body=b"[]"),
        replace(hubspot(CHANGE), method="PUT"),
        replace(hubspot(CHANGE), headers={}),
        hubspot(CHANGE, at=NOW - timedelta(minutes=5, seconds=1)),
        hubspot(CHANGE, at=NOW + timedelta(minutes=5, seconds=1)),
    ],
    ids=["by another", "another body", "another method", "not signed", "replayed", "of the future"],
)
def test_what_is_forged_replayed_or_of_the_future_is_refused(forged: Request, tmp_path: Path) -> None:
    status, sentence = answer(forged, tmp_path / "queue")
    assert (status, sentence.split(".")[0]) in {
        (401, "The signature is wrong"), (401, "The webhook is not of the last five minutes"),
    }  # fmt: skip
    assert not (tmp_path / "queue").exists()


@given(st.binary(max_size=200))
def test_whatever_is_signed_is_answered_and_never_breaks(body: bytes) -> None:
    stamp = str(int(NOW.timestamp() * 1000))
    signed = hmac.new(b"client-secret", b"POST" + URL.encode() + body + stamp.encode(), hashlib.sha256).digest()
    headers = {"x-hubspot-signature-v3": base64.b64encode(signed).decode(), "x-hubspot-request-timestamp": stamp}
    status, _ = received("hubspot", Request("POST", headers, {}, body, NOW), SETTINGS, SECRETS, Path("/nowhere"))
    assert status == 400


def test_a_privacy_deletion_forgets_the_person(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    for sent in (event("contact.propertyChange", propertyName="email", propertyValue="ada@example.com"),
                 event("contact.privacyDeletion")):  # fmt: skip
        answer(hubspot(sent), tmp_path / "queue")
        take_in(tmp_path / "queue", lake, SETTINGS, tmp_path, NOW)
    assert lake.query("SELECT count(*) AS n FROM leads WHERE lead_id = 'hubspot:151'").to_pylist() == [{"n": 0}]
    answer(hubspot(CHANGE), tmp_path / "queue")
    (result, *_) = [one for one in take_in(tmp_path / "queue", lake, SETTINGS, tmp_path, NOW) if one.refused]
    assert result.reasons == ("The row belongs to an erased person; nothing of it was kept.",)


def test_mailchimp_asks_first_whether_somebody_is_here(tmp_path: Path) -> None:
    assert answer(Request("GET", {}, {"secret": "hard-to-guess"}, b"", NOW), tmp_path, "mailchimp")[0] == 200


def test_who_leaves_an_audience_has_opted_out(tmp_path: Path) -> None:
    left = mailchimp(type="unsubscribe", data__email="Ada@example.com", data__list_id="a1")
    assert answer(left, tmp_path / "queue", "mailchimp") == (200, "Thank you.")
    lake = Lake(tmp_path / "lake")
    take_in(tmp_path / "queue", lake, SETTINGS, tmp_path, NOW)
    told = lake.query("SELECT attributes FROM leads WHERE attributes LIKE '%opted_out%'").to_pylist()
    assert [json.loads(row["attributes"]) for row in told] == [
        {"email": "Ada@example.com", "opted_out": "unsubscribed"}
    ]


def test_who_moves_to_another_address_is_the_same_person(tmp_path: Path) -> None:
    moved = mailchimp(type="upemail", data__new_email="new@example.com", data__old_email="old@example.com")
    answer(moved, tmp_path / "queue", "mailchimp")
    lake = Lake(tmp_path / "lake")
    take_in(tmp_path / "queue", lake, SETTINGS, tmp_path, NOW)
    old, new = (
        hashlib.md5(f"{name}@example.com".encode(), usedforsecurity=False).hexdigest() for name in ("old", "new")
    )
    assert lake.query("SELECT duplicate_id, lead_id FROM identities").to_pylist() == [
        {"duplicate_id": f"mailchimp:{old}", "lead_id": f"mailchimp:{new}"}
    ]


@pytest.mark.parametrize("secret", ["", "hard-to-guesS", "hard-to-guess-"])
def test_mailchimp_needs_the_secret_of_the_address(secret: str, tmp_path: Path) -> None:
    forged = replace(mailchimp(type="unsubscribe", data__email="a@example.com"), query={"secret": secret})
    assert answer(forged, tmp_path / "queue", "mailchimp") == (401, "The secret in the webhook's address is wrong.")


def test_there_are_only_the_webhooks_that_there_are(tmp_path: Path) -> None:
    assert answer(hubspot(CHANGE), tmp_path, "pipedrive") == (404, 'There is no webhook of "pipedrive".')
