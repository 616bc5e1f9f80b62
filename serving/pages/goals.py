"""Goals: what is aimed at, side by side, from the first deal to the renewal: who may reach what, and how probably."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from features.settings import Settings
from serving.pages.book import Edition
from serving.pages.site import Form, Site
from serving.words import plain

SHOWN = 50  # leads
MAIN = ""
# Scored last: whoever was scored with the latest batch of a goal; who is won or lost for it is scored no more.
LATEST = """
    latest AS (SELECT goal, max(scored_at) AS scored_at FROM pursued GROUP BY goal),
    now_open AS (SELECT pursued.* FROM pursued JOIN latest USING (goal)
                 WHERE pursued.scored_at > latest.scored_at - INTERVAL 1 DAY)
"""
AIMS = f"""
    WITH {LATEST}
    SELECT goal, count(*) AS leads, avg(probability) AS mean, sum(probability) AS expected,
           any_value(horizon_days) AS horizon_days, max(scored_at) AS scored_at,
           arg_max(model_version, scored_at) AS model_version
    FROM now_open GROUP BY goal
"""
SIDE_BY_SIDE = f"""
    WITH {LATEST}
    SELECT lead_id, any_value(name) AS name, any_value(company) AS company,
           max(probability) FILTER (NOT coalesce(withheld, false)) AS best,
           map_from_entries(list({{'k': goal, 'v': CASE WHEN withheld THEN NULL ELSE probability END}})) AS chances
    FROM now_open LEFT JOIN people USING (lead_id)
    GROUP BY lead_id ORDER BY count(*) DESC, best DESC NULLS LAST, lead_id LIMIT {SHOWN}
"""
REACHED = "SELECT count(DISTINCT lead_id) AS leads FROM moves WHERE list_contains($stages, stage)"


def aims(edition: Edition, settings: Settings) -> list[dict[str, Any]]:
    """Return a row for each goal, the main one first: its open leads, what is expected of them, and what was reached.

    ``expected`` is how many of the open leads will reach the goal within its horizon, if every promise is true.
    """
    scored = {row["goal"]: row for row in edition.rows(AIMS)}
    found = []
    for name, goal in {MAIN: settings.goal, **settings.goals}.items():
        ((reached),) = edition.rows(REACHED, {"stages": tuple(goal.won)})
        row = scored.get(name, {"leads": 0, "mean": None, "expected": 0.0, "scored_at": None, "model_version": None})
        found.append({
            **row, "goal": name or goal.won[0], "is_main": not name, "won": goal.won, "after": goal.after,
            "horizon_days": goal.horizon_days, "reached": reached["leads"],
        })  # fmt: skip
    return found


def goals(site: Site, request: Request, _form: Form) -> Response:
    """Show the page."""
    edition, settings = site.book.edition(site.clock()), site.desk.settings
    if edition is None:
        return site.show(request, "wait.html")
    rows = [row | {"chances": dict(row["chances"])} for row in edition.rows(SIDE_BY_SIDE)]
    named = [(name, plain(name or settings.goal.won[0])) for name in (MAIN, *settings.goals)]
    return site.show(request, "goals.html", aims=aims(edition, settings), named=named, rows=rows, as_of=edition.as_of)
