"""Retry: quarantined rows that are good now go in and leave quarantine; the others stay, and nothing doubles."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.ingestion import Ingested, ingest
from features.lake import Lake
from features.retry import retry
from features.settings import Ingest, Settings, Source

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HEADER = "event_id,lead_id,occurred_at,kind,channel\n"
LOCAL = "e1,ada,2026-01-01 09:00,visit,Email\ne2,bob,2026-01-02 09:00,,Email\n"
BERLIN = Settings(ingest=Ingest(timezone="Europe/Berlin", default_channel=None))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def refused(lake: Lake, tmp_path: Path) -> Lake:
    """Return a lake with two touches in quarantine: neither names a time zone, and one names no kind."""
    take(lake, tmp_path / "touches.csv", HEADER + LOCAL)
    return lake


def take(lake: Lake, file: Path, text: str, settings: Settings | None = None) -> list[Ingested]:
    file.write_text(text)
    return ingest(lake, settings or Settings(), [file], NOW)


def touches(lake: Lake) -> list[str]:
    return lake.query("SELECT event_id FROM touches ORDER BY ALL")["event_id"].to_pylist()


def quarantined(lake: Lake) -> dict[str, str]:
    return {row["row"]: row["why"] for row in lake.query('SELECT "row", why FROM quarantine').to_pylist()}


def test_rows_that_are_good_now_go_in_and_leave_quarantine_and_the_others_stay_with_todays_reason(
    refused: Lake, tmp_path: Path
) -> None:
    assert retry(refused, BERLIN, NOW) == [Ingested("touches.csv", "touches", 1, 0, 1, ("kind is empty.",))]
    bob = '{"event_id":"e2","lead_id":"bob","occurred_at":"2026-01-02 09:00","kind":null,"channel":"Email"}'
    assert quarantined(refused) == {bob: "kind is empty."}
    direct = Lake(tmp_path / "direct")
    take(direct, tmp_path / "touches.csv", HEADER + LOCAL, BERLIN)
    assert refused.query("FROM touches").equals(direct.query("FROM touches"))


def test_a_retry_that_finds_nothing_mended_changes_nothing(refused: Lake) -> None:
    before = refused.versions()
    (result,) = retry(refused, Settings(), NOW)
    assert (result.stored, result.already_there, result.refused, refused.versions()) == (0, 0, 2, before)


def test_rows_of_many_columns_are_taken_again_within_the_memory_of_a_writer(lake: Lake, tmp_path: Path) -> None:
    header = ",".join(["lead_id", "created_at", *(f"answer_{i}" for i in range(200))]) + "\n"
    rows = "".join(f"L{lead},2026-01-01 09:00{',7' * 200}\n" for lead in range(1000))
    take(lake, tmp_path / "leads.csv", header + rows)
    assert retry(lake, BERLIN, NOW) == [Ingested("leads.csv", "leads", 1000, 0, 0, ())]


def test_an_empty_quarantine_is_not_retried(lake: Lake) -> None:
    assert retry(lake, Settings(), NOW) == []


def test_the_block_of_the_file_is_applied_again(lake: Lake, tmp_path: Path) -> None:
    columns = {"lead_id": "who", "occurred_at": "day", "kind": "what", "channel": {"value": "Email"}}
    wrong, right = (
        Settings(sources=[Source.model_validate({"file": "crm*.csv", "table": "touches", "columns": columns | change})])
        for change in ({}, {"occurred_at": {"sql": "day || 'T00:00:00Z'"}})
    )
    take(lake, tmp_path / "crm1.csv", "who,day,what,page\nada,2026-01-01,visit,/a\n", wrong)
    assert [(r.stored, r.refused) for r in retry(lake, right, NOW)] == [(1, 0)]
    assert lake.query("SELECT lead_id, properties FROM touches").to_pylist() == [
        {"lead_id": "ada", "properties": '{"day":"2026-01-01","page":"/a"}'}
    ]
    assert quarantined(lake) == {}


def test_rows_whose_block_is_gone_and_lines_that_are_no_rows_stay(lake: Lake, tmp_path: Path) -> None:
    source = Source(file="crm.csv", table="touches")
    take(lake, tmp_path / "crm.csv", HEADER + "e1,ada\ne2,ada,soon,visit,Email\n", Settings(sources=[source]))
    before = lake.query("FROM quarantine ORDER BY ALL")
    (gone,) = retry(lake, Settings(), NOW)
    (there,) = retry(lake, Settings(sources=[source]), NOW)
    assert (gone.refused, there.refused) == (2, 2)
    assert lake.query("FROM quarantine ORDER BY ALL").equals(before)


def test_a_row_that_the_block_does_not_take_any_more_stays(refused: Lake) -> None:
    picky = Source(file="touches.csv", table="touches", where="lead_id = 'ada'", timezone="Europe/Berlin")
    (result,) = retry(refused, Settings(sources=[picky]), NOW)
    assert (result.stored, touches(refused)) == (1, ["e1"])
    assert ['"bob"' in row for row in quarantined(refused)] == [True]


def test_a_row_that_a_corrected_file_brought_leaves_quarantine(lake: Lake, tmp_path: Path) -> None:
    row = "e{},ada,2026-01-01T00:00:00Z,{},Email\n"
    take(lake, tmp_path / "touches.csv", HEADER + row.format(1, "") + row.format(2, ""))
    take(lake, tmp_path / "corrected-touches.csv", HEADER + row.format(1, "visit"), touches_from("corrected*"))
    (result,) = retry(lake, Settings(), NOW)
    assert (result.stored, result.already_there, result.refused, touches(lake)) == (0, 1, 1, ["e1"])
    assert ['"e2"' in row for row in quarantined(lake)] == [True]


def touches_from(pattern: str) -> Settings:
    return Settings(sources=[Source(file=pattern, table="touches")])


def test_a_stage_that_a_corrected_file_brought_leaves_quarantine_and_a_lead_alone_says_too_little(
    lake: Lake, tmp_path: Path
) -> None:
    header = "lead_id,stage,occurred_at,amount\n"
    take(lake, tmp_path / "stages.csv", header + "ada,won,2026-01-01T00:00:00Z,12 €\nada,,,\n")
    take(lake, tmp_path / "stages.csv", header + "ada,won,2026-01-01T00:00:00Z,12\n")
    (result,) = retry(lake, Settings(), NOW)
    assert (result.already_there, result.refused) == (1, 1)
    assert list(quarantined(lake)) == ['{"lead_id":"ada","stage":null,"occurred_at":null,"amount":null}']


def test_a_row_of_another_lead_under_its_event_id_does_not_correct_a_row(lake: Lake, tmp_path: Path) -> None:
    text = "e1,ada,2026-01-01T00:00:00Z,visit,Email\ne1,bob,2026-01-01T00:00:00Z,,Email\n"
    take(lake, tmp_path / "touches.csv", HEADER + text)
    (result,) = retry(lake, Settings(), NOW)
    assert (result.refused, len(quarantined(lake))) == (1, 1)


def test_a_row_whose_key_is_taken_by_other_content_stays(lake: Lake, tmp_path: Path) -> None:
    row = "e1,{},2026-01-01T00:00:00Z,visit,Email\n"
    take(lake, tmp_path / "touches.csv", HEADER + row.format("ada"))
    take(lake, tmp_path / "touches.csv", HEADER + row.format("bob"))
    before = quarantined(lake)
    (result,) = retry(lake, Settings(), NOW)
    assert (result.refused, quarantined(lake)) == (1, before)


def test_a_row_of_parquet_is_the_same_row_after_a_retry(lake: Lake, tmp_path: Path) -> None:
    naive = datetime(2026, 1, 1, 9)  # noqa: DTZ001  # a time without a zone is what is refused
    rows = {"lead_id": [7], "created_at": [naive], "size": [5.0], "ratio": [0.1], "paid": [True], "tags": [["a"]]}
    table = pa.table(rows | {"plan": [{"name": "pro"}], "when": [NOW]})
    pq.write_table(table, tmp_path / "leads.parquet")
    ingest(lake, Settings(), [tmp_path / "leads.parquet"], NOW)
    direct = Lake(tmp_path / "direct")
    ingest(direct, BERLIN, [tmp_path / "leads.parquet"], NOW)
    assert [(r.stored, r.refused) for r in retry(lake, BERLIN, NOW)] == [(1, 0)]
    assert lake.query("FROM leads").equals(direct.query("FROM leads"))
    assert json.loads(lake.query("SELECT attributes FROM leads")["attributes"][0].as_py()) == {
        "size": "5", "ratio": "0.1", "paid": "true", "tags": '["a"]', "plan": '{"name":"pro"}',
        "when": "2026-06-01 00:00:00+00",
    }  # fmt: skip


class Killed(BaseException):
    """Nothing may catch it, as nothing can catch a kill."""


def test_a_retry_that_dies_before_rows_leave_quarantine_is_completed_by_the_next(
    refused: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Lake.replace

    def dying(self: Lake, name: str, *rest: object) -> None:
        if name == "quarantine":
            raise Killed
        replace(self, name, *rest)

    monkeypatch.setattr(Lake, "replace", dying)
    with pytest.raises(Killed, match=r"^$"):
        retry(refused, BERLIN, NOW)
    monkeypatch.undo()
    assert (touches(refused), len(quarantined(refused))) == (["e1"], 2)
    (result,) = retry(refused, BERLIN, NOW)
    assert (result.stored, result.already_there, result.refused) == (0, 1, 1)
    assert (touches(refused), len(quarantined(refused))) == (["e1"], 1)


def test_the_command_says_what_became_of_each_row_and_ends_as_ingest_does(
    command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    (tmp_path / "touches.csv").write_text(HEADER + LOCAL.splitlines()[0])
    assert command("ingest", str(tmp_path / "touches.csv"), workspace=tmp_path)[0] == 3
    assert command("ingest", "--retry", "--json", workspace=tmp_path)[0] == 3
    (tmp_path / "touchstone.toml").write_text('[ingest]\ntimezone = "Europe/Berlin"\n')
    status, printed = command("ingest", "--retry", "--json", workspace=tmp_path)
    kept = {"file": "touches.csv", "table": "touches", "stored": 1, "already_there": 0, "refused": 0, "reasons": []}
    assert (status, json.loads(printed)) == (0, {"files": [kept]})
    assert command("ingest", "--retry", workspace=tmp_path)[0] == 4
    status, said = command("ingest", workspace=tmp_path)
    assert (status, "Name files or folders, or give --retry." in said) == (2, True)
