"""A service whose pages people open: a trained company, with a past, and a few people who test the pages' manners."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from served import serving, until_ready
from trained import NOW, Company

from attribution import runs
from features.history import microseconds
from features.ingestion import ingest
from features.lake import Lake
from features.reading import read_history
from serving import batch, ledger, service
from serving.scorer import promote
from serving.tokens import create

SCRIPT, FORMULA = "<script>alert(1)</script>", '=HYPERLINK("http://evil.example","look")'
MEAN, BOUGHT, SHY = "X-mean", "X-bought", "X-shy"  # leads: with a mean name, who closed by a mean campaign, who objects
WEEKS_AGO = (20, 19, 18, 2, 1, 0)  # when scores were stored


@dataclass(frozen=True)
class Morning:
    """A running service: its workspace, and a client whose token may do all."""

    workspace: Path
    url: str
    client: httpx.Client
    token: str
    looker: str  # a token that may only read


@pytest.fixture(scope="session")
def furnished(trained_company: Company, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Return a copy of the trained company in which pages have something to show, and two tokens."""
    workspace = tmp_path_factory.mktemp("morning")
    shutil.copytree(trained_company.workspace, workspace, dirs_exist_ok=True)
    lake, settings = Lake(workspace / "lake"), trained_company.settings
    ingest(lake, settings, _more(workspace / "more"), NOW)
    history = read_history(lake)
    for weeks in WEEKS_AGO:
        then = microseconds(NOW - timedelta(weeks=weeks))
        batch.store(lake, batch.score_open(trained_company.scorer, history, settings.goal, then))
    run = runs.attribute(lake, settings, NOW)
    runs.store(lake, run)
    ledger.keep(workspace, run.summary(), NOW.isoformat())
    _second_model(workspace / "models", trained_company.scorer.version)
    return workspace, create(workspace, "Ada", ["admin"], NOW), create(workspace, "Bob", ["read"], NOW)


@pytest.fixture(scope="module")
def morning(furnished: tuple[Path, str, str], trained_company: Company) -> Iterator[Morning]:
    """Run the service on it, at the moment when its history ends; no longer than a module, whose clock is its own."""
    workspace, token, looker = furnished
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "now", lambda: NOW)
        with serving(workspace, trained_company.settings) as client:
            client.headers["authorization"] = f"Bearer {token}"
            until_ready(client)
            for _ in range(1_000):  # and the book is made
                if "One moment" not in client.get("/channels").text:
                    break
                time.sleep(0.05)
            yield Morning(workspace, str(client.base_url).rstrip("/"), client, token, looker)


def _more(folder: Path) -> list[Path]:
    """Write what no company wants to find in its history."""
    folder.mkdir()
    lately, earlier = ((NOW - timedelta(days=days)).isoformat() for days in (3, 30))
    rows = {
        "leads": [
            {"lead_id": MEAN, "created_at": earlier, "name": SCRIPT, "company": FORMULA, "owner": SCRIPT},
            {"lead_id": BOUGHT, "created_at": earlier, "name": "Cleo", "company": "Bought & Sons"},
            {"lead_id": SHY, "created_at": earlier, "name": "Shy", "objects_to_profiling": True},
        ],
        "touches": [
            {"lead_id": lead, "occurred_at": lately, "kind": "ad_click", "channel": "Display", "campaign": FORMULA}
            for lead in (MEAN, BOUGHT, SHY)
        ],
        "stages": [{"lead_id": BOUGHT, "occurred_at": NOW.replace(hour=1).isoformat(), "stage": "won", "amount": 1000}],
    }
    files = [folder / f"{name}.jsonl" for name in rows]
    for file in files:
        file.write_text("\n".join(json.dumps(row) for row in rows[file.stem]), "utf-8")
    return files


def _second_model(models: Path, version: str) -> None:
    """Let another model have served before: a copy of the first that knows of one lead more."""
    from dataclasses import replace

    from serving.scorer import MODEL, load, save

    first = load(models / version)
    other = save(models, replace(first.spec, leads=first.spec.leads + 1), (models / version / MODEL).read_text())
    promote(models, other.version)
    promote(models, version)
