"""Pictures show what the metrics say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.metrics import reliability
from training.plots import calibration_plot, folds_plot, gains_plot, write_plots


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


def test_the_folds_plot_shows_what_was_promised_beside_what_came_of_it_and_what_was_known() -> None:
    folds = [
        {"test_from": f"2026-0{i}-01T00:00:00", "n": 1000 * i, "base_rate": i / 10, "mean_probability": i / 20,
         "base_rate_learned": 0.1}
        for i in (1, 2, 3)
    ]  # fmt: skip
    (axes,) = folds_plot(folds).axes
    drawn = {line.get_label(): [*map(float, line.get_ydata())] for line in axes.get_lines()}
    assert drawn == {
        "share that closed": [0.1, 0.2, 0.3],
        "mean probability promised": [0.05, 0.1, 0.15],
        "share among what was learned from": [0.1, 0.1, 0.1],
    }
    assert axes.get_xticklabels()[2].get_text() == "2026-03-01\n3,000 snapshots"


def test_the_gains_plot_shows_the_wins_found_and_the_lift_by_the_share_of_leads_called() -> None:
    labels, probabilities = np.repeat([1, 0], [25, 75]), np.linspace(0.9, 0.1, 100)  # all wins come first
    found, above = gains_plot(pd.DataFrame({"label": labels, "probability": probabilities})).axes
    by_score, by_chance = found.get_lines()
    called = np.linspace(0.02, 1, 50)
    assert list(by_score.get_xdata()) == pytest.approx([0, *called])
    assert list(by_score.get_ydata()) == pytest.approx([0, *np.minimum(called / 0.25, 1)])
    assert list(by_chance.get_ydata()) == [0, 1]
    assert list(above.get_lines()[0].get_ydata()) == pytest.approx(np.minimum(4, 1 / called))


def test_outcomes_that_are_all_alike_have_no_lift_to_draw(tmp_path: Path) -> None:
    fold = {"test_from": "2026-01-01", "n": 2, "base_rate": 0.0, "mean_probability": 0.2, "base_rate_learned": 0.1}
    drawn = write_plots(tmp_path / "new", [fold], pd.DataFrame({"label": [0, 0], "probability": [0.1, 0.3]}))
    assert drawn == [tmp_path / "new" / "reliability.png", tmp_path / "new" / "folds.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in drawn)
