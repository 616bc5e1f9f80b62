"""Reading: the work list, one lead, attribution and the model over HTTP."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx
import pytest
from served import serving, until_ready
from trained import NOW, Company

from features.history import microseconds
from serving import batch, ledger
from serving.scorer import promote, save
from serving.spec import Spec

Row = dict[str, Any]
SUMMARY: Row = {
    "run_id": "abc", "models": {"last": {"Email": {"credit": 2.0, "value": 10.0, "low": 1.0, "high": 3.0}}},
    "unattributed": {"credit": 0.0, "value": 0.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory, trained_company: Company) -> Company:
    """Return a copy of the trained company, with its open leads scored as of then."""
    from features.lake import Lake

    workspace = copytree(trained_company.workspace, tmp_path_factory.mktemp("reading") / "workspace")
    lake = Lake(workspace / "lake")
    table = batch.score_open(
        trained_company.scorer, trained_company.history, trained_company.settings.goal, microseconds(NOW)
    )
    batch.store(lake, table)
    return Company(**{**vars(trained_company), "workspace": workspace, "lake": lake})


@pytest.fixture(scope="module")
def silent_mlflow() -> Iterator[socket.socket]:
    """Name a tracking server that takes no connection; whoever waits for it waits for ever."""
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        server.setblocking(False)
        yield server


@pytest.fixture(scope="module")
def client(company: Company, silent_mlflow: socket.socket) -> Iterator[httpx.Client]:  # noqa: ARG001  # from its start
    with serving(company.workspace, company.settings) as client:
        until_ready(client)
        yield client


def leads(client: httpx.Client, **asked: Any) -> Row:
    reply = client.get("/leads", params=asked)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def every_lead(client: httpx.Client) -> list[Row]:
    return list(leads(client, limit=1000)["leads"])


def test_the_work_list_has_every_open_lead_the_most_probable_first(client: httpx.Client, company: Company) -> None:
    found = leads(client, limit=1000)
    stored = [row["probability"] for row in found["leads"]]
    scored = company.lake.query("SELECT lead_id, probability FROM scores").to_pylist()
    latest = {row["lead_id"]: row["probability"] for row in scored}
    assert found["total"] == len(stored) == len(latest)
    assert stored == sorted(latest.values(), reverse=True)
    assert {row["lead_id"]: row["probability"] for row in found["leads"]} == latest


def test_pages_of_the_work_list_are_the_list_cut_in_pieces(client: httpx.Client) -> None:
    whole = [row["lead_id"] for row in every_lead(client)]
    pages = [leads(client, offset=at, limit=7)["leads"] for at in range(0, 21, 7)]
    assert [row["lead_id"] for page in pages for row in page] == whole[:21]


def test_a_row_says_what_is_said_when_the_lead_is_asked_for(client: httpx.Client) -> None:
    row = leads(client, limit=1)["leads"][0]
    (asked,) = client.post("/score", json={"lead_ids": [row["lead_id"]]}).json()["scores"]
    for name in ("probability", "low", "high", "percentile", "fit", "engagement"):
        assert row["score"][name] == pytest.approx(asked[name], rel=1e-3)
    assert [row["score"][name] for name in ("grade", "trend", "evidence", "model_version")] == [
        asked[name] for name in ("grade", "trend", "evidence", "model_version")
    ]
    assert set(row["score"]["won_within_days"]) >= {"30", "60"}


@pytest.mark.parametrize("column", ["owner", "stage", "grade", "trend"])
def test_the_work_list_is_filtered_by_what_a_row_says(client: httpx.Client, column: str) -> None:
    rows = every_lead(client)
    value = next(row[column] for row in rows if row[column])
    expected = [row["lead_id"] for row in rows if row[column] == value]
    assert [row["lead_id"] for row in leads(client, limit=1000, **{column: value})["leads"]] == expected


def test_a_search_finds_the_leads_in_which_all_words_stand(client: httpx.Client) -> None:
    rows = every_lead(client)
    name = rows[5]["attributes"]["company"]
    words = name.upper().split()

    def text(row: Row) -> str:
        told = json.dumps(row["attributes"], ensure_ascii=False)
        return f"{row['lead_id']} {row['owner']} {row['account_id']} {told}".lower()

    expected = [row["lead_id"] for row in rows if all(word.lower() in text(row) for word in words)]
    assert rows[5]["lead_id"] in expected
    assert [row["lead_id"] for row in leads(client, search=" ".join(words), limit=1000)["leads"]] == expected


@pytest.mark.parametrize("order", ["amount", "created_at", "last_touch_at", "touches", "owner"])
@pytest.mark.parametrize("ascending", [True, False])
def test_the_work_list_is_in_the_order_asked_for_what_is_empty_last(
    client: httpx.Client, order: str, ascending: bool
) -> None:
    values = [row[order] for row in leads(client, order=order, ascending=ascending, limit=1000)["leads"]]
    filled = [value for value in values if value is not None]
    assert values == sorted(filled, reverse=not ascending) + [None] * (len(values) - len(filled))


def test_a_row_tells_the_latest_touch_and_stage_of_the_lead(client: httpx.Client, company: Company) -> None:
    touches = company.lake.query(
        "SELECT lead_id, max(occurred_at) AS at FROM touches WHERE NOT coalesce(machine, false) GROUP BY ALL"
    ).to_pylist()
    latest = {row["lead_id"]: row["at"].isoformat().replace("+00:00", "Z") for row in touches}
    anonymous = company.lake.query("SELECT DISTINCT lead_id FROM identities")["lead_id"].to_pylist()
    rows = [row for row in every_lead(client) if row["lead_id"] not in anonymous]
    assert len(rows) > 10
    assert {row["lead_id"]: row["last_touch_at"] for row in rows} == {
        r["lead_id"]: latest.get(r["lead_id"]) for r in rows
    }


def test_one_lead_comes_with_its_timeline_and_its_scores(client: httpx.Client, company: Company) -> None:
    lead_id = leads(client, order="touches", limit=1)["leads"][0]["lead_id"]
    found = client.get(f"/leads/{lead_id}").json()
    moments = [event["at"] for event in found["timeline"]]
    stored = company.lake.query("SELECT probability FROM scores WHERE lead_id = $1", [lead_id])
    assert moments == sorted(moments, reverse=True)
    assert {event["what"] for event in found["timeline"]} >= {"touch", "version"}
    assert [score["probability"] for score in found["scores"]] == stored["probability"].to_pylist()
    assert found["score"]["reasons"]
    assert found["not_scored"] is None
    assert {change["cause"] for change in found["changes"]} <= {"new data", "decay", "new model"}
    assert found["changes"]


def test_a_closed_lead_is_shown_and_told_why_it_is_not_scored(client: httpx.Client, company: Company) -> None:
    won = company.lake.query("SELECT lead_id FROM stages WHERE stage = 'won' ORDER BY 1 LIMIT 1")["lead_id"][0].as_py()
    found = client.get(f"/leads/{won}").json()
    assert found["score"] is None
    assert found["not_scored"] == f"{won} is not open as of then: not created yet, or already won or lost."
    assert "won" in [event.get("stage") for event in found["timeline"]]


def test_an_unknown_lead_is_not_found(client: httpx.Client) -> None:
    reply = client.get("/leads/nobody")
    assert (reply.status_code, reply.json()) == (404, {"error": "nobody is not in the lake. Ingest first."})


def test_what_a_lead_is_not_asked_by_is_refused_and_not_passed_over(client: httpx.Client) -> None:
    reply = client.get("/leads/nobody?goal=renewed")
    sentence = "goal: Is not known here; GET /docs.json tells what is."
    assert (reply.status_code, reply.json()) == (400, {"error": sentence})


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("limit=0", "limit: Input should be greater than or equal to 1."),
        ("limit=many", "limit: Input should be a valid integer, unable to parse string as an integer."),
        ("horizon=3", "horizon: Is not known here; GET /docs.json tells what is."),
        ("least=2", "least: Input should be less than or equal to 1."),
    ],
)
def test_a_query_that_cannot_be_answered_is_told_why(client: httpx.Client, query: str, sentence: str) -> None:
    reply = client.get(f"/leads?{query}")
    assert (reply.status_code, reply.json()) == (400, {"error": sentence})


def test_a_flat_answer_is_the_score_with_its_strongest_reasons_beside_it(client: httpx.Client) -> None:
    lead_id = leads(client, limit=1)["leads"][0]["lead_id"]
    (score,) = client.post("/score", json={"lead_ids": [lead_id], "as_of": NOW.isoformat()}).json()["scores"]
    flat = client.post("/score/flat", json={"lead_id": lead_id, "as_of": NOW.isoformat()}).json()
    up = [reason["text"] for reason in score["reasons"] if reason["effect"] > 0]
    down = [reason["text"] for reason in score["reasons"] if reason["effect"] < 0]
    assert [flat[f"up_{i}"] for i in (1, 2, 3)] == (up + [""] * 3)[:3]
    assert [flat[f"down_{i}"] for i in (1, 2, 3)] == (down + [""] * 3)[:3]
    assert {name: flat[name] for name in score if name not in {"reasons", "scored_at"}} == {
        name: score[name] for name in score if name not in {"reasons", "scored_at"}
    }
    assert all(not isinstance(value, list | dict) for value in flat.values())


def test_an_explanation_adds_up_to_the_score(client: httpx.Client) -> None:
    lead_ids = [row["lead_id"] for row in leads(client, limit=3)["leads"]]
    asked = {"lead_ids": lead_ids, "as_of": NOW.isoformat()}
    told = client.post("/score", json=asked).json()["scores"]
    found = client.post("/explain", json=asked).json()["explanations"]
    for score, one in zip(told, found, strict=True):
        assert one["probability"] == score["probability"]
        assert one["base"] + sum(effect["effect"] for effect in one["effects"]) == pytest.approx(one["log_odds"])
        effects = {effect["feature"]: effect["effect"] for effect in one["effects"]}
        assert [effects[reason["feature"]] for reason in score["reasons"]] == [r["effect"] for r in score["reasons"]]


def test_attribution_tells_the_latest_run_and_any_that_is_asked_for(client: httpx.Client, company: Company) -> None:
    assert client.get("/attribution").json() == {"runs": [], "run": None}
    ledger.keep(company.workspace, SUMMARY, "2026-01-01T00:00:00+00:00")
    ledger.keep(company.workspace, SUMMARY | {"run_id": "later"}, "2026-02-01T00:00:00+00:00")
    ledger.keep(company.workspace, SUMMARY | {"unattributed": None}, "2026-03-01T00:00:00+00:00")  # a run never changes
    found = client.get("/attribution").json()
    assert [run["run_id"] for run in found["runs"]] == ["later", "abc"]
    assert found["run"] == {"as_of": "2026-02-01T00:00:00+00:00", **SUMMARY, "run_id": "later"}
    earlier = client.get("/attribution", params={"run_id": "abc"}).json()["run"]
    assert earlier == {"as_of": "2026-01-01T00:00:00+00:00", **SUMMARY}
    for unknown in ("no", "../attribution-runs/abc", "../../etc/passwd"):
        reply = client.get("/attribution", params={"run_id": unknown})
        sentence = f"There is no attribution run {unknown}. GET /attribution lists them."
        assert (reply.status_code, reply.json()) == (404, {"error": sentence})


def test_the_model_tells_what_it_is_made_of(client: httpx.Client, company: Company) -> None:
    found = client.get("/model").json()
    assert found["version"] == company.scorer.version
    assert [feature["name"] for feature in found["features"]] == [f.name for f in company.scorer.spec.features]


def test_a_model_that_knows_no_outlook_tells_all_else(company: Company, tmp_path: Path) -> None:
    copytree(company.workspace / "lake", tmp_path / "lake")
    prior = Spec(company.scorer.spec.features, 90, base_log_odds=-2.2, leads=0)
    promote(tmp_path / "models", save(tmp_path / "models", prior, "").version)
    with serving(tmp_path, company.settings) as client:
        until_ready(client)
        lead_id = leads(client, limit=1)["leads"][0]["lead_id"]
        (explained,) = client.post("/explain", json={"lead_ids": [lead_id]}).json()["explanations"]
        score = client.get(f"/leads/{lead_id}").json()["score"]
        page = client.get(f"/my-leads/{lead_id}").text
    for told in (explained, score):
        assert (told["lost"], told["days_to_close"], told["won_within_days"]) == (
            None,
            None,
            {"90": told["probability"]},
        )
    assert "closed within 90 days" in page
    assert "lost within" not in page
    assert "expected close" not in page


def test_what_others_store_is_seen_without_a_restart(client: httpx.Client, company: Company) -> None:
    """It comes last: it closes a lead of the company."""
    from datetime import timedelta

    import pyarrow as pa

    from features.contract import schema

    lead_id = leads(client, limit=1)["leads"][0]["lead_id"]
    assert client.post("/score", json={"lead_ids": [lead_id]}).status_code == 200
    row = {"lead_id": lead_id, "stage": "lost", "row_hash": "1"}
    row |= {"occurred_at": NOW, "received_at": NOW + timedelta(days=1)}
    company.lake.append("stages", pa.Table.from_pylist([row], schema("stages")))
    assert client.post("/score", json={"lead_ids": [lead_id]}).status_code == 400
    for _ in range(500):
        if leads(client, limit=1)["leads"][0]["lead_id"] != lead_id:
            break
    assert lead_id not in [row["lead_id"] for row in every_lead(client)]


def test_the_service_does_not_need_mlflow_and_never_asks_it(client: httpx.Client, silent_mlflow: socket.socket) -> None:
    lead_id = every_lead(client)[0]["lead_id"]
    asked = {"lead_ids": [lead_id]}
    event = {"lead_id": lead_id, "occurred_at": "2026-01-05T00:00:00Z", "kind": "page_view", "channel": "Email"}
    for path, body in (("/score", asked), ("/explain", asked), ("/events", {"touches": [event]})):
        assert client.post(path, json=body).status_code == 200
    for path in ("/readyz", "/leads", f"/leads/{lead_id}", "/attribution", "/model", "/metrics"):
        assert client.get(path).status_code == 200
    page = client.get("/models").text
    for _ in range(400):
        if "Champion and challengers" in page:
            break
        time.sleep(0.05)
        page = client.get("/models").text
    sentence = "The service works without it and does not ask it; a model serves because the workspace says so."
    assert sentence in page
    with pytest.raises(BlockingIOError, match="temporarily unavailable"):  # nobody has come
        silent_mlflow.accept()
