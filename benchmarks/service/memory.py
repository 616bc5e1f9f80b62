"""Memory: after hostile bodies, and after many good ones."""

from __future__ import annotations

from http.client import HTTPConnection
from pathlib import Path

from benchmarks.service.bars import MISSED, bar
from benchmarks.service.load import by_id, each, open_leads, with_history
from benchmarks.service.servers import touchstone


def hostile(workspace: Path) -> None:
    """Bodies that are not what they should be."""
    deep = b"[" * 1_000_000
    bodies = {
        "100 MB declared": b"", "a million deep": b'{"lead_ids": ' + deep,
        "deep attributes": b'{"leads": [{"attributes": ' + deep,
        "NaN": b'{"leads": [{"lead_id": "a", "created_at": "2026-01-01T00:00:00Z", "attributes": {"x": NaN}}]}',
        "1e999": b'{"leads": [{"lead_id": "a", "created_at": "2026-01-01T00:00:00Z", "attributes": {"x": 1e999}}]}',
        "pickle": b"cos\nsystem\n(S'true'\ntR.", "empty": b"",
        "an object of 7 MB": b'{"x": "' + b"y" * 7_000_000 + b'"}',
    }  # fmt: skip
    with touchstone(workspace) as ours:
        ours.ask("POST", "/score", by_id(open_leads(ours, 1)))
        before = ours.megabytes()
        for name, body in bodies.items():
            connection = HTTPConnection("127.0.0.1", ours.port, timeout=20)
            connection.putrequest("POST", "/score")
            connection.putheader("content-type", "application/json")
            connection.putheader("content-length", str(100_000_000 if "100 MB" in name else len(body)))
            connection.endheaders()
            try:
                connection.send(body)
                reply = connection.getresponse()
                status, said = reply.status, reply.read()[:90]
            except OSError as error:
                status, said = 0, str(error).encode()
            print(f"  {name}: {status} {said.decode()}")
            if not 400 <= status < 500:
                MISSED.append(name)
        status = _chunked(ours.port)
        print(f"  100 MB in chunks: {status}")
        bar("memory grew by, MB", ours.megabytes() - before, most=32)


def _chunked(port: int) -> str:
    """Send 100 MB in chunks, for as long as they are taken."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("POST", "/score")
    connection.putheader("content-type", "application/json")
    connection.putheader("transfer-encoding", "chunked")
    connection.endheaders()
    sent = 0
    try:
        while sent < 100:
            connection.send(b"f4240\r\n" + b" " * 1_000_000 + b"\r\n")
            sent += 1
        connection.send(b"0\r\n\r\n")
    except OSError:
        return f"hung up on after {sent} MB"
    reply = connection.getresponse()
    return f"{reply.status} after {sent} MB"


def memory(workspace: Path) -> None:
    """50,000 requests."""
    with touchstone(workspace) as ours:
        lead_ids = open_leads(ours, 500)
        bodies = [by_id([one]) for one in lead_ids] + [with_history(10, n) for n in range(20)]
        each(ours, "/score", bodies, 10_000)
        before = ours.megabytes()
        each(ours, "/score", bodies, 50_000)
        bar("memory grew by, MB", ours.megabytes() - before, most=16)
