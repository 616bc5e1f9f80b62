"""The scorer: what a promoted model says of a lead. Knows no BentoML and no MLflow.

A model is an ensemble. Each member was fitted to most of the leads and speaks in log-odds, with trees, with a line, or
with a mean of the two; what all say together is calibrated. A model without members says the base rate.

It is three files: ``model.txt``, the trees as LightGBM writes them; ``spec.json``, all that turns trees
into a score; ``manifest.json``, the SHA-256 of both. Training writes through ``save`` and judges through
``Scorer``, so what is judged is what is served. There is no pickle.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from features.errors import ModelError
from features.goals import for_goal_of
from features.store import share
from serving.forest import Forest
from serving.hazards import Hazards, trees_of
from serving.line import Lines, lines_of
from serving.pieces import Ints
from serving.spec import Floats, Spec, probability, read_spec

MODEL, SPEC, MANIFEST = "model.txt", "spec.json", "manifest.json"
CARD = "card.json"  # beside them, for people: nothing is scored by it
CHAMPION = "champion.json"  # the pointer to the version that serves
KEPT = 20  # versions that served before, for rolling back
TINY = 1e-6  # log-odds; below it a secant is as good as a tangent, and less exact
Z90 = 1.6449  # of a two-sided interval of 90 %
# Variance of the true log-odds among leads that look alike, as measured on simulated companies, whose truth is known:
# of all leads, of those that a perfect model calls alike, and what it is more for each outcome that is missing
UNTOLD, UNSEEN, UNLEARNED = 2.0, 0.4, 40.0


@dataclass(frozen=True)
class Scorer:
    """A model, ready to score from any thread."""

    spec: Spec
    forest: Forest | Hazards | None  # the trees of the members; none if lines speak alone, or nobody does
    version: str

    def margins(self, matrix: Floats) -> Floats:
        """Return the raw log-odds by each member of the ensemble (row) for each row of the matrix (column)."""
        if not self.learned or not len(matrix):
            return np.full((1, len(matrix)), self.spec.base_log_odds)
        share = self.spec.line_share
        margins = np.zeros((self.members, len(matrix)))
        if self.forest:
            margins += (1 - share) * self.forest.margins(self.spec.as_trees_see(matrix))
        if self.lines:
            margins += share * self.lines.margins(matrix)
        return margins

    @property
    def members(self) -> int:
        """How many speak together; none while there is nothing to learn from."""
        return self.forest.members if self.forest else len(self.spec.lines)

    @cached_property
    def lines(self) -> Lines | None:
        """The lines of the members, if there are any."""
        return lines_of(self.spec.lines) if self.spec.lines else None

    @property
    def learned(self) -> bool:
        """Say whether there are members; without, every lead has the base rate."""
        return bool(self.forest or self.lines)

    @property
    def unseen(self) -> float:
        """Return the variance of the true log-odds among leads that the model calls alike."""
        return min(UNTOLD, UNSEEN + UNLEARNED / self.spec.outcomes) if self.learned else UNTOLD

    @property
    def unsure_of_rate(self) -> float:
        """Return the variance of the base rate's log-odds: it is a share among so many leads."""
        rate = self.spec.base_rate
        return 1 / ((self.spec.leads + 1) * rate * (1 - rate))

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

        Three errors of the log-odds add up in squares: the ensemble's, by delete-a-group jackknife, since each member
        left out one part of the leads (Efron 1982); the base rate's, a binomial share among leads; and what nobody
        who only sees the features can know of a lead. The probability is the mean of what is thus
        spread, so that the middle is not where it is but, for a normal spread of the log-odds, variance / 2 lower.
        """
        centre, members = margins.mean(axis=0), len(margins)
        jackknife = ((margins - centre) ** 2).sum(axis=0) * (members - 1) / members
        variance = jackknife * self.spec.calibration.slope(centre) ** 2 + self.unseen
        variance += self.unsure_of_rate
        said = self.spec.calibration.log_odds(centre)
        middle, reach = said - variance / 2 * (1 - 2 * probability(said)), Z90 * np.sqrt(variance)
        return probability(np.minimum(middle - reach, said)), probability(np.maximum(middle + reach, said))

    def effects(self, matrix: Floats, margins: Floats) -> Floats:
        """Return the effect of each feature (column) on each row's log-odds; with the base they sum to it.

        Those of the members are on the raw log-odds; calibration stretches them all alike, by its mean slope.
        """
        if not self.learned or not len(matrix):
            return np.zeros(matrix.shape)
        of_trees = self.forest.effects(self.spec.as_trees_see(matrix)) if self.forest else None
        return self._stretched(of_trees, matrix, margins)

    def told(self, matrix: Floats, rows: Ints) -> tuple[Floats, Floats]:
        """Return the margins of the matrix, and the effects on some of its rows, in order; quicker than one by one."""
        if not self.forest or not len(matrix):
            margins = self.margins(matrix)
            return margins, self.effects(matrix[rows], margins.take(rows, axis=1))
        share = self.spec.line_share
        of_trees, effects = self.forest.told(self.spec.as_trees_see(matrix), rows)
        margins = (1 - share) * of_trees
        if self.lines:
            margins += share * self.lines.margins(matrix)
        return margins, self._stretched(effects, matrix[rows], margins.take(rows, axis=1))

    def _stretched(self, of_trees: Floats | None, matrix: Floats, margins: Floats) -> Floats:
        share = self.spec.line_share
        effects = np.zeros(matrix.shape) if of_trees is None else (1 - share) * of_trees
        if self.lines:
            effects += share * self.lines.effects(matrix)
        base, base_log_odds, slope = self._base
        centre = margins.mean(axis=0)
        moved, calibrated = centre - base, self.spec.calibration.log_odds(centre) - base_log_odds
        stretch = np.divide(calibrated, moved, out=np.full(len(moved), slope), where=np.abs(moved) > TINY)
        return np.asarray(effects * stretch[:, None])

    @cached_property
    def _base(self) -> tuple[float, float, float]:
        """What the effects start from: the mean of the members, its calibrated log-odds, and the slope there."""
        share, base = self.spec.line_share, 0.0
        if self.forest:
            base += (1 - share) * self.forest.base
        if self.lines:
            base += share * self.lines.base
        calibration = self.spec.calibration
        return base, float(calibration.log_odds(np.array(base))), float(calibration.slope(np.array(base)))

    def percentiles(self, probabilities: Floats) -> Floats:
        """Return the share (in percent) of leads at training that were less probable; of equals, half count."""
        if not self.spec.ranks:
            return np.full(len(probabilities), 50.0)
        ranks, share = self.spec.quantiles
        not_above = np.interp(probabilities, ranks, share)
        not_below = np.interp(-probabilities, -ranks[::-1], share)
        return np.asarray((not_above + 100 - not_below) / 2)


def save(folder: Path, spec: Spec, trees: str) -> Scorer:
    """Write a model below ``folder``, in a folder named after its content, and return it as loaded from there.

    A model that is there already is written again with the same bytes, so training mends a damaged one.
    """
    contents = {MODEL: trees, SPEC: json.dumps(asdict(spec), ensure_ascii=False, allow_nan=False, indent=1)}
    hashes = {name: _sha256(text.encode()) for name, text in contents.items()}
    manifest = json.dumps({"files": hashes}, indent=1)
    target = folder / _sha256(manifest.encode())[:12]
    target.mkdir(parents=True, exist_ok=True)
    for name, text in (*contents.items(), (MANIFEST, manifest)):
        share(target / name, text)
    return load(target)


def load(folder: Path) -> Scorer:
    """Return the model in ``folder``, after its files' hashes and its golden rows were checked.

    Raises:
        ModelError: when a file is missing or damaged, or the model does not say what it said in training.

    """
    return verified(contents_of(folder), folder)


def contents_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a model by name, not yet verified.

    Raises:
        ModelError: when one is missing.

    """
    try:
        return {name: (folder / name).read_bytes() for name in (MANIFEST, MODEL, SPEC)}
    except OSError as error:
        raise ModelError(
            f"The model in {folder} cannot be read: {error.filename}: {error.strerror}. Train again or roll back."
        ) from None


def verified(contents: dict[str, bytes], folder: Path) -> Scorer:
    """Return the model of these files, which were in ``folder``, after their hashes and golden rows were checked.

    Raises:
        ModelError: when a file is damaged, or the model does not say what it said in training.

    """
    damaged = _damaged(contents, folder.name)
    if damaged:
        raise ModelError(
            f"The model in {folder} is damaged: {', '.join(damaged)} changed since training. "
            "Nothing of it was loaded. Train again or roll back."
        )
    try:
        spec = read_spec(json.loads(contents[SPEC]))
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"The model in {folder} was written by another version of Touchstone ({error}). Train again."
        ) from None
    scorer = Scorer(spec, trees_of(contents[MODEL].decode(), spec), folder.name)
    _check_golden_rows(scorer, folder)
    return scorer


def promote(models: Path, version: str) -> None:
    """Make a version the champion: one pointer, exchanged by atomic rename."""
    before = [other for other in promoted(models) if other != version and (models / other).exists()][:KEPT]
    share(models / CHAMPION, json.dumps({"version": version, "before": before}))


def roll_back(models: Path) -> str:
    """Make the version that served before the champion again, and return it.

    Raises:
        ModelError: when none served before.

    """
    before = promoted(models)[1:]
    if not before:
        command = for_goal_of(models.parent, "touchstone models promote VERSION")
        raise ModelError(f"No version served in {models} before this one. Name one: {command}.")
    load(models / before[0])
    share(models / CHAMPION, json.dumps({"version": before[0], "before": before[1:]}))
    return before[0]


def promoted(models: Path) -> list[str]:
    """Return the version that serves and those that served before it, the latest first; none without a pointer."""
    try:
        pointer = json.loads((models / CHAMPION).read_bytes())
        return [pointer["version"], *pointer.get("before", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def champion(models: Path) -> Scorer:
    """Return the model that serves.

    Raises:
        ModelError: when none was promoted yet, or it cannot be loaded.

    """
    return load(champion_folder(models))


def champion_folder(models: Path) -> Path:
    """Return the folder of the model that serves.

    Raises:
        ModelError: when none was promoted yet.

    """
    pointer, command = models / CHAMPION, for_goal_of(models.parent, "touchstone train")
    if not pointer.exists():
        raise ModelError(f"There is no champion in {models}. Run `{command}` first.")
    try:
        version = json.loads(pointer.read_bytes())["version"]
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{pointer} does not name a version. Run `{command}` again.") from None
    return models / str(version)


def _damaged(contents: dict[str, bytes], version: str) -> list[str]:
    """Return the names of the files that are not as written; the folder's name vouches for the manifest."""
    if _sha256(contents[MANIFEST])[:12] != version:
        return [MANIFEST]
    hashes = json.loads(contents[MANIFEST])["files"]
    return [name for name in hashes if _sha256(contents[name]) != hashes[name]]


def _check_golden_rows(scorer: Scorer, folder: Path) -> None:
    rows = np.array([row for row, _ in scorer.spec.golden], np.float64).reshape(-1, len(scorer.spec.features))
    expected = np.array([probability for _, probability in scorer.spec.golden])
    if not np.allclose(scorer.probabilities(rows), expected, rtol=1e-12, atol=0):
        raise ModelError(
            f"The model in {folder} does not repeat what it said in training. Was Touchstone changed? "
            "Install the version that trained it, or train again."
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
