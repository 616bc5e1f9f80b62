"""Batch scores: every open lead, as of one moment."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from features.contract import schema
from features.errors import DataError
from features.history import History
from features.lake import Lake
from features.objections import objecting, profiled
from features.outcomes import open_moments, outcomes_of
from features.reading import read_history
from features.settings import Exploration, Goal
from features.verbs import Moments, columns_of
from serving.exploration import OFF, withheld
from serving.outlook import outlook_table
from serving.scorer import Scorer, champion
from serving.scores import Score, scores

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run
EXPERIMENT = ("withheld", "propensity")  # columns that are for the report, and nobody else


def champion_and_history(workspace: Path, lake: Lake) -> tuple[Scorer, History]:
    """Return the champion, and the history of all leads with the columns that its features look at."""
    scorer = champion(workspace / "models")
    return scorer, read_history(lake, more=columns_of(scorer.spec.features))


class Scored(NamedTuple):
    """What is said of open leads; ``not_scored`` are those of people who object to profiling.

    ``withheld`` are the leads whose scores are stored and kept from sales.
    """

    scores: pd.DataFrame
    not_scored: list[str]
    outlook: pd.DataFrame | None  # if it was asked for
    withheld: tuple[str, ...] = ()


def score_and_store(
    workspace: Path, lake: Lake, goal: Goal, as_of: int, exploration: Exploration = OFF,
    engine: Literal["local", "spark"] = "local", *, outlook: bool = False,
) -> Scored:  # fmt: skip
    """Score every open lead by the champion, and store it; nobody is erased between reading and storing."""
    with lake.writing():
        if engine == "spark":
            from serving import spark  # an optional extra

            said = spark.scored(workspace / "models", lake, goal, as_of, exploration=exploration, outlook=outlook)
        else:
            said = scored(*champion_and_history(workspace, lake), goal, as_of, exploration, outlook=outlook)
        if not said.scores.empty:
            store(lake, said.scores)
    return _shown(said, goal)


def scored(
    scorer: Scorer, history: History, goal: Goal, as_of: int, exploration: Exploration = OFF, *, outlook: bool
) -> Scored:
    """Return what a model says of every open lead of a history, as it is stored."""
    return Scored(
        score_open(scorer, history, goal, as_of, exploration),
        not_scored(history, goal, as_of),
        outlook_table(scorer, open_leads(history, goal, as_of)) if outlook else None,
    )


def _shown(said: Scored, goal: Goal) -> Scored:
    """Return what people may see of it: nothing of the leads whose scores are withheld."""
    kept_back = said.scores["withheld"].to_numpy(bool)
    leads = said.scores["lead_id"][kept_back].tolist()
    shown = said.scores[~kept_back].drop(columns=[*EXPERIMENT, *(() if goal.name else ("goal",))])
    outlook = None if said.outlook is None else said.outlook[~said.outlook["lead_id"].isin(leads)]
    return Scored(shown, said.not_scored, outlook, tuple(leads))


def open_leads(history: History, goal: Goal, as_of: int) -> Moments:
    """Return (lead, as_of) of every lead that is open, and may be profiled, for all that is known at ``as_of``."""
    everyone = np.flatnonzero(profiled(history, as_of))
    return open_moments(history, outcomes_of(history, goal), Moments(history, everyone, np.full(len(everyone), as_of)))


def not_scored(history: History, goal: Goal, as_of: int) -> list[str]:
    """Return the open leads that are not scored, since the person objected to profiling."""
    objectors = np.flatnonzero(objecting(history, as_of))
    asked = Moments(history, objectors, np.full(len(objectors), as_of))
    return [history.lead_ids[lead] for lead in open_moments(history, outcomes_of(history, goal), asked).lead]


def score_open(
    scorer: Scorer, history: History, goal: Goal, as_of: int, exploration: Exploration = OFF
) -> pd.DataFrame:
    """Return the table ``scores`` of every open lead, the most probable first."""
    return score_table(scores(scorer, open_leads(history, goal, as_of)), goal.name, exploration)


def score_table(scored: Sequence[Score], goal: str = "", exploration: Exploration = OFF) -> pd.DataFrame:
    """Return scores as rows of the table ``scores``; reasons are JSON. Further goals are no part of an experiment."""
    how = OFF if goal else exploration
    kept_back = dict(zip(ids := [score.lead_id for score in scored], withheld(ids, how).tolist(), strict=True))
    rows = [
        {
            "lead_id": score.lead_id,
            "as_of": pd.Timestamp(score.as_of, unit="us", tz="UTC").as_unit("us"),
            "horizon_days": score.horizon_days,
            "probability": score.probability,
            "low": score.low,
            "high": score.high,
            "grade": score.grade,
            "trend": score.trend,
            "reasons": json.dumps([asdict(reason) for reason in score.reasons], ensure_ascii=False),
            "model_version": score.model_version,
            "goal": goal or None,
            "withheld": kept_back[score.lead_id],
            "propensity": how.share,
        }
        for score in sorted(scored, key=lambda score: (-score.probability, score.lead_id))
    ]
    return pd.DataFrame(rows, columns=schema("scores").names)


def store(lake: Lake, table: pd.DataFrame) -> None:
    """Append scores to the lake, as served; without a goal they are for the main one."""
    whole = table.reindex(columns=schema("scores").names)
    lake.append("scores", pa.Table.from_pandas(whole, schema("scores"), preserve_index=False))


def write(table: pd.DataFrame, file: Path) -> None:
    """Write a table as CSV or Parquet, by the file's ending; a text that a spreadsheet would run is disarmed in CSV."""
    if file.suffix == ".parquet":
        table.to_parquet(file, index=False)
    elif file.suffix == ".csv":
        table.map(harmless).to_csv(file, index=False, quoting=csv.QUOTE_NONNUMERIC)
    else:
        raise DataError(f"{file} is neither .csv nor .parquet. Give the file one of these endings.")


def harmless(value: object) -> object:
    """Return a cell of a CSV file, disarmed if it is a text that a spreadsheet would run."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
