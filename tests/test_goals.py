"""Goals: any stage can be one, with a model and a horizon of its own, and all of them are there side by side."""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from by_hand import day, days, world
from served import serving, until_ready
from trained import NOW, Company
from typer.testing import CliRunner

from features.goals import room_of, rooms
from features.history import DAY, microseconds
from features.ingestion import ingest
from features.lake import Lake
from features.matrix import feature_matrix
from features.outcomes import open_moments, outcomes_of
from features.reading import read_history
from features.settings import Goal, Snapshots, read_settings
from features.verbs import Feature, Moments
from serving.scorer import champion
from touchstone import app
from training.snapshots import snapshots

RENEWED = Goal(won=["renewed"], lost=["churned"], horizon_days=60, after=["won"]).called("renewed")
TOML = """
[training]
trees = 40
[goals.renewed]
after = ["won"]
won = ["renewed"]
lost = ["churned"]
horizon_days = 60
"""
LARGE = Feature("large", "attribute", "", column="company_size", levels=("51-200", "11-50"))
SIZES = ("51-200", "201-1000", "1001+")  # companies that renew more often


def open_on(goal: Goal, stages: list[tuple[object, ...]], on: float) -> bool:
    history = world({"ada": 0}, stages=stages)
    asked = Moments(history, np.zeros(1, np.int64), np.array([day(on)]))
    return len(open_moments(history, outcomes_of(history, goal), asked)) == 1


@pytest.mark.parametrize(
    ("stages", "is_open"),
    [
        ([], False),
        ([("ada", 5, "won")], True),
        ([("ada", 5, "won", 11)], False),  # known only later
        ([("ada", 5, "won"), ("ada", 8, "churned")], False),
        ([("ada", 5, "won"), ("ada", 8, "renewed")], False),
        ([("ada", 5, "won"), ("ada", 8, "renewed", 12)], True),
    ],
)
def test_a_lead_is_open_for_a_goal_from_the_stage_that_comes_before_it(
    stages: list[tuple[object, ...]], is_open: bool
) -> None:
    assert open_on(RENEWED, stages, 10) == is_open


def test_customers_are_looked_at_from_when_they_became_customers() -> None:
    history = world({"ada": 0, "bob": 0}, stages=[("ada", 400, "won"), ("ada", 430, "renewed")])
    weekly = snapshots(history, RENEWED, Snapshots(max_age_days=21), day(1000))
    assert (weekly.lead.tolist(), days(weekly)) == ([0, 0, 0], [406, 413, 420])
    at_ages = snapshots(history, RENEWED, Snapshots(ages_days=[10, 20, 40]), day(1000))
    assert days(at_ages) == [410, 420]


def test_every_goal_has_a_room_and_the_main_one_the_workspace(tmp_path: Path) -> None:
    (room_of(tmp_path, "renewed") / "models").mkdir(parents=True)
    assert list(rooms(tmp_path)) == [tmp_path, tmp_path / "goals" / "renewed"]
    assert room_of(tmp_path, "") == tmp_path


@dataclass(frozen=True)
class Customers:
    """A company with customers, of whom larger ones renew more often; its two goals are trained and scored."""

    workspace: Path
    told: dict[str, Any]  # what `score --json` said, by goal
    reported: dict[str, Any]  # what `report --json` said


@pytest.fixture(scope="module")
def customers(trained_company: Company, tmp_path_factory: pytest.TempPathFactory) -> Customers:
    workspace = tmp_path_factory.mktemp("customers")
    shutil.copytree(trained_company.workspace, workspace, dirs_exist_ok=True)
    (workspace / "touchstone.toml").write_text(TOML, "utf-8")
    renewals(Lake(workspace / "lake")).to_csv(workspace / "stages.csv", index=False)
    ingest(Lake(workspace / "lake"), read_settings(workspace), [workspace / "stages.csv"], NOW)
    of_goal = ["--goal", "renewed"]
    asked = ["--workspace", str(workspace), "--as-of", NOW.isoformat(), "--json"]
    assert CliRunner().invoke(app, ["train", *of_goal, *asked]).exit_code == 0
    told = {name: CliRunner().invoke(app, ["score", *more, *asked]) for name, more in (("", []), ("renewed", of_goal))}
    assert [answer.exit_code for answer in told.values()] == [0, 0]
    reported = CliRunner().invoke(app, ["report", *asked])
    told_as = {name: json.loads(answer.stdout) for name, answer in told.items()}
    return Customers(workspace, told_as, json.loads(reported.stdout))


def asked_of(customers: Customers, sql: str) -> pd.DataFrame:
    return Lake(customers.workspace / "lake").query(sql).to_pandas()


def renewals(lake: Lake) -> pd.DataFrame:
    """Return what became of customers within 60 days."""
    won = lake.query("""
        SELECT lead_id, min(occurred_at) AS at, any_value(json_extract_string(attributes, '$.company_size')) AS size
        FROM stages JOIN leads USING (lead_id) WHERE stage = 'won' GROUP BY lead_id ORDER BY lead_id""").to_pandas()
    rng = np.random.default_rng(1)
    renews = rng.random(len(won)) < np.where(won["size"].isin(SIZES), 0.9, 0.2)
    at = won["at"] + pd.to_timedelta(rng.uniform(40, 59, len(won)), unit="D")
    rows = pd.DataFrame({"lead_id": won["lead_id"], "stage": np.where(renews, "renewed", "churned"), "occurred_at": at})
    return rows[at < NOW]


def test_each_goal_has_a_model_that_looks_at_its_own_leads(customers: Customers) -> None:
    main, renewed = (champion(room_of(customers.workspace, name) / "models") for name in ("", "renewed"))
    assert (main.spec.horizon_days, renewed.spec.horizon_days) == (90, 60)
    assert main.version != renewed.version
    scored = {name: {row["lead_id"] for row in told["scores"]} for name, told in customers.told.items()}
    won = set(asked_of(customers, "SELECT lead_id FROM stages WHERE stage = 'won'")["lead_id"])
    assert scored["renewed"] <= won
    assert not scored[""] & won


def test_a_score_names_its_goal_unless_it_is_the_main_one(customers: Customers) -> None:
    assert {row["goal"] for row in customers.told["renewed"]["scores"]} == {"renewed"}
    assert "goal" not in customers.told[""]["scores"][0]
    stored = asked_of(customers, "SELECT goal, count(*) AS leads FROM scores GROUP BY goal ORDER BY goal NULLS FIRST")
    assert stored["leads"].tolist() == [len(customers.told[name]["scores"]) for name in ("", "renewed")]
    assert stored["goal"].tolist()[1:] == ["renewed"]


def test_the_model_of_renewals_has_learned_who_renews(customers: Customers) -> None:
    scorer = champion(room_of(customers.workspace, "renewed") / "models")
    history = read_history(Lake(customers.workspace / "lake"))
    won = outcomes_of(history, Goal()).won
    lead = np.flatnonzero(won < microseconds(NOW) - 30 * DAY)
    moments = Moments(history, lead, won[lead] + 30 * DAY)
    said = scorer.probabilities(feature_matrix(scorer.spec.features, moments))
    size = feature_matrix((LARGE,), moments)[:, 0]
    assert said[size == 0].mean() > said[size == 1].mean() + 0.02  # few customers, shrunken


def test_the_service_scores_and_shows_both_goals_side_by_side(customers: Customers) -> None:
    customer, lead = (customers.told[name]["scores"][0] for name in ("renewed", ""))
    asked = {"as_of": NOW.isoformat()}
    with serving(customers.workspace, read_settings(customers.workspace)) as client:
        until_ready(client)
        answer = client.post("/score", json={**asked, "lead_ids": [customer["lead_id"]], "goal": "renewed"})
        assert answer.json()["scores"][0]["probability"] == pytest.approx(customer["probability"])
        assert answer.json()["scores"][0]["horizon_days"] == 60
        main = client.post("/score", json={**asked, "lead_ids": [lead["lead_id"]]})
        assert main.json()["scores"][0]["probability"] == pytest.approx(lead["probability"])
        refused = client.post("/score", json={**asked, "lead_ids": [customer["lead_id"]], "goal": "expanded"})
        assert (refused.status_code, refused.json()) == (
            400,
            {"error": "There is no goal expanded. The goals are: renewed."},
        )
        unfit = client.post("/score", json={**asked, "lead_ids": [lead["lead_id"]], "goal": "renewed"})
        assert unfit.json()["error"].startswith(f"{lead['lead_id']} is not open as of then")
        page = text_of(client, "/goals")
    assert f'<a href="/my-leads/{customer["lead_id"]}">' in page
    for name, horizon in (("Won", 90), ("Renewed", 60)):
        assert re.search(rf"<th scope=\"row\">{name}.*?{horizon} days.*?<code>[0-9a-f]{{12}}</code>", page)
    both = [(one["goal"], one["leads"]) for one in customers.reported["goals"]]
    assert both == [("won", len(customers.told[""]["scores"])), ("renewed", len(customers.told["renewed"]["scores"]))]


def text_of(client: httpx.Client, path: str) -> str:
    """Return a page, once what it counts is counted."""
    for _ in range(200):
        page = client.get(path).text
        if "<h1>Goals" in page:
            return page
        time.sleep(0.1)
    raise TimeoutError(path)
