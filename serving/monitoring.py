"""What monitoring found last: `touchstone monitor` leaves it in the workspace, the page and /metrics show it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from features.durable import write_durably

FILE = "monitor.json"  # in a goal's room
PARTS = ("promises", "drift", "skew", "volume")


def latest(room: Path) -> dict[str, Any] | None:
    """Return what `touchstone monitor` found last for a goal; None before the first time."""
    try:
        found: dict[str, Any] = json.loads((room / FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return found


def keep(room: Path, found: dict[str, Any]) -> None:
    """Keep what monitoring found, for the page and for /metrics."""
    write_durably(room / FILE, json.dumps(found, ensure_ascii=False, allow_nan=False))


class Gauges(Collector):
    """Alarms by part, and promises by group, as gauges that are read when they are asked for."""

    def __init__(self, room: Path) -> None:
        self._room = room

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; none before the first monitoring."""
        found = latest(self._room)
        if found is None:
            return
        at = GaugeMetricFamily("touchstone_monitored_seconds", "When monitoring last looked, in seconds since 1970")
        at.add_metric([], datetime.fromisoformat(found["as_of"]).timestamp())
        alarms = GaugeMetricFamily("touchstone_alarms", "Alarms of the last monitoring, by part", labels=["part"])
        for part in PARTS:
            alarms.add_metric([part], sum(alarm["part"] == part for alarm in found["alarms"]))
        yield from (at, alarms)
        for name, about in (("leads", "judged"), ("promised", "promised to close"), ("closed", "that closed")):
            gauge = GaugeMetricFamily(
                f"touchstone_matured_{name}", f"Leads with a matured score {about}, by group", labels=["group"]
            )
            for one in found["promises"]:
                gauge.add_metric([one["group"]], one[name])
            yield gauge
