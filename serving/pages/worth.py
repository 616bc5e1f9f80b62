"""Worth: what showing scores to sales has earned, as the experiment under [exploration] tells it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from serving.exploration import earned
from serving.pages.book import Edition

MATURE = """
    SELECT explored.probability, withheld, propensity, value,
           coalesce(won_at > since AND won_at <= since + horizon_days * INTERVAL 1 DAY, false) AS won
    FROM explored JOIN book USING (lead_id)
    WHERE since + horizon_days * INTERVAL 1 DAY <= $as_of ORDER BY lead_id
"""


def worth(edition: Edition) -> list[dict[str, Any]]:
    """Return what showing the score earned, in closes and in money; nothing while too few leads tell.

    Counted is each lead of the experiment from its first score on, once the horizon of that is past: what closed within
    it, and its value, held against what was promised. What a deal is worth on average makes a promise of money.
    """
    rows = edition.rows(MATURE, {"as_of": edition.as_of})
    columns = ("won", "probability", "propensity")
    won, said, propensity = (np.array([float(row[name]) for row in rows]) for name in columns)
    hidden = np.array([bool(row["withheld"]) for row in rows], bool)
    value = won * np.array([float(row["value"] or 0) for row in rows])
    usual = float(value.sum() / won.sum()) if won.any() else 0.0
    outcomes = (("closes", won, said), ("revenue", value, said * usual))
    found = (earned(unit, outcome, promise, hidden, propensity) for unit, outcome, promise in outcomes)
    return [asdict(one) for one in found if one]
