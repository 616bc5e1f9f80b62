"""Models that judge all closes together, such as Markov chains: what they say of all time.

A rule credits each close by itself, so a page can filter what it says; these weigh all journeys at once.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from serving import ledger
from serving.pages import drawing
from serving.pages.words import NOTHING, number

FIRST = "score_adjusted"  # of which the rest are the contrast
WIDTH = 90


class Together(NamedTuple):
    """What the latest run's models say that cannot be filtered, by channel (row) and model."""

    as_of: datetime
    models: list[str]
    rows: list[tuple[str, list[dict[str, Any]]]]
    anyway: list[str]  # by model; empty where no model says it
    total: list[str]
    notes: list[str]


def together(workspace: Path, filtered: Collection[str]) -> Together | None:
    """Return what the latest run says by all models but those that were filtered; None if these are all."""
    run = ledger.run(workspace)
    given = {name: said for name, said in (run["models"] if run else {}).items() if name not in filtered}
    if run is None or not given:
        return None
    models = sorted(given, key=lambda name: (name != FIRST, name))
    anyway, nobody = run.get("anyway", {}), run["unattributed"]["credit"]
    left = {name: anyway.get(name, {}).get("credit", nobody) for name in models}
    channels = dict.fromkeys(name for model in models for name in _best_first(given[model]))
    top = max(one["high"] for said in given.values() for one in said.values())
    return Together(
        datetime.fromisoformat(run["as_of"]),
        models,
        [(channel, [_cell(given[name].get(channel), top) for name in models]) for channel in channels],
        [number(left[name], 1) if name in anyway else NOTHING for name in models] if anyway else [],
        [number(sum(one["credit"] for one in given[name].values()) + left[name], 1) for name in models],
        ledger.notes(run),
    )


def _best_first(credited: dict[str, dict[str, float]]) -> list[str]:
    return sorted(credited, key=lambda name: -credited[name]["credit"])


def _cell(one: dict[str, float] | None, top: float) -> dict[str, Any]:
    if one is None:
        return {"closes": NOTHING, "drawn": "", "interval": ""}
    closes, low, high = (number(one[name], 1) for name in ("credit", "low", "high"))
    says = f"{closes} closes, 90 % interval {low} to {high}"
    drawn = drawing.interval(max(one["credit"], 0), max(one["low"], 0), max(one["high"], 0), top, says, width=WIDTH)
    return {"closes": closes, "drawn": drawn, "interval": f"{low} to {high}"}
