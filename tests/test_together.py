"""Models that judge all closes together have a place on the page Channels, with what would have closed anyway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving import ledger
from serving.pages.together import together

AT = "2026-11-20T09:00:00+00:00"


def of(credit: float, low: float, high: float) -> dict[str, float]:
    return {"credit": credit, "low": low, "high": high, "value": 10 * credit}


MODELS = {
    "linear": {"Email": of(40, 30, 50), "Display": of(60, 50, 70)},
    "markov:1": {"Email": of(50, 40, 60), "Display": of(45, 35, 55), "Events": of(5, 1, 9)},
    "score_adjusted": {"Email": of(30, 12, 41.26), "Display": of(-2, -9, 4)},
}
RUN: dict[str, Any] = {
    "run_id": "r1", "models": MODELS, "unattributed": {"credit": 0.0, "value": 0.0},
    "anyway": {"score_adjusted": {"credit": 72.0, "value": 720.0}}, "harvests": ["Brand Search"],
    "experiments": [{"channel": "Email", "since": "2026-01-01", "until": "2026-02-01", "says": 25.0, "weight": 0.4,
                     "before": 33.333, "after": 30.0}],
}  # fmt: skip


def test_score_adjusted_comes_first_and_no_effect_is_hidden(tmp_path: Path) -> None:
    ledger.keep(tmp_path, RUN, AT)
    found = together(tmp_path, ["linear"])
    assert found is not None
    assert (found.as_of.isoformat(), found.models) == (AT, ["score_adjusted", "markov:1"])
    shown = [(name, *((cell["closes"], cell["interval"]) for cell in cells)) for name, cells in found.rows]
    assert shown == [
        ("Email", ("30.0", "12.0 to 41.3"), ("50.0", "40.0 to 60.0")),
        ("Display", ("-2.0", "-9.0 to 4.0"), ("45.0", "35.0 to 55.0")),
        ("Events", ("–", ""), ("5.0", "1.0 to 9.0")),  # of which the first says nothing
    ]


def test_credit_and_what_would_have_closed_anyway_add_up_to_all_that_closed(tmp_path: Path) -> None:
    ledger.keep(tmp_path, RUN, AT)
    found = together(tmp_path, ["linear"])
    assert found is not None
    assert (found.anyway, found.total) == (["72.0", "–"], ["100.0", "100.0"])


def test_a_harvesting_channel_and_an_experiment_are_told(tmp_path: Path) -> None:
    ledger.keep(tmp_path, RUN, AT)
    found = together(tmp_path, ["linear"])
    assert found is not None
    harvests, experiment = found.notes
    assert harvests == (
        "Brand Search comes right before closes that were decided: score_adjusted gives it nothing for that."
    )
    assert experiment == (
        "Email: the experiment of 2026-01-01 to 2026-02-01 says 25.0 closes; its weight of 40% moves score_adjusted "
        "from 33.3 to 30.0."
    )


def test_without_a_model_that_says_what_would_have_closed_anyway_there_is_no_such_row(tmp_path: Path) -> None:
    plain = {name: said for name, said in RUN.items() if name not in {"anyway", "harvests", "experiments"}}
    ledger.keep(tmp_path, {**plain, "models": {"markov:1": MODELS["markov:1"]}}, AT)
    found = together(tmp_path, ["linear"])
    assert found is not None
    assert (found.anyway, found.total, found.notes) == ([], ["100.0"], [])


@pytest.mark.parametrize("filtered", [["linear", "markov:1", "score_adjusted"], list(MODELS)[:0]])
def test_where_every_model_can_be_filtered_or_nothing_was_credited_there_is_no_such_section(
    tmp_path: Path, filtered: list[str]
) -> None:
    if filtered:
        ledger.keep(tmp_path, RUN, AT)
    assert together(tmp_path, filtered) is None


def test_closes_are_told_by_the_latest_run_that_credits_touches_and_models_that_are_missing_are_named(
    tmp_path: Path,
) -> None:
    configured = ["linear", "markov:1"]
    assert ledger.missing(tmp_path, configured) == ""
    ledger.keep(tmp_path, RUN, AT)
    chain = {name: of(50, 40, 60) for name in ("Email", "Display")}
    ledger.keep(tmp_path, RUN | {"run_id": "r2", "models": {"markov:2": chain}}, "2026-11-21T09:00:00+00:00")
    run = ledger.of_touches(tmp_path)
    assert run is not None
    assert run["run_id"] == "r1"  # the later one can tell no close from another
    assert ledger.missing(tmp_path, configured) == ""
    rules = {"run_id": "r3", "models": {"first": MODELS["linear"]}}
    ledger.keep(tmp_path, RUN | rules, "2026-11-22T09:00:00+00:00")
    assert ledger.missing(tmp_path, configured) == (
        "The latest attribution was not asked for linear, markov:1. To have all models, run `touchstone attribute`."
    )
