"""The service: the batch's scores over HTTP, and a sentence for every request that cannot be answered."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from served import serving
from trained import NOW, Company

from features.contract import schema
from features.errors import ConfigError, ModelError
from features.history import microseconds
from features.lake import Lake
from features.settings import Settings
from features.verbs import Moments
from serving import desk as desk_module
from serving import groups
from serving.app import Turns
from serving.batch import open_leads
from serving.scorer import Scorer
from serving.scores import Score, scores
from serving.service import listen, server

Reply = dict[str, Any]
EARLIER = NOW - timedelta(days=45)
ADA = {"lead_id": "ada", "created_at": "2026-01-01T00:00:00Z"}
AS_OF = "2026-02-01T00:00:00Z"


@pytest.fixture(scope="module")
def client(trained_company: Company) -> Iterator[httpx.Client]:
    with serving(trained_company.workspace, trained_company.settings) as client:
        yield client


def batch(company: Company, as_of: datetime) -> list[Score]:
    """Return the score of every lead that was open then."""
    return scores(company.scorer, open_leads(company.history, company.settings.goal, microseconds(as_of)))


def replies(client: httpx.Client, **asked: Any) -> list[Reply]:
    reply = client.post("/score", json=asked)
    assert reply.status_code == 200, reply.text
    return list(reply.json()["scores"])


def asked_again(client: httpx.Client, key: str, several: list[Any], as_of: datetime, size: int = 200) -> list[Reply]:
    """Ask for many leads, some at a time."""
    parts = [several[at : at + size] for at in range(0, len(several), size)]
    return [reply for part in parts for reply in replies(client, **{key: part}, as_of=as_of.isoformat())]


def expected(score: Score, as_of: datetime) -> Reply:
    """Return a score as JSON says it, but for the moment of the answer."""
    said: Reply = json.loads(json.dumps(asdict(score)))
    return said | {"as_of": as_of.isoformat().replace("+00:00", "Z")}


def without_clock(reply: Reply) -> Reply:
    return {key: value for key, value in reply.items() if key != "scored_at"}


def histories(company: Company, lead_ids: list[str], as_of: datetime) -> list[Reply]:
    """Return leads with all of their history, as a system that keeps its own would send them.

    Anonymous touches are sent with the lead that they turned out to be, as known from then on.
    """
    read = {name: company.lake.query(f"SELECT * FROM {name}").to_pylist() for name in ("leads", "touches", "stages")}
    identities = company.lake.query("SELECT anonymous_id, lead_id, observed_at FROM identities").to_pylist()
    whose = {row["anonymous_id"]: row for row in identities}
    for touch in read["touches"]:
        if found := whose.get(touch["anonymous_id"]):
            touch["lead_id"], known = found["lead_id"], found["observed_at"]
            touch["received_at"] = max(touch["received_at"], known)
    of = {lead_id: {"lead_id": lead_id, "touches": [], "stages": [], "feedback": []} for lead_id in lead_ids}
    for row in sorted(read["leads"], key=lambda row: row["observed_at"]):
        if row["lead_id"] in of and row["observed_at"] < as_of:
            of[row["lead_id"]].setdefault("created_at", row["created_at"].isoformat())
            of[row["lead_id"]]["attributes"] = json.loads(row["attributes"])
            of[row["lead_id"]]["account_id"] = row["account_id"]
    for name, columns in (("touches", ("kind", "channel", "event_id")), ("stages", ("stage",))):
        for row in read[name]:
            if row["lead_id"] in of:
                times = {key: row[key].isoformat() for key in ("occurred_at", "received_at")}
                of[row["lead_id"]][name].append(times | {key: row[key] for key in columns})
    for row in company.lake.query('SELECT lead_id, "at", verdict, reason, "by" FROM feedback').to_pylist():
        if row["lead_id"] in of:
            of[row["lead_id"]]["feedback"].append({**row, "at": row["at"].isoformat()})
            del of[row["lead_id"]]["feedback"][-1]["lead_id"]
    return list(of.values())


def learned_more(company: Company, as_of: datetime) -> set[str]:
    """Return the leads of whom a version became known in the week before: a single version cannot tell their trend."""
    since = "SELECT lead_id FROM leads WHERE observed_at > created_at AND observed_at BETWEEN $1 AND $2"
    found = company.lake.query(since, [as_of - timedelta(days=7), as_of])
    return set(found["lead_id"].to_pylist())


# One answer, however it is asked


@pytest.mark.parametrize("as_of", [NOW, EARLIER])
def test_asked_by_id_a_lead_has_its_score_in_the_batch(
    client: httpx.Client, trained_company: Company, as_of: datetime
) -> None:
    told = batch(trained_company, as_of)
    found = asked_again(client, "lead_ids", [score.lead_id for score in told], as_of)
    assert len(told) > 100
    assert [without_clock(reply) for reply in found] == [expected(score, as_of) for score in told]


@pytest.mark.parametrize("as_of", [NOW, EARLIER])
def test_sent_along_with_its_history_a_lead_has_its_score_in_the_batch(
    client: httpx.Client, trained_company: Company, as_of: datetime
) -> None:
    unclear = learned_more(trained_company, as_of)
    told = [score for score in batch(trained_company, as_of) if score.lead_id not in unclear]
    leads = histories(trained_company, [score.lead_id for score in told], as_of)
    found = asked_again(client, "leads", leads, as_of)
    assert len(told) > 100
    assert [without_clock(reply) for reply in found] == [expected(score, as_of) for score in told]


def test_a_lead_alone_has_the_score_it_has_among_others(client: httpx.Client, trained_company: Company) -> None:
    told = batch(trained_company, NOW)[::50]
    leads = histories(trained_company, [score.lead_id for score in told], NOW)
    for score, lead in zip(told, leads, strict=True):
        by_id, sent = replies(client, lead_ids=[score.lead_id], leads=[lead], as_of=NOW.isoformat())
        assert without_clock(by_id) == expected(score, NOW)
        assert without_clock(sent) | {"trend": score.trend} == expected(score, NOW)


def test_threads_that_ask_at_once_get_their_own_answers(client: httpx.Client, trained_company: Company) -> None:
    told = batch(trained_company, NOW)[:40]

    def ask(score: Score) -> bool:
        (reply,) = replies(client, lead_ids=[score.lead_id], as_of=NOW.isoformat())
        return without_clock(reply) == expected(score, NOW)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, told)) == [True] * 40


def test_answers_come_in_the_order_of_the_question(client: httpx.Client, trained_company: Company) -> None:
    ids = [score.lead_id for score in batch(trained_company, NOW)[:6]]
    asked = [ids[3], ids[0], ids[5], ids[0]]
    found = replies(client, lead_ids=asked, leads=[ADA | {"lead_id": "zoe"}, ADA], as_of=NOW.isoformat())
    assert [reply["lead_id"] for reply in found] == [*asked, "zoe", "ada"]


def test_an_answer_has_the_keys_of_the_contract(client: httpx.Client, trained_company: Company) -> None:
    body = client.post(
        "/score", json={"lead_ids": [batch(trained_company, NOW)[0].lead_id], "as_of": NOW.isoformat()}
    ).json()
    assert list(body) == ["scores"]
    assert set(body["scores"][0]) == {
        "lead_id", "probability", "low", "high", "horizon_days", "grade", "percentile", "trend", "fit", "engagement",
        "reasons", "evidence", "model_version", "as_of", "scored_at",
    }  # fmt: skip
    assert set(body["scores"][0]["reasons"][0]) == {"feature", "value", "effect", "text"}


def test_without_a_moment_leads_are_scored_as_of_now(client: httpx.Client) -> None:
    before = datetime.now(UTC)
    (reply,) = replies(client, leads=[ADA])
    assert before <= datetime.fromisoformat(reply["as_of"]) <= datetime.now(UTC)
    assert reply["scored_at"] == reply["as_of"]


def test_a_moment_of_any_zone_is_the_same_moment(client: httpx.Client) -> None:
    utc, berlin = (
        replies(client, leads=[ADA | {"created_at": created}], as_of=as_of)[0]["probability"]
        for created, as_of in (
            ("2026-01-01T00:00:00Z", AS_OF),
            ("2026-01-01T01:00:00+01:00", "2026-02-01T01:00:00+01:00"),
        )
    )
    assert utc == berlin


@pytest.mark.parametrize("year", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_touches_of_any_year_are_answered(client: httpx.Client, year: str) -> None:
    touched = ADA | {"touches": [{"occurred_at": year, "kind": "page_view", "channel": "Email"}]}
    assert replies(client, leads=[touched], as_of=AS_OF)[0]["lead_id"] == "ada"


def test_what_was_said_lately_is_said_at_once_and_all_else_in_its_turn(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, done = list[Turns](), Turns.done

    async def counted(turns: Turns, piece: Callable[[], Any], *, alone: bool) -> Any:
        taken.append(turns)
        return await done(turns, piece, alone=alone)

    monkeypatch.setattr(Turns, "done", counted)
    (lead, *_) = client.get("/leads").json()["leads"]
    for _ in range(3):
        replies(client, lead_ids=[lead["lead_id"]])
    at_most_once = len(taken)
    replies(client, lead_ids=[lead["lead_id"]], as_of=NOW.isoformat())
    assert at_most_once <= 1
    assert len(taken) == at_most_once + 1


def test_a_service_has_scored_before_it_says_that_it_is_ready(
    trained_company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = list[str]()

    def noted(scorer: Scorer, moments: Moments) -> list[Score]:
        scored.extend(moments.history.lead_ids)
        return scores(scorer, moments)

    monkeypatch.setattr(desk_module, "scores", noted)
    with serving(trained_company.workspace, trained_company.settings):
        assert scored == ["nobody"]


def test_the_lake_is_read_only_for_leads_in_it(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "read_history", lambda *_: pytest.fail("the lake was read"))
    assert [reply["lead_id"] for reply in replies(client, leads=[ADA], as_of=AS_OF)] == ["ada"]


# Requests that cannot be answered


REFUSED = {
    "no lead": ({}, "Name at least one lead in lead_ids, or send one along in leads."),
    "an unknown id": (
        {"lead_ids": ["nobody"]},
        "nobody is not in the lake. Ingest first, or send the history along in leads.",
    ),
    "many unknown ids": (
        {"lead_ids": list("abcdefg")},
        "a, b, c, d, e and 2 more are not in the lake. Ingest first, or send the history along in leads.",
    ),
    "a closed lead": (
        {"leads": [ADA | {"stages": [{"stage": "won", "occurred_at": "2026-01-02T00:00:00Z"}]}], "as_of": AS_OF},
        "ada is not open as of then: not created yet, or already won or lost.",
    ),
    "a lead not created yet": (
        {"leads": [ADA], "as_of": "2025-12-31T00:00:00Z"},
        "ada is not open as of then: not created yet, or already won or lost.",
    ),
    "a lead at the moment of its creation": (
        {"leads": [ADA], "as_of": "2026-01-01T00:00:00Z"},
        "ada is not open as of then: not created yet, or already won or lost.",
    ),
    "a lead sent twice": (
        {"leads": [ADA, ADA], "as_of": AS_OF},
        "ada is sent along more than once. Send each lead once.",
    ),
    "an unknown key": ({"leads": [ADA], "horizon": 30}, "horizon: Is not known here; GET /docs.json tells what is."),
    "an unknown key of a lead": (
        {"leads": [ADA | {"name": "Ada"}]},
        "leads.0.name: Is not known here; GET /docs.json tells what is.",
    ),
    "a wrong type": ({"lead_ids": "ada"}, "lead_ids: Input should be a valid array."),
    "an empty id": (
        {"leads": [ADA | {"lead_id": ""}]},
        "leads.0.lead_id: String should have at least 1 character.",
    ),
    "a naive time": (
        {"leads": [ADA | {"created_at": "2026-01-01T00:00:00"}]},
        "leads.0.created_at: Needs a time zone, such as 2026-11-01T00:00:00Z.",
    ),
    "a naive moment": (
        {"leads": [ADA], "as_of": "2026-02-01"},
        "as_of: Needs a time zone, such as 2026-11-01T00:00:00Z.",
    ),
    "several faults": (
        {"leads": [{"created_at": AS_OF}], "lead_ids": [1]},
        "lead_ids.0: Input should be a valid string. leads.0.lead_id: Is missing, and has to be there.",
    ),
    "too many ids": (
        {"lead_ids": ["ada"] * 1001},
        "lead_ids: List should have at most 1000 items after validation, not 1001.",
    ),
    "too many leads together": (
        {"lead_ids": ["nobody"], "leads": [ADA | {"lead_id": f"{i}"} for i in range(1000)], "as_of": AS_OF},
        (
            "1001 leads are more than the 1000 of one request. Send several requests. "
            "nobody is not in the lake. Ingest first, or send the history along in leads."
        ),
    ),
}  # fmt: skip


def test_a_duplicate_is_answered_with_the_lead_that_it_is(trained_company: Company, tmp_path: Path) -> None:
    one, other = [score.lead_id for score in batch(trained_company, NOW)][:2]
    shutil.copytree(trained_company.workspace, tmp_path / "workspace")
    lake, row = Lake(tmp_path / "workspace" / "lake"), {"duplicate_id": one, "lead_id": other, "row_hash": "1"}
    lake.append("identities", pa.Table.from_pylist([row | {"observed_at": EARLIER}], schema("identities")))
    with serving(tmp_path / "workspace", trained_company.settings) as client:
        asked = {"lead_ids": [one], "as_of": NOW.isoformat()}
        reply = client.post("/score", json=asked)
        assert (reply.status_code, reply.json()) == (
            400,
            {"error": f"{one} is a duplicate of {other}: ask for that lead."},
        )
        before = asked | {"as_of": EARLIER.isoformat()}
        assert "duplicate" not in client.post("/score", json=before).text
        assert replies(client, lead_ids=[other], as_of=NOW.isoformat())[0]["lead_id"] == other


@pytest.mark.parametrize(("asked", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_cannot_be_answered_is_told_why(client: httpx.Client, asked: Reply, sentence: str) -> None:
    reply = client.post("/score", json=asked)
    assert (reply.status_code, reply.json()) == (400, {"error": sentence})
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"lead_ids": [', "body: Invalid JSON: EOF while parsing a list at line 1 column 14."),
        (b"\xff", "body: Invalid JSON: expected value at line 1 column 1."),
        (b"null", "body: Input should be an object."),
        (b'{"lead_ids": ["\\ud800"]}', "body: Invalid JSON: unexpected end of hex escape at line 1 column 22."),
    ],
)
def test_a_body_that_is_no_json_object_is_told_so(client: httpx.Client, body: bytes, sentence: str) -> None:
    reply = client.post("/score", content=body, headers={"content-type": "application/json; charset=utf-8"})
    assert (reply.status_code, reply.json()) == (400, {"error": sentence})


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(client: httpx.Client, number: str) -> None:
    body = json.dumps({"leads": [ADA | {"attributes": {"size": [{"of": "_"}]}}]}).replace('"_"', number)
    reply = client.post("/score", content=body, headers={"content-type": "application/json"})
    sentence = "leads.0.attributes: Holds NaN or an infinite number; send null for what is not known."
    assert (reply.status_code, reply.json()) == (400, {"error": sentence})


@pytest.mark.parametrize(
    "kind",
    ["application/vnd.bentoml+pickle", "multipart/form-data", "application/x-www-form-urlencoded", "text/plain"],
)
def test_only_json_is_read(client: httpx.Client, kind: str) -> None:
    reply = client.post("/score", content=b"cos\nsystem\n(S'true'\ntR.", headers={"content-type": kind})
    sentence = f"The body is {kind}. Send JSON, with content-type application/json."
    assert (reply.status_code, reply.json()) == (415, {"error": sentence})


def test_a_body_without_a_type_is_taken_for_json(client: httpx.Client) -> None:
    reply = client.post("/score", content=json.dumps({"leads": [ADA], "as_of": AS_OF}).encode())
    assert reply.status_code == 200


def test_scores_are_posted_for(client: httpx.Client) -> None:
    reply = client.get("/score")
    assert (reply.status_code, reply.json()) == (405, {"error": "/score is posted to."})


@pytest.mark.parametrize("path", ["/nowhere", "/static_content/index.html", "/schema.json", "/score/../x"])
def test_nothing_else_is_there_not_even_bentoml_s_pages_with_their_trackers(client: httpx.Client, path: str) -> None:
    reply = client.get(path)
    path = reply.request.url.path
    sentence = f"There is no {path} here. GET /docs.json tells what there is."
    assert (reply.status_code, reply.json()) == (404, {"error": sentence})


def test_a_refused_request_is_not_logged_as_an_error(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for asked, _ in REFUSED.values():
            client.post("/score", json=asked)
    assert caplog.records == []


def test_a_fault_of_ours_is_logged_and_its_details_are_not_told(
    client: httpx.Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(desk_module, "scores", broken)
    reply = client.post("/score", json={"leads": [ADA], "as_of": AS_OF})
    sentence = "The service failed; its log says why."
    assert (reply.status_code, reply.json()) == (500, {"error": sentence})
    assert "a secret" in caplog.text


# The server


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_served_champion_is_alive_and_ready(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_metrics_count_requests_by_path_and_status(trained_company: Company) -> None:
    with serving(trained_company.workspace, trained_company.settings) as client:
        client.get("/livez")
        client.post("/score", json={})
        client.post("/score", json={"leads": [ADA], "as_of": AS_OF})
        client.post("/score", json={"leads": [ADA], "as_of": AS_OF})
        client.get("/nowhere")
        page = client.get("/metrics")
    assert page.status_code == 200
    assert re.findall(r"touchstone_request_seconds_count(\{.*\}) (.*)", page.text) == [
        ('{path="/livez",status="200"}', "1.0"),
        ('{path="/score",status="400"}', "1.0"),
        ('{path="/score",status="200"}', "2.0"),
        ('{path="elsewhere",status="404"}', "1.0"),
    ]


def test_the_service_describes_itself(client: httpx.Client) -> None:
    assert "/score" in client.get("/docs.json").json()["paths"]


def test_it_listens_on_one_port_of_loopback_and_nowhere_else(client: httpx.Client) -> None:
    own = {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    tables = [Path(f"/proc/self/net/{kind}").read_text().splitlines()[1:] for kind in ("tcp", "tcp6")]
    rows = [row.split() for table in tables for row in table]
    listening = [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own]
    assert listening == [f"0100007F:{client.base_url.port:04X}"]  # 127.0.0.1 as the kernel writes it


def test_a_port_in_use_is_refused_with_a_sentence() -> None:
    with listen(0) as opened:
        port = opened.getsockname()[1]
        sentence = f"Port {port} cannot be used: Address already in use. Choose another with --port."
        with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
            listen(port)


def test_a_port_is_free_again_once_its_service_has_stopped(trained_company: Company) -> None:
    with serving(trained_company.workspace, trained_company.settings) as client:
        client.get("/livez")
        port = client.base_url.port
    assert port is not None
    listen(port).close()


def test_without_a_champion_there_is_no_service(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no champion"):
        server(tmp_path, Settings())
