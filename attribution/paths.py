"""Journeys from a file of aggregated paths: how often each sequence of channels converted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numba import njit

from attribution.journeys import Codes, Flags, Floats, Ints, Journeys
from attribution.tokens import EMPTY, GAP, lexicon, parsed
from features.delimited import separator_of
from features.errors import DataError

REQUIRED = ("path", "conversions")
COLUMNS = (*REQUIRED, "value", "nulls")
REMEDY = 'Write paths as "Email > Webinar", counts as numbers of 0 or more, amounts as 1234.50.'
LARGEST = 10**15  # of a count, and of an amount in cents: what floats still hold exactly
ROWS_AT_ONCE, BYTES_AT_ONCE = 35_000, 1 << 16  # fresh memory costs more than reading what is in it


def read_paths(file: Path) -> Journeys:
    """Journeys of a file of ``path_parts``, all at once."""
    return joined(path_parts(file))


def joined(parts: Iterable[Journeys]) -> Journeys:
    """All journeys of ``path_parts`` together, with channels in the order of their names."""
    found = list(parts)
    touches = np.cumsum([0, *(len(part.channel) for part in found)])
    start = [part.start[1:] + before for part, before in zip(found, touches, strict=False)]

    def column(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in found])

    if not found:
        return _named((), np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0), np.empty(0), np.empty(0, np.int64))
    rows = (column(name) for name in ("channel", "conversions", "nulls", "value_cents"))
    return _named(found[-1].channels, np.concatenate([np.zeros(1, np.int64), *start]), *rows)


def path_parts(file: Path) -> Iterator[Journeys]:
    """Journeys of a CSV or Parquet file with the columns path, conversions, value? and nulls?, part by part.

    A path is channels with ``>`` between them. Value is what all its conversions brought, in main units, and
    is kept exactly, to the cent. An empty value or nulls is 0. Paths have no times: touches are one day apart.
    Channels are in the order in which they are met, so a part's begin with those of the part before.

    Raises:
        DataError: at the end, naming everything that is wrong with the file: what came until then is void.

    """
    try:
        yield from _parts(file)
    except FileNotFoundError:
        raise DataError(f"{file} does not exist. Give a CSV or Parquet file.") from None
    except UnicodeDecodeError:
        raise DataError(f"{file.name} is not UTF-8. Save it as UTF-8, or as Parquet. Nothing was read.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file.name} cannot be read: {error}. Give a CSV or Parquet file.") from error


def _parts(file: Path) -> Iterator[Journeys]:
    reading = Reading()
    yield from filter(None, map(reading.journeys, _tables(file)))  # keeping none while the next one is read
    if reading.problems.found:
        found = " ".join(reading.problems.sentences(reading.rows))
        raise DataError(f"{file.name}: {found} {REMEDY} Nothing was read.")


def _named(
    names: Sequence[str], start: Ints, channel: Codes, conversions: Floats, nulls: Floats, value_cents: Ints
) -> Journeys:
    """Journeys with channels in the order of their names."""
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), np.int32)
    rank[order] = np.arange(len(names), dtype=np.int32)
    return Journeys(tuple(names[code] for code in order), start, rank[channel], None, conversions, nulls, value_cents)


class Reading:
    """What is known of a file so far: its channels, its problems, and how many rows were read."""

    def __init__(self) -> None:
        self.known, self.names, self.problems, self.rows = lexicon(), tuple[str, ...](), Problems(), 0

    def journeys(self, table: pa.RecordBatch) -> Journeys | None:
        """Return the journeys of the next rows, or None once there is a problem."""
        texts = table["path"] if _is_text(table["path"]) else table["path"].cast(pa.large_string())
        texts = pc.fill_null(texts, "") if texts.null_count else texts
        paths, self.known = parsed(texts, self.known)
        conversions, nulls = _counts(table["conversions"]), _counts(table["nulls"], missing=0.0)
        value_cents, is_amount = _cents(table["value"])
        for column, values, wrong, claim in (
            ("path", texts, paths.state == EMPTY, "is empty"),
            ("path", texts, paths.state == GAP, "lacks a channel beside a separator"),
            ("conversions", table["conversions"], ~_is_count(conversions), "is not a count"),
            ("value", table["value"], ~is_amount, "is not an amount"),
            ("nulls", table["nulls"], ~_is_count(nulls), "is not a count"),
        ):
            self.problems.add(column, values, wrong, claim, self.rows)
        self.rows += len(table)
        self.names = self.names if len(self.names) == self.known.size[0] else tuple(self.known.names())
        if self.problems.found:
            return None
        return Journeys(self.names, paths.start, paths.channel, None, conversions, nulls, value_cents)


class Problems:
    """What is wrong with a file: for each kind, how often, and where first."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], tuple[int, str]] = {}

    def add(self, column: str, values: pa.Array, wrong: Flags, claim: str, before: int) -> None:
        """Note the wrong ones among values of a column that stand ``before`` rows down the file."""
        if wrong.any():
            first = int(wrong.argmax())
            place = f'first: row {before + first + 1}, "{_shown(values[first].as_py())}"'
            times, earlier = self.found.get((column, claim), (0, place))
            self.found[column, claim] = (times + int(wrong.sum()), earlier)

    def sentences(self, rows: int) -> list[str]:
        """Return one sentence a kind."""
        return [
            f"{column} {claim} in {times:,} of {rows:,} rows ({place})."
            for (column, claim), (times, place) in sorted(self.found.items(), key=lambda item: _rank(*item[0]))
        ]


def _rank(column: str, claim: str) -> tuple[int, bool]:
    return COLUMNS.index(column) if column != "nulls" else len(COLUMNS), claim != "is empty"


def _shown(value: object) -> str:
    return "" if value is None else str(value).strip()


def _tables(file: Path) -> Iterator[pa.RecordBatch]:
    """Yield tables of some rows each, with COLUMNS; those that a file may lack are empty."""
    if file.suffix.lower() == ".parquet":
        parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=BYTES_AT_ONCE)
        present = _present(file, parquet.schema_arrow.names)
        yield from map(_complete, parquet.iter_batches(ROWS_AT_ONCE, columns=present, use_threads=False))
    else:
        texts = _csv(file)
        yield _complete(pa.RecordBatch.from_pandas(texts[_present(file, list(texts.columns))], preserve_index=False))


def _present(file: Path, columns: list[str]) -> list[str]:
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise DataError(
            f"{file.name} has no column {' and no column '.join(missing)}; its columns are"
            f" {', '.join(map(str, columns))}. Name them path, conversions and, if known, value, nulls."
        )
    return [name for name in COLUMNS if name in columns]


def _complete(table: pa.RecordBatch) -> pa.RecordBatch:
    absent = [name for name in COLUMNS if name not in table.schema.names]
    for name in absent:
        table = table.append_column(name, pa.nulls(len(table), pa.float64()))
    return table


def _csv(file: Path) -> pd.DataFrame:
    """Fields of the file as text."""
    with file.open(encoding="utf-8-sig") as lines:
        separator = separator_of(lines.readline())
    rows = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False)
    if not isinstance(rows.index, pd.RangeIndex):  # pandas makes an index of the fields it has no name for
        raise ValueError("its rows have more fields than its header")  # noqa: TRY004
    return rows


def _is_text(column: pa.Array) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _counts(column: pa.Array, missing: float = np.nan) -> Floats:
    """Numbers of a column; NaN where there is none, and ``missing`` where it is empty."""
    if pa.types.is_integer(column.type) and not column.null_count:  # as most are, and Arrow's cast takes its time
        return np.asarray(column.to_numpy(), dtype=np.float64)
    if not _is_text(column):
        return np.asarray(pc.fill_null(column.cast(pa.float64()), missing).to_numpy(zero_copy_only=False))
    texts = column.to_pandas().str.strip()
    return np.asarray(pd.to_numeric(texts, errors="coerce").mask(texts == "", missing), dtype=np.float64)


def _is_count(numbers: Floats) -> Flags:
    return (numbers >= 0) & (numbers <= LARGEST)


def _cents(column: pa.Array) -> tuple[Ints, Flags]:
    """Cents of amounts in main units, rounded half to even, 0 where empty; and whether they are amounts.

    A float means its shortest decimal: 0.575 is 57.5 cents, though its bits are a little less. Only where that may
    decide, the text is asked.
    """
    if pa.types.is_floating(column.type):
        amount = column.cast(pa.float64()).to_numpy(zero_copy_only=False)  # NaN where there is none
        cents, is_amount, near_half = _rounded(amount)
        for row in np.flatnonzero(near_half):
            cents[row] = _cents_of(repr(float(amount[row]))) or 0
        return cents, is_amount
    code, texts = pd.factorize(column.cast(pa.large_string()).to_pandas().fillna("").str.strip())
    distinct = [0 if text == "" else _cents_of(text) for text in texts]
    is_amount = np.array([cents is not None for cents in distinct], np.bool_)
    return np.array([cents or 0 for cents in distinct], np.int64)[code], is_amount[code]


@njit(cache=True, nogil=True)
def _rounded(amount: Floats) -> tuple[Ints, Flags, Flags]:
    """Return cents, whether it is an amount (NaN is none of money), and whether a half cent may be in doubt."""
    cents, is_amount, near_half = (
        np.zeros(len(amount), np.int64),
        np.zeros(len(amount), np.bool_),
        np.zeros(len(amount), np.bool_),
    )
    for row in range(len(amount)):
        exact = 0.0 if np.isnan(amount[row]) else 100 * amount[row]
        is_amount[row] = abs(exact) <= LARGEST
        if is_amount[row]:
            cents[row] = np.int64(np.rint(exact))
            near_half[row] = abs(exact - np.floor(exact) - 0.5) <= 1e-6 + 1e-15 * abs(exact)
    return cents, is_amount, near_half


def _cents_of(amount: str) -> int | None:
    try:
        cents = 100 * Decimal(amount)
        return int(cents.to_integral_value(ROUND_HALF_EVEN)) if abs(cents) <= LARGEST else None
    except ArithmeticError:
        return None
