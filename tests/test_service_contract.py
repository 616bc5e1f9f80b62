"""The contract: whatever OpenAPI allows, and what it does not, is answered as OpenAPI says, and never by a failure."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)  # fmt: skip
from served import serving
from trained import Company

from serving.api import CALLS
from serving.openapi import document
from serving.webhooks import PATH

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
schema = schemathesis.openapi.from_dict(json.loads(json.dumps(document(CALLS))))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, trained_company: Company) -> Iterator[httpx.Client]:
    workspace = shutil.copytree(trained_company.workspace, tmp_path_factory.mktemp("contract") / "workspace")
    with serving(workspace, trained_company.settings) as client:
        yield client


@schema.parametrize()
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_openapi_describes(case: schemathesis.Case, client: httpx.Client) -> None:
    case.call_and_validate(base_url=str(client.base_url), checks=CHECKS)


def test_every_route_has_an_example_or_a_default_for_all_that_it_asks(client: httpx.Client) -> None:
    told = client.get("/docs.json").json()
    assert told == json.loads(json.dumps(document(CALLS)))
    assert set(told["paths"]) == {*(call.path for call in CALLS), PATH}


class Marker:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("path", [call.path for call in CALLS if call.method == "POST"])
@pytest.mark.parametrize("kind", ["application/json", "application/vnd.bentoml+pickle", "application/octet-stream"])
def test_a_pickle_never_runs(client: httpx.Client, tmp_path: Path, path: str, kind: str) -> None:
    marker = tmp_path / "ran"
    body = pickle.dumps(Marker(marker))
    reply = client.post(path, content=body, headers={"content-type": kind, "payload-container": "default"})
    assert 400 <= reply.status_code < 500
    assert not marker.exists()
    pickle.loads(body)  # noqa: S301  # it would, if it were let
    assert marker.exists()
