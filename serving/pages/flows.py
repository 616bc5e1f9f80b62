"""Flows: from which channel to which won leads went, stretch by stretch, as the chart of journeys draws it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from serving.pages import drawing

FLOW_CHANNELS = 6


def flows_of(found: Sequence[dict[str, Any]]) -> list[tuple[int, str, str, float]]:
    """Return how many won leads went from one channel to the next, or to the win; rare channels together."""
    often: dict[str, float] = {}
    for row in found:
        for name in row["path"]:
            often[name] = often.get(name, 0) + row["leads"]
    kept = set(sorted(often, key=lambda name: (-often[name], name))[:FLOW_CHANNELS])
    flows: dict[tuple[int, str, str], float] = {}
    for row in found:
        steps = [name if name in kept else "Other" for name in row["path"]] + [drawing.WON]
        for step, (source, target) in enumerate(pairwise(steps)):
            flows[step, source, target] = flows.get((step, source, target), 0) + row["leads"]
    return sorted(((*link, count) for link, count in flows.items()), key=lambda flow: (flow[0], -flow[3]))


def flow_says(flows: Sequence[tuple[int, str, str, float]]) -> str:
    """Return the chart in words."""
    strong = sorted(flows, key=lambda flow: -flow[3])[:3]
    return "Journeys of won leads, channel by channel. Strongest: " + "; ".join(
        f"{a} to {b} {c:,.0f}" for _, a, b, c in strong
    )
