"""A small company with a champion, trained once for all tests that need one. They read it and never write to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.history import History, microseconds
from features.ingestion import files_in, ingest
from features.lake import Lake
from features.reading import read_history
from features.settings import Settings
from serving.scorer import Scorer, champion
from simulation.company import Company as Simulated
from simulation.files import write
from training.train import Trained, train

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Company:
    """A workspace, what its lake holds, and what its training said."""

    workspace: Path
    lake: Lake
    settings: Settings
    history: History
    trained: Trained
    scorer: Scorer
    as_of: int = microseconds(NOW)


@pytest.fixture(scope="session")
def trained_company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    """Return 1,200 leads of 400 days, and the champion that learned from them."""
    workspace = tmp_path_factory.mktemp("company")
    settings, lake = Settings.model_validate({"training": {"trees": 40}}), Lake(workspace / "lake")
    files = write(Simulated(NOW, leads=1200, days=400), workspace / "files")
    ingest(lake, settings, files_in(files), NOW)
    result = train(lake, settings, workspace, NOW)
    return Company(workspace, lake, settings, read_history(lake), result, champion(workspace / "models"))
