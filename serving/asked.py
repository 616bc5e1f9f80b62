"""A request as its head tells it, and how one is refused: with a sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple

from serving.tokens import NOBODY, Token

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
Headers = Mapping[bytes, bytes]


@dataclass(frozen=True)
class Way:
    """What is known of a path: what it is called in the metrics, which scope it needs, and how it is asked."""

    name: str
    scope: str | None  # None: open to anyone
    takes_forms: bool = False
    is_signed: bool = False  # whose it is, a signature tells, and no token


@dataclass(slots=True)
class Asked:
    """A request: what its head says, and whose it turns out to be."""

    scope: Any
    way: Way
    headers: Headers
    request_id: bytes
    begun: float
    token: Token = NOBODY

    @property
    def is_of_a_browser(self) -> bool:
        """Whether a person looks for a page, who can be asked for the token."""
        return self.scope["method"] == "GET" and b"text/html" in self.headers.get(b"accept", b"")


class Ended(NamedTuple):
    """A request that was answered."""

    asked: Asked
    status: int
    seconds: float


class Refused(Exception):
    """A request that is not let in."""

    def __init__(self, status: HTTPStatus, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence
        self.headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]


def busy(why: str) -> Refused:
    """Return the refusal of what is asked too often."""
    return Refused(HTTPStatus.TOO_MANY_REQUESTS, f"{why} Ask again in a second.", retry_after="1")


async def refuse(status: int, sentence: str, send: Any, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    """Answer with a sentence."""
    body = json.dumps({"error": sentence}).encode()
    head = [(b"content-type", JSON.encode()), (b"content-length", str(len(body)).encode()), *(headers or [])]
    await send({"type": "http.response.start", "status": int(status), "headers": head})
    await send({"type": "http.response.body", "body": body})
