"""Journeys from a file of aggregated paths: how often each sequence of channels converted."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import numpy as np
import pandas as pd

from attribution.journeys import Journeys
from features.errors import DataError

REQUIRED = ("path", "conversions")
COLUMNS = (*REQUIRED, "value", "nulls")
SEPARATOR = " > "
GAP = r"^\s*>|>\s*>|>\s*$"
REMEDY = 'Write paths as "Email > Webinar", counts as numbers of 0 or more, amounts as 1234.50.'
LARGEST = 10**15  # of a count, and of an amount in cents: what floats still hold exactly


def read_paths(file: Path) -> Journeys:
    """Journeys of a CSV or Parquet file with the columns path, conversions, value? and nulls?.

    A path is channels with ``>`` between them. Value is what all its conversions brought, in main units, and
    is kept exactly, to the cent. An empty value or nulls is 0. Rows of the same path are added up.

    Raises DataError, which names everything that is wrong with the file.
    """
    rows = _rows(file)
    paths = pd.DataFrame(
        {
            "path": rows["path"].str.replace(r"\s*>\s*", SEPARATOR, regex=True),
            "conversions": pd.to_numeric(rows["conversions"], errors="coerce"),
            "nulls": pd.to_numeric(rows["nulls"], errors="coerce"),
            "value_cents": rows["value"].map(_cents),
        }
    )
    problems = [
        *_problem(rows["path"], rows["path"] == "", "is empty"),
        *_problem(rows["path"], rows["path"].str.contains(GAP), "lacks a channel beside a separator"),
        *_problem(rows["conversions"], ~paths["conversions"].between(0, LARGEST), "is not a count"),
        *_problem(rows["value"], paths["value_cents"].isna(), "is not an amount"),
        *_problem(rows["nulls"], ~paths["nulls"].between(0, LARGEST), "is not a count"),
    ]
    if problems:
        raise DataError(f"{file.name}: {' '.join(problems)} {REMEDY} Nothing was read.")
    return path_journeys(paths.groupby("path", as_index=False).sum())


def path_journeys(paths: pd.DataFrame) -> Journeys:
    """One journey a row of ``paths``: path, conversions, nulls, value_cents; an empty path has no touch.

    Paths have no times, so touches count as one day apart.
    """
    steps = paths["path"].reset_index(drop=True).str.split(SEPARATOR).explode()
    steps = steps[steps != ""]
    channel, channels = pd.factorize(steps, sort=True)
    return Journeys(
        channels=tuple(channels),
        journey=steps.index.to_numpy(np.int64),
        channel=channel,
        age_days=np.asarray(steps.groupby(level=0).cumcount(ascending=False), np.float64),
        event_id=None,
        conversions=paths["conversions"].to_numpy(np.float64),
        nulls=paths["nulls"].to_numpy(np.float64),
        value_cents=paths["value_cents"].to_numpy(np.int64),
        lead_id=None,
    )


def _rows(file: Path) -> pd.DataFrame:
    """Rows of the file as trimmed text under COLUMNS; value and nulls are "0" where they are missing."""
    try:
        found = pd.read_parquet(file) if file.suffix.lower() == ".parquet" else _csv(file)
    except FileNotFoundError:
        raise DataError(f"{file} does not exist. Give a CSV or Parquet file.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file.name} cannot be read: {error}. Give a CSV or Parquet file.") from error
    missing = [name for name in REQUIRED if name not in found.columns]
    if missing:
        raise DataError(
            f"{file.name} has no column {' and no column '.join(missing)}; its columns are"
            f" {', '.join(map(str, found.columns))}. Name them path, conversions and, if known, value, nulls."
        )
    text = found.reindex(columns=list(COLUMNS)).astype("str").fillna("")
    rows: pd.DataFrame = text.apply(lambda column: column.str.strip())
    return rows.replace({"value": {"": "0"}, "nulls": {"": "0"}}).reset_index(drop=True)


def _csv(file: Path) -> pd.DataFrame:
    """Fields of the file as text."""
    rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    if not isinstance(rows.index, pd.RangeIndex):  # pandas makes an index of the fields it has no name for
        raise ValueError("its rows have more fields than its header")  # noqa: TRY004
    return rows


def _problem(column: pd.Series[str], wrong: pd.Series[bool], claim: str) -> list[str]:
    """One sentence on the rows that are wrong, or none."""
    if not wrong.any():
        return []
    first = int(wrong.to_numpy().argmax())
    place = f'first: row {first + 1}, "{column.iloc[first]}"'
    return [f"{column.name} {claim} in {wrong.sum():,} of {len(wrong):,} rows ({place})."]


def _cents(amount: str) -> int | None:
    """Cents of an amount in main units, rounded half to even; None if it is not an amount."""
    try:
        cents = 100 * Decimal(amount)
        return int(cents.to_integral_value(ROUND_HALF_EVEN)) if abs(cents) <= LARGEST else None
    except ArithmeticError:
        return None
