"""Segment: a file of customer events is accepted as it is, and feeds leads, identities and touches."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from features.errors import ConfigError
from features.ingestion import Ingested, ingest
from features.lake import Lake
from features.retry import retry
from features.segment import first_lines, is_segment
from features.settings import Ingest, Settings

NOW = datetime(2026, 6, 1, tzinfo=UTC)
Event = dict[str, Any]
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36"

# As the vendors' documentation shows such events: Segment's, and the last two RudderStack's.
PAGE: Event = {
    "anonymousId": "anon-1",
    "channel": "client",
    "context": {
        "campaign": {
            "name": "spring launch", "source": "Google", "medium": "cpc", "term": "crm", "content": "blue", "id": "c7",
        },
        "ip": "203.0.113.9",
        "library": {"name": "analytics.js", "version": "2.11.1"},
        "page": {
            "path": "/pricing", "referrer": "https://www.google.com/", "title": "Pricing",
            "url": "https://acme.test/pricing",
        },
        "userAgent": CHROME,
    },
    "integrations": {},
    "messageId": "ajs-page-1",
    "name": "Pricing",
    "originalTimestamp": "2026-05-01T09:00:00.100Z",
    "properties": {"path": "/pricing", "title": "Pricing", "url": "https://acme.test/pricing"},
    "receivedAt": "2026-05-01T09:00:00.900Z",
    "sentAt": "2026-05-01T09:00:00.200Z",
    "timestamp": "2026-05-01T09:00:00.800Z",
    "type": "page",
    "userId": None,
    "version": "1.1",
}  # fmt: skip
IDENTIFY: Event = {
    "anonymousId": "anon-1",
    "context": {"userAgent": CHROME, "page": {"url": "https://acme.test/signup"}},
    "messageId": "ajs-identify-1",
    "receivedAt": "2026-05-01T09:05:02Z",
    "timestamp": "2026-05-01T09:05:00Z",
    "traits": {
        "email": "ada@initech.test", "plan": "trial", "seats": 25, "createdAt": "2026-04-30T08:00:00Z", "fax": None,
    },
    "type": "identify",
    "userId": "ada",
}  # fmt: skip
TRACK: Event = {
    "anonymousId": "anon-1",
    "context": {"library": {"name": "analytics-node"}},
    "event": "Demo Requested",
    "messageId": "node-track-1",
    "properties": {"product": "Suite", "seats": 25},
    "receivedAt": "2026-05-04T09:00:00Z",
    "timestamp": "2026-05-01T09:06:00Z",
    "type": "track",
    "userId": "ada",
}
GROUP: Event = {
    "groupId": "initech",
    "messageId": "node-group-1",
    "timestamp": "2026-05-01T09:07:00Z",
    "traits": {"name": "Initech", "employees": 329, "a/b": "c"},
    "type": "group",
    "userId": "ada",
}
RUDDER: Event = {
    "anonymousId": "anon-2",
    "channel": "web",
    "context": {"traits": {"email": "bob@initech.test", "name": "Bob"}},
    "integrations": {"All": True},
    "messageId": "rs-1",
    "originalTimestamp": "2026-05-02T10:00:00.000Z",
    "rudderId": "r-1",
    "sentAt": "2026-05-02T10:00:00.000Z",
    "type": "identify",
    "userId": "bob",
}
SCREEN: Event = {
    "anonymousId": "anon-3",
    "channel": "mobile",
    "messageId": "rs-2",
    "name": "Home",
    "originalTimestamp": "2026-05-02T11:00:00+02:00",
    "properties": {"prop1": "5"},
    "type": "screen",
    "userId": "",
}
ALIAS: Event = {
    "messageId": "a-1",
    "previousId": "anon-9",
    "timestamp": "2026-05-03T00:00:00Z",
    "type": "alias",
    "userId": "bob",
}


def stored(tmp_path: Path, *events: Event | str, name: str = "events.jsonl") -> tuple[Lake, list[Ingested]]:
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    (tmp_path / name).write_text("\n".join(lines), "utf-8")
    lake = Lake(tmp_path / "lake")
    return lake, ingest(lake, Settings(), [tmp_path / name], NOW)


def rows(lake: Lake, table: str) -> list[Event]:
    """Return a table's rows without what is empty and without hashes; times as texts."""
    found = lake.query(f'SELECT * EXCLUDE (row_hash) FROM "{table}" ORDER BY ALL').to_pylist()
    told = [{name: value for name, value in row.items() if value is not None} for row in found]
    return [{name: f"{v:%d %H:%M:%S}" if isinstance(v, datetime) else v for name, v in row.items()} for row in told]


def test_one_file_feeds_leads_identities_and_touches(tmp_path: Path) -> None:
    lake, results = stored(tmp_path, PAGE, IDENTIFY, TRACK, GROUP, RUDDER, SCREEN, ALIAS)
    assert [(one.table, one.stored, one.refused) for one in results] == [
        ("leads", 3, 0),
        ("identities", 3, 0),
        ("touches", 3, 0),
    ]
    again = ingest(lake, Settings(), [tmp_path / "events.jsonl"], NOW)
    assert [(one.stored, one.already_there) for one in again] == [(0, 3), (0, 3), (0, 3)]


def test_identify_is_a_version_of_the_lead_with_its_traits(tmp_path: Path) -> None:
    lake, _ = stored(tmp_path, IDENTIFY, RUDDER)
    ada, bob = rows(lake, "leads")
    traits = {"email": "ada@initech.test", "plan": "trial", "seats": 25, "createdAt": "2026-04-30T08:00:00Z"}
    assert ada | {"attributes": json.loads(ada["attributes"])} == {
        "lead_id": "ada", "created_at": "30 08:00:00", "observed_at": "01 09:05:02", "attributes": traits,
        "is_change": True,
    }  # fmt: skip
    assert bob | {"attributes": json.loads(bob["attributes"])} == {
        "lead_id": "bob", "created_at": "02 10:00:00", "observed_at": "02 10:00:00",
        "attributes": {"email": "bob@initech.test", "name": "Bob"}, "is_change": True,
    }  # fmt: skip


def test_a_lead_is_created_when_its_traits_say_however_they_write_it(tmp_path: Path) -> None:
    times = ["2026-04-30T08:00:00Z", 1777536000, 1777536000000, None]
    events = [IDENTIFY | {"userId": str(i), "traits": {"created_at": time}} for i, time in enumerate(times)]
    created = [row["created_at"] for row in rows(stored(tmp_path, *events)[0], "leads")]
    assert created == ["30 08:00:00"] * 3 + ["01 09:05:00"]


def test_identify_and_alias_say_who_somebody_was(tmp_path: Path) -> None:
    lake, _ = stored(tmp_path, IDENTIFY, RUDDER, ALIAS, IDENTIFY | {"anonymousId": None, "messageId": "server"})
    assert rows(lake, "identities") == [
        {"anonymous_id": "anon-1", "lead_id": "ada", "observed_at": "01 09:05:02"},
        {"anonymous_id": "anon-2", "lead_id": "bob", "observed_at": "02 10:00:00"},
        {"anonymous_id": "anon-9", "lead_id": "bob", "observed_at": "03 00:00:00"},
    ]


def test_group_is_the_account_of_the_lead(tmp_path: Path) -> None:
    (version,) = rows(stored(tmp_path, GROUP)[0], "leads")
    account = {"account_name": "Initech", "account_employees": 329, "account_a/b": "c"}
    assert version | {"attributes": json.loads(version["attributes"])} == {
        "lead_id": "ada", "account_id": "initech", "created_at": "01 09:07:00", "observed_at": "01 09:07:00",
        "attributes": account, "is_change": True,
    }  # fmt: skip


def test_track_page_and_screen_are_touches(tmp_path: Path) -> None:
    page, track, screen = rows(stored(tmp_path, PAGE, TRACK, SCREEN)[0], "touches")
    assert page | {"properties": json.loads(page["properties"])} == {
        "event_id": "ajs-page-1", "anonymous_id": "anon-1", "kind": "page_view", "channel": "Paid Search",
        "machine": False,
        "occurred_at": "01 09:00:00", "received_at": "01 09:00:00", "referrer": "https://www.google.com/",
        "campaign": "spring launch", "utm_campaign": "spring launch", "utm_source": "Google", "utm_medium": "cpc",
        "utm_term": "crm", "utm_content": "blue", "utm_id": "c7",
        "properties": {
            "path": "/pricing", "title": "Pricing", "url": "https://acme.test/pricing", "user_agent": CHROME,
            "page_name": "Pricing",
        },
    }  # fmt: skip
    assert track | {"properties": json.loads(track["properties"])} == {
        "event_id": "node-track-1", "lead_id": "ada", "anonymous_id": "anon-1", "kind": "demo_requested",
        "channel": "Direct", "machine": False, "occurred_at": "01 09:06:00", "received_at": "04 09:00:00",
        "properties": {"product": "Suite", "seats": 25},
    }  # fmt: skip
    assert screen | {"properties": json.loads(screen["properties"])} == {
        "event_id": "rs-2", "anonymous_id": "anon-3", "kind": "screen_view", "channel": "Direct",
        "machine": False,
        "occurred_at": "02 09:00:00", "received_at": "02 09:00:00", "properties": {"page_name": "Home", "prop1": "5"},
    }  # fmt: skip


def test_the_name_of_an_event_is_a_kind_in_snake_case(tmp_path: Path) -> None:
    names = {
        "Order Completed": "order_completed", "signedUp": "signed_up", "HTTPError  shown!": "http_error_shown",
        "demo_requested": "demo_requested", "Größe-Gewählt": "größe_gewählt", "Plan2Upgrade": "plan2_upgrade",
    }  # fmt: skip
    events = [TRACK | {"event": name, "messageId": str(i)} for i, name in enumerate(names)]
    assert [row["kind"] for row in rows(stored(tmp_path, *events)[0], "touches")] == list(names.values())


REFUSED: dict[str, tuple[Event, str]] = {
    "leads": (
        IDENTIFY | {"userId": None},
        "This identify event has no userId, so it is of no lead yet. Send it again with userId.",
    ),
    "leads ": (GROUP | {"groupId": ""}, "This group event has no groupId. Send the account's."),
    "leads  ": (IDENTIFY | {"traits": "x"}, "traits is not a JSON object."),
    "identities": (ALIAS | {"previousId": ""}, "This alias event does not have both previousId and userId. Send both."),
    "touches": (
        TRACK | {"type": "delete"},
        'The type of this event is "delete", which is none of identify, track, page, screen, group, alias.',
    ),
    "touches ": (
        TRACK | {"type": None},
        "The type of this event is empty, which is none of identify, track, page, screen, group, alias.",
    ),
    "touches  ": (TRACK | {"event": " "}, "This track event has no name under event. Send one."),
    "touches   ": (TRACK | {"context": "web"}, "context is not a JSON object."),
    "touches    ": (
        TRACK | {"userId": None, "anonymousId": None},
        "lead_id and anonymous_id are both empty. Say whose touch it is.",
    ),
    "touches     ": (
        TRACK | {"timestamp": "2026-05-01T09:06:00"},
        'occurred_at "2026-05-01T09:06:00" names no time zone. Set timezone under [ingest] of touchstone.toml.',
    ),
}


def test_what_cannot_be_used_is_refused_with_a_sentence_and_harms_nothing_else(tmp_path: Path) -> None:
    broken = [
        event if isinstance(event, str) else event | {"messageId": place} for place, (event, _) in REFUSED.items()
    ]
    lake, results = stored(tmp_path, PAGE, *broken, TRACK)
    kept = lake.query('SELECT "table", why FROM quarantine').to_pylist()
    expected = [(place.strip(), why) for place, (_, why) in REFUSED.items()]
    assert sorted((row["table"], row["why"]) for row in kept) == sorted(expected)
    assert [row["event_id"] for row in rows(lake, "touches")] == ["ajs-page-1", "node-track-1"]
    assert results[2].refused == 6


def test_a_touch_of_a_machine_is_flagged(tmp_path: Path) -> None:
    crawler = PAGE | {"context": {"userAgent": "Mozilla/5.0 (compatible; bingbot/2.0)"}}
    (row,) = rows(stored(tmp_path, crawler)[0], "touches")
    assert row["machine"] is True


def test_the_shape_counts_and_not_the_name(tmp_path: Path) -> None:
    lake, _ = stored(tmp_path, "", "{", PAGE, name="touches.json")
    assert [row["kind"] for row in rows(lake, "touches")] == ["page_view"]


@pytest.mark.parametrize(
    "line",
    ['{"type": "track"}', '{"type": "trial", "userId": "a", "messageId": "b"}', "[]", '{"type": [1], "userId": "a"}',
     '{"lead_id": "ada", "type": "page", "timestamp": "2026-01-01"}'],
)  # fmt: skip
def test_a_file_of_another_shape_needs_a_name_or_a_mapping(tmp_path: Path, line: str) -> None:
    (tmp_path / "events.jsonl").write_text(line)
    assert not is_segment(first_lines(tmp_path / "events.jsonl"))
    with pytest.raises(ConfigError, match=r"^It is not clear which table is in events\.jsonl\."):
        ingest(Lake(tmp_path / "lake"), Settings(), [tmp_path / "events.jsonl"], NOW)


def test_a_configured_source_wins_over_the_shape(tmp_path: Path) -> None:
    columns = {"lead_id": "userId", "occurred_at": "timestamp", "kind": "event", "channel": {"value": "App"}}
    source = {"file": "events*", "table": "touches", "columns": columns}
    (tmp_path / "events.jsonl").write_text(json.dumps(TRACK))
    lake = Lake(tmp_path / "lake")
    ingest(lake, Settings.model_validate({"sources": [source]}), [tmp_path / "events.jsonl"], NOW)
    assert [(row["kind"], row["channel"]) for row in rows(lake, "touches")] == [("Demo Requested", "App")]


def test_refused_events_are_taken_again_by_the_shape_that_they_had(tmp_path: Path) -> None:
    naive = {"timestamp": "2026-05-01T09:06:00", "receivedAt": None}
    local = [IDENTIFY | naive, GROUP | naive, ALIAS | naive, TRACK | naive, {"type": "visit", "userId": "ada"}]
    lake, _ = stored(tmp_path, *local, "{broken")
    assert [len(rows(lake, name)) for name in ("leads", "identities", "touches")] == [0, 0, 0]
    berlin = Settings(ingest=Ingest(timezone="Europe/Berlin"))
    results = {one.table: (one.stored, one.refused) for one in retry(lake, berlin, NOW)}
    assert results == {"leads": (2, 1), "identities": (2, 1), "touches": (1, 2)}
    direct = Lake(tmp_path / "direct")
    ingest(direct, berlin, [tmp_path / "events.jsonl"], NOW)
    for name in ("leads", "identities", "touches"):
        assert lake.query(f"FROM {name} ORDER BY ALL").equals(direct.query(f"FROM {name} ORDER BY ALL"))
    assert sorted(row["row"] for row in rows(lake, "quarantine")) == sorted(
        row["row"] for row in rows(direct, "quarantine")
    )


def test_the_shape_of_quarantined_rows_counts_and_not_the_name_of_their_file(tmp_path: Path) -> None:
    lake, _ = stored(tmp_path, TRACK | {"timestamp": "2026-05-01T09:06:00"}, name="touches.jsonl")
    retry(lake, Settings(ingest=Ingest(timezone="UTC")), NOW)
    assert [row["kind"] for row in rows(lake, "touches")] == ["demo_requested"]
