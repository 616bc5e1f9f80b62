"""Notebooks tell findings: they run from top to bottom, open with their outputs, and define nothing."""

from __future__ import annotations

import ast
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_of(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def _one_company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the notebooks share the workspace that they keep in the folder of temporary files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("notebooks")))
        yield


@pytest.mark.usefixtures("_one_company")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(notebook: Path) -> None:
    mpl.use("agg")
    names: dict[str, object] = {}
    for cell in code_of(notebook):
        exec(compile(cell, notebook.name, "exec"), names)  # noqa: S102  # that is what a notebook is for


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_defines_nothing(notebook: Path) -> None:
    nodes = [node for cell in code_of(notebook) for node in ast.walk(ast.parse(cell))]
    assert [node for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)] == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_s_finding_is_held_by_a_cell(notebook: Path) -> None:
    nodes = [node for cell in code_of(notebook) for node in ast.walk(ast.parse(cell))]
    assert any(isinstance(node, ast.Assert) for node in nodes)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_opens_with_its_outputs(notebook: Path) -> None:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    assert all(cell["outputs"] for cell in cells if cell["cell_type"] == "code")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_s_title_is_its_finding_and_its_name(notebook: Path) -> None:
    title = "".join(json.loads(notebook.read_text("utf-8"))["cells"][0]["source"]).splitlines()[0]
    assert title.removeprefix("# ").lower().replace(" ", "_") == notebook.stem
