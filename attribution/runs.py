"""Runs: attribution of what the lake holds, stored once and never changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from attribution.credit import Attribution, credit, summary
from attribution.decision import decision
from attribution.journeys import Journeys, journeys
from attribution.lead_days import Probability, adjusted, kinds_of, lead_days, own_history, table
from attribution.models import SCORE_ADJUSTED
from attribution.paths import path_parts
from attribution.rules import RULES, Rule, by_milestone, by_place
from features.contract import INGESTED, schema
from features.errors import ConfigError, DataError
from features.history import History, microseconds
from features.identities import touches_of_leads
from features.lake import Lake
from features.money import VALUES
from features.reading import read_history
from features.settings import Settings

UNATTRIBUTED, ANYWAY = "(unattributed)", "(would have closed anyway)"
PLACES = ("first", "middle", "last")
LEAD, OPPORTUNITY = "lead", "opportunity"  # milestones
CHANGES = """
    SELECT lead_id, 'lead' AS stage, min(created_at) AS occurred_at FROM leads
    WHERE created_at < $as_of GROUP BY lead_id
    UNION ALL
    SELECT lead_id, CASE WHEN stage IN (SELECT unnest($opportunity::VARCHAR[])) THEN 'opportunity' ELSE stage END,
           occurred_at
    FROM stages WHERE greatest(occurred_at, received_at) < $as_of
"""
Baseline = Callable[[History], Probability]
JourneysBy = Callable[[Lake, Settings, datetime], tuple[Journeys, pd.DataFrame]]
CONVERSION = "won"
SHOWN_DAYS = 3  # of those without a rate, by currency


@dataclass(frozen=True)
class Run:
    """One attribution: its identity, which follows from everything it was made from, and its answer."""

    run_id: str
    answer: Attribution

    def summary(self) -> dict[str, Any]:
        """Return the run for JSON."""
        found = decision(self.answer)
        said = {"decision": {"fund": found.fund, "by_model": found.by_model, "flips": found.flips,
                             "unsure": list(found.unsure), "sentence": found.sentence}} if found else {}  # fmt: skip
        return {"run_id": self.run_id, **summary(self.answer), **said}


def run_id(*made_from: object) -> str:
    """Return an identity that is the same for the same inputs."""
    return hashlib.sha256(json.dumps(made_from, sort_keys=True, default=str).encode()).hexdigest()[:12]


def attribute(
    lake: Lake,
    settings: Settings,
    as_of: datetime,
    models: Sequence[str] = (),
    baseline: Baseline | None = None,
    journeys_by: JourneysBy | None = None,
) -> Run:
    """Credit the channels with each lead's first win, as known before ``as_of``, less what was refunded.

    ``baseline`` makes probabilities of closing of a history of what leads do of their own, for ``score_adjusted``;
    ``journeys_by`` makes journeys elsewhere than ``journeys_in`` does.

    Raises:
        DataError: when there is no touch, a model is unknown, or amounts are in a currency without a rate.

    """
    how = settings.attribution
    named = list(models) or how.models
    versions = {name: version for name, version in lake.versions().items() if name in INGESTED}
    then = Lake(lake.folder, versions)
    seen, wins = (journeys_by or journeys_in)(then, settings, as_of)
    identity = run_id(versions, settings.goal.model_dump(), how.model_dump(), named, as_of.isoformat())
    ruled = [name for name in named if name != SCORE_ADJUSTED or baseline is None]
    answer = credit(seen, ruled or ["linear"], how.half_life_days, own=own_rules(settings))
    if len(ruled) < len(named) and baseline is not None:
        answer = _with_adjusted(answer, then, settings, microseconds(as_of), wins, baseline)
    return Run(identity, answer)


def journeys_in(lake: Lake, settings: Settings, as_of: datetime) -> tuple[Journeys, pd.DataFrame]:
    """Return the journeys to each lead's first win, as known before ``as_of``; and the wins with their worth.

    Raises:
        DataError: when there is no touch, or amounts are in a currency without a rate.

    """
    seen, wins, touches = journeys_of(lake, settings, as_of)
    refuse_untouched(touches)
    return seen, wins


def journeys_of(lake: Lake, settings: Settings, as_of: datetime) -> tuple[Journeys, pd.DataFrame, int]:
    """Return the same, and of how many touches they are made."""
    how = settings.attribution
    touches, merged = touches_of_leads(lake, microseconds(as_of))
    idle = pc.or_kleene(touches["machine"], pc.is_in(touches["kind"], pa.array(how.exclude_kinds, pa.string())))
    touches = touches.filter(pc.invert(idle.fill_null(False))).drop_columns("machine").to_pandas()
    wins = wins_in(lake, settings, as_of, merged)
    stages = _stages(lake, settings, as_of, merged)
    return journeys(touches, wins, pd.Timestamp(as_of), how.lookback_days, stages), wins, len(touches)


def refuse_untouched(touches: int) -> None:
    """Refuse to credit channels of a lake without touches.

    Raises:
        DataError: when there are none.

    """
    if not touches:
        raise DataError("The lake holds no touches of leads. Ingest some first: touchstone ingest touches.csv.")


def compared(lake: Lake, run: Run, with_run: str) -> pd.DataFrame:
    """Return what each model gave each channel in a stored run and gives now: model, channel, before, credit, change.

    What a run did not name is None. The lines that no channel earned are there, too.

    Raises:
        DataError: when no such run is stored.

    """
    stored = lake.query(
        "SELECT model, channel, sum(credit) AS before, sum(value) AS value_before FROM credits WHERE run_id = $1 "
        "GROUP BY model, channel",
        [with_run],
    ).to_pandas()
    if stored.empty:
        known = lake.query("SELECT DISTINCT run_id FROM credits ORDER BY run_id").to_pandas()["run_id"]
        raise DataError(f"No run {with_run} is stored. Stored are: {', '.join(known) or 'none yet'}.")
    now = credit_rows(run).groupby(["model", "channel"], as_index=False)[["credit", "value"]].sum()
    both = stored.merge(now, on=["model", "channel"], how="outer").sort_values(["model", "channel"], ignore_index=True)
    change = both["credit"].fillna(0).astype("float64") - both["before"].fillna(0).astype("float64")
    columns = ["model", "channel", "before", "credit", "change", "value_before", "value"]
    return pd.DataFrame(both.assign(change=change), columns=columns)


def own_rules(settings: Settings) -> dict[str, Rule]:
    """Return the rules that a user configured.

    Raises:
        ConfigError: when a rule's weights are not three, or negative.

    """
    how = settings.attribution
    wrong = [
        f"attribution.custom.{name}"
        for name, weights in how.custom.items()
        if len(weights) != len(PLACES) or min(weights) < 0
    ]
    wrong += [
        f"attribution.milestones.{name}"
        for name, weights in how.milestones.items()
        if min(weights.values(), default=-1) < 0
    ]
    if wrong:
        raise ConfigError(
            f"{', '.join(wrong)}: give weights of 0 or more, such as [0.3, 0.4, 0.3] or {{ first = 0.5, mql = 0.5 }}."
        )
    places = {name: by_place(*weights) for name, weights in how.custom.items()}
    return places | {name: by_milestone(**weights) for name, weights in how.milestones.items()}


def _stages(lake: Lake, settings: Settings, as_of: datetime, merged: pa.Table) -> pd.DataFrame:
    """Return lead_id, stage and occurred_at of changes of stage; a lead's creation is the stage lead."""
    asked = {"as_of": as_of, "opportunity": settings.attribution.opportunity}
    with lake.connection(("stages", "leads")) as connection:
        changes: pd.DataFrame = connection.sql(CHANGES, params=asked).to_arrow_table().to_pandas()
    survivor = dict(zip(merged["record"].to_pylist(), merged["lead_id"].to_pylist(), strict=True))
    changes["lead_id"] = changes["lead_id"].map(lambda lead: survivor.get(lead, lead)).astype("str")
    known = [{LEAD, OPPORTUNITY, *rule.stages} - {"rest"} for rule in [*RULES.values(), *own_rules(settings).values()]]
    return changes[changes["stage"].isin(set().union(*known))]


def _with_adjusted(
    answer: Attribution, lake: Lake, settings: Settings, as_of: int, wins: pd.DataFrame, baseline: Baseline
) -> Attribution:
    """Return the answer with score-adjusted credit beside that of the other models."""
    history, how = read_history(lake), settings.attribution
    earning = kinds_of(history) - {*how.exclude_kinds, *how.own_kinds}
    days = lead_days(history, settings.goal, as_of, earning)
    found = adjusted(days, baseline(own_history(history, how.own_kinds)))
    rows, anyway = table(found, days, wins, SCORE_ADJUSTED)
    touches = rows[["model", "channel", "credit", "value"]].assign(lead_id=None, event_id=None)
    return replace(
        answer,
        models=(*answer.models, SCORE_ADJUSTED),
        channels=pd.concat([answer.channels, rows.drop(columns="harvests")], ignore_index=True),
        touches=pd.concat([answer.touches, touches], ignore_index=True),
        anyway={SCORE_ADJUSTED: anyway},
        harvests=tuple(rows.loc[rows["harvests"], "channel"]),
    )


def wins_in(lake: Lake, settings: Settings, as_of: datetime, merged: pa.Table) -> pd.DataFrame:
    """Return lead_id, occurred_at and value_cents of each won deal, in the reporting currency."""
    how = settings.attribution
    asked = {"as_of": as_of, "won": settings.goal.won, "currency": how.currency, "rate_days": how.rate_days}
    asked |= {"records": merged["record"].to_pylist(), "survivors": merged["lead_id"].to_pylist()}
    with lake.connection(("stages", "rates")) as connection:
        wins: pd.DataFrame = connection.sql(VALUES, params=asked).to_arrow_table().to_pandas()
    unrated = wins[wins["unrated"].notna()].explode("unrated")
    if len(unrated):
        days = unrated["occurred_at"].dt.strftime("%Y-%m-%d").groupby(unrated["unrated"]).unique()
        unknown = "; ".join(f"{code} on {_some(days[code])}" for code in days.index)
        raise DataError(
            f"{unrated['lead_id'].nunique()} won deals are in {', '.join(days.index)}, and attribution.currency is "
            f"{how.currency}. No rate is known of {unknown}, nor of the {how.rate_days} days before. "
            f"Ingest them: touchstone ingest rates.csv, with day, currency and rate "
            f"(what one unit is worth in {how.currency}). Nothing was credited."
        )
    return wins.drop(columns="unrated")


def _some(days: Iterable[str]) -> str:
    """Return the first days, and how many more there are."""
    ordered = sorted(days)
    more = f" and {len(ordered) - SHOWN_DAYS} more days" if len(ordered) > SHOWN_DAYS else ""
    return ", ".join(ordered[:SHOWN_DAYS]) + more


def credit_rows(run: Run) -> pd.DataFrame:
    """Return what each touch or channel earned, and under each model a line that nobody did: they add up."""
    lines = [
        {"model": name, "channel": ANYWAY, **run.answer.anyway[name]} if name in run.answer.anyway
        else {"model": name, "channel": UNATTRIBUTED, **run.answer.unattributed}
        for name in run.answer.models
    ]  # fmt: skip
    return pd.concat([run.answer.touches, pd.DataFrame(lines).astype({"value": object})], ignore_index=True)


def store(lake: Lake, run: Run) -> None:
    """Append a run's credit to the lake, unless it is there already."""
    if lake.query("SELECT 1 FROM credits WHERE run_id = $1 LIMIT 1", [run.run_id]).num_rows:
        return
    rows = credit_rows(run).assign(run_id=run.run_id, conversion=CONVERSION).reindex(columns=schema("credits").names)
    lake.append("credits", pa.Table.from_pandas(rows, schema("credits"), preserve_index=False))


def attribute_paths(file: Path, settings: Settings, models: Sequence[str] = ()) -> Run:
    """Credit the channels of a file of aggregated paths; needs no lake.

    Raises:
        DataError: naming everything that is wrong with the file or the models.

    """
    how = settings.attribution
    named = list(models) or how.models
    content = hashlib.sha256(file.read_bytes()).hexdigest()
    return Run(
        run_id(content, how.model_dump(), named),
        credit(path_parts(file), named, how.half_life_days, own=own_rules(settings)),
    )
