"""Tuning: other settings are taken where later data say that they are surely better."""

from __future__ import annotations

import re
import time
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
    told = dict(re.findall(r"(\w+) = (\d+(?:\.\d+)?)", said))
    assert {name: float(value) for name, value in told.items()} == {
        name: getattr(found.training, name) for name in tuning.RANGES
    }
    assert said.endswith(" Write them into touchstone.toml under [training], or the next training forgets them.")


@pytest.mark.filterwarnings("error")
def test_settings_given_may_be_any_that_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = losing(lambda how, noise: 0.5 + (how.l2 > 0) + 0.001 * noise, monkeypatch)
    unusual = Training.model_validate({"l2": 0, "trees": 3, "leaves": 90})
    found, said = tuned(HISTORY, SETTINGS.model_copy(update={"training": unusual}), day(360), 60)
    assert (found.training, tried[0][0], len(tried)) == (unusual, unusual, 30)
    assert said.endswith("of those given, which chance explains. They stay.")


@pytest.mark.parametrize("seconds", [1e-6, 0.1])
def test_a_budget_that_is_over_before_other_settings_are_tried_says_so(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    def slow(_: Training, noise: Floats) -> Floats:
        time.sleep(0.1)
        return noise

    tried = losing(slow, monkeypatch)
    sentence = f"Not tuned: {seconds:g} seconds were over before other settings were tried. Give --tune more."
    assert tuned(HISTORY, SETTINGS, day(360), seconds) == (SETTINGS, sentence)
    assert tried == [(SETTINGS.training, 228)] * (seconds == 0.1)


def test_settings_that_may_be_better_by_chance_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    losing(lambda how, noise: 0.5 + noise * (how.leaves - 8) - (how.leaves != 8) * 0.001, monkeypatch)
    found, said = tuned(HISTORY, SETTINGS, day(360), 60)
    assert found is SETTINGS
    assert said.endswith("of those given, which chance explains. They stay.")


def test_where_too_few_were_won_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = losing(lambda _, noise: noise, monkeypatch)
    for history, before, wins, others in ((eager_and_idle(300), day(360), 34, 35), (HISTORY, day(1), 0, 0)):
        sentence = (
            f"Not tuned: of the snapshots to choose by {wins} were won and {others} not; "
            "with fewer than 100 of either, chance would choose."
        )
        assert tuned(history, SETTINGS, before, 60) == (SETTINGS, sentence)
    assert tried == []


def test_what_happens_after_the_moment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "TRIALS", 2)
    quick = SETTINGS.model_copy(update={"training": Training.model_validate({"trees": 50, "members": 2})})
    worlds = [eager_and_idle(1400), eager_and_idle(1400, reverse_from=300)]
    said = [tuned(history, quick, day(300), 60)[1] for history in worlds]
    assert said[0] == said[1]
    assert said[0].startswith("2 settings were tried on ")
