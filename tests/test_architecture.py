"""Who may import whom. This table is the architecture."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

ROOMS = {
    "features": set(),
    "attribution": {"features"},
    "serving": {"features", "attribution", "connectors.webhooks"},  # they come in where the service listens
    "training": {
        "features",
        *(f"serving.{noun}" for noun in ("scorer", "spec", "forest", "hazards", "pieces", "line", "facts")),
    },
    "connectors": {"features"},
    "simulation": {"features"},
    "terminal": set(),
    "demonstration": {"attribution", "connectors", "features", "serving", "simulation", "training"},
}
ROOMS["commands"] = {*ROOMS}
EVERY_ROOM = {*ROOMS, "touchstone"}
CLOCKS = {Path("commands/clock.py"), Path("serving/service.py")}


def python_files() -> list[Path]:
    return [file for room in ROOMS for file in [*ROOT.glob(f"{room}/**/*.py"), *ROOT.glob(f"{room}.py")]]


def imported_by(file: Path) -> set[str]:
    """Return every module that a file imports anywhere, lazily or for types too."""
    tree = ast.walk(ast.parse(file.read_text("utf-8")))
    found = set()
    for node in tree:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


@pytest.mark.parametrize("file", python_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_room_imports_only_the_rooms_below_it(file: Path) -> None:
    room = file.relative_to(ROOT).parts[0].removesuffix(".py")
    ours = {name for name in imported_by(file) if name.split(".")[0] in EVERY_ROOM - {room}}
    allowed = ROOMS[room]
    assert {name for name in ours if not any(f"{name}.".startswith(f"{one}.") for one in allowed)} <= {
        one.split(".")[0] for one in allowed if "." in one
    }


@pytest.mark.parametrize("file", python_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_below_the_command_line_and_the_service_reads_the_clock(file: Path) -> None:
    if file.relative_to(ROOT) in CLOCKS:
        return
    calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    assert [call for call in calls if call.endswith((".now", ".today", ".utcnow", "time.time"))] == []


def test_no_room_has_a_drawer_for_leftovers() -> None:
    drawers = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "handler", "processor"}
    assert [file for file in python_files() if file.stem in drawers] == []


def test_the_help_needs_none_of_the_heavy_libraries() -> None:
    heavy = ("lightgbm", "mlflow", "bentoml", "pandas", "numpy", "duckdb", "sklearn", "numba")
    code = f"import sys, touchstone; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
