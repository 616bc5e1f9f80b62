"""Routes: which channels journeys took, in their order, and how often that converted."""

from __future__ import annotations

import numpy as np
import pandas as pd

from attribution.journeys import Journeys


def routes(journeys: Journeys) -> pd.DataFrame:
    """Return path (" > " between channels), conversions, nulls and value_cents, a row a path, in the paths' order.

    Journeys without a touch took none and are left out.
    """
    names = np.array(journeys.channels, dtype=object)
    paths = [" > ".join(some) for some in np.split(names[journeys.channel], journeys.start[1:-1])]
    table = pd.DataFrame({"path": paths, "conversions": journeys.conversions, "nulls": journeys.nulls,
                          "value_cents": journeys.value_cents})  # fmt: skip
    return table[journeys.touched].groupby("path", as_index=False).sum()
