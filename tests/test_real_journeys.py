"""Real journeys through the product: a part of Criteo's and of a bank's, from files to which channel to fund."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import shared_data

from benchmarks.journeys import MODELS, bank, credited, criteo

pytestmark = pytest.mark.shared_data


def test_criteo_s_journeys_of_one_campaign_are_credited_alike_by_every_rule(tmp_path: Path) -> None:
    converted = criteo(shared_data("criteo_journeys").parent, tmp_path, 0.02)
    run, leads, touches = credited(tmp_path)
    assert (leads, touches) == (3932, 15821)
    credit = run.answer.channels.pivot_table("credit", "channel", "model")
    np.testing.assert_allclose(credit.sum() + run.answer.unattributed["credit"], converted)
    for model in ("last", "linear", "position_based", "time_decay", "shapley"):
        np.testing.assert_allclose(credit[model], credit["first"])
    best = credit["first"].idxmax()
    assert run.summary()["decision"]["sentence"].startswith(f"Fund {best}")


def test_a_bank_s_activities_are_credited_and_the_report_says_how_sure_the_best_is(tmp_path: Path) -> None:
    converted = bank(shared_data("bpic2012").parent, tmp_path, 0.1)
    run, leads, _ = credited(tmp_path)
    assert leads == 1309
    credit = run.answer.channels.pivot_table("credit", "channel", "model")
    np.testing.assert_allclose(credit.sum() + run.answer.unattributed["credit"], converted)
    decision = run.summary()["decision"]
    assert set(decision["by_model"]) == set(MODELS)
    assert decision["flips"] == (len(set(decision["by_model"].values())) > 1)
