"""Spark makes the feature rows that this machine makes, to the bit, however the leads are spread."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from conftest import ROOT
from tables import micros, moment
from tangled import DAYS, LEADS, TOUCHES, day, plain, some

from features.catalogue import CATALOGUE, count
from features.contract import ARROW
from features.errors import ConfigError
from features.lake import Lake
from features.moments import Given, MomentsOf, every
from features.rows import Rows, feature_rows, seen_in
from features.templates import written_out
from features.verbs import Feature, columns_of

OWN = (count("of_campaign_a", "", where=(("campaign", "a"),)), Feature("paid", "total", "", column="properties.paid"))
MONTHLY = every(30, micros(0), micros(DAYS + 31))


@pytest.fixture
def spark_rows(request: pytest.FixtureRequest) -> Callable[..., Iterable[Rows]]:
    """Return what makes feature rows by Spark."""
    request.getfixturevalue("spark")
    from features.spark import feature_rows as by_spark

    return by_spark


def listed(seed: int) -> pa.Table:
    """Return moments as a file lists them, in no order, some of leads that nobody knows."""
    dice = np.random.default_rng(seed)
    leads = [some(dice, [*LEADS, "nobody"]) for _ in range(400)]
    return pa.table({"lead_id": leads, "as_of": pa.array([moment(day(dice)) for _ in leads], ARROW["time"])})


def learned(lake: Lake) -> tuple[Feature, ...]:
    catalogue = (*CATALOGUE, *OWN)
    return written_out(seen_in(lake, micros(DAYS), columns_of(catalogue)), catalogue)


def told(rows: Iterable[Rows]) -> list[tuple[str, list[int], bytes]]:
    """Return each lead's moments and the bits of its features, one lead after the other."""
    found: dict[str, tuple[list[int], bytes]] = {}
    for some_rows in rows:
        for lead, at, features in zip(some_rows.lead_id.to_pylist(), some_rows.as_of, some_rows.matrix, strict=True):
            moments, bits = found.get(lead, ([], b""))
            found[lead] = [*moments, int(at)], bits + features.tobytes()
    return [(lead, *found[lead]) for lead in sorted(found)]


@pytest.mark.parametrize(
    ("parts", "moments"),
    [(1, MONTHLY), (2, MONTHLY), (5, MONTHLY), (5, Given(listed(7)))],
    ids=["1-calendar", "2-calendar", "5-calendar", "5-file"],
)
def test_spark_makes_the_rows_that_this_machine_makes(
    spark_rows: Callable[..., Iterable[Rows]], tangled: Lake, parts: int, moments: MomentsOf
) -> None:
    features, rows = learned(tangled), TOUCHES + 305
    here = told(feature_rows(tangled, features, moments))
    assert len(here) >= 57  # two were merged before the first month ended, one objects to profiling
    assert {feature.of for feature in features} == {"lead", "account"}
    assert told(spark_rows(tangled, features, moments, touches=rows // parts)) == here


def test_what_happened_at_one_moment_keeps_its_order_where_no_lead_was_merged(
    spark_rows: Callable[..., Iterable[Rows]], tmp_path: Path
) -> None:
    lake = plain(tmp_path)
    features = [feature for feature in learned(lake) if feature.of == "lead"]
    here = told(feature_rows(lake, features, MONTHLY))
    assert told(spark_rows(lake, features, MONTHLY, touches=TOUCHES // 3)) == here


def test_a_lake_without_tables_has_no_rows(spark_rows: Callable[..., Iterable[Rows]], tmp_path: Path) -> None:
    assert list(spark_rows(Lake(tmp_path), CATALOGUE[1:2], MONTHLY)) == []


@pytest.mark.usefixtures("spark")
def test_the_command_writes_the_same_file(
    command: Callable[..., tuple[int, str]], tangled: Lake, tmp_path: Path
) -> None:
    asked, workspace = tmp_path / "asked.csv", tangled.folder.parent
    pa_csv.write_csv(listed(8), asked)
    written = []
    for engine in ("local", "spark"):
        output = tmp_path / f"{engine}.parquet"
        words = ("features", "--moments", str(asked), "--output", str(output), "--engine", engine, "--quiet")
        assert command(*words, workspace=workspace) == (0, "")
        written.append(output.read_bytes())
    assert written[0] == written[1]


def test_without_pyspark_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "features.spark", raising=False)
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(
        ConfigError,
        match=r"^--engine spark needs PySpark, which is not installed\. Run pip install -e '\.\[spark\]', or use "
        r"--engine local\.$",
    ):
        __import__("features.spark")


@pytest.mark.usefixtures("spark")
def test_without_java_a_sentence_says_what_to_install(tmp_path: Path) -> None:
    code = "from features.spark import session\ntry: session()\nexcept Exception as error: print(repr(error))"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PATH": "/bin", "JAVA_HOME": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert re.fullmatch(
        r"ConfigError\(.Spark does not start: \[JAVA_GATEWAY_EXITED\] .*\. It needs Java 17 or later on the PATH or in "
        r"JAVA_HOME, such as Debian\\?'s default-jre-headless\. Install one, or use --engine local\..\)\n",
        ended.stdout,
    )
