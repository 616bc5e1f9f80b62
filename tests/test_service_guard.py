"""The guard: who is let in, with what, how large, how soon, and how many at once; the rest is a cheap sentence."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import uvloop
from prometheus_client import CollectorRegistry

from features.errors import ConfigError
from features.settings import Serve, Settings
from serving.app import LOOK_SECONDS, Turns
from serving.asked import Way
from serving.audit import Audit, Line
from serving.guard import Guard
from serving.service import Application
from serving.tokens import Keyring, create, listed, revoke, tokens

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
Answer = tuple[int, dict[str, str], Any]
JSON = {"content-type": "application/json"}


def way(_: str, path: str) -> Way:
    scopes = {"/score": "score", "/events": "ingest", "/page": "read", "/livez": None}
    return Way(path, scopes.get(path, "admin"), takes_forms=path == "/page")


async def echo(_: Any, receive: Any, send: Any) -> None:
    """Answer with the length of the body."""
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(len(body)).encode()})


def limited(**limits: float) -> Serve:
    """Return the limits, with some of one's own."""
    return Serve.model_validate(limits)


def guard(keyring: Keyring | None = None, limits: Serve | None = None, inner: Any = echo) -> Guard:
    return Guard(inner, way, limits or limited(), keyring, CollectorRegistry(), lambda *_: None)


async def asked(
    guarded: Guard, path: str = "/score", body: bytes | list[bytes] = b"{}", method: str = "POST", pause: float = 0,
    **headers: str,
) -> Answer:  # fmt: skip
    parts = body if isinstance(body, list) else [body]
    coming = iter(parts)
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(pause)
        part = next(coming, None)
        if part is None:
            return {"type": "http.disconnect"}
        left = coming.__length_hint__()
        return {"type": "http.request", "body": part, "more_body": left > 0}

    async def send(message: Any) -> None:
        sent.append(message)

    named = {"host": "127.0.0.1:3000", **JSON, **{k.replace("_", "-"): v for k, v in headers.items()}}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
    await guarded({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
    head = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], head, json.loads(sent[1]["body"])


def ask(*args: Any, **kwargs: Any) -> Answer:
    return asyncio.run(asked(*args, **kwargs))


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path)


# Whose token it is


NEEDED = "A token is needed: send it as Authorization: Bearer TOKEN. `touchstone tokens create` makes one."


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer "}, {"authorization": "Bearer nonsense"}, {"authorization": "Basic eDp5"},
     {"cookie": "touchstone_session=nonsense"}, {"authorization": "Bearer ts_\xff_\xff"}],
)  # fmt: skip
def test_without_a_token_nothing_but_the_open_paths_answers(keyring: Keyring, headers: dict[str, str]) -> None:
    status, head, said = ask(guard(keyring), **headers)
    assert (status, head["www-authenticate"], said) == (401, "Bearer", {"error": NEEDED})
    assert ask(guard(keyring), "/livez", method="GET", **headers)[0] == 200


def test_a_token_opens_what_its_scopes_name_and_admin_all(keyring: Keyring, tmp_path: Path) -> None:
    score, admin = create(tmp_path, "crm", ["score"], NOW), create(tmp_path, "boss", ["admin"], NOW)
    assert ask(guard(keyring), "/score", authorization=f"Bearer {score}")[0] == 200
    sentence = "The token crm may not do this; it takes the scope ingest."
    assert ask(guard(keyring), "/events", authorization=f"Bearer {score}")[::2] == (403, {"error": sentence})
    assert ask(guard(keyring), "/events", authorization=f"Bearer {admin}")[0] == 200


def test_a_token_with_a_wrong_secret_is_nobody_s(keyring: Keyring, tmp_path: Path) -> None:
    one, other = create(tmp_path, "one", ["score"], NOW), create(tmp_path, "other", ["score"], NOW)
    mixed = "_".join([*one.split("_")[:2], *other.split("_")[2:]])
    assert keyring.holder(one) is not None
    for wrong in (mixed, one[:-1], one + "x", one.upper(), ""):
        assert keyring.holder(wrong) is None


def test_a_token_is_refused_as_soon_as_it_is_revoked(keyring: Keyring, tmp_path: Path) -> None:
    token = create(tmp_path, "crm", ["score"], NOW)
    guarded = guard(keyring)
    assert ask(guarded, authorization=f"Bearer {token}")[0] == 200
    revoke(tmp_path, "crm")
    assert ask(guarded, authorization=f"Bearer {token}")[0] == 401


def test_nobody_is_let_in_by_a_damaged_file_of_tokens(keyring: Keyring, tmp_path: Path) -> None:
    token = create(tmp_path, "crm", ["score"], NOW)
    (tmp_path / "tokens.json").write_text("[{")
    assert ask(guard(keyring), authorization=f"Bearer {token}")[0] == 401


def test_a_token_is_kept_as_a_hash_that_others_cannot_read(tmp_path: Path) -> None:
    token = create(tmp_path, "crm", ["read", "score"], NOW)
    file = tmp_path / "tokens.json"
    assert token.split("_", 2)[2] not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert listed(tmp_path) == [{"name": "crm", "scopes": ("read", "score"), "created_at": "2026-03-02T12:00:00+00:00"}]


def test_a_name_is_given_once_and_a_scope_is_a_known_one(tmp_path: Path) -> None:
    create(tmp_path, "crm", ["read"], NOW)
    with pytest.raises(ConfigError, match=r"^There is a token crm already\. Revoke it first, or"):
        create(tmp_path, "crm", ["read"], NOW)
    with pytest.raises(
        ConfigError, match=r"^write is no scope of a token\. Give some of read, score, ingest, admin\.$"
    ):
        create(tmp_path, "other", ["write"], NOW)
    with pytest.raises(ConfigError, match=r"^A token without a scope may do nothing\. Give some of read, "):
        create(tmp_path, "other", [], NOW)
    with pytest.raises(ConfigError, match=r"^There is no token gone\. `touchstone tokens list` names"):
        revoke(tmp_path, "gone")
    assert [token.name for token in tokens(tmp_path)] == ["crm"]


def test_a_browser_s_session_is_a_token_and_another_site_cannot_use_it(keyring: Keyring, tmp_path: Path) -> None:
    cookie = f"other=1; touchstone_session={create(tmp_path, 'ann', ['read'], NOW)}"
    own, elsewhere = "http://127.0.0.1:3000", "https://evil.example"
    assert ask(guard(keyring), "/page", cookie=cookie)[0] == 200
    assert ask(guard(keyring), "/page", cookie=cookie, origin=own)[0] == 200
    assert ask(guard(keyring), "/page", cookie=cookie, origin=elsewhere)[0] == 401


def test_on_loopback_without_tokens_only_names_of_this_machine_are_answered() -> None:
    for host in ("127.0.0.1:3000", "localhost:3000", "localhost", "[::1]:3000"):
        assert ask(guard(), host=host)[0] == 200
    sentence = "This service answers to 127.0.0.1 and localhost."
    for host in ("evil.example", "evil.example:3000", "127.0.0.1.evil.example"):
        assert ask(guard(), host=host)[::2] == (421, {"error": sentence})


def test_beyond_loopback_there_has_to_be_a_token(tmp_path: Path) -> None:
    sentence = (
        r"^The service may be reached from elsewhere on 0\.0\.0\.0, so it takes tokens, and there is none\. "
        r"Make one first: touchstone tokens create NAME --scope read$"
    )
    with pytest.raises(ConfigError, match=sentence):
        Application(tmp_path, Settings(), "0.0.0.0")  # noqa: S104


def test_a_token_that_asks_too_often_is_told_to_wait_and_others_are_not(keyring: Keyring, tmp_path: Path) -> None:
    one, other = create(tmp_path, "one", ["score"], NOW), create(tmp_path, "other", ["score"], NOW)
    guarded = guard(keyring, limited(requests_a_second=3))
    statuses = [ask(guarded, authorization=f"Bearer {one}")[0] for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    status, head, said = ask(guarded, authorization=f"Bearer {one}")
    assert (status, head["retry-after"], said) == (
        429, "1", {"error": "This token asks too often. Ask again in a second."},
    )  # fmt: skip
    assert ask(guarded, authorization=f"Bearer {other}")[0] == 200
    time.sleep(0.4)
    assert ask(guarded, authorization=f"Bearer {one}")[0] == 200


def test_the_audit_log_does_not_call_a_stranger_loopback(keyring: Keyring, tmp_path: Path) -> None:
    lines: list[Line] = []
    token = create(tmp_path, "crm", ["score"], NOW)
    for holders in (keyring, None):
        guarded = Guard(echo, way, limited(), holders, CollectorRegistry(), lines.extend)
        for said in (f"Bearer {token}", "Bearer guessed"):
            ask(guarded, authorization=said)
    found = [(line.token, line.status) for line in lines]
    assert found == [("crm", 200), ("nobody", 401), ("loopback", 200), ("loopback", 200)]


# What is read


@pytest.mark.parametrize("kind", ["text/plain", "application/vnd.bentoml+pickle", "multipart/form-data; boundary=x"])
def test_a_body_that_is_not_json_is_not_read(kind: str) -> None:
    status, _, said = ask(guard(), body=[], content_type=kind)
    named = kind.split(";", maxsplit=1)[0]
    assert (status, said) == (
        415, {"error": f"The body is {named}. Send JSON, with content-type application/json."},
    )  # fmt: skip


def test_forms_are_for_pages() -> None:
    form = {"content_type": "application/x-www-form-urlencoded"}
    assert ask(guard(), "/page", **form)[0] == 200
    assert ask(guard(), "/score", **form)[0] == 415


LARGE = "The body is larger than 0.001 MB. Send several requests."


def test_a_body_is_refused_by_what_it_says_of_its_size_or_once_too_much_has_come() -> None:
    guarded = guard(limits=limited(body_megabytes=0.001))
    assert ask(guarded, body=b"x" * 1000, content_length="1000")[::2] == (200, 1000)
    assert ask(guarded, body=[], content_length="1001")[::2] == (413, {"error": LARGE})
    assert ask(guarded, body=[b"x" * 400] * 1000)[::2] == (413, {"error": LARGE})
    assert ask(guarded, body=[], content_length="-1")[0] == 413


def test_a_body_that_dawdles_is_given_up() -> None:
    guarded = guard(limits=limited(body_seconds=0.1))
    status, head, said = ask(guarded, body=[b"x"] * 50, pause=0.03)
    assert (status, head["connection"], said) == (
        408, "close", {"error": "The body did not arrive within 0.1 seconds."},
    )  # fmt: skip


def test_a_body_that_breaks_off_is_refused() -> None:
    assert ask(guard(), body=[])[::2] == (400, {"error": "The body ended before it was whole."})


# How many at once


def test_those_who_wait_too_many_are_told_so_at_once_and_slow_bodies_do_not_count() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.2)
        await echo(scope, receive, send)

    async def all_at_once() -> tuple[list[Answer], list[Answer]]:
        guarded = guard(limits=limited(waiting=4), inner=slow)
        dawdlers = [asyncio.create_task(asked(guarded, body=[b"x"] * 4, pause=0.2)) for _ in range(50)]
        await asyncio.sleep(0.05)
        begun = time.monotonic()
        found = await asyncio.gather(*(asked(guarded) for _ in range(10)))
        assert time.monotonic() - begun < 0.4
        return list(found), [await one for one in dawdlers]

    found, _ = asyncio.run(all_at_once())
    assert sorted(status for status, _, _ in found) == [200] * 4 + [429] * 6
    refused = next(one for one in found if one[0] == HTTPStatus.TOO_MANY_REQUESTS)
    assert refused[1]["retry-after"] == "1"
    assert refused[2] == {"error": "Too many requests wait already. Ask again in a second."}


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_the_loop_looks_every_few_milliseconds_who_else_has_come(run: Callable[[Any], None]) -> None:
    done, turns = list[str](), Turns()

    def piece(kind: str, seconds: float) -> None:
        time.sleep(seconds)
        done.append(kind)

    async def look() -> None:
        for _ in range(100):
            done.append("look")
            await asyncio.sleep(0)

    async def all_at_once() -> None:
        quick = [turns.done(partial(piece, "quick", 0), alone=False) for _ in range(3)]
        slow = [turns.done(partial(piece, "slow", LOOK_SECONDS * 1.1), alone=False) for _ in range(3)]
        await asyncio.gather(*quick, *slow, look())

    run(all_at_once())
    assert [kind for kind in done if kind != "look"] == ["quick"] * 3 + ["slow"] * 3
    assert done[done.index("quick") :][:3] == ["quick"] * 3
    assert ("slow", "slow") not in pairwise(done)


def test_who_is_alone_need_not_wait_for_the_loop_and_who_comes_after_others_does() -> None:
    async def first_and_second() -> list[str]:
        done, turns = list[str](), Turns()
        asyncio.get_running_loop().call_soon(done.append, "the loop")
        await turns.done(lambda: done.append("alone"), alone=True)
        await asyncio.gather(
            turns.done(lambda: done.append("first"), alone=False), turns.done(lambda: done.append("second"), alone=True)
        )
        return done

    assert asyncio.run(first_and_second()) == ["alone", "the loop", "first", "second"]


def test_a_piece_of_work_that_fails_fails_for_who_asked_and_who_has_gone_needs_none() -> None:
    done = list[str]()

    async def all_at_once() -> list[Any]:
        turns = Turns()
        pieces: list[Callable[[], Any]] = [lambda: 1, lambda: 1 / 0, lambda: 3]
        asking = [asyncio.create_task(turns.done(piece, alone=False)) for piece in pieces]
        gone = asyncio.create_task(turns.done(lambda: done.append("for nobody"), alone=False))
        await asyncio.sleep(0)
        gone.cancel()
        return [*await asyncio.gather(*asking, return_exceptions=True), await turns.done(lambda: 4, alone=False)]

    one, failed, three, four = asyncio.run(all_at_once())
    assert (one, three, four, done) == (1, 3, 4, [])
    assert isinstance(failed, ZeroDivisionError)


def test_who_cannot_be_served_now_need_not_send_the_body() -> None:
    async def endless(*_: Any) -> None:
        await asyncio.Event().wait()

    async def one_more() -> Answer:
        guarded = guard(limits=limited(waiting=1), inner=endless)
        first = asyncio.create_task(asked(guarded))
        await asyncio.sleep(0.01)
        said = await asked(guarded, body=[b"x"] * 100, pause=1)
        first.cancel()
        return said

    begun = time.monotonic()
    assert asyncio.run(one_more())[0] == 429
    assert time.monotonic() - begun < 1


def test_a_head_that_came_whole_may_be_too_large_too() -> None:
    large = "The head of the request is larger than 1 kB. Send less in headers and address."
    guarded = guard(limits=limited(head_kilobytes=1))
    assert ask(guarded, x_more="x" * 900)[0] == 200
    assert ask(guarded, x_more="x" * 1000)[::2] == (431, {"error": large})


def test_after_a_failure_the_place_is_free_again() -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("a secret")

    guarded = guard(limits=limited(waiting=1), inner=broken)
    for _ in range(3):
        assert ask(guarded)[::2] == (500, {"error": "The service failed; its log says why."})
    assert guarded.waiting == 0


# What is noted


def test_a_request_keeps_its_id_or_is_given_one() -> None:
    assert ask(guard(), x_request_id="abc-1")[1]["x-request-id"] == "abc-1"
    for odd in ("", "a b", "x" * 65, "\r\nset-cookie: a"):
        given = ask(guard(), x_request_id=odd)[1]["x-request-id"]
        assert len(given) == 16
        assert given != odd


def test_while_it_stops_every_client_is_told_to_come_back_on_another_connection() -> None:
    guarded = guard()
    assert "connection" not in ask(guarded)[1]
    guarded.draining = True
    assert ask(guarded)[1]["connection"] == "close"


def test_the_audit_log_turns_over_and_keeps_its_latest_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.audit.MOST_BYTES", 300)
    monkeypatch.setattr("serving.audit.KEPT", 2)
    for start in (0, 5):  # a service that starts again goes on where it was
        audit = Audit(tmp_path, lambda: NOW)
        for i in range(start, start + 5):
            audit.write([Line("crm", "GET", "/model", 200, f"r{i}")])
        audit.close()
    logs = {file.name: file.read_text().splitlines() for file in tmp_path.glob("audit.jsonl*")}
    told = {name: [json.loads(line)["request_id"] for line in lines] for name, lines in logs.items()}
    assert told == {"audit.jsonl": ["r9"], "audit.jsonl.1": ["r6", "r7", "r8"], "audit.jsonl.2": ["r3", "r4", "r5"]}


def test_a_full_disk_costs_a_line_of_the_audit_log_and_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "audit.jsonl").symlink_to("/dev/full")
    audit = Audit(tmp_path, lambda: NOW)
    audit.write([Line("crm", "GET", "/model", 200, "r1")])
    audit.close()
    assert caplog.messages == [
        f"The audit log {tmp_path / 'audit.jsonl'} lacks a line: [Errno 28] No space left on device."
    ]


def test_the_audit_log_says_who_asked_what_and_names_nobody(tmp_path: Path) -> None:
    audit = Audit(tmp_path, lambda: NOW)
    asked = [Line("crm", "GET", f"/leads/{lead}", 200, "r1") for lead in ("ada", "bob", "ada")]
    audit.write(asked)
    audit.write([Line("crm", "POST", "/score", 429, "r2")])
    audit.close()
    text = (tmp_path / "audit.jsonl").read_text()
    ada, bob, again, score = map(json.loads, text.splitlines())
    assert "ada" not in text
    assert ada == again
    assert ada["path"] == Audit(tmp_path, lambda: NOW).hashed("/leads/ada") != bob["path"]
    assert score == {
        "at": "2026-03-02T12:00:00+00:00", "token": "crm", "method": "POST", "path": "/score", "status": 429,
        "request_id": "r2",
    }  # fmt: skip


def test_tokens_are_made_listed_and_revoked_on_the_command_line(
    tmp_path: Path, command: Callable[..., tuple[int, str]]
) -> None:
    status, made = command(
        "tokens", "create", "crm", "--scope", "read", "--scope", "score", "--json", workspace=tmp_path
    )
    assert status == 0
    assert Keyring(tmp_path).holder(json.loads(made)["token"]) is not None
    assert [
        row["name"] for row in json.loads(command("tokens", "list", "--json", workspace=tmp_path)[1])["tokens"]
    ] == ["crm"]
    assert command("tokens", "revoke", "crm", workspace=tmp_path) == (0, "crm is revoked.\n")
    assert command("tokens", "revoke", "crm", workspace=tmp_path)[0] == 2


def test_a_host_that_is_not_here_is_refused() -> None:
    from serving.port import listen

    with pytest.raises(ConfigError, match=r"^Port 0 of 192\.0\.2\.1 cannot be used: .*\. Choose another"):
        listen(0, "192.0.2.1")


# Refused at once


def at_once(guarded: Guard, path: str = "/score", method: str = "POST", **headers: str) -> Answer | None:
    """Return what is refused by its head alone."""
    named = {"host": "127.0.0.1:3000", **JSON, **headers}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    said = guarded.refused_at_once({"type": "http", "method": method, "path": path, "headers": raw})
    if said is None:
        return None
    (first, *lines), body = said.split(b"\r\n\r\n")[0].decode().split("\r\n"), said.split(b"\r\n\r\n")[1]
    return int(first.split()[1]), dict(line.split(": ") for line in lines), json.loads(body)


def full(keyring: Keyring | None = None, audit: Any = lambda *_: None) -> Guard:
    guarded = Guard(echo, way, limited(waiting=3), keyring, CollectorRegistry(), audit)
    guarded.waiting = 3
    return guarded


def test_while_all_places_are_taken_what_is_posted_is_refused_by_its_head() -> None:
    guarded = full()
    status, head, said = at_once(guarded, **{"x-request-id": "r1"}) or (0, {}, None)
    assert (status, said) == (429, {"error": "Too many requests wait already. Ask again in a second."})
    assert (head["retry-after"], head["x-request-id"], head["content-type"]) == ("1", "r1", "application/json")
    assert ask(guarded)[::2] == (status, said)
    guarded.waiting -= 1
    assert at_once(guarded) is None


@pytest.mark.parametrize(("path", "method"), [("/livez", "POST"), ("/page", "GET"), ("/score", "HEAD")])
def test_what_waits_for_nothing_is_never_refused_at_once(path: str, method: str, keyring: Keyring) -> None:
    assert at_once(full(), path, method) is None
    assert at_once(full(keyring), path, method) is None


def test_while_there_is_room_nobody_is_refused_at_once(keyring: Keyring) -> None:
    guarded = full(keyring)
    guarded.waiting -= 1
    assert at_once(guarded) is None  # and is told what is missing in the guard's own order


def test_who_has_no_token_is_told_so_though_all_places_are_taken(keyring: Keyring, tmp_path: Path) -> None:
    token = create(tmp_path, "crm", ["score"], NOW)
    assert (at_once(full(keyring)) or ())[::2] == (401, {"error": NEEDED})
    assert (at_once(full(keyring), authorization=f"Bearer {token}") or ())[:1] == (429,)
    assert (at_once(full(keyring), "/events", authorization=f"Bearer {token}") or ())[:1] == (403,)


def test_whoever_is_refused_stands_in_the_audit_log_by_name(keyring: Keyring, tmp_path: Path) -> None:
    log = list[Line]()
    guarded = full(keyring, log.extend)
    token = create(tmp_path, "crm", ["score"], NOW)
    at_once(guarded, authorization=f"Bearer {token}", **{"x-request-id": "r1"})
    assert log == []  # until one that was let in ends
    for request_id in ("r2", "r3"):
        ask(guarded, authorization=f"Bearer {token}", x_request_id=request_id)
    assert log == [Line("crm", "POST", "/score", 429, request_id) for request_id in ("r1", "r2", "r3")]


def test_a_service_that_stops_closes_the_connection_of_whom_it_refuses_at_once() -> None:
    guarded = full()
    assert "connection" not in (at_once(guarded) or (0, {}, None))[1]
    guarded.draining = True
    assert (at_once(guarded) or (0, {}, None))[1]["connection"] == "close"
