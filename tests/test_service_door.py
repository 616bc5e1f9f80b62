"""The door: how many connections may be open, and how large and how slow the head of a request may be."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from http import HTTPStatus
from typing import Any

import pytest
import uvicorn

from features.settings import Serve
from serving.door import Door, written
from serving.port import listen

ASKED = b"POST /score HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 2\r\n\r\n{}"


class Echo:
    """Answers with the length of the body, within limits."""

    limits = Serve(connections=3, head_kilobytes=1, body_seconds=0.3)  # type: ignore[call-arg]  # the rest has defaults

    def refused_at_once(self, scope: Mapping[str, Any]) -> bytes | None:
        """Refuse what is posted to /full, and what is posted to /end for good."""
        headers = {"/full up": (b"retry-after", b"1"), "/end": (b"connection", b"close")}.get(scope["path"])
        return written(HTTPStatus.TOO_MANY_REQUESTS, "Full.", [headers]) if headers else None

    async def __call__(self, _: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        said = b"%d" % len(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]})
        await send({"type": "http.response.body", "body": said})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    running = uvicorn.Server(uvicorn.Config(Echo(), lifespan="off", log_level="critical", loop="uvloop", http=Door))
    with listen(0) as opened:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [opened]})
        thread.start()
        yield opened.getsockname()[1]
        running.should_exit = True
        thread.join()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def answer(connection: socket.socket) -> tuple[int, bytes, bool]:
    """Return status, body, and whether the connection is closed after it, as the answer says."""
    with connection.makefile("rb") as read:
        status = int(read.readline()[9:12])
        head = dict(line.lower().rstrip().split(b": ") for line in iter(read.readline, b"\r\n"))
        return status, read.read(int(head[b"content-length"])), head.get(b"connection") == b"close"


def refusal(sentence: str) -> bytes:
    return json.dumps({"error": sentence}).encode()


@contextmanager
def asked(port: int, *parts: bytes, pause: float = 0) -> Iterator[socket.socket]:
    with closing(connected(port)) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        yield connection


def test_a_request_is_answered_whole_or_in_parts_and_the_next_on_the_same_connection(port: int) -> None:
    with asked(port, ASKED) as connection:
        assert answer(connection) == (200, b"2", False)
        for at in range(0, len(ASKED), 10):
            connection.sendall(ASKED[at : at + 10])
        assert answer(connection) == (200, b"2", False)
        time.sleep(0.5)  # longer than a head may take: none has begun
        connection.sendall(ASKED)
        assert answer(connection) == (200, b"2", False)


def test_a_large_body_is_no_large_head(port: int) -> None:
    with asked(port, ASKED.replace(b": 2", b": 9000")[:-2], b"x" * 4000, b"x" * 5000, pause=0.05) as connection:
        assert answer(connection) == (200, b"9000", False)
        connection.sendall(ASKED[:30])
        time.sleep(0.05)
        connection.sendall(ASKED[30:])
        assert answer(connection) == (200, b"2", False)


@pytest.mark.parametrize("begun", [b"", b"POST /score HT", ASKED[:50], ASKED + ASKED[:50]])
def test_a_head_that_dawdles_is_given_up(port: int, begun: bytes) -> None:
    late = "The head of the request did not arrive within 0.3 seconds."
    with asked(port, begun) as connection:
        if begun.startswith(ASKED):
            assert answer(connection) == (200, b"2", False)
        assert answer(connection) == (408, refusal(late), True)


def test_a_head_that_does_not_end_is_refused(port: int) -> None:
    large = "The head of the request is larger than 1 kB. Send less in headers and address."
    with asked(port, ASKED[:-6], *[b"\r\nx-more: " + b"x" * 200] * 5, pause=0.01) as connection:
        assert answer(connection) == (431, refusal(large), True)


def test_what_is_no_http_is_refused(port: int) -> None:
    with asked(port, b"\x16\x03\x01 hello\r\n\r\n") as connection:
        assert answer(connection) == (400, refusal("Invalid HTTP request received. Send HTTP/1.1."), True)


def test_so_many_connections_are_let_in_and_no_more_until_one_is_closed(port: int) -> None:
    many = "Too many connections are open. Ask again in a second."
    with ExitStack() as opened:
        kept = [opened.enter_context(asked(port, ASKED)) for _ in range(3)]
        assert [answer(one) for one in kept] == [(200, b"2", False)] * 3
        with asked(port) as another:
            assert answer(another) == (503, refusal(many), True)
        kept[0].close()
        time.sleep(0.1)
        with asked(port, ASKED) as another:
            assert answer(another) == (200, b"2", False)


FULL = ASKED.replace(b"/score", b"/full%20up?a=b")


def test_what_is_refused_at_once_is_answered_and_the_next_on_the_same_connection_is_heard(port: int) -> None:
    large = FULL.replace(b"2\r\n\r\n{}", b"200000\r\n\r\n" + b"x" * 200_000)
    with asked(port, FULL) as connection:
        assert answer(connection) == (429, refusal("Full."), False)
        connection.sendall(large)
        assert answer(connection) == (429, refusal("Full."), False)
        for at in range(0, len(FULL), 10):
            connection.sendall(FULL[at : at + 10])
        assert answer(connection) == (429, refusal("Full."), False)
        connection.sendall(ASKED)
        assert answer(connection) == (200, b"2", False)


def test_a_refused_body_that_dawdles_is_not_waited_for(port: int) -> None:
    with asked(port, FULL.replace(b"length: 2", b"length: 9")) as connection:
        assert answer(connection) == (429, refusal("Full."), False)
        begun = time.monotonic()
        assert connection.recv(1) == b""
        assert 0.1 < time.monotonic() - begun < 5


def test_who_is_refused_for_good_is_hung_up_on(port: int) -> None:
    took = list[float]()
    for _ in range(5):  # on a busy machine, one of them is in time
        with asked(port, ASKED.replace(b"/score", b"/end").replace(b"length: 2", b"length: 9000000")) as connection:
            begun = time.monotonic()
            assert answer(connection) == (429, refusal("Full."), True)
            assert connection.recv(1) == b""
            took.append(time.monotonic() - begun)
    assert min(took) < 0.2  # seconds, and so before a body is given up


@pytest.mark.parametrize("line", [b"connection: close", b"expect: 100-continue"])
def test_a_request_with_an_end_of_its_own_is_not_refused_at_once_but_looked_into(port: int, line: bytes) -> None:
    with asked(port, FULL.replace(b"host", line + b"\r\nhost")) as connection, connection.makefile("rb") as read:
        assert read.readline().split()[1] in {b"200", b"100"}


def test_nobody_is_answered_before_who_asked_first(port: int) -> None:
    with asked(port, ASKED + FULL) as connection:
        assert answer(connection)[0] == 200


def test_an_answer_of_one_sentence_is_whole_http() -> None:
    said = written(HTTPStatus.TOO_MANY_REQUESTS, "Full.", [(b"retry-after", b"1"), (b"x-request-id", b"r1")])
    assert said == (
        b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: 18\r\n"
        b'retry-after: 1\r\nx-request-id: r1\r\n\r\n{"error": "Full."}'
    )
