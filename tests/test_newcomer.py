"""A stranger's export reaches first scores, or a sentence that says what to change."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import exports
import pytest

from connectors.proposal import proposal
from connectors.sheet import encoding_of, opened
from features.errors import DataError
from features.history import microseconds
from features.lake import Lake
from features.reading import read_history
from features.settings import Settings, read_settings
from serving.scorer import champion
from training.snapshots import labelled

Command = Callable[..., tuple[int, str]]
NOW = datetime(2026, 11, 1, tzinfo=UTC)
HEADER = ["Lead ID", "Created", "Lead Status", "Close Date"]
ROWS = [["1", "2026-01-01", "Closed Won", "2026-01-09"], ["2", "2026-01-02", "Closed Lost", "2026-01-31"]]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train small: what is learned is claimed elsewhere."""
    monkeypatch.setenv("TOUCHSTONE_TRAINING__TREES", "5")
    monkeypatch.setenv("TOUCHSTONE_TRAINING__MEMBERS", "2")
    monkeypatch.setenv("TOUCHSTONE_TRAINING__OUTLOOK_DAYS", "[30]")


def scored(command: Command, workspace: Path, sheet: Path) -> list[dict[str, Any]]:
    """Go a newcomer's way, command by command, and return the scores."""
    for words in (("init", "--from", str(sheet)), ("ingest", str(sheet)), ("train", "--as-of", NOW.isoformat())):
        status, printed = command(*words, workspace=workspace)
        assert status == 0, printed
    status, printed = command("score", "--as-of", NOW.isoformat(), "--json", workspace=workspace)
    assert status == 0
    return list(json.loads(printed)["scores"])


def guess(folder: Path, header: list[str], rows: list[list[str]], **how: Any) -> Any:
    with opened(exports.write(folder / "leads.csv", header, rows, **how)) as sheet:
        return proposal(sheet, NOW)


def refusal(folder: Path, header: list[str], rows: list[list[str]]) -> str:
    with pytest.raises(DataError, match=r"Nothing was written\.$") as refused:
        guess(folder, header, rows)
    return str(refused.value)


def held(workspace: Path, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in Lake(workspace / "lake").query(sql).to_pylist()]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("export", "named", "whole_days"),
    [(exports.american, "00Q{:05}", False), (exports.german, "{}", True), (exports.repeated, "{}", True)],
    ids=["american", "german", "repeated"],
)
def test_a_messy_export_reaches_first_scores_and_nothing_of_it_is_misread(
    export: Callable[[Path], Path], named: str, whole_days: bool, command: Command, tmp_path: Path
) -> None:
    leads = exports.leads()
    scores = scored(command, tmp_path, export(tmp_path))
    assert {row["lead_id"] for row in scores} == {named.format(lead.number) for lead in leads if not lead.ended}
    created = dict(held(tmp_path, "SELECT DISTINCT lead_id, strftime(created_at, '%Y-%m-%d %H:%M') FROM leads"))
    form = "%Y-%m-%d 00:00" if whole_days else "%Y-%m-%d %H:%M"
    assert created == {named.format(lead.number): lead.created.strftime(form) for lead in leads}
    won = {named.format(lead.number) for lead in leads if lead.ended and lead.won}
    assert {lead for (lead,) in held(tmp_path, "SELECT lead_id FROM stages WHERE stage = 'won'")} == won
    lines = champion(tmp_path / "models").spec.features
    assert {line.name for line in lines} & {"attributes_known", "last_call_result", "größe"} == set()
    if export is not exports.repeated:
        closed = dict(held(tmp_path, "SELECT lead_id, strftime(occurred_at, '%Y-%m-%d') FROM stages"))
        assert closed == {named.format(lead.number): f"{lead.ended:%Y-%m-%d}" for lead in leads if lead.ended}
        ((amount,),) = held(tmp_path, "SELECT sum(amount) FROM stages")
        assert float(amount) == sum(lead.amount for lead in leads if lead.ended and lead.won)
        assert dict(held(tmp_path, "SELECT channel, count(*) FROM touches GROUP BY 1"))["Unknown"] == sum(
            not lead.source for lead in leads
        )


def test_leads_without_the_day_of_their_close_are_learned_from_by_how_they_ended(
    command: Command, tmp_path: Path
) -> None:
    rows = [[f"{n}", f"2026-0{1 + n % 9}-03", ["Won", "Lost", "New"][n % 3]] for n in range(90)]
    sheet = exports.write(tmp_path / "x.csv", ["Id", "Created On", "Result"], rows)
    command("init", "--from", str(sheet), workspace=tmp_path)
    command("ingest", str(sheet), workspace=tmp_path)
    learned = labelled(read_history(Lake(tmp_path / "lake")), read_settings(tmp_path), microseconds(NOW))
    assert (len(learned.labels), learned.labels.sum()) == (60, 30)


def test_attributes_count_from_creation_only_where_they_are_surely_set_then(command: Command, tmp_path: Path) -> None:
    header = [*HEADER, "Country", "Calls"]
    rows = [[*row, "DE", "7"] for row in ROWS] + [["3", "2026-03-05", "New", "2027-01-01", "FR", "0"]]
    sheet = exports.write(tmp_path / "leads.csv", header, rows)
    command("init", "--from", str(sheet), workspace=tmp_path)
    command("ingest", str(sheet), workspace=tmp_path)
    versions = held(
        tmp_path, "SELECT strftime(observed_at, '%Y-%m-%d'), attributes FROM leads WHERE lead_id = '1' ORDER BY 1"
    )
    assert [(day, json.loads(attributes)) for day, attributes in versions] == [
        ("2026-01-01", {"country": "DE"}),
        ("2026-03-05", {"country": "DE", "calls": "7"}),  # the newest date but for the expected close of who is open
    ]


def test_init_shows_what_it_guessed_and_writes_it_where_nobody_can_be_asked(command: Command, tmp_path: Path) -> None:
    status, printed = command("init", "--from", str(exports.german(tmp_path)), workspace=tmp_path)
    assert status == 0
    assert all(words in printed for words in ("How Anfragen.csv is read", "day first, as 13.", "won: gewonnen;"))
    assert f"touchstone ingest {tmp_path}/Anfragen.csv --workspace {tmp_path}" in printed
    settings = Settings(**tomllib.loads((tmp_path / "touchstone.toml").read_text("utf-8")))
    assert [source.table for source in settings.sources] == ["leads", "leads", "touches", "stages"]
    assert {source.encoding for source in settings.sources} == {"cp1252"}
    assert settings.attribution.currency == "EUR"


def test_the_commands_that_init_prints_can_be_pasted_though_a_name_has_spaces(command: Command, tmp_path: Path) -> None:
    sheet = exports.german(tmp_path).rename(tmp_path / "Meine Anfragen.csv")
    _, printed = command("init", "--from", str(sheet), workspace=tmp_path)
    assert f"touchstone ingest '{sheet}' --workspace {tmp_path}\n" in printed


@pytest.mark.parametrize(("typed", "status"), [("n\n", 4), ("y\n", 0), ("\n", 0), ("", 4)])
def test_on_a_terminal_init_asks_first_and_takes_an_empty_line_for_yes_but_not_the_end_of_input(
    typed: str, status: int, command: Command, tmp_path: Path, on_a_terminal: Callable[[str], None]
) -> None:
    on_a_terminal(typed)
    sheet = exports.write(tmp_path / "leads.csv", HEADER, ROWS)
    assert command("init", "--from", str(sheet), workspace=tmp_path)[0] == status
    assert (tmp_path / "touchstone.toml").exists() == (status == 0)


def test_init_with_yes_asks_nobody(command: Command, tmp_path: Path, on_a_terminal: Callable[[str], None]) -> None:
    on_a_terminal("n\n")
    sheet = exports.write(tmp_path / "leads.csv", HEADER, ROWS)
    status, printed = command("init", "--from", str(sheet), "--yes", "--json", workspace=tmp_path)
    assert (status, sorted(json.loads(printed))) == (0, ["found", "notes", "written"])


@pytest.mark.parametrize(
    ("written", "order"),
    [
        (["3/4/2026", "3/14/2026 3:05 PM"], "month first"),
        (["3.4.26", "14.4.26"], "day first"),
        (["04/03/2026 10:00", "14/03/2026 10:00:30"], "day first"),
        (["2026/03/04"], "year first"),
        (["4 Mar 2026", "12 March 2026"], "month named"),
        (["2026-03-04T10:00:00Z", "2026-03-04 10:00+01:00"], "year first"),
    ],
)
def test_dates_are_read_as_they_are_written(written: list[str], order: str, tmp_path: Path) -> None:
    rows = [[str(number), date, "Won", date] for number, date in enumerate(written)]
    found = guess(tmp_path, HEADER, rows).found
    how = {what: how for what, _, how in found}["created"]
    assert how.partition(",")[0] in {order, "as it is"}


def test_the_order_of_one_column_s_dates_settles_another_s(tmp_path: Path) -> None:
    rows = [["1", "03/04/2026", "Won", "15/04/2026"]]
    assert ("created", "Created", "day first, as 03/04/2026 shows") in guess(tmp_path, HEADER, rows).found


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("$1,234.50", "1234.50"),
        ("1.234,50 €", "1234.50"),
        ("CHF 1'234.50", "1234.50"),
        ("99", "99"),
        ("-5,25", "-5.25"),
    ],
)
def test_numbers_are_read_as_they_are_written(written: str, amount: str, tmp_path: Path) -> None:
    with opened(exports.write(tmp_path / "x.csv", ["a", "b"], [["x", written]])) as sheet:
        assert sheet.ask(f"SELECT {sheet.number_sql('b')} FROM file_rows") == (amount,)


@pytest.mark.parametrize(
    ("encoding", "found"), [("utf-8", None), ("utf-8-sig", None), ("cp1252", "cp1252"), ("utf-16", "utf-16")]
)
def test_the_encoding_of_a_spreadsheet_is_found(encoding: str, found: str | None, tmp_path: Path) -> None:
    sheet = exports.write(tmp_path / "x.csv", ["Größe", "b"], [["ü", "1"]], encoding=encoding)
    assert encoding_of(sheet) == found
    with opened(sheet) as rows:
        assert rows.values("Größe", 1) == ["ü"]


def test_while_a_sheet_is_open_no_other_file_can_be_read(tmp_path: Path) -> None:
    other = exports.write(tmp_path / "other.csv", ["a", "b"], [["x", "1"]])
    with (
        opened(exports.write(tmp_path / "x.csv", ["a", "b"], [["x", "1"]])) as sheet,
        pytest.raises(duckdb.PermissionException, match="disabled by configuration"),
    ):
        sheet.ask(f"SELECT count(*) FROM '{other}'")


def test_a_state_is_a_region_or_an_outcome_by_its_values(tmp_path: Path) -> None:
    rows = [["1", "2026-01-01", "Won", "2026-01-09", "x"], ["2", "2026-01-02", "Lost", "2026-01-31", "y"]]
    found = guess(tmp_path, ["ID", "Created", "State", "Closed On", "Region"], rows).found
    assert ("outcome", "State", "won: Won; lost: Lost; others are open") in found
    assert (
        "known from export",
        "Region",
        "",
    ) in found  # the other is no attribute


def test_a_date_of_the_win_alone_says_who_was_won(tmp_path: Path) -> None:
    rows = [["1", "2026-01-01", "2026-01-09"], ["2", "2026-01-02", ""]]
    draft = guess(tmp_path, ["ID", "Created", "Won Date"], rows)
    assert ("outcome", "Won Date", "won where there is a date") in draft.found
    assert draft.dated


def test_rows_dated_after_today_are_said(tmp_path: Path) -> None:
    assert guess(tmp_path, HEADER, [*ROWS, ["3", "2062-01-01", "New", ""]]).notes == [
        "1 rows are dated after today (first: 2062-01-01). Correct them before you ingest the file.",
        "No column says through which channel a lead came; attribution has nothing to tell apart.",
    ]


def test_an_export_of_opportunities_is_told_apart_by_their_ids(tmp_path: Path) -> None:
    header = ["opportunity_id", "sales_agent", "deal_stage", "engage_date", "close_date"]
    rows = [
        ["1C1I7A6R", "Moses Frase", "Won", "2026-01-02", "2026-03-01"],
        ["Z063OYW0", "Ann", "Lost", "2026-01-05", ""],
    ]
    found = guess(tmp_path, header, rows).found
    assert [(what, column) for what, column, _ in found[:4]] == [
        ("lead", "opportunity_id"), ("created", "engage_date"), ("closed", "close_date"), ("outcome", "deal_stage"),
    ]  # fmt: skip


def test_of_a_file_that_ends_long_ago_it_is_said_as_of_when_to_train(tmp_path: Path) -> None:
    old = guess(tmp_path, HEADER, [["1", "2025-01-01", "Closed Won", "2025-12-31"], ["2", "2025-01-01", "Open", ""]])
    assert old.ended == "2026-01-01"
    assert old.notes[0] == (
        "The newest row is of 2025-12-31. Give train and score --as-of 2026-01-01: all that came later would count as "
        "time in which nobody was won."
    )
    assert guess(tmp_path, HEADER, [["1", "2026-01-01", "Closed Won", "2026-10-01"]]).ended == ""


def test_ids_that_stand_for_several_people_give_way_to_e_mail(tmp_path: Path) -> None:
    with opened(exports.repeated(tmp_path, of_several_people=True)) as sheet:
        draft = proposal(sheet, NOW)
    assert ("lead", "Email", "in lower case") in draft.found
    assert draft.notes[0] == (
        "ID 0 is person200@example.com and person400@example.com (200 such ids stand for several people): "
        "leads are told apart by Email instead."
    )


def test_rows_of_one_lead_are_taken_together_and_said(tmp_path: Path) -> None:
    with opened(exports.repeated(tmp_path)) as sheet:
        assert proposal(sheet, NOW).notes[0] == (
            "15 leads stand in several rows (first: 1, 2 rows). The rows of a lead are taken together: it is won if "
            "any of them is won."
        )


def test_ids_that_stand_for_several_people_without_e_mail_are_refused(tmp_path: Path) -> None:
    sheet = exports.repeated(tmp_path, of_several_people=True, mailed=False)
    with opened(sheet) as rows, pytest.raises(DataError, match=r"Give each lead of deals\.csv an id of its own\."):
        proposal(rows, NOW)


LACKS = "leads.csv does not say enough. {} The file has {}. Nothing was written."
NO_ID = "No column tells leads apart: call one lead_id, or add one that numbers the rows."
NO_CREATION = "No column says when a lead was created, as a date: call one created_at."
NO_OUTCOME = (
    "No column says which leads were won, in words such as Won, Lost or Customer: call one status, or won if it says "
    "yes and no."
)
NO_END = (
    "No column says when leads were won or which were lost, so that nothing can be learned: add one called closed_at "
    "with the day of the outcome."
)


@pytest.mark.parametrize(
    ("header", "row", "sentence"),
    [
        (["Name", *HEADER[1:]], ["A", *ROWS[0][1:]],
         LACKS.format(NO_ID, "Name, Created, Lead Status, Close Date")),
        (["ID", "Status"], ["1", "Won"], LACKS.format(f"{NO_CREATION} {NO_END}", "ID, Status")),
        (["ID", "Created", "Phase"], ["1", "2026-01-01", "7"], LACKS.format(NO_OUTCOME, "ID, Created, Phase")),
        (["ID", "Created", "Converted"], ["1", "2026-01-01", "yes"], LACKS.format(NO_END, "ID, Created, Converted")),
        (["age", "y"], ["56", "no"], LACKS.format(f"{NO_ID} {NO_CREATION} {NO_OUTCOME}", "age, y")),
        (["ID", "Created", "Status"], ["1", "03/04/2026", "Won"],
         ('The dates in Created (such as "03/04/2026") can be read month first or day first. '
         "Write them as 2026-02-28 in leads.csv. Nothing was written.")),
    ],
    ids=["no id", "no creation", "no outcome", "no end", "nothing of it", "no order"],
)  # fmt: skip
def test_what_cannot_be_guessed_is_asked_for(header: list[str], row: list[str], sentence: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, header, [row]) == sentence


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("absent.csv", None, "There is no file {}. Name the CSV file that you exported."),
        ("leads.xlsx", "PK", "{} is not called .csv or .tsv. Save the sheet as CSV, and name that file."),
        ("leads.csv", "ID,Created\n",
         "{} names columns and has no rows that can be read. Export it again, with its leads."),
        ("leads.csv", "sep=;\nID;Created\n1;2026-01-01\n",
         "{} begins with sep=;, which is for Excel alone. Delete that line. Nothing was written."),
        ("leads.csv", "ID^Created\n1^2026-01-01\n",
         ("{} has one column only, ID^Created. Save it with commas, semicolons or tabs between columns, and their "
          "names in the first line.")),
        ("leads.csv", "ID,,Email,email\n",
         ("{} cannot be read as csv: column 2 has no name: name or delete it; Email and email are one name to the "
         "database: rename all but one. None of its rows were stored.")),
    ],
    ids=["absent", "a workbook", "no rows", "for Excel", "one column", "names"],
)  # fmt: skip
def test_a_file_that_is_no_sheet_is_refused_with_what_to_do(
    name: str, text: str | None, sentence: str, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    status, printed = command("init", "--from", str(file), workspace=tmp_path)
    assert (status, printed) == (1, f"DataError: {sentence.format(file)}\n")
    assert not (tmp_path / "touchstone.toml").exists()
