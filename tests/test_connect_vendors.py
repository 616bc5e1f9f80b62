"""The stand-ins are true: clients that the vendors and others wrote work with them, over a real connection.

The clients are an extra (``pip install .[vendors]``, ``npm ci --prefix tests/jsforce``); where one is absent, its test
is skipped and says so.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from conftest import ROOT, shared_data
from connected import NOW, people

from connectors.standins.company import running
from connectors.standins.hubspot import HubSpot
from connectors.standins.mailchimp import Mailchimp
from connectors.standins.marketo import Marketo
from connectors.standins.salesforce import Salesforce
from connectors.standins.standin import Standin

JSFORCE = ROOT / "tests" / "jsforce"
ABSENT = "is not installed, so the stand-in goes unchecked by it: pip install .[vendors]"
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # these clients leave connections to the garbage
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def standins() -> Mapping[str, Standin]:
    """Return the four systems, each with sixty people."""
    some = people(120)[:60]
    salesforce = Salesforce.of(some, NOW, page=20)
    salesforce.deploy()
    known = {"hubspot": HubSpot.of(some, NOW), "marketo": Marketo.of(some, NOW), "mailchimp": Mailchimp.of(some, NOW)}
    return {**known, "salesforce": salesforce}


@pytest.fixture(scope="module")
def urls(standins: Mapping[str, Standin]) -> Iterator[Mapping[str, str]]:
    """Return where they answer."""
    with running(standins) as addresses:
        yield addresses


def test_hubspot_s_own_client_finds_nothing_wrong_in_strict_mode(urls: Mapping[str, str]) -> None:
    sdk = pytest.importorskip("hubspot_sdk", reason=f"hubspot-sdk {ABSENT}")
    with sdk.HubSpot(
        access_token="pat-standin",  # noqa: S106
        base_url=urls["hubspot"],
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        page = client.crm.objects.contacts.list(limit=50, properties_with_history=["lifecyclestage", "email"])
        assert len(page.results) == 50
        following = client.crm.objects.contacts.list(limit=50, after=page.paging.next.after)
        assert len(following.results) == 10
        by_id = {"inputs": [{"id": "1"}], "properties": ["email"], "properties_with_history": ["email"]}
        (read,) = client.crm.objects.contacts.batch.get(**by_id).results
        assert read.properties_with_history["email"][0].value == read.properties["email"]
        recent = [{"propertyName": "lastmodifieddate", "operator": "GTE", "value": "0"}]
        sorts = [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]
        found = client.crm.objects.contacts.search(
            filter_groups=[{"filters": recent}], sorts=sorts, limit=20, after="0", properties=["email"]
        )
        assert (found.total, len(found.results)) == (60, 20)
        group = client.crm.properties.groups.create(object_type="contacts", label="Touchstone", name="touchstone")
        assert group.name == "touchstone"
        client.crm.properties.create(
            object_type="contacts", field_type="number", group_name="touchstone", label="P", name="ml_p", type="number"
        )
        assert [one.name for one in client.crm.properties.list("contacts").results] == ["ml_p"]
        stages = client.crm.pipelines.list("deals").results[0].stages
        assert [stage.id for stage in stages] == ["appointmentscheduled", "closedwon", "closedlost"]
        inputs = [{"id": number, "properties": {"ml_p": "0.5"}} for number in ("1", "99999")]
        updated = client.crm.objects.contacts.batch.update(inputs=inputs)
        assert [one.id for one in updated.results] == ["1"]


def test_simple_salesforce_pages_queries_runs_jobs_and_updates(
    urls: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    simple = pytest.importorskip("simple_salesforce", reason=f"simple-salesforce {ABSENT}")
    bulk2, requests = pytest.importorskip("simple_salesforce.bulk2"), pytest.importorskip("requests")

    class Plain(requests.adapters.HTTPAdapter):  # type: ignore[misc,name-defined]
        """Speaks http to what the client takes for https, as it does all of Salesforce."""

        def send(self, request: Any, **more: Any) -> Any:
            request.url = request.url.replace("https://", "http://")
            return super().send(request, **more)

    monkeypatch.setattr(bulk2, "sleep", lambda _: None, raising=False)
    session = requests.Session()
    session.mount("https://", Plain())
    host = urls["salesforce"].removeprefix("http://")
    client = simple.Salesforce(instance=host, session_id="00Dstandin!token", version="62.0", session=session)
    found = client.query_all("SELECT Id, Email FROM Lead ORDER BY SystemModstamp, Id")
    ids = [record["Id"] for record in found["records"]]
    assert len(ids) == len(set(ids)) == found["totalSize"] > 20
    described = client.Lead.describe()
    assert "Close_Probability__c" in {field["name"] for field in described["fields"]}
    pages = client.bulk2.Lead.query("SELECT Id, Email FROM Lead ORDER BY Id")
    assert {row["Id"] for page in pages for row in csv.DictReader(io.StringIO(page))} == set(ids)
    (done,) = client.bulk2.Lead.update(
        records=[{"Id": ids[0], "Score_Grade__c": "A"}, {"Id": "00Q0", "Score_Grade__c": "B"}]
    )
    (failed,) = csv.DictReader(io.StringIO(client.bulk2.Lead.get_failed_records(done["job_id"])))
    assert (failed["Id"], failed["sf__Error"]) == ("00Q0", "entity is deleted")


def test_jsforce_pages_queries_runs_jobs_and_updates(urls: Mapping[str, str], standins: Mapping[str, Standin]) -> None:
    if not (JSFORCE / "node_modules").exists():
        pytest.skip("jsforce is not installed, so the stand-in goes unchecked by it: npm ci --prefix tests/jsforce")
    words = ["node", str(JSFORCE / "check.js"), urls["salesforce"]]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    told, salesforce = json.loads(done.stdout), standins["salesforce"]
    assert isinstance(salesforce, Salesforce)
    leads = sorted(salesforce.objects["Lead"])
    assert (sorted(told["ids"]), sorted(told["exported"])) == (leads, leads)
    assert "Close_Probability__c" in told["fields"]
    assert (told["updated"], told["succeeded"]) == ([True, False], [told["ids"][0]])
    assert told["failed"] == [["00Q000000000099999", "entity is deleted"]]
    assert told["refused"] == "INVALID_SESSION_ID"


def test_marketorestpython_reads_activities_and_changes_and_updates_leads(
    urls: Mapping[str, str], standins: Mapping[str, Standin]
) -> None:
    client_of = pytest.importorskip("marketorestpython.client", reason=f"marketorestpython {ABSENT}").MarketoClient
    marketo = standins["marketo"]
    assert isinstance(marketo, Marketo)
    client = client_of("123-abc-456", "standin-client", "standin-secret", max_retry_time=1)
    client.host = urls["marketo"]
    types = {one["name"]: one["id"] for one in client.execute(method="get_activity_types")}
    since = (NOW - timedelta(days=500)).strftime("%Y-%m-%dT%H:%M:%SZ")
    opened = client.execute(
        method="get_lead_activities", activityTypeIds=[str(types["Open Email"])], sinceDatetime=since
    )
    assert len(opened) == sum(one["activityTypeId"] == types["Open Email"] for one in marketo.done)
    changed = client.execute(method="get_lead_changes", fields=["lifecycleStatus"], sinceDatetime=since)
    assert len(changed) == sum(one["activityTypeId"] == types["Change Data Value"] for one in marketo.done)
    told = [{"id": 1, "industry": "Mining"}, {"id": 99_999, "industry": "Mining"}]
    written = client.execute(method="create_update_leads", leads=told, action="updateOnly", lookupField="id")
    assert [one["status"] for one in written] == ["updated", "skipped"]
    programs = client.execute(method="browse_programs", maxReturn=200)
    assert [one["name"] for one in programs] == [one["name"] for one in marketo.programs.values()]
    window = {"createdAt": {"startAt": "2025-02-01T00:00:00Z", "endAt": "2025-03-01T00:00:00Z"}}
    job = client.execute(method="create_leads_export_job", fields=["id", "email"], filters=window)[0]["exportId"]
    client.execute(method="enqueue_leads_export_job", job_id=job)
    states = [client.execute(method="get_leads_export_job_status", job_id=job)[0]["status"] for _ in range(2)]
    assert states[-1] == "Completed"
    content = client.execute(method="get_leads_export_job_file", job_id=job)
    assert content.decode().splitlines()[0] == "id,email"


def test_mailchimp_s_own_client_reads_members_and_reports_and_writes(
    urls: Mapping[str, str], standins: Mapping[str, Standin]
) -> None:
    client_of = pytest.importorskip("mailchimp_marketing", reason=f"mailchimp-marketing {ABSENT}").Client
    mailchimp = standins["mailchimp"]
    assert isinstance(mailchimp, Mailchimp)
    client = client_of({"api_key": mailchimp.key})
    client.api_client.host = f"{urls['mailchimp']}/3.0"
    assert client.ping.get()["health_status"] == "Everything's Chimpy!"
    members = client.lists.get_list_members_info("a1b2c3", count=1000)
    assert (members["total_items"], len(members["members"])) == (60, 60)
    campaign = client.campaigns.list(count=1)["campaigns"][0]["id"]
    activity = client.reports.get_email_activity_for_campaign(campaign, count=1000)
    assert activity["total_items"] == len(mailchimp.sent[campaign])
    client.lists.add_list_merge_field("a1b2c3", {"name": "P", "type": "number", "tag": "CLOSEPROB"})
    member = members["members"][0]["id"]
    client.lists.update_list_member("a1b2c3", member, {"merge_fields": {"CLOSEPROB": 0.5}})
    assert client.lists.get_list_member("a1b2c3", member)["merge_fields"]["CLOSEPROB"] == 0.5
    client.lists.update_list_member_tags("a1b2c3", member, {"tags": [{"name": "grade-A", "status": "active"}]})
    assert mailchimp.tags[member] == {"grade-A"}


@pytest.mark.shared_data
def test_marketo_s_own_description_of_its_interface_holds(urls: Mapping[str, str]) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason=f"schemathesis {ABSENT}")
    described = json.loads((shared_data("marketo") / "swagger-mapi.json").read_text())
    ours = {f"/{path}" for path in (
        "rest/v1/activities/types.json", "rest/v1/activities/pagingtoken.json", "rest/v1/activities.json",
        "rest/v1/activities/leadchanges.json", "rest/v1/leads.json", "rest/v1/leads/schema/fields.json",
        "rest/v1/programs/{programId}/members.json",
        "bulk/v1/leads/export/create.json", "bulk/v1/leads/export/{exportId}/status.json",
        "bulk/v1/leads/export/{exportId}/enqueue.json", "bulk/v1/leads/batch/{batchId}.json",
    )}  # fmt: skip
    described["paths"] = {path: told for path, told in described["paths"].items() if path in ours}
    assert set(described["paths"]) == ours
    described["paths"]["/rest/v1/programs/{programId}/members.json"].pop("post")  # nobody changes members
    checked = check_all(schemathesis, described, urls["marketo"])
    assert checked >= len(ours)


def check_all(schemathesis: Any, described: dict[str, Any], url: str) -> int:
    """Send what the description allows to each operation, and hold each reply against it; return how many were sent."""
    from hypothesis import HealthCheck, Phase, given, settings

    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url=url)
    headers = {"Authorization": "Bearer standin-token:us"}
    sent = 0
    checks = schemathesis.checks
    wanted = [checks.not_a_server_error]
    from schemathesis.specs.openapi.checks import response_schema_conformance

    for operation in (found.ok() for found in schema.get_all_operations()):

        @settings(max_examples=8, deadline=None, phases=[Phase.generate], database=None, derandomize=True,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            nonlocal sent
            sent += 1
            case.call_and_validate(headers=headers, checks=[*wanted, response_schema_conformance])

        check()
    return sent
