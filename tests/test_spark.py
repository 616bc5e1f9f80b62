"""Spark makes the feature rows that this machine makes, to the bit, however the leads are spread."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import json as _j
import numpy as np
import pyarrow as pa
import pytest
from conftest import ROOT
from tables import claim, merge, micros, moment, stage, table, touch, version

from features.catalogue import CATALOGUE, count
from features.lake import Lake
from features.moments import Given, MomentsOf, every
from features.rows import Rows, feature_rows, rows_at
from features.rows import seen_in, written_out
from features.verbs import Feature, columns_of

LEADS, DAYS = 60, 120


@pytest.fixture(scope="session")
def on_spark() -> Callable[..., list[Rows]]:
    from features.spark import feature_rows as spark_rows
    return lambda *a, **k: list(spark_rows(*a, **k))


def made(folder: Path, seed: int) -> Lake:
    """Return a lake of all that is awkward, stored in several files."""
    dice = np.random.default_rng(seed)
    leads = [f"lead-{i:02}" for i in range(LEADS)]
    some = lambda rows: rows[dice.integers(len(rows))]  # noqa: E731
    day = lambda: int(dice.integers(0, DAYS * 2)) / 2  # noqa: E731  # so that many are at one moment
    versions = [
        version(lead, on, {"title": some(["CEO", "Engineer"]), "seats": i}, created=on) | {"account_id": f"acme-{i % 12}"}
        for i, lead in enumerate(leads)
        for on in [day() / 4]
    ]
    versions += [version(some(leads), day()) | {"account_id": some(["acme-1", "acme-2", None, "zeta"])} for _ in range(20)]
    touches = []
    for i in range(2500):
        on = day()
        who = some(leads) if i % 5 else None
        row = touch(
            who, on, some(["visit", "demo_request", "meeting", "email_sent"]), some(["Email", "Search", "Paid Search"]),
            received=on + some([0, 0, 0, 3.5, 20]), anonymous=f"anon-{some(range(40))}" if i % 5 in {0, 1} else None,
            machine=i % 11 == 0,
        )
        touches.append(row | {"campaign": some(["a", "b", None]), "properties": json.dumps({"n": i})})
    stages = [stage(some(leads), day(), some(["new", "demo", "won"]), received=DAYS) for _ in range(40)]
    stages += [stage(lead, day(), some(["new", "demo", "won"])) for lead in leads for _ in range(3)]
    known = [claim(f"anon-{i}", some(leads), day()) for i in range(0, 40, 3)]
    for one, other in (("lead-03", "lead-41"), ("lead-55", "lead-03"), ("lead-10", "lead-11"), ("lead-59", "lead-00")):
        known += [merge(one, other, day())]
    known += [merge("lead-41", "lead-41", DAYS), merge("lead-10", "lead-10", 110)]
    lake = Lake(folder)
    for name, rows in {"leads": versions, "touches": touches, "stages": stages, "identities": known}.items():
        for part in (rows[::2], rows[1::2]):
            lake.append(name, table(name, part))
    return lake


def test_try(tmp_path, on_spark):
    lake = made(tmp_path, 1)
    cat = (*CATALOGUE, count("campaign_a", "", where=(("campaign", "a"),)), Feature("n", "total", "", column="properties.n", days=30))
    features = written_out(seen_in(lake, micros(DAYS), columns_of(cat)), cat)
    print(len(features))
    of = every(10, micros(0), micros(DAYS))
    import time
    here = whole(feature_rows(lake, features, of))
    for parts in (1, 2, 5):
        t = time.time()
        there = whole(on_spark(lake, features, of, touches=2500 // parts))
        print(time.time() - t, here.equals(there))
        assert here.equals(there)

def whole(rows: Sequence[Rows]) -> pa.Table:
    """Return all rows in one table, in the order of leads and moments; a feature is its bits."""
    tables = [pa.table({"lead_id": r.lead_id.cast(pa.string()), "as_of": r.as_of, **{str(i): c.view(np.int32) for i, c in enumerate(np.ascontiguousarray(r.matrix.T))}}) for r in rows]
    return pa.concat_tables(tables).sort_by([("lead_id", "ascending"), ("as_of", "ascending")]).combine_chunks()
