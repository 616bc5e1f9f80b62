"""Spark makes the feature rows that this machine makes, to the bit, however the leads are spread."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from conftest import ROOT
from tables import claim, merge, micros, moment, stage, table, touch, version

from features.catalogue import CATALOGUE, count
from features.contract import ARROW
from features.errors import ConfigError
from features.lake import Lake
from features.moments import Given, MomentsOf, every
from features.rows import Rows, feature_rows, seen_in
from features.templates import written_out
from features.verbs import Feature, columns_of

DAYS, TOUCHES = 120, 2_000
LEADS = [f"lead-{i:02}" for i in range(60)]
MERGES = [("lead-03", "lead-41"), ("lead-55", "lead-03"), ("lead-10", "lead-11"), ("lead-59", "lead-00")]
OWN = (count("of_campaign_a", "", where=(("campaign", "a"),)), Feature("paid", "total", "", column="properties.paid"))
MONTHLY = every(30, micros(0), micros(DAYS + 31))


@pytest.fixture(scope="session")
def spark_rows() -> Callable[..., Iterable[Rows]]:
    """Return what makes feature rows by Spark; skip without PySpark or Java, fail where CI must have them."""
    try:
        from features.spark import feature_rows as by_spark
    except ConfigError:
        return absent()
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")  # starts in half the time
    return by_spark if shutil.which("java") or "JAVA_HOME" in os.environ else absent()


def absent() -> Any:
    reason = "PySpark or Java is not installed (make install EXTRAS=dev,spark), so what Spark makes goes unchecked."
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def tangled(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Return a lake with all that ties leads to each other, in a folder that Spark might take for a pattern."""
    dice = np.random.default_rng(6)
    lake = plain(tmp_path_factory.mktemp("tangled") / "a {b,c} #1" / "lake")
    moved = [
        version(some(dice, LEADS), day(dice)) | {"account_id": some(dice, ["acme-1", None, "zeta"])} for _ in "x" * 20
    ]
    strangers = [touch(None, day(dice), anonymous=f"anon-{some(dice, range(20))}") for _ in range(300)]
    proving = [touch(some(dice, LEADS), day(dice), anonymous=f"anon-{i}") for i in range(5, 10)]
    known = [claim(f"anon-{i}", some(dice, LEADS), day(dice)) for i in range(0, 20, 2)]
    known += [merge(duplicate, lead, day(dice)) for duplicate, lead in MERGES]
    known += [merge("lead-41", "lead-41", 119), merge("lead-10", "lead-10", 110)]
    for name, rows in (("leads", moved), ("touches", [*strangers, *proving]), ("identities", known)):
        lake.append(name, table(name, rows))
    return lake


def plain(folder: Path) -> Lake:
    """Return a lake in several files, where many things happen at one moment, arrive late, or are a machine's."""
    dice, lake = np.random.default_rng(5), Lake(folder)
    versions = [
        version(lead, on, {"title": some(dice, ["CEO", "Clerk"])}, created=on) | {"account_id": f"acme-{i % 12}"}
        for i, lead in enumerate(LEADS)
        for on in [day(dice) / 4]
    ]
    for _ in range(2):
        touches = [touched(dice) for _ in range(TOUCHES // 2)]
        stages = [
            stage(lead, on := day(dice), some(dice, ["new", "demo", "won"]), on + 3) for lead in LEADS for _ in "ab"
        ]
        for name, rows in (("leads", versions), ("touches", touches), ("stages", stages)):
            lake.append(name, table(name, rows))
        versions = [version(some(dice, LEADS), day(dice), {"title": "CFO"}) for _ in range(20)]
    return lake


def touched(dice: np.random.Generator) -> dict[str, Any]:
    on, kinds = day(dice), ["visit", "demo_request", "meeting", "email_sent"]
    row = touch(
        some(dice, LEADS), on, some(dice, kinds), some(dice, ["Email", "Search", "Paid Search"]),
        received=on + some(dice, [0, 0, 0, 3.5, 20]), machine=some(dice, [True, *[False] * 9]),
    )  # fmt: skip
    paid = json.dumps({"paid": float(dice.random())})
    return row | {"campaign": some(dice, ["a", "b", None]), "properties": paid}


def some(dice: np.random.Generator, of: Any) -> Any:
    return of[dice.integers(len(of))]


def day(dice: np.random.Generator) -> float:
    return int(dice.integers(2 * DAYS)) / 2


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
    assert len(here) >= 58  # two were merged before the first month ended
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


@pytest.mark.usefixtures("spark_rows")
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


@pytest.mark.usefixtures("spark_rows")
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
