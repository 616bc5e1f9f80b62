"""What a newcomer relies on before the first line of code: pins, targets, and a README that tells the truth."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from conftest import ROOT

TOML = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = TOML["project"]
PINS = (ROOT / "constraints.txt").read_text("utf-8").split()


def test_every_constraint_is_a_name_and_a_version() -> None:
    assert [line for line in PINS if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9._+!-]*", line)] == []


def test_every_dependency_is_pinned() -> None:
    wanted = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    names = {re.split(r"[^A-Za-z0-9._-]", line)[0].split("==")[0].lower() for line in wanted}
    assert names - {pin.split("==")[0].lower() for pin in PINS} == set()


def test_every_dependency_says_why_or_needs_no_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text("utf-8").partition("dependencies = [")[2].partition("]")[0].splitlines()
    plain = {"numpy", "pandas"}  # what the field is written in
    unexplained = [line.strip() for line in lines if line.strip() and "#" not in line]
    assert [line for line in unexplained if not any(name in line for name in plain)] == []


def test_every_package_and_module_of_ours_is_installed_and_no_other() -> None:
    from test_architecture import EVERY_ROOM

    marks = chain(*(ROOT.glob(f"{room}/**/__init__.py") for room in EVERY_ROOM))
    packages = sorted(".".join(mark.parent.relative_to(ROOT).parts) for mark in marks)
    modules = sorted(room for room in EVERY_ROOM if (ROOT / f"{room}.py").exists())
    listed = TOML["tool"]["setuptools"]
    assert (sorted(listed["packages"]), sorted(listed["py-modules"])) == (packages, modules)


@pytest.mark.parametrize("target", ["install", "demo", "test", "lint", "bench"])
def test_make_knows_the_target(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_an_environment_is_made_anew_where_it_lacks_what_is_asked_for_and_keeps_what_it_has(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)

    alone = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "EXTRAS"}}

    def said(*words: str) -> str:
        make = ["make", "--dry-run", "install", "PYTHON=python3", *words]
        return subprocess.run(make, cwd=tmp_path, env=alone, check=True, capture_output=True, text=True).stdout

    assert "--editable '.[dev]'" in said()
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "installed").write_text("dev,spark\n", "utf-8")
    nothing = "make: Nothing to be done for 'install'.\n"
    assert (said(), said("EXTRAS=dev,spark")) == (nothing, nothing)
    assert "--editable '.[dev,team]'" in said("EXTRAS=dev,team")


def test_the_readme_names_every_command_and_no_other() -> None:
    from touchstone import app

    commands = {found.callback.__name__ for found in app.registered_commands if found.callback}
    commands |= {str(group.name) for group in app.registered_groups}
    named = set(re.findall(r"^touchstone (\w+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    assert named == commands


def test_the_architecture_page_is_short_and_names_every_room() -> None:
    from test_architecture import ROOMS

    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    assert len(page.splitlines()) <= 90
    assert [room for room in ROOMS if (ROOT / room).exists() and f"`{room}/`" not in page] == []


def test_no_file_carries_a_path_of_a_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    traces = re.compile(rb"/(?:root|home)/[a-z]")
    texts = [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    assert [file.name for file in texts if traces.search(file.read_bytes())] == []
