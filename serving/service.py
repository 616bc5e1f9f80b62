"""The service: scores over HTTP, by BentoML, on one port of loopback.

The BentoML service is exported as an ASGI app and run by our own uvicorn, because ``bentoml serve`` listens on
every interface and opens a second, unauthenticated port.
"""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import uvicorn
from bentoml.exceptions import InvalidArgument

from features.errors import ConfigError
from features.history import History, Tables, history_of, microseconds
from features.lake import Lake
from features.objections import objecting
from features.outcomes import open_moments, outcomes_of
from features.reading import read_history, tables_of_accounts
from features.settings import Goal, Settings
from features.verbs import Feature, Moments, columns_of
from serving.edge import Edge
from serving.messages import MOST_LEADS, Lead, ReasonReply, ScoreReply, ScoreRequest, ScoresReply, tables
from serving.scorer import champion
from serving.scores import Score, scores

HOST = "127.0.0.1"
NAMED = 5  # leads that an error names


def service(workspace: Path, settings: Settings) -> Any:
    """Return the BentoML service of a workspace; its champion is loaded when the service is made."""
    lake, scorer = Lake(workspace / "lake"), champion(workspace / "models")

    @bentoml.service(name="touchstone", metrics={"enabled": False}, logging={"access": {"enabled": False}})
    class Touchstone:
        """Close probabilities of leads, with reasons."""

        @bentoml.api(route="/score")  # type: ignore[untyped-decorator]  # BentoML ships no types
        def score(self, request: ScoreRequest, /) -> ScoresReply:
            """Score leads by id, or with their history sent along."""
            now = datetime.now(UTC)
            as_of = request.as_of or now
            features = scorer.spec.features
            stored, sent = _stored(lake, request.lead_ids, as_of, features), _sent(lake, request.leads, as_of, features)
            problems = _problems(request, stored, sent, settings.goal)
            if problems:
                raise InvalidArgument(" ".join(problems))
            scored = scores(scorer, stored) + scores(scorer, sent)
            return ScoresReply(scores=[_reply(score, as_of, now) for score in scored])

    return Touchstone


def app(workspace: Path, settings: Settings) -> Any:
    """Return the service as an ASGI app."""
    logging.getLogger("bentoml._internal.server.http_app").addFilter(_is_ours_to_mend)
    return Edge(service(workspace, settings).to_asgi())


def listen(port: int) -> socket.socket:
    """Return a socket that listens on loopback; port 0 takes a free one.

    Raises:
        ConfigError: when the port is taken.

    """
    # asyncio switches Nagle's delay off only for a socket that says it is TCP
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((HOST, port))
        opened.listen()
    except OSError as error:
        opened.close()
        raise ConfigError(f"Port {port} cannot be used: {error.strerror}. Choose another with --port.") from None
    return opened


def server(workspace: Path, settings: Settings) -> uvicorn.Server:
    """Return a server, not yet running, for ``run(sockets=[listen(port)])``."""
    config = uvicorn.Config(app(workspace, settings), log_level="warning", access_log=False)
    return uvicorn.Server(config)


def _is_ours_to_mend(record: logging.LogRecord) -> bool:
    """Keep a refused request out of the log: its sender has been told what to mend."""
    return not (record.exc_info and isinstance(record.exc_info[1], InvalidArgument))


def _stored(lake: Lake, lead_ids: Sequence[str], as_of: datetime, features: Sequence[Feature]) -> Moments:
    """Return the moments of leads in the lake, which is read only for them and, if a feature asks, their accounts."""
    more, accounts = columns_of(features), any(feature.of == "account" for feature in features)
    history = read_history(lake, lead_ids, more, accounts=accounts) if lead_ids else history_of(*tables([]), more=more)
    return _asked(history, lead_ids, as_of)


def _sent(lake: Lake, leads: list[Lead], as_of: datetime, features: Sequence[Feature]) -> Moments:
    """Return the moments of leads whose history came along; what their accounts' other contacts did is in the lake."""
    lead_ids, told, more = [lead.lead_id for lead in leads], Tables(*tables(leads)), columns_of(features)
    accounts = sorted({lead.account_id for lead in leads if lead.account_id})
    if accounts and any(feature.of == "account" for feature in features):
        told = tables_of_accounts(lake, accounts, lead_ids, more).with_more(told)
    return _asked(history_of(*told, more), lead_ids, as_of)


def _asked(history: History, lead_ids: Sequence[str], as_of: datetime) -> Moments:
    """Return the moments asked for, in the order in which they were asked; position −1 for a lead unknown."""
    moment = microseconds(as_of)
    return Moments(history, history.positions(lead_ids, moment), np.full(len(lead_ids), moment))


def _problems(request: ScoreRequest, stored: Moments, sent: Moments, goal: Goal) -> list[str]:
    """Return a sentence for everything that is wrong with a request."""
    count = len(stored) + len(sent)
    unknown = [lead_id for lead_id, at in zip(request.lead_ids, stored.lead, strict=True) if at < 0]
    sent_ids = Counter(lead.lead_id for lead in request.leads)
    twice = [lead_id for lead_id, times in sent_ids.items() if times > 1]
    not_open = [*_not_open(stored, goal), *_not_open(sent, goal)]
    objectors = [*_objectors(stored), *_objectors(sent)]
    sentences = (
        (count == 0, "Name at least one lead in lead_ids, or send one along in leads."),
        (count > MOST_LEADS, f"{count} leads are more than the {MOST_LEADS} of one request. Send several requests."),
        (unknown, f"{_listed(unknown)} not in the lake. Ingest first, or send the history along in leads."),
        (twice, f"{_listed(twice)} sent along more than once. Send each lead once."),
        (objectors, f"{_listed(objectors)} not scored, since the person objected to profiling."),
        (not_open, f"{_listed(not_open)} not open as of then: not created yet, or already won or lost."),
    )
    return [*(sentence for broken, sentence in sentences if broken), *_duplicates(stored)]


def _duplicates(moments: Moments) -> list[str]:
    """Return a sentence for each lead, up to a few, that is known to be another lead's duplicate."""
    history, here = moments.history, _here(moments)
    gone = here.lead[~history.live(here.lead, here.as_of)][:NAMED]
    heirs = history.turned_out(gone, int(here.as_of[0])) if len(gone) else gone
    pairs = ((history.lead_ids[lead], history.lead_ids[heir]) for lead, heir in zip(gone, heirs, strict=True))
    return [f"{duplicate} is a duplicate of {lead}: ask for that lead." for duplicate, lead in pairs]


def _objectors(moments: Moments) -> list[str]:
    """Return the leads that may not be profiled as of then."""
    history, here = moments.history, _here(moments)
    objects = objecting(history, int(here.as_of[0])) if len(here) else np.empty(0, bool)
    return [history.lead_ids[lead] for lead in here.lead.tolist() if objects[lead]]


def _not_open(moments: Moments, goal: Goal) -> list[str]:
    history = moments.history
    here = _here(moments)
    live = history.live(here.lead, here.as_of)
    asked = Moments(history, here.lead[live], here.as_of[live])
    still = set(open_moments(history, outcomes_of(history, goal), asked).lead.tolist())
    return [history.lead_ids[lead] for lead in asked.lead.tolist() if lead not in still]


def _here(moments: Moments) -> Moments:
    """Return the moments of leads that are in the history."""
    return Moments(moments.history, moments.lead[moments.lead >= 0], moments.as_of[moments.lead >= 0])


def _listed(lead_ids: Sequence[str]) -> str:
    named = ", ".join(lead_ids[:NAMED])
    more = f" and {len(lead_ids) - NAMED} more" if len(lead_ids) > NAMED else ""
    return f"{named}{more} {'is' if len(lead_ids) == 1 else 'are'}"


def _reply(score: Score, as_of: datetime, now: datetime) -> ScoreReply:
    reasons = [ReasonReply(**asdict(reason)) for reason in score.reasons]
    return ScoreReply(**asdict(score) | {"reasons": reasons, "as_of": as_of, "scored_at": now})
