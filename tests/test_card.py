"""The model card: what a model is for, what it learned from, how good it is, for whom, and what it looks at."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss
from trained import Company

from features.verbs import Feature
from serving.line import Line, Term
from serving.scorer import Scorer
from serving.spec import Spec
from training.card import REPLICATES, SEED, effect_curves, intervals, quality
from training.metrics import metrics

RNG = np.random.default_rng(0)
TRUE = RNG.beta(1, 4, 1000)
LABELS = (RNG.random(1000) < TRUE).astype(float)
BASE = metrics(LABELS, np.full(1000, 0.2))


def predictions(said: Any) -> pd.DataFrame:
    leads = [f"lead-{i // 2}" for i in range(1000)]
    return pd.DataFrame({"lead_id": leads, "probability": said, "label": LABELS.astype(int)})


@pytest.fixture
def card(trained_company: Company) -> dict[str, Any]:
    folder = trained_company.workspace / "models" / trained_company.trained.version
    read: dict[str, Any] = json.loads((folder / "card.json").read_text())
    return read


def test_the_card_of_a_training_run_says_what_it_learned_from_and_how_good_it_is(
    card: dict[str, Any], trained_company: Company
) -> None:
    trained = trained_company.trained
    assert (card["version"], card["evidence"], card["why"], card["promoted"]) == (
        trained.version, "model", trained.why, True,
    )  # fmt: skip
    assert card["metrics"] == trained.metrics
    assert (card["learned_from"]["snapshots"], card["learned_from"]["wins"]) == (trained.snapshots, trained.wins)
    assert card["lake"] == {
        name: version for name, version in trained_company.lake.versions().items() if name != "scores"
    }
    assert card["drift"]["mean_score_later"] == trained.metrics["mean_probability"]
    assert sum(card["reliability"]["leads"]) == trained.metrics["n"]


def test_the_page_of_the_card_is_html_without_scripts(card: dict[str, Any], trained_company: Company) -> None:
    folder = trained_company.workspace / "models" / trained_company.trained.version
    text = (folder / "card.html").read_text()
    seen: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
            seen.append(tag)

    Reader().feed(text)
    assert "script" not in seen
    assert seen.count("svg") == 1
    assert all(feature["feature"] in text for feature in card["features"])
    assert card["purpose"] in text


def test_intervals_are_of_the_metrics_of_leads_drawn_with_all_their_rows() -> None:
    few = predictions(TRUE)[:90].assign(lead_id=[f"lead {row // 3:02}" for row in range(90)])
    rng, drawn = np.random.default_rng(SEED), []
    for _ in range(REPLICATES):
        rows = np.concatenate([np.arange(3 * lead, 3 * lead + 3) for lead in rng.integers(0, 30, 30)])
        drawn.append(log_loss(few["label"].to_numpy()[rows], few["probability"].to_numpy()[rows], labels=[0, 1]))
    assert intervals(few)["log_loss"] == pytest.approx(tuple(np.quantile(drawn, [0.05, 0.95])))


def test_intervals_hold_their_metric_and_narrow_with_more_leads() -> None:
    wide, narrow = intervals(predictions(TRUE)[:200]), intervals(predictions(TRUE))
    whole = metrics(LABELS, TRUE)
    for name in ("roc_auc", "log_loss"):
        low, high = narrow[name]
        assert low < whole[name] < high
        assert wide[name][1] - wide[name][0] > high - low


def test_snapshots_of_a_lead_are_drawn_together() -> None:
    twice = pd.concat([predictions(TRUE)] * 2)
    assert intervals(twice)["log_loss"] == pytest.approx(intervals(predictions(TRUE))["log_loss"])


@pytest.mark.parametrize(
    ("said", "signal"),
    [
        (TRUE, "the score tells leads apart."),
        (np.full(1000, 0.2), "there is no usable signal; the score is hardly the base rate."),
    ],
)
def test_the_card_says_whether_there_is_a_signal(said: Any, signal: str) -> None:
    found = quality(predictions(said), BASE, pd.DataFrame(index=range(1000)))
    assert found["signal"].endswith(f": {signal}")
    assert found["drift"]["base_rate_later"] == LABELS.mean()


def test_gains_say_what_calling_the_most_probable_leads_finds() -> None:
    said = LABELS + 0.001 * TRUE  # a score that knows
    (tenth, fifth, third) = quality(predictions(said.clip(0.001, 0.999)), BASE, pd.DataFrame(index=range(1000)))[
        "gains"
    ]
    assert tenth == {
        "share": 0.1,
        "lift": pytest.approx(1 / LABELS.mean()),
        "wins_found": pytest.approx(0.1 / LABELS.mean()),
        "calls_per_win": pytest.approx(1.0),
    }
    assert fifth["wins_found"] <= third["wins_found"] <= 1 + 1e-9


def test_slices_of_a_hundred_rows_with_both_outcomes_are_judged_apart() -> None:
    slices = pd.DataFrame(
        {"channel": np.where(np.arange(1000) < 400, "Email", np.where(np.arange(1000) < 950, "Direct", "Fax"))}
    )
    found = quality(predictions(TRUE), BASE, slices)["slices"]
    assert [(one["slice"], one["n"]) for one in found] == [("channel Direct", 550), ("channel Email", 400)]


def test_effect_curves_show_the_strongest_features_first_and_what_each_value_does() -> None:
    visits, industry = (
        Feature("visits", "count", "Visits"),
        Feature("industry", "attribute", "Industry", levels=("A", "B")),
    )
    line = Line(0.0, (Term(slope=0.1), Term(levels=(-1.0, 1.0, 0.0), missing=0.5)))
    scorer = Scorer(
        Spec((visits, industry), 90, 0.0, leads=9, lines=(line,), line_share=1.0, evidence="model"), None, "v"
    )
    matrix = np.column_stack([np.repeat([0.0, 9.0], 10), np.r_[np.tile([0.0, 1.0], 9), np.nan, np.nan]])
    first, second = effect_curves(scorer, matrix)
    assert (first["feature"], second["feature"]) == ("industry", "visits")
    assert first["curve"] == [
        {"value": "A", "effect": pytest.approx(-1), "rows": 9},
        {"value": "B", "effect": pytest.approx(1), "rows": 9},
        {"value": "none", "effect": pytest.approx(0.5), "rows": 2},
    ]
    assert [point["effect"] for point in second["curve"]] == pytest.approx([0, 0.1 * np.log(10)])
