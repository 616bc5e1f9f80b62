"""The pages: what people open every morning, rendered on the service itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from starlette.routing import Route

from serving.desk import Desk


def routes(desk: Desk, clock: Callable[[], datetime]) -> list[Route]:  # noqa: ARG001  # the pages are built on them
    """Return the routes of the pages. They pass the guard; forms may be posted to them, besides JSON.

    Whose token it is, is in ``request.scope["touchstone.token"]``; what a page needs beyond the scope read, it asks
    of ``token.allows``. GET /sign-in and POST /sign-in are open to anyone.
    """
    return []
