"""Runs: attribution of what the lake holds, stored once and never changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from attribution import funnel
from attribution.credit import Attribution, Unattributed, credit, summary
from attribution.deals import journeys_in
from attribution.decision import Decision, decision
from attribution.experiments import refuse_untouched, shrunk
from attribution.journeys import WON, Journeys
from attribution.lead_days import Probability, adjusted, kinds_of, lead_days, own_history, table
from attribution.models import COUNTERFACTUAL, OF_LEAD_DAYS, SCORE_ADJUSTED
from attribution.paths import path_parts, read_paths
from attribution.returns import spent_on
from attribution.rules import own_rules
from attribution.transforms import transformed
from features.contract import INGESTED, schema
from features.errors import DataError
from features.history import History, microseconds
from features.lake import Lake
from features.reading import read_history
from features.settings import Settings

UNATTRIBUTED, ANYWAY = "(unattributed)", "(would have closed anyway)"
READ = (*INGESTED, "scores")
Baseline = Callable[[History], Probability]
JourneysBy = Callable[[Lake, Settings, datetime], tuple[Journeys, pd.DataFrame]]


@dataclass(frozen=True)
class Run:
    """One attribution: its identity, which follows from everything it was made from, and its answer."""

    run_id: str
    answer: Attribution
    stage: str = WON  # whose entries are credited
    spent: Mapping[str, Decimal] | None = field(default_factory=dict)  # by channel; None where a currency has no rate

    @property
    def decision(self) -> Decision | None:
        """Return which channel to fund."""
        return decision(self.answer, self.spent)

    def summary(self) -> dict[str, Any]:
        """Return the run for JSON."""
        found = self.decision
        said = {"decision": {"fund": found.fund, "by_model": found.by_model, "flips": found.flips,
                             "unsure": list(found.unsure), "sentence": found.sentence}} if found else {}  # fmt: skip
        other = {} if self.stage == WON else {"stage": self.stage}
        return {"run_id": self.run_id, **other, **summary(self.answer), **said}


def run_id(*made_from: object) -> str:
    """Return an identity that is the same for the same inputs."""
    return hashlib.sha256(json.dumps(made_from, sort_keys=True, default=str).encode()).hexdigest()[:12]


def attribute(
    lake: Lake,
    settings: Settings,
    as_of: datetime,
    models: Sequence[str] = (),
    baseline: Baseline | None = None,
    journeys_by: JourneysBy = journeys_in,
) -> Run:
    """Credit the channels with each lead's first win, or what else is asked about, as known before ``as_of``.

    ``baseline`` makes probabilities of closing of a history of what leads do of their own, for the models of lead-days;
    ``journeys_by`` makes the journeys, here or elsewhere.

    Raises:
        DataError: when there is no touch, a model is unknown or cannot be asked this, amounts are in a currency without
            a rate, or too little closed for a model of lead-days.
        ConfigError: when a rule of the user's own cannot be used, or an experiment is of an unknown channel.

    """
    how = settings.attribution
    named = list(models) or how.models
    by_lead_days = [name for name in OF_LEAD_DAYS if name in named]
    if by_lead_days and (how.stage, how.of, how.repeated) != (WON, "lead", False):
        raise DataError(
            f"{' and '.join(by_lead_days)} can tell only what made single leads close for the first time. Ask for "
            'other models, or keep attribution.stage = "won", of = "lead" and repeated = false.'
        )
    versions = {name: version for name, version in lake.versions().items() if name in READ}
    then = Lake(lake.folder, versions)
    seen, wins = journeys_by(then, settings, as_of)
    identity = run_id(versions, settings.goal.model_dump(), how.model_dump(), named, as_of.isoformat())
    ruled = [name for name in named if name not in OF_LEAD_DAYS or baseline is None]
    answer = credit(seen, ruled or ["linear"], how.half_life_days, own=own_rules(settings))
    if not ruled:  # what nobody earned is asked of it alone
        answer = replace(answer, models=(), channels=answer.channels[:0], touches=answer.touches[:0])
    if len(ruled) < len(named) and baseline is not None:
        answer = _with_lead_days(answer, by_lead_days, then, settings, as_of, wins, baseline)
    return Run(identity, answer, how.stage, spent_on(then, settings, as_of))


def stored_rows(lake: Lake, run: str) -> pd.DataFrame:
    """Return the rows of a stored run: model, lead_id, channel, conversion, credit, value.

    Raises:
        DataError: when no such run is stored.

    """
    columns = "model, lead_id, channel, conversion, credit, value"
    rows: pd.DataFrame = lake.query(f"SELECT {columns} FROM credits WHERE run_id = $1", [run]).to_pandas()
    if rows.empty:
        known = lake.query("SELECT DISTINCT run_id FROM credits ORDER BY run_id").to_pandas()["run_id"]
        raise DataError(f"No run {run} is stored. Stored are: {', '.join(known) or 'none yet'}.")
    return rows


def compared(lake: Lake, run: Run, with_run: str) -> pd.DataFrame:
    """Return what each model gave each channel in a stored run and gives now.

    The columns are model, channel, before, credit, change, value_before and value; what a run did not name is missing.
    The lines that no channel earned are there, too.

    Raises:
        DataError: when no such run is stored.

    """
    rows = stored_rows(lake, with_run).groupby(["model", "channel"], as_index=False)
    stored = rows.agg(before=("credit", "sum"), value_before=("value", "sum"))
    now = credit_rows(run).groupby(["model", "channel"], as_index=False)[["credit", "value"]].sum()
    both = stored.merge(now, on=["model", "channel"], how="outer").sort_values(["model", "channel"], ignore_index=True)
    change = both["credit"].fillna(0).astype("float64") - both["before"].fillna(0).astype("float64")
    columns = ["model", "channel", "before", "credit", "change", "value_before", "value"]
    return pd.DataFrame(both.assign(change=change), columns=columns)


def _with_lead_days(
    answer: Attribution, models: Sequence[str], lake: Lake, settings: Settings, as_of: datetime, wins: pd.DataFrame,
    baseline: Baseline,
) -> Attribution:  # fmt: skip
    """Return the answer with the credit that models of lead-days give beside that of the other models."""
    history, how = read_history(lake), settings.attribution
    earning = kinds_of(history) - {*how.exclude_kinds, *how.own_kinds}
    days = lead_days(history, settings.goal, microseconds(as_of), earning)
    refuse_untouched(how.experiments, days.channels, as_of)
    probability = baseline(own_history(history, how.own_kinds))
    if SCORE_ADJUSTED in models:
        found = adjusted(days, probability)
        unsure = pd.DataFrame(found.covariance, days.channels, days.channels)
        rows, anyway, told = shrunk(*table(found, days, wins, SCORE_ADJUSTED), unsure, how.experiments, as_of,
                                    how.experiment_half_life_days, found.later)  # fmt: skip
        answer = replace(_beside(answer, SCORE_ADJUSTED, rows.drop(columns="harvests"), anyway),
                         harvests=tuple(rows.loc[rows["harvests"], "channel"]), experiments=tuple(told))  # fmt: skip
    if COUNTERFACTUAL in models:
        answer = _beside(answer, COUNTERFACTUAL, *funnel.table(days, probability, wins, COUNTERFACTUAL))
    return answer


def _beside(answer: Attribution, model: str, rows: pd.DataFrame, anyway: Unattributed) -> Attribution:
    """Return the answer with one more model's rows of channels, and what it says would have closed anyway."""
    touches = rows[["model", "channel", "credit", "value"]].assign(lead_id=None, event_id=None)
    return replace(
        answer,
        models=(*answer.models, model),
        channels=pd.concat([answer.channels, rows], ignore_index=True),
        touches=pd.concat([answer.touches, touches], ignore_index=True),
        anyway={**answer.anyway, model: anyway},
    )


def credit_rows(run: Run) -> pd.DataFrame:
    """Return what each touch or channel earned, and under each model a line that nobody did: they add up."""
    touches = run.answer.touches
    by_lead = set(touches.loc[touches["channel"] == UNATTRIBUTED, "model"])
    lines = [
        {"model": name, "channel": ANYWAY, **run.answer.anyway[name]} if name in run.answer.anyway
        else {"model": name, "channel": UNATTRIBUTED, **run.answer.unattributed}
        for name in run.answer.models if name not in by_lead
    ]  # fmt: skip
    more = pd.DataFrame(lines, columns=["model", "channel", "credit", "value"]).astype({"value": object})
    return pd.concat([touches, more], ignore_index=True)


def store(lake: Lake, run: Run) -> None:
    """Append a run's credit to the lake, unless it is there already."""
    if lake.query("SELECT 1 FROM credits WHERE run_id = $1 LIMIT 1", [run.run_id]).num_rows:
        return
    rows = credit_rows(run).assign(run_id=run.run_id, conversion=run.stage).reindex(columns=schema("credits").names)
    lake.append("credits", pa.Table.from_pandas(rows, schema("credits"), preserve_index=False))


def attribute_paths(file: Path, settings: Settings, models: Sequence[str] = ()) -> Run:
    """Credit the channels of a file of aggregated paths; needs no lake.

    Raises:
        DataError: naming everything that is wrong with the file or the models.

    """
    how = settings.attribution
    named = list(models) or how.models
    paths = transformed(read_paths(file), how.transforms) if how.transforms else path_parts(file)
    answer = credit(paths, named, how.half_life_days, own=own_rules(settings))
    content = hashlib.sha256(file.read_bytes()).hexdigest()
    return Run(run_id(content, how.model_dump(), named), answer)
