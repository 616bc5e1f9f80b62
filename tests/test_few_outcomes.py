"""Few outcomes: each step of the evidence is worth at least as much as the one below it, on leads never seen."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import at_age, world
from numpy.typing import NDArray

from features.history import NEVER
from features.matrix import feature_matrix
from features.settings import Training
from features.templates import learned_features
from training import ensemble
from training.ensemble import fit

Floats = NDArray[np.float64]
LEADS = 300
HOW = Training.model_validate({"trees": 20, "members": 3})
BELOW = {"segment_rates": "prior", "shrunken_model": "segment_rates", "model": "shrunken_model"}
WEIGHT = np.array([(1, 4)[i % 3 == 0] * (1, 3)[i % 2] for i in range(LEADS)])  # of being won: miners, the eager
HISTORY = world(
    {f"lead-{i:03}": i / 10 for i in range(LEADS)},
    touches=[(f"lead-{i:03}", i / 10 + 0.5, ("page_view", "demo_request")[i % 2], "Email") for i in range(LEADS)],
    attributes={f"lead-{i:03}": {"industry": ("Retail", "Mining")[i % 3 == 0]} for i in range(LEADS)},
)


def lost(truth: Floats, labels: Floats, how: Training) -> tuple[str, float]:
    """Return the evidence of a model, and its expected log loss on other leads like these."""
    scorer = fit(at_age(HISTORY, 1, labels), learned_features(HISTORY, NEVER), 90, how).scorer()
    said = scorer.probabilities(feature_matrix(scorer.spec.features, at_age(HISTORY, 1, labels).moments))
    return scorer.spec.evidence, float(-np.mean(truth * np.log(said) + (1 - truth) * np.log1p(-said)))


def without(evidence: str, patch: pytest.MonkeyPatch) -> Training:
    """Return settings with which a step of the evidence is not taken."""
    if evidence == "segment_rates":
        patch.setattr(ensemble, "segment_line", lambda *_: None)
    if evidence == "shrunken_model":
        patch.setattr(ensemble, "FEWEST_FOR_LINES", LEADS)
    return HOW.model_copy(update={"fewest_outcomes": LEADS})


@pytest.mark.parametrize(("wins", "draws"), [(0, 1), (1, 12), (2, 12), (5, 6), (20, 2), (49, 1), (50, 1)])
def test_a_step_is_worth_at_least_as_much_as_the_one_below_it(
    wins: int, draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, gains = WEIGHT / WEIGHT.sum() * wins, [0.0]  # a prior has nothing below it
    for seed in range(draws):
        labels = np.zeros(LEADS)
        labels[np.random.default_rng(seed).choice(LEADS, wins, replace=False, p=WEIGHT / WEIGHT.sum())] = 1
        evidence, here = lost(truth, labels, HOW)
        if evidence in BELOW:
            with monkeypatch.context() as patch:
                _, below = lost(truth, labels, without(evidence, patch))
            gains.append(below - here)
    assert sum(gains) >= 0


@pytest.mark.parametrize(("wins", "taken"), [(0, "prior"), (20, "shrunken_model"), (50, "model")])
def test_the_step_that_is_taken_depends_on_how_many_were_won(wins: int, taken: str) -> None:
    labels = np.zeros(LEADS)
    labels[np.argsort(-WEIGHT, kind="stable")[:wins]] = 1
    assert lost(WEIGHT / WEIGHT.sum() * wins, labels, HOW)[0] == taken
