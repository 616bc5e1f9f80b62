"""The site: what every page has in common. A page is asked (site, request, form) and answers with a response.

Pages are whole without scripts: forms and links do everything, htmx only spares a reload. No page has an inline script
or style, so the policy below can forbid both; what a lead is called can therefore never run.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from bentoml.exceptions import BentoMLException
from jinja2 import Environment, FileSystemLoader
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from features.errors import TouchstoneError
from serving.batch import harmless
from serving.bearers import SESSION
from serving.desk import Desk
from serving.messages import sentence
from serving.pages import drawing
from serving.pages.book import Book
from serving.pages.words import FILTERS
from serving.tokens import ANYONE
from serving.words import plain

HERE = Path(__file__).parent
ASSETS = HERE / "assets"
CSRF = "csrf"
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
Form = Mapping[str, str]
Page = Callable[["Site", Request, Form], Response]


class Refusal(Exception):
    """What a page cannot do, in a sentence."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class Site:
    """The pages' view of one desk: templates, drawings, what is counted, and who may post."""

    def __init__(self, desk: Desk, clock: Callable[[], datetime]) -> None:
        self.desk, self.clock = desk, clock
        self.book = Book(desk.workspace, desk.lake, desk.settings)
        self._secret = secrets.token_bytes(32)
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self._templates.filters |= FILTERS
        self._templates.globals |= {"draw": drawing, "plain": plain}

    def endpoint(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint of a page; it works beside the loop, and its errors are sentences on a page."""

        async def answer(request: Request) -> Response:
            body = (await request.body()).decode("utf-8", "replace") if request.method == "POST" else ""
            form = dict(parse_qsl(body, keep_blank_values=True))
            return await run_in_threadpool(self._answered, page, request, form)

        return answer

    def _answered(self, page: Page, request: Request, form: Form) -> Response:
        try:
            self._check(request, form)
            return page(self, request, form)
        except ValidationError as error:
            return self.refusal(request, HTTPStatus.BAD_REQUEST, sentence(error))
        except Refusal as error:
            return self.refusal(request, error.status, str(error))
        except (BentoMLException, TouchstoneError) as error:
            return self.refusal(request, getattr(error, "error_code", HTTPStatus.BAD_REQUEST), str(error))

    def _check(self, request: Request, form: Form) -> None:
        if request.method == "POST" and not hmac.compare_digest(
            form.get(CSRF, "").encode(), self.csrf(request).encode()
        ):
            why = "This form is older than the service. Load the page again, then send it."
            raise Refusal(HTTPStatus.FORBIDDEN, why)

    def show(self, request: Request, template: str, status: int = 200, **what: Any) -> Response:
        """Return a page."""
        token = request.scope.get("touchstone.token", ANYONE)
        shared = {"now": self.clock(), "csrf": self.csrf(request), "token": token, "path": request.url.path,
                  "currency": self.desk.settings.attribution.currency, "with_query": with_query(request)}  # fmt: skip
        return Response(
            self._templates.get_template(template).render(shared | what), status, HEADERS, "text/html; charset=utf-8"
        )

    def refusal(self, request: Request, status: int, why: str) -> Response:
        """Return a page that says what is wrong, and what to do."""
        return self.show(request, "refusal.html", int(status), why=why, title=HTTPStatus(status).phrase)

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
        """Return a CSV file; a text that a spreadsheet would run is disarmed."""
        written = StringIO()
        writer = csv.writer(written, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(columns)
        writer.writerows([harmless(cell) for cell in row] for row in rows)
        heads = {"content-disposition": f'attachment; filename="{name}.csv"', "x-content-type-options": "nosniff",
                 "cache-control": "no-store"}  # fmt: skip
        return Response(written.getvalue(), 200, heads, "text/csv; charset=utf-8")

    def csrf(self, request: Request) -> str:
        """Return what a form must bring along: it fits this service and this session, and no other page can know it."""
        session = request.cookies.get(SESSION, "")
        return hmac.new(self._secret, session.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def demand(self, request: Request, scope: str) -> str:
        """Return whose token it is, if it may do what needs a scope."""
        token = request.scope.get("touchstone.token", ANYONE)
        if not token.allows(scope):
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                f"Your token may only look. This takes one with the scope {scope}: ask whoever runs the service.",
            )
        return str(token.name)


def back(to: str) -> Response:
    """Return to a page after a form was posted."""
    return RedirectResponse(to, HTTPStatus.SEE_OTHER)


def asked(request: Request) -> dict[str, str]:
    """Return what a query says; fields left empty say nothing."""
    return {name: value for name, value in request.query_params.items() if value}


def with_query(request: Request) -> Callable[..., str]:
    """Return a function that makes the page's own address with some of its query changed; None takes a field away."""

    def address(path: str | None = None, **changed: object) -> str:
        kept = {name: value for name, value in asked(request).items() if name not in changed}
        query = urlencode(kept | {name: value for name, value in changed.items() if value is not None})
        return f"{path or request.url.path}{'?' if query else ''}{query}"

    return address
