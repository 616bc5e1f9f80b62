"""The gate: a new model serves if it is no worse than the base rate and the champion, on the whole and by slice."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from features.verbs import Feature
from training.gate import Verdict, losses, slices_of, verdict
from training.metrics import Metrics, metrics

Floats = NDArray[np.float64]
RNG = np.random.default_rng(0)
TRUE = RNG.beta(1, 4, 2000)
LABELS = (RNG.random(2000) < TRUE).astype(float)
CHANNEL = pd.DataFrame({"channel": np.where(np.arange(2000) % 4 == 0, "Email", "Direct")})
NO_SLICES = pd.DataFrame(index=range(2000))


def says(probabilities: Floats, labels: Floats = LABELS) -> pd.DataFrame:
    return pd.DataFrame({
        "lead_id": np.arange(len(labels)), "probability": probabilities, "label": labels.astype(int)
    })  # fmt: skip


def base(labels: Floats = LABELS) -> Metrics:
    return metrics(labels, np.full(len(labels), labels.mean()))


def judged(new: Floats, old: Floats | None = None, slices: pd.DataFrame = NO_SLICES) -> Verdict:
    return verdict(says(new), base(), None if old is None else says(old), slices)


BLURRED = 0.5 * TRUE + 0.5 * TRUE.mean()  # ranks as the truth does, and promises too little
SHUFFLED = np.where(np.arange(2000) % 2 == 0, TRUE, TRUE.mean())


def test_a_model_better_than_the_base_rate_serves_where_nobody_does() -> None:
    found = judged(TRUE)
    assert found.promoted
    assert re.fullmatch(r"Not worse than the base rate \(log loss on later data 0\.\d{4}, .*\)\.", found.why)


@pytest.mark.parametrize(("times", "promoted"), [(1.0009, True), (1.0011, False)])
def test_a_model_may_be_worse_than_the_base_rate_by_a_thousandth(times: float, promoted: bool) -> None:
    plain: dict[str, Any] = base() | {"log_loss": metrics(LABELS, TRUE)["log_loss"] / times}
    found = verdict(says(TRUE), plain, None, NO_SLICES)
    assert (found.promoted, found.why.startswith("Refused: worse than the base rate (")) == (promoted, not promoted)


def test_a_model_no_worse_than_the_champion_takes_over() -> None:
    for old in (TRUE, BLURRED, SHUFFLED):
        found = judged(TRUE, old)
        assert (found.promoted, found.why.split(" (")[0]) == (True, "Not worse than the champion on later data")


def test_a_model_that_keeps_its_promise_worse_than_the_champion_is_refused() -> None:
    found = judged(BLURRED, TRUE)
    assert not found.promoted
    assert re.fullmatch(
        r"Refused: worse than the champion on later data \(log loss 0\.\d{4} against the champion's 0\.\d{4}, "
        r"ROC AUC (0\.\d{3}) against \1, calibration error 0\.\d{3} against 0\.\d{3}\)\.",
        found.why,
    )


def test_a_model_that_ranks_worse_than_the_champion_is_refused_though_its_loss_is_not_surely_worse() -> None:
    rank = np.argsort(np.argsort(TRUE)) / 2000
    ranks_well, ranks_at_random = (TRUE.mean() + 0.0002 * order for order in (rank, RNG.permutation(rank)))
    found = judged(ranks_at_random, ranks_well)
    assert found.why.startswith("Refused: ranks worse than the champion on later data (log loss 0.50")


@pytest.mark.parametrize(("blurred", "promoted"), [(0.15, True), (0.3, False)])
def test_a_model_may_rank_worse_by_a_hundredth_of_the_roc_auc(blurred: float, promoted: bool) -> None:
    rank = np.argsort(np.argsort(TRUE)) / 2000
    ranks_less_well = (1 - blurred) * rank + blurred * np.random.default_rng(1).permutation(rank)
    found = judged(*(TRUE.mean() + 0.0002 * order for order in (ranks_less_well, rank)))
    below, above = map(float, re.findall(r"ROC AUC (0\.\d{3}) against (0\.\d{3})", found.why)[0])
    assert 0.002 < above - below < 0.05
    assert (above - below < 0.01, found.promoted) == (promoted, promoted)


def test_a_loss_that_chance_explains_refuses_nobody() -> None:
    few = slice(200)
    a_little_off = (TRUE[few] + np.random.default_rng(2).normal(0, 0.03, 200)).clip(0.01, 0.99)
    found = verdict(says(a_little_off, LABELS[few]), base(LABELS[few]), says(TRUE[few], LABELS[few]), NO_SLICES[few])
    new, old = map(float, re.findall(r"log loss (0\.\d{4}) against the champion's (0\.\d{4})", found.why)[0])
    assert (new > 1.001 * old, found.promoted) == (True, True)


def test_a_model_that_promises_less_truly_is_refused_though_it_loses_nothing() -> None:
    overconfident = 1 / (1 + np.exp(-1.5 * np.log(TRUE / (1 - TRUE))))
    found = judged(overconfident, SHUFFLED)  # which knows only half of the leads, and is true of all
    assert not judged(SHUFFLED, overconfident).why.startswith("Refused: promises")
    assert re.match(
        r"Refused: promises less truly than the champion on later data \(log loss (0\.\d{4}) against .*, "
        r"calibration error 0\.0[3-9]\d against 0\.0[12]\d\)\.$",
        found.why,
    )


def test_a_calibration_error_that_chance_explains_refuses_nobody() -> None:
    few, fewer = np.arange(2000) < 60, np.full(60, LABELS[:60].mean())
    found = verdict(says(TRUE[few], LABELS[few]), base(LABELS[few]), says(fewer, LABELS[few]), NO_SLICES[:60])
    (error,) = re.findall(r"calibration error (0\.\d{3}) against 0\.000", found.why)
    assert (float(error) > 0.05, found.promoted) == (True, True)


def test_a_model_may_promise_less_truly_by_two_hundredths() -> None:
    fifth = (np.arange(100_000) % 5 == 0).astype(float)
    a_little_much, true = (says(np.full(100_000, promised), fifth) for promised in (0.21, 0.2))
    found = verdict(a_little_much, base(fifth), true, pd.DataFrame(index=range(100_000)))
    assert (found.promoted, "calibration error 0.010 against 0.000" in found.why) == (True, True)


def test_a_broken_promise_of_certainty_costs_much_and_not_everything() -> None:
    assert losses(says(np.array([1.0, 0.0]), np.array([0.0, 1.0]))) == pytest.approx([-np.log(1e-15)] * 2, rel=0.01)


def test_a_model_that_is_worse_for_one_channel_is_refused_and_the_channel_named() -> None:
    email = (CHANNEL["channel"] == "Email").to_numpy()
    worse_for_email = np.where(email, 0.35, TRUE)
    found = judged(worse_for_email, np.where(email, TRUE, 0.35), CHANNEL)
    assert not found.promoted
    assert re.match(
        r"Refused: worse than the champion for channel Email \(log loss 0\.\d{4} against 0\.\d{4}\)", found.why
    )


def test_a_slice_that_is_worse_by_three_standard_errors_refuses_nobody_since_many_are_asked() -> None:
    email = (CHANNEL["channel"] == "Email").to_numpy()
    old, new = np.where(email, TRUE, 0.35), np.where(email, 0.45 * TRUE + 0.55 * TRUE.mean(), TRUE)
    difference = losses(says(new))[email] - losses(says(old))[email]
    assert 2 < difference.mean() / difference.std() * np.sqrt(len(difference)) < 4
    assert judged(new, old, CHANNEL).promoted


def test_a_slice_too_small_to_judge_refuses_nobody() -> None:
    few = pd.DataFrame({"channel": np.where(np.arange(2000) < 90, "Email", None)})
    assert judged(np.where(np.arange(2000) < 90, 0.6, TRUE), np.where(np.arange(2000) < 90, TRUE, 0.5), few).promoted


def test_a_slice_of_which_nobody_is_won_refuses_nobody_since_it_does_not_tell_what_is_chance() -> None:
    none = (LABELS == 0) & (np.cumsum(LABELS == 0) <= 200)
    fax = pd.DataFrame({"channel": np.where(none, "Fax", None)})
    assert judged(np.where(none, 0.02, TRUE), np.where(none, 0.01, BLURRED), fax).promoted


def test_later_outcomes_of_one_class_promote_nobody_over_a_champion() -> None:
    lost = np.zeros(50)
    found = verdict(
        says(np.full(50, 0.1), lost), base(lost) | {"log_loss": 1.0}, says(np.full(50, 0.2), lost), NO_SLICES
    )
    sentence = "Refused: all later outcomes are alike, and nothing can be compared."
    assert found == Verdict(promoted=False, why=sentence)


@pytest.mark.parametrize(("leads", "promoted"), [(100, True), (102, False)])
def test_later_leads_of_whom_nobody_is_won_refuse_a_model_where_that_is_no_chance(leads: int, promoted: bool) -> None:
    lost = np.zeros(2 * leads)
    twice = says(np.full(2 * leads, 0.01), lost).assign(lead_id=np.arange(2 * leads) // 2)
    found = verdict(twice, metrics(lost, np.full(2 * leads, 0.05)), None, NO_SLICES)
    assert found.promoted == promoted
    assert promoted or found.why == (
        "Refused: of 102 later leads none was won, where 5 were to be expected. If the data ended, give --as-of; if a "
        "stage got another name, set won in touchstone.toml."
    )


def test_slices_are_the_categories_among_the_features_by_name() -> None:
    features = (Feature("age", "age", ""), Feature("industry", "attribute", "", levels=("Mining", "Retail")))
    found = slices_of(np.array([[1, 0], [2, 1], [3, 2], [4, np.nan]]), features)
    assert found.fillna("none").to_dict("list") == {"industry": ["Mining", "Retail", "other", "none"]}
