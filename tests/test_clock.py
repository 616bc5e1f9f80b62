"""The clock of the command line: what a written moment means."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from commands.clock import moment


def test_a_moment_without_a_zone_is_in_utc_wherever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "America/New_York")
        time.tzset()
        assert moment("2026-02-28T09:00:00") == datetime(2026, 2, 28, 9, tzinfo=UTC)
    time.tzset()


def test_a_moment_with_a_zone_is_told_in_utc() -> None:
    assert moment("2026-02-28T09:00:00+02:00").isoformat() == "2026-02-28T07:00:00+00:00"
