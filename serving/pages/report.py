"""The report: how sales and marketing stand together, on one page that both can sign, for a meeting or a mail.

It says what the page Alignment says of the last year, and what each channel brought, as numbers for a program and as
one HTML file that needs no service.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from features.errors import ModelError
from features.history import microseconds
from features.lake import Lake
from features.money import KNOWN_COST
from features.settings import Goal, Settings
from serving.batch import champion_and_history
from serving.pages.alignment import HOT, aligned
from serving.pages.bands import bands
from serving.pages.book import Book
from serving.pages.choice import USUAL, Choice
from serving.pages.goals import aims
from serving.pages.heard import heard
from serving.pages.rejections import by_channel, notes
from serving.pages.words import FILTERS
from serving.pages.worth import worth

HERE = Path(__file__).parent
CHANNELS = f"""
    WITH paid AS (SELECT channel, {KNOWN_COST} AS spend FROM spent WHERE day >= CAST($since AS DATE) GROUP BY channel)
    SELECT channel, count(lead_id) AS leads, avg(first_probability) AS promised, count(won_at) AS won,
           coalesce(sum(value), 0) AS revenue, any_value(spend) AS spend,
           any_value(spend) / nullif(count(won_at), 0) AS cac,
           coalesce(sum(value), 0) / nullif(any_value(spend), 0) AS roas,
           coalesce(sum(probability * amount) FILTER (won_at IS NULL AND lost_at IS NULL), 0) AS pipeline,
           median(touches) FILTER (won_at IS NOT NULL) AS touches_to_close,
           median(epoch(won_at - created_at) / 86400) AS days_to_close
    FROM (FROM book WHERE created_at >= $since) FULL JOIN paid USING (channel)
    GROUP BY channel ORDER BY won DESC, leads DESC, channel
"""


def report(workspace: Path, lake: Lake, settings: Settings, as_of: datetime) -> dict[str, Any]:
    """Return what happened to the leads of the last year, as of a moment.

    ``passed_on`` counts the hand-over and what sales made of it; ``why_not``, ``weekly``, ``bands`` (promised and
    realised by probability), ``funnel``, ``channels`` (those that brought the leads, or cost something), ``goals``,
    ``definitions`` (MQL and SQL as score bands), ``heard`` (self-reported sources beside the tracked), ``rejections``
    by channel and week, ``notes`` (what each rep's rejections changed) and ``earned`` (what showing scores was worth)
    are lists of rows; ``unrated`` says what has no known rate.
    Money is in the reporting currency.
    """
    edition, goal = Book(workspace, lake, settings).make(as_of), settings.goal
    choice = Choice(edition.as_of - timedelta(days=USUAL))
    found = aligned(edition, goal, choice)
    return {
        "as_of": edition.as_of,
        "since": choice.since,
        "currency": settings.attribution.currency,
        "horizon_days": goal.horizon_days,
        "hot_from": HOT,
        "passed_on": {"stage": found.passed, **found.tally},
        "why_not": found.why_not,
        "weekly": found.weekly,
        "bands": found.bands,
        "funnel": [{"stage": stage, "leads": leads} for stage, leads in found.funnel],
        "channels": edition.rows(CHANNELS, choice.values()),
        "unrated": edition.unrated,
        "goals": aims(edition, settings),
        "definitions": bands(edition, settings),
        "heard": heard(edition, choice.since),
        "rejections": by_channel(edition),
        "notes": _notes(workspace, lake, goal, as_of),
        "earned": worth(edition),
    }


def _notes(workspace: Path, lake: Lake, goal: Goal, as_of: datetime) -> list[dict[str, Any]]:
    """Return the notes back to reps; there are none before a model serves."""
    try:
        scorer, history = champion_and_history(workspace, lake)
    except ModelError:
        return []
    return notes(scorer, history, goal, microseconds(as_of))


def page(told: dict[str, Any]) -> str:
    """Return a report as one HTML file."""
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters |= FILTERS
    style = Markup((HERE / "assets" / "touchstone.css").read_text("utf-8"))  # noqa: S704  # our own file
    return templates.get_template("report.html").render(style=style, **told)
