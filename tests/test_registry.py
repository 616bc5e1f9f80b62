"""The registry: models listed, compared, promoted and rolled back; a trial before anybody is served."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from by_hand import at_age, day, eager_and_idle
from conftest import ROOT

from features.errors import DataError, ModelError
from features.history import NEVER, History
from features.settings import Settings, Training
from features.templates import learned_features
from serving.scorer import champion, load, promote, promoted, save
from training import registry
from training.backtest import compared
from training.ensemble import Model, fit
from training.registry import listed, serve, serve_again, trial

Command = Callable[..., tuple[int, str]]
SETTINGS = Settings.model_validate({"goal": {"horizon_days": 30}, "snapshots": {"ages_days": [2]}})


@pytest.fixture(scope="module")
def history() -> History:
    return eager_and_idle(200)


@pytest.fixture(scope="module")
def model(history: History) -> Model:
    rows = at_age(history, 2, [(i // 2 % 5 != 0) == (i % 2 == 0) for i in range(200)])
    return fit(rows, learned_features(history, NEVER), 30, Training.model_validate({"trees": 5, "members": 3}))


@pytest.fixture
def models(model: Model, tmp_path: Path) -> Path:
    """Return a workspace's models: two of them, of which the second serves."""
    folder = tmp_path / "models"
    for until in (day(100), day(200)):
        promote(folder, save(folder, replace(model.spec, learned_until=until), model.trees).version)
    return folder


@pytest.fixture
def no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the time of a process."""
    monkeypatch.setattr(registry, "trial", lambda _: None)


# Which serves


@pytest.mark.usefixtures("no_trial")
def test_the_version_before_serves_again_after_a_rollback_and_cannot_be_rolled_back_further(models: Path) -> None:
    second, first = promoted(models)
    assert serve_again(models) == champion(models).version == first != second
    sentence = f"No version served in {models} before this one. Name one: touchstone models promote VERSION."
    with pytest.raises(ModelError, match=f"^{re.escape(sentence)}$"):
        serve_again(models)
    assert (serve(models, second), promoted(models)) == (second, [second, first])


def test_promoting_the_champion_again_changes_nothing(models: Path) -> None:
    before = promoted(models)
    promote(models, before[0])
    assert promoted(models) == before


@pytest.mark.usefixtures("no_trial")
def test_an_unknown_version_is_refused_and_the_known_ones_are_named(models: Path) -> None:
    before = promoted(models)
    with pytest.raises(ModelError, match=r"^There is no model nobody in .*\. Known versions: \w{12}, \w{12}\.$"):
        serve(models, "nobody")
    assert promoted(models) == before


def test_versions_that_are_compared_and_unknown_are_all_named(models: Path, command: Command) -> None:
    first, second = (line["version"] for line in listed(models))
    for versions, unknown in (((first, "x"), "x"), (("x", "y"), "x and no model y"), (("x", "x"), "x")):
        sentence = f"There is no model {unknown} in {models}. Known versions: {first}, {second}."
        assert command("models", "compare", *versions, workspace=models.parent) == (1, f"ModelError: {sentence}\n")


def test_a_promotion_that_is_killed_at_any_moment_leaves_the_old_champion_or_the_new_one(models: Path) -> None:
    first, second = sorted(promoted(models))
    code = f"""
        import sys
        from pathlib import Path
        from serving.scorer import promote
        print("ready", flush=True)
        while True:
            promote(Path({str(models)!r}), "{first}")
            promote(Path({str(models)!r}), "{second}")
    """
    for delay in (0.0, 0.003, 0.011, 0.02):
        killed = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stdout=subprocess.PIPE)
        assert killed.stdout is not None
        killed.stdout.readline()
        signal.sigtimedwait([], delay)
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
        assert champion(models).version in {first, second}


# A trial


def test_a_sound_model_passes_its_trial(models: Path) -> None:
    trial(models / promoted(models)[0])


def test_a_damaged_model_fails_its_trial_and_the_champion_stays(models: Path) -> None:
    second, first = promoted(models)
    (models / first / "model.txt").write_text("tree\n")
    with pytest.raises(ModelError, match=r"is damaged: model\.txt changed since training\. Nothing of it was loaded\."):
        serve(models, first)
    assert promoted(models) == [second, first]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import os; os.abort()", "kills the process that loads it. It does not serve. Train again."),
        ("import time; time.sleep(60)", "hangs when it is loaded. It does not serve. Train again."),
        ("raise SystemExit(7)", "cannot be loaded. It does not serve. Train again."),
    ],
)
def test_a_model_that_kills_or_hangs_its_reader_kills_and_hangs_nobody_else(
    models: Path, monkeypatch: pytest.MonkeyPatch, code: str, sentence: str
) -> None:
    monkeypatch.setattr(registry, "TRIAL", code)
    monkeypatch.setattr(registry, "TRIAL_SECONDS", 1)
    with pytest.raises(ModelError, match=f"{re.escape(sentence)}$"):
        trial(models / promoted(models)[0])


def test_of_six_hundred_damaged_models_none_is_loaded(models: Path) -> None:
    rng, loaded = np.random.default_rng(0), []
    folder = models / promoted(models)[0]
    whole = {name: (folder / name).read_bytes() for name in ("model.txt", "spec.json", "manifest.json")}
    for number in range(600):
        name = ("model.txt", "spec.json", "manifest.json")[number % 3]
        content = bytearray(whole[name])
        at = int(rng.integers(len(content)))
        if number % 5 == 0:
            del content[at:]
        elif number % 5 == 1:
            content[at : at + 8] = b"99999999"[: len(content[at : at + 8])]
        else:
            content[at] ^= 1 << int(rng.integers(8))
        if bytes(content) == whole[name]:
            continue
        (folder / name).write_bytes(content)
        with contextlib.suppress(ModelError):
            loaded.append(champion(models))
        (folder / name).write_bytes(whole[name])
    assert loaded == []
    assert champion(models).version == folder.name


# Listed and compared


def test_models_are_listed_the_latest_first_with_what_their_cards_say(models: Path) -> None:
    second, first = promoted(models)
    figures = {"n": 9, "roc_auc": 0.7, "log_loss": 0.5, "ece": 0.1}
    for version, as_of in ((first, "2026-01-01"), (second, "2026-02-01")):
        card = {"as_of": as_of, "evidence": "model", "why": "Because.", "metrics": figures | {"brier": 0.2}}
        (models / version / "card.json").write_text(json.dumps(card))
    said = {"evidence": "model", "why": "Because.", **figures}
    assert listed(models) == [
        {"version": second, "champion": True, "as_of": "2026-02-01", **said},
        {"version": first, "champion": False, "as_of": "2026-01-01", **said},
    ]


def test_a_model_without_a_card_is_listed_all_the_same(models: Path) -> None:
    assert [(line["champion"], line["as_of"], line["roc_auc"]) for line in listed(models)].count(
        (True, None, None)
    ) == 1


def test_two_models_are_compared_on_snapshots_taken_after_both_had_learned(models: Path, history: History) -> None:
    second, first = promoted(models)
    found = compared(load(models / first), load(models / second), history, SETTINGS, NEVER)
    assert list(found) == [first, second]
    assert [figures["n"] for figures in found.values()] == [90, 90]  # leads from day 198 of 360 on
    assert found[first] == found[second]  # of the same trees


def test_models_that_nothing_came_after_cannot_be_compared(models: Path, history: History) -> None:
    second, first = promoted(models)
    both = load(models / first), load(models / second)
    with pytest.raises(DataError, match=rf"^No snapshot that was taken after both {first} and {second} had learned"):
        compared(*both, history, SETTINGS, day(200))


def test_the_command_lists_promotes_and_rolls_back(
    models: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "trial", lambda _: None)
    second, first = promoted(models)
    status, printed = command("models", "list", "--json", workspace=models.parent)
    assert (status, {line["version"] for line in json.loads(printed)["models"]}) == (0, {first, second})
    assert command("models", "rollback", "--json", workspace=models.parent) == (0, f'{{\n  "champion": "{first}"\n}}\n')
    assert command("models", "promote", second, workspace=models.parent) == (0, f"{second} is champion.\n")
    assert command("models", "list", workspace=models.parent)[1].count("(champion)") == 1
