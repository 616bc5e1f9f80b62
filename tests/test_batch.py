"""Batch scores: every open lead as of one moment, as rows of the table `scores`."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from by_hand import day, days, world
from trained import Company

from features.contract import schema
from features.errors import DataError
from features.lake import Lake
from features.settings import Goal
from features.verbs import Feature
from serving.batch import open_leads, score_open, score_table, store, write
from serving.scorer import Scorer
from serving.scores import Reason, Score, scores
from serving.spec import Spec

COLUMNS = [
    "lead_id", "as_of", "horizon_days", "probability", "low", "high", "grade", "trend", "reasons", "model_version",
    "goal", "withheld", "propensity",
]  # fmt: skip
GOAL = Goal.model_validate({})


def score(lead_id: str, probability: float, text: str = "Touches: 3") -> Score:
    return Score(
        lead_id=lead_id,
        as_of=day(10),
        horizon_days=90,
        probability=probability,
        low=probability / 2,
        high=probability * 2,
        percentile=50,
        grade="C",
        trend="steady",
        fit=0,
        engagement=0,
        reasons=(Reason("touches", 3, 0.5, text),),
        evidence="model",
        model_version="v1",
    )


def test_leads_are_open_from_after_their_creation_until_their_close_is_known() -> None:
    history = world(
        {"ada": 1, "bob": 1, "cem": 1, "dan": 10, "eve": 1},
        stages=[("bob", 5, "won"), ("cem", 5, "lost", 12), ("eve", 5, "mql")],
    )
    moments = open_leads(history, GOAL, day(10))
    assert [history.lead_ids[lead] for lead in moments.lead] == ["ada", "cem", "eve"]
    assert days(moments) == [10, 10, 10]


def test_scores_are_rows_of_the_contract_s_table_the_most_probable_first() -> None:
    table = score_table([score("bob", 0.2), score("cem", 0.4), score("ada", 0.2)])
    assert list(table.columns) == COLUMNS == schema("scores").names
    assert table["lead_id"].tolist() == ["cem", "ada", "bob"]
    assert table.iloc[0].to_dict() == {
        "goal": None,
        "withheld": False,
        "propensity": 0,
        "lead_id": "cem",
        "as_of": pd.Timestamp("2026-01-15T00:00:00Z"),
        "horizon_days": 90,
        "probability": 0.4,
        "low": 0.2,
        "high": 0.8,
        "grade": "C",
        "trend": "steady",
        "reasons": '[{"feature": "touches", "value": 3, "effect": 0.5, "text": "Touches: 3"}]',
        "model_version": "v1",
    }


def test_reasons_keep_their_letters() -> None:
    assert "Größe" in score_table([score("ada", 0.1, "Größe: 3")])["reasons"].iloc[0]


def test_without_open_leads_the_table_is_empty_and_has_its_columns() -> None:
    scorer = Scorer(Spec((Feature("age_days", "age", "Age", "days", "fit"),), 90, 0.0, 0, medians=(None,)), None, "v0")
    table = score_open(scorer, world({"ada": 1}), GOAL, day(0))
    assert (list(table.columns), len(table)) == (COLUMNS, 0)


def test_a_company_s_open_leads_are_scored(trained_company: Company) -> None:
    table = score_open(
        trained_company.scorer, trained_company.history, trained_company.settings.goal, trained_company.as_of
    )
    moments = open_leads(trained_company.history, trained_company.settings.goal, trained_company.as_of)
    told = {one.lead_id: one for one in scores(trained_company.scorer, moments)}
    assert sorted(table["lead_id"]) == sorted(told)
    assert table["probability"].is_monotonic_decreasing
    assert ((table["low"] < table["probability"]) & (table["probability"] < table["high"])).all()
    assert [json.loads(text) for text in table["reasons"]] == [
        [asdict(reason) for reason in told[lead_id].reasons] for lead_id in table["lead_id"]
    ]


def test_scores_are_stored_in_the_lake_as_they_are(tmp_path: Path) -> None:
    table = score_table([score("ada", 0.1), score("bob", 1 / 3)])
    store(Lake(tmp_path), table)
    stored = Lake(tmp_path).query("SELECT * FROM scores ORDER BY probability DESC").to_pandas()
    pd.testing.assert_frame_equal(stored, table.astype({"goal": "str"}), check_dtype=False)


# Files


def test_a_csv_file_says_what_the_table_says(tmp_path: Path) -> None:
    table = score_table([score("ada", 0.1), score("bob", 1 / 3)])
    write(table, tmp_path / "scores.csv")
    read = pd.read_csv(tmp_path / "scores.csv", parse_dates=["as_of"])
    pd.testing.assert_frame_equal(read, table.astype({"goal": float}), check_dtype=False)


def test_a_parquet_file_is_the_table(tmp_path: Path) -> None:
    table = score_table([score("=1+1", 0.1), score("bob", 1 / 3)])
    write(table, tmp_path / "scores.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "scores.parquet"), table)


@pytest.mark.parametrize("lead_id", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "a\r=1", "a\n=1", 'a"\r=1'])
def test_a_text_that_a_spreadsheet_would_run_is_disarmed_in_csv(tmp_path: Path, lead_id: str) -> None:
    write(score_table([score(lead_id, 0.1)]), tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["lead_id"] == (lead_id if lead_id.startswith("a") else f"'{lead_id}")


def test_in_csv_every_text_is_quoted_and_no_number(tmp_path: Path) -> None:
    write(pd.DataFrame({"effect": [-1.5], "lead_id": ["L-1"]}), tmp_path / "effects.csv")
    assert (tmp_path / "effects.csv").read_text() == '"effect","lead_id"\n-1.5,"L-1"\n'


def test_another_ending_is_refused_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "scores.xlsx"
    sentence = f"{file} is neither .csv nor .parquet. Give the file one of these endings."
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        write(score_table([]), file)
    assert not file.exists()


def test_probabilities_survive_the_file_to_the_bit(tmp_path: Path) -> None:
    told = {f"lead-{i}": float(p) for i, p in enumerate(np.random.default_rng(0).random(200))}
    write(score_table([score(lead_id, p) for lead_id, p in told.items()]), tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="", encoding="utf-8") as file:
        assert {row["lead_id"]: float(row["probability"]) for row in csv.DictReader(file)} == told
