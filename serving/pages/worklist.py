"""My leads: whom to call this morning, and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from serving.messages import LeadsQuery
from serving.pages import drawing, views
from serving.pages.site import Form, Site, asked, back
from serving.pages.words import brief, called, percent, trend
from serving.replies import LeadRow
from serving.words import plain

SHOWN = 25  # leads of one page
MOST_IN_FILE = 1000  # leads of one CSV file
FILTERS = ("search", "owner", "grade", "stage", "trend", "channel", "judged", "least", "order", "ascending")
SAID: dict[str, Callable[[str], str]] = {"stage": plain, "trend": trend}  # how a page says what is chosen from
JUDGED = [("no", "not yet"), ("accepted", "accepted"), ("rejected", "rejected")]
HEADS = (
    ("lead_id", "Lead", "who"), ("probability", "Will close", "chance"), ("grade", "Grade, trend", ""),
    (None, "Why", "wide"), ("amount", "Amount, stage", "n wide"), (None, "Expected close", "n wide"),
    ("last_touch_at", "Last touch", "wide"), ("owner", "Owner", "wide"),
)  # fmt: skip
IN_FILE = (
    "lead_id", "name", "about", "owner", "stage", "probability", "low", "high", "grade", "trend", "raised_by",
    "lowered_by", "amount", "currency", "closes", "last_touch_at", "verdict",
)  # fmt: skip
TALLY = """
    SELECT count(*) AS leads, sum(probability) AS expected, sum(probability * CAST(amount AS DOUBLE)) AS worth,
           max(scored_as_of) AS scored
    FROM worklist WHERE $1 IS NULL OR owner = $1
"""


def my_leads(site: Site, request: Request, _form: Form) -> Response:
    """Show a page of the work list."""
    query = {name: value for name, value in asked(request).items() if name in (*FILTERS, "offset")}
    found = site.desk.leads(LeadsQuery.model_validate_strings({"limit": str(SHOWN), **query}).asked(), site.clock())
    ready = site.desk.worklist.ready
    (tally,) = site.desk.worklist.query(TALLY, [query.get("owner")]).to_pylist() if ready else [{"leads": 0}]
    rows = [_row(lead) for lead in found.leads]
    top = drawing.ticks(max([row["high"] or 0 for row in rows] + [0.1]))[-1]
    for row in rows:
        row["drawn"] = _bar(row, min(top, 1.0))
    if query.get("order", "probability") == "probability" and query.get("ascending") != "true":
        rows.sort(key=lambda row: -(row["probability"] or 0))  # ranked by what was stored, shown by what is said now
    holder = request.scope["touchstone.token"].name
    saved = [{"name": name, "query": kept} for name, kept in views.views(site.desk.workspace, holder).items()]
    order = query.get("order", "probability")
    return site.show(
        request, "leads.html", query=query, found=found, rows=rows, ready=ready, tally=tally, views=saved, heads=HEADS,
        top=min(top, 1.0), order=order, ascending=query.get("ascending") == "true", scored=tally.get("scored"),
        ranked=order.replace("_", " "), horizon=site.desk.champion.scorer.spec.horizon_days,
        who=f"{query['owner']} has" if query.get("owner") else "There are",
        kept=urlencode({name: value for name, value in query.items() if name != "offset"}),
        judged=JUDGED,
        choices={name: [(value, SAID.get(name, str)(value)) for value in values]
                 for name, values in _choices(site).items()},
    )  # fmt: skip


def my_leads_file(site: Site, request: Request, _form: Form) -> Response:
    """Return the leads that match as CSV."""
    query = {name: value for name, value in asked(request).items() if name in FILTERS}
    found = site.desk.leads(
        LeadsQuery.model_validate_strings({"limit": str(MOST_IN_FILE), **query}).asked(), site.clock()
    )
    return site.table("my-leads", IN_FILE, [[_cell(lead, name) for name in IN_FILE] for lead in map(_row, found.leads)])


def _cell(lead: dict[str, Any], name: str) -> object:
    if name in {"raised_by", "lowered_by"}:
        way = "up" if name == "raised_by" else "down"
        return next((reason for direction, reason in lead["why"] if direction == way), "")
    value = lead[name]
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value


def save_view(site: Site, request: Request, form: Form) -> Response:
    """Keep or forget a view."""
    holder = request.scope["touchstone.token"].name
    if "forget" in form:
        views.forget(site.desk.workspace, holder, form["forget"])
        return back("/my-leads")
    name, query = form.get("name", "").strip()[:40] or "My view", form.get("query", "")[:1000]
    views.keep(site.desk.workspace, holder, name, query)
    return back(f"/my-leads?{query}")


def _choices(site: Site) -> dict[str, list[str]]:
    empty: dict[str, list[str]] = {name: [] for name in ("owner", "stage", "last_touch_channel", "grade", "trend")}
    return empty | site.desk.worklist.choices()


def _row(lead: LeadRow) -> dict[str, Any]:
    """Return what the list shows of a lead: what is said of it now, or else what was stored last."""
    score, attributes = lead.score, lead.attributes
    said = score or lead
    name = called(attributes, lead.lead_id)
    about = [str(attributes[key]) for key in ("company", "industry", "country") if attributes.get(key)]
    if name != lead.lead_id and not about:
        about = [lead.lead_id]
    reasons = score.reasons if score else []
    up = [("up", brief(reason.text)) for reason in reasons if reason.effect > 0][:2]
    down = [("down", brief(reason.text)) for reason in reasons if reason.effect < 0][:1]
    days = score.days_to_close if score else None
    return {
        **{key: getattr(lead, key) for key in ("lead_id", "owner", "stage", "amount", "currency", "last_touch_at",
                                               "last_touch_kind", "objects", "withheld", "verdict")},
        "address": quote(lead.lead_id, safe=""), "name": name, "about": " · ".join(about),
        **{key: getattr(said, key) for key in ("probability", "low", "high", "grade", "trend")},
        "why": [*up, *down], "closes": score.as_of + timedelta(days=days) if score and days is not None else None,
    }  # fmt: skip


def _bar(row: dict[str, Any], top: float) -> object:
    if row["probability"] is None:
        return ""
    says = f"{percent(row['probability'])}, 90 % interval {percent(row['low'])} to {percent(row['high'])}"
    return drawing.interval(row["probability"], row["low"], row["high"], top, says, width=110)
