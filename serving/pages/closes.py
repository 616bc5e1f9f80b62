"""Closes: the deals that attribution credits, who earned them, what open ones had promised, and what was spent.

A deal is one of its owner's: of the lead, or of the account, if the touches of all its contacts are one journey. It is
shown as the deal of the lead who entered the stage, so what several contacts tell of one deal counts once.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from features.money import COSTS, EVERY_VALUE, VALUES
from features.settings.credit import Attribution

CLOSES = """
    CREATE TABLE closes AS
    SELECT worth.lead_id AS owner, won_at, min(coalesce(merged.lead_id, stages.lead_id)) AS lead_id,
           any_value(value_cents) / 100.0 AS value
    FROM (SELECT lead_id, occurred_at AS won_at, value_cents FROM ($worth)) AS worth
    JOIN (SELECT stages.*, coalesce(owner, lead_id) AS owner FROM stages LEFT JOIN owned ON record = lead_id) AS stages
        ON stages.owner = worth.lead_id AND occurred_at = won_at AND stage IN (SELECT unnest($won::VARCHAR[]))
    LEFT JOIN merged ON merged.record = stages.lead_id GROUP BY ALL
"""
CREDIT = """
    CREATE TABLE credit AS
    WITH earned AS (
        SELECT credits.*, coalesce(owner, credits.lead_id) AS owner, campaign, occurred_at,
               coalesce(occurred_at, '-infinity'::TIMESTAMPTZ) AS since
        FROM credits LEFT JOIN owned ON record = credits.lead_id
        LEFT JOIN (SELECT event_id, campaign, occurred_at FROM touches
                   SEMI JOIN (SELECT event_id FROM credits WHERE run_id = $run) USING (event_id)) AS touched
            ON touched.event_id = credits.event_id
        WHERE run_id = $run)
    SELECT model, coalesce(closes.lead_id, earned.lead_id) AS lead_id, channel, coalesce(campaign, '') AS campaign,
           CAST(occurred_at AS DATE) AS touched_on, won_at, hash(earned.owner) % 100 AS bucket,
           sum(credit) AS credit, CAST(sum(earned.value) AS DOUBLE) AS value
    FROM earned ASOF LEFT JOIN closes ON earned.owner = closes.owner AND earned.since <= closes.won_at GROUP BY ALL
"""  # a touch earned of the next close
PLEDGED = """
    CREATE TABLE pledged AS
    SELECT model, coalesce(closed.lead_id, merged.lead_id, credits.lead_id) AS lead_id, channel,
           CAST(sum(value) AS DOUBLE) AS value
    FROM credits LEFT JOIN merged ON merged.record = credits.lead_id LEFT JOIN owned ON owned.record = credits.lead_id
    LEFT JOIN (SELECT owner, arg_min(lead_id, won_at) AS lead_id FROM closes GROUP BY owner) AS closed
        ON closed.owner = coalesce(owned.owner, credits.lead_id)
    WHERE run_id = $pledged GROUP BY ALL
"""
SPENT = f"""
    CREATE TABLE spent AS
    SELECT day, channel, coalesce(campaign, '') AS campaign, currency, cost_cents / 100 AS cost FROM ({COSTS})
"""


def owned(whose: Mapping[str, str]) -> pa.Table:
    """Return whose deals the records' are, as ``attribution.deals.owners`` tells it; others are their own."""
    told = {"record": list(whose), "owner": list(whose.values())}
    return pa.table(told, pa.schema([("record", pa.string()), ("owner", pa.string())]))


def worth(how: Attribution) -> str:
    """Return the query of what deals were worth: each, or the first of every owner."""
    return EVERY_VALUE if how.repeated else VALUES
