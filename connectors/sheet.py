"""Sheets: a table as people export it, opened, and how its dates and numbers are written.

What a column holds is asked of DuckDB by the very expressions that will read it, so that a guess that was right of
all rows stays right when the file is ingested.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from features import database
from features.admission import MACROS
from features.contract import literal, quoted
from features.errors import DataError
from features.files import ENDINGS, open_file

MOSTLY = 0.9  # share of a column's values that must be what it is taken for
MOST_VALUES = 5_000  # different values of a column that are looked at
ORDERS = {  # DuckDB's formats; a year of two digits is tried first, because %Y takes it for the year 26
    "month first": ("%m/%d/%y", "%m/%d/%Y", "%m-%d-%y", "%m-%d-%Y", "%m.%d.%y", "%m.%d.%Y"),
    "day first": ("%d/%m/%y", "%d/%m/%Y", "%d.%m.%y", "%d.%m.%Y", "%d-%m-%y", "%d-%m-%Y"),
    "year first": ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"),
    "month named": ("%d %b %y", "%d %b %Y", "%d-%b-%y", "%d-%b-%Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%d. %B %Y"),
}
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", ", %I:%M %p")
ISO = r"(19|20|21)\d\d-\d\d-\d\d([ T].*)?"
DATED = r"regexp_matches(t, '\d.*([./:-]|[a-zA-Z]{3}).*\d')"  # looks like a date at all
DECIMAL = (r",\d{1,2}\D*$|\.\d{3},", r"\.\d{1,2}\D*$|,\d{3}\.")  # signs of a decimal comma, and of a point
NUMBER = r"[-+]?[A-Z$€£¥ ]{0,5}[-+]?\d[\d.,'  ]*[A-Z$€£¥% ]{0,5}"


@dataclass(frozen=True)
class Dates:
    """How the dates of a column are written; no formats: as in ISO 8601. ``example`` settles the order."""

    formats: tuple[str, ...]
    order: str
    example: str

    def sql(self, column: str) -> str:
        """Return SQL for a column's moments as text in ISO 8601; NULL for what is none."""
        text = f"trim({quoted(column)})"
        if not self.formats:
            return f"CASE WHEN regexp_full_match({text}, {literal(ISO)}) THEN {text} END"
        formats = ", ".join(map(literal, self.formats))
        return f"strftime(try_strptime({text}, [{formats}]), '%Y-%m-%d %H:%M:%S')"


@dataclass(frozen=True)
class Sheet:
    """A sheet that is open: its columns, and what they hold."""

    file: Path
    encoding: str | None  # None: UTF-8
    connection: duckdb.DuckDBPyConnection

    @cached_property
    def columns(self) -> list[str]:
        """Return the names of the columns."""
        return list(self.connection.table("file_rows").columns)

    @cached_property
    def rows(self) -> int:
        """Return how many rows there are."""
        return int(self.ask("SELECT count(*) FROM file_rows")[0])

    def ask(self, sql: str) -> tuple[Any, ...]:
        """Return the one row that a query answers."""
        return tuple(self.connection.sql(sql).fetchall()[0])

    def values(self, column: str, most: int) -> list[str]:
        """Return the different values of a column, the most frequent first."""
        text = f"trim({quoted(column)})"
        found = (
            f"SELECT {text} AS t FROM file_rows WHERE {text} <> '' GROUP BY t ORDER BY count(*) DESC, t LIMIT {most}"
        )
        return [value for (value,) in self.connection.sql(found).fetchall()]

    def repeated(self, column: str) -> list[tuple[str, int]]:
        """Return the values that stand in several rows that are not the same, and in how many."""
        name = quoted(column)
        return self.connection.sql(
            f"SELECT {name}, count(*) AS n FROM (SELECT DISTINCT * FROM file_rows) WHERE {name} IS NOT NULL "
            f"GROUP BY {name} HAVING n > 1 ORDER BY n DESC, {name}"
        ).fetchall()

    @cached_property
    def dates(self) -> dict[str, list[Dates]]:
        """Return how the dates of each column may be written: several ways if its values leave that open."""
        return {column: found for column in self.columns if (found := list(self._orders(column)))}

    def _orders(self, column: str) -> Iterator[Dates]:
        some = _sample(column)
        dated, n = self.ask(f"SELECT count(*) FILTER ({DATED}), count(*) FROM {some}")
        if not n or dated < MOSTLY * n:
            return
        (iso,) = self.ask(f"SELECT count(*) FILTER (local_of(t) IS NOT NULL OR says_zone(t)) FROM {some}")
        if iso >= MOSTLY * n:
            yield Dates((), "year first", self.values(column, 1)[0])
            return
        every = [(order, "".join(form)) for order, days in ORDERS.items() for form in product(days, CLOCKS)]
        fits = ", ".join(f"count({_parsed([form])})" for _, form in every)
        counts = self.ask(f"SELECT {fits} FROM {some}")
        read = {order: [f for (o, f), c in zip(every, counts, strict=True) if o == order and c] for order in ORDERS}
        read = {order: forms for order, forms in read.items() if forms}
        if not read:
            return
        together = self.ask(f"SELECT {', '.join(f'count({_parsed(forms)})' for forms in read.values())} FROM {some}")
        for (order, forms), count in zip(read.items(), together, strict=True):
            if count == max(together) >= MOSTLY * n:
                others = [form for other in read if other != order for form in read[other]]
                only = f"{_parsed(forms)} IS NOT NULL" + (f" AND {_parsed(others)} IS NULL" if others else "")
                (settling,) = self.ask(f"SELECT coalesce(min(t) FILTER ({only}), min(t)) FROM {some}")
                yield Dates(tuple(forms), order, settling)

    @cached_property
    def numbers(self) -> set[str]:
        """Return the columns that hold numbers, however they are written."""
        asked = f"SELECT count(*) FILTER (regexp_full_match(upper(t), {literal(NUMBER)})), count(*) FROM "
        found = {column: self.ask(asked + _sample(column)) for column in self.columns if column not in self.dates}
        return {column for column, (numbers, n) in found.items() if n and numbers >= MOSTLY * n}

    @cached_property
    def decimal(self) -> str:
        """Return what stands before the cents in this file: a point or a comma."""
        if not self.numbers:
            return "."
        texts = " UNION ALL ".join(f"FROM {_sample(column)}" for column in self.columns if column in self.numbers)
        signs = ", ".join(f"count(*) FILTER (regexp_matches(t, {literal(sign)}))" for sign in DECIMAL)
        comma, point = self.ask(f"SELECT {signs} FROM ({texts})")
        return "," if comma > point else "."

    def number_sql(self, column: str) -> str:
        """Return SQL for a column's numbers as plain text, without signs of a currency and marks of thousands."""
        bare = f"regexp_replace({quoted(column)}, '[^0-9.,-]', '', 'g')"
        return f"replace(replace({bare}, '.', ''), ',', '.')" if self.decimal == "," else f"replace({bare}, ',', '')"


def _sample(column: str) -> str:
    """Return SQL for some of a column's different values, drawn evenly, as a relation of t."""
    text = f"trim({quoted(column)})"
    return f"(SELECT DISTINCT {text} AS t FROM file_rows WHERE {text} <> '' ORDER BY hash(t), t LIMIT {MOST_VALUES})"


def _parsed(formats: Sequence[str]) -> str:
    parsed = f"try_strptime(t, [{', '.join(map(literal, formats))}])"
    return f"CASE WHEN {parsed} >= TIMESTAMP '1900-01-01' THEN {parsed} END"  # no year 14, which 14.4.26 could be, too


@contextmanager
def opened(file: Path) -> Iterator[Sheet]:
    """Hold a CSV file open.

    Raises:
        DataError: when it is none, or holds no rows.

    """
    if not file.exists():
        raise DataError(f"There is no file {file}. Name the CSV file that you exported.")
    if ENDINGS.get(file.suffix.lower()) != "csv":
        raise DataError(f"{file} is not called .csv or .tsv. Save the sheet as CSV, and name that file.")
    encoding = encoding_of(file)
    with file.open(encoding=encoding, errors="replace") as lines:
        first = lines.readline().strip()
    if first.lower().startswith("sep="):
        raise DataError(f"{file} begins with {first}, which is for Excel alone. Delete that line. Nothing was written.")
    with TemporaryDirectory() as own, closing(database.opened(Path(own), [file], Path(own))) as connection:
        connection.execute(MACROS)
        open_file(connection, file, encoding)
        sheet = Sheet(file, encoding, connection)
        if len(sheet.columns) == 1:
            raise DataError(
                f"{file} has one column only, {sheet.columns[0]}. Save it with commas, semicolons or tabs between "
                "columns, and their names in the first line."
            )
        if not sheet.rows:
            raise DataError(f"{file} names columns and has no rows that can be read. Export it again, with its leads.")
        yield sheet


def encoding_of(file: Path) -> str | None:
    """Return the encoding of a text as spreadsheets write it; None for UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with file.open("rb") as binary:
        if binary.read(2) in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
            return "utf-16"
        binary.seek(0)
        try:
            for block in iter(lambda: binary.read(1 << 20), b""):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return None
