"""Pictures of a run show what its tables say."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from pathed import path_journeys

from attribution.credit import Attribution, credit
from attribution.decision import Decision, decision
from attribution.plots import decision_plot, pipeline_plot, shares_plot, write_plots


@pytest.fixture(scope="module")
def answer() -> Attribution:
    """Return credit of first and last: Email opens 60 journeys, of which Events closes 40; Events opens 20."""
    paths = pd.DataFrame(
        {"path": ["Email > Events", "Email", "Events"], "conversions": [40, 20, 20], "nulls": [60, 30, 20],
         "value_cents": [400_000, 100_000, 100_000]}
    )  # fmt: skip
    return credit(path_journeys(paths), ["first", "last"])


def decided(answer: Attribution) -> Decision:
    found = decision(answer)
    assert found is not None
    return found


def bars(axes: Axes) -> dict[str, list[tuple[float, ...]]]:
    """Return each labelled series' x, and the low and high of its bars."""
    found = {}
    for container in axes.containers:
        points, _, (segments,) = container.lines  # type: ignore[attr-defined]  # of error bars
        ends = [(float(line[0][0]), float(line[1][0])) for line in segments.get_segments()]
        found[str(container.get_label())] = [
            (float(x), *low_high) for x, low_high in zip(points.get_xdata(), ends, strict=True)
        ]
    return found


def test_shares_are_drawn_by_channel_and_model_with_their_intervals(answer: Attribution) -> None:
    (axes,) = shares_plot(answer.channels).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Email", "Events"]
    assert axes.yaxis_inverted()  # the first is on top
    rows = answer.channels.set_index(["model", "channel"])[["credit", "low", "high"]] / 80
    assert set(bars(axes)) == {"first", "last"}
    for model, drawn in bars(axes).items():
        told = [tuple(rows.loc[(model, channel)]) for channel in ("Email", "Events")]
        assert np.array(drawn) == pytest.approx(np.array(told))
    assert np.array(bars(axes)["first"])[:, 0] == pytest.approx([0.75, 0.25])


def test_a_decision_for_spend_is_drawn_for_each_unit_of_it(answer: Attribution) -> None:
    found = decision(answer, {"Email": Decimal(600), "Events": Decimal(100)})
    assert found is not None
    (axes,) = decision_plot(found).axes
    assert axes.get_xlabel() == "credit for each 1,000 of spend, with 90 % interval"
    assert [text.get_text() for text in axes.texts] == [" Events", " Email"] * 2
    assert [x for x, *_ in bars(axes)["would fund"]] == pytest.approx([20 / 0.1])


def test_the_decision_is_drawn_as_each_model_s_best_channel_beside_its_rival(answer: Attribution) -> None:
    (axes,) = decision_plot(decided(answer)).axes
    assert axes.get_title() == (
        "Fund Email? It depends on the model: last says Events. Run an experiment before money\nmoves."
    )
    assert [text.get_text() for text in axes.texts] == [" Email", " Events", " Events", " Email"]
    places = [points.get_xdata()[0] for points in axes.get_lines() if points.get_marker() not in {"|", "None"}]
    assert places == pytest.approx([60, 20, 60, 20])
    assert axes.get_legend_handles_labels()[1] == ["would fund", "next"]


def test_a_single_channel_has_no_rival_to_draw() -> None:
    paths = pd.DataFrame({"path": ["Email"], "conversions": [4], "nulls": [0], "value_cents": [0]})
    alone = credit(path_journeys(paths), ["first"])
    (axes,) = decision_plot(decided(alone)).axes
    assert [text.get_text() for text in axes.texts] == [" Email"]


def test_open_pipeline_is_drawn_as_bars_by_the_first_model_and_marks_by_the_others(answer: Attribution) -> None:
    (axes,) = pipeline_plot(answer.channels, "CHF").axes
    assert [bar.get_width() for bar in axes.patches] == [5000.0, 1000.0]
    (marks,) = axes.get_lines()
    assert (marks.get_label(), [*marks.get_xdata()]) == ("last", [1000.0, 5000.0])
    assert axes.get_xlabel() == "expected, CHF"


def test_what_is_worth_most_stands_on_top_of_the_pipeline_though_it_may_close_less_often() -> None:
    paths = pd.DataFrame({"path": ["Email", "Events"], "conversions": [9, 1], "nulls": 0, "value_cents": [100, 900]})
    (axes,) = pipeline_plot(credit(path_journeys(paths), ["first"]).channels, "EUR").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Events", "Email"]


def test_a_run_is_drawn_into_files_and_what_is_open_into_one_more(answer: Attribution, tmp_path: Path) -> None:
    drawn = write_plots(tmp_path / "new", answer.channels, decided(answer), "EUR", is_open=True)
    assert drawn == [tmp_path / "new" / f"{name}.png" for name in ("shares", "decision", "pipeline")]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in drawn)
    closed = write_plots(tmp_path / "closed", answer.channels, None, "EUR", is_open=False)
    assert closed == [tmp_path / "closed" / "shares.png"]


def test_a_name_is_drawn_as_it_is_written_and_an_emoji_that_no_font_has_stops_nothing(tmp_path: Path) -> None:
    paths = pd.DataFrame({"path": [r"$\wrong$ > Ads 🚀"], "conversions": [4], "nulls": [0], "value_cents": [0]})
    found = credit(path_journeys(paths), ["first", "last"])
    drawn = write_plots(tmp_path, found.channels, decided(found), "EUR", is_open=False)
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in drawn)


def test_a_channel_that_only_a_later_model_names_is_drawn(answer: Attribution) -> None:
    late = answer.channels.tail(1).assign(model="late", channel="Ads", credit=1.0, low=0.0, high=2.0)
    (axes,) = shares_plot(pd.concat([answer.channels, late])).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Email", "Events", "Ads"]


def test_what_no_channel_earned_is_drawn_as_nothing() -> None:
    paths = pd.DataFrame({"path": ["Email"], "conversions": [0], "nulls": [3], "value_cents": [0]})
    (axes,) = shares_plot(credit(path_journeys(paths), ["first"]).channels).axes
    assert bars(axes) == {"first": [(0.0, 0.0, 0.0)]}
