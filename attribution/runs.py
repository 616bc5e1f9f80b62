"""Runs: attribution of what the lake holds, stored once and never changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from attribution.credit import Attribution, credit, summary
from attribution.journeys import journeys
from attribution.paths import read_paths
from features.contract import INGESTED, schema
from features.errors import DataError
from features.lake import Lake
from features.settings import Settings

UNATTRIBUTED = "(unattributed)"
CONVERSION = "won"

TOUCHES = """
    SELECT lead_id, event_id, occurred_at, channel FROM touches
    WHERE lead_id IS NOT NULL AND greatest(occurred_at, received_at) < $1
    AND kind NOT IN (SELECT unnest($2::VARCHAR[]))
"""
WINS = """
    SELECT lead_id, occurred_at, currency, CAST(round(coalesce(amount, 0) * 100) AS BIGINT) AS value_cents
    FROM stages WHERE stage IN (SELECT unnest($2::VARCHAR[])) AND greatest(occurred_at, received_at) < $1
    QUALIFY row_number() OVER (PARTITION BY lead_id ORDER BY occurred_at, row_hash) = 1
"""


@dataclass(frozen=True)
class Run:
    """One attribution: its identity, which follows from everything it was made from, and its answer."""

    run_id: str
    answer: Attribution

    def summary(self) -> dict[str, Any]:
        """Return the run for JSON."""
        return {"run_id": self.run_id, **summary(self.answer)}


def run_id(*made_from: object) -> str:
    """Return an identity that is the same for the same inputs."""
    return hashlib.sha256(json.dumps(made_from, sort_keys=True, default=str).encode()).hexdigest()[:12]


def attribute(lake: Lake, settings: Settings, as_of: datetime, models: Sequence[str] = ()) -> Run:
    """Credit the channels with each lead's first win, as known before ``as_of``.

    Raises:
        DataError: when there is no touch, a model is unknown, or amounts are in a currency without a rate.

    """
    how = settings.attribution
    named = list(models) or how.models
    versions = {name: version for name, version in lake.versions().items() if name in INGESTED}
    then = Lake(lake.folder, versions)
    touches = then.query(TOUCHES, [as_of, how.exclude_kinds]).to_pandas()
    wins = then.query(WINS, [as_of, settings.goal.won]).to_pandas()
    if touches.empty:
        raise DataError("The lake holds no touches of leads. Ingest some first: touchstone ingest touches.csv.")
    foreign = wins["currency"].dropna().loc[lambda currency: currency != how.currency]
    if len(foreign):
        raise DataError(
            f"{len(foreign)} won deals are in {', '.join(sorted(foreign.unique()))}, and attribution.currency is "
            f"{how.currency}. Convert the amounts, or report in that currency. Nothing was credited."
        )
    seen = journeys(touches, wins.drop(columns="currency"), pd.Timestamp(as_of), how.lookback_days)
    identity = run_id(versions, settings.goal.model_dump(), how.model_dump(), named, as_of.isoformat())
    return Run(identity, credit(seen, named, how.half_life_days))


def store(lake: Lake, run: Run) -> None:
    """Append a run's credit to the lake, unless it is there already."""
    if lake.query("SELECT 1 FROM credits WHERE run_id = $1 LIMIT 1", [run.run_id]).num_rows:
        return
    unattributed = pd.DataFrame({"model": run.answer.models, "channel": UNATTRIBUTED, **run.answer.unattributed})
    rows = pd.concat([run.answer.touches, unattributed.astype({"value": object})], ignore_index=True)
    rows = rows.assign(run_id=run.run_id, conversion=CONVERSION).reindex(columns=schema("credits").names)
    lake.append("credits", pa.Table.from_pandas(rows, schema("credits"), preserve_index=False))


def attribute_paths(file: Path, settings: Settings, models: Sequence[str] = ()) -> Run:
    """Credit the channels of a file of aggregated paths; needs no lake.

    Raises:
        DataError: naming everything that is wrong with the file or the models.

    """
    how = settings.attribution
    named = list(models) or how.models
    seen = read_paths(file)
    content = hashlib.sha256(file.read_bytes()).hexdigest()
    return Run(run_id(content, how.model_dump(), named), credit(seen, named, how.half_life_days))
