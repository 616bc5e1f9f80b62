"""Journeys from a frame of aggregated paths, so that a table in a test is all that a person has to read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from attribution.journeys import Journeys
from attribution.paths import joined
from attribution.tokens import lexicon, parsed


def path_journeys(paths: pd.DataFrame) -> Journeys:
    """Return a journey a row of path, conversions, nulls and value_cents; an empty path has no touch."""
    steps, known = parsed(pa.array(paths["path"].to_numpy(dtype=object), pa.large_string()), lexicon())
    conversions, nulls = (paths[name].to_numpy(np.float64) for name in ("conversions", "nulls"))
    cents = paths["value_cents"].to_numpy(np.int64)
    part = Journeys(tuple(known.names()), steps.start, steps.channel, None, conversions, nulls, cents)
    return joined([part])
