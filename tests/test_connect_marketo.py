"""Marketo: what each of its calls gives, and what becomes of it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from connected import NOW, Account, FakeClock, scored

from connectors.session import Refused
from connectors.standins.marketo import Marketo
from features.errors import ConfigError, Partly

CONFIGURED = {"base_url": "https://123-abc-456.mktorest.com"}


def day(number: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    """Return an account of Ada, who was won, and of Bob, who does not want mail."""
    clock = FakeClock()
    marketo = Marketo(NOW, seconds=clock.seconds)
    for number, name in ((1, "ada"), (2, "bob")):
        at = f"2026-01-0{number}T00:00:00Z"
        told = {
            "email": f"{name}@example.com",
            "leadSource": "Web",
            "industry": "Mining",
            "title": None,
            "country": None,
        }
        more = {"numberOfEmployees": 50, "unsubscribed": name == "bob", "lifecycleStatus": None}
        marketo.people[number] = {"id": number, "createdAt": at, "updatedAt": at, **told, **more}
    marketo.change(1, day(4), "title", "Director")
    marketo.change(1, day(5), "lifecycleStatus", "Won")
    marketo.roles.append({"externalOpportunityId": "o1", "leadId": 1, "isPrimary": True})
    marketo.opportunities["o1"] = {"externalOpportunityId": "o1", "amount": 99.5, "currency": "EUR"}
    marketo.happen(1, day(2), 1, "/pricing?utm_source=google&utm_medium=cpc")
    marketo.happen(2, day(3), 10, "Spring mail")
    marketo.happen(2, day(3), 22, "a score that another program made")
    marketo.happen(2, day(6), 104, "Spring webinar")  # which its membership tells better
    marketo.join(2, day(6), "Spring webinar", "Webinar", reached=False)
    return Account("marketo", marketo, tmp_path, clock, CONFIGURED)


def marketo_of(account: Account) -> Marketo:
    assert isinstance(account.standin, Marketo)
    return account.standin


def test_leads_their_changes_and_what_they_did_become_rows(account: Account) -> None:
    assert [result for result in account.read() if result.refused] == []
    rows = account.told("leads", "lead_id", "observed_at", "attributes")
    assert ("marketo:1", day(4), '{"title":"Director"}') in rows
    assert account.told("stages", "lead_id", "occurred_at", "stage", "amount", "currency") == [
        ("marketo:1", day(5), "won", Decimal("99.50"), "EUR")
    ]
    assert account.told("touches", "lead_id", "occurred_at", "kind", "channel", "campaign") == [
        ("marketo:1", day(2), "pricing_view", "Paid Search", None),
        ("marketo:2", day(3), "email_open", "Email", "Spring mail"),
    ]


def test_extracts_are_asked_for_in_windows_of_31_days(account: Account) -> None:
    account.streams = ("leads",)
    account.read()
    created = [call for call in account.standin.calls if call.endswith("export/create.json")]
    assert len(created) == 14  # from 1 January 2025 to 2 March 2026


@pytest.mark.parametrize("code", ["602", "606"])
def test_what_marketo_says_with_status_200_is_heard(account: Account, code: str) -> None:
    switches = account.standin.switches
    account.streams = ("activities",)
    switches.expired, switches.too_fast = int(code == "602"), int(code != "602")
    account.read()
    assert account.count("touches") == 2


def test_the_daily_quota_is_a_sentence(account: Account) -> None:
    account.standin.switches.calls_a_day = 4
    with pytest.raises(
        Partly, match=r"^marketo says that its calls for today are used up \(.*Daily quota '50000' exceeded"
    ):
        account.read()


def test_pages_may_be_short_and_only_more_result_tells_the_last(account: Account) -> None:
    account.streams = ("activities",)
    for number in range(700):
        marketo_of(account).happen(1, day(6 + number / 1000), 10, f"mail {number}")
    account.standin.switches.short_pages = True
    account.read()
    assert account.count("touches") == 702


def test_what_is_wrong_with_a_call_is_said_in_marketo_s_words(account: Account) -> None:
    (account.workspace / "own.toml").write_text(
        (Path(__file__).parents[1] / "connectors/mappings/marketo.toml").read_text().replace("2025-01-01T00", "soon")
    )
    account.streams, account.configured = ("activities",), {**CONFIGURED, "mapping": "own.toml"}
    with pytest.raises(Refused, match=r"^marketo refused with 200, when asked to GET .*pagingtoken\.json: .*\"1003\""):
        account.read()


@pytest.mark.parametrize("bulk_from", [2, 3000])
def test_scores_are_written_by_calls_or_by_a_file_and_each_refusal_is_kept(account: Account, bulk_from: int) -> None:
    marketo = marketo_of(account)
    for number in range(3, 403):
        marketo.people[number] = {**marketo.people[1], "id": number, "email": f"p{number}@example.com"}
    account.streams, account.configured = ("leads",), {**CONFIGURED, "bulk_from": bulk_from}
    account.read()
    scored(account, {f"marketo:{number}": 0.25 for number in range(1, 403)})
    marketo.switches.refused = {"7"}
    synced = account.sync()
    assert (synced.written, synced.withheld, synced.refused, synced.reasons) == (400, 1, 1, ["Lead not found"])
    marketo.switches.refused = set()
    assert (account.sync().written, account.sync().written) == (1, 0)
    told = {name: str(value) for name, value in marketo.people[7].items() if name.startswith("ml")}
    assert told == {
        "mlCloseProbability": "0.25",
        "mlScoreGrade": "B",
        "mlScoreTrend": "steady",
        "mlScoreTopFactors": "Looked at the prices, raises the odds 2 times",
        "mlScoreModelVersion": "v1",
        "mlScoredAt": "2026-03-02T12:00:00Z",
    }
    assert not [name for name in marketo.people[2] if name.startswith("ml")]  # Bob opted out


def test_the_address_of_the_instance_has_to_be_set(account: Account) -> None:
    account.configured = {}
    with pytest.raises(ConfigError, match=r"^Set connectors\.marketo\.base_url to your instance's address"):
        account.read()


def test_who_reached_what_a_program_is_for_was_touched_by_it_once_and_then(account: Account) -> None:
    marketo = marketo_of(account)
    marketo.join(1, day(7), "Spring webinar", "Webinar")
    marketo.join(1, day(8), "Newsletter", "Email Send")
    marketo.join(1, day(9), "Import of a fair", "List Import")
    account.streams = ("members",)
    account.read()
    told = ("lead_id", "occurred_at", "kind", "channel", "campaign")
    first = [("marketo:1", day(7), "webinar_attended", "Events", "Spring webinar"),
             ("marketo:1", day(8), "campaign_response", "Email", "Newsletter")]  # fmt: skip
    assert account.told("touches", *told) == first
    account.clock.wait(86_400)
    marketo.join(2, marketo.moment(), "Spring webinar", "Webinar")
    marketo.calls.clear()
    account.read()
    assert account.told("touches", *told)[:-1] == first
    assert len([call for call in marketo.calls if "members.json" in call]) == len(marketo.programs)
    before = account.rows("touches")
    account.clock.wait(86_400)
    marketo.join(1, marketo.moment(), "Spring webinar", "Webinar")  # once more, and it was renamed
    next(one for one in marketo.programs.values() if one["name"] == "Spring webinar")["name"] = "Webinar 1"
    account.read()
    assert (account.rows("touches"), account.count("quarantine")) == (before, 0)


def test_programs_and_their_members_come_in_pages_and_a_killed_read_goes_on_at_the_next(account: Account) -> None:
    marketo = marketo_of(account)
    for number in range(201):
        marketo.join(1, day(7), f"Programme {number}", "Event")
    for number in range(1000, 1250):
        marketo.people[number] = {**marketo.people[1], "id": number}
        marketo.join(number, day(8), "Programme 7", "Event")
    marketo.switches.short_pages = True
    account.streams = ("members",)
    heard: list[str] = []

    def kill(said: str) -> None:
        heard.append(said)
        if len(heard) == 10:  # within programme 7
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        account.read(kill)
    account.read()
    assert account.count("touches") == 201 + 250
    asked = Counter(call for call in marketo.calls if "members.json" in call)
    assert sorted(asked.values())[-2:] == [1, 3]
