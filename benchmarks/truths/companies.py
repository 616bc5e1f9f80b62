"""The companies that answers are held against, how many of them there are, and their lakes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from features.ingestion import ingest
from features.lake import Lake
from features.settings import Settings
from simulation.company import Company
from simulation.files import write
from simulation.law import World

NOW = datetime(2026, 3, 2, tzinfo=UTC)
DAYS, HORIZON = 240, 90


class Size(NamedTuple):
    """How much is simulated."""

    judged: int  # leads whose truth is held against what became of them
    switched: int  # leads that live with and without a channel
    effects: int  # leads whose effects are the true ones
    companies: dict[int, int]  # leads → seeds, for the score
    credited: dict[int, int]  # leads → seeds, for the attribution
    tested: dict[int, int]  # leads → seeds, for experiments
    learned: int  # leads of another company that the attribution's baseline has learned from


FULL = Size(200_000, 10_000, 100_000, {2_000: 5, 20_000: 2}, {60_000: 3}, {60_000: 12}, 20_000)
QUICK = Size(2_000, 500, 2_000, {500: 1}, {2_000: 1}, {2_000: 2}, 1_000)


def ingested(
    name: str, world: World, companies: dict[int, int], first: int = 0
) -> Iterator[tuple[dict[str, Any], Company, Lake]]:
    """Yield companies of a world, their seeds counted from the first one, and their lakes."""
    for leads, seeds in companies.items():
        for seed in range(first, first + seeds):
            company = Company(NOW, leads, DAYS, seed=seed, world=world)
            with tempfile.TemporaryDirectory() as folder:
                lake = Lake(Path(folder) / "lake")
                ingest(lake, Settings(), write(company, Path(folder) / "files"), NOW)
                yield {"world": name, "leads": leads, "seed": seed}, company, lake
