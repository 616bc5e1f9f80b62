"""Delimited text: the rows of a CSV file, and the lines that are no rows.

A quoted text may hold line breaks, so a quote that is never closed would swallow every row after it. Here it
costs one line: a line that begins no row is set aside with its reason, and reading goes on with the next line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import islice
from typing import TextIO

CHUNK = 500  # lines read at once; more would wake the garbage collector, which costs more than the reading
LONGEST = 1_000  # lines of one row; a quote that is open for longer was never closed
UNDECODABLE = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of bytes that are not UTF-8
NOT_UTF_8 = "This line is not UTF-8. Save the file as UTF-8, or name its encoding under [[sources]]."
CAUSES = {
    "unexpected end of data": "a quote opens in it and is never closed",
    "',' expected after '\"'": "a text goes on after its closing quote",
}
Rejected = list[tuple[str, str]]  # line, why


def separator_of(first_line: str) -> str:
    """Return what stands between the columns that a file's first line names."""
    return max(",;\t|", key=first_line.count)


def rows_of(lines: TextIO, separator: str, width: int, rejected: Rejected) -> Iterator[list[list[str]]]:
    """Yield the rows, chunk by chunk; lines that are no rows are added to ``rejected``."""
    waiting: list[str] = []
    more = True
    while more:
        arrived = list(islice(lines, CHUNK))
        waiting += arrived
        more = bool(arrived)
        rows = _rows_at_once(waiting, separator, width)
        if rows is None:
            rows, waiting = _rows_one_by_one(waiting, separator, width, rejected, keep=LONGEST if more else 0)
        else:
            waiting = []
        yield rows


def _rows_at_once(lines: list[str], separator: str, width: int) -> list[list[str]] | None:
    """Return the rows of lines in which nothing is wrong; None if anything is."""
    try:
        rows = [row for row in csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True) if row]
    except csv.Error:
        return None
    wrong = any(len(row) != width for row in rows) or any(map(_undecodable, lines))
    return None if wrong else rows


def _rows_one_by_one(
    lines: list[str], separator: str, width: int, rejected: Rejected, keep: int
) -> tuple[list[list[str]], list[str]]:
    """Return the rows that begin before the last ``keep`` lines, and the lines after the last of them."""
    rows, at = [], 0
    while at < len(lines) - keep:
        row, length, why = _first_row(lines[at : at + LONGEST], separator, width)
        if why:
            rejected.append((_shown(lines[at : at + length]), why))
        elif row:
            rows.append(row)
        at += length
    return rows, lines[at:]


def _first_row(lines: list[str], separator: str, width: int) -> tuple[list[str], int, str]:
    """Return the row that begins in the first line, how many lines it has, and why it is none."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        row = next(reader)
    except csv.Error as error:
        return [], 1, f"This line cannot be read: {CAUSES.get(str(error), error)}."
    if row and len(row) != width:
        return [], 1, f"This line does not have the {width} columns that the first line names."
    if any(map(_undecodable, lines[: reader.line_num])):
        return [], reader.line_num, NOT_UTF_8
    return row, reader.line_num, ""


def _undecodable(line: str) -> bool:
    return not line.isascii() and UNDECODABLE.search(line) is not None


def _shown(lines: list[str]) -> str:
    """Return lines as text that can be stored, with what is not UTF-8 escaped."""
    return "".join(lines).rstrip("\r\n").encode(errors="surrogateescape").decode(errors="backslashreplace")
