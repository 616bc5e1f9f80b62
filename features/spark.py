"""The history by Apache Spark: partitions of leads, each of which goes through the code that one machine uses.

Spark reads the lake's files, and brings together the rows of leads that have to be seen together: the records of one
merged lead, the contacts of one account. A partition of them is a small lake of its own, of which features/rows.py
makes features, serving/batch.py scores, and attribution/deals.py journeys: to the bit as one machine makes them. All
that is asked of Spark is DataFrames and ``mapInArrow``.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contract import ARROW, schema
from features.errors import ConfigError
from features.history import history_of
from features.identities import CLAIM, found, merges
from features.lake import Lake
from features.merges import firsts, pairs_of
from features.moments import Given, MomentsOf
from features.ordered import CODED
from features.reading import KEYS, READ, colleagues, touch_columns
from features.rows import TOUCHES, Rows, rows_at
from features.verbs import Feature, columns_of, look_at_accounts

# Spark warns of pandas 3, of which nothing is used here: what goes in and out are Arrow tables.
warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
try:
    from pyspark import StorageLevel
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql import functions as F  # noqa: N812  # as Spark's own pages call it
except ImportError:
    raise ConfigError(
        "--engine spark needs PySpark, which is not installed. Run pip install -e '.[spark]', or use --engine local."
    ) from None

TABLE, ROW, FIRST = "table", "row", "first"
MOMENTS = pa.schema([("lead_id", pa.string()), ("as_of", ARROW["time"]), (ROW, pa.int64())])
NO_MOMENTS = MOMENTS.empty_table()
Columns = Mapping[str, Sequence[str]]  # of each table, those that are read
Work = Callable[[dict[str, pa.Table]], Iterator[pa.RecordBatch]]  # from the tables of a partition
BLOCK = 32_768  # feature rows that travel together, so that none of Spark's cells is too large
ELSEWHERE = {"SPARK_HOME", "SPARK_CONF_DIR", "SPARK_REMOTE", "PYSPARK_GATEWAY_PORT"}  # who sets these knows a cluster
LOGGED = Path(__file__).with_name("log4j2.properties").as_uri()  # errors alone
LOCAL = {
    "spark.master": "local[2]",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "2g",
    "spark.driver.maxResultSize": "0",  # rows are fetched partition by partition
    "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={LOGGED}",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
    "spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1),  # else it weighs each row: 12 CPU s become 7
}


def feature_rows(
    lake: Lake, features: Sequence[Feature], moments_of: MomentsOf, touches: int = TOUCHES
) -> Iterator[Rows]:
    """Yield the features at the moments that ``moments_of`` a part of the history names, for all parts of the lake.

    A partition has about so many ``touches``, and comes in the order of its leads. All are measured before the first
    is yielded; meanwhile Spark keeps them on the disks of its machines.

    Raises:
        ConfigError: when Spark does not start.

    """
    listed, moments_in = NO_MOMENTS, _always(moments_of)
    if isinstance(moments_of, Given):  # each partition needs those of its own leads alone
        listed, moments_in = moments_of.moments, Given
    columns = {**history_columns(features), "moments": tuple(MOMENTS.names)}
    rows = partitions(lake, columns, touches, listed, accounts=look_at_accounts(features))
    for batch in worked(rows, columns, _measured(tuple(features), moments_in)):
        values = batch["features"]
        matrix = values.flatten().to_numpy().reshape(len(values), values.type.list_size)
        yield Rows(batch["lead_id"], np.asarray(batch["as_of"]), matrix)


def history_columns(features: Sequence[Feature]) -> dict[str, tuple[str, ...]]:
    """Return the columns of each table that a history for some features is made of, with the keys."""
    columns = {name: (*READ[name], *KEYS[name]) for name in READ}
    return {**columns, "touches": touch_columns(columns_of(features), keyed=True), "identities": CLAIM}


def session() -> SparkSession:
    """Return the Spark session that is there, or that a cluster gives; elsewhere a small one on this machine alone."""
    builder = SparkSession.builder.appName("touchstone")
    if SparkSession.getActiveSession() is None and not ELSEWHERE & os.environ.keys():
        os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
        builder = builder.config(map=LOCAL)
    try:
        return builder.getOrCreate()
    except PySparkRuntimeError as error:
        raise ConfigError(
            f"Spark does not start: {error}. It needs Java 17 or later on the PATH or in JAVA_HOME, such as Debian's "
            "default-jre-headless. Install one, or use --engine local."
        ) from None


def _always(moments_of: MomentsOf) -> Callable[[pa.Table], MomentsOf]:
    return lambda _: moments_of


def partitions(
    lake: Lake, columns: Columns, touches: int, listed: pa.Table = NO_MOMENTS, *, accounts: bool
) -> DataFrame:
    """Return the rows of all tables in one frame, partitioned so that what has to be seen together is together.

    A partition has about so many ``touches``. A later ingest changes none of them.

    Raises:
        ConfigError: when Spark does not start.

    """
    spark, then = session(), Lake(lake.folder, lake.versions())
    merged = merges(then)
    # Few rows are the driver's: merges, the anonymous touches that became a lead's, and the moments of a file.
    rows = {name: _schema(name, columns).empty_table() for name in columns}
    rows |= {"touches": found(then, columns["touches"]), "identities": merged}
    rows |= {"moments": _numbered(listed)} if "moments" in columns else {}
    frames = [_frame(spark, then, name, rows[name].cast(_schema(name, columns))) for name in columns]
    everything = reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), frames)
    first = firsts([*pairs_of(merged), *(colleagues(then) if accounts else [])])
    kin = pa.table([pa.array(first.keys(), pa.string()), pa.array(first.values(), pa.string())], ["lead_id", FIRST])
    tied = everything.join(F.broadcast(spark.createDataFrame(kin)), "lead_id", "left")
    parts = max(1, round(sum(part.rows for part in then.parts("touches")) / touches))
    return tied.repartition(parts, F.coalesce(FIRST, "lead_id")).drop(FIRST)


def worked(rows: DataFrame, columns: Columns, work: Work) -> Iterator[pa.RecordBatch]:
    """Yield what some ``work`` makes of the tables of each partition, whatever columns that has.

    Partitions are worked on side by side, and what they made is fetched one after the other.
    """
    packed = each(rows, columns, lambda tables: map(_packed, work(tables)), "made binary")
    packed = packed.persist(StorageLevel.DISK_ONLY)
    try:
        packed.count()
        for (cell,) in packed.toLocalIterator():
            yield pa.ipc.open_stream(cell).read_next_batch()
    finally:
        packed.unpersist()


def each(rows: DataFrame, columns: Columns, work: Work, made: str) -> DataFrame:
    """Return what some ``work`` makes of the tables of each partition, as a frame with the columns ``made`` (DDL).

    Spark carries the work to its workers, pickled, as it carries every function: nothing of ours is read back from a
    file.
    """

    def working(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        arrived = list(batches)
        if arrived:
            yield from work(_tables(pa.Table.from_batches(arrived), columns))

    return rows.mapInArrow(working, made)


def _frame(spark: SparkSession, lake: Lake, name: str, more: pa.Table) -> DataFrame:
    """Return the rows of a table that are some lead's, and more rows, all marked with its name."""
    rows = spark.createDataFrame(more)
    own = name not in {"identities", "moments"}  # of which the driver has what is needed
    files = [_uri(part.path) for part in lake.parts(name)] if own else []
    if files:
        stored = spark.read.schema(rows.schema).parquet(*files)
        rows = rows.unionByName(stored.where("lead_id IS NOT NULL"))
    return rows.withColumn(TABLE, F.lit(name))


def _uri(path: Path) -> str:
    """Return a path as Spark reads it: no pattern, and on the machines' own disks, whatever a cluster reads first."""
    return "file://" + re.sub(r"([{}])", r"\\\1", str(path))


def _measured(features: tuple[Feature, ...], moments_in: Callable[[pa.Table], MomentsOf]) -> Work:
    """Return what makes the feature rows of one partition."""

    def measured(tables: dict[str, pa.Table]) -> Iterator[pa.RecordBatch]:
        moments = moments_in(tables.pop("moments").sort_by(ROW))
        rows = rows_at(features, moments(history_of(**tables, more=columns_of(features))))
        for start in range(0, len(rows.as_of), BLOCK):
            block = slice(start, start + BLOCK)
            matrix = rows.matrix[block]
            values = pa.FixedSizeListArray.from_arrays(matrix.ravel(), matrix.shape[1])
            yield pa.record_batch([rows.lead_id[block], rows.as_of[block], values], ["lead_id", "as_of", "features"])

    return measured


def _tables(rows: pa.Table, columns: Columns) -> dict[str, pa.Table]:
    """Return the rows of each table, in no order, with names coded as the lake reads them."""
    tables = {}
    for name in columns:
        plain = _schema(name, columns)
        coded = (f.with_type(pa.dictionary(pa.int32(), f.type)) if f.name in CODED else f for f in plain)
        theirs = rows.filter(pc.equal(rows[TABLE], name)).select(columns[name])
        tables[name] = theirs.combine_chunks().cast(pa.schema(coded if name in READ else plain))
    return tables


def _packed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows of any columns as an Arrow stream in one cell of bytes, so that Spark carries one column of them."""
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, batch.schema) as writer:
        writer.write_batch(batch)
    return pa.record_batch([pa.array([stream.getvalue().to_pybytes()], pa.binary())], ["made"])


def _schema(name: str, columns: Columns) -> pa.Schema:
    every = MOMENTS if name == "moments" else schema(name)
    return pa.schema([every.field(column) for column in columns[name]])


def _numbered(moments: pa.Table) -> pa.Table:
    """Return moments with their row, since a shuffle keeps no order."""
    return moments.select(["lead_id", "as_of"]).append_column(ROW, pa.array(np.arange(len(moments))))
