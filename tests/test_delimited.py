"""Delimited text: rows come out as they went in, and a broken line costs itself only."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import delimited
from features.delimited import NOT_UTF_8, rows_of

cells = st.text(st.sampled_from('ab,"\n\r ü'), max_size=6).map(str.lstrip)
grids = st.lists(st.lists(cells, min_size=3, max_size=3), max_size=12)
WIDTH = "This line does not have the 3 columns that the first line names."
OPEN = "This line cannot be read: a quote opens in it and is never closed."
AFTER = "This line cannot be read: a text goes on after its closing quote."


def lines_of(grid: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(grid)
    return text.getvalue()


def read(text: str, chunk: int = 500, longest: int = 1_000) -> tuple[list[list[str]], list[tuple[str, str]]]:
    """Return rows and rejected lines."""
    rejected: delimited.Rejected = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "CHUNK", chunk)
        patch.setattr(delimited, "LONGEST", longest)
        rows = [row for some in rows_of(io.StringIO(text, newline=""), ",", 3, rejected) for row in some]
    return rows, rejected


@settings(max_examples=100, deadline=None)
@given(grids, st.sampled_from([1, 2, 5, 500]))
def test_what_was_written_is_read_whatever_the_chunks(grid: list[list[str]], chunk: int) -> None:
    assert read(lines_of(grid), chunk) == (grid, [])


@settings(max_examples=100, deadline=None)
@given(
    grids,
    grids,
    st.sampled_from([("a,b", WIDTH), ("a,b,c,d", WIDTH), ('a,"b"c,d', AFTER), ("lonely", WIDTH)]),
    st.sampled_from([1, 2, 5, 500]),
)
def test_a_broken_line_costs_itself_only(
    before: list[list[str]], after: list[list[str]], broken: tuple[str, str], chunk: int
) -> None:
    text = f"{lines_of(before)}{broken[0]}\n{lines_of(after)}"
    assert read(text, chunk) == (before + after, [broken])


@pytest.mark.parametrize("chunk", [1, 2, 500])
def test_a_quote_open_for_longer_than_a_row_can_be_was_never_closed(chunk: int) -> None:
    text = 'a,b,"c\n' + "d,e,f\n" * 5 + 'g,h,"i\nj"\n'
    assert read(text, chunk, longest=4) == ([["d", "e", "f"]] * 5 + [["g", "h", "i\nj"]], [('a,b,"c', OPEN)])


def test_a_row_of_several_lines_with_the_wrong_width_is_set_aside_line_by_line() -> None:
    assert read('a,"b\nc"\nd,e,f\n') == ([["d", "e", "f"]], [('a,"b', WIDTH), ('c"', WIDTH)])


@pytest.mark.parametrize("broken", ["", "a,b\n"])
def test_blank_lines_are_neither_rows_nor_rejected(broken: str) -> None:
    assert read(f"\n\r\na,b,c\n{broken}\n") == ([["a", "b", "c"]], [("a,b", WIDTH)] if broken else [])


def test_no_lines_have_no_rows() -> None:
    assert read("") == ([], [])


def test_bytes_that_are_not_utf_8_are_shown_escaped_with_all_lines_of_their_row() -> None:
    text = b'a,b,"c\n\xf6"\nd,e,f\n'.decode(errors="surrogateescape")
    assert read(text) == ([["d", "e", "f"]], [('a,b,"c\n\\xf6"', NOT_UTF_8)])
