"""Witnesses: the models that may have learned from somebody who is to be forgotten."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving.scorer import CHAMPION, MANIFEST


def witnesses(models: Path, since: str) -> list[dict[str, Any]]:
    """Return each version that was saved after a moment (ISO 8601; empty: never), and whether it serves.

    The moment is that of the person's first row. A model that was saved later may have seen the person, unless the
    rows came into the lake later still: this errs on the side of naming a model too many.
    """
    if not since:
        return []
    saved = {file.parent.name: file.stat().st_mtime for file in sorted(models.glob(f"*/{MANIFEST}"))}
    pointer = models / CHAMPION
    serves = json.loads(pointer.read_bytes())["version"] if pointer.exists() else None
    return [
        {"version": version, "champion": version == serves}
        for version, moment in saved.items()
        if datetime.fromtimestamp(moment, UTC) >= datetime.fromisoformat(since)
    ]
