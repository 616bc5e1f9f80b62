"""Pictures of a model's quality. Computing never plots; these only draw."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from training.metrics import reliability


def calibration_plot(predictions: pd.DataFrame) -> Figure:
    """Return promised against realised share of wins; a point's area is its number of leads."""
    labels, probabilities = (predictions[name].to_numpy(np.float64) for name in ("label", "probability"))
    promised, realised, sizes = reliability(labels, probabilities)
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    highest = max(promised.max(), realised.max()) * 1.1 + 0.01
    axes.plot([0, highest], [0, highest], color="0.6", linewidth=1, label="promise kept")
    axes.scatter(
        promised, realised, s=400 * sizes / sizes.sum(), color="tab:blue", label="leads, in parts of equal size"
    )
    axes.set(
        xlabel="mean probability promised",
        ylabel="share that closed",
        title="Promised against realised, on later data",
        xlim=(0, highest),
        ylim=(0, highest),
    )
    axes.legend(loc="upper left")
    return figure
