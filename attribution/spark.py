"""Journeys by Apache Spark: those of attribution/deals.py, to the bit, partition of leads by partition of leads.

A partition is written as a small lake on its worker's disk and asked as the whole one is, so that money, merges,
milestones and windows have one meaning. Journeys are brought together on the driver, which credits them; where they
are too many for one machine, ``path_counts`` lets Spark add them up to paths, which are counted as those of a file are.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812  # as Spark's own pages call it

from attribution import deals
from attribution.journeys import FIRST, NONE, WON, Ints, Journeys, Names
from attribution.routes import routes
from features.contract import schema
from features.history import microseconds
from features.identities import CLAIM, READ, merges, survivors
from features.lake import Lake
from features.rows import TOUCHES
from features.settings import Settings
from features.spark import Work, each, partitions, worked

COLUMNS = {
    "leads": ("lead_id", "created_at", "observed_at", "account_id", "row_hash"),
    "touches": READ,
    "stages": tuple(schema("stages").names),
    "identities": CLAIM,
    "scores": ("lead_id", "as_of", "grade"),
}
OF_JOURNEY = ("lead_id", "ended_at", "conversions", "nulls", "value_cents")
OF_TOUCH = ("channel", "age_days", "event_id", "contact", "touched_at")  # where journeys are of accounts, contact
PATHS = "path string, conversions double, nulls double, value_cents bigint"


def journeys_in(
    lake: Lake, settings: Settings, as_of: datetime, touches: int = TOUCHES
) -> tuple[Journeys, pd.DataFrame]:
    """Return what ``attribution.deals.journeys_in`` returns; a partition has about so many touches.

    Raises:
        DataError: when there is no touch, or amounts are in a currency without a rate.
        ConfigError: when Spark does not start.

    """
    merged = survivors(merges(lake), microseconds(as_of)).select(["record", "lead_id"])
    whose = deals.owners(lake, settings, as_of, merged)
    wins = deals.values(lake, settings, as_of, whose)  # first: what is wrong with rates is said before work begins
    rows = _partitions(lake, settings, touches)
    made = list(worked(rows, COLUMNS, _journeys(settings, as_of, lake.query("FROM rates"))))
    told = [json.loads(batch.schema.metadata[b"of"]) for batch in made]
    deals.refuse_untouched(sum(part["touches"] for part in told))
    channels = sorted({name for part in told for name in part["channels"]})
    stages = [FIRST, WON, *sorted({name for part in told for name in part["stages"]} - {FIRST, WON})]
    parts = [_with_names(batch, part, channels, stages) for batch, part in zip(made, told, strict=True)]
    table = pa.concat_tables(parts).sort_by([("lead_id", "ascending"), ("ended_at", "ascending")]).combine_chunks()
    return _journeys_from(table, channels, stages), wins


def path_counts(lake: Lake, settings: Settings, as_of: datetime, touches: int = TOUCHES) -> DataFrame:
    """Return a Spark frame of path (" > " between channels), conversions, nulls and value, for ``attribute --paths``.

    Journeys without a touch have no path: what they brought is left out. Counts are whole numbers and values are
    cents, so no order of adding changes a bit.
    """
    rates = lake.query("FROM rates")

    def counted(tables: dict[str, pa.Table]) -> Iterator[pa.RecordBatch]:
        paths = routes(_seen(tables, rates, settings, as_of)[0])
        yield from pa.Table.from_pandas(paths, preserve_index=False).to_batches()

    paths = each(_partitions(lake, settings, touches), COLUMNS, counted, PATHS)
    sums = paths.groupBy("path").agg(*(F.sum(name).alias(name) for name in ("conversions", "nulls", "value_cents")))
    return sums.withColumn("value", F.col("value_cents").cast("decimal(20, 2)") / 100).drop("value_cents")


def _partitions(lake: Lake, settings: Settings, touches: int) -> DataFrame:
    return partitions(lake, COLUMNS, touches, accounts=settings.attribution.of == "account")


def _journeys(settings: Settings, as_of: datetime, rates: pa.Table) -> Work:
    """Return what makes the journeys of one partition: a row for each, and in its metadata the names of its codes."""

    def made(tables: dict[str, pa.Table]) -> Iterator[pa.RecordBatch]:
        seen, touches = _seen(tables, rates, settings, as_of)
        of = {"channels": seen.channels, "stages": seen.stages, "touches": touches}
        table = _table(seen).replace_schema_metadata({"of": json.dumps(of)}).combine_chunks()
        yield from table.to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]

    return made


def _seen(tables: dict[str, pa.Table], rates: pa.Table, settings: Settings, as_of: datetime) -> tuple[Journeys, int]:
    """Return the journeys of one partition, and of how many touches they are made."""
    with tempfile.TemporaryDirectory() as folder:
        small = Lake(Path(folder))
        for name, rows in {**tables, "rates": rates}.items():
            known = {column: rows[column].cast(schema(name).field(column).type) for column in rows.column_names}
            columns = [known.get(field.name, pa.nulls(len(rows), field.type)) for field in schema(name)]
            small.append(name, pa.table(columns, schema=schema(name)))
        touches, whose = deals.earning(small, settings, as_of)
        ends = deals.entries(small, settings, as_of, whose)
        return deals.journeys_of(touches, ends, small, settings, as_of, whose), len(touches)


def _table(seen: Journeys) -> pa.Table:
    """Return journeys as a table with a row for each, and lists of what is of its touches."""
    contact = None if seen.contact is None else _texts(seen.contact)
    of_touch = (seen.channel, seen.age_days, _texts(seen.event_id), contact, seen.touched_at)
    of_journey = (_texts(seen.lead_id), seen.ended_at, seen.conversions, seen.nulls, seen.value_cents)
    told = zip(OF_TOUCH, of_touch, strict=True)
    lists = {name: _lists(seen.start, values) for name, values in told if values is not None}
    places = pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(seen.milestone)), len(seen.stages))  # type: ignore[arg-type]
    return pa.table({**dict(zip(OF_JOURNEY, map(pa.array, of_journey), strict=True)), **lists, "milestone": places})


def _lists(start: Ints, values: Any) -> pa.LargeListArray:
    return pa.LargeListArray.from_arrays(pa.array(start, pa.int64()), pa.array(values))


def _texts(names: Names | None) -> pa.Array:
    return pa.array(names, pa.large_string())  # more than 2 GB of them are the journeys of many partitions


def _with_names(batch: pa.RecordBatch, of: dict[str, Any], channels: Sequence[str], stages: Sequence[str]) -> pa.Table:
    """Return the journeys of a partition with channels and milestones by their places among those of all partitions."""
    code = np.array([channels.index(name) for name in of["channels"]], np.int32)
    lists = batch["channel"]
    theirs = _lists(lists.offsets.to_numpy(), code[lists.flatten().to_numpy()])
    milestone = np.full((batch.num_rows, len(stages)), NONE, np.int32)
    places = [stages.index(name) for name in of["stages"]]
    milestone[:, places] = batch["milestone"].flatten().to_numpy().reshape(-1, len(places))
    every = pa.FixedSizeListArray.from_arrays(pa.array(milestone.ravel()), len(stages))
    columns = {name: batch[name] for name in batch.schema.names} | {"channel": theirs, "milestone": every}
    return pa.table(columns)


def _journeys_from(table: pa.Table, channels: Sequence[str], stages: Sequence[str]) -> Journeys:
    """Return the journeys in a table of one chunk with a row for each."""
    column = {name: table[name].chunk(0) if len(table) else table[name].combine_chunks() for name in table.column_names}
    of_touch = {name: column[name].flatten() for name in OF_TOUCH if name in column}
    return Journeys(
        channels=tuple(channels),
        start=column["channel"].offsets.to_numpy() - column["channel"].offsets[0].as_py(),
        channel=of_touch["channel"].to_numpy(),
        age_days=of_touch["age_days"].to_numpy(),
        conversions=column["conversions"].to_numpy(),
        nulls=column["nulls"].to_numpy(),
        value_cents=column["value_cents"].to_numpy(),
        event_id=of_touch["event_id"].to_numpy(zero_copy_only=False),
        contact=of_touch["contact"].to_numpy(zero_copy_only=False) if "contact" in of_touch else None,
        lead_id=column["lead_id"].to_numpy(zero_copy_only=False),
        stages=tuple(stages),
        touched_at=pd.DatetimeIndex(of_touch["touched_at"].to_pandas()),
        ended_at=pd.DatetimeIndex(column["ended_at"].to_pandas()),
        milestone=column["milestone"].flatten().to_numpy().reshape(-1, len(stages)),
    )
