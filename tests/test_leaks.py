"""The leak report: columns that know the outcome because they were written after it."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import at_age, world
from numpy.typing import NDArray
from tables import history as history_of_rows
from tables import micros, stage, version

from features.history import NEVER, History
from features.outcomes import outcomes_of
from features.settings import Goal, Settings, Training
from features.templates import learned_features
from features.verbs import Feature
from training.ensemble import fit
from training.leaks import Leak, leaks, written_afterwards
from training.learning import model_of, named

Floats = NDArray[np.float64]
RNG = np.random.default_rng(0)
LABELS = (RNG.random(1000) < 0.2).astype(float)
NOISE = RNG.normal(size=1000)
SIGNAL = LABELS + RNG.normal(size=1000)  # ROC AUC 0.76
UNKNOWN = np.nan
AMOUNT = Feature("amount", "attribute", "", group="fit")
VISITS = Feature("visits", "count", "")
INDUSTRY = Feature("industry", "attribute", "", group="fit", levels=("Mining", "Retail"))


def found(*columns: tuple[Feature, Floats]) -> dict[str, str]:
    features, values = zip(*columns, strict=True)
    return {leak.feature: leak.why for leak in leaks(np.column_stack(values), LABELS, features)}


def test_honest_columns_are_no_leaks() -> None:
    assert found((AMOUNT, NOISE), (VISITS, SIGNAL), (INDUSTRY, (SIGNAL > 1).astype(float))) == {}


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("feature", [AMOUNT, VISITS])
def test_a_number_that_alone_tells_who_is_won_is_a_leak_in_either_direction(feature: Feature, direction: int) -> None:
    said = found((feature, direction * (LABELS + 0.1 * NOISE)), (INDUSTRY, (NOISE > 0).astype(float)))
    assert said == {feature.name: "alone it tells who is won (ROC AUC 1.000)"}


def test_a_category_that_alone_tells_who_is_won_is_a_leak() -> None:
    assert found((INDUSTRY, 1 - LABELS), (VISITS, NOISE)) == {"industry": "alone it tells who is won (ROC AUC 1.000)"}


def test_an_attribute_whose_absence_tells_who_is_won_is_a_leak() -> None:
    mostly = np.where((LABELS == 1) != (np.arange(1000) % 250 == 0), NOISE, UNKNOWN)
    assert found((AMOUNT, mostly), (VISITS, NOISE)) == {"amount": "whether it is known tells who is won"}


def test_an_attribute_known_of_one_class_only_is_a_leak_and_what_a_lead_did_is_not() -> None:
    some = np.where((LABELS == 1) & (np.arange(1000) % 2 == 0), NOISE, UNKNOWN)
    assert found((AMOUNT, some), (VISITS, some)) == {"amount": "it is known only of leads that were won"}
    others = np.where((LABELS == 0) & (np.arange(1000) % 2 == 0), NOISE, UNKNOWN)
    assert found((AMOUNT, others), (VISITS, NOISE)) == {"amount": "it is known only of leads that were not won"}


def test_a_handful_of_one_class_is_chance() -> None:
    few = np.full(1000, UNKNOWN)
    few[np.flatnonzero(LABELS == 0)[:30]] = 1.0  # 0.8 to the power of 30 is one in a thousand
    assert found((AMOUNT, few), (VISITS, NOISE)) == {}


def test_an_attribute_that_beats_all_other_columns_together_is_a_leak() -> None:
    said = found((AMOUNT, SIGNAL), (VISITS, LABELS + 2 * RNG.normal(size=1000)))
    assert list(said) == ["amount"]
    assert said["amount"].startswith("alone it ranks leads better (ROC AUC 0.7")
    assert said["amount"].endswith("): was it written after the outcome?")


def test_the_only_attribute_that_tells_anything_is_no_leak() -> None:
    assert found((AMOUNT, SIGNAL), (VISITS, NOISE)) == {}


def test_what_a_lead_did_may_beat_all_other_columns() -> None:
    assert found((VISITS, SIGNAL), (AMOUNT, LABELS + 2 * RNG.normal(size=1000))) == {}


def test_an_attribute_that_others_equal_is_no_leak() -> None:
    assert found((AMOUNT, SIGNAL), (VISITS, SIGNAL + 1e-3 * NOISE), (VISITS, LABELS + RNG.normal(size=1000))) == {}


# Left out, and said


def history_with(values: Floats) -> tuple[History, list[int]]:
    """Return 200 leads, of whom every second one is won, with an attribute; and their labels."""
    names = [f"lead-{i:03}" for i in range(200)]
    attributes = {lead: {"length": float(values[i])} for i, lead in enumerate(names)}
    return world(dict.fromkeys(names, 0.0), attributes=attributes), [i % 2 for i in range(200)]


def test_a_leak_is_left_out_of_the_model_and_said() -> None:
    history, labels = history_with(np.arange(200) % 2 + 0.0)
    model = fit(at_age(history, 2, labels), learned_features(history, NEVER), 90, Training.model_validate({}))
    assert model.leaks == (Leak("length", "alone it tells who is won (ROC AUC 1.000)"),)
    assert "length" not in [feature.name for feature in model.spec.features]
    assert model.spec.evidence == "prior"  # nothing else tells leads apart


def test_a_column_that_is_to_be_kept_is_kept() -> None:
    history, labels = history_with(np.arange(200) % 2 + 0.0)
    how = Training.model_validate({"keep_columns": ["length"], "trees": 5})
    model = fit(at_age(history, 2, labels), learned_features(history, NEVER), 90, how)
    assert (model.leaks, model.spec.evidence) == ((), "model")


def test_too_few_outcomes_to_know_a_leak_from_chance_leave_every_column() -> None:
    history, labels = history_with(np.arange(200) % 2 + 0.0)
    rows = at_age(history, 2, labels)
    few = rows.chosen(rows.moments.lead < 38)
    assert fit(few, learned_features(history, NEVER), 90, Training.model_validate({})).leaks == ()


# Written after the outcome


def test_an_attribute_first_known_after_the_close_is_named() -> None:
    leads = [f"lead-{i:02}" for i in range(30)]
    created = [version(lead, 0, {"industry": "Mining"}) for lead in leads]
    signed = [version(lead, 10, {"industry": "Mining", "contract": "C1"}) for lead in leads]
    history = history_of_rows([*created, *signed], stages=[stage(lead, 9, "won") for lead in leads])
    outcomes = outcomes_of(history, Goal.model_validate({}))
    sentence = "30 of 30 leads that were closed had no value of it before they were"
    assert written_afterwards(history, outcomes, NEVER) == (Leak("contract", sentence),)


def signed_afterwards() -> History:
    """Return leads that are won or lost on their 9th day; their contract is noted on the 10th."""
    leads = [f"lead-{i:03}" for i in range(120)]
    created = [version(lead, i, {"industry": "Mining"}) for i, lead in enumerate(leads)]
    signed = [version(lead, i + 10, {"industry": "Mining", "contract": f"C{i % 3}"}) for i, lead in enumerate(leads)]
    closes = [stage(lead, i + 9, ("won", "lost")[i % 2]) for i, lead in enumerate(leads)]
    return history_of_rows([*created, *signed], stages=closes)


@pytest.mark.parametrize(("keep", "looks_at"), [([], set()), (["contract"], {"contract"})])
def test_an_attribute_first_known_after_the_close_is_not_learned_from_unless_it_is_to_be_kept(
    keep: list[str], looks_at: set[str]
) -> None:
    settings = Settings.model_validate({
        "goal": {"horizon_days": 30},
        "snapshots": {"ages_days": [2, 5]},
        "training": {"keep_columns": keep, "trees": 5},
    })  # fmt: skip
    model, rows = model_of(signed_afterwards(), settings, NEVER)
    assert len(rows.labels) == 240
    assert [leak.feature for leak in model.leaks] == ([] if keep else ["contract"])
    assert {feature.column for feature in model.spec.features} & {"contract"} == looks_at


def test_what_became_of_leads_later_does_not_tell_which_attributes_were_written_afterwards() -> None:
    """The leads that are won on day 300 had their contract from the beginning; on day 200 nobody knows of that."""
    leads = [f"lead-{i:03}" for i in range(120)]
    late = [f"late-{i:03}" for i in range(60)]
    known = [version(lead, i, {"industry": "Mining"}) for i, lead in enumerate(leads)]
    known += [version(lead, i + 10, {"industry": "Mining", "contract": f"C{i % 3}"}) for i, lead in enumerate(leads)]
    known += [version(lead, 1, {"industry": "Mining", "contract": f"C{i % 3}"}) for i, lead in enumerate(late)]
    closes = [stage(lead, i + 9, ("won", "lost")[i % 2]) for i, lead in enumerate(leads)]
    closes += [stage(lead, 300, "won") for lead in late]
    settings = Settings.model_validate({"goal": {"horizon_days": 30}, "training": {"trees": 5}})
    model, _ = model_of(history_of_rows(known, stages=closes), settings, micros(200))
    sentence = "120 of 120 leads that were closed had no value of it before they were"
    assert Leak("contract", sentence) in model.leaks


def test_what_is_filled_in_later_does_not_tell_which_attributes_were_written_afterwards() -> None:
    """On day 300 somebody fills in a field of everybody who was closed; on day 200 it is known of the others alone."""
    leads = [f"lead-{i:03}" for i in range(120)]
    known = [version(lead, i, {"size": float(i % 5)} if i % 11 == 0 else {}) for i, lead in enumerate(leads)]
    known += [version(lead, 300, {"size": 2.0}) for lead in leads]
    history = history_of_rows(
        known, stages=[stage(lead, i + 9, ("won", "lost")[i % 2]) for i, lead in enumerate(leads)]
    )
    settings = Settings.model_validate({"goal": {"horizon_days": 30}, "training": {"trees": 5, "members": 2}})
    assert model_of(history, settings, micros(200))[0].leaks == ()


def test_a_report_names_a_feature_by_its_name_or_by_the_attribute_that_it_looks_at() -> None:
    contract = Feature("contract_type", "attribute", "", column="contract")
    found = named([AMOUNT, contract, VISITS], [Leak("contract", ""), Leak("visits", ""), Leak("industry", "")])
    assert found == ["contract_type", "visits"]
