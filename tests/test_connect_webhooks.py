"""Webhooks: what is believed, what is refused, and what becomes of it, in the running service too."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from conftest import ROOT
from hypothesis import example, given
from hypothesis import strategies as st
from served import serving, until_ready
from trained import Company

from connectors.webhooks import Delivery, Forged, Request, Unreadable, forget, received, take_in_held
from features.errors import ConfigError
from features.ingestion import Ingested
from features.lake import Lake
from features.settings import Settings

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
URL = "https://touchstone.example.com/webhooks/hubspot"
CONFIGURED = {"connectors": {"hubspot": {"public_url": URL}, "mailchimp": {"audience": "a1"}}}
SETTINGS = Settings.model_validate(CONFIGURED)
SECRETS = {"HUBSPOT_CLIENT_SECRET": "client-secret", "MAILCHIMP_WEBHOOK_SECRET": "hard-to-guess"}
SOON = 20  # seconds on a busy machine


def event(kind: str, **more: object) -> dict[str, object]:
    return {"subscriptionType": kind, "objectId": 151, "occurredAt": 1772452000000, **more}


def change(name: str, value: object, **more: object) -> dict[str, object]:
    return event("contact.propertyChange", propertyName=name, propertyValue=value, **more)


def hubspot(*events: Mapping[str, object], at: datetime = NOW, secret: str = "client-secret") -> Request:  # noqa: S107
    """Return a request as HubSpot signs it."""
    return signed(json.dumps(events).encode(), at, secret)


def signed(body: bytes, at: datetime = NOW, secret: str = "client-secret") -> Request:  # noqa: S107
    stamp = str(int(at.timestamp() * 1000))
    text = hmac.new(secret.encode(), b"POST" + URL.encode() + body + stamp.encode(), hashlib.sha256).digest()
    headers = {"x-hubspot-signature-v3": base64.b64encode(text).decode(), "x-hubspot-request-timestamp": stamp}
    return Request("POST", headers, {}, body, NOW)


def mailchimp(kind: str, merges: Mapping[str, str] | None = None, **data: str) -> Request:
    """Return a request as Mailchimp posts it."""
    form = {"type": kind, "fired_at": "2026-03-01 21:35:57", "data[list_id]": "a1"}
    form |= {f"data[{name}]": value for name, value in data.items()}
    form |= {f"data[merges][{name}]": value for name, value in (merges or {}).items()}
    return Request("POST", {}, {"secret": "hard-to-guess"}, urlencode(form).encode(), NOW)


CHANGE = change("lifecyclestage", "customer")


def answer(request: Request, system: str = "hubspot") -> Delivery:
    return received(system, request, SETTINGS, SECRETS, Path("/nowhere"))


def taken_in(lake: Lake, workspace: Path, *deliveries: Delivery) -> list[Ingested]:
    folder = workspace / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with lake.writing():
        results = take_in_held(deliveries, lake, SETTINGS, workspace, folder, NOW)
    forget(deliveries, lake)
    return results


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


# What is believed


def test_what_hubspot_signs_is_taken_in(lake: Lake, tmp_path: Path) -> None:
    told = (event("contact.creation"), CHANGE, change("industry", "Mining"), change("email", "ada@example.com"))
    delivery = answer(hubspot(*told))
    assert (set(delivery.leads), delivery.forget) == ({"hubspot:151"}, ())
    assert [one for one in taken_in(lake, tmp_path, delivery) if one.refused] == []
    stages = lake.query("SELECT lead_id, stage, epoch_ms(occurred_at) AS at FROM stages").to_pylist()
    assert stages == [{"lead_id": "hubspot:151", "stage": "customer", "at": 1772452000000}]
    said = lake.query("SELECT attributes FROM leads ORDER BY 1").to_pylist()
    assert [row["attributes"] for row in said] == ['{"email":"ada@example.com"}', '{"industry":"Mining"}', "{}"]
    assert lake.query("SELECT lead_id FROM identities").to_pylist() == [{"lead_id": "hubspot:151"}]


def test_a_field_that_is_not_read_such_as_a_score_that_we_wrote_teaches_nothing() -> None:
    told = (change("ml_close_probability", "0.9"), change("hubspotscore", "41"))
    assert answer(hubspot(*told)).lines == {"hubspot-contacts.jsonl": []}
    merged = mailchimp("profile", {"CLOSEPROB": "0.9", "INDUSTRY": "Mining"}, email="a@b.example")
    (line,) = answer(merged, "mailchimp").lines["mailchimp-members.jsonl"]
    assert line["fields"] == {"INDUSTRY": "Mining"}


def test_a_webhook_that_comes_twice_is_one(lake: Lake, tmp_path: Path) -> None:
    for at in (NOW, NOW - timedelta(seconds=30)):  # HubSpot signs what it sends again with another moment
        taken_in(lake, tmp_path, answer(hubspot(CHANGE, at=at)), answer(hubspot(CHANGE, at=at)))
    assert lake.query("SELECT count(*) AS n FROM stages").to_pylist() == [{"n": 1}]
    assert lake.query("SELECT count(*) AS n FROM leads").to_pylist() == [{"n": 1}]


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        (hubspot(CHANGE, secret="another"), "The signature is wrong"),  # noqa: S106
        (replace(hubspot(CHANGE), body=b"[]"), "The signature is wrong"),
        (replace(hubspot(CHANGE), method="PUT"), "The signature is wrong"),
        (replace(hubspot(CHANGE), headers={}), "The signature is wrong"),
        (replace(hubspot(CHANGE), headers={"x-hubspot-signature-v3": "é"}), "The signature is wrong"),
        (hubspot(CHANGE, at=NOW - timedelta(minutes=5, seconds=1)), "The webhook is not of the last five minutes"),
        (hubspot(CHANGE, at=NOW + timedelta(minutes=5, seconds=1)), "The webhook is not of the last five minutes"),
    ],
    ids=["by another", "another body", "another method", "not signed", "no text", "replayed", "of the future"],
)
def test_what_is_forged_replayed_or_of_the_future_is_refused(forged: Request, why: str) -> None:
    with pytest.raises(Forged, match=f"^{why}"):
        answer(forged)


@given(st.binary(max_size=200))
@example(b"{}")
@example(b"[]")
def test_whatever_is_signed_is_answered_and_never_breaks(body: bytes) -> None:
    with pytest.raises(Unreadable, match=r"^This is not a webhook as hubspot sends them\.$"):
        answer(signed(body))


@pytest.mark.parametrize("value", ['"\\ud800"', "NaN", "1e999"])
def test_what_could_not_be_written_down_is_refused(value: str) -> None:
    body = json.dumps([change("industry", "VALUE")]).replace('"VALUE"', value)
    with pytest.raises(Unreadable, match=r"^This is not a webhook"):
        answer(signed(body.encode()))


def test_a_nul_in_a_text_stops_nobody_else(lake: Lake, tmp_path: Path) -> None:
    taken_in(lake, tmp_path, answer(hubspot(change("industry", "a\0b"), change("industry", "Mining", objectId=152))))
    assert lake.query("SELECT lead_id FROM leads WHERE lead_id = 'hubspot:152'").num_rows == 1


def test_a_privacy_deletion_forgets_the_person(lake: Lake, tmp_path: Path) -> None:
    taken_in(lake, tmp_path, answer(hubspot(change("email", "ada@example.com"))))
    deleted = answer(hubspot(event("contact.privacyDeletion")))
    assert deleted == Delivery({"hubspot-contacts.jsonl": []}, (), ("hubspot:151",))
    taken_in(lake, tmp_path, deleted, deleted)
    assert lake.query("SELECT count(*) AS n FROM leads WHERE lead_id = 'hubspot:151'").to_pylist() == [{"n": 0}]
    (result, *_) = [one for one in taken_in(lake, tmp_path, answer(hubspot(CHANGE))) if one.refused]
    assert result.reasons == ("The row belongs to an erased person; nothing of it was kept.",)


def test_a_contact_that_was_deleted_is_not_written_to_any_more(lake: Lake, tmp_path: Path) -> None:
    taken_in(lake, tmp_path, answer(hubspot(event("contact.deletion"))))
    assert lake.query("SELECT attributes FROM leads").to_pylist() == [{"attributes": '{"opted_out":"yes"}'}]


def test_mailchimp_asks_first_whether_somebody_is_here() -> None:
    asks = Request("GET", {}, {"secret": "hard-to-guess"}, b"", NOW)
    assert answer(asks, "mailchimp") == Delivery({})
    with pytest.raises(Forged, match=r"^The secret in the webhook's address is wrong\.$"):
        answer(replace(asks, query={}), "mailchimp")


@pytest.mark.parametrize(
    ("kind", "opted_out"),
    [("unsubscribe", {"opted_out": "yes"}), ("cleaned", {"opted_out": "yes"}), ("subscribe", {"opted_out": "no"}),
     ("profile", {})],
)  # fmt: skip
def test_who_leaves_an_audience_has_opted_out(kind: str, opted_out: dict[str, str], lake: Lake, tmp_path: Path) -> None:
    delivery = answer(mailchimp(kind, email="Ada@example.com"), "mailchimp")
    assert [one for one in taken_in(lake, tmp_path, delivery) if one.refused] == []
    told = lake.query("SELECT lead_id, attributes FROM leads WHERE attributes LIKE '%email%'").to_pylist()
    assert [(row["lead_id"],) for row in told] == [delivery.leads]
    assert [json.loads(row["attributes"]) for row in told] == [{"email": "Ada@example.com", **opted_out}]


def test_campaigns_and_other_audiences_are_none_of_ours() -> None:
    assert answer(mailchimp("campaign", id="c1"), "mailchimp") == Delivery({})
    other = mailchimp("subscribe", email="a@b.example", list_id="b2")
    assert answer(other, "mailchimp") == Delivery({})


def test_who_moves_to_another_address_is_the_same_person(lake: Lake, tmp_path: Path) -> None:
    moved = mailchimp("upemail", new_email="new@example.com", old_email="Old@example.com")
    delivery = answer(moved, "mailchimp")
    taken_in(lake, tmp_path, delivery)
    new, old = delivery.leads
    assert lake.query("SELECT duplicate_id, lead_id FROM identities").to_pylist() == [
        {"duplicate_id": old, "lead_id": new}
    ]


@pytest.mark.parametrize("secret", ["", "hard-to-guesS", "hard-to-guess-"])
def test_mailchimp_needs_the_secret_of_the_address(secret: str) -> None:
    forged = replace(mailchimp("unsubscribe", email="a@example.com"), query={"secret": secret})
    with pytest.raises(Forged, match=r"^The secret in the webhook's address is wrong\.$"):
        answer(forged, "mailchimp")


@pytest.mark.parametrize(
    ("secrets", "settings", "why"),
    [({}, SETTINGS, "^Set HUBSPOT_CLIENT_SECRET in the environment"),
     (SECRETS, Settings(), r"^Set connectors\.hubspot\.public_url to the address")],
)  # fmt: skip
def test_what_is_missing_is_named(secrets: Mapping[str, str], settings: Settings, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        received("hubspot", hubspot(CHANGE), settings, secrets, Path("/nowhere"))


# In the running service


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, trained_company: Company) -> Path:
    return shutil.copytree(trained_company.workspace, tmp_path_factory.mktemp("webhooks") / "workspace")


@pytest.fixture(scope="module")
def client(workspace: Path) -> Iterator[httpx.Client]:
    """Return a client of the service, which takes tokens, and of which the vendors have none."""
    from serving.tokens import create

    token = create(workspace, "a colleague", ("read", "score", "ingest"), datetime.now(UTC))
    ours = (ROOT / "connectors" / "mappings" / "hubspot.toml").read_text()
    (workspace / "own.toml").write_text(ours.replace('"createdate",', '"createdate", "objects_to_profiling",', 1))
    own = {"hubspot": {"public_url": URL, "mapping": "own.toml"}}
    settings = Settings.model_validate({"connectors": {**CONFIGURED["connectors"], **own}})
    with pytest.MonkeyPatch.context() as patched:
        for name, value in SECRETS.items():
            patched.setenv(name, value)
        with serving(workspace, settings) as client:
            until_ready(client)
            client.headers["authorization"] = f"Bearer {token}"
            yield client


def sent(client: httpx.Client, *events: Mapping[str, object], **more: str) -> httpx.Response:
    """Post events as HubSpot does, which has no token."""
    request = hubspot(*events, at=datetime.now(UTC), **more)  # type: ignore[arg-type]
    headers = {"content-type": "application/json", "authorization": ""}
    return client.post("/webhooks/hubspot", content=request.body, headers={**headers, **request.headers})


def soon(asked: Callable[[], Any]) -> Any:
    """Return what is asked for once there is any."""
    for _ in range(SOON * 20):
        if found := asked():
            return found
        time.sleep(0.05)
    raise TimeoutError


def probability(client: httpx.Client, lead_id: str) -> float | None:
    """Return a lead's probability; None while nobody knows them, or once they may not be scored."""
    reply = client.post("/score", json={"lead_ids": [lead_id]})
    return float(reply.json()["scores"][0]["probability"]) if reply.status_code == 200 else None


def timeline(client: httpx.Client, lead_id: str) -> list[dict[str, Any]]:
    return list(client.get(f"/leads/{lead_id}").json()["timeline"])


def lately(days: float) -> int:
    return int((datetime.now(UTC) - timedelta(days=days)).timestamp() * 1000)


def test_a_webhook_changes_a_lead_s_history_and_score_while_the_service_runs(
    client: httpx.Client, workspace: Path
) -> None:
    came = (event("contact.creation", occurredAt=lately(20)), change("industry", "software", occurredAt=lately(20)))
    assert (sent(client, *came).status_code, sent(client, *came).json()) == (200, {"taken": True})
    before = soon(lambda: probability(client, "hubspot:151"))
    assert sent(client, change("lifecyclestage", "opportunity", occurredAt=lately(1))).status_code == 200
    assert soon(lambda: [one for one in timeline(client, "hubspot:151") if one.get("stage") == "opportunity"])
    after = probability(client, "hubspot:151")
    assert after
    assert after > 1.03 * before  # which time alone would not do
    stored = "SELECT max(probability) AS most FROM scores WHERE lead_id = 'hubspot:151'"
    assert soon(lambda: (Lake(workspace / "lake").query(stored).to_pylist()[0]["most"] or 0) > 1.03 * before)


def test_who_objects_by_a_webhook_is_not_scored_and_who_is_deleted_is_forgotten(
    client: httpx.Client, workspace: Path
) -> None:
    own = {"objectId": 152, "occurredAt": lately(3)}
    sent(client, event("contact.creation", **own), change("email", "eve@example.com", **own))
    assert soon(lambda: probability(client, "hubspot:152"))
    sent(client, change("objects_to_profiling", "yes", **own | {"occurredAt": lately(2)}))
    assert soon(lambda: probability(client, "hubspot:152") is None)
    assert client.get("/leads/hubspot:152").json()["not_scored"] == (
        "hubspot:152 is not scored, since the person objected to profiling."
    )
    sent(client, event("contact.privacyDeletion", **own))
    assert soon(lambda: client.get("/leads/hubspot:152").status_code == 404)
    assert Lake(workspace / "lake").query("SELECT 1 FROM leads WHERE lead_id = 'hubspot:152'").num_rows == 0


def test_what_is_not_believed_gets_a_sentence(client: httpx.Client) -> None:
    wrong = "The signature is wrong. See that connectors.hubspot.public_url is the address HubSpot sends to."
    for refused in (sent(client, CHANGE, secret="another"), client.post("/webhooks/hubspot", json=[])):  # noqa: S106
        assert (refused.status_code, refused.json()) == (401, {"error": wrong})
    late = hubspot(CHANGE, at=datetime.now(UTC) - timedelta(minutes=6))
    assert client.post("/webhooks/hubspot", content=late.body, headers={**late.headers}).status_code == 401
    unknown = client.post("/webhooks/pipedrive", json=[])
    assert (unknown.status_code, unknown.json()) == (
        404, {"error": 'There is no webhook of "pipedrive". Name one of hubspot, mailchimp.'},
    )  # fmt: skip
    assert client.put("/webhooks/hubspot", json=[]).status_code == 405
    assert client.post("/webhooks/hubspot", content=b"x" * 8_000_001).status_code == 413
    assert client.post("/score", json={}, headers={"authorization": ""}).status_code == 401  # all else takes a token


def test_mailchimp_finds_somebody_at_the_secret_address_and_posts_forms_there(
    client: httpx.Client, workspace: Path
) -> None:
    address = "/webhooks/mailchimp?secret=hard-to-guess"
    assert client.get(address, headers={"authorization": ""}).status_code == 200
    assert client.get("/webhooks/mailchimp").status_code == 401
    form = mailchimp("unsubscribe", email="Ada@example.com").body
    kind = {"content-type": "application/x-www-form-urlencoded", "authorization": ""}
    assert client.post(address, content=form, headers=kind).json() == {"taken": True}
    told = "SELECT lead_id FROM leads WHERE attributes LIKE '%\"opted_out\":\"yes\"%' AND lead_id LIKE 'mailchimp:%'"
    assert soon(lambda: Lake(workspace / "lake").query(told).num_rows == 1)
    assert "hard-to-guess" not in (workspace / "audit.jsonl").read_text()


def test_what_a_flow_of_salesforce_posts_takes_a_token_and_comes_twice_without_harm(client: httpx.Client) -> None:
    at = datetime.fromtimestamp(lately(2) / 1000, UTC).isoformat()
    lead = {"lead_id": "salesforce:00Q1", "created_at": at, "attributes": {"LeadSource": "Web"}}
    member = {"event_id": "salesforce:member:00v1", "lead_id": "salesforce:00Q1", "occurred_at": at,
              "kind": "webinar_attended", "channel": "Events"}  # fmt: skip
    told = {"leads": [lead], "touches": [member]}
    assert client.post("/events", json=told, headers={"authorization": "Bearer forged"}).status_code == 401
    assert [client.post("/events", json=told).json()["known"] for _ in range(2)] == [0, 1]
    assert soon(lambda: probability(client, "salesforce:00Q1"))


def test_webhooks_that_are_not_set_up_say_so_to_us_and_not_to_strangers(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("HUBSPOT_CLIENT_SECRET")
    refused = sent(client, CHANGE)
    said = "Webhooks of hubspot are not set up here; the service's log says why."
    assert (refused.status_code, refused.json()) == (404, {"error": said})
    assert "A webhook of hubspot is refused. Set HUBSPOT_CLIENT_SECRET in the environment" in caplog.text


def test_no_more_webhooks_wait_than_may(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving import webhooks

    def slowly(*_: object, **__: object) -> Delivery:
        time.sleep(0.2)
        return Delivery({})

    monkeypatch.setattr(webhooks.webhooks, "received", slowly)
    with ThreadPoolExecutor(40) as posting:
        statuses = [reply.status_code for reply in posting.map(lambda _: sent(client, CHANGE), range(40))]
    assert {*statuses} == {200, 429}


def test_a_killed_service_loses_no_webhook_that_it_acknowledged(
    tmp_path: Path, trained_company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = shutil.copytree(trained_company.workspace, tmp_path / "workspace")
    (workspace / "touchstone.toml").write_text(f'[connectors.hubspot]\npublic_url = "{URL}"\n')
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    words = [str(Path(sys.executable).with_name("touchstone")), "serve", "--port", "0", "--json", "--workspace"]
    process = subprocess.Popen([*words, str(workspace)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    url = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")["url"]
    worker = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
    with httpx.Client(base_url=url, trust_env=False) as client:
        for number in range(20):
            assert sent(client, change("lifecyclestage", "opportunity", objectId=number)).status_code == 200
        os.kill(worker, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with serving(workspace, SETTINGS):
        pass
    stored = Lake(workspace / "lake").query("SELECT lead_id FROM stages WHERE lead_id LIKE 'hubspot:%'")
    assert sorted(stored["lead_id"].to_pylist()) == sorted(f"hubspot:{number}" for number in range(20))
