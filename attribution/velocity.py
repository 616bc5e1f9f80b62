"""Velocity: how many days leads take from their first touch to each stage, and from one stage to the next.

Days are told of those who have come so far. A young cohort shows its quick ones only, so each line also says of how
many leads it is: where few of them have come, wait before you call the cohort quick.
"""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from attribution.deals import LEAD, owner, stage_changes, touches_in
from features.lake import Lake
from features.settings import Settings
from features.versions import MERGED, WHOLE_SINCE

FIRST_TOUCH = "first touch"
ALL = "(all)"
NAMED = "SELECT event_id, campaign FROM touches SEMI JOIN first USING (event_id) WHERE campaign <> ''"
LEVELS = (2, 15)  # of an attribute that leads are told apart by: at least, and at most
TRAITS = f"""
    WITH whole AS (SELECT lead_id, {WHOLE_SINCE} AS since FROM leads WHERE observed_at < $as_of GROUP BY lead_id),
    known AS (
        SELECT lead_id, {MERGED} AS attributes FROM leads JOIN whole USING (lead_id)
        WHERE observed_at < $as_of AND observed_at >= coalesce(since, observed_at) GROUP BY lead_id),
    pairs AS (SELECT lead_id, attributes, unnest(json_keys(attributes)) AS name FROM known)
    SELECT lead_id, name, json_extract_string(attributes, '$."' || name || '"') AS value FROM pairs
"""


def velocity(lake: Lake, settings: Settings, as_of: datetime) -> pd.DataFrame:
    """Return medians: by, name, before, stage, days, leads (who came so far) and of (all with a first touch).

    By is all, channel, campaign or month, each of the first touch, or an attribute with few levels. A stage is told by
    its first entry; the creation of a lead is the stage lead. Who was touched only after a stage is left out of the
    days to it.

    Raises:
        DataError: when no lead was touched.

    """
    touches, whose = touches_in(lake, settings, as_of)
    touches = touches[touches["lead_id"].notna()]
    first = touches.sort_values(["occurred_at", "event_id"]).drop_duplicates("lead_id").set_index("lead_id")
    steps = _steps(_entered(lake, settings, as_of, whose), first["occurred_at"])
    groups = _groups(lake, first, as_of, whose)
    came = steps.merge(groups, on="lead_id")
    told = came.groupby(["by", "name", "before", "stage"])["days"].agg(days="median", leads="size").reset_index()
    of = groups.groupby(["by", "name"]).size().rename("of")
    return told.merge(of, on=["by", "name"])


def _entered(lake: Lake, settings: Settings, as_of: datetime, whose: dict[str, str]) -> pd.DataFrame:
    """Return lead_id, stage and occurred_at of each lead's first entry, in order."""
    changes = stage_changes(lake, settings, as_of, whose)
    entered = changes.groupby(["lead_id", "stage"])["occurred_at"].min().reset_index()
    later = entered["stage"] != LEAD  # what happens as the lead is created comes after that
    ordered = entered.assign(later=later).sort_values(["lead_id", "occurred_at", "later", "stage"])
    return ordered.drop(columns="later").reset_index(drop=True)


def _steps(entered: pd.DataFrame, first_touch: pd.Series) -> pd.DataFrame:
    """Return lead_id, before, stage and days: from the first touch, and from the stage before."""
    of_lead = entered.groupby("lead_id")
    stage_before, left_at = of_lead["stage"].shift(), of_lead["occurred_at"].shift()
    touched_at = entered["lead_id"].map(first_touch)
    both = pd.concat([entered.assign(before=FIRST_TOUCH, since=touched_at),
                      entered.assign(before=stage_before, since=left_at)])  # fmt: skip
    days = (both["occurred_at"] - both["since"]).dt.total_seconds() / 86_400
    return both.assign(days=days)[(days >= 0) & both["before"].notna()][["lead_id", "before", "stage", "days"]]


def _groups(lake: Lake, first: pd.DataFrame, as_of: datetime, whose: dict[str, str]) -> pd.DataFrame:
    """Return by, name and lead_id: a row a lead with a first touch and each way to tell it from others."""
    with lake.connection(("touches", "leads")) as connection:
        connection.register("first", first[["event_id"]])
        campaign = connection.sql(NAMED).to_arrow_table().to_pandas().set_index("event_id")["campaign"]
        traits: pd.DataFrame = connection.sql(TRAITS, params={"as_of": as_of}).to_arrow_table().to_pandas()
    names = {"all": ALL, "channel": first["channel"], "campaign": first["event_id"].map(campaign),
             "month": first["occurred_at"].dt.strftime("%Y-%m")}  # fmt: skip
    by_touch = [pd.DataFrame({"by": by, "name": name}, index=first.index).reset_index() for by, name in names.items()]
    lead_id = owner(traits["lead_id"], whose).astype("str")
    traits = traits.assign(lead_id=lead_id, lent=lead_id != traits["lead_id"]).sort_values("lent", kind="stable")
    traits = traits.drop(columns="lent").rename(columns={"name": "by", "value": "name"})  # a lead's own are the first
    levels = traits.groupby("by")["name"].transform("nunique")
    traits = traits[levels.between(*LEVELS) & traits["lead_id"].isin(first.index) & ~traits["by"].isin(names)]
    return pd.concat([*by_touch, traits]).dropna(subset="name").drop_duplicates(["by", "lead_id"])
