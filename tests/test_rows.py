"""Feature rows: the features of a whole lake, at moments of a file or every so many days."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import history, merge, micros, moment, stage, table, touch, version
from typer.testing import CliRunner

from features.catalogue import CATALOGUE
from features.errors import ConfigError, DataError
from features.lake import Lake
from features.matrix import feature_matrix
from features.moments import Given, chosen, every, read_moments
from features.reading import read_history
from features.rows import Rows, feature_rows, rows_at, write_features, write_rows
from features.templates import learned_features
from features.verbs import Feature, Moments
from touchstone import app

ERASED = "erased-" + "0" * 32 + "-000000000"
FIXED = tuple(line for line in CATALOGUE if not line.each)
ALONE = tuple(line for line in FIXED if line.of == "lead")
LEADS = [
    *(version(f"l{i}", i / 10, {"country": "DE"}, account=("acme", "beta", None)[i % 3]) for i in range(9)),
    version("l1", 5, account="beta"),
]
TOUCHES = [touch(f"l{i % 9}", i / 7, ("visit", "demo_request")[i % 2], received=i / 7 + i % 4) for i in range(120)]
STAGES = [stage(f"l{i}", i, "demo") for i in range(9)]
IDENTITIES = [merge("l8", "l2", 6), merge("l8", "l8", 9)]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = Lake(tmp_path_factory.mktemp("rows") / "lake")
    for name, rows in (("leads", LEADS), ("touches", TOUCHES), ("stages", STAGES), ("identities", IDENTITIES)):
        made.append(name, table(name, rows))
    return made


def by_row(rows: list[Rows]) -> dict[tuple[str, int], Any]:
    return {
        (lead, as_of): values
        for some in rows
        for lead, as_of, values in zip(some.lead_id.to_pylist(), some.as_of.tolist(), some.matrix.tolist(), strict=True)
    }


@pytest.mark.parametrize("features", [FIXED, ALONE], ids=["all", "alone"])
@pytest.mark.parametrize("touches", [1, 30, 1000])
def test_a_lake_in_parts_has_the_rows_of_the_lake_as_a_whole(
    lake: Lake, touches: int, features: tuple[Feature, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = every(3, micros(0), micros(20))(read_history(lake))
    matrix = feature_matrix(features, whole)
    monkeypatch.setattr("features.rows.BLOCK", 4)
    parts = list(feature_rows(lake, features, every(3, micros(0), micros(20)), touches))
    found = by_row(parts)
    assert len(found) == len(whole) == sum(len(part.matrix) for part in parts)
    for lead, as_of, row in zip(whole.lead, whole.as_of.tolist(), matrix, strict=True):
        assert np.array_equal(found[whole.history.lead_ids[lead], as_of], row, equal_nan=True)


def test_every_so_many_days_a_lead_is_looked_at_from_its_creation_on_while_it_is_one_of_its_own(lake: Lake) -> None:
    moments = every(4, micros(0), micros(13))(read_history(lake, ["l2", "l8"]))
    found = {(moments.history.lead_ids[lead], as_of) for lead, as_of in zip(moments.lead, moments.as_of, strict=True)}
    assert found == {*(("l2", micros(day)) for day in (4, 8, 12)), *(("l8", micros(day)) for day in (4, 12))}


def test_the_moments_of_a_file_are_those_of_its_leads(tmp_path: Path, lake: Lake) -> None:
    file = tmp_path / "moments.csv"
    file.write_text(
        "lead_id,as_of,note\nl2,2026-01-05,x\nnobody,2026-01-05,x\nl1,2026-01-03T12:00:00Z,x\nl2,2026-01-04,y\n"
    )
    found = by_row(list(feature_rows(lake, FIXED, Given(read_moments(file)), 30)))
    assert set(found) == {("l2", micros(4)), ("l2", micros(3)), ("l1", micros(2.5))}
    asked = Moments(read_history(lake), np.array([1]), np.array([micros(2.5)]))
    assert np.array_equal(found["l1", micros(2.5)], feature_matrix(FIXED, asked)[0], equal_nan=True)


def test_moments_that_get_no_row_are_counted(tmp_path: Path, lake: Lake, command: Callable[..., Any]) -> None:
    file = tmp_path / "moments.csv"
    file.write_text("lead_id,as_of\nl2,2026-01-05\nnobody,2026-01-05\nnobody,2026-01-06\n")
    output = tmp_path / "features.parquet"
    asked = ("features", "--moments", str(file), "--output", str(output))
    assert command(*asked, workspace=lake.folder.parent)[1].splitlines()[1:] == [
        "Moments without a row: 2, of leads that are not in the lake or objected."
    ]


def test_a_file_of_moments_that_cannot_be_read_is_refused_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "moments.csv"
    file.write_text("lead,as_of\nl2,2026-01-05\n")
    with pytest.raises(DataError, match=r"moments.csv cannot be read as moments: .*lead_id.* with the columns lead_id"):
        read_moments(file)
    file.write_text("lead_id,as_of\nl2,yesterday\n")
    with pytest.raises(DataError, match="yesterday"):
        read_moments(file)


@pytest.mark.parametrize(
    "asked", [(None, None, None, None), (None, 7, 5, None), (None, 7, 5, 5), (Path("m.csv"), 7, 1, 2)]
)
def test_moments_that_are_not_clear_are_asked_for(asked: Any) -> None:
    with pytest.raises(ConfigError, match="Which moments"):
        chosen(*asked)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(len(TOUCHES))), st.lists(st.integers(0, 60), min_size=1, max_size=5))
def test_the_order_of_touches_and_of_moments_changes_no_row(order: list[int], quarters: list[int]) -> None:
    then = np.array([micros(quarter / 4) for quarter in quarters])
    one, other = history(LEADS, TOUCHES, STAGES), history(LEADS, [TOUCHES[i] for i in order], STAGES)
    lead, as_of = np.repeat(np.arange(len(one.lead_ids)), len(then)), np.tile(then, len(one.lead_ids))
    matrix = feature_matrix(FIXED, Moments(one, lead, as_of))
    assert np.array_equal(matrix, feature_matrix(FIXED, Moments(other, lead, as_of)), equal_nan=True)
    assert np.array_equal(matrix[::-1], feature_matrix(FIXED, Moments(one, lead[::-1], as_of[::-1])), equal_nan=True)


def test_who_objects_and_who_was_erased_is_in_no_feature_table() -> None:
    leads = [
        version("ada", 0),
        version("bob", 0),
        version("bob", 5, {"objects_to_profiling": "yes"}),
        version(ERASED, 0),
    ]
    seen = history(leads)
    asked = Moments(seen, np.arange(3), np.full(3, micros(2)))
    rows = rows_at(FIXED, asked)
    assert (rows.lead_id.to_pylist(), rows.as_of.tolist(), len(rows.matrix)) == (["ada"], [micros(2)], 1)
    assert len(rows_at(FIXED, Moments(seen, np.arange(2, 3), np.full(1, micros(2)))).lead_id) == 0


def test_a_file_that_could_not_be_finished_is_not_there(tmp_path: Path) -> None:
    def broken() -> Any:
        yield Rows(pa.array(["ada"]).dictionary_encode(), np.array([1]), np.zeros((1, 1), np.float32))
        raise DataError("The lake is gone.")

    with pytest.raises(DataError, match="gone"):
        write_rows(broken(), [Feature("a", "count", "")], tmp_path / "rows.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_file_holds_the_numbers_to_the_bit_and_nothing_where_one_is_missing(tmp_path: Path) -> None:
    matrix = np.array([[0.1, 3], [np.nan, 0], [2.5, 16_777_216]], np.float32)
    some = Rows(pa.array(["ada", "bob", "bob"]).dictionary_encode(), np.array([1, 1, 2]), matrix)
    write_rows([some, some], [Feature("a", "count", ""), Feature("b", "count", "")], tmp_path / "rows.parquet")
    written = pq.read_table(tmp_path / "rows.parquet")
    assert written["lead_id"].to_pylist() == ["ada", "bob", "bob"] * 2
    assert (written["a"].null_count, written["b"].null_count) == (2, 0)
    values = np.stack([np.array(written[name], np.float32) for name in ("a", "b")], axis=1)
    assert np.array_equal(values, np.concatenate([matrix, matrix]), equal_nan=True)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_the_command_writes_what_was_known(tmp_path: Path, lake: Lake, ending: str) -> None:
    output = tmp_path / f"features.{ending}"
    said = CliRunner().invoke(
        app,
        ["features", "--workspace", str(lake.folder.parent), "--every", "6", "--from", "2026-01-03",
         "--to", "2026-01-20", "--output", str(output), "--json"],
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    written = pd.read_parquet(output) if ending == "parquet" else pd.read_csv(output, parse_dates=["as_of"])
    learned = learned_features(read_history(lake), micros(19))
    assert json.loads(said.stdout) == {
        "rows": len(written), "left_out": 0, "features": len(learned), "output": str(output),
    }  # fmt: skip
    assert list(written.columns) == ["lead_id", "as_of", *(feature.name for feature in learned)]
    assert set(written["as_of"]) == {pd.Timestamp(moment(day)) for day in (2, 8, 14)}
    on = written.set_index(["lead_id", "as_of"]).sort_index()
    assert on.loc[("l4", datetime(2026, 1, 9, tzinfo=UTC)), "touches"] == sum(
        row["lead_id"] == "l4" and row["received_at"] < moment(8) for row in TOUCHES
    )


def test_the_command_says_where_to_write(lake: Lake) -> None:
    with pytest.raises(ConfigError, match="Where to"):
        write_features(lake, CATALOGUE, chosen(None, 1, 1, 2), None, "local")
