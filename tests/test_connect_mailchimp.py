"""Mailchimp: what each of its calls gives, and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from connected import NOW, Account, FakeClock, scored

from connectors.session import Refused
from connectors.standins.mailchimp import Mailchimp
from features.errors import ConfigError

CONFIGURED = {"audience": "a1b2c3"}


def day(number: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)


@pytest.fixture
def mailchimp() -> Mailchimp:
    """Return an audience of Ada, who reads her mail, and of Bob, who left."""
    mailchimp = Mailchimp(NOW, seconds=FakeClock().seconds)
    ada = mailchimp.join("Ada@example.com", day(1), INDUSTRY="Mining", HOBBY="not asked for")
    bob = mailchimp.join("bob@example.com", day(2))
    mailchimp.people[bob] |= {"status": "unsubscribed", "last_changed": day(5).isoformat()}
    for member in (ada, bob):
        mailchimp.send(day(3.5), member, "Spring mail")
    mailchimp.act(day(3.6), ada, "open")
    mailchimp.act(day(3.7), ada, "click")
    return mailchimp


@pytest.fixture
def account(mailchimp: Mailchimp, tmp_path: Path) -> Account:
    """Return that audience's account."""
    return Account("mailchimp", mailchimp, tmp_path, FakeClock(), CONFIGURED)


def test_members_and_what_they_did_with_mail_become_rows(account: Account, mailchimp: Mailchimp) -> None:
    assert [result for result in account.read() if result.refused] == []
    ada, bob = (f"mailchimp:{member}" for member in mailchimp.people)
    assert sorted(account.told("leads", "lead_id", "observed_at", "attributes"), key=str) == sorted(
        [
            (ada, day(1), '{"source":"Web"}'),
            (ada, NOW, '{"INDUSTRY":"Mining","email":"Ada@example.com","opted_out":"no"}'),
            (bob, day(2), '{"source":"Web"}'),
            (bob, NOW, '{"email":"bob@example.com","opted_out":"yes"}'),
        ],
        key=str,
    )
    touches = account.told("touches", "occurred_at", "kind", "lead_id", "channel", "campaign")
    assert touches == [
        *sorted((day(3), "email_sent", member, "Email", "Spring mail") for member in (ada, bob)),
        (day(3.6), "email_open", ada, "Email", "Spring mail"),
        (day(3.7), "email_click", ada, "Email", "Spring mail"),
    ]


def test_later_only_the_last_campaigns_are_asked_for_and_only_since(account: Account, mailchimp: Mailchimp) -> None:
    account.read()
    mailchimp.calls.clear()
    mailchimp.act(NOW, next(iter(mailchimp.people)), "open")
    account.read()
    assert [call for call in mailchimp.calls if "reports" in call] == [
        "GET /3.0/reports/c260302/email-activity",
        "GET /3.0/reports/c260104/email-activity",
    ][::-1]
    assert account.count("touches") == 5


@pytest.mark.parametrize("times", [1, 2])
def test_a_429_and_a_bare_403_both_mean_to_come_later(account: Account, mailchimp: Mailchimp, times: int) -> None:
    account.streams, mailchimp.switches.too_fast = ("members",), times
    account.read()
    assert len(mailchimp.calls) == times + 1


def test_scores_are_written_by_a_batch_with_a_tag_of_the_grade(account: Account, mailchimp: Mailchimp) -> None:
    account.streams = ("members",)
    others = [mailchimp.join(f"p{number}@example.com", day(6)) for number in range(3)]
    account.read()
    mailchimp.switches.refused = {others[0]}
    scored(account, {f"mailchimp:{member}": 0.25 for member in mailchimp.people})
    synced = account.sync()
    assert (synced.written, synced.refused, synced.withheld) == (3, 1, 1)
    assert synced.reasons == ["Your merge fields were invalid. SCOREGRADE: Value must be one of: Hot, Cold"]
    assert mailchimp.tags == {member: {"grade-B"} for member in [next(iter(mailchimp.people)), *others[1:]]}
    assert mailchimp.people[others[1]]["merge_fields"] == {
        "CLOSEPROB": 0.25,
        "SCOREGRADE": "B",
        "SCORETREND": "steady",
        "SCOREWHY": "Looked at the prices, raises the odds 2 times",
        "SCOREMODEL": "v1",
        "SCOREDAT": "2026-03-02T12:00:00Z",
    }
    scored(account, {f"mailchimp:{others[1]}": 0.5}, grade="A", days=0.001)
    mailchimp.switches.refused = set()
    assert account.sync().written == 2
    assert mailchimp.tags[others[1]] == {"grade-A"}


def test_what_is_too_long_for_a_merge_field_ends_where_a_clause_does(account: Account, mailchimp: Mailchimp) -> None:
    account.streams = ("members",)
    account.read()
    member = next(iter(mailchimp.people))
    long = "Opened an e-mail so far: 14 (usually 0), raises the odds 1.39 times; of such leads 12% close, of all 8%"
    scored(account, {f"mailchimp:{member}": 0.25}, why={f"{long} ": 0.3, f"{long} .": 0.2, f"{long} !": 0.1})
    account.sync()
    assert mailchimp.people[member]["merge_fields"]["SCOREWHY"] == f"{long} ; {long} ."


def test_a_clause_that_is_too_long_for_a_merge_field_is_cut(account: Account, mailchimp: Mailchimp) -> None:
    account.streams = ("members",)
    account.read()
    member = next(iter(mailchimp.people))
    scored(account, {f"mailchimp:{member}": 0.25}, why={f"Landing page: /{'a' * 300}": 0.3})
    account.sync()
    assert mailchimp.people[member]["merge_fields"]["SCOREWHY"] == f"Landing page: /{'a' * 300}"[:255]


def test_a_wrong_key_is_a_sentence_without_the_key(account: Account) -> None:
    account.secrets = {"MAILCHIMP_API_KEY": "wrong-us1"}
    with pytest.raises(
        Refused, match=r"^mailchimp refused with 401, when asked to GET /3\.0/lists/a1b2c3/members: .*Invalid"
    ):
        account.read()


def test_the_end_of_the_key_tells_the_address_and_the_audience_has_to_be_set(account: Account) -> None:
    with account.open() as (system, _):
        assert system.session.manners.base_url == "https://us1.api.mailchimp.com"
    account.configured = {}
    with pytest.raises(ConfigError, match=r"^Set connectors\.mailchimp\.audience to the id of an audience"):
        account.read()
