"""Alignment: what marketing passed on, what sales made of it, and whether the score kept its word. For both."""

from __future__ import annotations

from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from features.settings import Goal
from serving.pages import drawing
from serving.pages.book import Edition
from serving.pages.choice import CAMPAIGN, PERIODS, SEGMENT, Choice, chosen
from serving.pages.site import Form, Site, asked
from serving.pages.words import NOTHING, number, percent, span
from serving.words import plain

PASSED = ("mql", "marketingqualifiedlead", "sal", "sql")  # the first of these that the lake knows is the hand-over
HOT = 0.2  # probability when first scored, from which on a lead is hot
WEEKS = 12
WEEKLY_COUNTS = ("passed", "accepted", "rejected")
Row = dict[str, Any]

KNOWN_STAGES = "SELECT stage, count(*) AS leads FROM moves JOIN book USING (lead_id) GROUP BY stage"
FUNNEL = f"""
    SELECT stage, count(*) AS leads FROM moves JOIN book USING (lead_id)
    WHERE created_at >= $since AND {SEGMENT} AND {CAMPAIGN} GROUP BY stage
"""
CREATED = f"SELECT count(*) AS leads FROM book WHERE created_at >= $since AND {SEGMENT} AND {CAMPAIGN}"
PASSED_ON = f"""
    SELECT count(*) AS passed, count(*) FILTER (verdict = 'accepted') AS accepted,
           count(*) FILTER (verdict = 'rejected') AS rejected,
           median(epoch(sales_at - entered_at) / 86400) FILTER (sales_at >= entered_at) AS days,
           median(epoch(sales_at - entered_at) / 86400)
               FILTER (sales_at >= entered_at AND first_probability >= {HOT}) AS hot_days,
           count(*) FILTER (first_probability >= {HOT}) AS hot,
           count(*) FILTER (first_probability >= {HOT} AND coalesce(sales_at, won_at, lost_at) IS NULL) AS hot_waiting
    FROM moves JOIN book USING (lead_id) LEFT JOIN verdicts USING (lead_id)
    WHERE stage = $passed AND entered_at >= $since AND {SEGMENT} AND {CAMPAIGN}
"""
WHY_NOT = f"""
    SELECT verdicts.reason, count(*) AS leads FROM verdicts JOIN book USING (lead_id)
    WHERE verdict = 'rejected' AND judged_at >= $since AND {SEGMENT} AND {CAMPAIGN} GROUP BY ALL ORDER BY leads DESC, 1
"""
WEEKLY = f"""
    SELECT CAST(date_trunc('week', entered_at) AS DATE) AS week, count(*) AS passed,
           count(*) FILTER (verdict = 'accepted') AS accepted, count(*) FILTER (verdict = 'rejected') AS rejected,
           median(epoch(sales_at - entered_at) / 86400) FILTER (sales_at >= entered_at) AS days,
           count(*) FILTER (won_at IS NOT NULL) AS won
    FROM moves JOIN book USING (lead_id) LEFT JOIN verdicts USING (lead_id)
    WHERE stage = $passed AND entered_at >= $as_of - INTERVAL {7 * WEEKS} DAY AND {SEGMENT} AND {CAMPAIGN}
    GROUP BY week ORDER BY week
"""
BANDS = f"""
    SELECT CASE WHEN first_probability < .05 THEN '0 to 5 %' WHEN first_probability < .1 THEN '5 to 10 %'
                WHEN first_probability < .2 THEN '10 to 20 %' WHEN first_probability < .4 THEN '20 to 40 %'
                ELSE 'above 40 %' END AS band,
           count(*) AS leads, avg(first_probability) AS promised,
           avg(CAST(coalesce(won_at <= first_scored_at + $horizon * INTERVAL 1 DAY, false) AS INTEGER)) AS realised
    FROM book WHERE first_scored_at + $horizon * INTERVAL 1 DAY <= $as_of AND {SEGMENT} AND {CAMPAIGN}
    GROUP BY band ORDER BY promised
"""


class Aligned(NamedTuple):
    """What both teams see of a part of the book; rows are as the queries above name them."""

    passed: str  # the stage at which marketing passes a lead on
    tally: Row
    why_not: list[Row]
    weekly: list[Row]
    bands: list[Row]
    funnel: list[tuple[str, int]]  # leads that got to each stage, in the order in which they do


def aligned(edition: Edition, goal: Goal, choice: Choice) -> Aligned:
    """Return what marketing passed on, what sales made of it, and whether the score kept its word."""
    passed = _handed_over(edition)
    values = choice.values(passed=passed, as_of=edition.as_of, horizon=int(goal.horizon_days))
    (tally,) = edition.rows(PASSED_ON, values)
    why_not, weekly, bands = (edition.rows(sql, values) for sql in (WHY_NOT, WEEKLY, BANDS))
    return Aligned(passed, tally, why_not, weekly, bands, _funnel(edition, goal, choice))


def alignment(site: Site, request: Request, _form: Form) -> Response:
    """Show the page."""
    edition = site.book.edition(site.clock())
    if edition is None:
        return site.show(request, "wait.html")
    query = asked(request)
    choice, goal = chosen(query, edition), site.desk.settings.goal
    found = aligned(edition, goal, choice)
    tally, bands, weekly = found.tally, found.bands, found.weekly
    judged, refused = tally["accepted"] + tally["rejected"], sum(row["leads"] for row in found.why_not)
    funnel = _steps(found.funnel)
    return site.show(
        request, "alignment.html", query=query, as_of=edition.as_of, period_said=choice.said(edition.as_of),
        periods=PERIODS,
        segments=[(f"{name}={value}", f"{plain(name)}: {value}") for name, value in edition.segments],
        campaigns=[(name, name) for name in edition.campaigns], passed=plain(found.passed), tally=tally, judged=judged,
        accepted_share=tally["accepted"] / judged if judged else None, hot=HOT, horizon=goal.horizon_days,
        why_not=[(row["reason"] or "no reason given", f"{number(row['leads'])} ({_share(row['leads'], refused)})",
                  row["leads"], ()) for row in found.why_not],
        refused=refused, top_why_not=max((row["leads"] for row in found.why_not), default=1),
        bands=bands, top_band=max((max(row["promised"], row["realised"]) for row in bands), default=1),
        funnel=funnel, top_funnel=funnel[0][2] if funnel else 1,
        weekly_chart=_weekly_chart(weekly) if weekly else "",
        weekly=[(f"week of {row['week'].day} {row['week']:%b}", *(number(row[name]) for name in WEEKLY_COUNTS),
                 span(row["days"]), number(row["won"])) for row in weekly],
    )  # fmt: skip


def _handed_over(edition: Edition) -> str:
    """Return the stage at which marketing passes a lead on; the one most often reached, if none has a usual name."""
    known = {
        row["stage"].lower(): row["stage"]
        for row in edition.rows("SELECT stage FROM moves GROUP BY stage ORDER BY count(*)")
    }
    return next((known[name] for name in PASSED if name in known), list(known.values())[-1] if known else PASSED[0])


def _funnel(edition: Edition, goal: Goal, choice: Choice) -> list[tuple[str, int]]:
    """Return how many of the leads created got to each stage, in the order in which leads reach them."""
    (created,) = edition.rows(CREATED, choice.values())
    reached = {row["stage"]: row["leads"] for row in edition.rows(FUNNEL, choice.values())}
    order = sorted(edition.rows(KNOWN_STAGES), key=lambda row: (row["stage"] in goal.won, -row["leads"]))
    names = [row["stage"] for row in order if row["stage"] not in goal.lost and row["stage"] in reached]
    return [("created", created["leads"]), *((name, reached[name]) for name in names)]


def _steps(funnel: list[tuple[str, int]]) -> list[tuple[str, str, float, tuple[str, ...]]]:
    """Return the funnel as bars: each stage with its share of the stage before, and of all."""
    steps = [(plain(name), count) for name, count in funnel]
    before = [steps[0][1], *(count for _, count in steps)]
    return [
        (name, number(count), count, (_share(count, last), _share(count, steps[0][1])))
        for (name, count), last in zip(steps, before, strict=False)
    ]


def _share(part: float, whole: float) -> str:
    return percent(part / whole) if whole else NOTHING


def _weekly_chart(weekly: list[dict[str, Any]]) -> object:
    latest = weekly[-1]
    says = (f"Leads passed on, accepted and rejected by week; in the latest {latest['passed']} were passed on, "
            f"{latest['accepted']} accepted, {latest['rejected']} rejected.")  # fmt: skip
    labels = [f"{row['week'].day} {row['week']:%b}" for row in weekly]
    return drawing.columns(labels, [(plain(name), [row[name] for row in weekly]) for name in WEEKLY_COUNTS], says)
