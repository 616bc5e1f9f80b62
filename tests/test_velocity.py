"""Velocity and what came of open pipeline, on the command line's tables and on the pages, worked out by hand."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tables import merge, moment, stage, table, touch, version
from test_agreement import scores

from attribution import runs
from attribution.pipeline import pipeline
from attribution.velocity import velocity
from features.errors import DataError
from features.lake import Lake
from features.settings import Settings
from serving import batch, ledger
from serving.pages import pace
from serving.pages.book import Book, Edition
from serving.pages.choice import ALWAYS, Choice
from serving.pages.earned import table_of, usual
from serving.pages.pledges import trued_up

Row = dict[str, Any]
JANUARY_TO_MARCH = {
    "leads": [version("ada", 2, {"size": "small"}, 2), version("bob", 33, {"size": "large"}, 33),
              version("cleo", 5, {"size": "small"}, 5), version("dora", 1, None, 1)],
    "touches": [touch("ada", 1) | {"campaign": "spring"}, touch("ada", 3, channel="Events"),
                touch("bob", 33), touch("cleo", 5, channel="Events"), touch("cleo", 0.5, kind="email_open"),
                touch("dora", 6, channel="Events")],
    "stages": [stage("ada", 4, "mql"), stage("ada", 10, "won"), stage("ada", 12, "mql"), stage("bob", 39, "mql"),
               stage("dora", 2, "mql"), stage("cleo", 70, "mql"), stage("cleo", 40, "sql", received=80)],
}  # fmt: skip


def lake_of(folder: Path, **rows: list[Row]) -> Lake:
    made = Lake(folder / "lake")
    for name, told in rows.items():
        if name == "scores":
            batch.store(made, scores(told))
        else:
            made.append(name, table(name, told))
    return made


def days(found: Any, by: str, before: str = "first touch") -> dict[tuple[str, str], tuple[float, int, int]]:
    rows = found[(found["by"] == by) & (found["before"] == before)]
    return {(row.name, row.stage): (row.days, row.leads, row.of) for row in rows.itertuples(index=False)}


def test_velocity_runs_from_the_first_touch_to_each_stage_by_channel_month_campaign_and_segment(
    tmp_path: Path,
) -> None:
    found = velocity(lake_of(tmp_path, **JANUARY_TO_MARCH), Settings(), moment(60))
    assert days(found, "all") == {("(all)", "lead"): (0.0, 3, 4), ("(all)", "mql"): (4.5, 2, 4),
                                  ("(all)", "won"): (9.0, 1, 4)}  # fmt: skip
    assert days(found, "channel") == {
        ("Email", "lead"): (0.5, 2, 2), ("Email", "mql"): (4.5, 2, 2), ("Email", "won"): (9.0, 1, 2),
        ("Events", "lead"): (0.0, 1, 2),
    }  # fmt: skip
    assert days(found, "month")["2026-02", "mql"] == (6.0, 1, 1)
    assert days(found, "campaign") == {("spring", "lead"): (1, 1, 1), ("spring", "mql"): (3, 1, 1),
                                       ("spring", "won"): (9, 1, 1)}  # fmt: skip
    assert days(found, "size")["small", "mql"] == (3.0, 1, 2)


def test_a_version_that_names_only_what_changed_leaves_a_lead_s_other_attributes(tmp_path: Path) -> None:
    told = JANUARY_TO_MARCH["leads"]
    changed = [version("ada", 3, {"plan": "pro"}, 2) | {"is_change": True}]
    found = velocity(lake_of(tmp_path, **JANUARY_TO_MARCH | {"leads": [*told, *changed]}), Settings(), moment(60))
    assert days(found, "size")["small", "mql"] == (3.0, 1, 2)


def test_velocity_runs_from_stage_to_stage_by_each_stage_s_first_entry(tmp_path: Path) -> None:
    found = velocity(lake_of(tmp_path, **JANUARY_TO_MARCH), Settings(), moment(60))
    assert days(found, "all", "lead") == {("(all)", "mql"): (2.0, 3, 4)}
    assert days(found, "all", "mql") == {("(all)", "won"): (6.0, 1, 4)}
    assert set(found["by"]) == {"all", "channel", "campaign", "month", "size"}


def test_a_stage_that_begins_with_the_lead_comes_after_its_creation(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, **JANUARY_TO_MARCH)
    lake.append("stages", table("stages", [stage("bob", 33, "contacted")]))
    found = velocity(lake, Settings(), moment(60))
    assert days(found, "all", "lead") == {("(all)", "mql"): (1.5, 2, 4), ("(all)", "contacted"): (0.0, 1, 4)}
    assert days(found, "all", "contacted") == {("(all)", "mql"): (6.0, 1, 4)}


def test_velocity_knows_nothing_of_what_came_later(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, **JANUARY_TO_MARCH)
    before = velocity(lake, Settings(), moment(60))
    lake.append("touches", table("touches", [touch("ada", 0, channel="Display", received=61)]))
    lake.append("stages", table("stages", [stage("ada", 3, "sql", received=61)]))
    assert velocity(lake, Settings(), moment(60)).equals(before)
    assert not velocity(lake, Settings(), moment(62)).equals(before)


def test_leads_that_are_one_record_since_have_one_first_touch_and_one_segment(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, **JANUARY_TO_MARCH)
    lake.append("identities", table("identities", [merge("bob", "ada", 40)]))
    found = velocity(lake, Settings(), moment(60))
    assert days(found, "channel")["Email", "mql"] == (3.0, 1, 1)
    assert days(found, "all")["(all)", "lead"] == (0.5, 2, 3)


def test_a_lead_that_is_two_records_is_told_apart_by_its_own_attributes(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, **JANUARY_TO_MARCH)
    lake.append("leads", table("leads", [version("eve", 7, {"size": "large"}, 7)]))
    lake.append("touches", table("touches", [touch("eve", 7)]))
    lake.append("identities", table("identities", [merge("bob", "ada", 40)]))
    found = velocity(lake, Settings(), moment(60))
    assert days(found, "size") == {("small", "lead"): (0.5, 2, 2), ("small", "mql"): (3.0, 1, 2),
                                   ("small", "won"): (9.0, 1, 2), ("large", "lead"): (0.0, 1, 1)}  # fmt: skip


def test_velocity_of_a_lake_without_touches_says_what_to_do(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, leads=JANUARY_TO_MARCH["leads"])
    with pytest.raises(DataError, match=r"^The lake holds no touches of leads. Ingest some first"):
        velocity(lake, Settings(), moment(60))


def edition(lake: Lake, day: float) -> Edition:
    return Book(lake.folder.parent, lake, Settings()).make(moment(day))


def test_the_page_tells_the_same_medians_of_those_of_whom_enough_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = edition(lake_of(tmp_path, **JANUARY_TO_MARCH), 60)
    everything = pace.by_first_touch(book, Choice(ALWAYS))
    assert everything["by_channel"] == [["Email", "–", "–"]]
    monkeypatch.setattr(pace, "FEWEST", 1)
    assert pace.by_first_touch(book, Choice(ALWAYS)) == {
        "stages": ["MQL", "Won"],
        "by_channel": [["Email", "4 days (2)", "9 days (1)"]],
        "by_month": [["2026-01", "3 days (1)", "9 days (1)"], ["2026-02", "6 days (1)", "–"]],
    }
    assert pace.by_first_touch(book, Choice(moment(30)))["by_channel"] == [["Email", "6 days (1)"]]
    assert pace.by_first_touch(book, Choice(ALWAYS, "size", "large"))["by_month"] == [["2026-02", "6 days (1)"]]


def paid(lead: str, day: float, name: str, amount: str) -> Row:
    return stage(lead, day, name) | {"amount": Decimal(amount), "currency": "EUR"}


@pytest.fixture
def promising(tmp_path: Path) -> Lake:
    """Open on day 10: Ada (Email, Events; 0.5 × 1,000), Bob (Email; 0.1 × 200), Cleo (no touch; 0.2 × 50), Dora.

    Ada is won on day 12 for 900, Bob lost on day 13, and Dora (Email), who had named no amount, won on day 14 for 700.
    """
    opened = [paid("ada", 4, "opportunity", "1000"), paid("bob", 5, "opportunity", "200"),
              paid("cleo", 5, "opportunity", "50")]  # fmt: skip
    probable = {"ada": 0.5, "bob": 0.1, "cleo": 0.2, "dora": 0.3}
    told = [{"lead_id": lead, "as_of": 9, "probability": p} for lead, p in probable.items()]
    lake = lake_of(
        tmp_path,
        leads=[version(lead, 1) for lead in probable],
        touches=[touch("ada", 2), touch("ada", 3, channel="Events"), touch("bob", 4), touch("dora", 4)],
        stages=opened,
        scores=told,
    )
    keep(lake, pipeline(lake, Settings(), moment(10), ["linear", "last"]), 10)
    ended = [paid("ada", 12, "won", "900"), stage("bob", 13, "lost"), paid("dora", 14, "won", "700")]
    lake.append("stages", table("stages", ended))
    return lake


def keep(lake: Lake, run: runs.Run, day: float) -> None:
    runs.store(lake, run)
    ledger.keep(lake.folder.parent, run.summary(), moment(day).isoformat())


def test_what_open_deals_promised_is_trued_up_on_the_page_as_it_closes(promising: Lake) -> None:
    keep(promising, runs.attribute(promising, Settings(), moment(20), ["linear", "last"]), 20)
    found = trued_up(edition(promising, 20), Choice(ALWAYS), "linear")
    names = ("promised", "decided", "came", "difference", "still_open", "unpriced")
    assert found is not None
    assert (found["model"], found["at"]) == ("linear", moment(10))
    assert {row["channel"]: tuple(row[name] for name in names) for row in found["rows"]} == {
        "Email": (270.0, 270.0, 450.0, 180.0, 0.0, 700.0),
        "Events": (250.0, 250.0, 450.0, 200.0, 0.0, 0.0),
        "(unattributed)": (10.0, 0.0, 0.0, 0.0, 10.0, 0.0),
    }
    assert tuple(found["total"].values()) == (530.0, 520.0, 900.0, 380.0, 10.0, 700.0)
    last = trued_up(edition(promising, 20), Choice(ALWAYS), "last")
    assert last is not None
    assert {row["channel"]: row["came"] for row in last["rows"]} == {"Email": 0.0, "Events": 900.0, "(unattributed)": 0}


def test_a_model_by_which_no_pipeline_was_credited_is_answered_by_one_that_was(promising: Lake) -> None:
    found = trued_up(edition(promising, 20), Choice(ALWAYS), "w")
    assert found is not None
    assert (found["model"], found["total"]["came"]) == ("last", 0.0)  # nothing that closed was credited yet


@pytest.mark.parametrize(("models", "shown"), [(["last", "linear"], "linear"), (["last", "first"], "first")])
def test_the_page_shows_the_linear_model_unless_the_latest_run_lacks_it(
    promising: Lake, models: list[str], shown: str
) -> None:
    keep(promising, runs.attribute(promising, Settings(), moment(20), models), 20)
    book = edition(promising, 20)
    assert (usual(book), table_of(book, Choice(ALWAYS), {"model": "nonsense"}).model) == (shown, shown)


def test_without_a_credited_pipeline_there_is_nothing_to_true_up(tmp_path: Path) -> None:
    book = edition(lake_of(tmp_path, **JANUARY_TO_MARCH), 60)
    assert trued_up(book, Choice(ALWAYS), "linear") is None


def test_a_pipeline_is_no_run_of_what_closed(promising: Lake) -> None:
    folder = promising.folder.parent
    assert ledger.runs(folder) == []
    assert [(run["as_of"], run["models"]) for run in ledger.runs(folder, "open")] == [
        (moment(10).isoformat(), ["linear", "last"])
    ]
    assert ledger.run(folder) is None
