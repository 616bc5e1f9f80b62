"""An object store on this machine, whose bucket is new for every test that asks for one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count

import httpx
import pytest

NUMBERS = count()
KEYS = {
    "AWS_ACCESS_KEY_ID": "team",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "1",
}


def absent(what: str) -> None:
    """Skip a test for want of something; fail where CI must have it."""
    reason = f"{what}, so what a team shares goes unchecked."
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Return the address of a server that speaks S3."""
    if not (find_spec("moto") and find_spec("obstore")):
        absent("moto or obstore is not installed (make install EXTRAS=dev,team)")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    # In a process of its own: Delta holds Python's lock while it waits for an answer.
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            httpx.get(f"{address}/moto-api/", trust_env=False)
            break
        except httpx.ConnectError:
            time.sleep(0.05)
    yield address
    server.terminate()
    server.wait()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of an empty bucket, and let the environment hold what opens it."""
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": s3}.items():
        monkeypatch.setenv(name, value)
    return new_bucket(s3)


def new_bucket(s3: str) -> str:
    """Make a bucket, and return its address."""
    name = f"team-{next(NUMBERS)}"
    httpx.put(f"{s3}/{name}", trust_env=False).raise_for_status()
    return f"s3://{name}/touchstone"
