"""Signing in: the token goes into a cookie that no script can read and no other site can send along."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from serving.bearers import SESSION
from serving.pages.site import Form, Site
from serving.tokens import Keyring

HOME = "/my-leads"
SESSION_SECONDS = 12 * 3600  # a working day


def sign_in_page(site: Site, request: Request, _form: Form) -> Response:
    """Ask for the token."""
    return site.show(request, "sign_in.html", token=None, why="", to=_own(request.query_params.get("next", HOME)))


def sign_in(site: Site, request: Request, form: Form) -> Response:
    """Begin a session, if the token is somebody's."""
    presented, to = form.get("token", "").strip(), _own(form.get("next", HOME))
    if Keyring(site.desk.workspace).holder(presented) is None:
        why = "This token is nobody's, or was revoked. Copy it whole, from ts_ on."
        return site.show(request, "sign_in.html", HTTPStatus.UNAUTHORIZED, token=None, why=why, to=to)
    answer = RedirectResponse(to, HTTPStatus.SEE_OTHER)
    answer.set_cookie(SESSION, presented, max_age=SESSION_SECONDS, path="/", httponly=True, samesite="strict",
                      secure=request.url.scheme == "https")  # fmt: skip
    return answer


def sign_out(_site: Site, _request: Request, _form: Form) -> Response:
    """End a session."""
    answer = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(SESSION, path="/", httponly=True, samesite="strict")
    return answer


def _own(to: str) -> str:
    """Return an address on this site; for any other, the first page."""
    parts = urlsplit(to)
    is_own = not parts.scheme and not parts.netloc and to.startswith("/") and not to.startswith(("//", "/\\"))
    return to if is_own and to.isprintable() else HOME
