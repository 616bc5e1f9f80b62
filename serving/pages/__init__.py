"""The pages: what people open every morning, rendered on the service itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from serving.desk import Desk
from serving.pages import alignment, channels, goals, lead, models, signing, watching, worklist
from serving.pages.files import asset
from serving.pages.site import Form, Site

ASSETS = "/assets/"  # open to anyone: the sign-in page looks like the others


def routes(desk: Desk, clock: Callable[[], datetime]) -> list[Route]:
    """Return the routes of the pages. They pass the guard; GET and POST /sign-in and the assets are open to anyone.

    Whose token it is, is in ``request.scope["touchstone.token"]``; a page asks for what it needs beyond the scope read.
    """
    site = Site(desk, clock)
    shown = {
        "/": _home,
        "/my-leads": worklist.my_leads,
        "/my-leads.csv": worklist.my_leads_file,
        "/my-leads/{lead_id}": lead.one_lead,
        "/my-leads/{lead_id}/moves": lead.moves,
        "/channels": channels.channels,
        "/channels.csv": channels.channels_file,
        "/alignment": alignment.alignment,
        "/goals": goals.goals,
        "/models": models.model,
        "/monitor": watching.monitor,
        "/sign-in": signing.sign_in_page,
    }
    posted = {
        "/my-leads/views": worklist.save_view,
        "/my-leads/{lead_id}/verdict": lead.judge,
        "/models": models.change,
        "/sign-in": signing.sign_in,
        "/sign-out": signing.sign_out,
    }
    return [
        Route(ASSETS + "{name}", asset),
        *(Route(path, site.endpoint(page), methods=["POST"]) for path, page in posted.items()),
        *(Route(path, site.endpoint(page), methods=["GET"]) for path, page in shown.items()),
    ]


def _home(_site: Site, _request: Request, _form: Form) -> Response:
    return RedirectResponse("/my-leads")
