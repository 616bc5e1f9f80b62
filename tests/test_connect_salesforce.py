"""Salesforce: what each of its calls gives, and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from connected import NOW, Account, FakeClock, scored
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from connectors.landing import land
from connectors.standins.salesforce import Salesforce
from features.errors import ConfigError, DataError, Partly
from features.history import microseconds
from features.identities import touches_of_leads

ADA, BOB, CONTACT, DEAL = "00Q000000000000001", "00Q000000000000002", "003000000000000003", "006000000000000004"
CONFIGURED = {"base_url": "https://example.my.salesforce.com"}


def day(number: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    """Return an account of Ada, who became a contact with a deal that was won, and of Bob, who is a lead."""
    clock = FakeClock()
    salesforce = Salesforce(NOW, seconds=clock.seconds)
    told = {"LeadSource": "Web", "Industry": "Mining", "Title": None, "Country": None, "NumberOfEmployees": 50}
    lead = {**told, "HasOptedOutOfEmail": False, "ConvertedDate": None}
    salesforce.put("Lead", ADA, day(1), **lead, Email="ada@example.com")
    salesforce.put("Lead", ADA, day(3), IsConverted=True, ConvertedContactId=CONTACT)
    salesforce.put("Lead", BOB, day(2), **lead, Email="bob@example.com", IsConverted=False, ConvertedContactId=None)
    salesforce.put("Contact", CONTACT, day(3), Email="ada@example.com", HasOptedOutOfEmail=True, AccountId="001A")
    salesforce.put("LeadHistory", "017000000000000005", day(2.5), LeadId=ADA, Field="Status", NewValue="Working")
    for number, on, stage in ((6, 4, "Qualification"), (7, 9, "Closed Won")):
        told = {"OpportunityId": DEAL, "StageName": stage, "Amount": 120.5}
        salesforce.put("OpportunityHistory", f"00800000000000000{number}", day(on), **told)
        meaning = {"ApiName": stage, "IsClosed": stage != "Qualification", "IsWon": stage == "Closed Won"}
        salesforce.put("OpportunityStage", f"01J00000000000000{number}", day(0), **meaning)
    salesforce.put("OpportunityContactRole", "00K1", day(4), OpportunityId=DEAL, ContactId="003B", IsPrimary=False)
    salesforce.put("OpportunityContactRole", "00K2", day(4), OpportunityId=DEAL, ContactId=CONTACT, IsPrimary=True)
    member = {"LeadId": BOB, "ContactId": None, "Campaign.Name": "Spring", "Campaign.Type": "Webinar"}
    salesforce.put("CampaignMember", "00v1", day(5), **member, HasResponded=True, FirstRespondedDate="2026-01-07")
    salesforce.put("CampaignMember", "00v2", day(5), **member, HasResponded=False, FirstRespondedDate=None)
    call = {"TaskSubtype": "Call", "IsClosed": True, "CompletedDateTime": "2026-01-08T00:00:00.000+0000"}
    salesforce.put("Task", "00T1", day(6), WhoId=BOB, **call)
    salesforce.put("Event", "00U1", day(6), WhoId=CONTACT, StartDateTime="2026-01-09T00:00:00.000+0000")
    sent = {"Incoming": False, "MessageDate": "2026-01-10T00:00:00.000+0000", "FirstOpenedDate": None}
    salesforce.put("EmailMessage", "02s1", day(9), ToAddress="Bob@example.com; x@example.com", **sent)
    return Account("salesforce", salesforce, tmp_path, clock, CONFIGURED)


def salesforce_of(account: Account) -> Salesforce:
    assert isinstance(account.standin, Salesforce)
    return account.standin


def test_people_their_stages_and_what_they_did_become_rows(account: Account) -> None:
    assert [result for result in account.read() if result.refused] == []
    ada, bob, contact = (f"salesforce:{one}" for one in (ADA, BOB, CONTACT))
    assert account.told("stages", "lead_id", "occurred_at", "stage", "amount", "reason") == [
        (contact, day(4), "opportunity", Decimal("120.50"), "Qualification"),
        (contact, day(9), "won", Decimal("120.50"), "Closed Won"),
        (ada, day(2.5), "working", None, None),
    ]
    assert account.told(
        "touches", "occurred_at", "coalesce(lead_id, 'by who it was')", "kind", "channel", "campaign"
    ) == [
        (day(6), bob, "webinar_attended", "Events", "Spring"),
        (day(7), bob, "sales_call", "Sales outreach", None),
        (day(8), "by who it was", "sales_meeting", "Sales outreach", None),
        (day(9), "by who it was", "email_sent", "Email", None),
    ]
    merged = [row for row in account.rows("identities") if row["duplicate_id"]]
    assert [(row["duplicate_id"], row["lead_id"], row["observed_at"]) for row in merged] == [(ada, contact, day(3))]


def test_what_may_have_changed_is_known_only_from_when_it_was_read(account: Account) -> None:
    account.streams = ("leads",)
    account.read()
    ada = [row for row in account.told("leads", "lead_id", "observed_at", "attributes") if row[0].endswith(ADA)]
    later = '{"email":"ada@example.com","industry":"Mining","employees":"50","opted_out":"no"}'
    assert ada == [(f"salesforce:{ADA}", day(1), '{"LeadSource":"Web"}'), (f"salesforce:{ADA}", NOW, later)]


def test_the_first_read_is_by_bulk_jobs_and_the_next_by_queries_of_what_changed(account: Account) -> None:
    account.streams = ("leads",)
    account.read()
    assert "POST /services/data/v62.0/jobs/query" in account.standin.calls
    account.standin.calls.clear()
    account.clock.wait(3600)
    salesforce_of(account).put("Lead", BOB, account.standin.moment(), Title="Clerk")
    account.read()
    assert account.standin.calls == ["POST /services/oauth2/token", "GET /services/data/v62.0/query"]
    assert [row["attributes"] for row in account.rows("leads")][-1].count("Clerk") == 1


def test_a_place_that_salesforce_no_longer_knows_begins_the_stream_again(account: Account) -> None:
    account.streams = ("leads",)
    with account.open() as (_, dock):
        dock.progress.of("leads").at = {"job": "750-forgotten", "locator": "7"}
        dock.progress.save()
    account.read()
    assert account.count("leads") == 4


def test_what_a_lead_did_stays_its_own_when_salesforce_moves_it_to_the_contact_that_it_becomes(
    account: Account,
) -> None:
    salesforce = salesforce_of(account)
    for number, on, who in (("00U2", 2, CONTACT), ("00U3", 2, BOB)):  # Ada was no contact on that day
        salesforce.put("Event", number, day(on), WhoId=who, StartDateTime=f"{day(on):%Y-%m-%dT%H:%M:%S}.000+0000")
    member = {"LeadId": ADA, "ContactId": CONTACT, "Campaign.Name": "Spring", "Campaign.Type": "Webinar"}
    salesforce.put("CampaignMember", "00v3", day(2), **member, HasResponded=True, FirstRespondedDate="2026-01-03")
    account.read()
    for on, whose in ((2.9, ADA), (20, CONTACT)):
        known, _ = touches_of_leads(account.lake, microseconds(day(on)))
        hers = [row["kind"] for row in known.to_pylist() if row["lead_id"] == f"salesforce:{whose}"]
        assert sorted(hers) == ["sales_meeting"] * (1 if on < 3 else 2) + ["webinar_attended"]


@pytest.mark.parametrize("bulk_from", [2, 2000])
def test_leads_and_contacts_are_updated_by_one_call_or_by_jobs_and_each_refusal_is_kept(
    account: Account, bulk_from: int
) -> None:
    account.streams, account.configured = ("leads",), {**CONFIGURED, "bulk_from": bulk_from}
    account.read()
    salesforce = salesforce_of(account)
    salesforce.deploy()
    salesforce.switches.refused = {BOB}
    more = {f"salesforce:00Q{number:015}": 0.3 for number in range(100, 400)} if bulk_from == 2 else {}
    for lead in more:
        salesforce.put(
            "Lead", lead.removeprefix("salesforce:"), account.standin.moment(), **dict.fromkeys(account_fields())
        )
    account.clock.wait(3600)
    account.read()
    scored(account, {f"salesforce:{BOB}": 0.25, **more})
    synced = account.sync()
    assert (synced.written, synced.refused, synced.reasons) == (len(more), 1, ["Validation rule: no scores"])
    salesforce.switches.refused = set()
    assert account.sync().written == 1
    told = salesforce.objects["Lead"][BOB]
    assert (float(told["Close_Probability__c"]), float(told["Close_Score__c"])) == (0.25, 25.0)
    assert (told["Score_Grade__c"], told["Scored_At__c"]) == ("B", "2026-03-02T12:00:00.000Z")


def test_a_lead_that_was_converted_is_not_written_but_its_contact_is(account: Account) -> None:
    salesforce = salesforce_of(account)
    salesforce.put("Contact", CONTACT, day(3), HasOptedOutOfEmail=False)
    salesforce.deploy()
    account.read()
    scored(account, {f"salesforce:{CONTACT}": 0.5})
    synced = account.sync()
    assert (synced.written, synced.refused, synced.withheld) == (1, 0, 0)
    assert float(salesforce.objects["Contact"][CONTACT]["Close_Probability__c"]) == 0.5


def account_fields() -> tuple[str, ...]:
    return ("Email", "LeadSource", "Industry", "Title", "Country", "NumberOfEmployees", "HasOptedOutOfEmail",
            "IsConverted", "ConvertedContactId", "ConvertedDate")  # fmt: skip


def test_what_happened_once_is_no_news_when_it_is_moved_to_a_contact_or_its_campaign_is_renamed(
    account: Account,
) -> None:
    account.streams = ("members", "tasks", "events")
    account.read()
    before, salesforce = account.rows("touches"), salesforce_of(account)
    account.clock.wait(3600)
    salesforce.put("CampaignMember", "00v1", salesforce.moment(), **{"Campaign.Name": "Summer"})
    salesforce.put("Task", "00T1", salesforce.moment(), WhoId=CONTACT)
    salesforce.put("Event", "00U1", salesforce.moment(), WhoId=BOB)
    account.read()
    assert (account.rows("touches"), account.count("quarantine")) == (before, 0)
    account.clock.wait(3600)
    salesforce.put("Event", "00U1", salesforce.moment(), StartDateTime="2026-02-09T00:00:00.000+0000")
    assert [(one.stored, one.refused) for one in account.read()] == [(1, 0)]


def test_a_stage_that_the_list_no_longer_has_keeps_its_name(account: Account) -> None:
    account.streams = ("opportunities",)
    (won,) = (one for one in salesforce_of(account).objects["OpportunityStage"].values() if one["IsWon"])
    won["ApiName"] = "Signed"
    account.read()
    assert account.told("stages", "stage", "reason") == [("closed won", "Closed Won"), ("opportunity", "Qualification")]


def test_the_calls_of_24_hours_that_are_used_up_are_a_sentence(account: Account) -> None:
    account.standin.switches.calls_a_day = 2
    with pytest.raises(
        Partly, match=r"^salesforce says that its calls for today are used up \(.*REQUEST_LIMIT_EXCEEDED"
    ):
        account.read()


def test_salesforce_says_how_many_calls_a_day_are_allowed(account: Account) -> None:
    account.streams = ("opportunities",)
    account.standin.switches.calls_a_day = 12_345
    with account.open() as (system, dock):
        list(land(dock, system.session, [one for one in system.readings() if one.name == "opportunities"], str))
        assert system.session.quota.calls_a_day == 12_345


def test_fields_that_were_not_deployed_are_named(account: Account) -> None:
    account.streams = ("leads",)
    account.read()
    scored(account, {f"salesforce:{BOB}": 0.25})
    with pytest.raises(
        ConfigError, match=r"^Salesforce does not let us write Close_Probability__c, .* of Lead\. Deploy"
    ):
        account.sync()


def test_the_address_of_the_organization_has_to_be_set(account: Account) -> None:
    account.configured = {}
    with pytest.raises(ConfigError, match=r"^Set connectors\.salesforce\.base_url to your My Domain address"):
        account.read()


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def signing(account: Account, key: rsa.RSAPrivateKey, **more: str) -> None:
    """Let an account sign who it is, and Salesforce have the certificate."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    salesforce_of(account).certificate = public.decode()
    own = {"SALESFORCE_CLIENT_ID": "standin-client", "SALESFORCE_USERNAME": "touchstone@example.com"}
    account.secrets = {**own, "SALESFORCE_PRIVATE_KEY": pem, **more}
    account.streams = ("leads",)


def test_a_connected_app_may_sign_who_it_is_instead_of_sharing_a_secret(
    account: Account, private_key: rsa.RSAPrivateKey
) -> None:
    signing(account, private_key)
    account.standin.switches.expired = 1
    account.read()
    assert account.count("leads") == 4
    assert account.standin.calls.count("POST /services/oauth2/token") == 2
    kept = [file for file in account.workspace.rglob("*") if file.is_file()]
    assert not [file for file in kept if b"PRIVATE KEY" in file.read_bytes()]


@pytest.mark.parametrize(
    ("configured", "secrets", "skew", "why"),
    [({"login_url": "https://test.salesforce.com"}, {}, 0, "audience is invalid"),
     ({}, {"SALESFORCE_CLIENT_ID": "another"}, 0, "invalid assertion"),
     ({}, {}, 300, "expired authorization code"), ({}, {}, -300, "expired authorization code")],
    ids=["for another login", "of another app", "too old by their clock", "too new by their clock"],
)  # fmt: skip
def test_an_assertion_that_is_not_believed_is_a_sentence_in_salesforce_s_words(
    account: Account, private_key: rsa.RSAPrivateKey, configured: dict[str, str], secrets: dict[str, str],
    skew: float, why: str,
) -> None:  # fmt: skip
    account.configured = {**CONFIGURED, **configured}
    signing(account, private_key, **secrets)
    account.standin.switches.skew_seconds = skew
    sentence = (
        rf"^salesforce gave no access token \(400: .*{why}.*\)\. See that what identifies us .* clock is right\.$"
    )
    with pytest.raises(DataError, match=sentence):
        account.read()


def test_what_is_no_private_key_is_said_without_repeating_it(account: Account, private_key: rsa.RSAPrivateKey) -> None:
    signing(account, private_key, SALESFORCE_PRIVATE_KEY="canary-1f0a7c")
    with pytest.raises(ConfigError, match=r"^SALESFORCE_PRIVATE_KEY is no RSA key in PEM .*_FILE\.$"):
        account.read()


def test_a_private_key_needs_to_know_for_whom_it_signs(account: Account, private_key: rsa.RSAPrivateKey) -> None:
    signing(account, private_key, SALESFORCE_USERNAME="")
    with pytest.raises(ConfigError, match=r"^Set SALESFORCE_USERNAME in the environment"):
        account.read()
