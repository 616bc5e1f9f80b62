"""The layer under all connectors: pace, quota, patience, progress, and what never gets out."""

from __future__ import annotations

import json
import logging
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from connected import NOW, Account, FakeClock, people
from hypothesis import given
from hypothesis import strategies as st

from connectors.pace import Clock, Pace, Quota
from connectors.session import Manners, Refused, Session, by_status
from connectors.standins.hubspot import HubSpot
from connectors.standins.mailchimp import Mailchimp
from connectors.standins.marketo import Marketo
from connectors.standins.salesforce import Salesforce
from features.errors import DataError, Partly


@pytest.fixture
def account(tmp_path: Path) -> Account:
    """Return an account whose reps made calls to 120 people."""
    clock = FakeClock()
    hubspot = HubSpot.of(people(120), NOW, seconds=clock.seconds)
    return Account("hubspot", hubspot, tmp_path, clock, streams=("calls",))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what the lake holds of the same calls after a read in which nothing goes wrong."""
    hubspot = HubSpot.of(people(120), NOW, seconds=FakeClock().seconds)
    account = Account("hubspot", hubspot, tmp_path_factory.mktemp("whole"), FakeClock(), streams=("calls",))
    account.read()
    return account.rows("touches")


@given(st.lists(st.floats(0, 5), max_size=60), st.integers(1, 7))
def test_no_window_holds_more_calls_than_the_pace_allows(pauses: list[float], calls: int) -> None:
    clock, sent = FakeClock(), []
    pace = Pace(calls, 10, clock.clock())
    for pause in pauses:
        clock.wait(pause)
        pace.keep()
        sent.append(clock.at)
    assert all(later - earlier >= 10 - 1e-9 for earlier, later in zip(sent, sent[calls:], strict=False))


def test_a_share_of_the_day_s_calls_is_left_to_others() -> None:
    quota = Quota(10, 0.3, "2026-03-02", {"2026-03-01": 10})
    for _ in range(3):
        quota.spend("hubspot")
    with pytest.raises(
        Partly, match=r"^hubspot was called 3 times on 2026-03-02, which is the share of 30% of 10 calls"
    ):
        quota.spend("hubspot")
    assert quota.calls == {"2026-03-02": 3}


@pytest.mark.parametrize(
    "troubles",
    [{"too_fast": 3}, {"broken": 5}, {"lost": 2}, {"short_pages": True}, {"skew_seconds": -86_400}],
    ids=lambda troubles: next(iter(troubles)),
)
def test_what_goes_wrong_on_the_way_changes_nothing_of_what_arrives(
    account: Account, whole: list[dict[str, Any]], troubles: dict[str, float]
) -> None:
    for name, value in troubles.items():
        setattr(account.standin.switches, name, value)
    account.read()
    assert account.rows("touches") == whole


def test_pauses_grow_and_are_jittered(account: Account) -> None:
    account.standin.switches.broken = 6
    account.read()
    pauses = account.clock.waits[:6]
    assert all(2**n / 2 <= pause <= 2**n for n, pause in enumerate(pauses))


def test_a_system_that_stays_away_is_a_sentence(account: Account) -> None:
    account.standin.switches.broken = 99
    sentence = r"^hubspot was busy or away 7 times in a row, when asked to GET /crm/objects/2026-09/calls: .*\.$"
    with pytest.raises(Refused, match=sentence):
        account.read()


def test_as_long_as_the_system_asks_is_waited() -> None:
    replies = iter([httpx.Response(429, headers={"retry-after": "17"}), httpx.Response(200, json={})])
    clock = FakeClock()
    manners = Manners("x", "http://x", by_status, {"": (9, 1.0)}, lambda _: {})
    with httpx.Client(transport=httpx.MockTransport(lambda _: next(replies))) as http:
        session = Session(manners, http, Quota(9, 1, "2026-03-02"), NOW, clock.clock())
        assert session.ask("GET", "/") == {}
    assert clock.waits == [17.0]


def test_the_system_s_daily_limit_stops_with_a_sentence_and_keeps_what_came(
    account: Account, whole: list[dict[str, Any]]
) -> None:
    account.standin.switches.calls_a_day = 3
    with pytest.raises(
        Partly, match=r"^hubspot says that its calls for today are used up \(.*daily limit.*\)\. What was"
    ):
        account.read()
    assert account.count("touches") > 20
    account.standin.switches.calls_a_day = None
    account.read()
    assert account.rows("touches") == whole


class Killed(BaseException):
    """What ends a program at any moment."""


@pytest.mark.parametrize("pages", [1, 2, 4])
def test_a_read_that_is_killed_goes_on_without_loss_or_doubling(
    account: Account, whole: list[dict[str, Any]], pages: int
) -> None:
    def kill(_: str) -> None:
        nonlocal pages
        pages -= 1
        if pages == 0:
            raise Killed

    account.standin.switches.short_pages = True
    with pytest.raises(Killed):
        account.read(kill)
    spools = list((account.workspace / "connectors" / "hubspot").glob("*.jsonl"))
    for spool in spools:  # the next page was being written
        spool.write_text(spool.read_text() + '{"record": "contact", "id": "9')
    account.read()
    assert account.rows("touches") == whole
    assert max(Counter(account.standin.calls).values()) == len(whole) // 16 + 1  # no page was asked for twice


def test_pages_that_somebody_deleted_are_read_again(account: Account, whole: list[dict[str, Any]]) -> None:
    def kill(_: str) -> None:
        raise Killed

    with pytest.raises(Killed):
        account.read(kill)
    (account.workspace / "connectors" / "hubspot" / "hubspot-calls.jsonl").unlink()
    account.read()
    assert account.rows("touches") == whole


def test_a_second_read_begins_five_minutes_before_the_first_by_the_system_s_own_clock(account: Account) -> None:
    hubspot = account.standin
    assert isinstance(hubspot, HubSpot)
    account.standin.switches.skew_seconds = -3600
    account.read()
    state = json.loads((account.workspace / "connectors" / "hubspot" / "state.json").read_text())
    began = NOW - timedelta(hours=1)
    assert state["streams"]["calls"]["since"] == began.isoformat()
    before = account.count("touches")
    for number, minutes in (("9001", 4), ("9002", 6)):  # of which the index did not know yet
        told = {"hs_timestamp": "2026-03-01T00:00:00Z", "hs_createdate": "2026-03-01T00:00:00Z"}
        hubspot.put("calls", number, began - timedelta(minutes=minutes), **told)
        hubspot.link("calls", number, "contacts", "1")
    account.read()
    assert account.count("touches") == before + 1


def test_what_changes_while_it_is_read_is_read_the_next_time(account: Account) -> None:
    hubspot = account.standin
    assert isinstance(hubspot, HubSpot)

    def change(said: str) -> None:
        if said.startswith("hubspot: deals"):  # the contacts were read, and this one was among them
            account.clock.wait(600)
            hubspot.put("contacts", "1", hubspot.moment(), jobtitle="Changed in between")

    account.streams = ("contacts", "deals")
    account.read(change)
    account.clock.wait(86_400)
    account.read()
    assert [row for row in account.rows("leads") if "Changed in between" in (row["attributes"] or "")]


def test_two_reads_of_one_system_do_not_run_at_once(account: Account) -> None:
    sentence = r"^Another ingest or sync works in .*/connectors/hubspot\. Wait until it is done\.$"
    with account.open(), pytest.raises(DataError, match=sentence):
        account.read()


def test_a_state_that_nobody_can_read_says_what_to_do(account: Account) -> None:
    (account.workspace / "connectors" / "hubspot").mkdir(parents=True)
    (account.workspace / "connectors" / "hubspot" / "state.json").write_text('{"streams": {"calls": {"sinse": ""}}}')
    with pytest.raises(DataError, match=r"state\.json cannot be understood .* Mend it, or delete it: then everything"):
        account.read()


def test_a_secret_is_never_told(account: Account, caplog: pytest.LogCaptureFixture) -> None:
    canary = "canary-1f0a7c"
    names = ("HUBSPOT_CLIENT_ID", "HUBSPOT_CLIENT_SECRET", "HUBSPOT_REFRESH_TOKEN")
    account.secrets = {name: f"{canary}-{name[8:].lower()}" for name in names}
    assert isinstance(account.standin, HubSpot)
    account.standin.refresh_token, account.standin.token = account.secrets[names[2]], f"{canary}-token"
    with caplog.at_level(logging.DEBUG):
        account.read()
        account.standin.switches.expired = 9
        with pytest.raises(Refused) as refused:
            account.read()
    assert canary not in caplog.text + str(refused.value)
    files = [file for file in account.workspace.rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if canary.encode() in file.read_bytes()]


@pytest.mark.parametrize("name", ["salesforce", "marketo", "mailchimp"])
def test_no_other_system_s_secret_is_told_either(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    canary, client = "canary-1f0a7c", ("canary-1f0a7c-id", "canary-1f0a7c-secret")
    seconds = FakeClock().seconds
    standin = {
        "salesforce": lambda: Salesforce(NOW, seconds=seconds, client=client, token=f"{canary}-token"),
        "marketo": lambda: Marketo(NOW, seconds=seconds, client=client, token=f"{canary}-token"),
        "mailchimp": lambda: Mailchimp(NOW, seconds=seconds, key=f"{canary}-us1"),
    }[name]()
    configured = {"audience": "a1b2c3"} if name == "mailchimp" else {"base_url": "https://standin.example"}
    secrets = {f"{name.upper()}_CLIENT_ID": client[0], f"{name.upper()}_CLIENT_SECRET": client[1]}
    secrets |= {"MAILCHIMP_API_KEY": f"{canary}-us1"}
    account = Account(name, standin, tmp_path, FakeClock(), configured, secrets)
    with caplog.at_level(logging.DEBUG):
        account.read()
        standin.switches.expired = 9
        with pytest.raises(Refused) as refused:
            account.read()
    assert "HTTP Request" in caplog.text
    assert canary not in caplog.text + str(refused.value)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and canary.encode() in file.read_bytes()]


def test_a_system_that_repeats_a_token_in_its_error_is_not_quoted_with_it() -> None:
    manners = Manners(
        "x", "http://x", by_status, {"": (9, 1.0)}, lambda _: {"authorization": "Bearer t0ken"}, ("s3cret",)
    )
    reply = httpx.Response(400, text="bad call with t0ken and s3cret")
    with httpx.Client(transport=httpx.MockTransport(lambda _: reply)) as http:
        session = Session(manners, http, Quota(9, 1, "2026-03-02"), NOW, Clock())
        with pytest.raises(Refused, match=r"^x refused with 400, when asked to GET /a: bad call with … and …\.$"):
            session.ask("GET", "/a?secret=s3cret")
