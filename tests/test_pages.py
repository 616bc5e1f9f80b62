"""The pages, as any client gets them: what they say, what they refuse, and that nothing in them runs."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from morning import BOUGHT, FORMULA, MEAN, SCRIPT, SHY, Morning
from starlette.routing import Route
from trained import NOW

from features.settings import Settings
from serving.audit import Audit
from serving.bearers import SESSION
from serving.pages.files import ASSETS
from serving.pages.lead import _outlook
from serving.pages.signing import _own
from serving.service import Application

PAGES = (
    "/my-leads", "/my-leads/L-00001", "/channels", "/alignment", "/goals", "/models", "/monitor", "/sign-in",
)  # fmt: skip


@pytest.fixture
def stranger(morning: Morning) -> Iterator[httpx.Client]:
    """Return a client that nobody knows."""
    with httpx.Client(base_url=morning.url, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture
def person(morning: Morning, stranger: httpx.Client) -> httpx.Client:
    """Return a client that has signed in as a person does."""
    stranger.post("/sign-in", data={"token": morning.token, "csrf": csrf_of(stranger.get("/sign-in").text)})
    return stranger


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
    assert found
    return found[1]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_forbids_scripts_and_styles_but_its_own_and_holds_none_inline(morning: Morning, path: str) -> None:
    answer = morning.client.get(path)
    assert answer.status_code in {200, 404}
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert re.findall(r"<script(?![^>]* src=\"/assets/)|<style|\sstyle=|\son\w+=", answer.text) == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_nothing_from_elsewhere(morning: Morning, path: str) -> None:
    page = morning.client.get(path).text
    assert re.findall(r"(?:src|href|action)=\"(?:https?:)?//[^\"]*", page) == []


@pytest.mark.parametrize("name", [line.split()[1] for line in (ASSETS / "SHA256SUMS").read_text().splitlines()])
def test_a_file_of_others_is_as_its_makers_published_it(name: str) -> None:
    sums = dict(reversed(line.split()) for line in (ASSETS / "SHA256SUMS").read_text().splitlines())
    assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == sums[name]
    assert (ASSETS / f"{name.split('.', maxsplit=1)[0]}.LICENSE").exists()


def test_nothing_but_the_assets_can_be_asked_for_without_signing_in(stranger: httpx.Client) -> None:
    assert stranger.get("/assets/touchstone.css").headers["content-type"] == "text/css; charset=utf-8"
    assert stranger.get("/assets/SHA256SUMS").status_code == 404
    assert stranger.get("/assets/..%2Fsite.py").status_code in {401, 404}
    assert stranger.get("/my-leads").status_code == 401


def test_no_route_of_the_service_answers_without_a_token_but_those_that_cannot_have_one(
    morning: Morning, stranger: httpx.Client
) -> None:
    beyond_loopback = Application(morning.workspace, Settings(), "0.0.0.0")  # noqa: S104  # it is not started
    beyond_loopback.audit.close()
    app, signed = beyond_loopback.app, {"/webhooks/{system}"}
    routes = {route.path for route in app.router.routes if isinstance(route, Route)} | {*app.posts, "/metrics", "/x"}
    open_to_anyone = {"/livez", "/readyz", "/sign-in", "/assets/{name}"} | signed
    assert len(routes) > 20
    for path in sorted(routes - open_to_anyone):
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = stranger.request(method, path.replace("{lead_id}", "L-00001"))
            assert (path, method, answer.status_code) == (path, method, 401)


def test_a_browser_that_has_not_signed_in_is_asked_to(stranger: httpx.Client) -> None:
    answer = stranger.get(f"/my-leads/{MEAN}", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next=/my-leads/{MEAN}")


def test_signing_in_keeps_the_token_where_no_script_and_no_other_site_reaches_it(
    morning: Morning, stranger: httpx.Client
) -> None:
    data = {"token": morning.token, "csrf": csrf_of(stranger.get("/sign-in").text), "next": "/channels"}
    answer = stranger.post("/sign-in", data=data)
    assert (answer.status_code, answer.headers["location"]) == (303, "/channels")
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(f"{SESSION}=")
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_a_wrong_token_is_refused_in_a_sentence(stranger: httpx.Client) -> None:
    answer = stranger.post("/sign-in", data={"token": "ts_1_2", "csrf": csrf_of(stranger.get("/sign-in").text)})
    assert answer.status_code == 401
    assert "This token is nobody&#39;s, or was revoked. Copy it whole, from ts_ on." in answer.text
    assert "set-cookie" not in answer.headers


def test_signing_out_ends_the_session(person: httpx.Client) -> None:
    csrf = csrf_of(person.get("/my-leads").text)
    assert person.post("/sign-out", data={"csrf": csrf}).headers["location"] == "/sign-in"
    assert person.get("/my-leads").status_code == 401


@pytest.mark.parametrize(
    "to", ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "javascript:alert(1)"]
)
def test_after_signing_in_nobody_is_sent_elsewhere(to: str) -> None:
    assert _own(to) == "/my-leads"


def test_a_form_without_its_secret_is_refused(person: httpx.Client) -> None:
    answer = person.post(f"/my-leads/{MEAN}/verdict", data={"verdict": "accepted"})
    assert answer.status_code == 403
    assert "This form is older than the service. Load the page again, then send it." in answer.text


def test_a_form_from_another_site_is_refused(person: httpx.Client) -> None:
    csrf = csrf_of(person.get("/my-leads").text)
    answer = person.post("/models", data={"csrf": csrf}, headers={"origin": "http://evil.example"})
    assert answer.status_code == 401


def test_who_may_only_look_changes_nothing(morning: Morning, stranger: httpx.Client) -> None:
    looker = stranger
    looker.headers["authorization"] = f"Bearer {morning.looker}"
    csrf = csrf_of(looker.get("/my-leads").text)
    for path, data in ((f"/my-leads/{MEAN}/verdict", {"verdict": "accepted"}), ("/models", {})):
        answer = looker.post(path, data={"csrf": csrf, **data})
        assert answer.status_code == 403
        assert "Your token may only look." in answer.text
    assert "Promote" not in looker.get("/models").text


def test_a_name_that_would_run_is_shown_as_it_is_written(morning: Morning) -> None:
    for path in (f"/my-leads?search={MEAN}", f"/my-leads/{MEAN}"):
        page = morning.client.get(path).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert SCRIPT not in page


def test_what_a_spreadsheet_would_run_is_exported_disarmed(morning: Morning) -> None:
    answer = morning.client.get(f"/my-leads.csv?search={MEAN}")
    (row,) = csv.DictReader(StringIO(answer.text))
    assert row["name"] == SCRIPT
    assert row["about"] == f"'{FORMULA}"
    assert answer.headers["content-disposition"] == 'attachment; filename="my-leads.csv"'


def test_a_campaign_that_would_run_can_be_chosen_and_earns_what_it_earned(morning: Morning) -> None:
    answer = morning.client.get("/channels", params={"campaign": FORMULA, "model": "last"})
    assert "campaign =HYPERLINK(&#34;http://evil.example&#34;,&#34;look&#34;)" in answer.text
    table = morning.client.get("/channels.csv", params={"campaign": FORMULA, "model": "last"}).text
    rows = {row["channel"]: row for row in csv.DictReader(StringIO(table))}
    assert float(rows["Display"]["credit"]) == 1
    assert float(rows["Display"]["value"]) == 1000


@pytest.mark.parametrize(
    "query", ["", "?model=first", "?period=90", "?period=all&model=time_decay", "?segment=company_size%3D11-50"]
)
def test_credit_and_the_unattributed_add_up_to_all_that_closed(morning: Morning, query: str) -> None:
    page = morning.client.get(f"/channels{query}").text
    said = re.search(r'<p class="lede">([\d,]+) deals closed, worth €([\d,.]+)( M)?', page)
    assert said
    closed, worth = (float(said[i].replace(",", "")) for i in (1, 2))
    rows = list(csv.DictReader(StringIO(morning.client.get(f"/channels.csv{query}").text)))
    assert sum(float(row["credit"]) for row in rows) == pytest.approx(closed)
    value = sum(float(row["value"]) for row in rows)
    assert value == pytest.approx(worth * (1e6 if said[3] else 1), rel=0.01, abs=1)


def test_a_lead_s_page_tells_the_horizons_asked_for_and_of_losses_the_score_s_own(morning: Morning) -> None:
    first = morning.client.get("/leads?limit=1").json()["leads"][0]["lead_id"]
    page = morning.client.get(f"/my-leads/{first}").text
    assert re.findall(r"closed within (\d+) days|lost within (\d+) days", page) == [
        *((days, "") for days in ("30", "60", "90", "180")), ("", "90")
    ]  # fmt: skip
    periods = {"7": 0.1, "30": 0.2, "90": 0.4, "180": 0.5}
    told = SimpleNamespace(won_within_days=periods, horizon_days=90.0, probability=0.4)
    assert _outlook(told, [30, 60, 180]) == [(30, 0.2), (90, 0.4), (180, 0.5)]


def test_who_objects_is_shown_as_not_scored(morning: Morning) -> None:
    assert "Not scored" in morning.client.get(f"/my-leads?search={SHY}").text
    page = morning.client.get(f"/my-leads/{SHY}").text
    assert f"{SHY} is not scored, since the person objected to profiling." in page
    assert "likely to close" not in page


def test_a_lead_that_was_won_says_why_it_is_not_scored(morning: Morning) -> None:
    assert f"{BOUGHT} is not open as of then" in morning.client.get(f"/my-leads/{BOUGHT}").text


@pytest.mark.parametrize(
    ("path", "status", "why"),
    [
        ("/my-leads/nobody", 404, "nobody is not in the lake. Ingest first."),
        ("/my-leads?least=2", 400, "least: Input should be less than or equal to 1."),
        ("/channels?period=7", 400, "There is no period 7. Choose from the lists of the page."),
        ("/alignment?segment=a=b", 400, "There is no segment a=b."),
    ],
)
def test_what_cannot_be_shown_is_refused_on_a_page_with_a_sentence(
    morning: Morning, path: str, status: int, why: str
) -> None:
    answer = morning.client.get(path)
    assert answer.status_code == status
    assert why in answer.text
    assert "<!doctype html>" in answer.text


def test_a_list_without_leads_says_what_to_do(morning: Morning) -> None:
    page = morning.client.get("/my-leads?search=nobody-is-called-so").text
    assert "No open lead matches." in page
    assert "Take a filter away" in page


def test_a_view_is_saved_for_whom_it_belongs_to_and_forgotten(morning: Morning, person: httpx.Client) -> None:
    csrf = csrf_of(person.get("/my-leads").text)
    saved = person.post("/my-leads/views", data={"csrf": csrf, "name": SCRIPT, "query": "grade=A"})
    assert saved.headers["location"] == "/my-leads?grade=A"
    page = person.get("/my-leads").text
    assert '<a href="/my-leads?grade=A">&lt;script&gt;alert(1)&lt;/script&gt;</a>' in page
    bob = {"authorization": f"Bearer {morning.looker}"}
    assert '<a href="/my-leads?grade=A">' not in person.get("/my-leads", headers=bob).text
    person.post("/my-leads/views", data={"csrf": csrf, "forget": SCRIPT})
    assert '<a href="/my-leads?grade=A">' not in person.get("/my-leads").text


def test_a_rejection_without_a_reason_is_refused(person: httpx.Client) -> None:
    csrf = csrf_of(person.get("/my-leads").text)
    answer = person.post(f"/my-leads/{MEAN}/verdict", data={"csrf": csrf, "verdict": "rejected", "reason": ""})
    assert answer.status_code == 400
    assert "A rejection without a reason teaches nobody." in answer.text


def test_my_leads_says_what_sales_said_of_a_lead(morning: Morning) -> None:
    leads = morning.client.get("/leads", params={"limit": 1000}).json()["leads"]
    for verdict, tags in (("rejected", 1), ("accepted", 1), (None, 0)):
        lead = next(lead["lead_id"] for lead in leads if lead["verdict"] == verdict)
        page = morning.client.get("/my-leads", params={"search": lead}).text
        assert len(re.findall(r'</a> <span class="tag">(?:Accepted|Rejected)</span>', page)) == tags


def test_my_leads_can_be_those_that_sales_has_not_judged_yet(morning: Morning) -> None:
    everyone = morning.client.get("/leads", params={"limit": 1000}).json()["leads"]
    for judged, verdict in (("no", None), ("accepted", "accepted"), ("rejected", "rejected")):
        file = csv.DictReader(StringIO(morning.client.get("/my-leads.csv", params={"judged": judged}).text))
        assert {row["lead_id"]: row["verdict"] or None for row in file} == {
            lead["lead_id"]: verdict for lead in everyone if lead["verdict"] == verdict
        }
    answer = morning.client.get("/my-leads", params={"judged": "maybe"})
    assert (answer.status_code, "judged: Input should be" in answer.text) == (400, True)


def test_every_chart_says_in_words_what_it_shows(morning: Morning) -> None:
    for path in ("/channels?period=all", "/alignment?period=all", "/models"):
        charts = re.findall(r"<svg class=\"(?:chart|reliability|sankey)\"[^>]*>", morning.client.get(path).text)
        assert charts
        assert [chart for chart in charts if not re.search(r'role="img" aria-label="[^"]{20,}"', chart)] == []


def test_the_audit_log_names_no_lead_whose_page_was_opened(tmp_path: Path) -> None:
    audit = Audit(tmp_path, lambda: NOW)
    asked, opened = audit.hashed("/leads/L-7"), audit.hashed("/my-leads/L-7/verdict")
    assert opened == f"/my-leads/{asked.removeprefix('/leads/')}/verdict"
    assert "L-7" not in opened


def test_goals_and_my_leads_call_people_alike(morning: Morning) -> None:
    listed, aimed = (
        dict(re.findall(r'<a href="(/my-leads/[^"?]+)">([^<]+)</a>', morning.client.get(path).text))
        for path in ("/my-leads", "/goals")
    )
    both = listed.keys() & aimed.keys()
    assert len(both) > 5
    assert {lead: aimed[lead] for lead in both} == {lead: listed[lead] for lead in both}
    assert any(name not in lead for lead, name in aimed.items())
