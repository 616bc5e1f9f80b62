"""The scorer: what a promoted model says of a lead. Knows no BentoML and no MLflow.

A model is three files: ``model.txt``, the trees as LightGBM writes them; ``spec.json``, all that turns trees
into a score; ``manifest.json``, the SHA-256 of both. Training writes through ``save`` and judges through
``Scorer``, so what is judged is what is served. There is no pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from features.errors import ModelError
from features.verbs import Feature

Floats = NDArray[np.float64]
MODEL, SPEC, MANIFEST = "model.txt", "spec.json", "manifest.json"
TINY = 1e-12  # log-odds; nothing moved
Z90 = 1.6449  # of a two-sided interval of 90 %


@dataclass(frozen=True)
class Calibration:
    """Beta calibration (Kull, Silva Filho, Flach 2017): logit q = a ln p − b ln(1 − p) + c, with a, b ≥ 0."""

    a: float = 1.0
    b: float = 1.0
    c: float = 0.0

    def log_odds(self, margin: Floats) -> Floats:
        """Return calibrated log-odds of raw log-odds."""
        return self.c - self.a * np.logaddexp(0, -margin) + self.b * np.logaddexp(0, margin)


@dataclass(frozen=True)
class Spec:
    """All that turns trees into a score.

    ``ranks`` are 101 quantiles of the probability among leads never shown to the trees that scored them;
    ``medians`` of each feature; ``golden`` a few rows with the probability each must give.
    """

    features: tuple[Feature, ...]
    horizon_days: float
    base_log_odds: float
    members: int = 0
    trees: int = 0
    calibration: Calibration = field(default_factory=Calibration)
    evidence: str = "base_rate"
    snapshots: int = 0
    ranks: tuple[float, ...] = ()
    medians: tuple[float | None, ...] = ()
    golden: tuple[tuple[tuple[float | None, ...], float], ...] = ()
    trained: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scorer:
    """A model, ready to score. ``trees`` is None when there were too few outcomes to learn from."""

    spec: Spec
    trees: lgb.Booster | None
    version: str

    def margins(self, matrix: Floats) -> Floats:
        """Return the raw log-odds by each member of the ensemble (row) for each row of the matrix (column)."""
        if self.trees is None or not len(matrix):
            return np.full((1, len(matrix)), self.spec.base_log_odds)
        each = self.spec.trees
        return np.stack([
            self.trees.predict(matrix, raw_score=True, start_iteration=k * each, num_iteration=each, num_threads=1)
            for k in range(self.spec.members)
        ])  # fmt: skip

    def log_odds(self, margins: Floats) -> Floats:
        """Return the calibrated log-odds of each column of margins."""
        return self.spec.calibration.log_odds(margins.mean(axis=0))

    def probabilities(self, matrix: Floats) -> Floats:
        """Return the probability of closing within the horizon for each row of the matrix."""
        return self.calibrated(self.margins(matrix))

    def calibrated(self, margins: Floats) -> Floats:
        """Return the probability of each column of margins."""
        return probability(self.log_odds(margins))

    def intervals(self, margins: Floats) -> tuple[Floats, Floats]:
        """Return the ends of the 90 % interval of each probability.

        The ensemble's spread is its delete-a-group jackknife error, since each member left out one part of
        the leads (Efron 1982); a base rate's is that of a binomial share.
        """
        centre, members = margins.mean(axis=0), len(margins)
        squares = ((margins - centre) ** 2).sum(axis=0) * (members - 1) / members
        if self.trees is None:
            rate = probability(centre)
            squares = 1 / ((self.spec.snapshots + 1) * rate * (1 - rate))
        error = Z90 * np.sqrt(squares)
        calibrated = self.spec.calibration.log_odds
        return probability(calibrated(centre - error)), probability(calibrated(centre + error))

    def effects(self, matrix: Floats, margins: Floats) -> Floats:
        """Return the effect of each feature (column) on each row's log-odds; with the base they sum to it."""
        if self.trees is None or not len(matrix):
            return np.zeros(matrix.shape)
        raw = np.asarray(self.trees.predict(matrix, pred_contrib=True, num_threads=1)) / self.spec.members
        effects, base = raw[:, :-1], raw[:, -1]
        moved = margins.mean(axis=0) - base
        calibrated = self.log_odds(margins) - self.spec.calibration.log_odds(base)
        scale = np.divide(calibrated, moved, out=np.zeros_like(moved), where=np.abs(moved) > TINY)
        return np.asarray(effects * scale[:, None])

    def percentiles(self, probabilities: Floats) -> Floats:
        """Return the share (in percent) of leads at training that were less probable."""
        if not self.spec.ranks:
            return np.full(len(probabilities), 50.0)
        return np.interp(probabilities, self.spec.ranks, np.linspace(0, 100, len(self.spec.ranks)))


def probability(log_odds: Floats) -> Floats:
    """Return probabilities of log-odds."""
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def save(folder: Path, spec: Spec, trees: str) -> Scorer:
    """Write a model below ``folder``, in a folder named after its content, and return it as loaded from there."""
    contents = {MODEL: trees, SPEC: json.dumps(asdict(spec), ensure_ascii=False, allow_nan=False, indent=1)}
    hashes = {name: _sha256(text.encode()) for name, text in contents.items()}
    manifest = json.dumps({"files": hashes}, indent=1)
    version = _sha256(manifest.encode())[:12]
    target, draft = folder / version, folder / f".{version}.{os.getpid()}"
    if not target.exists():
        draft.mkdir(parents=True, exist_ok=True)
        for name, text in (*contents.items(), (MANIFEST, manifest)):
            _write(draft / name, text)
        draft.rename(target)
    return load(target)


def load(folder: Path) -> Scorer:
    """Return the model in ``folder``, after its files' hashes and its golden rows were checked.

    Raises:
        ModelError: when a file is missing or damaged, or the model does not say what it said in training.

    """
    try:
        manifest = (folder / MANIFEST).read_bytes()
        hashes = json.loads(manifest)["files"]
        contents = {name: (folder / name).read_bytes() for name in (MODEL, SPEC)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"The model in {folder} cannot be read: {error}. Train again or roll back.") from None
    damaged = [name for name, content in contents.items() if _sha256(content) != hashes.get(name)]
    if _sha256(manifest)[:12] != folder.name:
        damaged.append(MANIFEST)
    if damaged:
        raise ModelError(
            f"The model in {folder} is damaged: {', '.join(damaged)} changed since training. "
            "Nothing of it was loaded. Train again or roll back."
        )
    spec = _spec(json.loads(contents[SPEC]))
    trees = lgb.Booster(model_str=contents[MODEL].decode()) if spec.members else None
    scorer = Scorer(spec, trees, folder.name)
    _check_golden_rows(scorer, folder)
    return scorer


def promote(models: Path, version: str) -> None:
    """Make a version the champion: one pointer, exchanged by atomic rename."""
    draft = models / f".champion.{os.getpid()}"
    _write(draft, json.dumps({"version": version}))
    draft.replace(models / "champion.json")


def champion(models: Path) -> Scorer:
    """Return the model that serves.

    Raises:
        ModelError: when none was promoted yet, or it cannot be loaded.

    """
    pointer = models / "champion.json"
    if not pointer.exists():
        raise ModelError(f"There is no champion in {models}. Run `touchstone train` first.")
    return load(models / json.loads(pointer.read_text("utf-8"))["version"])


def _spec(read: dict[str, Any]) -> Spec:
    features = tuple(
        Feature(**row | {"where": tuple(map(tuple, row["where"])), "levels": tuple(row["levels"])})
        for row in read["features"]
    )
    golden = tuple((tuple(row), probability) for row, probability in read["golden"])
    lists = {"ranks": tuple(read["ranks"]), "medians": tuple(read["medians"]), "golden": golden}
    return Spec(**read | lists | {"features": features, "calibration": Calibration(**read["calibration"])})


def _check_golden_rows(scorer: Scorer, folder: Path) -> None:
    rows = np.array([row for row, _ in scorer.spec.golden], np.float64).reshape(-1, len(scorer.spec.features))
    expected = np.array([probability for _, probability in scorer.spec.golden])
    if not np.allclose(scorer.probabilities(rows), expected, rtol=1e-12, atol=0):
        raise ModelError(
            f"The model in {folder} does not repeat what it said in training. Was LightGBM changed? "
            "Install the pinned version, or train again."
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
