"""Tables on a terminal: whatever its width, no number is cut."""

from __future__ import annotations

import pytest

import terminal

MODELS = ("channel", "first", "last non direct", "position based")
CREDIT = [("Organic Search", "1,125.0", "67.0", "79.4"), ("Email", "14.0", "81.0", "37.3")]


@pytest.mark.parametrize(("width", "tables"), [(200, 1), (60, 1), (40, 2), (30, 3)])
def test_columns_without_room_stand_below_beside_the_first_again_and_nothing_is_cut(
    width: int, tables: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    terminal.show_table("Closes", MODELS, CREDIT)
    printed = capsys.readouterr().out
    words = [word for line in (MODELS, *CREDIT) for cell in line for word in cell.split()]
    assert [word for word in words if word not in printed] == []
    assert (printed.count("Organic Search"), printed.count("Closes")) == (tables, 1)
    assert max(map(len, printed.splitlines())) <= width


def test_what_stands_in_brackets_is_a_name_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_table("Closes", ("channel", "last"), [("[brand] Search", "3")])
    terminal.show_sentences("Why", ("table", "why"), [("leads", "Set timezone under [ingest].")])
    printed = capsys.readouterr().out
    assert "[brand] Search" in printed
    assert "Set timezone under [ingest]." in printed


def test_a_last_column_that_wraps_takes_what_room_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal.show_sentences("Why", ("lead", "reason"), [("L-1", "Days since the last visit: 3 (usually 20)")])
    lines = [line.strip("│ ") for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert lines == ["L-1  │ Days since the last visit: 3", "(usually 20)"]
