"""Ingestion: good rows go in once, refused rows are kept with a sentence, and nothing is lost."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from features import delimited
from features.contract import ROW_HASH, TABLES
from features.delimited import NOT_UTF_8
from features.erasure import erase
from features.errors import ConfigError, DataError
from features.forgotten import SENTENCE
from features.ingestion import Ingested, files_in, ingest, passed_over
from features.lake import Lake
from features.settings import ChannelRule, Channels, Ingest, Settings, Source

NOW = datetime(2026, 6, 1, tzinfo=UTC)
Row = dict[str, Any]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def rows(lake: Lake, table: str) -> list[Row]:
    """Return a table's rows, without what is empty and without hashes."""
    stored = lake.query(f'SELECT * EXCLUDE ({ROW_HASH}) FROM "{table}" ORDER BY ALL').to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in stored]


def told(lake: Lake, sql: str) -> list[tuple[Any, ...]]:
    """Return the answer of a query."""
    return [tuple(row.values()) for row in lake.query(sql).to_pylist()]


def written(file: Path, text: str | bytes) -> Path:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def take(lake: Lake, file: Path, **configured: Any) -> Ingested:
    """Ingest one file for one table."""
    (result,) = ingest(lake, Settings(**configured), [file], NOW)
    return result


def reasons(lake: Lake) -> dict[str, str]:
    """Return why each quarantined row was refused."""
    return {row["row"]: row["why"] for row in rows(lake, "quarantine")}


# What goes in


LEADS = """lead_id,created_at,account_id,owner,country,employees
ada,2026-01-01T09:00:00Z,acme,Rita,DE,250
bob,2026-01-02T10:30:00+01:00,,,FR,
"""


def test_leads_keep_what_the_table_does_not_name_as_attributes(lake: Lake, folder: Path) -> None:
    assert take(lake, written(folder / "leads.csv", LEADS)) == Ingested("leads.csv", "leads", 2, 0, 0, ())
    assert rows(lake, "leads") == [
        {
            "lead_id": "ada",
            "created_at": moment("2026-01-01T09:00:00Z"),
            "observed_at": moment("2026-01-01T09:00:00Z"),
            "account_id": "acme",
            "owner": "Rita",
            "attributes": '{"country":"DE","employees":"250"}',
        },
        {
            "lead_id": "bob",
            "created_at": moment("2026-01-02T09:30:00Z"),
            "observed_at": moment("2026-01-02T09:30:00Z"),
            "attributes": '{"country":"FR"}',
        },
    ]


def test_touches_keep_what_the_table_does_not_name_as_properties(lake: Lake, folder: Path) -> None:
    text = (
        "event_id,lead_id,anonymous_id,occurred_at,received_at,kind,channel,utm_source,cost,page\n"
        "e1,ada,,2026-01-01T09:00:00.123456Z,2026-01-03T00:00:00Z,visit,Email,news,1.25,/pricing\n"
        "e2,,cookie,2026-01-02T09:00:00Z,,visit,Direct,,,\n"
    )
    take(lake, written(folder / "touches.csv", text))
    assert rows(lake, "touches") == [
        {
            "event_id": "e1",
            "lead_id": "ada",
            "occurred_at": moment("2026-01-01T09:00:00.123456Z"),
            "received_at": moment("2026-01-03T00:00:00Z"),
            "kind": "visit",
            "channel": "Email",
            "utm_source": "news",
            "cost": 1.25,
            "machine": False,
            "properties": '{"page":"/pricing"}',
        },
        {
            "event_id": "e2",
            "anonymous_id": "cookie",
            "occurred_at": moment("2026-01-02T09:00:00Z"),
            "received_at": moment("2026-01-02T09:00:00Z"),
            "kind": "visit",
            "channel": "Direct",
            "machine": False,
            "properties": "{}",
        },
    ]


def test_stages_keep_amounts_to_the_cent_and_no_other_columns(lake: Lake, folder: Path) -> None:
    text = "lead_id,stage,occurred_at,amount,currency,note\nada,won,2026-03-01T12:00:00Z,99999999999999.99,EUR,hello\n"
    take(lake, written(folder / "stages.csv", text))
    assert rows(lake, "stages") == [
        {
            "lead_id": "ada",
            "stage": "won",
            "occurred_at": moment("2026-03-01T12:00:00Z"),
            "received_at": moment("2026-03-01T12:00:00Z"),
            "amount": Decimal("99999999999999.9900"),
            "currency": "EUR",
        }
    ]


def test_rows_are_stored_in_the_order_of_lead_and_time(lake: Lake, folder: Path) -> None:
    header = "event_id,lead_id,occurred_at,kind,channel\n"
    text = "e1,bob,2026-01-02T00:00:00Z,v,c\ne2,ada,2026-01-03T00:00:00Z,v,c\ne3,ada,2026-01-01T00:00:00Z,v,c\n"
    take(lake, written(folder / "touches.csv", header + text))
    assert lake.query("SELECT event_id FROM touches")["event_id"].to_pylist() == ["e3", "e2", "e1"]


# The same rows from any file


ODD = [
    {"lead_id": "ada", "created_at": "2026-01-01T09:00:00Z", "owner": "Zoë, 'the' \"boss\"", "note": "two\nlines"},
    {"lead_id": "bob", "created_at": "2026-01-02", "owner": "", "note": " spaces "},
    {"lead_id": "cy", "created_at": "2026-01-03 10:00+01:00", "owner": "Rita;x\ty", "note": "null"},
    {"lead_id": "dan", "created_at": "2026-01-04 00:00:00.5", "owner": "", "note": ""},
]


def csv_text(table: list[Row], separator: str = ",", line_end: str = "\n") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]), delimiter=separator, lineterminator=line_end)
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def parquet_bytes(table: list[Row]) -> bytes:
    return pd.DataFrame(table).to_parquet(index=False)


FORMATS: dict[str, tuple[str, Callable[[list[Row]], str | bytes]]] = {
    "JSON Lines": ("leads.jsonl", lambda table: "".join(f"{json.dumps(row)}\n" for row in table)),
    "JSON Lines with other spaces, order and line ends": (
        "leads.ndjson",
        lambda table: "\r\n\r\n".join(json.dumps(dict(reversed(row.items())), indent=None) for row in table),
    ),
    "JSON Lines with nulls for what is empty": (
        "leads.json",
        lambda table: "\n".join(json.dumps({name: value or None for name, value in row.items()}) for row in table),
    ),
    "semicolons": ("leads.csv", lambda table: csv_text(table, ";")),
    "tabs": ("leads.tsv", lambda table: csv_text(table, "\t")),
    "bars": ("leads.csv", lambda table: csv_text(table, "|")),
    "a byte order mark": ("leads.csv", lambda table: "\ufeff" + csv_text(table)),
    "blank lines": ("leads.csv", lambda table: csv_text(table, line_end="\n\n") + "\n\n"),
    "upper case ending": ("leads.CSV", csv_text),
    "Parquet": ("leads.parquet", parquet_bytes),
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_rows_are_the_same_table_from_any_format(name: str, tmp_path: Path) -> None:
    file, text_of = FORMATS[name]
    berlin = {"ingest": Ingest(timezone="Europe/Berlin", default_channel=None)}
    plain, other = Lake(tmp_path / "plain"), Lake(tmp_path / "other")
    take(plain, written(tmp_path / "leads.csv", csv_text(ODD)), **berlin)
    assert take(other, written(tmp_path / file, text_of(ODD)), **berlin) == Ingested(file, "leads", 4, 0, 0, ())
    everything = "SELECT * FROM leads ORDER BY ALL"
    assert other.query(everything).equals(plain.query(everything))


def test_line_ends_of_windows_and_of_linux_may_be_mixed(lake: Lake, folder: Path) -> None:
    text = "lead_id,created_at\r\nada,2026-01-01T00:00:00Z\nbob,2026-01-01T00:00:00Z\r\n"
    assert take(lake, written(folder / "leads.csv", text)).stored == 2


TOUCHES = [
    {"lead_id": lead, "occurred_at": f"2026-01-{day:02}T00:00:00Z", "kind": kind, "channel": "Email", "page": page}
    for lead, day, kind, page in [
        ("ada", 1, "visit", ""),
        ("ada", 1, "visit", "/home"),
        ("bob", 2, "click", "/a,b"),
        ("ada", 1, "visit", ""),
        ("", 3, "visit", "nobody's"),
        ("cy", 4, "open", "two\nlines"),
    ]
]


@settings(max_examples=5, deadline=None, phases=[Phase.generate])  # to shrink an example would take minutes
@given(order=st.permutations(TOUCHES), cut=st.integers(0, len(TOUCHES)))
def test_neither_the_order_of_rows_nor_how_they_are_split_into_files_changes_the_tables(
    order: list[Row], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("split")
    one, two = Lake(folder / "one"), Lake(folder / "two")
    take(one, written(folder / "touches.csv", csv_text(TOUCHES)))
    for part in filter(None, (order[:cut], order[cut:])):
        take(two, written(folder / "touches.csv", csv_text(part)))
    for table in ("touches", "quarantine"):
        everything = f"SELECT * FROM {table} ORDER BY ALL"
        assert two.query(everything).equals(one.query(everything))
    assert len(rows(one, "touches")) == 4


# Nothing twice


def test_ingesting_twice_changes_nothing(lake: Lake, folder: Path) -> None:
    leads = written(folder / "leads.csv", LEADS + ",2026-01-02T00:00:00Z,,,,\nx,2026\n")
    touches = written(folder / "touches.csv", csv_text(TOUCHES))
    first = ingest(lake, Settings(), [leads, touches], NOW)
    versions = lake.versions()
    before = {table: rows(lake, table) for table in versions}
    again = ingest(lake, Settings(), [leads, touches], NOW.replace(year=2027))
    assert [(one.stored, one.already_there, one.refused) for one in first] == [(2, 0, 2), (4, 1, 1)]
    assert [(one.stored, one.already_there, one.refused) for one in again] == [(0, 2, 2), (0, 5, 1)]
    assert lake.versions() == versions
    assert {table: rows(lake, table) for table in versions} == before


def test_a_file_that_has_grown_adds_only_what_is_new(lake: Lake, folder: Path) -> None:
    take(lake, written(folder / "leads.csv", LEADS))
    grown = take(lake, written(folder / "leads.csv", LEADS + "cy,2026-01-03T00:00:00Z,,,,\n"))
    assert (grown.stored, grown.already_there) == (1, 2)
    assert [row["lead_id"] for row in rows(lake, "leads")] == ["ada", "bob", "cy"]


def test_a_changed_lead_is_another_version_of_it(lake: Lake, folder: Path) -> None:
    header = "lead_id,created_at,observed_at,country\n"
    text = "ada,2026-01-01T00:00:00Z,2026-01-01T00:00:00Z,DE\nada,2026-01-01T00:00:00Z,2026-02-01T00:00:00Z,FR\n"
    take(lake, written(folder / "leads.csv", header + text))
    assert [(row["observed_at"].month, row["attributes"]) for row in rows(lake, "leads")] == [
        (1, '{"country":"DE"}'),
        (2, '{"country":"FR"}'),
    ]


def test_a_time_left_out_and_the_time_it_stands_for_are_one_row(lake: Lake, folder: Path) -> None:
    header = "event_id,lead_id,occurred_at,received_at,kind,channel\n"
    without, with_it = "e1,ada,2026-01-01T00:00:00Z,,v,c\n", "e1,ada,2026-01-01T00:00:00Z,2026-01-01T00:00:00Z,v,c\n"
    take(lake, written(folder / "touches.csv", header + without))
    assert take(lake, written(folder / "touches.csv", header + with_it)).already_there == 1


def test_a_touch_without_event_id_gets_one_made_of_its_content(lake: Lake, folder: Path) -> None:
    take(lake, written(folder / "touches.csv", csv_text(TOUCHES[:2])))
    first, second = lake.query(f"SELECT event_id, {ROW_HASH} FROM touches").to_pylist()
    assert first["event_id"] == first[ROW_HASH]
    assert first["event_id"] != second["event_id"]


CLASH = "event_id is taken by a row with other content. Correct the file, or give the row its own event_id."
EVENT = "event_id,lead_id,occurred_at,kind,channel\n{},{},2026-01-01T00:00:00Z,visit,Email\n"


def test_an_event_id_that_is_stored_with_other_content_is_refused(lake: Lake, folder: Path) -> None:
    take(lake, written(folder / "touches.csv", EVENT.format("e1", "ada")))
    refused = take(lake, written(folder / "touches.csv", EVENT.format("e1", "bob")))
    assert refused == Ingested("touches.csv", "touches", 0, 0, 1, (CLASH,))
    assert [row["lead_id"] for row in rows(lake, "touches")] == ["ada"]


def test_of_two_rows_of_a_file_with_one_event_id_and_other_content_neither_is_believed(
    lake: Lake, folder: Path
) -> None:
    text = (
        EVENT.format("e1", "ada") + "e1,bob,2026-01-01T00:00:00Z,visit,Email\ne2,cy,2026-01-01T00:00:00Z,visit,Email\n"
    )
    assert take(lake, written(folder / "touches.csv", text)) == Ingested("touches.csv", "touches", 1, 0, 2, (CLASH,))
    assert [row["lead_id"] for row in rows(lake, "touches")] == ["cy"]


def test_a_refused_row_does_not_take_an_event_id(lake: Lake, folder: Path) -> None:
    text = EVENT.format("e1", "ada") + "e1,bob,2026-01-01T00:00:00Z,,Email\n"
    assert take(lake, written(folder / "touches.csv", text)).reasons == ("kind is empty.",)
    assert [row["lead_id"] for row in rows(lake, "touches")] == ["ada"]


def test_the_same_content_under_two_event_ids_is_two_touches(lake: Lake, folder: Path) -> None:
    text = EVENT.format("e1", "ada") + "e2,ada,2026-01-01T00:00:00Z,visit,Email\n"
    assert take(lake, written(folder / "touches.csv", text)).stored == 2


# What is refused


STAGES = "lead_id,stage,occurred_at,amount,currency\n"
REMEDY = "Write it as 2026-02-28T09:00:00Z."
BROKEN_STAGES = {
    ",won,2026-01-01T00:00:00Z,,": "lead_id is empty.",
    "b2,,2026-01-01T00:00:00Z,,": "stage is empty.",
    "b3,won,,,": "occurred_at is empty.",
    "b4,won,2026-01-01 09:00,,": (
        'occurred_at "2026-01-01 09:00" names no time zone. Set timezone under [ingest] of touchstone.toml.'
    ),
    "b5,won,yesterday,,": f'occurred_at "yesterday" is not a time between 1900 and 2200. {REMEDY}',
    "b6,won,1066-10-14,,": f'occurred_at "1066-10-14" is not a time between 1900 and 2200. {REMEDY}',
    "b7,won,2026-01-01T00:00:00Z,12 €,": (
        'amount "12 €" is not an amount. Write it as 1234.50, without a currency sign.'
    ),
    "b8,won,2026-01-01T00:00:00Z,12,EURO": "currency is not a code of three capital letters, such as EUR.",
    "b9,won": "This line does not have the 5 columns that the first line names.",
    "b10,won,2026-01-01T00:00:00Z,,,,": "This line does not have the 5 columns that the first line names.",
}


def test_ten_broken_rows_among_a_thousand_cost_ten_rows(lake: Lake, folder: Path) -> None:
    good = [f"l{i},new,2026-01-01T00:00:00Z,{i}.50,EUR" for i in range(990)]
    broken = list(BROKEN_STAGES)
    lines = [line for i in range(10) for line in (*good[99 * i : 99 * (i + 1)], broken[i])]
    result = take(lake, written(folder / "stages.csv", STAGES + "\n".join(lines)))
    assert (result.stored, result.already_there, result.refused) == (990, 0, 10)
    assert result.reasons == tuple(sorted(set(BROKEN_STAGES.values()))[:3])
    names = STAGES.strip().split(",")
    kept = {line if line.count(",") != 4 else as_object(names, line): why for line, why in BROKEN_STAGES.items()}
    assert reasons(lake) == kept
    assert len(rows(lake, "stages")) == 990


def as_object(names: list[str], line: str) -> str:
    """Return a row as quarantine keeps it."""
    row = {name: value or None for name, value in zip(names, line.split(","), strict=True)}
    return json.dumps(row, separators=(",", ":"), ensure_ascii=False)


def test_a_quarantined_row_says_where_it_came_from_and_when(lake: Lake, folder: Path) -> None:
    take(lake, written(folder / "stages.csv", STAGES + "ada,won\n,won,2026-01-01T00:00:00Z,,\n"))
    kept = {"table": "stages", "source": "stages.csv", "refused_at": NOW}
    empty = '{"lead_id":null,"stage":"won","occurred_at":"2026-01-01T00:00:00Z","amount":null,"currency":null}'
    assert rows(lake, "quarantine") == [
        kept | {"row": "ada,won", "why": "This line does not have the 5 columns that the first line names."},
        kept | {"row": empty, "why": "lead_id is empty."},
    ]


def test_everything_wrong_with_a_row_is_said_at_once(lake: Lake, folder: Path) -> None:
    assert take(lake, written(folder / "stages.csv", STAGES + ",won,soon,much,eur\n")).reasons[0] == (
        f'lead_id is empty. occurred_at "soon" is not a time between 1900 and 2200. {REMEDY} '
        'amount "much" is not an amount. Write it as 1234.50, without a currency sign. '
        "currency is not a code of three capital letters, such as EUR."
    )


GOOD_TOUCH = {"lead_id": "ada", "occurred_at": "2026-01-01T00:00:00Z", "kind": "visit", "channel": "Email"}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"lead_id": ""}, "lead_id and anonymous_id are both empty. Say whose touch it is."),
        ({"kind": None}, "kind is empty."),
        ({"channel": " "}, "channel is empty."),
        ({"cost": "NaN"}, 'cost "NaN" is not a finite number.'),
        ({"cost": "1e999"}, 'cost "1e999" is not a finite number.'),
        ({"cost": "cheap"}, 'cost "cheap" is not a finite number.'),
        ({"machine": "maybe"}, 'machine "maybe" is neither true nor false. Write one of the two.'),
        ({"properties": "[1]"}, 'properties "[1]" is not a JSON object.'),
        ({"properties": "{"}, 'properties "{" is not a JSON object.'),
        ({"received_at": "later"}, f'received_at "later" is not a time between 1900 and 2200. {REMEDY}'),
        (
            {"occurred_at": "2026-02-30T00:00:00Z"},
            f'occurred_at "2026-02-30T00:00:00Z" is not a time between 1900 and 2200. {REMEDY}',
        ),
        (
            {"occurred_at": "2200-01-01T00:00:00Z"},
            f'occurred_at "2200-01-01T00:00:00Z" is not a time between 1900 and 2200. {REMEDY}',
        ),
        (
            {"occurred_at": "2026-01-01 09:00 PST"},
            f'occurred_at "2026-01-01 09:00 PST" is not a time between 1900 and 2200. {REMEDY}',
        ),
        ({"occurred_at": 1767225600}, f'occurred_at "1767225600" is not a time between 1900 and 2200. {REMEDY}'),
    ],
)
def test_a_touch_is_refused_with_a_sentence(lake: Lake, folder: Path, changed: Row, why: str) -> None:
    lines = [json.dumps(row) for row in (GOOD_TOUCH, GOOD_TOUCH | changed)]
    result = take(lake, written(folder / "touches.jsonl", "\n".join(lines)))
    assert result == Ingested("touches.jsonl", "touches", 1, 0, 1, (why,))


@pytest.mark.parametrize(
    "line", ["not JSON", '{"lead_id": "ada"', "[1, 2]", '"ada"', "7", '{"lead_id": "a\x01b"}', "{'lead_id': 'ada'}"]
)
def test_a_line_that_is_no_json_object_is_kept_as_it_came(lake: Lake, folder: Path, line: str) -> None:
    file = written(folder / "touches.jsonl", f"{line}\n{json.dumps(GOOD_TOUCH)}\n")
    assert (take(lake, file).stored, reasons(lake)) == (1, {line: "This line is not a JSON object in UTF-8."})


LEAD = "lead_id,created_at,city\n"
QUOTE = "This line cannot be read: a quote opens in it and is never closed."


def lead_lines(*numbers: int) -> str:
    return "".join(f"l{i:05},2026-01-01T00:00:00Z,Bonn\n" for i in numbers)


@pytest.mark.parametrize("chunk", [2, 500])
def test_a_quote_that_is_never_closed_costs_one_line(
    lake: Lake, folder: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "CHUNK", chunk)
    monkeypatch.setattr(delimited, "LONGEST", 20)
    broken = 'ada,2026-01-01T00:00:00Z,"Köln'
    several = 'bob,2026-01-01T00:00:00Z,"St.\nIves"\n'
    text = LEAD + lead_lines(*range(5)) + broken + "\n" + lead_lines(*range(5, 40)) + several
    assert take(lake, written(folder / "leads.csv", text)).stored == 41
    assert reasons(lake) == {broken: QUOTE}


def test_text_after_a_closing_quote_costs_one_line(lake: Lake, folder: Path) -> None:
    broken = 'ada,2026-01-01T00:00:00Z,"Köln" am Rhein'
    assert take(lake, written(folder / "leads.csv", LEAD + broken + "\n" + lead_lines(1))).stored == 1
    assert reasons(lake) == {broken: "This line cannot be read: a text goes on after its closing quote."}


@pytest.mark.parametrize("chunk", [1, 3, 500])
def test_a_quoted_text_may_have_line_breaks(
    lake: Lake, folder: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "CHUNK", chunk)
    text = LEAD + lead_lines(1, 2) + 'ada,2026-01-01T00:00:00Z,"a\n\nb, ""c""\n"\n' + lead_lines(3)
    assert take(lake, written(folder / "leads.csv", text)).refused == 0
    assert rows(lake, "leads")[0]["attributes"] == '{"city":"a\\n\\nb, \\"c\\"\\n"}'


@pytest.mark.parametrize("before", [0, 3_000])
def test_a_line_in_another_encoding_costs_one_line_wherever_it_is(lake: Lake, folder: Path, before: int) -> None:
    text = (LEAD + lead_lines(*range(before))).encode()
    text += "ada,2026-01-01T00:00:00Z,Köln\n".encode("latin-1") + "bob,2026-01-01T00:00:00Z,Köln\n".encode()
    assert take(lake, written(folder / "leads.csv", text)).stored == before + 1
    assert reasons(lake) == {"ada,2026-01-01T00:00:00Z,K\\xf6ln": NOT_UTF_8}


def test_a_json_line_in_another_encoding_costs_one_line(lake: Lake, folder: Path) -> None:
    lines = [json.dumps(GOOD_TOUCH | {"kind": kind}, ensure_ascii=False) for kind in ("größer", "kleiner")]
    assert take(lake, written(folder / "touches.jsonl", "\n".join(lines).encode("latin-1"))).stored == 1
    assert reasons(lake) == {
        json.dumps(GOOD_TOUCH | {"kind": "gr"}, ensure_ascii=False).replace(
            '"gr"', '"gr\\xf6\\xdfer"'
        ): "This line is not a JSON object in UTF-8."
    }


# Files that cannot be read at all


def refusal(lake: Lake, *files: Path, **configured: Any) -> str:
    with pytest.raises((DataError, ConfigError), match=r"\.$") as refused:
        ingest(lake, Settings(**configured), files, NOW)
    return str(refused.value)


def test_missing_columns_are_named_at_once_and_nothing_is_stored(lake: Lake, folder: Path) -> None:
    file = written(folder / "touches.csv", "lead_id,when,what\nada,2026-01-01T00:00:00Z,visit\n")
    assert refusal(lake, file) == (
        "touches.csv does not fit touches: no column occurred_at; map it under [sources.columns]; "
        "no column kind; map it under [sources.columns]; "
        "no column channel; map it under [sources.columns], or map utm_source and utm_medium, "
        "or set ingest.default_channel. "
        "The file has lead_id, when, what. None of its rows were stored."
    )
    assert lake.versions() == {}


def test_a_mapping_that_does_not_fit_is_told_at_once(lake: Lake, folder: Path) -> None:
    file = written(folder / "deals.csv", "id,phase\nada,won\n")
    source = Source(file="deals.csv", table="stages", columns={"lead_id": "ID", "stage": "phase", "color": "phase"})
    assert refusal(lake, file, sources=[source]) == (
        "deals.csv does not fit stages: touchstone.toml maps color, which stages do not have; "
        "touchstone.toml maps lead_id to column ID, which the file does not have; "
        "no column occurred_at; map it under [sources.columns]. The file has id, phase. None of its rows were stored."
    )


NO_TEXT = "cannot be read as csv: it is not text in UTF-8. Save it as that, or name its encoding under [[sources]]"


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("leads.csv", "", "cannot be read as csv: its first line names no columns. Write their names there"),
        ("leads.csv", "\n\n", "cannot be read as csv: its first line names no columns. Write their names there"),
        (
            "leads.csv",
            "lead_id,created_at,\nada,2026-01-01,x\n",
            "cannot be read as csv: column 3 has no name: name or delete it",
        ),
        (
            "leads.csv",
            ",lead_id,Lead_ID,lead_id\n",
            (
                "cannot be read as csv: column 1 has no name: name or delete it; "
                "lead_id and Lead_ID and lead_id are one name to the database: rename all but one"
            ),
        ),
        ("leads.csv", "lead_id,größe\n".encode("latin-1"), NO_TEXT),
        ("leads.csv", LEADS.encode("utf-16"), NO_TEXT),
        ("leads.csv", LEADS.encode("utf-16-le"), NO_TEXT),
        (
            "leads.jsonl",
            "",
            "cannot be read as json: no line of it is a JSON object with keys. Write one object a line",
        ),
        (
            "leads.json",
            '[{"lead_id": "ada"},\n {"lead_id": "bob"}]\n',
            "cannot be read as json: no line of it is a JSON object with keys. Write one object a line",
        ),
        (
            "leads.jsonl",
            '{"Owner": 1}\n{"owner": 2}\n',
            "cannot be read as json: Owner and owner are one name to the database: rename all but one",
        ),
    ],
)
def test_a_file_without_names_for_its_columns_is_refused(
    lake: Lake, folder: Path, name: str, text: str | bytes, why: str
) -> None:
    file = written(folder / name, text)
    assert refusal(lake, file) == f"{file} {why}. None of its rows were stored."
    assert lake.versions() == {}


def test_a_damaged_parquet_file_is_refused(lake: Lake, folder: Path) -> None:
    file = written(folder / "leads.parquet", parquet_bytes(ODD)[:-9])
    assert refusal(lake, file).startswith(f"{file} cannot be read as parquet: Invalid Input Error: ")


def test_a_parquet_file_that_is_damaged_inside_is_refused_as_it_is_read(lake: Lake, folder: Path) -> None:
    rows = {name: [f"{name}{i}" for i in range(5_000)] for name in ("event_id", "lead_id", "kind", "channel", "page")}
    file = folder / "touches.parquet"
    pq.write_table(pa.table(rows | {"occurred_at": [NOW] * 5_000}), file, compression="none")
    content = bytearray(file.read_bytes())
    start = pq.read_metadata(file).row_group(0).column(4).dictionary_page_offset + 40
    content[start : start + 400] = b"\xff" * 400
    written(file, bytes(content))
    said = refusal(lake, file)
    assert said.startswith(f"{file} is damaged: ")
    assert said.endswith(". Export it again. None of its rows were stored.")
    assert lake.query("FROM touches").num_rows == 0


TYPED = {"lead_id": ["ada"], "created_at": [moment("2026-01-01T09:00:00Z")], "size": [250.0], "paid": [True], "n": [7]}


def test_a_row_of_typed_columns_is_the_row_that_is_written_in_texts(lake: Lake, folder: Path) -> None:
    pq.write_table(pa.table(TYPED | {"ratio": [0.1], "none": [None]}), folder / "leads.parquet")
    take(lake, folder / "leads.parquet")
    text = "lead_id,created_at,size,paid,n,ratio,none\nada,2026-01-01T10:00:00+01:00,250,true,7,0.1,\n"
    assert take(lake, written(folder / "leads.csv", text)) == Ingested("leads.csv", "leads", 0, 1, 0, ())


def test_a_whole_number_is_the_same_id_from_a_column_of_floating_point_numbers(lake: Lake, folder: Path) -> None:
    big, at = 9_007_199_254_740_993, pd.to_datetime(["2026-01-01T09:00:00Z"] * 2)
    take(
        lake, written(folder / "leads.csv", f"lead_id,created_at\n7,2026-01-01T00:00:00Z\n{big},2026-01-01T00:00:00Z\n")
    )
    frame = pd.DataFrame({"lead_id": [7, None], "anonymous_id": [None, "x"], "occurred_at": at, "kind": "visit"})
    assert str(frame["lead_id"].dtype) == "float64"  # as pandas makes numbers of which some are missing
    frame.assign(channel="Email").to_parquet(folder / "touches.parquet")
    pq.write_table(pa.table({"lead_id": [7.0, float("nan")], "at": at, "n": [big] * 2}), folder / "more.parquet")
    columns = {
        "lead_id": "lead_id",
        "anonymous_id": "n",
        "occurred_at": "at",
        "kind": {"value": "open"},
        "channel": {"value": "Email"},
    }
    more = Source(file="more.parquet", table="touches", columns=columns)
    take(lake, folder / "touches.parquet")
    take(lake, folder / "more.parquet", sources=[more])
    found = lake.query("SELECT kind, lead_id, anonymous_id FROM touches ORDER BY ALL").to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("open", "7", str(big)), ("open", None, str(big)), ("visit", "7", None), ("visit", None, "x"),
    ]  # fmt: skip


def test_an_erased_person_stays_out_whose_id_comes_as_a_floating_point_number(lake: Lake, folder: Path) -> None:
    take(lake, written(folder / "leads.csv", "lead_id,created_at\n7,2026-01-01T00:00:00Z\n"))
    erase(lake, "7")
    pq.write_table(pa.table(TYPED | {"lead_id": [7.0]}), folder / "leads.parquet")
    assert take(lake, folder / "leads.parquet") == Ingested("leads.parquet", "leads", 0, 0, 1, (SENTENCE,))


def test_a_touch_is_the_same_row_from_any_format_and_under_any_rules(lake: Lake, folder: Path) -> None:
    told = {"event_id": "e1", "lead_id": "ada", "kind": "click", "utm_source": "google", "utm_medium": "cpc"}
    typed = {
        "occurred_at": [moment("2026-01-01T09:00:01Z")],
        "delivered_at": [moment("2026-01-01T09:00:00Z")],
        "n": [5],
    }
    pq.write_table(pa.table({name: [text] for name, text in told.items()} | typed), folder / "touches.parquet")
    take(lake, folder / "touches.parquet")
    (stored,) = rows(lake, "touches")
    assert (stored["channel"], stored["machine"]) == ("Paid Search", True)
    texts = told | {"occurred_at": "2026-01-01T10:00:01+01:00", "delivered_at": "2026-01-01 09:00:00+00", "n": "5"}
    header, line = ",".join(texts), ",".join(texts.values())
    ours = Settings(channels=Channels(rules=[ChannelRule(channel="Ads", when="medium = 'cpc'")]))
    (again,) = ingest(lake, ours, [written(folder / "touches.csv", f"{header}\n{line}\n")], NOW)
    assert (again.stored, again.already_there, again.reasons) == (0, 1, ())
    (other,) = ingest(lake, ours, [written(folder / "touches.jsonl", json.dumps(texts | {"n": 5}))], NOW)
    assert (other.stored, other.already_there, other.reasons) == (0, 1, ())


def test_a_moment_out_of_range_is_refused_in_the_same_words_from_a_typed_column(lake: Lake, folder: Path) -> None:
    pq.write_table(pa.table(TYPED | {"created_at": [moment("1600-01-01T00:00:00Z")]}), folder / "leads.parquet")
    assert take(lake, folder / "leads.parquet").reasons == (
        f'created_at "1600-01-01 00:00:00+00" is not a time between 1900 and 2200. {REMEDY}',
    )


def test_a_file_of_another_kind_is_refused(lake: Lake, folder: Path) -> None:
    file = written(folder / "leads.xlsx", "")
    packed = written(folder / "leads.csv.gz", "")
    kinds = ".csv, .tsv, .parquet, .jsonl, .ndjson, .json"
    assert refusal(lake, file) == f"{file} is none of {kinds}. Export it as one of these. Nothing was stored."
    assert refusal(lake, written(folder / "leads.csv", LEADS), file, packed) == (
        f"{file}, {packed} are none of {kinds}. Export them as one of these. Nothing was stored."
    )
    assert lake.versions() == {}


def test_files_of_no_known_table_are_all_named_before_anything_is_stored(lake: Lake, folder: Path) -> None:
    files = [written(folder / name, LEADS) for name in ("leads.csv", "people.csv", "deals.csv")]
    assert refusal(lake, *files) == (
        "It is not clear which table is in people.csv, deals.csv. Name a file after its table "
        "(leads, touches, stages, spend, rates, identities, feedback), or add a [[sources]] block to touchstone.toml; "
        "for a sheet with one row a lead `touchstone init --from FILE` writes it. "
        "Nothing was stored."
    )
    assert lake.versions() == {}


def test_files_before_one_that_cannot_be_read_are_stored(lake: Lake, folder: Path) -> None:
    leads, touches = written(folder / "leads.csv", LEADS), written(folder / "touches.csv", "x\n")
    assert "touches.csv does not fit touches" in refusal(lake, leads, touches)
    assert len(rows(lake, "leads")) == 2


def test_absent_paths_are_all_named(tmp_path: Path) -> None:
    paths = [tmp_path, tmp_path / "nowhere", tmp_path / "gone.csv"]
    sentence = f"There is no file or folder {tmp_path}/nowhere, {tmp_path}/gone.csv. Nothing was stored."
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        files_in(paths)


def test_a_folder_stands_for_its_files_of_known_kinds(folder: Path) -> None:
    for name in ("touches.csv", "leads.jsonl", "README.md", "stages.PARQUET"):
        written(folder / name, "")
    (folder / "more.csv").mkdir()
    notes = written(folder.parent / "notes.txt", "")
    found = [path.name for path in files_in([folder, notes])]
    assert found == ["leads.jsonl", "stages.PARQUET", "touches.csv", "notes.txt"]


def test_what_is_passed_over_in_a_folder_is_told_unless_it_is_hidden(folder: Path) -> None:
    for name in ("touches.csv", "leads.xlsx", "leads.csv.gz", ".DS_Store", "_SUCCESS"):
        written(folder / name, "")
    (folder / "more").mkdir()
    notes = written(folder.parent / "notes.txt", "")
    assert [path.name for path in passed_over([folder, notes])] == ["leads.csv.gz", "leads.xlsx"]


def test_a_file_with_a_header_only_has_no_rows(lake: Lake, folder: Path) -> None:
    assert take(lake, written(folder / "leads.csv", LEAD)) == Ingested("leads.csv", "leads", 0, 0, 0, ())
    assert lake.versions() == {}


# Time zones


BERLIN = {"ingest": Ingest(timezone="Europe/Berlin", default_channel=None)}


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2026-01-01 09:00", "2026-01-01T08:00:00Z"),
        ("2026-07-01T09:00:00", "2026-07-01T07:00:00Z"),
        ("2026-7-1 9:00", "2026-07-01T07:00:00Z"),
        ("2026-07-01", "2026-06-30T22:00:00Z"),
        ("2026-03-29 01:59:59.999999", "2026-03-29T00:59:59.999999Z"),
        ("2026-03-29 03:00", "2026-03-29T01:00:00Z"),
        ("2026-10-25 01:59", "2026-10-24T23:59:00Z"),
        ("2026-10-25 03:00", "2026-10-25T02:00:00Z"),
        ("2026-10-25 02:30+02:00", "2026-10-25T00:30:00Z"),
        ("2026-10-25 02:30 +0100", "2026-10-25T01:30:00Z"),
        ("2026-07-01T09:00:00Z", "2026-07-01T09:00:00Z"),
        ("2026-07-01 09:00 UTC", "2026-07-01T09:00:00Z"),
        ("2026-07-01 09:00:00-03", "2026-07-01T12:00:00Z"),
    ],
)
def test_a_time_without_a_zone_is_in_the_configured_one(lake: Lake, folder: Path, local: str, utc: str) -> None:
    take(lake, written(folder / "leads.csv", f"lead_id,created_at\nada,{local}\n"), **BERLIN)
    assert [row["created_at"] for row in rows(lake, "leads")] == [moment(utc)]


SKIPPED = "was skipped when the clocks were set forward in {}. Correct it, or write its offset."
TWICE = "came twice when the clocks were set back in {}. Write its offset."


@pytest.mark.parametrize(
    ("zone", "local", "why"),
    [
        ("Europe/Berlin", "2026-03-29 02:00", SKIPPED),
        ("Europe/Berlin", "2026-03-29 02:59:59", SKIPPED),
        ("Europe/Berlin", "2026-10-25 02:00", TWICE),
        ("Europe/Berlin", "2026-10-25 02:59:59", TWICE),
        ("America/New_York", "2026-11-01 01:30", TWICE),
        ("Australia/Lord_Howe", "2026-04-05 01:45", TWICE),
        ("Australia/Lord_Howe", "2026-10-04 02:15", SKIPPED),
        ("Antarctica/Troll", "2026-10-25 01:30", TWICE),
    ],
)
def test_a_time_that_the_clocks_skipped_or_repeated_is_refused_and_said_which(
    lake: Lake, folder: Path, zone: str, local: str, why: str
) -> None:
    file = written(folder / "leads.csv", f"lead_id,created_at\nada,{local}\n")
    taken = take(lake, file, ingest=Ingest(timezone=zone, default_channel=None))
    assert taken.reasons == (f'created_at "{local}" {why.format(zone)}',)


def test_a_zone_named_in_words_is_not_mistaken_for_the_configured_one(lake: Lake, folder: Path) -> None:
    file = written(folder / "leads.csv", "lead_id,created_at\nada,2026-01-01 09:00:00 America/New_York\n")
    assert take(lake, file, **BERLIN).reasons == (
        f'created_at "2026-01-01 09:00:00 America/New_York" is not a time between 1900 and 2200. {REMEDY}',
    )


def test_a_sources_zone_wins_over_the_one_for_all(lake: Lake, folder: Path) -> None:
    source = Source(file="leads.csv", table="leads", timezone="America/New_York")
    take(lake, written(folder / "leads.csv", "lead_id,created_at\nada,2026-01-01 09:00\n"), sources=[source], **BERLIN)
    assert rows(lake, "leads")[0]["created_at"] == moment("2026-01-01T14:00:00Z")


def test_an_unknown_time_zone_is_refused(lake: Lake, folder: Path) -> None:
    file = written(folder / "leads.csv", LEADS)
    misspelt = Ingest(timezone="Europe/Berln", default_channel=None)
    sentence = 'timezone "Europe/Berln" is not known. Write a name such as Europe/Berlin.'
    assert refusal(lake, file, ingest=misspelt) == sentence


def test_times_of_parquet_keep_their_zone_and_need_one(lake: Lake, folder: Path) -> None:
    times = pd.to_datetime(["2026-01-01 09:00:00.123456789", "2026-01-02"], format="ISO8601")
    frame = pd.DataFrame({"lead_id": ["ada", "bob"], "created_at": times})
    frame.to_parquet(folder / "leads.parquet")
    frame.assign(created_at=times.tz_localize("Asia/Tokyo")).to_parquet(folder / "tokyo.parquet")
    naive = take(lake, folder / "leads.parquet")
    assert (naive.stored, naive.reasons[1]) == (
        0,
        'created_at "2026-01-02 00:00:00" names no time zone. Set timezone under [ingest] of touchstone.toml.',
    )
    take(lake, folder / "tokyo.parquet", sources=[Source(file="tokyo*", table="leads")])
    assert [row["created_at"] for row in rows(lake, "leads")] == [
        moment("2026-01-01T00:00:00.123456Z"),
        moment("2026-01-01T15:00:00Z"),
    ]


# Mapping by [[sources]]


ACTIVITIES = """Contact ID,Timestamp,Activity,Medium,Status,Score
ada,2026-01-01T00:00:00Z,OPENED,mail,live,3
bob,2026-01-02T00:00:00Z,CLICKED,,live,4
eve,2026-01-03T00:00:00Z,CLICKED,mail,test,5
"""


def test_a_source_maps_columns_expressions_and_constants(lake: Lake, folder: Path) -> None:
    source = {
        "file": "crm-*.csv",
        "table": "touches",
        "where": "Status <> 'test'",
        "keep_other_columns": False,
        "columns": {
            "lead_id": "Contact ID",
            "occurred_at": "Timestamp",
            "kind": {"sql": "lower(Activity)"},
            "channel": {"sql": "CASE Medium WHEN 'mail' THEN 'Email' END"},
            "campaign": {"value": "it's spring"},
            "lead score": "Score",
            "twice": {"sql": "2 * CAST(Score AS INT)"},
        },
    }
    direct = Ingest(timezone=None, default_channel="Direct")
    take(lake, written(folder / "crm-2026.csv", ACTIVITIES), sources=[source], ingest=direct)
    columns = "lead_id, occurred_at::VARCHAR, kind, channel, campaign, properties"
    assert told(lake, f"SELECT {columns} FROM touches ORDER BY lead_id") == [
        ("ada", "2026-01-01 00:00:00+00", "opened", "Email", "it's spring", '{"lead score":"3","twice":6}'),
        ("bob", "2026-01-02 00:00:00+00", "clicked", "Direct", "it's spring", '{"lead score":"4","twice":8}'),
    ]


def test_unmapped_columns_are_kept_unless_they_are_not_wanted(lake: Lake, folder: Path) -> None:
    columns = {"lead_id": "Contact ID", "created_at": "Timestamp", "mood": "Medium"}
    source = Source(file="x.csv", table="leads", columns=columns)
    take(lake, written(folder / "x.csv", ACTIVITIES.replace("CLICKED,,", 'CLICKED,"  ",')), sources=[source])
    assert [row["attributes"] for row in rows(lake, "leads")] == [
        '{"Activity":"OPENED","Score":"3","Status":"live","mood":"mail"}',
        '{"Activity":"CLICKED","Score":"4","Status":"live"}',
        '{"Activity":"CLICKED","Score":"5","Status":"test","mood":"mail"}',
    ]


def test_a_column_of_json_is_merged_with_the_columns_beside_it(lake: Lake, folder: Path) -> None:
    text = 'lead_id;created_at;attributes;country\nada;2026-01-01T00:00:00Z;{"a": {"b": [1, 2]}, "n": null};DE\n'
    take(lake, written(folder / "leads.csv", text))
    assert rows(lake, "leads")[0]["attributes"] == '{"country":"DE","a":{"b":[1,2]}}'


def test_nested_values_are_kept_as_json(lake: Lake, folder: Path) -> None:
    lead = {"lead_id": "ada", "created_at": "2026-01-01T00:00:00Z"}
    nested = lead | {"attributes": {"seats": 5, "paid": True}, "tags": ["a", "b"], "plan": {"name": "pro"}}
    take(lake, written(folder / "leads.jsonl", json.dumps(nested)))
    pd.DataFrame([nested | {"lead_id": "bob"}]).to_parquet(folder / "leads.parquet")
    take(lake, folder / "leads.parquet")
    kept = [json.loads(row["attributes"]) for row in rows(lake, "leads")]
    assert kept == [{"seats": 5, "paid": True, "tags": '["a","b"]', "plan": '{"name":"pro"}'}] * 2


def test_numbers_that_are_not_numbers_are_left_out(lake: Lake, folder: Path) -> None:
    frame = pd.DataFrame({"lead_id": ["ada"], "created_at": ["2026-01-01T00:00:00Z"], "size": [1.5], "paid": [True]})
    frame.to_parquet(folder / "leads.parquet")
    take(lake, folder / "leads.parquet")
    not_a_number = pa.table(frame.assign(lead_id="bob").to_dict("list") | {"size": [float("nan")]})
    pq.write_table(not_a_number, folder / "leads.parquet")
    take(lake, folder / "leads.parquet")
    assert [row["attributes"] for row in rows(lake, "leads")] == ['{"paid":"true","size":"1.5"}', '{"paid":"true"}']


def test_one_file_may_hold_several_tables(lake: Lake, folder: Path) -> None:
    text = "id,at,signed\nada,2026-01-01T00:00:00Z,2026-02-01T00:00:00Z\nbob,2026-01-02T00:00:00Z,\n"
    leads = Source(file="deals.csv", table="leads", columns={"lead_id": "id", "created_at": "at"})
    columns = {"lead_id": "id", "occurred_at": "signed", "stage": {"value": "won"}}
    stages = Source(file="deals.csv", table="stages", where="signed IS NOT NULL", columns=columns)
    said: list[str] = []
    results = ingest(lake, Settings(sources=[leads, stages]), [written(folder / "deals.csv", text)], NOW, said.append)
    assert [(result.table, result.stored) for result in results] == [("leads", 2), ("stages", 1)]
    assert said == ["deals.csv → leads", "deals.csv → stages"]


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("nothing > 0", 'Binder Error: Referenced column "nothing" not found in FROM clause!'),
        ("CAST(lead_id AS INT) > 0", "Conversion Error: Could not convert string 'ada' to INT32"),
        ("SELECT", 'Parser Error: syntax error at or near "SELECT"'),
        ("true; DROP TABLE leads", ""),
    ],
)
def test_an_expression_that_does_not_fit_the_file_is_refused(lake: Lake, folder: Path, where: str, why: str) -> None:
    source = Source(file="leads.csv", table="leads", where=where)
    said = refusal(lake, written(folder / "leads.csv", LEADS), sources=[source])
    assert said.startswith(f"The [[sources]] block for leads.csv (leads) does not fit leads.csv: {why}")
    columns = "lead_id, created_at, account_id, owner, country, employees"
    assert said.endswith(f". The file has {columns}. None of its rows were stored.")
    assert lake.versions() == {}


def test_an_expression_cannot_read_other_files(lake: Lake, folder: Path) -> None:
    secret = written(folder / "secret.csv", "password\nswordfish\n")
    peek = {"sql": f"(SELECT password FROM read_csv('{secret}'))"}
    source = Source(file="leads.csv", table="leads", columns={"owner": peek})
    said = refusal(lake, written(folder / "leads.csv", LEADS), sources=[source])
    assert f'Permission Error: Cannot access file "{secret}"' in said


def test_a_default_channel_is_for_touches_that_name_none(lake: Lake, folder: Path) -> None:
    direct = {"ingest": Ingest(timezone=None, default_channel="Di'rect")}
    lines = [GOOD_TOUCH | {"channel": " "}, GOOD_TOUCH | {"channel": "Email"}]
    take(lake, written(folder / "touches.jsonl", "\n".join(map(json.dumps, lines))), **direct)
    take(lake, written(folder / "touches.csv", "lead_id,occurred_at,kind\nbob,2026-01-01T00:00:00Z,visit\n"), **direct)
    take(lake, written(folder / "leads.csv", LEADS), **direct)
    assert told(lake, "SELECT lead_id, channel FROM touches ORDER BY ALL") == [
        ("ada", "Di'rect"),
        ("ada", "Email"),
        ("bob", "Di'rect"),
    ]
    assert all("channel" not in row["attributes"] for row in rows(lake, "leads"))


# Names that mean something to a database, and are only names


ODD_NAMES = [
    "raw", "file_rows", "why", "row_hash", "known", "line", "found", "arriving", "SELECT", "a b", " ", "a.b", "a[0]",
    "a/b", "a~b", "*", "$", "$.a", "#", "ü", "'", '"', "\\", '\\"', "'; DROP TABLE leads; --", '"); --', "{}", "{0}",
    "%s", "lead_id as it came",
]  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_odd_names_of_columns_are_only_names(lake: Lake, folder: Path, ending: str) -> None:
    names = [name for name in ODD_NAMES if ending != "csv" or name.strip()]
    row = {"lead_id": "ada", "created_at": "2026-01-01T00:00:00Z"} | {name: f"v{i}" for i, name in enumerate(names)}
    text_of = {"csv": csv_text, "jsonl": lambda table: json.dumps(table[0]), "parquet": parquet_bytes}[ending]
    file = written(folder / f"leads.{ending}", text_of([row, row | {"lead_id": None}][: 1 if ending == "jsonl" else 2]))
    assert take(lake, file).stored == 1
    assert json.loads(rows(lake, "leads")[0]["attributes"]) == {name: row[name] for name in names}


def test_odd_values_are_only_values(lake: Lake, folder: Path) -> None:
    values = ["'; DROP TABLE leads; --", "${x}", "\\N", "NULL", "\x00", "a\u2028b", "=1+1", "😀"]
    table = [{"lead_id": value, "created_at": "2026-01-01T00:00:00Z"} for value in values]
    take(lake, written(folder / "leads.csv", csv_text(table)))
    assert sorted(row["lead_id"] for row in rows(lake, "leads")) == sorted(values)


@pytest.mark.parametrize(
    "name", ["it's.csv", 'a"b.csv', "a[1].csv", "a*.csv", "a?.parquet", "k=v.parquet", "x); DROP TABLE leads; --.csv"]
)
def test_odd_names_of_files_are_only_names(lake: Lake, folder: Path, name: str) -> None:
    text = parquet_bytes([{"lead_id": "bob", "created_at": "2026-01-01T00:00:00Z"}])
    for decoy in ("a1", "ab"):
        written(folder / f"{decoy}.parquet", text)
        written(folder / f"{decoy}.csv", "lead_id,created_at\nbob,2026-01-01T00:00:00Z\n")
    mine = [{"lead_id": "ada", "created_at": "2026-01-01T00:00:00Z"}, {"lead_id": "", "created_at": ""}]
    file = written(folder / name, csv_text(mine) if name.endswith("csv") else parquet_bytes(mine))
    take(lake, file, sources=[Source(file="*", table="leads")])
    assert [row["lead_id"] for row in rows(lake, "leads")] == ["ada"]
    assert [row["source"] for row in rows(lake, "quarantine")] == [name]


def test_a_folder_named_like_a_partition_adds_no_column(lake: Lake, folder: Path) -> None:
    (folder / "country=DE").mkdir()
    file = written(folder / "country=DE" / "leads.parquet", parquet_bytes(ODD[:1]))
    take(lake, file)
    assert json.loads(rows(lake, "leads")[0]["attributes"]) == {"note": "two\nlines"}


@pytest.mark.parametrize(
    ("name", "good", "bad", "why"),
    [
        ("spend", "2026-01-02,Email,,12.50,EUR,,", "2026-13-02,Email,,12.50,EUR,,",
         'day "2026-13-02" is not a day between 1900 and 2200. Write it as 2026-02-28.'),
        ("spend", "2026-01-02,Email,,12.50,EUR,,", "2026-01-02,Email,,12.50,euro,,",
         "currency is not a code of three capital letters, such as EUR."),
        ("rates", "2026-01-02,USD,0.9,", "2026-01-02,USD,0,", "rate is not above 0."),
        ("identities", "a1,,,L1,2026-01-02", "a1,x,,L1,2026-01-02",
         "Fill exactly one of anonymous_id, email_hash and duplicate_id."),
        ("identities", "a1,,,L1,2026-01-02", ",,,L1,2026-01-02",
         "Fill exactly one of anonymous_id, email_hash and duplicate_id."),
        ("feedback", "L1,2026-01-02,rejected,no fit,Ann", "L1,2026-01-02,maybe,no fit,Ann",
         "verdict is neither accepted nor rejected."),
    ],
)  # fmt: skip
def test_every_table_of_the_contract_keeps_its_good_rows_and_explains_the_others(
    lake: Lake, tmp_path: Path, name: str, good: str, bad: str, why: str
) -> None:
    file = tmp_path / f"{name}.csv"
    header = ",".join(column.name for column in TABLES[name].columns)
    file.write_text(f"{header}\n{good}\n{bad}\n", "utf-8")
    settings = Settings(ingest=Ingest(timezone="UTC"))
    (result,) = ingest(lake, settings, [file], NOW)
    assert (result.stored, result.refused, result.reasons) == (1, 1, (why,))
