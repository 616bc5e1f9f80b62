"""Aggregated paths: what a file says, and what is said of a file that cannot be read."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from weakref import ReferenceType, ref

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pathed import path_journeys

from attribution.counting import Counted, counted, counted_in_parts
from attribution.credit import credit
from attribution.journeys import Journeys
from attribution.paths import path_parts, read_paths
from attribution.rules import RULES, shares, time_decay
from features.errors import DataError

REMEDY = 'Write paths as "Email > Webinar", counts as numbers of 0 or more, amounts as 1234.50. Nothing was read.'


def written(folder: Path, text: str) -> Path:
    file = folder / "paths.csv"
    file.write_text(text, encoding="utf-8")
    return file


def told(seen: Journeys) -> dict[str, tuple[float, float, int]]:
    """Conversions, nulls and cents of each path, added up over its rows."""
    steps = np.split(np.array(seen.channels, dtype=object)[seen.channel], seen.start[1:-1])
    rows = zip(steps, seen.conversions.tolist(), seen.nulls.tolist(), seen.value_cents.tolist(), strict=True)
    sums: dict[str, tuple[float, float, int]] = {}
    for names, won, lost, cents in rows if len(seen.conversions) else ():
        before = sums.get(" > ".join(names), (0, 0, 0))
        sums[" > ".join(names)] = (before[0] + won, before[1] + lost, before[2] + cents)
    return sums


def test_a_csv_file_gives_a_journey_for_each_path(tmp_path: Path) -> None:
    file = written(tmp_path, "path,conversions,value,nulls\nPaid Search > Email,3,120.50,40\nEmail,1.5,-7,2\n")
    assert told(read_paths(file)) == {"Email": (1.5, 2, -700), "Paid Search > Email": (3, 40, 12_050)}


def test_touches_of_a_path_count_as_one_day_apart(tmp_path: Path) -> None:
    seen = read_paths(written(tmp_path, "path,conversions\nA > B > C,1\nD,1\n"))
    np.testing.assert_allclose(shares(seen, time_decay(1)), [1 / 7, 2 / 7, 4 / 7, 1])


def test_a_parquet_file_says_the_same_as_a_csv_file(tmp_path: Path) -> None:
    text = "path,conversions,value,nulls\nA > B,3,0.29,4\nA,1,1234.5,2\n"
    rows = pd.DataFrame({"path": ["A > B", "A"], "conversions": [3, 1], "value": [0.29, 1234.5], "nulls": [4, 2]})
    rows.to_parquet(tmp_path / "paths.parquet")
    assert told(read_paths(tmp_path / "paths.parquet")) == told(read_paths(written(tmp_path, text)))


def test_decimals_of_a_parquet_file_stay_exact(tmp_path: Path) -> None:
    amounts = [Decimal("90071992547.93"), None]
    rows = pd.DataFrame({"path": ["A", "B"], "conversions": [1, 1], "value": amounts})
    rows.to_parquet(tmp_path / "paths.parquet")
    assert told(read_paths(tmp_path / "paths.parquet")) == {"A": (1, 0, 9_007_199_254_793), "B": (1, 0, 0)}


def test_value_and_nulls_are_zero_where_they_are_missing(tmp_path: Path) -> None:
    assert told(read_paths(written(tmp_path, "path,conversions\nA,1\n"))) == {"A": (1, 0, 0)}
    assert told(read_paths(written(tmp_path, "path,conversions,value,nulls\nA,1,,\n"))) == {"A": (1, 0, 0)}


def test_rows_of_one_path_are_added_up_whatever_the_spaces_in_them(tmp_path: Path) -> None:
    file = written(tmp_path, "path,conversions,value,nulls\nA > B,1,0.10,2\nC,5,5,5\n A>B ,3,0.20,4\n")
    assert told(read_paths(file)) == {"A > B": (4, 6, 30), "C": (5, 5, 500)}


def test_the_order_of_rows_and_columns_changes_nothing(tmp_path: Path) -> None:
    one = told(read_paths(written(tmp_path, "path,conversions,nulls\nB > A,1,2\nA,3,4\n")))
    other = told(read_paths(written(tmp_path, "nulls,conversions,path\n4,3,A\n2,1,B > A\n")))
    assert one == other


@pytest.mark.parametrize(
    ("amount", "cents"),
    [
        ("0.005", 0),
        ("0.015", 2),
        ("0.025", 2),
        ("-0.015", -2),
        ("0.575", 58),
        ("1.005", 100),
        ("1e3", 100_000),
        ("4503599627370.97", 450_359_962_737_097),
    ],
)
def test_amounts_are_exact_and_half_cents_go_to_the_even_cent(tmp_path: Path, amount: str, cents: int) -> None:
    file = written(tmp_path, f"path,conversions,value\nA,1,{amount}\n")
    assert told(read_paths(file)) == {"A": (1, 0, cents)}


def test_the_index_of_a_table_of_paths_means_nothing() -> None:
    paths = pd.DataFrame({"path": ["A", "B"], "conversions": [1, 2], "nulls": 0, "value_cents": 0}, index=[5, 5])
    assert told(path_journeys(paths)) == {"A": (1, 0, 0), "B": (2, 0, 0)}


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert told(read_paths(written(tmp_path, "\ufeffpath,conversions\nA,1\n"))) == {"A": (1, 0, 0)}


def test_a_channel_may_be_called_none(tmp_path: Path) -> None:
    assert told(read_paths(written(tmp_path, "path,conversions\nNone > NA,1\n"))) == {"None > NA": (1, 0, 0)}


def test_a_file_without_rows_has_no_journeys(tmp_path: Path) -> None:
    seen = read_paths(written(tmp_path, "path,conversions\n"))
    assert (seen.channels, seen.conversions.tolist()) == ((), [])


def test_every_wrong_row_is_counted_and_the_first_of_each_kind_is_named(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        'path,conversions,value,nulls\nA,1,1,1\n" ",2,1,1\nA >  > B,many,1,1\nA >,-1,1,-2\n> A,inf,free,nan\n'
        "A,,1,1\nA,1,Infinity,1\nA,1,1e99,1e99\n",
    )
    sentences = (
        'paths.csv: path is empty in 1 of 8 rows (first: row 2, "").'
        ' path lacks a channel beside a separator in 3 of 8 rows (first: row 3, "A >  > B").'
        ' conversions is not a count in 4 of 8 rows (first: row 3, "many").'
        ' value is not an amount in 3 of 8 rows (first: row 5, "free").'
        f' nulls is not a count in 3 of 8 rows (first: row 4, "-2"). {REMEDY}'
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentences)}$"):
        read_paths(file)


def test_missing_columns_are_named_with_those_that_are_there(tmp_path: Path) -> None:
    file = written(tmp_path, "route;sales\nA;1\n")
    sentences = (
        "paths.csv has no column path and no column conversions; its columns are route, sales."
        " Name them path, conversions and, if known, value, nulls."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentences)}$"):
        read_paths(file)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "No columns to parse from file"),
        ("path,conversions\nA > B,1,000\n", "its rows have more fields than its header"),
        ("path,conversions\nA,1\nA > B,1,000\n", "Expected 2 fields in line 3, saw 3"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(DataError, match=rf"^paths\.csv cannot be read: .*{reason}"):
        read_paths(file)


def test_a_file_in_the_encoding_of_windows_is_told_how_to_be_saved(tmp_path: Path) -> None:
    file = tmp_path / "paths.csv"
    file.write_bytes("path,conversions\nCafé > Ads,3\n".encode("cp1252"))
    with pytest.raises(
        DataError, match=r"^paths\.csv is not UTF-8\. Save it as UTF-8, or as Parquet\. Nothing was read\.$"
    ):
        read_paths(file)


def test_what_a_spreadsheet_of_another_country_separates_by_semicolons_or_tabs_is_read(tmp_path: Path) -> None:
    rows = "path,conversions,value\nEmail > Events,2,10.01\n"
    for separator in ";\t":
        journeys = read_paths(written(tmp_path, rows.replace(",", separator)))
        assert (journeys.channels, journeys.value_cents.tolist()) == (("Email", "Events"), [1001])


@pytest.mark.parametrize("name", ["absent.csv", "absent.parquet"])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"{name} does not exist\. Give a CSV or Parquet file\."):
        read_paths(tmp_path / name)


PATHS = st.lists(
    st.tuples(st.lists(st.sampled_from(list("zyxabc")), min_size=1, max_size=40), st.integers(1, 3),
              st.integers(0, 3), st.integers(-500, 500)),
    min_size=1, max_size=30,
)  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(PATHS)
def test_a_file_read_in_parts_counts_as_it_does_at_once(rows: list[tuple[list[str], int, int, int]]) -> None:
    parts, whole = in_parts_and_at_once(rows)
    for some, all_ in zip(parts.counts[:-1], whole.counts[:-1], strict=True):
        np.testing.assert_allclose(some, all_, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(PATHS, st.integers(1, 5))
def test_moves_of_very_many_channels_are_listed_as_a_table_would_have_them(
    rows: list[tuple[list[str], int, int, int]], many: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        table = in_parts_and_at_once(rows)[1].counts
        patch.setattr("attribution.counting.MANY", many)
        patch.setattr("attribution.moves.FEW", 3)
        for seen in in_parts_and_at_once(rows):
            if len(seen.channels) > many:
                listed = np.zeros(table.moves_by_bucket.shape)
                np.add.at(listed, seen.counts.made[0][:3], seen.counts.made[0].times)
                np.testing.assert_allclose(listed, table.moves_by_bucket, atol=1e-9)
            np.testing.assert_allclose(seen.counts.moves, table.moves, atol=1e-9)
            np.testing.assert_allclose(seen.counts.converted_by_bucket, table.converted_by_bucket, atol=1e-9)


def test_no_part_is_kept_when_it_has_been_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attribution.paths.ROWS_AT_ONCE", 2)
    file, seen, kept = tmp_path / "paths.parquet", list[ReferenceType[Journeys]](), list[int]()
    pd.DataFrame({"path": ["Email", "Email > Paid"] * 5, "conversions": 1}).to_parquet(file)

    def passing(part: Journeys) -> Journeys:
        kept.append(sum(each() is not None for each in seen))
        seen.append(ref(part))
        return part

    credit(map(passing, path_parts(file)), ["linear", "markov:1"])
    assert kept == [0, 1, 0, 0, 0]  # the second is asked for first, to know whether there are any parts


def in_parts_and_at_once(rows: list[tuple[list[str], int, int, int]]) -> tuple[Counted, Counted]:
    table = pd.DataFrame(
        [(" > ".join(path), won, lost, cents / 100) for path, won, lost, cents in rows],
        columns=["path", "conversions", "nulls", "value"],
    )
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        file = Path(folder) / "paths.parquet"
        table.to_parquet(file)
        patch.setattr("attribution.paths.ROWS_AT_ONCE", 2)
        patch.setattr("attribution.counting.EXACT_NUMBERS", 0)
        patch.setattr("attribution.counting.FEWEST_BUCKETS", 128)
        rules = [RULES[name] for name in ("first", "linear", "shapley", "last_non_direct", "j")]
        parts, once = counted_in_parts(path_parts(file), rules, transitions=True), read_paths(file)
        whole = counted(once, rules, transitions=True)
    assert parts.channels == whole.channels
    assert (parts.value_cents, parts.untouched) == (whole.value_cents, whole.untouched)
    return parts, whole


def test_a_float_of_half_a_cent_means_the_decimal_that_it_is_written_as(tmp_path: Path) -> None:
    file = tmp_path / "paths.parquet"
    rows = {"path": ["Email", "Events", "Display"], "conversions": [1, 1, 1], "value": [0.575, -0.575, 1.005]}
    pd.DataFrame(rows).to_parquet(file)
    assert read_paths(file).value_cents.tolist() == [58, -58, 100]  # 100 × 0.575 is a little less than 57.5


def test_whole_numbers_of_a_parquet_file_may_be_missing(tmp_path: Path) -> None:
    file = tmp_path / "paths.parquet"
    counts = {"conversions": pa.array([1, 1], pa.int64()), "nulls": pa.array([None, 2], pa.int64())}
    pq.write_table(pa.table({"path": ["A", "B"], **counts}), file)
    assert told(read_paths(file)) == {"A": (1, 0, 0), "B": (1, 2, 0)}


@pytest.mark.parametrize("amount", [np.inf, -np.inf, 1.1e13])
def test_a_float_that_is_no_amount_is_refused(tmp_path: Path, amount: float) -> None:
    file = tmp_path / "paths.parquet"
    pd.DataFrame({"path": ["A", "B"], "conversions": [1, 1], "value": [1.0, amount]}).to_parquet(file)
    said = re.escape(f'value is not an amount in 1 of 2 rows (first: row 2, "{amount}").')
    with pytest.raises(DataError, match=said):
        read_paths(file)
