"""Tuning: other settings are taken where later data say that they are surely better."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from by_hand import day, eager_and_idle
from numpy.typing import NDArray

from features.history import History
from features.settings import Settings, Training
from training import tuning
from training.snapshots import Labelled
from training.tuning import tuned

Floats = NDArray[np.float64]
SETTINGS = Settings.model_validate({"goal": {"horizon_days": 30}, "snapshots": {"ages_days": [2]}})
HISTORY = eager_and_idle(1000)
NOISE = np.random.default_rng(0).normal(size=1000)


def losing(by: Callable[[Training, Floats], Floats], monkeypatch: pytest.MonkeyPatch) -> list[tuple[Training, int]]:
    """Let settings lose so much, and return those that were tried, with the number of snapshots."""
    tried: list[tuple[Training, int]] = []

    def losses(_: History, settings: Settings, cut: int, later: Labelled) -> Floats:
        assert cut == later.moments.as_of.min()
        tried.append((settings.training, len(later.labels)))
        return by(settings.training, NOISE[: len(later.labels)])

    monkeypatch.setattr(tuning, "later_losses", losses)
    monkeypatch.setattr(tuning, "TRIALS", 30)
    return tried


def test_settings_that_are_surely_better_on_later_data_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = losing(lambda how, noise: 0.5 + abs(how.leaves - 20) / 100 + 0.001 * noise, monkeypatch)
    found, said = tuned(HISTORY, SETTINGS, day(360), 60)
    assert tried[0] == (SETTINGS.training, 228)
    assert len(tried) == 30
    assert abs(found.training.leaves - 20) <= 2
    assert (found.goal, found.training.members) == (SETTINGS.goal, SETTINGS.training.members)
    assert said.startswith("30 settings were tried on 228 snapshots from 2026-")
    assert f"leaves = {found.training.leaves}, " in said


def test_settings_that_may_be_better_by_chance_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    losing(lambda how, noise: 0.5 + noise * (how.leaves - 8) - (how.leaves != 8) * 0.001, monkeypatch)
    found, said = tuned(HISTORY, SETTINGS, day(360), 60)
    assert found is SETTINGS
    assert said.endswith("of those given, which chance explains. They stay.")


def test_where_too_few_were_won_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = losing(lambda _, noise: noise, monkeypatch)
    sentence = "Not tuned: of the later leads less than 100 were won, or were not."
    for history, before in ((eager_and_idle(300), day(360)), (HISTORY, day(1))):
        assert tuned(history, SETTINGS, before, 60) == (SETTINGS, sentence)
    assert tried == []


def test_what_happens_after_the_moment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "TRIALS", 1)
    quick = SETTINGS.model_copy(update={"training": Training.model_validate({"trees": 50, "members": 2})})
    worlds = [eager_and_idle(1400), eager_and_idle(1400, reverse_from=300)]
    said = [tuned(history, quick, day(300), 60)[1] for history in worlds]
    assert said[0] == said[1]
    assert said[0].startswith("1 settings were tried on ")
