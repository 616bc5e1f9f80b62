"""The app: the guard, our own routes, the pages, and BentoML's exported service for the rest, as one ASGI app."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http import HTTPStatus
from typing import Any, TypeVar

from bentoml.exceptions import BentoMLException
from prometheus_client import CollectorRegistry, make_asgi_app
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route, Router

from features.errors import DataError
from serving import pages, webhooks
from serving.api import CALLS, DOCS, METRICS, OPEN, Call
from serving.asked import Way, refuse
from serving.brought import Brought, request_of
from serving.desk import Desk
from serving.groups import is_quick
from serving.messages import Message, ScoreRequest, sentence
from serving.openapi import document

Done = TypeVar("Done")
Clock = Callable[[], datetime]
JSON = (b"content-type", b"application/json")
SMALL = 5_000  # bytes of a body that is read at once
LARGE = 100_000  # bytes of a body beyond which it takes longer than others should wait
LOOK_SECONDS = 0.01  # of work, after which the loop looks who else has come


class Turns:
    """Work on the loop, piece after piece; every few milliseconds the loop looks who else has come, and refuses them.

    To look after each piece would take a seventh of what can be done, once many have come.
    """

    def __init__(self) -> None:
        self._pieces = deque[tuple[Callable[[], Any], asyncio.Future[Any]]]()

    async def done(self, piece: Callable[[], Done], *, alone: bool) -> Done:
        """Return what a piece of work comes to, once it is its turn, which is at once for who is alone."""
        if alone and not self._pieces:
            return piece()
        loop = asyncio.get_running_loop()
        if not self._pieces:
            loop.call_soon(self._work, loop)
        future = loop.create_future()
        self._pieces.append((piece, future))
        found: Done = await future
        return found

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        until = loop.time() + LOOK_SECONDS
        while self._pieces:
            piece, future = self._pieces[0]
            if not future.cancelled():
                try:
                    future.set_result(piece())
                except Exception as error:  # noqa: BLE001  # it is for who waits for it
                    future.set_exception(error)
            self._pieces.popleft()
            if loop.time() > until:
                break
        if self._pieces:
            loop.call_soon(self._work, loop)


class App:
    """Answers what the guard let in. ``inner`` is BentoML's app, ``threads`` work on what takes longer.

    ``environment`` holds what webhooks are signed with.
    """

    def __init__(
        self, desk: Desk, inner: Any, registry: CollectorRegistry, clock: Clock, environment: Mapping[str, str]
    ) -> None:
        self.desk, self.inner, self.clock = desk, inner, clock
        self.metrics = make_asgi_app(registry)
        self.posts = {call.path: call for call in CALLS if call.method == "POST"}
        self.gets = [Route(call.path, self._get(call)) for call in CALLS if call.method == "GET"]
        self.pages = pages.routes(desk, clock)
        self.hooks = webhooks.route(desk, clock, environment)
        own = (Route(DOCS, self._docs), Route("/readyz", self._ready), self.hooks)
        self.router = Router([*self.gets, *own, *self.pages])
        self.threads = ThreadPoolExecutor(2, "answer")
        self._turns = Turns()
        self.draining = False

    def way(self, method: str, path: str) -> Way:
        """Return what the guard has to know of a path."""
        if path in OPEN or path.startswith(pages.ASSETS):
            return Way(path, None, takes_forms=True)
        call = self.posts.get(path)
        if call:
            return Way(path, call.scope)
        if path in {METRICS, DOCS}:
            return Way(path, "read")
        if _matches(self.hooks, method, path):
            return Way(self.hooks.path, None, takes_forms=True, is_signed=True)
        for route in (*self.gets, *self.pages):
            if _matches(route, method, path):
                return Way(route.path, "read", takes_forms=route in self.pages)
        return Way("elsewhere", "read")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        path, call = scope.get("path"), self.posts.get(scope.get("path", ""))
        if scope["type"] == "lifespan":
            await self.inner(scope, receive, send)
        elif call and scope["method"] == "POST":
            await self._post(call, scope, receive, send)
        elif call:
            await refuse(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} is posted to.", send, [(b"allow", b"POST")])
        elif path == METRICS:
            await self.metrics(scope, receive, send)
        elif path == "/livez":
            await _send(send, b'{"alive":true}')
        elif self._is_known(scope):
            await self.router(scope, receive, send)
        else:
            await refuse(HTTPStatus.NOT_FOUND, f"There is no {path} here. GET {DOCS} tells what there is.", send)

    def _is_known(self, scope: Any) -> bool:
        return any(route.matches(scope)[0] != Match.NONE for route in self.router.routes)

    async def _post(self, call: Call, scope: Any, receive: Any, send: Any) -> None:
        if not call.straight:
            await self.inner(scope, receive, _plainly(send))
            return
        body = (await receive())["body"]
        try:
            content = await self._answered(call, body, alone=scope.get("touchstone.alone", False))
        except (BentoMLException, DataError) as error:
            status = getattr(error, "error_code", HTTPStatus.BAD_REQUEST)
            await refuse(status, str(error), send)
        else:
            await _send(send, content)

    async def _answered(self, call: Call, body: bytes, *, alone: bool) -> bytes:
        """Return an answer; what takes longer is worked on beside the loop, so that others need not wait.

        The rest is worked on one at a time, and read no sooner, or the objects of all that wait would be in the way.
        """
        if len(body) > LARGE:
            return await self._beside(lambda: self._answer(call, _read(call, body)))
        if len(body) <= SMALL and self._is_at_hand(small := call.asks.model_validate_json(body)):
            return self._answer(call, small)
        found = await self._turns.done(lambda: self._quickly(call, body), alone=alone)
        return found if isinstance(found, bytes) else await self._beside(lambda: self._answer(call, found))

    def _quickly(self, call: Call, body: bytes) -> bytes | Message | Brought:
        """Return the answer, if it can be had at once; else what is asked."""
        request = _read(call, body)
        if isinstance(request, ScoreRequest | Brought) and is_quick(self.desk.residence, request):
            return self._answer(call, request)
        return request

    def _is_at_hand(self, request: Any) -> bool:
        return isinstance(request, ScoreRequest) and self.desk.said.answers(request)

    async def _beside(self, work: Callable[[], bytes]) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)

    def _answer(self, call: Call, request: Any) -> bytes:
        answer = call.answer(self.desk, request, self.clock())
        return answer.model_dump_json().encode() if isinstance(answer, BaseModel) else answer

    def _get(self, call: Call) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            try:
                asked = call.asks.model_validate_strings(dict(request.query_params))
                lead_id = request.path_params.get("lead_id")
                if "\0" in (lead_id or ""):
                    return _refusal(HTTPStatus.BAD_REQUEST, "lead_id: a NUL is in no lead's id.")
                content = await self._beside(lambda: self._answer(call, lead_id or asked))
            except ValidationError as error:
                return _refusal(HTTPStatus.BAD_REQUEST, sentence(error))
            except (BentoMLException, DataError) as error:
                return _refusal(getattr(error, "error_code", HTTPStatus.BAD_REQUEST), str(error))
            return Response(content, media_type="application/json")

        return endpoint

    async def _docs(self, _: Request) -> Response:
        return Response(to_json(document(CALLS)), media_type="application/json")

    async def _ready(self, _: Request) -> Response:
        ready = not self.draining
        said = {
            "ready": ready,
            "model_version": self.desk.champion.scorer.version,
            "worklist": self.desk.worklist.ready,
        }
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return Response(to_json(said), status, media_type="application/json")


def _read(call: Call, body: bytes) -> Message | Brought:
    return request_of(body) if call.asks is ScoreRequest else call.asks.model_validate_json(body)


def _matches(route: Route, method: str, path: str) -> bool:
    return route.matches({"type": "http", "method": method, "path": path, "headers": []})[0] != Match.NONE


async def _send(send: Any, content: bytes) -> None:
    head = [JSON, (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": content})


def _refusal(status: int, why: str) -> Response:
    return Response(to_json({"error": why}), status, media_type="application/json")


def _plainly(send: Any) -> Any:
    """Return what sends BentoML's answers on, and its refusals as ours are said."""
    status = HTTPStatus.OK.value

    async def plainly(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)
        if status < HTTPStatus.BAD_REQUEST:
            await send(message)
        elif message["type"] == "http.response.body":
            await refuse(status, _said(message["body"]), send)

    return plainly


def _said(body: bytes) -> str:
    """Return what BentoML says of a refusal: JSON, the same in a list, or plain text."""
    try:
        said = json.loads(body)
        return str((said[0] if isinstance(said, list) else said)["error"])
    except ValueError:
        return body.decode(errors="replace")
