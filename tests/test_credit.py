"""Credit: conserved under every model, exact to the cent, with intervals that hold it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import shared_data
from hypothesis import given, settings
from hypothesis import strategies as st
from pathed import path_journeys

from attribution.bootstrap import replicated
from attribution.counting import Spread
from attribution.credit import Attribution, credit, summary
from attribution.journeys import Journeys, journeys
from attribution.models import MODELS
from attribution.paths import read_paths
from attribution.shares import split_cents
from features.errors import DataError

SIGNED = {"shapley_rate"}  # a channel of journeys that convert less often lowers the rate

some_worlds = settings(max_examples=15, deadline=None)  # a credit of all models takes a while

Row = tuple[str, int, int, int]  # path, conversions, nulls, value in cents

PATH = st.lists(st.sampled_from(["Direct", "Email", "Paid Search", "Webinar"]), max_size=5).map(" > ".join)
CENTS = st.integers(-(10**9), 10**9)
ROWS = st.lists(st.tuples(PATH, st.integers(0, 5), st.integers(0, 5), CENTS), min_size=1, max_size=8)


def journeys_of(rows: Sequence[Row]) -> Journeys:
    return path_journeys(pd.DataFrame(rows, columns=["path", "conversions", "nulls", "value_cents"]))


def attributed(rows: Sequence[Row], models: Sequence[str] = MODELS, replicates: int = 2) -> Attribution:
    return credit(journeys_of(rows), models, replicates=replicates)


def figures(attribution: Attribution, column: str) -> dict[tuple[str, str], float]:
    """One column of the channels, by model and channel."""
    rows = attribution.channels
    keys = zip(rows["model"], rows["channel"], strict=True)
    return dict(zip(keys, rows[column].astype("float64"), strict=True))


def world() -> Journeys:
    """Ada: Email, Webinar, Direct, then 100.00. Bob: 50.00, untouched. Cleo: Email, then nothing."""
    start = pd.Timestamp("2026-01-01", tz="UTC")
    days = pd.to_timedelta([0, 7, 14, 3], unit="D")
    touches = pd.DataFrame(
        {
            "lead_id": ["ada", "ada", "ada", "cleo"],
            "event_id": ["e1", "e2", "e3", "e4"],
            "occurred_at": (start + days).as_unit("us"),
            "channel": ["Email", "Webinar", "Direct", "Email"],
        }
    )
    sold = (start + pd.to_timedelta([15, 2], unit="D")).as_unit("us")
    conversions = pd.DataFrame({"lead_id": ["ada", "bob"], "occurred_at": sold, "value_cents": [10_000, 5_000]})
    return journeys(touches, conversions, start + pd.Timedelta(days=30), None)


def test_each_model_hands_out_the_conversion_of_ada_its_own_way() -> None:
    amounts = figures(credit(world(), MODELS, replicates=1), "value")
    by_channel = {m: tuple(amounts[m, name] for name in ("Email", "Webinar", "Direct")) for m in MODELS}
    assert by_channel == {
        "first": (100, 0, 0),
        "last": (0, 0, 100),
        "last_non_direct": (0, 100, 0),
        "linear": (33.34, 33.33, 33.33),
        "position_based": (40, 20, 40),
        "time_decay": (14.29, 28.57, 57.14),
        "j": (20, 20, 60),
        "inverse_j": (60, 20, 20),
        "shapley": (33.34, 33.33, 33.33),
        "markov:1": (33.33, 33.33, 33.34),
        "shapley_rate": (33.33, 33.33, 33.34),  # three orders of joining, of which the last completes the journey
    }


def test_what_nobody_touched_is_unattributed() -> None:
    assert credit(world(), ["last"]).unattributed == {"credit": 1, "value": Decimal("50.00")}


def test_channels_are_listed_by_model_and_then_by_falling_credit() -> None:
    channels = attributed([("A > B", 1, 0, 100), ("B", 2, 0, 300)], ["last", "first"]).channels
    assert channels.columns.tolist() == ["model", "channel", "credit", "value", "low", "high"]
    assert list(channels[["model", "channel", "credit", "value"]].itertuples(index=False, name=None)) == [
        ("last", "B", 3, Decimal("4.00")),
        ("last", "A", 0, Decimal("0.00")),
        ("first", "B", 2, Decimal("3.00")),
        ("first", "A", 1, Decimal("1.00")),
    ]


def test_channels_of_equal_credit_are_listed_by_name() -> None:
    names = [f"Partner {i:02}" for i in range(60)]
    assert attributed([(name, 1, 0, 100) for name in names[::-1]], ["last"]).channels["channel"].tolist() == names


def test_touches_that_earned_something_are_listed_with_their_lead_and_event() -> None:
    touches = credit(world(), ["linear", "last_non_direct"], replicates=1).touches
    third = pytest.approx(1 / 3)
    columns = ["model", "lead_id", "event_id", "channel", "credit", "value"]
    assert sorted(touches.columns) == sorted([*columns, "touched_at", "closed_at"])
    assert list(touches[columns].itertuples(index=False, name=None)) == [
        ("linear", "ada", "e1", "Email", third, Decimal("33.34")),
        ("linear", "ada", "e2", "Webinar", third, Decimal("33.33")),
        ("linear", "ada", "e3", "Direct", third, Decimal("33.33")),
        ("last_non_direct", "ada", "e2", "Webinar", 1, Decimal("100.00")),
    ]
    touched = pd.to_datetime(["2026-01-01", "2026-01-08", "2026-01-15", "2026-01-08"], utc=True)
    assert touches["touched_at"].tolist() == touched.tolist()
    assert touches["closed_at"].tolist() == [pd.Timestamp("2026-01-16", tz="UTC")] * 4


def test_a_markov_chain_credits_channels_and_no_single_touch() -> None:
    touches = credit(world(), ["markov:1"], replicates=1).touches
    assert touches["channel"].tolist() == ["Direct", "Email", "Webinar"]
    assert touches[["lead_id", "event_id"]].isna().all(axis=None)


def test_a_touch_of_a_conversion_without_value_is_listed() -> None:
    touches = attributed([("A", 1, 0, 0)], ["last"]).touches
    assert touches[["credit", "value"]].to_numpy().tolist() == [[1, Decimal("0.00")]]


def test_a_markov_chain_splits_all_conversions_and_value_by_removal_effects() -> None:
    rows = [("A > B > C", 1, 0, 1_000), ("A", 0, 1, 0), ("B > C", 0, 1, 0), ("", 4, 0, 400)]
    attribution = attributed(rows, ["markov:1"])
    assert figures(attribution, "credit") == {
        ("markov:1", "A"): pytest.approx(0.2),
        ("markov:1", "B"): pytest.approx(0.4),
        ("markov:1", "C"): pytest.approx(0.4),
    }
    assert figures(attribution, "value") == {
        ("markov:1", "A"): 2,
        ("markov:1", "B"): 4,
        ("markov:1", "C"): 4,
    }
    assert attribution.unattributed == {"credit": 4, "value": Decimal("4.00")}


def test_without_conversions_every_credit_is_zero() -> None:
    earned = figures(attributed([("A > B", 0, 3, 0)]), "credit")
    assert earned == {(model, name): 0 for model in MODELS for name in "AB"}


def test_without_journeys_every_model_is_empty() -> None:
    assert summary(attributed([])) == {
        "models": {model: {} for model in MODELS},
        "unattributed": {"credit": 0, "value": 0},
    }


def test_the_summary_is_json_with_the_promised_keys() -> None:
    attribution = attributed([("A", 2, 1, 1_050), ("", 1, 0, 99)], ["last"])
    low, high = attribution.channels.loc[0, ["low", "high"]]
    assert json.loads(json.dumps(summary(attribution))) == {
        "models": {"last": {"A": {"credit": 2, "value": 10.5, "low": low, "high": high}}},
        "unattributed": {"credit": 1, "value": 0.99},
    }


def test_unknown_models_are_named_with_the_nearest_known_one() -> None:
    sentences = (
        'Model "frist" is not known; did you mean "first"? Model "markov:0" is not known; did you mean'
        ' "markov:1"? Model "xyz" is not known. Known models: markov:1, shapley_rate, first, last, last_non_direct,'
        " linear, position_based, time_decay, j, inverse_j, u_hubspot, u_marketo, w, full_path, shapley, markov:auto,"
        " score_adjusted, shapley_counterfactual."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentences)}$"):
        attributed([("A", 1, 0, 0)], ["frist", "last", "markov:0", "xyz"])


def test_a_request_is_refused_with_all_its_problems() -> None:
    sentences = (
        "No model is named. Known models: markov:1, shapley_rate, first, last, last_non_direct, linear, position_based,"
        " time_decay, j, inverse_j, u_hubspot, u_marketo, w, full_path, shapley, markov:auto, score_adjusted,"
        " shapley_counterfactual."
        " half_life_days is 0; give a number of days above 0, such as 7."
        " replicates is 0; give at least 1, such as 200."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentences)}$"):
        credit(world(), [], half_life_days=0, replicates=0)


def test_half_life_reaches_time_decay() -> None:
    attribution = credit(world(), ["time_decay"], half_life_days=3.5, replicates=1)
    assert figures(attribution, "value") == {
        ("time_decay", "Direct"): 76.19,
        ("time_decay", "Webinar"): 19.05,
        ("time_decay", "Email"): 4.76,
    }


@some_worlds
@given(ROWS)
def test_credit_and_unattributed_add_up_to_all_conversions(rows: list[Row]) -> None:
    attribution = attributed(rows)
    handed_out = attribution.channels.groupby("model")["credit"].sum().reindex(MODELS, fill_value=0.0)
    everything = handed_out + attribution.unattributed["credit"]
    np.testing.assert_allclose(everything, sum(conversions for _, conversions, _, _ in rows), atol=1e-9)


@some_worlds
@given(ROWS)
def test_value_and_unattributed_add_up_to_all_value_to_the_cent(rows: list[Row]) -> None:
    attribution = attributed(rows)
    total = Decimal(sum(cents for *_, cents in rows)) / 100
    for table in (attribution.channels, attribution.touches):
        for model in MODELS:
            handed_out = sum(table.loc[table["model"] == model, "value"], Decimal(0))
            assert handed_out + attribution.unattributed["value"] == total


@some_worlds
@given(ROWS)
def test_no_credit_is_negative_and_intervals_hold_it(rows: list[Row]) -> None:
    channels = attributed(rows).channels
    signed = channels["model"].isin(SIGNED)
    assert (channels.loc[~signed, "low"] >= 0).all()
    assert (channels["low"] <= channels["credit"]).all()
    assert (channels["credit"] <= channels["high"]).all()


@some_worlds
@given(ROWS.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_the_order_of_journeys_changes_no_credit(both: tuple[list[Row], list[Row]]) -> None:
    one, other = (attributed(rows) for rows in both)
    assert figures(one, "credit") == pytest.approx(figures(other, "credit"))
    assert figures(one, "value") == figures(other, "value")


@some_worlds
@given(ROWS, st.integers(0, 5), st.integers(0, 5))
def test_splitting_the_counts_of_a_path_changes_no_credit(rows: list[Row], won: int, lost: int) -> None:
    path, conversions, nulls, cents = rows[0]
    more = [(path, conversions + won, nulls + lost, cents), *rows[1:]]
    split = [*rows, (path, won, lost, 0)]
    assert figures(attributed(split), "credit") == pytest.approx(figures(attributed(more), "credit"))


@some_worlds
@given(ROWS)
def test_new_names_for_channels_change_no_credit(rows: list[Row]) -> None:
    new = {"Email": "Sales", "Paid Search": "Affiliates", "Webinar": "Zeppelin", "Direct": "Direct"}
    renamed = [(" > ".join(new[s] for s in row[0].split(" > ") if s), *row[1:]) for row in rows]
    expected = {(m, new[name]): value for (m, name), value in figures(attributed(rows), "credit").items()}
    assert figures(attributed(renamed), "credit") == pytest.approx(expected)


@some_worlds
@given(ROWS)
def test_direct_never_earns_more_under_last_non_direct_than_under_last(rows: list[Row]) -> None:
    earned = figures(attributed(rows), "credit")
    assert earned.get(("last_non_direct", "Direct"), 0) <= earned.get(("last", "Direct"), 0)


@some_worlds
@given(ROWS)
def test_a_refund_takes_back_what_the_sale_brought(rows: list[Row]) -> None:
    refunds = [(path, conversions, nulls, -cents) for path, conversions, nulls, cents in rows]
    sold = figures(attributed(rows), "value")
    assert figures(attributed(refunds), "value") == {key: -amount for key, amount in sold.items()}


@pytest.mark.parametrize("model", MODELS)
def test_the_interval_of_a_single_channel_is_that_of_a_poisson_count(model: str) -> None:
    channels = attributed([("A", 400, 100, 0)], [model], replicates=4_000).channels
    assert channels["low"].item() == pytest.approx(400 - 1.645 * 20, abs=2)
    assert channels["high"].item() == pytest.approx(400 + 1.645 * 20, abs=2)


def test_the_interval_of_a_markov_chain_covers_how_its_credit_varies() -> None:
    # Each world is drawn from one law; the interval from a single world should be about as wide as the worlds.
    law, random = [("A > B", 40, 200, 0), ("A", 30, 300, 0), ("B", 60, 250, 0)], np.random.default_rng(7)
    worlds = [[(path, *random.poisson(row).tolist()) for path, *row in law] for _ in range(200)]
    seen = [figures(attributed(rows, ["markov:1"], 1), "credit")["markov:1", "A"] for rows in worlds]
    channels = attributed(law, ["markov:1"], replicates=200).channels.set_index("channel")
    assert np.ptp(np.percentile(seen, [5, 95])) == pytest.approx(
        channels.loc["A", "high"] - channels.loc["A", "low"], rel=0.2
    )


def test_the_same_seed_gives_the_same_intervals_whichever_models_are_asked_for() -> None:
    alone, together = credit(world(), ["linear"]).channels, credit(world(), MODELS).channels
    pd.testing.assert_frame_equal(
        alone, together[together["model"] == "linear"].reset_index(drop=True), check_exact=True
    )


def test_a_channel_of_which_nothing_is_drawn_has_nothing_and_never_less() -> None:
    by_bucket = np.array([[0.1], [0.2], [0.3]])  # which add up to a little more than their total
    where = Spread(np.zeros(2, np.int32), 3, np.ones(2), exact=False)
    assert replicated(np.array([0.6]), by_bucket, where, np.zeros((1, 3))).tolist() == [[0.0]]


def test_another_seed_gives_other_intervals() -> None:
    rows = journeys_of([("A", 400, 100, 0)])
    assert not credit(rows, ["last"], seed=0).channels.equals(credit(rows, ["last"], seed=1).channels)


def test_shared_buckets_give_about_the_intervals_of_exact_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    paths = [" > ".join(random.choice(list("ABCD"), random.integers(1, 5))) for _ in range(3_000)]
    rows = [(path, int(random.random() < 0.3), int(random.random() < 0.5), 0) for path in paths]
    rows += [("A > B", 900, 4_000, 0), ("C", 400, 0, 0)]  # rows that stand for many journeys
    asked = [*MODELS, "markov:2"]
    monkeypatch.setattr("attribution.counting.EXACT_NUMBERS", 10**9)
    exact = credit(journeys_of(rows), asked, replicates=2_000).channels.set_index(["model", "channel"])
    monkeypatch.setattr("attribution.counting.EXACT_NUMBERS", 0)
    shared = credit(journeys_of(rows), asked, replicates=2_000).channels.set_index(["model", "channel"])
    width, other = (table["high"] - table["low"] for table in (exact, shared.loc[exact.index]))
    np.testing.assert_allclose(other / width, 1, atol=0.25)
    np.testing.assert_allclose((other / width).mean(), 1, atol=0.06)


def test_cents_go_to_the_largest_remainders() -> None:
    share = np.array([0.5, 0.3, 0.2, 1 / 3, 1 / 3, 1 / 3])
    assert split_cents(np.array([3, -100]), share, np.array([0, 3, 6])).tolist() == [1, 1, 1, -34, -33, -33]


@some_worlds
@given(st.lists(st.lists(st.floats(0, 1), max_size=5), min_size=1, max_size=4), st.integers(-(2**62), 2**62))
def test_cents_add_up_even_where_floats_cannot_tell_them_apart(weights: list[list[float]], cents: int) -> None:
    groups = [
        np.array(some) / sum(some) if sum(some) else np.full(len(some), 1 / len(some)) for some in weights if some
    ]
    start = np.cumsum([0, *map(len, groups)])
    parts = split_cents(np.full(len(groups), cents), np.concatenate([*groups, np.empty(0)]), start)
    assert [sum(some.tolist()) for some in np.split(parts, start[1:-1])] == [cents] * max(len(groups), 1) or not groups


def test_the_callers_table_is_never_changed() -> None:
    rows = pd.DataFrame({"path": ["A > B"], "conversions": [1], "nulls": [2], "value_cents": [100]})
    before = rows.copy()
    credit(path_journeys(rows), MODELS, replicates=1)
    pd.testing.assert_frame_equal(rows, before)


@pytest.mark.shared_data
def test_real_journeys_over_one_campaign_get_the_same_credit_from_first_last_and_linear(
    tmp_path: Path,
) -> None:
    history = pd.read_parquet(shared_data("criteo_journeys") / "criteo10_journeys.parquet")
    rows = pd.DataFrame(
        {
            "path": history["campaign"].map(lambda campaigns: " > ".join(map(str, campaigns))),
            "conversions": history["conversion"],
            "value": history["conversion"] * 19.99,
            "nulls": 1 - history["conversion"],
        }
    )
    rows.to_parquet(tmp_path / "paths.parquet")
    attribution = credit(read_paths(tmp_path / "paths.parquet"), MODELS)
    totals = attribution.channels.groupby("model")
    np.testing.assert_allclose(totals["credit"].sum(), 19_890)
    assert set(totals["value"].sum()) == {Decimal(19_890) * Decimal("19.99")}
    by_model = attribution.channels.pivot_table("credit", index="channel", columns="model")
    np.testing.assert_allclose(by_model["last"], by_model["first"])
    np.testing.assert_allclose(by_model["linear"], by_model["first"])
