"""The pages of docs/ as a new user walks them: each setting set, each command typed, against the stand-ins."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import ROOT
from connected import FakeClock

from connectors.pace import Clock
from connectors.standins import company
from connectors.standins.hubspot import HubSpot
from connectors.standins.mailchimp import Mailchimp
from connectors.standins.marketo import Marketo
from connectors.standins.population import Person, population
from connectors.standins.salesforce import Salesforce
from connectors.standins.standin import Standin
from simulation.company import Company
from simulation.files import write

PEOPLE = 120
SYSTEMS: dict[str, type[Standin]] = {
    "hubspot": HubSpot, "salesforce": Salesforce, "marketo": Marketo, "mailchimp": Mailchimp,
}  # fmt: skip


def steps(page: str) -> Iterator[list[str]]:
    """Yield what a page asks for: the words of each command, without its comment, or "toml" and a block of settings."""
    for found in re.finditer(r"^```(\w*)\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.DOTALL | re.MULTILINE):
        if found[1]:
            yield [found[1], found[2]]
        else:
            lines = (line.partition("  #")[0] for line in found[2].splitlines())
            yield from (command.split() for line in lines for command in line.split(" && ") if command.strip())


def configure(file: Path, block: str) -> None:
    """Set what a block sets, in the lines that ``touchstone init`` wrote; what it adds is added."""
    head, _, added = block.partition("[[")
    section, text = "", file.read_text()
    for line in filter(None, head.splitlines()):
        section = line if line.startswith("[") else section
        if line != section:
            name = line.partition(" = ")[0]
            written = rf"(?ms)^({re.escape(section)}.*?)^(?:# )?{name} = [^\n]*"
            text, count = re.subn(written, lambda found, line=line: found[1] + line, text, count=1)
            assert count == 1
    file.write_text(text + (f"\n[[{added}" if added else ""))


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> list[Person]:
    """Return people of a company as it is today, since commands know no other day."""
    folder = tmp_path_factory.mktemp("company")
    write(Company(datetime.now(UTC), leads=PEOPLE + 40, days=400), folder)
    return population(folder, PEOPLE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the models of the first page are kept: the others type the same command, and it takes long."""
    return tmp_path_factory.mktemp("trained") / "models"


@dataclass
class User:
    """Somebody who does what a page says, in a folder of their own."""

    command: Callable[..., tuple[int, str]]
    setenv: Callable[[str, str], None]
    standin: Standin
    trained: Path
    typed: list[str] = field(default_factory=list)

    def step(self, program: str, *words: str) -> None:
        """Do one step of a page."""
        if program == "toml":
            configure(Path("touchstone.toml"), *words)
        elif program == "export":
            for secret in (said.partition("=")[0] for said in words):
                self.setenv(secret, company.SECRETS[secret])
        elif program == "touchstone":
            self.touchstone(*words)
        elif isinstance(self.standin, Salesforce):
            self.standin.deploy()  # by Salesforce's own program

    def touchstone(self, *words: str) -> None:
        """Type a command; the settings are written once, and trained is on the first page."""
        if words == ("init",) and self.typed:
            return
        if words == ("train",) and self.trained.exists():
            shutil.copytree(self.trained, "models")
        else:
            status, printed = self.command(*words, workspace=Path.cwd())
            assert status == 0, printed
        if words == ("train",) and not self.trained.exists():
            shutil.copytree("models", self.trained)
        self.typed.append(" ".join(words))


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_every_command_of_the_page_works_as_it_is_typed(
    name: str,
    some: list[Person],
    trained: Path,
    command: Callable[..., tuple[int, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock()  # or the two that are asked most slowly would take a minute each
    monkeypatch.setattr(Clock.__init__, "__defaults__", (clock.seconds, clock.wait))
    standin = SYSTEMS[name].of(some, datetime.now(UTC), seconds=clock.seconds)  # type: ignore[attr-defined]
    user = User(command, monkeypatch.setenv, standin, trained)
    monkeypatch.chdir(tmp_path)
    for setting in ("TREES", "MEMBERS"):
        monkeypatch.setenv(f"TOUCHSTONE_TRAINING__{setting}", "5")
    company.write_stages(some, tmp_path).rename("stages.csv")
    with company.running({name: standin}) as urls:
        monkeypatch.setenv(f"TOUCHSTONE_CONNECTORS__{name.upper()}__BASE_URL", urls[name])
        user.touchstone("init")
        for words in steps(f"connect-{name}.md"):
            user.step(*words)
    stages = ["ingest stages.csv"] if name == "mailchimp" else []
    read = ["init", f"ingest {name}", *stages, "train", "score"]
    assert user.typed == [*read, f"sync {name} --dry-run", f"sync {name}"]
    assert len([call for call in standin.calls if call.startswith(("POST", "PATCH"))]) > 1
