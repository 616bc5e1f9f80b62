"""The edge of the service, around BentoML: what is let in, how a refusal is said, and what is counted.

BentoML's own start page loads Google's tag manager, its own metrics need its own launcher, and it reads forms and
other formats besides JSON. None of that is let through.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from time import perf_counter
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, make_asgi_app

METRICS = "/metrics"
PATHS = ("/score", "/livez", "/readyz", METRICS, "/docs.json")
JSON = "application/json"


class Edge:
    """An ASGI app around the service's."""

    def __init__(self, inner: Any) -> None:
        registry = CollectorRegistry()
        self.inner = inner
        self.metrics = make_asgi_app(registry)
        self.seconds = Histogram(
            "touchstone_request_seconds", "Seconds until a request was answered", ("path", "status"), registry=registry
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let in what may come in; answer the rest here."""
        refused = _refusal(scope) if scope["type"] == "http" else None
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
        elif refused:
            await _refuse(*refused, send)
        elif scope["path"] == METRICS:
            await self.metrics(scope, receive, send)
        else:
            await self._watched(scope, receive, send)

    async def _watched(self, scope: Any, receive: Any, send: Any) -> None:
        """Ask the service, say its refusals plainly, and take the time."""
        begun, status = perf_counter(), HTTPStatus.OK.value

        async def send_plainly(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            if status < HTTPStatus.BAD_REQUEST:
                await send(message)
            elif message["type"] == "http.response.body":
                await _refuse(status, _sentence(message["body"]), send)

        await self.inner(scope, receive, send_plainly)
        self.seconds.labels(scope["path"], status).observe(perf_counter() - begun)


def _refusal(scope: Any) -> tuple[int, str] | None:
    """Return the status and sentence for a request that is not for this service."""
    kind = dict(scope["headers"]).get(b"content-type", JSON.encode()).split(b";")[0].strip().decode("latin-1")
    if scope["path"] not in PATHS:
        return HTTPStatus.NOT_FOUND, f"There is no {scope['path']} here. Ask {', '.join(PATHS)}."
    if kind.lower() != JSON:
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The body is {kind}. Send JSON, with content-type {JSON}."
    return None


def _sentence(body: bytes) -> str:
    """Return what BentoML says of a refusal: JSON, the same in a list, or plain text."""
    try:
        said = json.loads(body)
        return str((said[0] if isinstance(said, list) else said)["error"])
    except ValueError:
        return body.decode(errors="replace")


async def _refuse(status: int, sentence: str, send: Any) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
