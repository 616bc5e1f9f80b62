"""Goals: each has a room of its own for its models and their record, like the workspace's; the lake is for all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOMS = "goals"  # in the workspace


def room_of(workspace: Path, name: str) -> Path:
    """Return the folder in which a goal's ``models`` are; the main one, whose name is empty, has the workspace's."""
    return workspace / ROOMS / name if name else workspace


def for_goal_of(room: Path, command: str) -> str:
    """Return a command as it is given for the goal whose room this is."""
    return f"{command} --goal {room.name}" if room.parent.name == ROOMS else command


def rooms(workspace: Path) -> Iterator[Path]:
    """Yield the rooms of all goals that ever had one, the main one first."""
    yield workspace
    yield from sorted(room for room in (workspace / ROOMS).glob("*") if room.is_dir())
