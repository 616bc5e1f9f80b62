"""Heuristics held against another program: ChannelAttribution, on real journeys. Skipped where it is not installed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import shared_data
from pathed import path_journeys

from attribution.credit import credit


@pytest.mark.shared_data
def test_first_last_and_linear_equal_channelattribution_on_real_journeys() -> None:
    rival = pytest.importorskip("ChannelAttribution", reason="the extra rival is not installed")
    history = pd.read_parquet(shared_data("criteo_journeys") / "criteo10_journeys.parquet").head(60_000)
    # Real journeys that convert touch one campaign only; a second one in turn makes the rules differ.
    steps = [[*map(str, row), f"x{i % 7}"] for i, row in enumerate(history["campaign"])]
    rows = pd.DataFrame({"path": [" > ".join(path) for path in steps], "conversions": history["conversion"]})
    rows = rows.assign(nulls=1 - history["conversion"], value_cents=0)
    theirs = rival.heuristic_models(rows, "path", "conversions", flg_pro=False).set_index("channel_name")
    channels = credit(path_journeys(rows), ["first", "last", "linear"], replicates=1).channels
    ours = channels.pivot_table("credit", "channel", "model").loc[theirs.index]
    for model in ours.columns:
        np.testing.assert_allclose(ours[model], theirs[f"{model}_touch"], atol=1e-9, rtol=0)
