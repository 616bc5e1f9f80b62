"""Levels: what each of many categories adds, where there are more of them than trees and lines tell apart.

Of an owner or a campaign that few leads have, how many were won says little, and who looks at it learns outcomes by
heart. So each member of the ensemble first says what it can without, and then how much more often the leads of
each level were won than it said: an effect on the log-odds with a normal prior, whose spread the data tell (target
statistics by empirical Bayes; where levels do not differ, nothing is added). A member's table is of the leads that
it learned from, never of its own part, whose outcomes are to judge it. Tables that gain there are kept in the lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from features.matrix import feature_matrix
from features.verbs import Feature
from serving.line import Line
from serving.spec import probability
from training.calibration import beta_calibration
from training.ensemble import WORTH, Model, golden, log_loss, parts, ranks, with_golden
from training.facts import facts
from training.snapshots import Labelled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SPREADS = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4)  # standard deviations of the effects that are tried
NEWTON_STEPS = 8
One = TypeVar("One")


def with_levels(model: Model, rows: Labelled, finer: Sequence[Feature], seed: int) -> Model:
    """Return the model with the effects of more levels, of those features that gain by them on unseen leads.

    Args:
        model: that learned from the rows.
        rows: the snapshots.
        finer: features with the names of the model's, that tell more levels apart.
        seed: by which the members' parts were dealt.

    """
    by_name = {feature.name: feature for feature in finer}
    for column, feature in enumerate(model.spec.features):
        if model.unseen is not None and model.spec.lines and len(by_name[feature.name].levels) > len(feature.levels):
            model = _with_levels_of(model, rows, column, by_name[feature.name], seed)
    return model


def _with_levels_of(model: Model, rows: Labelled, column: int, fine: Feature, seed: int) -> Model:
    spec, many = model.spec, len(fine.levels) + 2  # and the other levels, and what is missing
    matrix, code = feature_matrix(spec.features, rows.moments), feature_matrix((fine,), rows.moments)[:, 0]
    level = np.where(np.isnan(code), many - 1, code).astype(np.int64)
    part, said = parts(rows, len(spec.lines), seed), model.scorer().margins(matrix)
    tables = member_tables(said, rows, part, level, many)
    raw = (said + tables[:, level])[part, np.arange(len(part))]
    calibration = beta_calibration(raw, rows.labels, rows.weights)
    log_odds = calibration.log_odds(raw)
    if (log_loss(np.asarray(model.unseen), rows) - log_loss(log_odds, rows)) * spec.leads < WORTH:
        return model
    matrix[:, column] = code
    means = [float(np.average(table[level], weights=rows.weights)) for table in tables]
    spec = replace(
        spec,
        features=_with(spec.features, column, fine),
        facts=_with(spec.facts, column, facts(code[:, None], rows.labels, rows.weights, (fine,), rows.rate)[0]),
        lines=tuple(
            _telling(line, column, (table - mean) / spec.line_share, mean / spec.line_share)
            for line, table, mean in zip(spec.lines, tables, means, strict=True)
        ),
        coarser=(*spec.coarser, (column, len(spec.features[column].levels))),
        calibration=calibration,
        ranks=ranks(probability(log_odds)),
    )
    return with_golden(replace(model, spec=spec, unseen=log_odds), golden(matrix))


def member_tables(said: Floats, rows: Labelled, part: Ints, level: Ints, many: int) -> Floats:
    """Return the effect of each level by member (row), of the leads that are not in its part; a lead counts once.

    Args:
        said: raw log-odds by member of each snapshot.
        rows: the snapshots.
        part: of each, the member that did not learn from it.
        level: of each.
        many: how many levels there are.

    """
    _, place, snapshots = np.unique(rows.moments.lead, return_inverse=True, return_counts=True)
    weights = rows.weights / snapshots[place]
    seen = [part != k for k in range(len(said))]
    return np.stack([
        level_effects(told[those], rows.labels[those], weights[those], level[those], many)
        for told, those in zip(said, seen, strict=True)
    ])  # fmt: skip


def level_effects(log_odds: Floats, labels: Floats, weights: Floats, level: Ints, many: int) -> Floats:
    """Return what each level adds to the log-odds of the labels (n), rows weighted (n).

    Effects are normal with mean 0; of the spreads that are tried the one with the largest evidence is taken (Laplace's
    approximation), and if none has more than no effects at all, these.
    """
    best, evidence = np.zeros(many), -_nats(log_odds, labels, weights)
    for spread in SPREADS:
        effects, trust = np.zeros(many), 1 / spread**2
        for _ in range(NEWTON_STEPS):
            p = probability(log_odds + effects[level])
            curvature = np.bincount(level, weights * p * (1 - p), many) + trust
            effects -= (np.bincount(level, weights * (p - labels), many) + trust * effects) / curvature
        found = -_nats(log_odds + effects[level], labels, weights)
        found -= float(trust * effects @ effects + np.log(curvature / trust).sum()) / 2
        if found > evidence:
            best, evidence = effects, found
    return best


def _nats(log_odds: Floats, labels: Floats, weights: Floats) -> float:
    return float(weights @ (np.logaddexp(0, log_odds) - labels * log_odds))


def _telling(line: Line, column: int, effects: Floats, base: float) -> Line:
    """Return a line that tells more levels of a category apart: those it does not know were its last, "other"."""
    term, (*added, missing) = line.terms[column], effects.tolist()
    levels = tuple(term.levels[min(k, len(term.levels) - 1)] + effect for k, effect in enumerate(added))
    finer = replace(term, levels=levels, missing=term.missing + missing)
    return replace(line, base=line.base + base, terms=_with(line.terms, column, finer))


def _with(several: tuple[One, ...], place: int, one: One) -> tuple[One, ...]:
    return (*several[:place], one, *several[place + 1 :])
