"""The model: an ensemble whose members are fitted to parts of the leads in turn, calibrated on the part left out.

How much is dared depends on how many leads were won, and how many were not (the fewer of the two):

    0           prior: the base rate
    1 and more  segment_rates: of one category, if the data speak for it
    5 and more  shrunken_model: logistic regressions, all alike shrunk
    40 and more model: the mean of trees and lines. Half of each is best on simulated companies (trees alone: 7 % more
                regret). To choose the share on unseen leads is no better there, and loses where the world drifts:
                trees know by heart the time in which they grew, and what interpolates in time they win.

A step that gains nothing on leads that it did not see is not taken, and columns that seem to know the outcome are
left out (``leaks``). What hundreds of owners or campaigns tell is learned afterwards (``levels``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from features.matrix import feature_matrix
from features.settings import Training
from features.verbs import Feature
from serving.hazards import trees_of
from serving.line import Line
from serving.scorer import Scorer
from serving.spec import Spec, probability
from training.boosting import boosted, merged
from training.calibration import beta_calibration
from training.facts import facts
from training.hazards import Course, hazards
from training.leaks import Leak, leaks
from training.lines import logistic_line, segment_line
from training.snapshots import Labelled

Floats = NDArray[np.float64]
GOLDEN_ROWS = 5
FEWEST_FOR_LEAKS = 20  # below, chance looks like knowledge
FEWEST_FOR_LINES = 5  # leads won, and not won, for a logistic regression
WORTH = 2.0  # nats over all leads that a model must gain out of fold: as many as its two slopes gain by chance (AIC)
LEAK_ROWS, LINE_ROWS = 20_000, 60_000  # snapshots that are searched for leaks, and that a line learns from
TOLD_ROWS = 200_000  # snapshots that medians and base rates are of


@dataclass(frozen=True)
class Model:
    """A spec and the trees' text: what ``serving.scorer.save`` writes."""

    spec: Spec
    trees: str
    leaks: tuple[Leak, ...] = ()  # what was left out, and why
    unseen: Floats | None = field(default=None, compare=False)  # log-odds of each row by members that did not see it
    moved: tuple[float, float] = (0.0, 1.0)  # intercept and slope that the latest snapshots asked for

    def scorer(self) -> Scorer:
        """Return the model ready to score, without a version: for judging it."""
        return Scorer(self.spec, trees_of(self.trees, self.spec), "unsaved")


def fit(
    rows: Labelled, features: tuple[Feature, ...], horizon_days: float, how: Training, course: Course | None = None
) -> Model:
    """Return the most daring model that the number of outcomes allows and that tells leads apart.

    With the course of leads, open ones among them, its trees are those of a competing-risks model.
    """
    lead = rows.moments.lead
    fewest = min(len(np.unique(lead[rows.labels == label])) for label in (0, 1))
    base = Spec(
        features=features,
        horizon_days=horizon_days,
        base_log_odds=math.log(rows.rate / (1 - rows.rate)),
        leads=len(np.unique(lead)),
        outcomes=fewest,
        medians=(None,) * len(features),
    )
    if fewest == 0:  # a lead that was looked at often is still one to whom nothing happened
        rate = replace(rows, weights=np.full(len(lead), base.leads / max(len(lead), 1))).rate
        return Model(replace(base, base_log_odds=math.log(rate / (1 - rate))), "")
    matrix = feature_matrix(features, rows.moments)
    found = _leaks(matrix, rows, features, how) if fewest >= FEWEST_FOR_LEAKS else ()
    kept = [i for i, feature in enumerate(features) if feature.name not in {leak.feature for leak in found}]
    matrix = matrix[:, kept] if found else matrix
    features = tuple(features[i] for i in kept)
    some = _sample(len(matrix), TOLD_ROWS, how.seed)
    said = facts(matrix[some], rows.labels[some], rows.weights[some], features, rows.rate)
    base = replace(base, features=features, medians=_medians(matrix[some]), facts=said)
    ensemble = _ensemble(base, matrix, rows, how, fewest, course) if fewest >= FEWEST_FOR_LINES else None
    model = ensemble or Model(_by_segment(base, matrix, rows), "")
    return replace(with_golden(model, golden(matrix)), leaks=found)


def _leaks(matrix: Floats, rows: Labelled, features: Sequence[Feature], how: Training) -> tuple[Leak, ...]:
    some = _sample(len(matrix), LEAK_ROWS, how.seed)
    found = leaks(matrix[some], rows.labels[some], features)
    return tuple(leak for leak in found if leak.feature not in how.keep_columns)


def _sample(rows: int, most: int, seed: int) -> NDArray[np.int64]:
    """Return so many of the rows at most, in order."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:most])


def _by_segment(base: Spec, matrix: Floats, rows: Labelled) -> Spec:
    _, place, snapshots = np.unique(rows.moments.lead, return_inverse=True, return_counts=True)
    line = segment_line(matrix, rows.labels, rows.weights / snapshots[place], base.features, rows.rate)
    if line is None:
        return base
    said = probability(line.margins(matrix))
    return replace(base, lines=(line,), line_share=1.0, evidence="segment_rates", ranks=ranks(said))


def _ensemble(
    base: Spec, matrix: Floats, rows: Labelled, how: Training, fewest: int, course: Course | None
) -> Model | None:
    """Return lines, and trees if there are outcomes enough; None if they gain nothing on leads they did not see."""
    part = parts(rows, min(how.members, fewest), how.seed)
    lines = _lines(matrix, rows, part, base.features, how.seed)
    grown: list[lgb.Booster] = []
    if fewest >= how.fewest_outcomes and course:
        grown = hazards(course, _part_of_lead(rows, part), base.features, how)
        base = replace(base, periods=course.ends, scored_periods=course.scored)
    elif fewest >= how.fewest_outcomes:
        grown = _grown(matrix, rows, part, base.features, how)
    trees = merged([member.model_to_string() for member in grown]) if grown else ""
    base = replace(base, trees=tuple(member.num_trees() for member in grown))
    forest = trees_of(trees, base)
    share = how.line_share if forest else 1.0
    unseen = share * _unseen(lines, matrix, part)
    if forest:
        unseen += (1 - share) * forest.margins(matrix)[part, np.arange(len(part))]
    calibration = beta_calibration(unseen, rows.labels, rows.weights)
    log_odds = calibration.log_odds(unseen)
    gained = log_loss(np.full(len(matrix), base.base_log_odds), rows) - log_loss(log_odds, rows)
    if gained * base.leads < WORTH:
        return None
    spec = replace(
        base,
        lines=tuple(lines) if share > 0 else (),
        line_share=share,
        calibration=calibration,
        evidence="model" if grown else "shrunken_model",
        ranks=ranks(probability(log_odds)),
    )
    return Model(spec, trees, unseen=log_odds)


def parts(rows: Labelled, members: int, seed: int) -> NDArray[np.int64]:
    """Return the part of each snapshot, 0 to ``members`` − 1.

    All snapshots of a lead are in the same part, and the leads that were won are shared out evenly.
    """
    leads, place = np.unique(rows.moments.lead, return_inverse=True)
    won = np.isin(leads, rows.moments.lead[rows.labels == 1])
    order = np.lexsort((np.random.default_rng(seed).permutation(len(leads)), won))
    part = np.empty(len(leads), np.int64)
    part[order] = np.arange(len(leads)) % members
    return np.asarray(part[place])


def _part_of_lead(rows: Labelled, part: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the part of every lead, of those without a known outcome, too."""
    found = np.arange(len(rows.moments.history.lead_ids)) % (part.max() + 1)
    found[rows.moments.lead] = part
    return np.asarray(found)


def _grown(
    matrix: Floats, rows: Labelled, part: NDArray[np.int64], features: Sequence[Feature], how: Training
) -> list[lgb.Booster]:
    """Return the trees of each member, grown on the leads that are not in its part."""
    seen = [part != k for k in range(part.max() + 1)]
    return [boosted(matrix[those], rows.labels[those], rows.weights[those], features, how) for those in seen]


def _lines(
    matrix: Floats, rows: Labelled, part: NDArray[np.int64], features: Sequence[Feature], seed: int
) -> list[Line]:
    some = _sample(len(matrix), LINE_ROWS, seed)
    matrix, labels, weights, part = matrix[some], rows.labels[some], rows.weights[some], part[some]
    seen = [part != k for k in range(part.max() + 1)]
    return [logistic_line(matrix[those], labels[those], weights[those], features) for those in seen]


def _unseen(lines: Sequence[Line], matrix: Floats, part: NDArray[np.int64]) -> Floats:
    """Return the log-odds of each row by the one line that did not see its lead."""
    margins = np.empty(len(matrix))
    for k, line in enumerate(lines):
        margins[part == k] = line.margins(matrix[part == k])
    return margins


def log_loss(log_odds: Floats, rows: Labelled) -> float:
    """Return the mean log loss in nats, snapshots weighted."""
    return float(np.average(np.logaddexp(0, log_odds) - rows.labels * log_odds, weights=rows.weights))


def ranks(probabilities: Floats) -> tuple[float, ...]:
    """Return percentiles, 0 to 100."""
    return tuple(np.quantile(probabilities, np.linspace(0, 1, 101)).tolist())


def _medians(matrix: Floats) -> tuple[float | None, ...]:
    columns = (column[~np.isnan(column)] for column in matrix.T)
    return tuple(float(np.median(known)) if len(known) else None for known in columns)


def golden(matrix: Floats) -> Floats:
    """Return a few rows from everywhere."""
    return np.asarray(matrix[np.linspace(0, len(matrix) - 1, GOLDEN_ROWS).astype(int)])


def with_golden(model: Model, chosen: Floats) -> Model:
    """Return the model with what it says of some rows, by which a loaded copy is known to be the same."""
    expected = model.scorer().probabilities(chosen)
    rows = tuple(
        (tuple(None if math.isnan(value) else float(value) for value in row), float(p))
        for row, p in zip(chosen, expected, strict=True)
    )
    return replace(model, spec=replace(model.spec, golden=rows))
