"""The ledger: the attribution runs of a workspace, with their intervals, as they were printed when they were made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from attribution.models import credits_touches
from features.store import share

FOLDER = "attribution-runs"


def keep(workspace: Path, summary: dict[str, Any], as_of: str) -> None:
    """Keep what a run said, beside its moment; a run that is kept already is left as it is."""
    folder = workspace / FOLDER
    folder.mkdir(exist_ok=True)
    file = folder / f"{summary['run_id']}.json"
    if not file.exists():
        share(file, json.dumps({"as_of": as_of, **summary}, ensure_ascii=False, allow_nan=False))


def runs(workspace: Path, stage: str = "won") -> list[dict[str, Any]]:
    """Return run_id, as_of and the models of each run that credits a stage, the latest first; "open" are pipelines."""
    kept = (_read(file, file.stat().st_mtime_ns) for file in (workspace / FOLDER).glob("*.json"))
    found = [{"run_id": run["run_id"], "as_of": run["as_of"], "models": list(run["models"])}
             for run in kept if run.get("stage", "won") == stage]  # fmt: skip
    return sorted(found, key=lambda run: (run["as_of"], run["run_id"]), reverse=True)


def run(workspace: Path, run_id: str | None = None) -> dict[str, Any] | None:
    """Return all that a run said, or the latest; None where there is no such run."""
    latest = next((one["run_id"] for one in runs(workspace)), None) if run_id is None else run_id
    file = workspace / FOLDER / f"{latest}.json"
    if latest is None or file.parent != workspace / FOLDER or not file.exists():
        return None
    return _read(file, file.stat().st_mtime_ns)


def notes(said: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each channel that only harvests, and for each experiment that moved the credit of a run."""
    harvests = [
        f"{channel} comes right before closes that were decided: score_adjusted gives it nothing for that."
        for channel in said.get("harvests", ())
    ]
    return harvests + [
        f"{one['channel']}: the experiment of {one['since']} to {one['until']} says {one['says']:,.1f} closes; "
        f"its weight of {one['weight']:.0%} moves score_adjusted from {one['before']:,.1f} to {one['after']:,.1f}."
        for one in said.get("experiments", ())
    ]


def of_touches(workspace: Path) -> dict[str, Any] | None:
    """Return run_id, as_of and the models of the latest run that credits touches, so that closes can be told apart."""
    return next((run for run in runs(workspace) if any(map(credits_touches, run["models"]))), None)


def missing(workspace: Path, configured: Sequence[str]) -> str:
    """Return a sentence on the configured models that the latest runs were not asked for; nothing where they were."""
    shown = [run for run in (next(iter(runs(workspace)), None), of_touches(workspace)) if run]
    lacking = [name for name in configured if not any(name in run["models"] for run in shown)]
    if not shown or not lacking:
        return ""
    asked = f"The latest attribution was not asked for {', '.join(lacking)}."
    return f"{asked} To have all models, run `touchstone attribute`."


@lru_cache(16)
def _read(file: Path, _changed: int) -> dict[str, Any]:
    return dict(json.loads(file.read_bytes()))
