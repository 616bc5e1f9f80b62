"""Write-back: what is written, what is not, and what is known of it afterwards."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from connected import NOW, Account, FakeClock, account_of, scored

from connectors.hubspot import HubSpot as Connector
from connectors.session import Refused
from connectors.standins.hubspot import HubSpot
from connectors.standins.mailchimp import Mailchimp
from connectors.standins.marketo import Marketo
from connectors.standins.salesforce import Salesforce
from connectors.standins.standin import Standin
from features.erasure import erase
from features.errors import Partly
from features.ingestion import ingest

NATIVE = {"hubspotscore": "41", "lifecyclestage": "lead"}


@pytest.fixture
def hubspot() -> HubSpot:
    """Return HubSpot with six contacts; the fifth does not want mail."""
    hubspot = HubSpot(NOW, seconds=FakeClock().seconds)
    for number in range(1, 7):
        optout = "true" if number == 5 else None
        hubspot.put("contacts", str(number), NOW, email=f"p{number}@example.com", hs_email_optout=optout, **NATIVE)
    return hubspot


@pytest.fixture
def account(hubspot: HubSpot, tmp_path: Path) -> Account:
    """Return an account whose contacts were read and scored."""
    account = Account("hubspot", hubspot, tmp_path, FakeClock(), streams=("contacts",))
    account.read()
    scored(account, {f"hubspot:{number}": number / 10 for number in range(1, 7)})
    return account


def probabilities(hubspot: HubSpot) -> dict[str, str]:
    """Return the probability that each contact bears."""
    told = ((number, one["properties"]) for number, one in hubspot.objects["contacts"].items())
    return {number: values["ml_close_probability"] for number, values in told if "ml_close_probability" in values}


def test_a_score_is_written_with_all_that_sales_needs(account: Account, hubspot: HubSpot) -> None:
    account.sync()
    told = hubspot.objects["contacts"]["1"]["properties"]
    assert {name: value for name, value in told.items() if name.startswith("ml_")} == {
        "ml_close_probability": "0.1",
        "ml_score_grade": "B",
        "ml_score_trend": "steady",
        "ml_score_top_factors": "Looked at the prices, raises the odds 2 times",
        "ml_score_model_version": "v1",
        "ml_scored_at": "1772452800000",
    }
    assert NATIVE.items() <= told.items()  # fields of others are as they were


def test_the_strongest_reasons_are_written_whichever_way_they_go(account: Account, hubspot: HubSpot) -> None:
    why = {"Seen lately": 0.3, "Looked at the prices": 0.2, "Small": 0.1, "Silent for long": -0.9, "Student": -0.25}
    scored(account, {"hubspot:1": 0.02}, grade="D", days=0.001, why=why)
    account.sync()
    told = hubspot.objects["contacts"]["1"]["properties"]
    assert told["ml_score_top_factors"] == "Silent for long; Seen lately; Student"


def test_nothing_but_our_own_fields_is_written(account: Account, hubspot: HubSpot) -> None:
    before = {number: dict(one["properties"]) for number, one in hubspot.objects["contacts"].items()}
    account.sync()
    for number, one in hubspot.objects["contacts"].items():
        assert {k: v for k, v in one["properties"].items() if not k.startswith("ml_")} == before[number]


def test_who_opted_out_is_not_written(account: Account, hubspot: HubSpot) -> None:
    synced = account.sync()
    assert (synced.written, synced.withheld) == (5, 1)
    assert "5" not in probabilities(hubspot)


def test_who_objected_since_the_score_is_not_written(account: Account, hubspot: HubSpot) -> None:
    file = account.workspace / "leads.csv"
    file.write_text("lead_id,created_at,is_change,objects_to_profiling\nhubspot:2,2026-03-02T12:00:00Z,true,yes\n")
    ingest(account.lake, account.settings, [file], NOW)
    account.sync()
    assert sorted(probabilities(hubspot)) == ["1", "3", "4", "6"]


def test_who_was_erased_is_not_written_and_leaves_the_journal(account: Account, hubspot: HubSpot) -> None:
    account.sync()
    hubspot.objects["contacts"]["3"]["properties"].pop("ml_close_probability")
    erase(account.lake, "p3@example.com")
    scored(account, {f"hubspot:{number}": 0.9 for number in (1, 3)}, days=0.1)
    account.sync()
    assert "3" not in probabilities(hubspot)
    assert "hubspot:3" not in (account.workspace / "connectors" / "hubspot" / "written.jsonl").read_text()


def test_who_is_erased_while_scores_are_written_is_not_written(
    account: Account, hubspot: HubSpot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connector, "batch", lambda *_: 3)
    persons = iter(["p6@example.com"])
    account.sync(say=lambda _: [erase(account.lake, person) for person in persons] and None)
    assert sorted(probabilities(hubspot)) == ["1", "2", "3", "4"]


def test_who_was_merged_bears_the_score_of_who_they_are(account: Account, hubspot: HubSpot) -> None:
    file = account.workspace / "identities.csv"
    file.write_text("duplicate_id,lead_id,observed_at\nhubspot:2,hubspot:6,2026-03-01T00:00:00Z\n")
    ingest(account.lake, account.settings, [file], NOW)
    account.sync()
    assert (probabilities(hubspot)["2"], probabilities(hubspot)["6"]) == ("0.6", "0.6")


@pytest.mark.parametrize(
    ("moved", "grade", "writes"),
    [(0.019, "B", 0), (0.02, "B", 1), (-0.02, "B", 1), (0.001, "A", 1)],
    ids=["less than the band", "the band up", "the band down", "another grade"],
)
def test_a_score_is_written_again_once_it_moved_by_the_band_or_its_grade_changed(
    account: Account, moved: float, grade: str, writes: int
) -> None:
    account.sync()
    scored(account, {"hubspot:1": 0.1 + moved}, grade, days=1)
    assert account.sync().written == writes


def test_small_moves_are_measured_from_what_was_written_last(account: Account) -> None:
    account.sync()
    for step in range(1, 4):
        scored(account, {"hubspot:1": 0.1 + step * 0.008}, days=step)
        assert account.sync().written == (step == 3)


def test_a_dry_run_tells_the_difference_and_writes_nothing(account: Account, hubspot: HubSpot) -> None:
    account.sync()
    hubspot.calls.clear()
    scored(account, {"hubspot:1": 0.4}, "A", days=1)
    (change,) = account.sync(dry=True).changes
    assert hubspot.calls == []
    told = ("lead_id", "probability_before", "probability", "grade_before", "grade")
    assert [change[name] for name in told] == ["hubspot:1", 0.1, 0.4, "B", "A"]


def test_a_refused_record_is_kept_with_its_reason_and_tried_again(account: Account, hubspot: HubSpot) -> None:
    hubspot.switches.refused = {"2"}
    synced = account.sync()
    assert (synced.written, synced.refused, synced.reasons) == (4, 1, ["Validation rule: no scores"])
    kept = (account.workspace / "connectors" / "hubspot" / "refused.jsonl").read_text()
    assert [json.loads(line) for line in kept.splitlines()] == [
        {"lead_id": "hubspot:2", "why": "Validation rule: no scores"}
    ]
    hubspot.switches.refused = set()
    assert (account.sync().written, probabilities(hubspot)["2"]) == (1, "0.2")
    assert (account.workspace / "connectors" / "hubspot" / "refused.jsonl").read_text() == ""


def test_a_call_that_is_refused_as_a_whole_is_halved_until_the_record_is_found(
    account: Account, hubspot: HubSpot, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Connector.write

    def refusing(self: Connector, scores: list[object]) -> list[str]:
        if any(score.record == "4" for score in scores):  # type: ignore[attr-defined]
            raise Refused("hubspot refused with 400: wrong.", 400)
        return write(self, scores)  # type: ignore[arg-type]

    monkeypatch.setattr(Connector, "write", refusing)
    synced = account.sync()
    assert (synced.written, synced.refused, synced.reasons) == (4, 1, ["hubspot refused with 400: wrong."])
    assert sorted(probabilities(hubspot)) == ["1", "2", "3", "6"]


def test_the_daily_limit_leaves_the_rest_for_tomorrow(account: Account, hubspot: HubSpot) -> None:
    hubspot.switches.calls_a_day = len(hubspot.calls) + 3
    with pytest.raises(Partly, match=r"^hubspot says that its calls for today are used up"):
        account.sync()
    hubspot.switches.calls_a_day = None
    assert account.sync().written == 5


def test_a_reply_that_was_lost_is_asked_for_again_and_written_once_in_the_journal(
    account: Account, hubspot: HubSpot
) -> None:
    hubspot.switches.lost = 2
    assert account.sync().written == 5
    lines = (account.workspace / "connectors" / "hubspot" / "written.jsonl").read_text().splitlines()
    assert len(lines) == len({json.loads(line)["lead_id"] for line in lines}) == 5


def test_a_line_that_a_killed_run_wrote_half_is_not_believed(account: Account) -> None:
    account.sync()
    journal = account.workspace / "connectors" / "hubspot" / "written.jsonl"
    journal.write_text(journal.read_text()[:-20])
    assert account.sync().written == 1


@pytest.mark.parametrize("name", ["hubspot", "salesforce", "marketo", "mailchimp"])
def test_what_we_write_is_no_news_when_it_is_read_again_and_what_others_write_is(name: str, tmp_path: Path) -> None:
    account = account_of(name, tmp_path, 8)
    account.streams = ("leads", "contacts", "members")
    account.read()
    before = account.rows("leads")
    scored(account, {row["lead_id"]: 0.3 for row in before})
    assert account.sync().written > 0
    account.clock.wait(3_600)
    account.as_of += timedelta(hours=1)
    assert [one.stored for one in account.read() if one.table in {"leads", "identities"} and one.stored] == []
    assert account.rows("leads") == before
    modify(account.standin)
    account.as_of += timedelta(hours=1)
    account.clock.wait(3_600)
    account.streams += ("changes",)  # where Marketo tells them
    account.read()
    assert [row for row in account.rows("leads") if "Astrology" in row["attributes"]]


def modify(standin: Standin) -> None:
    """Let somebody else set the industry of one person."""
    if isinstance(standin, HubSpot):
        standin.put("contacts", "1", standin.moment(), industry="Astrology")
    elif isinstance(standin, Salesforce):
        standin.put("Lead", next(iter(standin.objects["Lead"])), standin.moment(), Industry="Astrology")
    elif isinstance(standin, Marketo):
        standin.change(next(iter(standin.people)), standin.moment(), "industry", "Astrology")
    elif isinstance(standin, Mailchimp):
        member = next(iter(standin.people.values()))
        member["merge_fields"]["INDUSTRY"], member["last_changed"] = "Astrology", standin.moment().isoformat()


def test_lines_are_news_again_once_everything_is_read_anew(tmp_path: Path) -> None:
    account = account_of("salesforce", tmp_path, 8)
    account.streams = ("leads",)
    account.read()
    shutil.rmtree(tmp_path / "lake")
    (tmp_path / "connectors" / "salesforce" / "state.json").unlink()
    account.read()
    assert account.told("leads", "count(DISTINCT lead_id)") == [(8,)]
