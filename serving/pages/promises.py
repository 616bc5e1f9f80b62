"""What stored scores promised, and what came of it: tables of the book, by week and by band of probability."""

from __future__ import annotations

PROMISED = """
    SELECT lead_id, as_of, probability, until <= $as_of AS mature, won_at > as_of AND won_at <= until AS won
    FROM (SELECT *, as_of + horizon_days * INTERVAL 1 DAY AS until FROM scores WHERE goal IS NULL AND as_of <= $as_of)
    JOIN (SELECT lead_id, won_at FROM book) USING (lead_id)
"""
PROMISES = f"""
    CREATE TABLE promises AS
    SELECT CAST(date_trunc('week', as_of) AS DATE) AS week, count(*) AS leads, sum(probability) AS promised,
           count(*) FILTER (mature) AS matured, count(*) FILTER (mature AND won) AS won
    FROM ({PROMISED}) GROUP BY week
"""
# The scores of one lead share its fate, so that what came true is as unsure as so few leads make it.
KEPT = f"""
    CREATE TABLE kept AS
    WITH of_lead AS (
        SELECT least(floor(probability * 20), 19) / 20 AS band, count(*) AS scores, sum(probability) AS expected,
               count(*) FILTER (won) AS wins
        FROM ({PROMISED}) WHERE mature GROUP BY band, lead_id),
    told AS (
        SELECT *, sum(wins) OVER one / sum(scores) OVER one AS realised FROM of_lead
        WINDOW one AS (PARTITION BY band))
    SELECT band, sum(expected) / sum(scores) AS promised, realised, sum(scores) AS leads,
           sqrt(sum((wins - scores * realised) ** 2)) / sum(scores) AS error
    FROM told GROUP BY band, realised
"""
