"""The book that pages count in, of a company that can be counted by hand: Ada was won, Bob is open."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from tables import moment, stage, table, touch, version

from features.lake import Lake
from features.settings import Settings
from serving.batch import store
from serving.pages import drawing
from serving.pages.book import Book, Edition
from serving.pages.flows import flows_of
from serving.pages.lead import _timeline


@pytest.fixture
def edition(tmp_path: Path) -> Edition:
    """Return the book of day 6; what comes later is in the lake, too."""
    lake = Lake(tmp_path / "lake")
    rows = {
        "leads": [version("Ada", 0, {"industry": "Mining"}), version("Bob", 1, {"industry": "Retail"}, created=1)],
        "touches": [
            touch("Ada", 0, channel="Paid Search"), touch("Ada", 1, channel="Paid Search"),
            touch("Ada", 2, channel="Email"), touch("Ada", 3, channel="Email", machine=True),
            touch("Ada", 5.5, channel="Email"),
            touch("Bob", 1, channel="Events"), touch("Bob", 4, "sales_call", "Sales outreach"),
            touch("Bob", 7, channel="Email"),
        ],
        "stages": [stage("Ada", 2, "mql"), stage("Ada", 5, "won"), stage("Bob", 8, "won")],
    }  # fmt: skip
    for name, told in rows.items():
        lake.append(name, table(name, told))
    return Book(tmp_path, lake, Settings()).make(moment(6))


def test_the_book_has_a_row_for_every_lead_its_touches_up_to_its_end_and_knows_nothing_later(edition: Edition) -> None:
    rows = edition.rows("SELECT lead_id, channel, touches, sales_at, won_at FROM book ORDER BY lead_id")
    assert rows == [
        {"lead_id": "Ada", "channel": "Paid Search", "touches": 3, "sales_at": None, "won_at": moment(5)},
        {"lead_id": "Bob", "channel": "Events", "touches": 2, "sales_at": moment(4), "won_at": None},
    ]


def test_touches_of_one_channel_in_a_row_are_one_stretch_and_machines_are_none(edition: Edition) -> None:
    rows = edition.rows("SELECT lead_id, path, length FROM journeys ORDER BY lead_id")
    assert rows == [
        {"lead_id": "Ada", "path": ["Paid Search", "Email"], "length": 2},
        {"lead_id": "Bob", "path": ["Events", "Sales outreach"], "length": 2},
    ]


def test_leads_are_told_apart_by_attributes_of_few_values(edition: Edition) -> None:
    assert edition.segments == [("industry", "Mining"), ("industry", "Retail")]


def test_a_version_that_names_only_what_changed_leaves_a_lead_in_its_other_segments(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.append(
        "leads",
        table(
            "leads",
            [version("ada", 1, {"industry": "Mining", "size": "small"}), version("bob", 1, {"industry": "Retail"}),
             version("ada", 3, {"size": "large"}) | {"is_change": True},
             version("ada", 9, {"industry": "Later"}) | {"is_change": True},
             version("bob", 2, {"industry": "Media", "size": "small"}), version("bob", 4) | {"is_change": True}],
        ),
    )  # fmt: skip
    made = Book(tmp_path, lake, Settings()).make(moment(8))
    rows = made.rows("SELECT lead_id, name, value FROM traits ORDER BY ALL")
    assert [tuple(row.values()) for row in rows] == [
        ("ada", "industry", "Mining"), ("ada", "size", "large"), ("bob", "industry", "Media"), ("bob", "size", "small"),
    ]  # fmt: skip


def test_what_came_true_of_stored_scores_is_as_unsure_as_so_few_leads_make_it(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.append("leads", table("leads", [version(lead, 0) for lead in ("ada", "bob", "cem", "dan")]))
    lake.append("stages", table("stages", [stage("ada", 40, "won")]))
    said = [("ada", 1, 0.21), ("ada", 2, 0.23), ("bob", 1, 0.22), ("cem", 1, 0.22), ("dan", 1, 0.03), ("bob", 95, 0.2)]
    store(
        lake,
        pd.DataFrame({
            "lead_id": [lead for lead, _, _ in said], "probability": [p for _, _, p in said],
            "as_of": pd.to_datetime([moment(day) for _, day, _ in said], utc=True).as_unit("us"),
            "horizon_days": 90.0, "low": 0.0, "high": 1.0, "grade": "A", "trend": "steady", "reasons": "[]",
            "model_version": "v1",
        }),
    )  # fmt: skip
    kept = Book(tmp_path, lake, Settings()).make(moment(100)).rows("FROM kept ORDER BY band")
    assert [(row["band"], row["leads"], row["realised"]) for row in kept] == [(0.0, 1, 0), (0.2, 4, 0.5)]
    assert [row["promised"] for row in kept] == pytest.approx([0.03, 0.22])
    assert [row["error"] for row in kept] == pytest.approx([0, (1**2 + 0.5**2 + 0.5**2) ** 0.5 / 4])


def test_as_many_flow_into_a_channel_as_out_of_it() -> None:
    flows = flows_of([{"path": ["Events", "Email", "Direct"], "leads": 3}, {"path": ["Email"], "leads": 2}])
    assert flows == [
        (0, "Events", "Email", 3), (0, "Email", "Won", 2), (1, "Email", "Direct", 3), (2, "Direct", "Won", 3),
    ]  # fmt: skip


def test_the_same_on_the_same_day_is_one_line_with_its_count() -> None:
    seen = [{"what": "touch", "at": moment(day), "kind": "page_view", "channel": "Direct"} for day in (3.5, 3.2, 1)]
    lines = [(line["text"], line["count"], line["at"]) for line in _timeline(seen)]
    assert lines == [("Viewed a page", 2, moment(3.5)), ("Viewed a page", 1, moment(1))]


def test_a_drawing_escapes_what_it_is_told() -> None:
    drawn = drawing.sankey([(0, "<script>", '"', 1)], '"><script>')
    assert "<script>" not in drawn
    assert 'aria-label="&#34;&gt;&lt;script&gt;"' in drawn
