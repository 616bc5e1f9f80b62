"""Deals: what the lake knows of touches, of the stages that they may have led to, and of what these were worth.

A journey ends where its lead, or its account, enters the stage that is asked about (``attribution.stage``): won as
``[goal]`` says, opportunity, the creation of the lead, or a stage of any name. Of an account, the touches of all its
contacts are one journey; what two of them hold counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from attribution.journeys import WON, Journeys, journeys
from attribution.rules import RULES, own_rules
from attribution.transforms import sessions, transformed
from features.errors import DataError
from features.history import microseconds
from features.identities import touches_of_leads
from features.lake import Lake
from features.money import CREATED, EVERY_VALUE, OPEN, VALUES
from features.settings import Settings

LEAD, OPPORTUNITY = "lead", "opportunity"  # milestones
ACCOUNT = "account "  # before the account_id, so that no lead is called like it
AFTER_SCORE = " (after score)"  # behind the channel of outreach that a score has asked for
BEST = "A"  # grade that sales calls first
CHANGES = """
    SELECT lead_id, 'lead' AS stage, min(created_at) AS occurred_at FROM leads
    WHERE created_at < $as_of GROUP BY lead_id
    UNION ALL
    SELECT lead_id, CASE WHEN stage IN (SELECT unnest($opportunity::VARCHAR[])) THEN 'opportunity' ELSE stage END,
           occurred_at
    FROM stages WHERE greatest(occurred_at, received_at) < $as_of
"""
ACCOUNTS = """
    SELECT lead_id, arg_max(account_id, observed_at) AS account_id FROM leads
    WHERE observed_at < $as_of AND account_id IS NOT NULL GROUP BY lead_id
"""
GRADED = """
    SELECT lead_id, as_of AS graded_at FROM scores
    WHERE grade = $1 AND as_of < $2 AND goal IS NULL AND NOT coalesce(withheld, false)
"""
SHOWN_DAYS = 3  # of those without a rate, by currency


def journeys_in(lake: Lake, settings: Settings, as_of: datetime) -> tuple[Journeys, pd.DataFrame]:
    """Return the journeys to the stage asked about, as known before ``as_of``, and its entries with their worth.

    Raises:
        DataError: when there is no touch, nobody entered the stage, or amounts are in a currency without a rate.

    """
    touches, whose = touches_in(lake, settings, as_of)
    wins = values(lake, settings, as_of, whose)
    return journeys_of(touches, wins, lake, settings, as_of, whose), wins


def journeys_of(
    touches: pd.DataFrame, ends: pd.DataFrame, lake: Lake, settings: Settings, as_of: datetime, whose: dict[str, str]
) -> Journeys:
    """Return the journeys of touches to given ends, in the window of the stage, with sessions and transforms."""
    how = settings.attribution
    window = how.windows_days.get(how.stage, how.lookback_days)
    stages = _stages(lake, settings, as_of, whose)
    found = journeys(touches, ends, pd.Timestamp(as_of), window, stages)
    return transformed(sessions(found, how.session_minutes) if how.session_minutes else found, how.transforms)


def touches_in(lake: Lake, settings: Settings, as_of: datetime) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the touches that may earn credit, and whose journey each record's is: its lead's, or its account's.

    Raises:
        DataError: when there is none.

    """
    touches, whose = earning(lake, settings, as_of)
    refuse_untouched(len(touches))
    return touches, whose


def refuse_untouched(touches: int) -> None:
    """Refuse to credit channels of a lake without touches.

    Raises:
        DataError: when there are none.

    """
    if not touches:
        raise DataError("The lake holds no touches of leads. Ingest some first: touchstone ingest touches.csv.")


def earning(lake: Lake, settings: Settings, as_of: datetime) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return what ``touches_in`` does, of a part of the leads, too, of whom there may be no touches."""
    how = settings.attribution
    found, merged = touches_of_leads(lake, microseconds(as_of))
    idle = pc.or_kleene(found["machine"], pc.is_in(found["kind"], pa.array(how.exclude_kinds, pa.string())))
    touches: pd.DataFrame = found.filter(pc.invert(idle.fill_null(False))).drop_columns("machine").to_pandas()
    touches = _after_score(touches, lake, settings, as_of, _leads(merged))
    whose = owners(lake, settings, as_of, merged)
    if how.of == "account":
        touches["contact"] = touches["lead_id"]
        touches["lead_id"] = owner(touches["lead_id"], whose)
        touches = touches.drop_duplicates(["lead_id", "occurred_at", "kind", "channel"])
    return touches, whose


def values(lake: Lake, settings: Settings, as_of: datetime, whose: dict[str, str]) -> pd.DataFrame:
    """Return lead_id, occurred_at and value_cents of each entry of the stage, in the reporting currency.

    Raises:
        DataError: when a currency has no rate, or nobody entered a stage other than won.

    """
    how = settings.attribution
    found = entries(lake, settings, as_of, whose)
    if found.empty and how.stage != WON:
        known = {LEAD, *lake.query("SELECT DISTINCT stage FROM stages").to_pydict()["stage"]}
        raise DataError(
            f'No lead is known to have entered the stage "{how.stage}". Known are: {", ".join(sorted(known))}.'
        )
    return found


def entries(lake: Lake, settings: Settings, as_of: datetime, whose: dict[str, str]) -> pd.DataFrame:
    """Return what ``values`` does, of a part of the leads, too, of whom nobody may have entered the stage.

    Raises:
        DataError: when a currency has no rate.

    """
    how = settings.attribution
    named = {WON: settings.goal.won, OPPORTUNITY: how.opportunity}.get(how.stage, [how.stage])
    sql = EVERY_VALUE if how.repeated else VALUES
    sql = sql.replace("main.stages", CREATED) if how.stage == LEAD else sql
    return _rated(lake, settings, sql, {"as_of": as_of, "won": named}, whose)


def open_amounts(lake: Lake, settings: Settings, as_of: datetime, whose: dict[str, str]) -> pd.DataFrame:
    """Return lead_id and value_cents of what deals that are neither won nor lost would bring.

    Raises:
        DataError: when a currency has no rate.

    """
    ended = [*settings.goal.won, *settings.goal.lost]
    return _rated(lake, settings, OPEN, {"as_of": as_of, "ended": ended}, whose)[["lead_id", "value_cents"]]


def _rated(lake: Lake, settings: Settings, sql: str, asked: dict[str, object], whose: dict[str, str]) -> pd.DataFrame:
    how = settings.attribution
    asked |= {"currency": how.currency, "rate_days": how.rate_days}
    asked |= {"records": list(whose), "survivors": list(whose.values())}
    with lake.connection(("leads", "stages", "rates")) as connection:
        wins: pd.DataFrame = connection.sql(sql, params=asked).to_arrow_table().to_pandas()
    unrated = wins[wins["unrated"].notna()].explode("unrated")
    if len(unrated):
        days = unrated["occurred_at"].dt.strftime("%Y-%m-%d").groupby(unrated["unrated"]).unique()
        unknown = "; ".join(f"{code} on {_some(days[code])}" for code in days.index)
        raise DataError(
            f"{unrated['lead_id'].nunique()} deals are in {', '.join(days.index)}, and attribution.currency is "
            f"{how.currency}. No rate is known of {unknown}, nor of the {how.rate_days} days before. "
            f"Ingest them: touchstone ingest rates.csv, with day, currency and rate "
            f"(what one unit is worth in {how.currency}). Nothing was credited."
        )
    return wins.drop(columns="unrated")


def _some(days: Sequence[str]) -> str:
    """Return the first days, and how many more there are."""
    ordered = sorted(days)
    more = f" and {len(ordered) - SHOWN_DAYS} more days" if len(ordered) > SHOWN_DAYS else ""
    return ", ".join(ordered[:SHOWN_DAYS]) + more


def _stages(lake: Lake, settings: Settings, as_of: datetime, whose: dict[str, str]) -> pd.DataFrame:
    """Return the changes to the stages that a rule names."""
    changes = stage_changes(lake, settings, as_of, whose)
    known = [{LEAD, OPPORTUNITY, *rule.stages} - {"rest"} for rule in [*RULES.values(), *own_rules(settings).values()]]
    return changes[changes["stage"].isin(set().union(*known))]


def stage_changes(lake: Lake, settings: Settings, as_of: datetime, whose: dict[str, str]) -> pd.DataFrame:
    """Return lead_id, stage and occurred_at of changes of stage; a lead's creation is the stage lead."""
    asked = {"as_of": as_of, "opportunity": settings.attribution.opportunity}
    with lake.connection(("stages", "leads")) as connection:
        changes: pd.DataFrame = connection.sql(CHANGES, params=asked).to_arrow_table().to_pandas()
    return changes.assign(lead_id=owner(changes["lead_id"], whose).astype("str"))


def owners(lake: Lake, settings: Settings, as_of: datetime, merged: pa.Table) -> dict[str, str]:
    """Return whose journey each merged ``record``'s is, and each lead's that has an account, if accounts are asked."""
    leads = _leads(merged)
    return _accounts(lake, as_of, leads) if settings.attribution.of == "account" else leads


def _leads(merged: pa.Table) -> dict[str, str]:
    return dict(zip(merged["record"].to_pylist(), merged["lead_id"].to_pylist(), strict=True))


def _accounts(lake: Lake, as_of: datetime, whose: dict[str, str]) -> dict[str, str]:
    """Return whose journey each record's is, if those of an account are one: the latest account, or the lead itself."""
    with lake.connection(("leads",)) as connection:
        rows = connection.sql(ACCOUNTS, params={"as_of": as_of}).to_arrow_table().to_pylist()
    account = {row["lead_id"]: ACCOUNT + row["account_id"] for row in rows}
    return {record: account.get(lead, lead) for record, lead in {**{lead: lead for lead in account}, **whose}.items()}


def owner(lead_id: pd.Series, whose: dict[str, str]) -> pd.Series:
    """Return whose journey each record's is, as ``owners`` tells it; of one that is not named there, its own."""
    return lead_id.map(lambda lead: whose.get(lead, lead))


def _after_score(
    touches: pd.DataFrame, lake: Lake, settings: Settings, as_of: datetime, whose: dict[str, str]
) -> pd.DataFrame:
    """Return touches with the score's own outreach marked: what sales did soon after the score had put a lead first."""
    how = settings.attribution
    with lake.connection(("scores",)) as connection:
        graded: pd.DataFrame = connection.sql(GRADED, params=[BEST, as_of]).to_arrow_table().to_pandas()
    ours = touches["kind"].isin(how.outreach_kinds) & touches["lead_id"].notna()
    if graded.empty or not ours.any():
        return touches
    graded = graded.assign(lead_id=owner(graded["lead_id"], whose)).astype({"graded_at": touches["occurred_at"].dtype})
    asked = pd.merge_asof(
        touches[ours].reset_index().sort_values("occurred_at"),
        graded.astype({"lead_id": touches["lead_id"].dtype}).sort_values("graded_at"),
        left_on="occurred_at",
        right_on="graded_at",
        by="lead_id",
        tolerance=pd.Timedelta(days=how.outreach_days),
    ).dropna(subset="graded_at")
    marked = touches["channel"].where(~touches.index.isin(asked["index"]), touches["channel"] + AFTER_SCORE)
    return touches.assign(channel=marked)
