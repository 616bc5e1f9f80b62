"""Events: on the disk before they are acknowledged, once in the lake, and soon in the lead's score."""

from __future__ import annotations

import fcntl
import json
import resource
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import serving
from trained import Company

from features.erasure import erase
from features.lake import Lake
from features.settings import Settings
from serving.journal import Event, Journal, events_in

Row = dict[str, Any]
NOW = datetime.now(UTC).replace(microsecond=0)
SOON = 20  # seconds on a busy machine; benchmarks/serving.py measures that it is 2
EARLIER = (NOW - timedelta(days=3)).isoformat()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, trained_company: Company) -> Path:
    return shutil.copytree(trained_company.workspace, tmp_path_factory.mktemp("events") / "workspace")


@pytest.fixture(scope="module")
def lake(workspace: Path) -> Lake:
    return Lake(workspace / "lake")


@pytest.fixture(scope="module")
def client(workspace: Path, trained_company: Company) -> Iterator[httpx.Client]:
    with serving(workspace, trained_company.settings) as client:
        yield client


def touch(event_id: str, lead_id: str, **more: Any) -> Row:
    return {"event_id": event_id, "lead_id": lead_id, "occurred_at": EARLIER, "kind": "demo_request",
            "channel": "Direct", **more}  # fmt: skip


def new_lead(lead_id: str, **more: Any) -> Row:
    return {"lead_id": lead_id, "created_at": (NOW - timedelta(days=9)).isoformat(), **more}


def post(client: httpx.Client, **events: list[Row]) -> Row:
    reply = client.post("/events", json=events)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def stored(lake: Lake, sql: str, count: int, *values: object) -> list[Row]:
    """Return rows of the lake once there are as many as expected, which has to be soon."""
    rows: list[Row] = []
    for _ in range(SOON * 20):
        rows = lake.query(sql, values).to_pylist()
        if len(rows) >= count:
            break
        time.sleep(0.05)
    return rows


def score(client: httpx.Client, lead_id: str) -> Row:
    reply = client.post("/score", json={"lead_ids": [lead_id]})
    assert reply.status_code == 200, reply.text
    return dict(reply.json()["scores"][0])


def test_posted_events_are_in_the_lake_as_they_were_posted(client: httpx.Client, lake: Lake) -> None:
    posted = touch("in-1", "eve", campaign="spring", properties={"path": "/x", "n": 1})
    stage = {"lead_id": "eve", "stage": "mql", "occurred_at": EARLIER, "amount": "12.50", "currency": "EUR"}
    lead = new_lead("eve", owner="Sam", account_id="A", attributes={"industry": "Mining", "size": 7})
    before = datetime.now(UTC)
    assert post(client, touches=[posted], stages=[stage], leads=[lead]) == {"stored": 3, "known": 0}
    (row,) = stored(lake, "SELECT * FROM touches WHERE event_id = 'in-1'", 1)
    assert (row["lead_id"], row["kind"], row["channel"], row["campaign"]) == ("eve", "demo_request", "Direct", "spring")
    assert json.loads(row["properties"]) == {"path": "/x", "n": 1}
    assert row["occurred_at"].isoformat() == EARLIER
    assert before <= row["received_at"] <= datetime.now(UTC)
    (row,) = stored(lake, "SELECT * FROM stages WHERE lead_id = 'eve'", 1)
    assert (row["stage"], str(row["amount"]), row["currency"]) == ("mql", "12.5000", "EUR")
    (row,) = stored(lake, "SELECT * FROM leads WHERE lead_id = 'eve'", 1)
    assert (row["owner"], row["account_id"], json.loads(row["attributes"])) == ("Sam", "A", lead["attributes"])
    assert row["observed_at"] >= before


def test_the_same_event_again_changes_nothing(client: httpx.Client, lake: Lake) -> None:
    events: dict[str, list[Row]] = {
        "touches": [touch("again", "fay"), {k: v for k, v in touch("", "fay").items() if k != "event_id"}],
        "stages": [{"lead_id": "fay", "stage": "mql", "occurred_at": EARLIER, "amount": 3}],
        "leads": [new_lead("fay", attributes={"industry": "Mining"})],
    }
    post(client, **events)
    assert post(client, **events)["known"] == 2
    stored(lake, "SELECT 1 FROM leads WHERE lead_id = 'fay'", 1)
    assert post(client, **events)["known"] == 2
    post(client, touches=[touch("marker", "fay")])
    stored(lake, "SELECT 1 FROM touches WHERE event_id = 'marker'", 1)
    for table, count in (("touches", 3), ("stages", 1), ("leads", 1)):
        assert len(lake.query(f"SELECT 1 FROM {table} WHERE lead_id = 'fay'")) == count
    assert (
        len(lake.query("SELECT 1 FROM quarantine")) == 0
        or not lake.query("SELECT 1 FROM quarantine WHERE contains(\"row\", 'fay')").num_rows
    )


def test_an_event_that_the_lake_had_before_the_service_started_is_known(client: httpx.Client, lake: Lake) -> None:
    (row,) = lake.query("SELECT * FROM touches WHERE lead_id IS NOT NULL ORDER BY event_id LIMIT 1").to_pylist()
    names = ("event_id", "lead_id", "kind", "channel")
    posted = {name: row[name] for name in names} | {"occurred_at": row["occurred_at"].isoformat()}
    assert post(client, touches=[posted]) == {"stored": 0, "known": 1}
    reply = client.post("/events", json={"touches": [touch("new", "gil"), posted | {"kind": "webinar"}]})
    sentence = (
        f"{row['event_id']} is taken by events with other content. Nothing of this request was stored. "
        "Correct the event, or give it an id of its own."
    )
    assert (reply.status_code, reply.json()) == (409, {"error": sentence})
    assert post(client, touches=[touch("new", "gil")]) == {"stored": 1, "known": 0}


def test_the_same_id_with_another_body_is_a_conflict(client: httpx.Client) -> None:
    post(client, touches=[touch("mine", "hal")])
    sentence = (
        "mine is taken by events with other content. Nothing of this request was stored. "
        "Correct the event, or give it an id of its own."
    )
    for other in (touch("mine", "ida"), touch("mine", "hal", kind="webinar"), touch("mine", "hal", campaign="x")):
        reply = client.post("/events", json={"touches": [other]})
        assert (reply.status_code, reply.json()) == (409, {"error": sentence})
    reply = client.post("/events", json={"touches": [touch("two", "hal"), touch("two", "ida")]})
    assert reply.status_code == 409


def test_an_event_is_soon_in_the_lead_s_score_fit_and_behaviour_alike(client: httpx.Client, lake: Lake) -> None:
    post(client, leads=[new_lead("kim", attributes={"industry": "Mining"})])
    stored(lake, "SELECT 1 FROM scores WHERE lead_id = 'kim'", 1)
    before = score(client, "kim")
    begun = time.monotonic()
    post(client, touches=[touch(f"kim-{i}", "kim", kind="pricing_view") for i in range(12)])
    while score(client, "kim")["engagement"] == before["engagement"]:
        assert time.monotonic() - begun < SOON
        time.sleep(0.1)
    stored(lake, "SELECT 1 FROM scores WHERE lead_id = 'kim'", 2)  # before more is known, or both are scored as one
    middle = score(client, "kim")
    begun = time.monotonic()
    post(client, leads=[new_lead("kim", attributes={"industry": "Software", "seniority": "C-level"})])
    while score(client, "kim")["fit"] == middle["fit"]:
        assert time.monotonic() - begun < SOON
        time.sleep(0.1)
    rows = stored(lake, "SELECT * FROM scores WHERE lead_id = 'kim' ORDER BY as_of", 3)
    assert len(rows) == 3
    assert rows[-1]["probability"] == pytest.approx(score(client, "kim")["probability"], rel=1e-6)


def test_a_lead_that_is_won_leaves_the_work_list(client: httpx.Client) -> None:
    post(client, leads=[new_lead("lea", owner="Zed")], touches=[touch("lea-1", "lea")])
    for _ in range(SOON * 20):
        if client.get("/leads", params={"owner": "Zed"}).json()["total"]:
            break
        time.sleep(0.05)
    (row,) = client.get("/leads", params={"owner": "Zed"}).json()["leads"]
    assert (row["lead_id"], row["touches"], row["last_touch_kind"]) == ("lea", 1, "demo_request")
    assert row["probability"] is not None
    assert row["verdict"] is None
    client.post("/feedback", json={"lead_id": "lea", "verdict": "accepted"})
    for _ in range(SOON * 20):
        if client.get("/leads", params={"owner": "Zed"}).json()["leads"][0]["verdict"] == "accepted":
            break
        time.sleep(0.05)
    assert client.get("/leads", params={"owner": "Zed"}).json()["leads"][0]["verdict"] == "accepted"
    post(client, stages=[{"lead_id": "lea", "stage": "won", "occurred_at": EARLIER}])
    for _ in range(SOON * 20):
        if not client.get("/leads", params={"owner": "Zed"}).json()["total"]:
            break
        time.sleep(0.05)
    assert client.get("/leads", params={"owner": "Zed"}).json()["leads"] == []
    assert client.post("/score", json={"lead_ids": ["lea"]}).status_code == 400


def test_feedback_is_kept_and_a_rejection_needs_a_reason(client: httpx.Client, lake: Lake) -> None:
    reply = client.post("/feedback", json={"lead_id": "eve", "verdict": "rejected"})
    assert (reply.status_code, reply.json()) == (
        400, {"error": "body: A rejection needs a reason, such as no budget or not now."},
    )  # fmt: skip
    said = {"lead_id": "eve", "verdict": "rejected", "reason": "no budget", "by": "Sam"}
    assert client.post("/feedback", json=said).json() == {"stored": 1, "known": 0}
    (row,) = stored(lake, "SELECT * FROM feedback WHERE lead_id = 'eve'", 1)
    assert {name: row[name] for name in said} == said


REFUSED: dict[str, tuple[Row, str]] = {
    "nothing": ({}, "Send at least one event in touches, stages or leads."),
    "nobody's touch": (
        {"touches": [{"occurred_at": EARLIER, "kind": "x", "channel": "Email"}]},
        "touches.0: lead_id and anonymous_id are both empty; say whose touch it is.",
    ),
    "no channel": (
        {"touches": [{"occurred_at": EARLIER, "kind": "x", "lead_id": "ada"}]},
        "touches.0: Name the channel, or utm_source, utm_medium or referrer.",
    ),
    "a NUL": ({"leads": [new_lead("a\0b")]}, "leads.0.lead_id: String should match pattern '^[^\\x00]*$'."),
    "a NUL inside": (
        {"leads": [new_lead("ada", attributes={"x": ["\0"]})]},
        "leads.0.attributes: Holds a NUL, which no text can be stored with.",
    ),
    "a far time": (
        {"leads": [{"lead_id": "ada", "created_at": "1800-01-01T00:00:00Z"}]},
        "leads.0.created_at: Input should be greater than or equal to 1900-01-02T00:00:00Z.",
    ),
    "an odd currency": (
        {"stages": [{"lead_id": "ada", "stage": "won", "occurred_at": EARLIER, "currency": "euro"}]},
        "stages.0.currency: String should match pattern '^[A-Z]{3}$'.",
    ),
}


@pytest.mark.parametrize(("events", "sentence"), REFUSED.values(), ids=REFUSED)
def test_events_that_the_lake_would_refuse_are_refused_at_once(
    client: httpx.Client, events: Row, sentence: str
) -> None:
    reply = client.post("/events", json=events)
    assert (reply.status_code, reply.json()) == (400, {"error": sentence})


def test_of_an_erased_person_nothing_is_taken(tmp_path: Path, trained_company: Company) -> None:
    workspace = shutil.copytree(trained_company.workspace, tmp_path / "workspace")
    lake = Lake(workspace / "lake")
    erase(lake, "L-00010", lambda _: None)
    with serving(workspace, trained_company.settings) as client:
        reply = client.post("/events", json={"touches": [touch("erased", "L-00010")]})
        assert (reply.status_code, reply.json()) == (
            400, {"error": "The row belongs to an erased person; nothing of it was kept."},
        )  # fmt: skip
    assert list((workspace / "journal").iterdir()) == []


def test_what_a_killed_service_acknowledged_the_next_takes_in_and_a_torn_line_is_no_event(
    tmp_path: Path, trained_company: Company
) -> None:
    workspace = shutil.copytree(trained_company.workspace, tmp_path / "workspace")
    journal = Journal(workspace)
    journal.append(
        [Event("touches", NOW.isoformat(), touch("left", "mia")), Event("leads", NOW.isoformat(), new_lead("mia"))]
    )
    assert journal.closed() == []  # it is still written to
    journal.close()
    (file,) = journal.closed()
    with file.open("ab") as opened:
        opened.write(b'{"table": "touches", "at": "2026')
    assert [event.table for event in events_in(file)] == ["touches", "leads"]
    copy = file.read_bytes()
    for _ in range(2):  # killed between storing and removing the file
        with serving(workspace, trained_company.settings) as client:
            assert score(client, "mia")["lead_id"] == "mia"
        assert list((workspace / "journal").iterdir()) == []
        file.write_bytes(copy)
    lake = Lake(workspace / "lake")
    assert len(lake.query("SELECT 1 FROM touches WHERE event_id = 'left'")) == 1
    assert len(lake.query("SELECT 1 FROM leads WHERE lead_id = 'mia'")) == 1


def test_a_file_that_is_just_begun_is_not_taken_for_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, other, lock = Journal(tmp_path), Journal(tmp_path), fcntl.flock
    looked = list[list[Path]]()

    def locked(file: Any, how: int) -> None:
        if how == fcntl.LOCK_EX:
            looked.append(other.closed())
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", locked)
    journal.append([Event("touches", EARLIER, {"event_id": "one"})])
    assert looked == [[]]
    journal.close()
    (closed,) = other.closed()
    assert [event.row for event in events_in(closed)] == [{"event_id": "one"}]


def test_what_a_killed_process_was_taking_in_lies_about_no_longer(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    left = journal.folder / "taking-in" / "leads.jsonl"
    left.parent.mkdir()
    left.write_text('{"lead_id": "ada"}')
    with journal.room() as folder:
        assert list(folder.iterdir()) == []
        (folder / "touches.jsonl").touch()
    assert list(journal.folder.iterdir()) == []


def test_a_line_that_could_not_be_written_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    journal.append([Event("touches", "now", {"n": 1})])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            journal.append([Event("touches", "now", {"n": 2})])
    journal.append([Event("touches", "now", {"n": 3})])
    journal.close()
    (file,) = journal.closed()
    assert [event.row for event in events_in(file)] == [{"n": 1}, {"n": 3}]


def test_a_line_of_which_the_disk_takes_a_part_is_not_acknowledged_and_taken_back(tmp_path: Path) -> None:
    journal, (soft, hard) = Journal(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    journal.append([Event("touches", "now", {"n": 1})])
    resource.setrlimit(resource.RLIMIT_FSIZE, (70, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            journal.append([Event("touches", "now", {"n": 2})])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.append([Event("touches", "now", {"n": 3})])
    journal.close()
    (file,) = journal.closed()
    assert [event.row for event in events_in(file)] == [{"n": 1}, {"n": 3}]


def test_what_is_posted_at_the_end_is_in_the_lake_when_the_service_has_stopped(
    tmp_path: Path, trained_company: Company
) -> None:
    workspace = shutil.copytree(trained_company.workspace, tmp_path / "workspace")
    with serving(workspace, Settings()) as client:
        post(client, touches=[touch("last", "ned")])
    assert len(Lake(workspace / "lake").query("SELECT 1 FROM touches WHERE event_id = 'last'")) == 1
