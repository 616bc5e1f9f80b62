"""Saved views: what each holder of a token likes to see of the work list, kept in the workspace."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from features.durable import write_durably

FILE = "views.json"
MOST = 12  # views of one holder
WRITING = threading.Lock()
Views = dict[str, str]


def views(workspace: Path, holder: str) -> Views:
    """Return the query of each view of a holder, by its name; none if the file is damaged."""
    return _all(workspace).get(holder, {})


def keep(workspace: Path, holder: str, name: str, query: str) -> None:
    """Keep a view; of the same name there is one, and of too many the oldest goes."""
    with WRITING:
        known = _all(workspace)
        mine = {**{other: kept for other, kept in known.get(holder, {}).items() if other != name}, name: query}
        _write(workspace, known | {holder: dict(list(mine.items())[-MOST:])})


def forget(workspace: Path, holder: str, name: str) -> None:
    """Forget a view."""
    with WRITING:
        known = _all(workspace)
        _write(workspace, known | {holder: {n: query for n, query in known.get(holder, {}).items() if n != name}})


def _all(workspace: Path) -> dict[str, Views]:
    try:
        return {str(holder): dict(kept) for holder, kept in json.loads((workspace / FILE).read_bytes()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _write(workspace: Path, known: dict[str, Views]) -> None:
    write_durably(workspace / FILE, json.dumps(known, ensure_ascii=False, indent=1))
