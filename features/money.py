"""Money: what won deals are worth in the reporting currency, refunds taken back, and what was spent.

A lead's deal is its first stage in ``goal.won`` whose amount is not negative; ``EVERY_VALUE`` takes each of them. A
refund is a stage called "refund", whatever its sign, or a stage in ``goal.won`` with a negative amount: it takes back
from the deal before it and is no close of its own. It is worth the rate of the day of the win, as what it takes back
was, so a full refund leaves 0.00. What two contacts of an account state of one moment is stated once.

An amount without a currency is in the reporting one; a refund without one is in that of its deal. A rate is that of the
day, else the latest of a stated number of days before; without any, an amount has no worth, and none is guessed.

Of several statements of what one day, channel and campaign cost, the one received last counts.
"""

from __future__ import annotations

from collections.abc import Sequence

FIRST_ONLY = "QUALIFY row_number() OVER (PARTITION BY lead_id ORDER BY occurred_at, row_hash) = 1"
STATED_ONCE = (
    "QUALIFY row_number() OVER (PARTITION BY lead_id, occurred_at, stage, amount, currency ORDER BY row_hash) = 1"
)
IS_REFUND = "(lower(stage) = 'refund' OR stage IN (SELECT unnest($won::VARCHAR[])) AND amount < 0)"
DEALS = f"""
    known AS (FROM stages WHERE greatest(occurred_at, received_at) < $as_of),
    wins AS (
        FROM known WHERE stage IN (SELECT unnest($won::VARCHAR[])) AND NOT coalesce({IS_REFUND}, false)
        {FIRST_ONLY}),
    refunds AS (FROM known WHERE coalesce({IS_REFUND}, false) {STATED_ONCE})
"""
ORPHANED = f"""
    WITH {DEALS} SELECT refunds.lead_id FROM refunds LEFT JOIN wins USING (lead_id)
    WHERE wins.lead_id IS NULL OR refunds.occurred_at < wins.occurred_at
"""  # refunds of no deal
SURVIVORS = """
    merged AS (SELECT unnest($records::VARCHAR[]) AS lead_id, unnest($survivors::VARCHAR[]) AS survivor),
    stages AS (SELECT s.* REPLACE (coalesce(survivor, lead_id) AS lead_id)
               FROM main.stages AS s LEFT JOIN merged USING (lead_id))
"""  # a merged record's stages are those of the lead that it turned out to be
WORTH = """
    amounts AS (
        SELECT lead_id, occurred_at, currency, coalesce(amount, 0) AS amount FROM wins
        UNION ALL
        SELECT refunds.lead_id, wins.occurred_at, coalesce(refunds.currency, wins.currency),
               -abs(coalesce(refunds.amount, 0))
        FROM refunds ASOF JOIN wins ON refunds.lead_id = wins.lead_id AND refunds.occurred_at >= wins.occurred_at),
    dated AS (SELECT *, CAST(occurred_at AS DATE) AS day FROM amounts),
    rated AS (
        SELECT dated.*, CASE WHEN coalesce(dated.currency, $currency) = $currency OR amount = 0 THEN 1
                             WHEN dated.day - rates.day <= $rate_days THEN rates.rate END AS rate
        FROM dated ASOF LEFT JOIN rates ON dated.currency = rates.currency AND dated.day >= rates.day)
    SELECT lead_id, occurred_at,
           CAST(sum(round(amount * CAST(rate AS DECIMAL(20, 12)), 2) * 100) AS BIGINT) AS value_cents,
           list(DISTINCT currency ORDER BY currency) FILTER (WHERE rate IS NULL) AS unrated
    FROM rated GROUP BY lead_id, occurred_at
"""
VALUES = f"WITH {SURVIVORS}, {DEALS}, {WORTH}"  # one row a deal: its worth, and its currencies of unknown rate
EVERY_VALUE = f"WITH {SURVIVORS}, {DEALS.replace(FIRST_ONLY, STATED_ONCE)}, {WORTH}"  # one row a moment of deals
CREATED = """
    (SELECT lead_id, $won[1] AS stage, min(created_at) AS occurred_at, min(observed_at) AS received_at,
            NULL::DECIMAL(18, 4) AS amount, NULL::VARCHAR AS currency, lead_id AS row_hash FROM leads GROUP BY lead_id)
"""  # in place of main.stages: that a lead came into being is a stage, too
OPEN = f"""
    WITH {SURVIVORS},
    known AS (FROM stages WHERE greatest(occurred_at, received_at) < $as_of),
    wins AS (
        SELECT lead_id, $as_of::TIMESTAMPTZ AS occurred_at, currency, amount FROM known
        WHERE amount IS NOT NULL AND lead_id NOT IN (SELECT lead_id FROM known WHERE stage IN (
            SELECT unnest($ended::VARCHAR[])))
        QUALIFY row_number() OVER (PARTITION BY lead_id ORDER BY known.occurred_at DESC, row_hash) = 1),
    refunds AS (FROM known WHERE false), {WORTH}
"""  # what a deal that is still open would bring: the latest amount that was named, at the rate of the day
SPEND = """
    SELECT day, channel, campaign, currency, cost FROM spend WHERE received_at < $as_of
    QUALIFY row_number() OVER (PARTITION BY day, channel, campaign, currency ORDER BY received_at DESC, row_hash) = 1
"""
COSTS = f"""
    WITH stated AS ({SPEND}),
    rated AS (
        SELECT stated.*, CASE WHEN stated.currency = $currency OR cost = 0 THEN 1
                              WHEN stated.day - rates.day <= $rate_days THEN rates.rate END AS rate
        FROM stated ASOF LEFT JOIN rates ON stated.currency = rates.currency AND stated.day >= rates.day)
    SELECT day, channel, campaign, currency,
           CAST(round(cost * CAST(rate AS DECIMAL(20, 12)), 2) * 100 AS BIGINT) AS cost_cents
    FROM rated ORDER BY day, channel, campaign, currency
"""  # what was spent, at the rate of its day as values are; without cost_cents where no rate is known
UNTOLD_COST = "what their channels cost, and all together, is not told"
KNOWN_COST = "if(count(cost) = count(*), sum(cost), NULL)"  # a sum without what has no rate would be too small


def unpriced(number: int, what: str, currencies: Sequence[str], so: str, reporting: str) -> str:
    """Return a sentence on amounts of which no rate is known, and what is told instead; nothing, if there are none."""
    if not number:
        return ""
    return (
        f"No rate is known of {number:,} {what}{'' if number == 1 else 's'} in {', '.join(currencies)}: {so}. "
        f"Ingest rates.csv, with day, currency and rate (what one unit is worth in {reporting})."
    )
