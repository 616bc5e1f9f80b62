"""A file that a command is to write is looked at before the work begins, not after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from features.errors import ConfigError
from touchstone import app

TABLES = [
    ("score", "--output"), ("score", "--outlook"), ("backtest", "--predictions"), ("attribute", "--output"),
    ("check", "--duplicates"), ("features", "--output"),
]  # fmt: skip
OTHERS = [("features", "--dictionary"), ("monitor", "--alarms"), ("report", "--output")]


def refused(folder: Path, command: str, option: str, file: Path) -> str:
    said = CliRunner().invoke(app, [command, "--workspace", str(folder), option, str(file)])
    assert isinstance(said.exception, ConfigError)
    return str(said.exception)


@pytest.mark.parametrize(("command", "option"), [*TABLES, *OTHERS])
def test_a_file_in_a_folder_that_is_not_there_is_refused(tmp_path: Path, command: str, option: str) -> None:
    folder = tmp_path / "outputs"
    assert refused(tmp_path, command, option, folder / "one.csv") == (
        f"There is no folder {folder} to write one.csv into. Make it, or name another."
    )


@pytest.mark.parametrize(("command", "option"), TABLES)
def test_a_table_with_another_ending_is_refused(tmp_path: Path, command: str, option: str) -> None:
    file = tmp_path / "one.xlsx"
    assert refused(tmp_path, command, option, file) == (
        f"{file} is neither .csv nor .parquet. Give the file one of these endings."
    )
