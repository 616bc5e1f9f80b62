"""Learning a line: logistic regression, shrunk towards the base rate; and rates by segment, for even fewer outcomes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from features.verbs import Feature
from serving.line import Line, Term, logarithm, standardised
from serving.spec import probability

Floats = NDArray[np.float64]
SPREAD = 0.35  # prior variance of the log-odds that all terms explain together
NEWTON_STEPS, CLOSE_ENOUGH = 25, 1e-7  # log-odds
LOOSE = 0.01  # L2 of the intercept: enough to keep it finite
MOST_LEVELS = 60  # of a category; the rarer count as "other" (training/levels.py tells them apart)
FLAT = 1e-9  # standard deviation of a column that says nothing
PRIOR_LEADS = 20.0  # of the base rate, that the rate of a segment starts from, and as many more as
PRIOR_WINS = 1.0  # are needed to see so many wins: a segment without a win yet is not one that never wins


def logistic_line(matrix: Floats, labels: Floats, weights: Floats, features: Sequence[Feature]) -> Line:
    """Return the logistic regression of labels (n) on features (n, f), rows weighted (n).

    All slopes are shrunk alike: they have a normal prior, and the more there is that varies, the narrower it is.
    """
    columns = [_Column(matrix[:, i], feature) for i, feature in enumerate(features)]
    design = np.concatenate([*(column.design for column in columns), np.ones((len(labels), 1))], axis=1)
    varies = np.append(design[:, :-1].var(axis=0) > 0, True)  # a second intercept would share the first one's part
    found = np.zeros(len(varies))
    found[varies] = _newton(design[:, varies], labels, weights)
    ends = np.cumsum([0, *(column.design.shape[1] for column in columns)])
    shifts = [
        float(column.design.mean(axis=0) @ found[a:b]) for column, a, b in zip(columns, ends, ends[1:], strict=False)
    ]
    terms = [
        column.term(found[a:b], shift) for column, a, b, shift in zip(columns, ends, ends[1:], shifts, strict=False)
    ]
    return Line(float(found[-1]) + sum(shifts), tuple(terms))


def segment_line(
    matrix: Floats, labels: Floats, weights: Floats, features: Sequence[Feature], rate: float
) -> Line | None:
    """Return the rates of the segments that the data speak most for, as a line; None if they speak for none.

    A segment is a level of one category. The rate of each starts from the base rate as if seen in ``PRIOR_LEADS``
    leads, or in so many that ``PRIOR_WINS`` of them are won (beta-binomial); ``weights`` are parts of a lead. A
    category is taken if the labels are likelier with its rates than with one rate for all, by more times than there
    are such choices.
    """
    tried = [i for i, feature in enumerate(features) if feature.levels]
    evidence = {i: _evidence(*_counts(matrix[:, i], labels, weights, len(features[i].levels)), rate) for i in tried}
    best = max(evidence, key=lambda i: evidence[i], default=None)
    if best is None or evidence[best] <= math.log(1 + len(tried)):
        return None
    wins, rows = _counts(matrix[:, best], labels, weights, len(features[best].levels))
    seen = _leads_before(rate)
    rates = (wins + seen * rate) / (rows + seen)
    base = math.log(rate / (1 - rate))
    *levels, missing = (np.log(rates / (1 - rates)) - base).tolist()
    shift = float(np.average([*levels, missing], weights=rows))
    term = Term(levels=tuple(level - shift for level in levels), missing=missing - shift)
    return Line(base + shift, tuple(term if i == best else Term() for i in range(len(features))))


class _Column:
    """One feature as columns of the regression: its number, or one for each level, and one for what is missing."""

    def __init__(self, values: Floats, feature: Feature) -> None:
        unknown = np.isnan(values)
        self.levels = min(len(feature.levels), MOST_LEVELS) + 1 if feature.levels else 0
        self.centre, self.scale = 0.0, 1.0
        if self.levels:
            known = np.minimum(values, self.levels - 1)[:, None] == np.arange(self.levels)
        else:
            logs = logarithm(values[~unknown])
            spread = float(logs.std()) if len(logs) else 0.0
            self.centre, self.scale = (float(logs.mean()), spread) if spread > FLAT else (0.0, math.inf)
            known = np.where(unknown, 0, standardised(values, self.centre, self.scale))[:, None]
        self.design = np.concatenate([known, unknown[:, None]], axis=1).astype(np.float64)

    def term(self, weights: Floats, shift: float) -> Term:
        """Return the feature's term from the weights of its columns, less its mean ``shift``."""
        *known, missing = (float(weight) for weight in weights)
        if self.levels:
            return Term(levels=tuple(weight - shift for weight in known), missing=missing - shift)
        scale = self.scale if self.scale < math.inf else 1.0
        return Term(known[0], -shift, self.centre, scale, missing=missing - shift)


def _newton(design: Floats, labels: Floats, weights: Floats) -> Floats:
    """Return what minimises the weighted log loss plus the penalty; the last column is the intercept, not penalised."""
    found, penalty = np.zeros(design.shape[1]), np.full(design.shape[1], design.var(axis=0).sum() / SPREAD + LOOSE)
    penalty[-1] = LOOSE
    for _ in range(NEWTON_STEPS):
        p = probability(design @ found)
        gradient = design.T @ (weights * (p - labels)) + penalty * found
        rooted = design * np.sqrt(weights * p * (1 - p))[:, None]  # a matrix by itself costs half of one by another
        step = np.linalg.solve(rooted.T @ rooted + np.diag(penalty), gradient)
        found = found - step
        if np.abs(step).max() < CLOSE_ENOUGH:
            break
    return np.asarray(found)


def _counts(values: Floats, labels: Floats, weights: Floats, levels: int) -> tuple[Floats, Floats]:
    """Return wins and rows of each level, of "other", and of what is not known."""
    place = np.where(np.isnan(values), levels + 1, values).astype(np.int64)
    wins, all_of_them = (np.bincount(place, counted, levels + 2) for counted in (weights * labels, weights))
    return wins.astype(np.float64), all_of_them.astype(np.float64)


def _evidence(wins: Floats, rows: Floats, rate: float) -> float:
    """Return the log of how much likelier the labels are with a rate for each segment than with one for all."""
    a, b = _leads_before(rate) * rate, _leads_before(rate) * (1 - rate)
    apart = (betaln(wins + a, rows - wins + b) - betaln(a, b)).sum()
    together = betaln(wins.sum() + a, (rows - wins).sum() + b) - betaln(a, b)
    return float(apart - together)


def _leads_before(rate: float) -> float:
    """Return of how many leads the base rate counts as seen in each segment before any."""
    return max(PRIOR_LEADS, PRIOR_WINS / rate)
