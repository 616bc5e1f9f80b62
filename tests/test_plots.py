"""Pictures show what the metrics say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training.metrics import reliability
from training.plots import calibration_plot


def test_the_calibration_plot_shows_promised_against_realised_in_parts_of_equal_size() -> None:
    probabilities = np.linspace(0.02, 0.5, 150)
    labels = (np.arange(150) % 4 == 0).astype(int)
    (axes,) = calibration_plot(pd.DataFrame({"label": labels, "probability": probabilities})).axes
    (points,) = axes.collections
    promised, realised, _ = reliability(labels.astype(float), probabilities)
    assert np.asarray(points.get_offsets()) == pytest.approx(np.column_stack([promised, realised]))
    assert points.get_sizes() == pytest.approx(400 / 15)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("mean probability promised", "share that closed")
    assert axes.get_title() == "Promised against realised, on later data"
    (diagonal,) = axes.get_lines()
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
