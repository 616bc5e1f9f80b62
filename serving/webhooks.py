"""Webhooks: systems post what happened there, and are believed by their signature instead of a token.

What is believed is in the journal before it is acknowledged, as everything that is posted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors import webhooks
from connectors.webhooks import DOORS, Forged, Unreadable
from features.errors import ConfigError
from serving.desk import Desk

LOG = logging.getLogger("touchstone")
PATH = "/webhooks/{system}"
METHODS = ("GET", "POST")  # a GET asks whether somebody is here


def route(desk: Desk, clock: Callable[[], datetime], environment: Mapping[str, str]) -> Route:
    """Return the route that systems post to; ``environment`` holds what they sign with."""

    async def endpoint(request: Request) -> Response:
        system, now = request.path_params["system"], clock()
        headers, query = dict(request.headers), dict(request.query_params)
        asked = webhooks.Request(request.method, headers, query, await request.body(), now)
        return await asyncio.to_thread(_answered, desk, system, asked, environment)

    return Route(PATH, endpoint, methods=METHODS)


def _answered(desk: Desk, system: str, asked: webhooks.Request, environment: Mapping[str, str]) -> Response:
    if system not in DOORS:
        return _refusal(HTTPStatus.NOT_FOUND, f'There is no webhook of "{system}". Name one of {", ".join(DOORS)}.')
    try:
        delivery = webhooks.received(system, asked, desk.settings, environment, desk.workspace)
    except Forged as forged:
        return _refusal(HTTPStatus.UNAUTHORIZED, str(forged))
    except Unreadable as wrong:
        return _refusal(HTTPStatus.BAD_REQUEST, str(wrong))
    except ConfigError as missing:
        LOG.warning("A webhook of %s is refused. %s", system, missing)  # which is nothing to tell a stranger
        return _refusal(HTTPStatus.NOT_FOUND, f"Webhooks of {system} are not set up here; the service's log says why.")
    if delivery.lines or delivery.forget:
        desk.intake.delivered(delivery, asked.at)
    return JSONResponse({"taken": True})


def _refusal(status: HTTPStatus, why: str) -> Response:
    return JSONResponse({"error": why}, status)
