"""Replay: an old lead scored again, from a lake that knows better by now, has the score that was stored then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tables
from by_hand import at_age
from tables import micros, stage, table, touch, version

from features.lake import Lake
from features.reading import read_history
from features.settings import Goal, Training
from features.templates import learned_features
from serving.batch import score_open, store
from serving.scorer import save
from training.ensemble import fit

GOAL, LEADS, THEN = Goal.model_validate({}), 150, 80
Rows = dict[str, list[dict[str, object]]]


def company() -> tuple[Rows, Rows]:
    """Return what was known on day 80, and what came later: news, late news of earlier days, closes, a merge."""
    known: Rows = {"leads": [], "touches": [], "stages": [], "identities": []}
    later: Rows = {"leads": [], "touches": [], "stages": [], "identities": []}
    for i in range(LEADS):
        lead, on, eager = f"lead-{i:03}", i / 2, i % 2 == 0
        known["leads"].append(version(lead, on, {"industry": ("Mining", "Retail")[i % 3 == 0]}, on))
        known["touches"] += [touch(lead, on + 0.5, "page_view")] + [touch(lead, on + 1, "demo_request")] * eager
        known["touches"].append(touch(lead, on + 1.5, "page_view", received=on + 3))
        closes = known if on + 20 < THEN else later
        closes["stages"].append(stage(lead, on + 20, "won" if (i // 2 % 5 != 0) == eager else "lost"))
        later["leads"].append(version(lead, THEN + 5, {"industry": "Mining", "budget": "1000"}, on))
        later["touches"] += [touch(lead, on + 1.2, "demo_request", received=THEN + 1), touch(lead, THEN + 2, "call")]
    later["identities"].append(tables.merge("lead-149", "lead-148", THEN + 3))
    return known, later


def fill(lake: Lake, rows: Rows) -> None:
    for name, found in rows.items():
        if found:
            lake.append(name, table(name, found))


@pytest.fixture
def replayed(tmp_path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the scores of day 80 as they were stored then, and as they are told when all that came later is known."""
    lake, (known, later) = Lake(tmp_path / "lake"), company()
    fill(lake, known)
    history = read_history(lake)
    rows = at_age(history, 2, [(i // 2 % 5 != 0) == (i % 2 == 0) for i in range(LEADS)])
    how = Training.model_validate({"trees": 10, "members": 3})
    model = fit(rows.chosen(rows.moments.lead < 110), learned_features(history, micros(THEN)), 90, how)
    scorer = save(tmp_path / "models", model.spec, model.trees)
    store(lake, score_open(scorer, history, GOAL, micros(THEN)))
    fill(lake, later)
    stored = lake.query("SELECT * FROM scores ORDER BY probability DESC, lead_id").to_pandas()
    return stored, score_open(scorer, read_history(lake), GOAL, micros(THEN))


def test_an_old_score_told_again_is_the_score_that_was_stored(replayed: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    stored, again = replayed
    assert len(stored) == 30  # created after day 59, so that they are open on day 80
    pd.testing.assert_frame_equal(stored, again, check_dtype=False, check_exact=True)


def test_what_came_later_would_have_changed_the_scores(replayed: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    stored, _ = replayed
    assert stored["probability"].nunique() > 3
    assert np.ptp(stored["probability"]) > 0.2
