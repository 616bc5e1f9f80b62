"""The API: every route, with what it is asked, what it answers and which scope it needs. OpenAPI is made of this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from serving import replies
from serving.desk import Desk
from serving.messages import (
    EventsRequest,
    ExplainRequest,
    FeedbackRequest,
    FlatRequest,
    LeadsQuery,
    Message,
    RunQuery,
    ScoreRequest,
)  # fmt: skip

Answer = BaseModel | bytes


@dataclass(frozen=True)
class Call:
    """One route. ``answer`` is asked (desk, request, now); of a GET, the request is its query."""

    method: str
    path: str
    about: str
    scope: str
    asks: type[Message]
    replies: type[BaseModel]
    answer: Callable[[Desk, Any, datetime], Answer]
    straight: bool = True  # answered without BentoML's own request path, which costs more than the answer


CALLS = (
    Call("POST", "/score", "Score leads by id, or with their history sent along.", "score",
         ScoreRequest, replies.ScoresReply, Desk.scored),
    Call("POST", "/score/flat", "Score one lead by id, in flat keys.", "score",
         FlatRequest, replies.FlatReply, Desk.flat),
    Call("POST", "/explain", "Explain scores: the effect of every feature, and the outlook.", "score",
         ExplainRequest, replies.ExplanationsReply, Desk.explained, straight=False),
    Call("POST", "/events", "Store new touches, stages and versions of leads, durably.", "ingest",
         EventsRequest, replies.EventsReply, lambda desk, request, now: desk.intake.events(request, now)),
    Call("POST", "/feedback", "Store that sales accepted or rejected a lead, and why.", "ingest",
         FeedbackRequest, replies.EventsReply, lambda desk, request, now: desk.intake.feedback(request, now),
         straight=False),
    Call("GET", "/leads", "Return a page of the work list: open leads, ranked and filtered.", "read",
         LeadsQuery, replies.LeadsReply, lambda desk, query, now: desk.leads(query.asked(), now)),
    Call("GET", "/leads/{lead_id}", "Return one lead: its score, timeline and score history.", "read",
         Message, replies.LeadReply, Desk.lead),
    Call("GET", "/attribution", "Return the attribution runs, and what one of them says.", "read",
         RunQuery, replies.AttributionReply, lambda desk, query, _: desk.attribution(query.run_id)),
    Call("GET", "/model", "Return what the model that serves is made of.", "read",
         Message, replies.ModelReply, lambda desk, _query, _now: desk.model()),
)  # fmt: skip
OPEN = ("/livez", "/readyz", "/sign-in")
METRICS, DOCS = "/metrics", "/docs.json"
