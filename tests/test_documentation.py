"""The documentation tells the truth: its commands run, its links lead somewhere, its reference is the command line's.

A block of ```console is run, line by line, as a reader would, in a workspace of its own, without what stands after #.
A block of ```sh holds what needs more than Touchstone (Docker, cron, a package index), and is not run.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import exports
import pytest
import reference
import typer
from conftest import ROOT

from features.ingestion import files_in, ingest
from features.lake import Lake
from features.settings import Settings
from serving.scorer import MODEL, load, promote, save
from simulation.company import Company
from simulation.files import write
from training.train import train

Command = Callable[..., tuple[int, str]]
NOW = datetime(2026, 10, 1, tzinfo=UTC)
TOP = [ROOT / name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md")]
PAGES = [*TOP, *sorted(ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NEED_OTHERS = ("connect-", "team", "spark")  # an account, an object store, a cluster: these pages' commands are parsed
SYSTEMS = {"hubspot", "salesforce", "marketo", "mailchimp"}
SMALL = {"TREES": "5", "MEMBERS": "2", "OUTLOOK_DAYS": "[30]"}
GOOD = {0, 3, 4}  # 3: an alarm, or rows or a model refused; 4: nothing to do


def blocks(page: Path) -> list[list[list[str]]]:
    """Return the words of every command that is run, block by block."""
    texts = [text for kind, text in BLOCK.findall(page.read_text("utf-8")) if kind == "console"]
    return [[words for line in text.splitlines() for words in _commands_in(line)] for text in texts]


def _commands_in(line: str) -> Iterator[list[str]]:
    """Yield the commands of a line, which may be several with && between them."""
    words = shlex.split(line, comments=True)
    starts = [-1, *(i for i, word in enumerate(words) if word == "&&"), len(words)]
    for start, end in pairwise(starts):
        if words[start + 1 : end]:
            yield words[start + 1 : end]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a trained workspace, and beside its lake what the pages speak of."""
    workspace = tmp_path_factory.mktemp("documentation")
    files = write(Company(NOW, leads=250, days=300), workspace / "exports")
    with (workspace / "exports" / "leads.csv").open("a") as leads:
        columns = (workspace / "exports" / "leads.csv").read_text("utf-8").splitlines()[0].split(",")
        ada = {"lead_id": "ada", "created_at": "2026-03-01T00:00:00Z", "observed_at": "2026-03-01T00:00:00Z"}
        leads.write(",".join((ada | {"email": "ada@example.com"}).get(name.strip('"'), "") for name in columns) + "\n")
    settings = Settings.model_validate({"training": {"trees": 5, "members": 2, "outlook_days": [30]}})
    ingest(Lake(workspace / "lake"), settings, files_in([files[0].parent]), NOW)
    trained = train(Lake(workspace / "lake"), settings, workspace, NOW)
    first = load(workspace / "models" / trained.version)
    trees = (workspace / "models" / trained.version / MODEL).read_text("utf-8")
    promote(workspace / "models", save(workspace / "models", replace(first.spec, leads=1), trees).version)
    promote(workspace / "models", trained.version)  # another has served before
    exports.american(workspace)
    return workspace


@pytest.fixture(scope="module")
def run_before() -> set[tuple[object, ...]]:
    """Return what was run already: a command that many pages name is run once."""
    return set()


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if blocks(page) and not page.name.startswith(NEED_OTHERS)],
    ids=lambda page: page.name,
)
def test_every_command_of_a_page_runs(
    page: Path, company: Path, run_before: set[tuple[object, ...]], command: Command, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    for name, value in SMALL.items():
        monkeypatch.setenv(f"TOUCHSTONE_TRAINING__{name}", value)
    for number, block in enumerate(blocks(page)):
        monkeypatch.chdir(shutil.copytree(company, tmp_path / str(number)))
        newcomer = block[0][1:3] == ["init", "--from"]
        for program, *words in block:
            assert program == "touchstone", f"{program} is not ours: put it into a block of ```sh"
            if needs_the_world(words):
                parse(words)
            elif (newcomer, *words) not in run_before:
                status, printed = command(*words, workspace=Path())
                assert status in GOOD, (words, printed)
                run_before.add((newcomer, *words))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name.startswith(NEED_OTHERS)], ids=lambda page: page.name
)
def test_every_command_of_a_page_that_needs_others_is_one(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line for _, text in BLOCK.findall(page.read_text("utf-8")) for line in text.splitlines()]
    for line in lines:
        if line.startswith("touchstone "):
            for _, *words in _commands_in(line):
                for option, folder in pairwise(words):
                    if option == "--workspace":
                        Path(folder).mkdir(exist_ok=True)
                parse(words)


def test_the_functions_for_engineers_and_mlflows_loader_say_what_the_command_says(
    company: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.chdir(company)
    page, names = (ROOT / "docs" / "ml-engineers.md").read_text("utf-8"), dict[str, Any]()
    try:
        for kind, code in BLOCK.findall(page):
            if kind == "python":
                exec(code, names)  # noqa: S102  # our own
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # None is how it forgets
    as_of = datetime.fromtimestamp(names["as_of"] / 1e6, UTC).isoformat()
    said = json.loads(command("score", "--as-of", as_of, "--json", workspace=Path())[1])["scores"]
    table = names["table"].set_index("lead_id")["probability"]
    assert table.to_dict() == pytest.approx({score["lead_id"]: score["probability"] for score in said}, abs=1e-9)
    assert sorted(table) == sorted(names["probabilities"]) == sorted(names["same"])


def parse(words: list[str]) -> None:
    """Read a command's words as the command line would, which raises what is wrong with them."""
    from touchstone import app

    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context(command.name, words)


def needs_the_world(words: list[str]) -> bool:
    """Return whether a command would serve until it is stopped, or needs an account or a store that others have."""
    alone = words[0] in {"serve", "join"} or (words[0] == "demo" and "--export" not in words)
    return alone or bool(SYSTEMS & set(words))


def test_every_command_is_run_by_some_page_but_for_those_that_need_the_world() -> None:
    from touchstone import app

    run = {words[1] for page in PAGES for block in blocks(page) for words in block if not needs_the_world(words[1:])}
    assert {*typer.main.get_command(app).commands} - run == {"serve", "join"}  # type: ignore[attr-defined]


def test_the_command_reference_is_that_of_the_command_line() -> None:
    assert reference.FILE.read_text("utf-8") == reference.page(), "python tests/reference.py writes it again"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = re.sub(BLOCK, "", page.read_text("utf-8"))
    inner = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith(("https://", "mailto:"))]
    assert [link for link in inner if not _there(page, link)] == []


def _there(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    file = page.parent / name if name else page
    return file.exists() and (not anchor or anchor in _anchors(file))


def _anchors(file: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", re.sub(BLOCK, "", file.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_of_a_page_is_a_valid_one(page: Path) -> None:
    for kind, text in BLOCK.findall(page.read_text("utf-8")):
        if kind == "toml":
            assert Settings(**tomllib.loads(text)).model_fields_set


def test_every_block_says_what_it_is_so_that_commands_are_known() -> None:
    known = {"console", "sh", "text", "toml", "json", "python", "ini", "yaml"}
    pages = [page for page in PAGES if not page.name.startswith(NEED_OTHERS)]
    said = [(page.name, kind) for page in pages for kind, _ in BLOCK.findall(page.read_text("utf-8"))]
    assert [(name, kind) for name, kind in said if kind not in known] == []
