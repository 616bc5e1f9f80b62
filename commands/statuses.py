"""The status that a command ends with, by which a script knows what became of it."""

from __future__ import annotations

FAILED = 1
USAGE = 2  # the words of the command, or touchstone.toml, ask for what cannot be done
REFUSED = 3  # rows or a model were refused; of ``monitor``: there is an alarm
NOTHING_TO_DO = 4
PARTLY = 5  # the command goes on where it stopped when it is given again
