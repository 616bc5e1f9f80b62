"""A small lake with all that ties leads to each other, and the one Spark session of all tests that need one."""

from __future__ import annotations

import json
import os
import shutil
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tables import claim, merge, moment, stage, table, touch, version

from features.contract import schema
from features.lake import Lake

DAYS, TOUCHES = 120, 2_000
LEADS = [f"lead-{i:02}" for i in range(60)]
MERGES = [("lead-03", "lead-41"), ("lead-55", "lead-03"), ("lead-10", "lead-11"), ("lead-59", "lead-00")]


@pytest.fixture(scope="session")
def spark() -> None:
    """See to it that Spark can start; skip without PySpark or Java, fail where CI must have them."""
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")  # starts in half the time
    if find_spec("pyspark") and (shutil.which("java") or "JAVA_HOME" in os.environ):
        return
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
    objecting = [version("lead-30", 100, {"objects_to_profiling": "yes"})]
    for name, rows in (("leads", moved + objecting), ("touches", [*strangers, *proving]), ("identities", known)):
        lake.append(name, table(name, rows))
    rated = [{"day": moment(on).date(), "currency": "USD", "rate": 0.9 - on / 1000} for on in range(0, 2 * DAYS, 3)]
    lake.append("rates", pa.Table.from_pylist(rated, schema("rates")))
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
            stage(lead, on := day(dice), some(dice, ["new", "demo", "won"]), on + 3) | worth(dice)
            for lead in LEADS
            for _ in "ab"
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


def worth(dice: np.random.Generator) -> dict[str, Any]:
    return {"amount": Decimal(int(dice.integers(-20, 90))) / 4, "currency": some(dice, ["EUR", "USD", None])}


def some(dice: np.random.Generator, of: Any) -> Any:
    return of[dice.integers(len(of))]


def day(dice: np.random.Generator) -> float:
    return int(dice.integers(2 * DAYS)) / 2
