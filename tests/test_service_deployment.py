"""Deployment: what ships to run the service elsewhere names things that exist, and runs the guarded service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

SERVE = ["serve", "--host", "0.0.0.0", "--port", "3000"]  # noqa: S104  # inside a container, with tokens


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, with their lines joined."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", dockerfile, flags=re.MULTILINE))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def test_the_dockerfile_copies_what_is_there_and_runs_the_guarded_service_as_nobody_special() -> None:
    found = instructions((ROOT / "Dockerfile").read_text("utf-8"))
    copied = [source for verb, rest in found if verb == "COPY" for source in rest.split()[:-1]]
    assert all((ROOT / source).exists() for source in copied)
    rooms = {file.parent.name for file in ROOT.glob("*/__init__.py") if file.parent.name != "tests"}
    assert rooms <= {*copied}
    told = dict(found)
    assert told["ENTRYPOINT"] == '["touchstone"]'
    assert yaml.safe_load(told["CMD"]) == SERVE
    assert told["USER"] == "touchstone"


def test_compose_has_the_four_services_and_no_secret_of_its_own() -> None:
    found = read("compose.yaml")
    services = found["services"]
    assert {"touchstone", "mlflow", "postgres", "store"} <= set(services)
    for name, service in services.items():
        assert {*service.get("depends_on", {})} <= set(services), name
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= set(found["volumes"]), name
        assert "build" in service or re.fullmatch(r"[\w./-]+:(?!latest)[\w.-]+", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET", key):
                assert re.fullmatch(r"\$\{\w+:\?set it in \.env\}", value), (name, key)
    assert services["touchstone"]["environment"]["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"


def test_kubernetes_runs_one_replica_and_asks_the_paths_that_need_no_token() -> None:
    documents = {
        (one["kind"], one["metadata"]["name"]): one
        for one in yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text())
    }
    spec = documents["Deployment", "touchstone"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert spec["replicas"] == 1
    assert container["args"] == SERVE
    probes = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert probes == {"startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    claim = spec["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert ("PersistentVolumeClaim", claim) in documents
    job = documents["CronJob", "touchstone-score"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert job["containers"][0]["args"][0] == "score"


def test_bentoml_builds_the_service_and_its_container_runs_the_guarded_one(tmp_path: Path) -> None:
    environment = os.environ | {"BENTOML_HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "True"}
    words = [str(Path(sys.executable).with_name("bentoml")), "build", "--version", "tried", str(ROOT)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    bento = tmp_path / "bentos" / "touchstone" / "tried"
    routes = {api["route"] for api in yaml.safe_load((bento / "bento.yaml").read_text())["schema"]["routes"]}
    assert {"/score", "/score/flat", "/explain", "/events", "/feedback"} <= routes
    assert (bento / "src" / "serving" / "guard.py").exists()
    lines = (bento / "env" / "docker" / "Dockerfile").read_text().splitlines()
    last = {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in lines if line.startswith(("ENTRY", "CMD"))}
    assert yaml.safe_load(last["ENTRYPOINT"]) == ["python", "-m", "touchstone"]
    assert yaml.safe_load(last["CMD"]) == SERVE


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "deploy/kubernetes.yaml", "bentofile.yaml"])
def test_the_deployment_page_tells_of_every_file(name: str) -> None:
    assert name in (ROOT / "docs" / "deployment.md").read_text("utf-8")
