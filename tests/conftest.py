"""What every test may use."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import features  # noqa: F401  # before numpy, whose threads it settles

pytest_plugins = ["trained", "morning", "tangled", "shared"]

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def bpic2012() -> Path:
    """Return the folder of the bank's loan applications; skip where it is absent, fail where CI must have it."""
    return shared_data("bpic2012")


def shared_data(name: str) -> Path:
    """Return a folder of real data beside the project."""
    folder = SHARED / name
    if not folder.exists():
        reason = f"The real data set {name} is not beside the project ({folder.parent}), so its claims go unchecked."
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _mlflow_s_tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give new workspaces a copy of MLflow's empty tables: seventy migrations make them once, not in each of them."""
    from training import tracking

    empty, store = tmp_path_factory.mktemp("mlflow") / tracking.STORE, tracking._store  # noqa: SLF001  # what makes them has no other door

    @contextmanager
    def with_tables(workspace: Path) -> Iterator[str | None]:
        place = workspace / tracking.STORE
        if "MLFLOW_TRACKING_URI" not in os.environ and workspace.exists() and not place.exists():
            if not empty.exists():
                from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

                SqlAlchemyStore(f"sqlite:///{empty}", empty.with_suffix(".artifacts").as_uri())
            shutil.copyfile(empty, place)
        with store(workspace) as artifacts:
            yield artifacts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "_store", with_tables)
        yield


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that lets somebody at a terminal type some lines, and then no more."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    return lambda typed: monkeypatch.setattr("sys.stdin", Terminal(typed))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Return a function that runs a command as a user would, and returns its exit status and what it printed."""
    import touchstone

    def run(*words: str, workspace: Path) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["touchstone", *words, "--workspace", str(workspace)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            touchstone.main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out or captured.err

    return run
