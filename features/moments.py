"""Moments: at which points in time leads are looked at, as a file lists them or every so many days."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from features.contract import ARROW
from features.errors import ConfigError, DataError
from features.events import DAY
from features.history import History
from features.merges import Ints
from features.verbs import Moments

MomentsOf = Callable[[History], Moments]  # those of the leads of one part of the history


class Chosen(NamedTuple):
    """Moments to look at, and the last of them in microseconds: names are learned from what was known before it."""

    of: MomentsOf
    last: int


def chosen(file: Path | None, days: float | None, start: int | None, end: int | None) -> Chosen:
    """Return the moments of a file, or every so many days from a start to before an end (microseconds).

    Raises:
        ConfigError: when it is not clear which moments are meant.

    """
    if file is not None and days is None:
        moments = read_moments(file)
        return Chosen(Given(moments), pc.max(moments["as_of"].cast(pa.int64())).as_py() or 0)
    if file is None and days is not None and start is not None and end is not None and start < end:
        return Chosen(every(days, start, end), end)
    raise ConfigError(
        "Which moments? Give --moments FILE with the columns lead_id and as_of, or --every DAYS with --from DATE and a "
        "later --to DATE."
    )


def every(days: float, start: int, end: int) -> MomentsOf:
    """Return the moments start, start + days, … before ``end`` (microseconds) of every lead created by then."""
    at = np.arange(start, end, round(days * DAY))

    def moments_of(history: History) -> Moments:
        lead, as_of = np.repeat(np.arange(len(history.lead_ids)), len(at)), np.tile(at, len(history.lead_ids))
        exists = (history.created[lead] < as_of) & history.live(lead, as_of)
        return Moments(history, lead[exists], as_of[exists])

    return moments_of


@dataclass(frozen=True)
class Given:
    """The moments of a table with lead_id and as_of, those of one lead in its order."""

    moments: pa.Table

    def __call__(self, history: History) -> Moments:
        """Return those of the leads of one part of the history."""
        leads, as_of = self._by_lead
        here = pc.is_in(leads, pa.array(sorted(set(history.lead_ids)), pa.string()))
        place = np.flatnonzero(here.to_numpy(zero_copy_only=False))
        lead = history.positions(leads.take(pa.array(place)).to_pylist(), as_of[place])
        return Moments(history, lead, as_of[place])

    @cached_property
    def _by_lead(self) -> tuple[pa.Array, Ints]:
        ordered = self.moments.sort_by("lead_id")
        return ordered["lead_id"].combine_chunks(), np.asarray(ordered["as_of"].cast(pa.int64()))


def read_moments(file: Path) -> pa.Table:
    """Return the moments in a CSV or Parquet file with the columns lead_id and as_of (ISO 8601, UTC if it says none).

    Raises:
        DataError: when the file, a column, or a value is not so.

    """
    try:
        table = pq.read_table(file) if file.suffix == ".parquet" else pa_csv.read_csv(file)
        return pa.table({"lead_id": table["lead_id"].cast(pa.string()), "as_of": _moments(table["as_of"])})
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise DataError(
            f"{file} cannot be read as moments: {error}. Give a .csv or .parquet file with the columns lead_id and "
            "as_of, such as 2026-11-01 or 2026-11-01T09:30:00Z."
        ) from None


def _moments(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times as the contract has them; a time without a zone is in UTC."""
    if pa.types.is_string(column.type):
        column = pc.replace_substring_regex(column, r"(Z|\+00:?00)$", "")
    plain = pa.timestamp("us", "UTC") if getattr(column.type, "tz", None) else pa.timestamp("us")
    return column.cast(plain).cast(pa.int64()).cast(ARROW["time"])
