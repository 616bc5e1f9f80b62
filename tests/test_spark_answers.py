"""Scores, journeys and paths by Spark are those of this machine, to the bit, however the leads are spread."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tables import merge, micros, moment, stage, table, touch
from tangled import DAYS, TOUCHES
from trained import NOW, Company

from attribution import deals, runs
from attribution.journeys import Journeys
from attribution.paths import read_paths
from attribution.routes import routes
from features.contract import schema
from features.errors import DataError, ModelError
from features.lake import Lake
from features.settings import Goal, Settings
from serving import batch
from serving.exploration import OFF
from serving.scorer import MODEL, Scorer, champion_folder, contents_of

PARTS = pytest.mark.parametrize("parts", [1, 5])
SETTINGS = Settings.model_validate(
    {"attribution": {"lookback_days": 60, "exclude_kinds": ["email_sent"], "opportunity": ["demo"]}}
)
GOAL = Goal(won=["sold"])
AS_OF = DAYS + 20
RULES = ["first", "linear", "time_decay", "w", "full_path", "markov:1", "shapley"]
pytestmark = pytest.mark.usefixtures("spark")


def scored_by_spark(company: Company, lake: Lake, goal: Goal, as_of: int, touches: int) -> batch.Scored:
    from serving.spark import scored

    return scored(company.workspace / "models", lake, goal, as_of, touches, outlook=True)


def scored_here(scorer: Scorer, lake: Lake, goal: Goal, as_of: int) -> batch.Scored:
    from features.reading import read_history
    from features.verbs import columns_of

    history = read_history(lake, more=columns_of(scorer.spec.features))
    return batch.scored(scorer, history, goal, as_of, outlook=True)


def journeys_by_spark(lake: Lake, settings: Settings, as_of: datetime, touches: int) -> tuple[Journeys, pd.DataFrame]:
    from attribution.spark import journeys_in

    return journeys_in(lake, settings, as_of, touches)


def assert_same(found: batch.Scored, here: batch.Scored) -> None:
    pd.testing.assert_frame_equal(found.scores, here.scores, check_exact=True)
    assert found.outlook is not None
    assert here.outlook is not None
    pd.testing.assert_frame_equal(found.outlook, here.outlook, check_exact=True)
    assert found.not_scored == here.not_scored


@PARTS
def test_spark_says_of_tangled_leads_what_this_machine_says(
    trained_company: Company, tangled: Lake, parts: int
) -> None:
    here = scored_here(trained_company.scorer, tangled, GOAL, micros(AS_OF))
    assert len(here.scores) > 50
    assert here.not_scored == ["lead-30"]
    assert_same(scored_by_spark(trained_company, tangled, GOAL, micros(AS_OF), TOUCHES // parts), here)


def test_spark_says_of_a_company_what_this_machine_says(trained_company: Company) -> None:
    here = scored_here(trained_company.scorer, trained_company.lake, Goal(), trained_company.as_of)
    rows = sum(part.rows for part in trained_company.lake.parts("touches"))
    found = scored_by_spark(trained_company, trained_company.lake, Goal(), trained_company.as_of, rows // 3)
    assert_same(found, here)


def test_where_no_lead_is_open_there_are_no_scores(trained_company: Company, tangled: Lake) -> None:
    found = scored_by_spark(trained_company, tangled, GOAL, micros(-1), TOUCHES)
    assert found.scores.empty
    assert list(found.scores.columns) == schema("scores").names
    assert found.not_scored == []


def test_a_model_that_changed_on_the_way_to_a_worker_scores_nothing(trained_company: Company) -> None:
    from serving.spark import _scored

    folder = champion_folder(trained_company.workspace / "models")
    files = contents_of(folder)
    changed = tuple({**files, MODEL: files[MODEL] + b" "}.items())
    work = _scored(folder, changed, Goal(), 0, OFF, outlook=False)
    with pytest.raises(ModelError, match=r"is damaged: model\.txt changed since training\. Nothing of it was loaded\."):
        next(work({}))


@pytest.mark.parametrize(
    ("parts", "more"),
    [
        (1, {}),
        (2, {"of": "account", "transforms": ["frequency"], "session_minutes": 30}),
        (5, {}),
        (5, {"stage": "demo", "repeated": True, "outreach_kinds": ["meeting"]}),
    ],
    ids=["1", "2-accounts", "5", "5-stage"],
)
def test_spark_makes_the_journeys_that_this_machine_makes(tangled: Lake, parts: int, more: dict[str, object]) -> None:
    how = SETTINGS.attribution.model_copy(update=more)
    settings, as_of = SETTINGS.model_copy(update={"attribution": how}), moment(AS_OF)
    here, wins = deals.journeys_in(tangled, settings, as_of)
    found, wins_found = journeys_by_spark(tangled, settings, as_of, TOUCHES // parts)
    assert here.conversions.sum() > 5
    assert here.milestone is not None
    for field in fields(Journeys):
        one, other = getattr(found, field.name), getattr(here, field.name)
        if other is None or isinstance(other, tuple):
            assert one == other, field.name
        else:
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other), err_msg=field.name)
            assert one.dtype == other.dtype, field.name
    by_lead = ["lead_id", "occurred_at"]
    pd.testing.assert_frame_equal(
        wins_found.sort_values(by_lead, ignore_index=True), wins.sort_values(by_lead, ignore_index=True)
    )


def test_spark_credits_to_the_bit(tangled: Lake) -> None:
    def by_spark(lake: Lake, settings: Settings, as_of: datetime) -> tuple[Journeys, pd.DataFrame]:
        return journeys_by_spark(lake, settings, as_of, TOUCHES // 3)

    here = runs.attribute(tangled, SETTINGS, moment(AS_OF), RULES)
    found = runs.attribute(tangled, SETTINGS, moment(AS_OF), RULES, journeys_by=by_spark)
    assert found.run_id == here.run_id
    assert json.dumps(found.summary()) == json.dumps(here.summary())
    pd.testing.assert_frame_equal(found.answer.touches, here.answer.touches, check_exact=True)


def test_the_paths_that_spark_adds_up_bring_what_the_journeys_brought(tangled: Lake, tmp_path: Path) -> None:
    from attribution.spark import path_counts

    paths = path_counts(tangled, SETTINGS, moment(AS_OF), TOUCHES // 5).toPandas()
    here, _ = deals.journeys_in(tangled, SETTINGS, moment(AS_OF))
    wanted = routes(here).set_index("path")
    paths.to_csv(tmp_path / "paths.csv", index=False)
    read = read_paths(tmp_path / "paths.csv")
    assert sorted(paths["path"]) == list(wanted.index)
    assert read.value_cents.sum() == wanted["value_cents"].sum()
    told = paths.set_index("path").sort_index()
    assert told["conversions"].tolist() == wanted["conversions"].tolist()
    assert told["nulls"].tolist() == wanted["nulls"].tolist()
    assert [int(100 * value) for value in told["value"]] == wanted["value_cents"].tolist()


def test_a_partition_without_touches_keeps_its_wins(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.append("touches", table("touches", [touch("ada", 1)]))
    lake.append("stages", table("stages", [stage(f"bob-{i}", 2, "won") for i in range(9)]))
    seen, _ = journeys_by_spark(lake, Settings(), moment(9), 1)
    assert seen.conversions.sum() == 9
    assert seen.lead_id is not None
    assert seen.lead_id.tolist() == ["ada", *(f"bob-{i}" for i in range(9))]


def test_without_touches_a_sentence_says_what_to_ingest(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.append("stages", table("stages", [stage("bob", 2, "won")]))
    lake.append("identities", table("identities", [merge("bob", "rob", 3)]))
    with pytest.raises(DataError, match=r"^The lake holds no touches of leads\. Ingest some first: "):
        journeys_by_spark(lake, Settings(), moment(9), 1)


def test_the_commands_say_the_same_with_either_engine(
    command: Callable[..., tuple[int, str]], trained_company: Company, tmp_path: Path
) -> None:
    workspace = tmp_path / "copy"
    shutil.copytree(trained_company.workspace, workspace)
    as_of = ("--as-of", NOW.isoformat(), "--json")
    said = []
    for engine in ("local", "spark"):
        outlook = tmp_path / f"{engine}.csv"
        words = ("score", "--outlook", str(outlook), "--engine", engine, *as_of)
        status, scores = command(*words, workspace=workspace)
        assert status == 0
        said.append((json.loads(scores), outlook.read_text()))
    assert said[0] == said[1]
    local, spark = (command("attribute", "--engine", one, *as_of, workspace=workspace) for one in ("local", "spark"))
    assert local[0] == 0
    assert local == spark


def test_spark_and_a_file_of_paths_are_one_too_many(command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    status, said = command("attribute", "--paths", "paths.csv", "--engine", "spark", workspace=tmp_path)
    assert status == 2
    assert "--paths and --pipeline are counted on this machine." in re.sub(r"\s*│\s*", " ", said)
