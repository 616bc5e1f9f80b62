"""The outlook: when an open lead will close, if it does, and how probable it is that it will be lost.

The score is the probability within one horizon. A line for each further horizon tells how much of that comes sooner,
and what comes later; both are scaled to the score, so that they never contradict it. A competing-risks model tells all
of it itself. On six simulated companies of 1,500 leads (``benchmarks/outlook.py``) the lines are nearer to the truth
within 30 days (regret 8 % less), the two are alike at 60 and 90, and competing risks are nearer at 180 (8 % less), at
twice the cost in training and four times in asking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.matrix import feature_matrix
from features.verbs import Moments
from serving.hazards import Hazards
from serving.line import Floats
from serving.scorer import Scorer
from serving.spec import Prospect, Spec, probability


@dataclass(frozen=True)
class Outlook:
    """Of n leads: the probability of closing within each of h horizons (h, n), of being lost (n), days to close (n).

    ``lost`` is within the score's own horizon. ``days_to_close`` is by when half of those who close within the longest
    horizon will have closed.
    """

    days: tuple[float, ...]
    won: Floats
    lost: Floats
    days_to_close: Floats


def outlook(scorer: Scorer, matrix: Floats) -> Outlook:
    """Return the outlook of each row; without prospects only the score itself is known."""
    said, own = scorer.probabilities(matrix), scorer.spec.horizon_days
    days, raw, losing = _by_hazards(scorer.forest, scorer.spec.as_trees_see(matrix)) or _by_lines(scorer.spec, matrix)
    if own not in days:
        return Outlook((own,), said[None, :], np.full(len(matrix), np.nan), np.full(len(matrix), np.nan))
    main = raw[days.index(own)]
    sooner = said * raw / main
    later = 1 - (1 - said) * (1 - raw) / (1 - main)
    won = np.where(np.array(days)[:, None] <= own, sooner, later)
    lost = np.minimum(losing, 1 - main) / (1 - main) * (1 - said)
    return Outlook(days, won, lost, _days_to_half(days, won))


def outlook_table(scorer: Scorer, moments: Moments) -> pd.DataFrame:
    """Return a row for each moment: lead_id, as_of, won_within_30_days …, lost, expected_close."""
    found = outlook(scorer, feature_matrix(scorer.spec.features, moments))
    as_of = pd.to_datetime(moments.as_of, unit="us", utc=True).as_unit("us")
    columns = {f"won_within_{days:g}_days": found.won[i] for i, days in enumerate(found.days)}
    return pd.DataFrame({
        "lead_id": np.array(moments.history.lead_ids, object)[moments.lead],
        "as_of": as_of,
        **columns,
        "lost": found.lost,
        "expected_close": (as_of + pd.to_timedelta(found.days_to_close, unit="D")).floor("s"),
    })  # fmt: skip


def _by_hazards(forest: object, matrix: Floats) -> tuple[tuple[float, ...], Floats, Floats] | None:
    """Return the ends of a competing-risks model's periods, who is won by each, and who is lost by the score's."""
    if not isinstance(forest, Hazards):
        return None
    won, lost = forest.ends(matrix)
    return forest.days, won.clip(1e-9, 1 - 1e-9), lost[forest.scored - 1]


def _by_lines(spec: Spec, matrix: Floats) -> tuple[tuple[float, ...], Floats, Floats]:
    """Return the horizons of the prospects' lines, who is won within each, and who is lost within the score's."""
    winning, losing = ([one for one in spec.prospects if one.lost == lost] for lost in (False, True))
    won = np.maximum.accumulate(_chances(winning, matrix), axis=0) if winning else np.empty((0, len(matrix)))
    lost = _chances(losing, matrix)[0] if losing else np.zeros(len(matrix))
    return tuple(one.days for one in winning), won, lost


def _chances(prospects: Sequence[Prospect], matrix: Floats) -> Floats:
    """Return the probability by each prospect's line (row) for each row of the matrix, away from 0 and 1."""
    return np.stack([probability(one.line.margins(matrix)).clip(1e-9, 1 - 1e-9) for one in prospects])


def _days_to_half(days: Sequence[float], won: Floats) -> Floats:
    """Return when half of the last probability is reached, on straight lines between the horizons."""
    at, reached = np.array([0.0, *days]), np.vstack([np.zeros(won.shape[1]), won])
    half = reached[-1] / 2
    end = np.argmax(reached >= half, axis=0).clip(1)
    column = np.arange(won.shape[1])
    low, high = reached[end - 1, column], reached[end, column]
    share = np.divide(half - low, high - low, out=np.ones(len(half)), where=high > low)
    return np.asarray(at[end - 1] + share * (at[end] - at[end - 1]))
