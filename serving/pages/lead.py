"""One lead: how probable, why, what changed, what would move it, and what happened so far."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from itertools import groupby, pairwise
from typing import Any
from urllib.parse import quote

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from features.history import History
from serving.messages import FeedbackRequest, Lead, ScoreRequest, Stage, Touch
from serving.pages import drawing
from serving.pages.site import Form, Refusal, Site, back
from serving.pages.words import called, day, fact, percent
from serving.replies import LeadReply, StoredScore
from serving.words import kind, plain

REASONS = ("unable to reach", "inaccurate data", "no interest or need", "no budget", "no fit", "not now", "duplicate",
           "competitor")  # fmt: skip
SHOWN_SCORES = 26
SHOWN_CAUSES = 8
SHOWN_MOVES = 6


def one_lead(site: Site, request: Request, _form: Form) -> Response:
    """Show a lead."""
    now = site.clock()
    lead = site.desk.lead(request.path_params["lead_id"], now)
    score, usual = lead.score, site.desk.model().base_rate
    reasons: list[dict[str, Any]] = [
        {
            "way": "up" if r.effect > 0 else "down",
            "effect": r.effect,
            "fact": fact(r.text),
            "times": math.exp(abs(r.effect)),
        }
        for r in (score.reasons if score else [])
    ]
    strongest = max((abs(reason["effect"]) for reason in reasons), default=1.0)
    verdicts = [event for event in lead.timeline if event["what"] == "feedback"]
    stages = [event for event in lead.timeline if event["what"] == "stage"]
    amounts = [event for event in stages if event.get("amount")]
    known = {name: value for name, value in lead.attributes.items() if value is not None}
    closes = score.as_of + timedelta(days=score.days_to_close) if score and score.days_to_close is not None else None
    sub = [("Fit: who they are", score.fit), ("Engagement: what they do", score.engagement)] if score else []
    return site.show(
        request, "lead.html", lead=lead, score=score, name=called(lead.attributes, lead.lead_id), usual=usual,
        address=quote(lead.lead_id, safe=""), reasons=reasons, strongest=strongest, known=known, closes=closes, sub=sub,
        verdict=verdicts[0] if verdicts else None, stage=stages[0] if stages else None,
        amount=amounts[0] if amounts else None, bar=_bar(score, usual) if score else "",
        outlook=_outlook(score, site.desk.settings.training.outlook_days) if score else [], chart=_chart(lead.scores),
        causes=list(_causes(lead.scores)), timeline=list(_timeline(lead.timeline)), why_not=REASONS,
        said=request.query_params.get("said"),
    )  # fmt: skip


def moves(site: Site, request: Request, _form: Form) -> Response:
    """Show what the model would say of a lead if one more thing happened now."""
    now = site.clock()
    lead = site.desk.lead(request.path_params["lead_id"], now)
    resident = site.desk.residence.now
    if lead.score is None or resident is None:
        raise Refusal(
            HTTPStatus.NOT_FOUND, "There is nothing to try: the lead is not scored, or the service is still reading."
        )
    how, goal, then = site.desk.settings.attribution, site.desk.settings.goal, now - timedelta(seconds=1)
    tried: list[tuple[str, list[Touch], list[Stage]]] = [
        (kind(name), [Touch(occurred_at=then, kind=name, channel=channel)], [])
        for name, channel in _usual_channels(resident.history) if name not in how.exclude_kinds
    ]  # fmt: skip
    tried += [(f"Reaches the stage {plain(name)}", [], [Stage(occurred_at=then, stage=name)])
              for name in resident.history.stages.names["stage"] if name not in {*goal.won, *goal.lost}]  # fmt: skip
    said = [p / (1 - p) for p in _tried(site, lead, [(touches, stages) for _, touches, stages in tried], now)]
    here = lead.score.probability / (1 - lead.score.probability)
    odds = [here * other / said[0] for other in said[1:]]
    order = sorted(range(len(odds)), key=lambda i: -abs(math.log(odds[i] / here)))[:SHOWN_MOVES]
    found = sorted(((odds[i] / (1 + odds[i]), tried[i][0]) for i in order), reverse=True)
    top = drawing.ticks(max([lead.score.probability, *(share for share, _ in found)]))[-1]
    return site.show(
        request, "moves.html", moves=found, lead=lead, top=top, address=quote(lead.lead_id, safe=""),
        name=called(lead.attributes, lead.lead_id),
    )  # fmt: skip


def judge(site: Site, request: Request, form: Form) -> Response:
    """Store that a rep accepts or rejects a lead, durably, before the page comes back."""
    by, now = site.demand(request, "ingest"), site.clock()
    lead_id, verdict, reason = request.path_params["lead_id"], form.get("verdict", ""), form.get("reason", "")
    if verdict == "rejected" and reason not in REASONS:
        raise Refusal(
            HTTPStatus.BAD_REQUEST, "A rejection without a reason teaches nobody. Choose one, then reject the lead."
        )
    site.desk.lead(lead_id, now)
    row = {"lead_id": lead_id, "verdict": verdict, "reason": reason or None, "at": now,
           "by": form.get("by", "").strip() or by}  # fmt: skip
    site.desk.intake.feedback(FeedbackRequest.model_validate(row), now)
    return back(f"/my-leads/{quote(lead_id, safe='')}?said={verdict}")


def _bar(score: Any, usual: float) -> object:
    top = min(drawing.ticks(max(score.high, usual, 0.1))[-1], 1.0)
    says = (f"{percent(score.probability)}, 90 % interval {percent(score.low)} to {percent(score.high)}; "
            f"of all leads {percent(usual)}")  # fmt: skip
    return drawing.interval(score.probability, score.low, score.high, top, says, usual, width=320)


def _outlook(score: Any, asked: Sequence[float]) -> list[tuple[float, float]]:
    """Return the probability of having closed within each horizon asked for, and its own, never falling."""
    within = {float(days): share for days, share in score.won_within_days.items()}
    shown = {days: share for days, share in within.items() if days in asked}
    return sorted({**shown, score.horizon_days: score.probability}.items())


def _chart(stored: Sequence[StoredScore]) -> object:
    shown = list(reversed(stored[:SHOWN_SCORES]))
    if len(shown) < 2:
        return ""
    says = (f"Close probability from {percent(shown[0].probability)} on {day(shown[0].as_of)} to "
            f"{percent(shown[-1].probability)} on {day(shown[-1].as_of)}.")  # fmt: skip
    return drawing.lines([f"{s.as_of.day} {s.as_of:%b}" for s in shown], [s.probability for s in shown],
                         [s.low for s in shown], [s.high for s in shown], says)  # fmt: skip


def _causes(stored: Sequence[StoredScore]) -> Iterator[dict[str, Any]]:
    """Yield each stored score, the latest first, with the fact whose effect moved most since the one before."""
    for later, earlier in pairwise(stored[: SHOWN_CAUSES + 1]):
        now, then = ({r.feature: r for r in one.reasons} for one in (later, earlier))
        moved = {name: (now[name].effect if name in now else 0) - (then[name].effect if name in then else 0)
                 for name in {*now, *then}}  # fmt: skip
        name = max(moved, key=lambda one: abs(moved[one]), default=None)
        why = "No single fact moved it much."
        if later.model_version != earlier.model_version:
            why = f"Another model speaks: {later.model_version} instead of {earlier.model_version}."
        elif name is not None and abs(moved[name]) > 0.05:
            text = fact((now.get(name) or then[name]).text)[0]
            why = (
                f"{text}: {'raises more' if moved[name] > 0 else 'lowers more'} than before"
                if name in now
                else f"No longer: {text}"
            )
        yield {
            "at": later.as_of,
            "probability": later.probability,
            "change": later.probability - earlier.probability,
            "why": why,
        }


def _timeline(events: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what happened, the latest first; the same on the same day is one line with its count."""

    def alike(event: dict[str, Any]) -> tuple[Any, ...]:
        what = event["what"]
        of = {"touch": ("kind", "channel", "campaign"), "stage": ("stage",), "feedback": ("verdict", "reason")}.get(
            what, ()
        )
        return (what, event["at"].date(), *(event.get(name) for name in of))

    for _, group in groupby(events, alike):
        same = list(group)
        event = same[0]
        yield {
            "what": event["what"],
            "at": event["at"],
            "count": len(same),
            "text": _told(event),
            "sub": _beside(event),
        }


def _told(event: dict[str, Any]) -> str:
    if event["what"] == "touch":
        return kind(event["kind"])
    if event["what"] == "stage":
        return f"Stage: {plain(event['stage'])}"
    if event["what"] == "feedback":
        return f"{plain(event['verdict'])} by sales"
    return "More became known"


def _beside(event: dict[str, Any]) -> str:
    if event["what"] == "version":
        return ", ".join(
            f"{name.replace('_', ' ')}: {value}" for name, value in event.get("attributes", {}).items() if value
        )[:160]
    parts = [event.get("channel"), event.get("campaign"), event.get("reason"), event.get("by")]
    if event.get("amount"):
        parts.append(f"{event['amount']:,.0f} {event.get('currency', '')}")
    if event.get("machine"):
        parts.append("made by a machine, counts for nothing")
    path = (event.get("properties") or {}).get("path")
    return " · ".join(str(part) for part in [*parts, path] if part)


def _usual_channels(history: History) -> list[tuple[str, str]]:
    """Return each kind of touch with the channel that it mostly comes by."""
    kinds, channels = history.touches.names["kind"], history.touches.names["channel"]
    pair = history.touches.codes["kind"].astype(np.int64) * len(channels) + history.touches.codes["channel"]
    counts = np.bincount(pair[pair >= 0], minlength=len(kinds) * len(channels)).reshape(len(kinds), len(channels))
    return [(name, channels[int(counts[i].argmax())]) for i, name in enumerate(kinds) if counts[i].any()]


def _tried(site: Site, lead: LeadReply, more: Sequence[tuple[list[Touch], list[Stage]]], now: datetime) -> list[float]:
    """Return the probability of a lead as it is, sent along as a stranger, and then with each of more events."""
    touches = [Touch(occurred_at=e["at"], received_at=e.get("received_at"), kind=e["kind"], channel=e["channel"])
               for e in lead.timeline if e["what"] == "touch" and not e.get("machine")]  # fmt: skip
    stages = [Stage(occurred_at=e["at"], received_at=e.get("received_at"), stage=e["stage"])
              for e in lead.timeline if e["what"] == "stage"]  # fmt: skip
    variants = [([], []), *more]
    sent = [
        Lead(lead_id=f"{lead.lead_id} {i}", created_at=lead.created_at, attributes=lead.attributes,
             touches=[*touches, *touched], stages=[*stages, *entered])
        for i, (touched, entered) in enumerate(variants)
    ]  # fmt: skip
    answer = json.loads(site.desk.scored(ScoreRequest(leads=sent, as_of=now), now))
    return [score["probability"] for score in answer["scores"]]
