"""The disk: what it refuses is one sentence, from whatever command, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from features.disk import told
from features.durable import write_durably
from features.errors import DiskError
from serving import worker

FULL = "The disk is full. What was stored before is intact. Make room, then give the command again."
SHUT = "/w/lake/.writer cannot be opened: {}. Let this user read and write there, then give the command again."


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), FULL),
        (OSError("Generic error: No space left on device (os error 28)"), FULL),
        (OSError(errno.EROFS, "Read-only file system", "/w/lake/.writer"), SHUT.format("read-only file system")),
        (PermissionError(errno.EACCES, "Permission denied", "/w/lake/.writer"), SHUT.format("permission denied")),
    ],
)
def test_what_the_disk_refuses_is_a_sentence(error: OSError, sentence: str) -> None:
    with pytest.raises(DiskError, match=f"^{re.escape(sentence)}$"), told():
        raise error


def test_what_the_disk_has_nothing_to_do_with_stays_what_it_is() -> None:
    with pytest.raises(ConnectionRefusedError, match="nobody there"), told():
        raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody there")


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let nothing reach the disk."""

    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    return monkeypatch


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("words", [["init"], ["tokens", "create", "crm", "--scope", "read"]], ids=" ".join)
def test_a_command_that_finds_the_disk_full_says_so_and_leaves_no_half_of_a_file(
    words: list[str], command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    assert command(*words, workspace=tmp_path) == (1, f"DiskError: {FULL}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_new_text_finds_no_room_keeps_the_old_one(tmp_path: Path, full: pytest.MonkeyPatch) -> None:
    file = tmp_path / "champion.json"
    file.write_text("old", "utf-8")
    with pytest.raises(OSError, match="No space left"):
        write_durably(file, "new")
    full.undo()
    assert [(path.name, path.read_text("utf-8")) for path in tmp_path.iterdir()] == [("champion.json", "old")]


def test_a_service_that_may_not_write_its_workspace_ends_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/w/lake/.writer")

    monkeypatch.setattr(worker, "work", fails)
    monkeypatch.setattr(sys, "argv", ["worker", "3", "4", "/w", "127.0.0.1"])
    assert (worker.main(), capsys.readouterr().err) == (1, f"DiskError: {SHUT.format('permission denied')}\n")
