"""Routes: how journeys go, for people to look at: the commonest, what follows on what, and how long they take."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pandas as pd

from attribution.journeys import Journeys

START, WON, OPEN = "(start)", "(won)", "(open)"


def top_paths(journeys: Journeys, most: int = 20, *, collapse: bool = True) -> pd.DataFrame:
    """Return the paths that converted most: path, conversions, nulls, value_cents; repeats in a row are told once."""
    names = np.array(journeys.channels, dtype=object)
    steps = np.split(names[journeys.channel], journeys.start[1:-1])
    paths = [" > ".join([name for name, _ in groupby(some)] if collapse else some) for some in steps]
    table = pd.DataFrame({"path": paths, "conversions": journeys.conversions, "nulls": journeys.nulls,
                          "value_cents": journeys.value_cents})  # fmt: skip
    sums = table[journeys.touched].groupby("path", as_index=False).sum()
    return (
        sums.sort_values(["conversions", "nulls", "path"], ascending=[False, False, True])
        .head(most)
        .reset_index(drop=True)
    )


def links(journeys: Journeys) -> pd.DataFrame:
    """Return what follows on what: source, target and how many journeys' moves; from the start to won or still open."""
    names = np.array([*journeys.channels, START, WON, OPEN], dtype=object)
    k, times = len(journeys.channels), journeys.conversions + journeys.nulls
    first = journeys.start[:-1][journeys.touched]
    last = journeys.start[1:][journeys.touched] - 1
    before = (
        np.concatenate([[k], journeys.channel[:-1]]).astype(np.int64) if len(journeys.channel) else np.empty(0, int)
    )
    before[first] = k
    ends = [journeys.conversions[journeys.touched], journeys.nulls[journeys.touched]]
    table = pd.DataFrame(
        {
            "source": names[np.concatenate([before, journeys.channel[last], journeys.channel[last]])],
            "target": names[np.concatenate([journeys.channel, np.repeat([k + 1, k + 2], len(last))])],
            "journeys": np.concatenate([times[journeys.journey], *ends]),
        }
    )
    sums = table.groupby(["source", "target"], as_index=False)["journeys"].sum()
    made: pd.DataFrame = sums[sums["journeys"] > 0]
    return made.sort_values(["journeys", "source", "target"], ascending=[False, True, True], ignore_index=True)


def to_close(journeys: Journeys) -> pd.DataFrame:
    """Return how long each channel's converting journeys take: channel, journeys, median touches, median days.

    Days run from the channel's first touch in the journey to the journey's last touch.
    """
    won = (journeys.conversions > 0)[journeys.journey]
    age = np.zeros(len(journeys.channel)) if journeys.age_days is None else journeys.age_days
    touches = np.diff(journeys.start)[journeys.journey]
    rows = pd.DataFrame({"channel": np.array(journeys.channels, dtype=object)[journeys.channel],
                         "journey": journeys.journey, "days": age, "touches": touches})[won]  # fmt: skip
    each = rows.groupby(["channel", "journey"], as_index=False).agg(days=("days", "max"), touches=("touches", "first"))
    return each.groupby("channel", as_index=False).agg(
        journeys=("journey", "size"), touches=("touches", "median"), days=("days", "median")
    )
