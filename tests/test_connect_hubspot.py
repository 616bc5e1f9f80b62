"""HubSpot: what each of its calls gives, and what becomes of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from connected import NOW, SECRETS, Account, FakeClock, people, scored

from connectors.moments import milliseconds
from connectors.session import Refused
from connectors.standins import hubspot as standin
from connectors.standins.hubspot import FORMS, PIPELINE, HubSpot
from features.errors import ConfigError


def day(number: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    """Return an account of two people: Ada of a company, who won a deal, and Bob, of whom little is known."""
    clock = FakeClock()
    hubspot = HubSpot(NOW, seconds=clock.seconds)
    hubspot.put("companies", "90", day(0), industry="Mining", numberofemployees="50")
    hubspot.put("contacts", "1", day(1), email="Ada@Example.com", lifecyclestage="lead", associatedcompanyid="90")
    hubspot.put("contacts", "1", day(3), lifecyclestage="salesqualifiedlead", jobtitle="Director")
    hubspot.put("contacts", "2", day(2), email="bob@example.com", hs_email_optout="true")
    hubspot.put("deals", "70", day(4), dealstage="appointmentscheduled", amount="100.50", deal_currency_code="EUR")
    hubspot.put("deals", "70", day(9), dealstage="closedwon", amount="120.50")
    for contact in ("2", "1"):
        hubspot.link("deals", "70", "contacts", contact)
    return Account("hubspot", hubspot, tmp_path, clock)


def hubspot_of(account: Account) -> HubSpot:
    assert isinstance(account.standin, HubSpot)
    return account.standin


def test_each_change_of_a_contact_is_a_version_known_from_its_moment_on_and_of_a_company_from_when_it_was_read(
    account: Account,
) -> None:
    account.read()
    columns = ("lead_id", "observed_at", "account_id", "attributes")
    assert account.told("leads", *columns) == [
        ("hubspot:1", day(1), "hubspot:90", '{"email":"Ada@Example.com"}'),
        ("hubspot:1", day(3), None, '{"jobtitle":"Director"}'),
        ("hubspot:1", NOW, "hubspot:90", '{"account_industry":"Mining","account_employees":"50"}'),
        ("hubspot:2", day(2), None, '{"email":"bob@example.com","opted_out":"yes"}'),
    ]


def test_a_deal_s_stages_are_its_first_contact_s_so_that_its_amount_counts_once(account: Account) -> None:
    account.read()
    assert account.told("stages", "lead_id", "occurred_at", "stage", "amount", "currency") == [
        ("hubspot:1", day(1), "lead", None, None),
        ("hubspot:1", day(3), "salesqualifiedlead", None, None),
        ("hubspot:1", day(4), "opportunity", Decimal("100.50"), "EUR"),
        ("hubspot:1", day(9), "won", Decimal("120.50"), "EUR"),
    ]


def test_a_change_of_stage_counts_once_whoever_is_linked_later_and_whatever_it_is_called_then(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    hubspot, account.streams = hubspot_of(account), ("deals",)
    hubspot.links["deals", "contacts"]["70"] = ["2"]
    hubspot.put("deals", "71", day(5), dealstage="closedwon", amount="7.00", deal_currency_code="EUR")  # nobody's yet
    account.read()
    account.clock.wait(3600)
    monkeypatch.setattr(standin, "PIPELINE", (("appointmentscheduled", "Meeting", "false", "0.4"), *PIPELINE[1:]))
    for deal in ("70", "71"):
        hubspot.link("deals", deal, "contacts", "1")
    hubspot.put("deals", "70", hubspot.moment(), dealstage="appointmentscheduled")
    hubspot.put("deals", "71", hubspot.moment(), closedate="2026-03-01")
    account.read()
    assert account.told("stages", "lead_id", "stage", "amount") == [
        ("hubspot:1", "meeting", Decimal("120.50")),
        ("hubspot:1", "won", Decimal("7.00")),
        ("hubspot:2", "opportunity", Decimal("100.50")),
        ("hubspot:2", "won", Decimal("120.50")),
    ]


def test_mail_and_forms_find_their_contact_by_the_hash_of_an_address(account: Account) -> None:
    hubspot = hubspot_of(account)
    hubspot.emails.append({"id": "e1", "created": 1767600000000, "type": "CLICK", "recipient": "ada@example.com"})
    form = {"submittedAt": 1767700000000, "values": [{"name": "email", "value": "ADA@example.com"}]}
    form["pageUrl"] = "https://www.example.com/demo?utm_source=google&utm_medium=cpc"
    hubspot.submissions["demo_request"] = [form]
    account.read()
    claims = {row["email_hash"] for row in account.rows("identities") if row["lead_id"] == "hubspot:1"}
    touches = [(row["anonymous_id"] in claims, row["kind"], row["channel"]) for row in account.rows("touches")]
    assert sorted(touches) == [(True, "demo_request", "Paid Search"), (True, "email_click", "Email")]


def test_what_was_submitted_comes_once_whatever_the_form_is_called_later(account: Account) -> None:
    hubspot = hubspot_of(account)
    values, at = [{"name": "email", "value": "ada@example.com"}], milliseconds(NOW - timedelta(minutes=20))
    hubspot.submissions["demo_request"] = [{"submittedAt": at, "values": values, "pageUrl": "https://example.com/"}]
    account.streams = ("forms",)
    account.read()
    account.clock.wait(600)
    assert account.read() == []
    account.clock.wait(600)
    hubspot.submissions["demo_request"].insert(0, {"submittedAt": at + 1_500_000, "values": values, "pageUrl": ""})
    assert [(one.stored, one.already_there, one.refused) for one in account.read()] == [(1, 0, 0)]
    (account.workspace / "connectors" / "hubspot" / "state.json").unlink()
    FORMS["demo_request"], name = "Talk to us", FORMS["demo_request"]
    try:
        account.read()
    finally:
        FORMS["demo_request"] = name
    assert account.count("touches") == 2


def test_a_property_that_cannot_hold_a_score_is_named_before_anything_is_written(account: Account) -> None:
    account.streams = ("contacts",)
    account.read()
    scored(account, {"hubspot:1": 0.25})
    hubspot = hubspot_of(account)
    hubspot.properties["ml_score_grade"] = {"name": "ml_score_grade", "type": "enumeration"}
    read_only = {"name": "ml_scored_at", "type": "datetime", "modificationMetadata": {"readOnlyValue": True}}
    hubspot.properties["ml_scored_at"] = read_only
    sentence = (
        "HubSpot's contact properties cannot hold a score: ml_score_grade is of the type enumeration, not string; "
        "ml_scored_at is read-only. Delete them there, and sync makes them anew."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        account.sync()
    assert sorted(hubspot.properties) == ["ml_score_grade", "ml_scored_at"]


def test_meetings_and_calls_are_touches_of_everybody_who_was_there(account: Account) -> None:
    hubspot = hubspot_of(account)
    hubspot.put("meetings", "5", day(5), hs_meeting_start_time="2026-01-07T10:00:00Z", hs_meeting_outcome="COMPLETED")
    hubspot.put("meetings", "6", day(5), hs_meeting_start_time="2026-01-08T10:00:00Z", hs_meeting_outcome="CANCELED")
    for meeting, contact in (("5", "1"), ("5", "2"), ("6", "1")):
        hubspot.link("meetings", meeting, "contacts", contact)
    account.read()
    touches = [(row["lead_id"], row["occurred_at"], row["kind"], row["channel"]) for row in account.rows("touches")]
    assert touches == [
        ("hubspot:1", day(6) + timedelta(hours=10), "sales_meeting", "Sales outreach"),
        ("hubspot:2", day(6) + timedelta(hours=10), "sales_meeting", "Sales outreach"),
    ]


def test_page_visits_are_read_only_where_the_account_may(account: Account) -> None:
    visit = {"id": "v1", "eventType": "e_visited_page", "occurredAt": "2026-01-05T00:00:00Z", "objectId": "1"}
    hubspot_of(account).visits["1"] = [visit | {"properties": {"hs_url": "https://www.example.com/pricing"}}]
    account.read()
    assert account.count("touches") == 0
    account.configured = {"web_events": True}
    account.read()
    assert [(row["lead_id"], row["kind"]) for row in account.rows("touches")] == [("hubspot:1", "pricing_view")]


def test_an_incremental_read_asks_only_for_what_changed(account: Account) -> None:
    account.read()
    hubspot = hubspot_of(account)
    hubspot.calls.clear()
    account.clock.wait(3600)
    hubspot.put("contacts", "2", hubspot.moment(), jobtitle="Clerk")
    account.read()
    assert "GET /crm/objects/2026-09/contacts" not in hubspot.calls
    assert [row["attributes"] for row in account.rows("leads") if "Clerk" in row["attributes"]] == [
        '{"jobtitle":"Clerk"}'
    ]


def test_older_versions_of_the_interface_have_other_paths(account: Account) -> None:
    account.configured = {"version": "v3"}
    account.read()
    assert "GET /crm/v3/objects/contacts" in hubspot_of(account).calls


def test_a_refresh_token_gives_the_first_token_and_renews_it_when_it_is_over(account: Account) -> None:
    names = ("HUBSPOT_CLIENT_ID", "HUBSPOT_CLIENT_SECRET")
    account.secrets = dict.fromkeys(names, "standin") | {"HUBSPOT_REFRESH_TOKEN": "refresh-standin"}
    hubspot_of(account).switches.expired = 1
    account.read()
    assert hubspot_of(account).calls.count("POST /oauth/v1/token") == 2
    assert account.count("leads") == 4


def test_a_static_token_that_is_refused_is_a_sentence(account: Account) -> None:
    account.secrets = {"HUBSPOT_TOKEN": "pat-wrong"}
    sentence = r"^hubspot refused with 401, when asked to GET /crm/objects/2026-09/contacts: .*expired.*\.$"
    with pytest.raises(Refused, match=sentence):
        account.read()


def test_a_missing_token_is_named(account: Account) -> None:
    account.secrets = {}
    with pytest.raises(
        ConfigError, match=r"^Set HUBSPOT_TOKEN in the environment, or in a file that HUBSPOT_TOKEN_FILE"
    ):
        account.read()


def test_a_token_may_be_in_a_file(account: Account, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("pat-standin\n")
    account.secrets = {"HUBSPOT_TOKEN_FILE": str(tmp_path / "token")}
    account.read()
    assert account.count("leads") == 4


def test_a_file_of_a_secret_that_cannot_be_read_is_named(account: Account) -> None:
    account.secrets = {"HUBSPOT_TOKEN_FILE": "/nowhere/token"}
    with pytest.raises(
        ConfigError, match=r"^HUBSPOT_TOKEN_FILE names /nowhere/token, which cannot be read: No such file"
    ):
        account.read()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"^The mapping .*own\.toml cannot be read: No such file .* or none, in connectors\.hubspot\.mapping\.$"),
        ("[read]\n", r"^The mapping .*own\.toml has no 'sources'\. Begin with a copy of .*mappings/hubspot\.toml\.$"),
        ("read = ", r"^The mapping .*own\.toml cannot be used: .*Mend it\.$"),
        ('sources = [{file = "a", table = "deals"}]\n[read]\n',
         r"^The mapping .*own\.toml cannot be used: table is \"deals\": Input should be 'leads', .*\. Mend it\.$"),
    ],
    ids=["missing", "without sources", "no TOML", "of no table"],
)  # fmt: skip
def test_a_mapping_that_is_none_is_a_sentence(account: Account, content: str | None, sentence: str) -> None:
    if content is not None:
        (account.workspace / "own.toml").write_text(content)
    account.configured = {"mapping": "own.toml"}
    with pytest.raises(ConfigError, match=sentence):
        account.read()


def test_a_mapping_of_one_s_own_is_read_in_place_of_ours(account: Account, tmp_path: Path) -> None:
    ours = Path(__file__).parents[1] / "connectors" / "mappings" / "hubspot.toml"
    own = ours.read_text().replace("\"'hubspot:' || id\"", "\"'hs-' || id\"").replace('"jobtitle", ', "")
    (tmp_path / "own.toml").write_text(own)
    account.configured = {"mapping": "own.toml"}
    account.read()
    assert sorted({row["lead_id"] for row in account.rows("leads")}) == ["hs-1", "hs-2"]
    assert not [row for row in account.rows("leads") if "jobtitle" in (row["attributes"] or "")]


def test_five_hundred_people_of_a_company_come_in_whole(tmp_path: Path) -> None:
    clock = FakeClock()
    hubspot = HubSpot.of(people(500), NOW, seconds=clock.seconds)
    account = Account("hubspot", hubspot, tmp_path, clock)
    results = account.read()
    assert [result for result in results if result.refused] == []
    mailed = [touch for person in people(500) for touch in person.touches if touch["kind"].startswith("email_")]
    touches = [row for row in account.rows("touches") if row["channel"] == "Email"]
    assert {row["event_id"] for row in touches} == {f"hubspot:email:{touch['event_id']}" for touch in mailed}
    assert SECRETS["HUBSPOT_TOKEN"] == hubspot.token
