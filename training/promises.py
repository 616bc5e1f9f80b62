"""Promises: of the scores as they were served, whether as many leads closed as were promised.

Looked at are scores whose whole horizon is past, one of each lead, since several of one lead share its fate: the first
of those days. (Its last would be chosen by that fate: who closes is scored no more.) If every promise is true, the
number that closes follows from the probabilities alone (Poisson's binomial law). But nobody learns true promises from a
few hundred outcomes: a model that is as good as its data let it be is wrong in some ways for many leads at once, and
so far that is no news. What that law, with the model's own doubts, would show in fewer checks than may cry wolf, in
any group, is an alarm if it also matters.

The whole horizon is long to wait. Early promises are those of the model's first prospect, such as 30 days: of a score,
so much as its line says comes within them. They tell sooner, and less exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from features.history import DAY, History
from features.lake import Lake
from features.outcomes import outcomes_of
from features.settings import Settings
from serving.scorer import Scorer
from serving.spec import probability
from training.gate import rows_of_slices

Floats = NDArray[np.float64]
BANDS = (0.0, 0.05, 0.1, 0.2, 0.4, 1.0)
SERVED = """
    SELECT lead_id, epoch_us(as_of) AS as_of, probability, horizon_days, model_version FROM scores
    WHERE coalesce(goal, '') = $4 AND epoch_us(as_of) >= $1
          AND epoch_us(as_of) + CAST(least(horizon_days, $5) * $3 AS BIGINT) <= $2
    QUALIFY row_number() OVER (PARTITION BY lead_id ORDER BY as_of) = 1
    ORDER BY lead_id
"""
MATTERS = 1.2  # times as many closes as promised, or as few, below which an alarm would be pedantry
EARLY_MATTERS = 1.5  # the same of an early promise, which a line makes that was judged by nobody
ALL = "all"  # the group of all leads
LAW = stats.poisson_binom
TINY = 1e-12  # a probability
EXACT = 1_000  # scores, up to which the law is computed and not approximated
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(9)  # of a normal spread


@dataclass(frozen=True)
class Kept:
    """A group of leads: how many closes were promised, how many came, and how often chance shows as much."""

    group: str
    leads: int
    promised: float
    closed: int
    chance: float


def served(
    lake: Lake, history: History, settings: Settings, as_of: int, days: float, within: float = np.inf
) -> pd.DataFrame:
    """Return the scores of so many days, the latest whose horizon is past; of each lead the first.

    ``within`` so many days, if they are fewer than the horizon, an outcome counts. The columns are lead (its position),
    as_of, matured (both in microseconds), probability, label and model_version.
    """
    lag = int(settings.snapshots.reporting_lag_days * DAY)
    since = as_of - lag - int((min(settings.goal.horizon_days, within) + days) * DAY)
    found = lake.query(SERVED, [since, as_of - lag, DAY, settings.goal.name, within]).to_pandas()
    moments = found["as_of"].to_numpy(np.int64)
    position = history.positions(found["lead_id"].tolist(), moments) if len(found) else np.empty(0, np.int64)
    rows = found.assign(lead=position)[position >= 0]
    won = outcomes_of(history, settings.goal, as_of).won[history.turned_out(rows["lead"].to_numpy(np.int64), as_of)]
    ends = rows["as_of"] + (rows["horizon_days"].clip(upper=within) * DAY).astype(np.int64)
    return pd.DataFrame(
        {**rows.drop(columns=["lead_id", "horizon_days"]), "matured": ends, "label": (won <= ends).astype(int)}
    )


def early_days(scorer: Scorer) -> float | None:
    """Return within how many days a model makes its first promise; None if it makes none before its horizon."""
    days = [one.days for one in scorer.spec.prospects if not one.lost and one.days < scorer.spec.horizon_days]
    return min(days, default=None)


def early(scorer: Scorer, promised: Floats, matrix: Floats, days: float) -> Floats:
    """Return how much of each promise is due within so many days, those of a prospect, given the features then."""
    lines = {one.days: one.line for one in scorer.spec.prospects if not one.lost}
    sooner, whole = (probability(lines[at].margins(matrix)) for at in (days, scorer.spec.horizon_days))
    return np.asarray(promised * np.minimum(sooner / whole, 1))


def doubts(scorer: Scorer, matrix: Floats, *, early: bool = False) -> Floats:
    """Return ways in which a model may be wrong (row): by how much, in one standard deviation, of each log-odds.

    Each member of the ensemble left out one part of the leads, and what it says without them is one way (delete-a-group
    jackknife, Efron 1982), and as few members know little of how far they are apart, wider by as much as Student's
    distribution is than the normal. The base rate, a share among so many leads, is another way, and for early promises,
    which have a line of their own, twice.
    """
    margins = scorer.margins(matrix)
    centre, free = margins.mean(axis=0), len(margins) - 1
    wider = np.sqrt(free / (free + 1) * free / max(free - 2, 1))
    left_out = (margins - centre) * scorer.spec.calibration.slope(centre) * wider
    base = np.sqrt((1 + early) * scorer.unsure_of_rate)
    return np.vstack([left_out, np.full(len(matrix), base)])


def kept(said: pd.DataFrame, slices: pd.DataFrame, doubts: Floats | None = None) -> list[Kept]:
    """Return how the promises were kept: by all, by band of probability, and by slice (categories by column).

    ``doubts`` are ways in which they may be wrong (row), by log-odds for each of them (column); none of the truth.
    """
    promised, labels = said["probability"].to_numpy(np.float64), said["label"].to_numpy(np.float64)
    ways = np.zeros((1, len(said))) if doubts is None else doubts
    found = []
    for group, rows in _groups(promised, labels, slices):
        p, closed = promised[rows], int(labels[rows].sum())
        weights = p * (1 - p) / max((p * (1 - p)).sum(), TINY)
        unsure = float(np.sqrt(((ways[:, rows] @ weights) ** 2).sum()))
        found.append(Kept(group, len(p), float(p.sum()), closed, _chance(p, closed, unsure)))
    return found


def broken(groups: list[Kept], false_alarms: float, matters: float = MATTERS) -> list[Kept]:
    """Return the groups in which more or fewer closed than chance explains, and than is pedantry.

    Of the false alarms all leads together have half, since what moves, moves most of them, and the parts share the
    rest (Bonferroni, weighted).
    """
    parts = max(len(groups) - 1, 1)
    return [
        one
        for one in groups
        if one.chance <= false_alarms / 2 / (1 if one.group == ALL else parts)
        and not one.promised / matters < one.closed < one.promised * matters
    ]


def expected(promised: Floats) -> dict[str, float | None]:
    """Return the ROC AUC, log loss and Brier score that scores will have if every promise is true."""
    p = np.sort(promised.clip(TINY, 1 - TINY))
    pairs = p.sum() * (1 - p).sum() - (p * (1 - p)).sum()
    ahead = float((p * (np.cumsum(1 - p) - (1 - p))).sum())  # the closer stands above the one that does not close
    return {
        "roc_auc": ahead / pairs if len(p) > 1 and pairs > 0 else None,
        "log_loss": float(-(p * np.log(p) + (1 - p) * np.log1p(-p)).mean()) if len(p) else None,
        "brier": float((p * (1 - p)).mean()) if len(p) else None,
    }


def _groups(promised: Floats, labels: Floats, slices: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    if len(promised):
        yield ALL, np.ones(len(promised), bool)
    for low, high in pairwise(BANDS):
        rows = (promised >= low) & (promised < high if high < 1 else True)
        if rows.any():
            yield f"promised {low:.0%} to {high:.0%}", np.asarray(rows)
    yield from rows_of_slices(labels, slices)


def _chance(promised: Floats, count: int, unsure: float) -> float:
    """Return how often promises are as far off on either side, twice the smaller tail.

    They are wrong together by a shift of the log-odds that is normal, of so much standard deviation.
    """
    variance = float((promised * (1 - promised)).sum())
    if len(promised) > EXACT:
        mean, spread = promised.sum(), np.sqrt(variance + (unsure * variance) ** 2)
        tails = [stats.norm.cdf((count + 0.5 - mean) / spread), stats.norm.sf((count - 0.5 - mean) / spread)]
    else:
        p = promised.clip(TINY, 1 - TINY)
        shifted = [probability(np.log(p / (1 - p)) + unsure * node) for node in (NODES if unsure else (0.0,))]
        laws = np.array([(LAW.cdf(count, q), LAW.sf(count - 1, q)) for q in shifted])
        tails = np.average(laws, axis=0, weights=WEIGHTS if unsure else None).tolist()
    return float(min(1.0, 2 * min(tails)))
