"""Open pipeline: what deals that are neither won nor lost promise, by channel, and what came of earlier promises.

Each open lead is expected to bring p × amount: its latest stored score of the goal's horizon, and the latest amount
that its stages name. A rule shares that out as it would a win. Once the lead is won, lost or scored anew, the promise
is trued up: what came is set beside what had been promised of the same leads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from attribution.credit import Attribution, credit
from attribution.deals import journeys_of, open_amounts, owner, touches_in, values
from attribution.journeys import Journeys
from attribution.rules import RULES, own_rules
from attribution.runs import READ, UNATTRIBUTED, Run, run_id, stored_rows
from features.errors import ConfigError, DataError
from features.lake import Lake
from features.settings import Settings

OPEN = "open"  # in the place of a stage, in stored credit
SCORED = """
    WITH latest AS (
        SELECT lead_id, arg_max(probability, as_of) AS probability FROM scores
        WHERE goal IS NULL AND as_of <= $as_of AND horizon_days = $days GROUP BY lead_id)
    SELECT * FROM latest WHERE lead_id NOT IN (
        SELECT lead_id FROM stages WHERE greatest(occurred_at, received_at) < $as_of
                                         AND stage IN (SELECT unnest($ended::VARCHAR[])))
"""
COLUMNS = ["promised", "decided", "came", "difference", "open", "unpriced"]


@dataclass(frozen=True)
class Pipeline(Run):
    """A run over what is open."""

    leads: int = 0
    without_amount: int = 0  # leads whose stages name no amount: they are expected to close, not to bring money
    horizon_days: float = 0

    @property
    def decision(self) -> None:
        """Return none: what open deals promise, most of it of no paid channel, says nothing of what money brought."""

    def summary(self) -> dict[str, Any]:
        """Return the run for JSON; credit is closes that are expected, and value what they would bring."""
        expected = {"leads": self.leads, "without_amount": self.without_amount, "horizon_days": self.horizon_days}
        return {**super().summary(), "pipeline": expected}


def pipeline(lake: Lake, settings: Settings, as_of: datetime, models: Sequence[str] = ()) -> Pipeline:
    """Credit the channels with what open leads are expected to bring.

    Raises:
        ConfigError: when a model is none of the rules, so that no lead's promise could be trued up.
        DataError: when no open lead has a score.

    """
    rules = {**RULES, **own_rules(settings)}
    named = list(models) or [name for name in settings.attribution.models if name in rules]
    other = [name for name in named if name not in rules]
    if other or not named:
        wrong = f"{', '.join(other)} cannot credit single open leads" if other else "attribution.models names no rule"
        raise ConfigError(f"{wrong}, and only rules credit open pipeline. Ask for one, such as --model linear.")
    versions = {name: version for name, version in lake.versions().items() if name in READ}
    then = Lake(lake.folder, versions)
    seen, without_amount = _promised(then, settings, as_of)
    identity = run_id(OPEN, versions, settings.goal.model_dump(), settings.attribution.model_dump(), named,
                      as_of.isoformat())  # fmt: skip
    answer = credit(seen, named, settings.attribution.half_life_days, own=own_rules(settings))
    days = settings.goal.horizon_days
    return Pipeline(identity, _by_lead(answer, seen), OPEN, {}, len(seen.conversions), without_amount, days)


def trued_up(lake: Lake, settings: Settings, as_of: datetime, run: str) -> pd.DataFrame:
    """Return what became of a stored pipeline: model, channel, promised, decided, came, difference, open, unpriced.

    Promised is all it had promised; decided the part of leads that have been won or lost since; came what their wins
    brought, as the same models credit them now; difference the two's; open what those still open promise now. Unpriced
    is what came of leads that named no amount then: nothing had been promised of them, so they break no promise.

    Raises:
        DataError: when no such pipeline is stored.

    """
    rows = stored_rows(lake, run)
    rows = rows[rows["conversion"] == OPEN]
    if rows.empty:
        raise DataError(f"Run {run} is no stored pipeline. touchstone attribute --pipeline stores one.")
    models = list(dict.fromkeys(rows["model"]))
    touches, whose = touches_in(lake, settings, as_of)
    wins = values(lake, settings, as_of, whose)
    ended = journeys_of(touches, wins, lake, settings, as_of, whose)
    now = pipeline(lake, settings, as_of, models).answer.touches
    own = own_rules(settings)
    came = _by_lead(credit(ended, models, settings.attribution.half_life_days, own=own), ended).touches
    promised, now, came = (part.assign(lead_id=owner(part["lead_id"], whose))
                           for part in (rows, now, came))  # fmt: skip
    still, ours = promised["lead_id"].isin(now["lead_id"]), set(promised["lead_id"])
    priced = set(promised["lead_id"][promised["value"] != 0])
    told = {"promised": promised, "decided": promised[~still], "came": came[came["lead_id"].isin(priced)],
            "open": now[now["lead_id"].isin(ours)], "unpriced": came[came["lead_id"].isin(ours - priced)]}  # fmt: skip
    sums = [part.astype({"value": "float64"}).groupby(["model", "channel"])["value"].sum().rename(name)
            for name, part in told.items()]  # fmt: skip
    table = pd.concat(sums, axis=1).fillna(0.0)
    return table.assign(difference=table["came"] - table["decided"]).sort_index()[COLUMNS].reset_index()


def _promised(lake: Lake, settings: Settings, as_of: datetime) -> tuple[Journeys, int]:
    """Return the journeys of open leads so far, each with what it is expected to bring; how many lack an amount."""
    touches, whose = touches_in(lake, settings, as_of)
    goal = settings.goal
    asked = {"as_of": as_of, "days": goal.horizon_days, "ended": [*goal.won, *goal.lost]}
    with lake.connection(("scores", "stages")) as connection:
        scored: pd.DataFrame = connection.sql(SCORED, params=asked).to_arrow_table().to_pandas()
    if scored.empty:
        raise DataError(
            f"No open lead has a stored score of {goal.horizon_days:g} days. Run touchstone score first: p × amount "
            "asks for p."
        )
    scored["lead_id"] = owner(scored["lead_id"], whose)
    expected = scored.merge(open_amounts(lake, settings, as_of, whose), on="lead_id", how="left")
    expected["worth"] = expected["probability"] * expected["value_cents"].fillna(0)
    best = expected.sort_values(["worth", "probability"]).drop_duplicates("lead_id", keep="last").set_index("lead_id")
    ends = pd.DataFrame({"lead_id": best.index, "occurred_at": pd.Timestamp(as_of), "value_cents": 0})
    ends = ends.astype({"occurred_at": touches["occurred_at"].dtype})
    ours = touches[touches["lead_id"].isin(best.index)]
    seen = journeys_of(ours, ends, lake, settings, as_of, whose)
    best = best.reindex(ends["lead_id"].sort_values())  # as journeys are
    return replace(
        seen,
        conversions=best["probability"].to_numpy(np.float64),
        value_cents=np.rint(best["worth"].to_numpy(np.float64)).astype(np.int64),
    ), int(best["value_cents"].isna().sum())


def _by_lead(answer: Attribution, seen: Journeys) -> Attribution:
    """Return an answer whose touches also hold, lead by lead, what nobody earned; so every promise can be trued up."""
    bare = ~seen.touched & (seen.conversions > 0)
    if not bare.any() or seen.lead_id is None:
        return answer
    value = [Decimal(cents).scaleb(-2) for cents in seen.value_cents[bare].tolist()]
    nobody = pd.DataFrame({"lead_id": seen.lead_id[bare], "channel": UNATTRIBUTED, "credit": seen.conversions[bare],
                           "value": value})  # fmt: skip
    rows = [nobody.assign(model=model) for model in answer.models]
    return replace(answer, touches=pd.concat([answer.touches, *rows], ignore_index=True))
