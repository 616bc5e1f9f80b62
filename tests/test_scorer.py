"""The scorer: three files, verified before they are read; the same answer from any thread."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from by_hand import at_age, eager_and_idle
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.errors import ModelError
from features.history import NEVER
from features.matrix import feature_matrix
from features.settings import Training
from features.templates import learned_features
from serving import scorer as scorer_module
from serving.scorer import Scorer, champion, load, promote, roll_back, save
from serving.spec import Calibration, Spec, probability
from training.ensemble import Model, fit

Floats = NDArray[np.float64]
HISTORY = eager_and_idle(200)
ROWS = at_age(HISTORY, 2, [(i // 2 % 5 != 0) == (i % 2 == 0) for i in range(200)])
FEATURES = learned_features(HISTORY, NEVER)
MATRIX = feature_matrix(FEATURES, ROWS.moments)
PERMILLE = st.integers(0, 1000).map(lambda n: n / 1000)


@pytest.fixture(scope="module")
def model() -> Model:
    return fit(ROWS, FEATURES, 90, Training.model_validate({"trees": 20, "members": 3}))


@pytest.fixture
def saved(model: Model, tmp_path: Path) -> Path:
    """Return the folder of a saved model."""
    return tmp_path / save(tmp_path, model.spec, model.trees).version


def base_rate(leads: int = 99, rate: float = 0.25) -> Scorer:
    return Scorer(Spec(FEATURES, 90, math.log(rate / (1 - rate)), leads), None, "base")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# Saved and loaded


def test_a_saved_model_is_loaded_as_it_was(model: Model, tmp_path: Path) -> None:
    loaded = save(tmp_path, model.spec, model.trees)
    assert loaded.spec == model.spec
    assert loaded.margins(MATRIX).tolist() == model.scorer().margins(MATRIX).tolist()


def test_a_saved_base_rate_is_loaded_as_it_was(tmp_path: Path) -> None:
    scorer = save(tmp_path, base_rate().spec, "")
    assert (scorer.spec, scorer.forest) == (base_rate().spec, None)
    assert scorer.probabilities(MATRIX[:2]) == pytest.approx([0.25, 0.25])


def test_a_model_is_three_files_of_text_in_a_folder_named_after_their_content(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == ["manifest.json", "model.txt", "spec.json"]
    assert re.fullmatch("[0-9a-f]{12}", saved.name)
    assert (saved / "model.txt").read_text().startswith("tree\nversion=v4\n")
    assert json.loads((saved / "spec.json").read_text())["features"][0] == asdict(FEATURES[0]) | {
        "where": [],
        "levels": [],
    }


def test_the_same_model_has_the_same_version_and_another_has_another(model: Model, saved: Path, tmp_path: Path) -> None:
    assert save(tmp_path / "elsewhere", model.spec, model.trees).version == saved.name
    assert save(tmp_path, replace(model.spec, horizon_days=30), model.trees).version != saved.name


def test_saving_a_model_again_mends_its_files(model: Model, saved: Path) -> None:
    (saved / "spec.json").write_text("{}")
    assert save(saved.parent, model.spec, model.trees).spec == model.spec


# Damaged


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip_a_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def edit(content: bytes) -> bytes:
    return content + b"\n"


def empty(_: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [cut, flip_a_bit, edit, empty])
@pytest.mark.parametrize("name", ["model.txt", "spec.json", "manifest.json"])
def test_a_damaged_file_is_refused_before_anything_is_parsed(
    saved: Path, name: str, damage: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (saved / name).write_bytes(damage((saved / name).read_bytes()))
    monkeypatch.setattr(scorer_module, "trees_of", lambda *_: pytest.fail("damaged trees were read"))
    monkeypatch.setattr(scorer_module, "read_spec", lambda _: pytest.fail("a damaged spec was read"))
    sentence = (
        f"The model in {saved} is damaged: {name} changed since training. "
        "Nothing of it was loaded. Train again or roll back."
    )
    with pytest.raises(ModelError, match=f"^{re.escape(sentence)}$"):
        load(saved)


def test_every_damaged_file_is_named(saved: Path) -> None:
    for name in ("model.txt", "spec.json"):
        (saved / name).write_bytes(b"")
    with pytest.raises(ModelError, match=r"is damaged: model\.txt, spec\.json changed since training"):
        load(saved)


def test_a_manifest_that_vouches_for_other_files_is_refused(saved: Path) -> None:
    (saved / "model.txt").write_text("tree\n")
    hashes = {name: sha256((saved / name).read_bytes()) for name in ("model.txt", "spec.json")}
    (saved / "manifest.json").write_text(json.dumps({"files": hashes}, indent=1))
    with pytest.raises(ModelError, match=r"is damaged: manifest\.json changed since training"):
        load(saved)


@pytest.mark.parametrize("name", ["model.txt", "spec.json", "manifest.json"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    sentence = (
        f"The model in {saved} cannot be read: {saved / name}: No such file or directory. Train again or roll back."
    )
    with pytest.raises(ModelError, match=f"^{re.escape(sentence)}$"):
        load(saved)


def test_a_model_in_a_folder_of_another_name_is_refused(saved: Path) -> None:
    moved = saved.rename(saved.with_name("0123456789ab"))
    with pytest.raises(ModelError, match=r"is damaged: manifest\.json changed since training"):
        load(moved)


def test_a_model_that_does_not_repeat_its_golden_rows_is_refused(model: Model, tmp_path: Path) -> None:
    (row, said), *others = model.spec.golden
    other = replace(model.spec, golden=((row, said * (1 + 1e-9)), *others))
    with pytest.raises(ModelError) as refused:
        save(tmp_path, other, model.trees)
    (folder,) = tmp_path.iterdir()
    assert str(refused.value) == (
        f"The model in {folder} does not repeat what it said in training. Was Touchstone changed? "
        "Install the version that trained it, or train again."
    )


def test_a_spec_of_another_version_of_touchstone_is_refused_with_a_sentence(tmp_path: Path) -> None:
    spec = json.dumps(asdict(base_rate().spec) | {"new": 1})
    manifest = json.dumps({"files": {"model.txt": sha256(b""), "spec.json": sha256(spec.encode())}})
    folder = tmp_path / sha256(manifest.encode())[:12]
    folder.mkdir()
    for name, text in (("model.txt", ""), ("spec.json", spec), ("manifest.json", manifest)):
        (folder / name).write_text(text)
    sentence = (
        f"The model in {folder} was written by another version of Touchstone "
        "(Spec.__init__() got an unexpected keyword argument 'new'). Train again."
    )
    with pytest.raises(ModelError, match=f"^{re.escape(sentence)}$"):
        load(folder)


# The champion


def test_the_promoted_version_is_the_champion(saved: Path) -> None:
    promote(saved.parent, saved.name)
    assert champion(saved.parent).version == saved.name
    assert sorted(path.name for path in saved.parent.iterdir()) == sorted([saved.name, "champion.json"])


def test_a_reader_sees_the_old_champion_or_the_new_one_and_nothing_between(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointer = saved.parent / "champion.json"
    promote(saved.parent, "old")
    seen: list[str] = []
    flush = os.fsync

    def watched(file: int) -> None:
        seen.append(pointer.read_text())
        flush(file)
        seen.append(pointer.read_text())

    monkeypatch.setattr(os, "fsync", watched)
    promote(saved.parent, "new")
    assert (seen, pointer.read_text()) == (['{"version": "old", "before": []}'] * 2, '{"version": "new", "before": []}')


def test_a_promotion_that_fails_leaves_the_champion(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(saved.parent, saved.name)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        promote(saved.parent, "new")
    assert champion(saved.parent).version == saved.name


@pytest.mark.parametrize(("room", "goal"), [("", ""), ("goals/renewed", " --goal renewed")])
def test_without_a_promoted_model_the_error_says_what_to_do(room: str, goal: str, tmp_path: Path) -> None:
    models = tmp_path / room / "models"
    sentence = f"There is no champion in {models}. Run `touchstone train{goal}` first."
    with pytest.raises(ModelError, match=f"^{re.escape(sentence)}$"):
        champion(models)
    sentence = f"No version served in {models} before this one. Name one: touchstone models promote VERSION{goal}."
    with pytest.raises(ModelError, match=f"^{re.escape(sentence)}$"):
        roll_back(models)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": 1}', "\udcff"])
def test_a_damaged_pointer_is_refused_with_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "champion.json").write_bytes(content.encode(errors="surrogateescape"))
    sentence = f"{tmp_path / 'champion.json'} does not name a version. Run `touchstone train` again."
    with pytest.raises(ModelError, match=f"^{re.escape(sentence)}$"):
        champion(tmp_path)


def test_a_champion_whose_folder_is_gone_is_refused(saved: Path) -> None:
    promote(saved.parent, saved.name)
    shutil.rmtree(saved)
    with pytest.raises(ModelError, match=rf"^The model in {re.escape(str(saved))} cannot be read"):
        champion(saved.parent)


# What it says


def test_effects_and_base_add_up_to_the_calibrated_log_odds(model: Model) -> None:
    scorer = model.scorer()
    margins = scorer.margins(MATRIX)
    assert scorer.forest is not None
    base = (scorer.forest.base + np.mean([line.base for line in model.spec.lines])) / 2
    total = scorer.effects(MATRIX, margins).sum(axis=1) + model.spec.calibration.log_odds(base)
    assert total == pytest.approx(scorer.log_odds(margins), abs=1e-9)


def test_what_eager_leads_did_raises_their_odds_and_what_idle_ones_did_not_lowers_theirs(model: Model) -> None:
    scorer = model.scorer()
    effects = scorer.effects(MATRIX, scorer.margins(MATRIX)).sum(axis=1)
    assert ((effects > 0) == [i % 2 == 0 for i in range(200)]).all()


def test_a_base_rate_has_no_effects() -> None:
    scorer = base_rate()
    assert scorer.effects(MATRIX, scorer.margins(MATRIX)).tolist() == np.zeros(MATRIX.shape).tolist()


def test_an_interval_contains_its_probability(model: Model) -> None:
    scorer = model.scorer()
    margins = scorer.margins(MATRIX)
    (low, high), said = scorer.intervals(margins), scorer.calibrated(margins)
    assert ((low > 0) & (low < said) & (said < high) & (high < 1)).all()


def ends(log_odds: float, variance: float) -> list[float]:
    """Return the ends of the interval of a normal spread of the log-odds whose mean probability is said."""
    said = probability(np.array(log_odds))
    middle = log_odds - variance / 2 * (1 - 2 * said)
    return [float(probability(middle + side * 1.6449 * math.sqrt(variance))) for side in (-1, 1)]


def test_the_interval_of_a_base_rate_is_of_what_is_unseen_and_of_a_share_among_as_many_leads() -> None:
    low, high = base_rate(leads=99, rate=0.25).intervals(np.full((1, 1), math.log(1 / 3)))
    assert [low[0], high[0]] == pytest.approx(ends(math.log(1 / 3), 2.0 + 1 / (100 * 0.25 * 0.75)))
    assert [low[0], high[0]] == pytest.approx([0.019, 0.678], abs=0.001)


def test_members_that_agree_are_no_surer_than_what_is_unseen_and_the_base_rate_allow(model: Model) -> None:
    base = replace(base_rate(), spec=replace(base_rate().spec, outcomes=50))
    flat = replace(base, spec=replace(base.spec, calibration=Calibration(0, 0, -1)))
    for agreed, unseen in ((replace(base, forest=model.scorer().forest), 0.4 + 40 / 50), (flat, 2.0)):
        centre = agreed.log_odds(np.zeros((3, 1)))
        low, high = agreed.intervals(np.zeros((3, 1)))
        assert [low[0], high[0]] == pytest.approx(ends(float(centre[0]), unseen + 1 / (100 * 0.25 * 0.75)))


def test_the_spread_of_the_members_is_a_jackknife_error() -> None:
    scorer = base_rate(leads=10**15)  # of which the base rate is sure
    low, high = scorer.intervals(np.array([[-1.0], [0.0], [1.0]]))
    assert [low[0], high[0]] == pytest.approx(ends(0.0, 2 / 3 * 2 + 2.0), rel=1e-6)  # (g − 1)/g times the squares


@pytest.mark.parametrize(("outcomes", "unseen"), [(25, 2.0), (40, 1.4), (100, 0.8), (40_000, 0.401)])
def test_the_more_outcomes_a_model_learned_from_the_less_is_unseen(model: Model, outcomes: int, unseen: float) -> None:
    scorer = model.scorer()
    assert replace(scorer, spec=replace(model.spec, outcomes=outcomes)).unseen == pytest.approx(unseen)


def test_percentiles_are_the_share_that_was_less_probable(model: Model) -> None:
    scorer = replace(model.scorer(), spec=replace(model.spec, ranks=tuple(np.linspace(0.1, 0.3, 101))))
    asked = np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.9])
    assert scorer.percentiles(asked) == pytest.approx([0, 0, 25, 50, 75, 100, 100])


def test_a_probability_that_all_had_is_in_the_middle(model: Model) -> None:
    scorer = replace(model.scorer(), spec=replace(model.spec, ranks=(0.2,) * 101))
    assert scorer.percentiles(np.array([0.1, 0.2, 0.3])).tolist() == [0, 50, 100]


def test_a_base_rate_is_in_the_middle() -> None:
    assert base_rate().percentiles(np.array([0.25, 0.25])).tolist() == [50, 50]


@settings(deadline=None)
@given(st.lists(PERMILLE, min_size=101, max_size=101), st.lists(PERMILLE, min_size=2))
def test_a_higher_probability_never_has_a_lower_percentile(ranks: list[float], asked: list[float]) -> None:
    scorer = Scorer(replace(base_rate().spec, ranks=tuple(sorted(ranks))), None, "")
    found = scorer.percentiles(np.array(sorted(asked)))
    assert (np.diff(found) >= -1e-9).all()
    assert ((found >= 0) & (found <= 100)).all()


def test_no_rows_give_no_answers(model: Model) -> None:
    for scorer in (model.scorer(), base_rate()):
        nobody = MATRIX[:0]
        margins = scorer.margins(nobody)
        assert scorer.probabilities(nobody).tolist() == []
        assert [ends.tolist() for ends in scorer.intervals(margins)] == [[], []]
        assert scorer.percentiles(scorer.calibrated(margins)).tolist() == []
        assert scorer.effects(nobody, margins).shape == (0, len(FEATURES))


def test_a_row_alone_is_the_row_in_the_batch(model: Model) -> None:
    scorer = model.scorer()
    alone = [scorer.probabilities(MATRIX[i : i + 1])[0] for i in range(len(MATRIX))]
    assert alone == scorer.probabilities(MATRIX).tolist()


def test_threads_that_ask_at_once_get_what_each_asked_for(model: Model) -> None:
    scorer = model.scorer()
    margins, effects = scorer.margins(MATRIX), scorer.effects(MATRIX, scorer.margins(MATRIX))

    def ask(_: int) -> bool:
        said = scorer.margins(MATRIX)
        return np.array_equal(said, margins) and np.array_equal(scorer.effects(MATRIX, said), effects)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(ask, range(200))) == [True] * 200


# What is not loaded


def test_scoring_knows_neither_mlflow_nor_bentoml_nor_lightgbm() -> None:
    heavy = "{'mlflow', 'bentoml', 'lightgbm', 'sklearn'}"
    code = f"import sys, serving.scorer, serving.scores, serving.batch; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    "file", [*ROOT.glob("serving/**/*.py"), *ROOT.glob("features/**/*.py")], ids=lambda file: file.name
)
def test_nothing_on_the_load_path_reads_pickle(file: Path) -> None:
    nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert imported & {"pickle", "joblib", "cloudpickle", "dill", "shelve", "marshal", "mlflow.pyfunc"} == set()
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert {name for name in called if name.endswith(("load_model", "read_pickle", "unpickle"))} == set()
