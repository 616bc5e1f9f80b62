"""What can go wrong, and who has to mend it.

TouchstoneError
├── ConfigError     touchstone.toml says something that cannot be done
├── DataError       a file, a row or a request is not what the contract asks for
├── DiskError       the disk is full, or lets nobody write
├── ModelError      a model's files are missing, damaged or do not fit the history
├── NothingToDo     the command found no work; not a failure
└── Partly          the command did a part of its work, and goes on when it is given again

Every message is a sentence: where, what came, what was expected, what to do.
"""

from __future__ import annotations


class TouchstoneError(Exception):
    """The root of every error that a user can mend."""


class ConfigError(TouchstoneError):
    """touchstone.toml says something that cannot be done."""


class DataError(TouchstoneError):
    """A file, a row or a request is not what the contract asks for."""


class DiskError(TouchstoneError):
    """The disk is full, or lets nobody write."""


class ModelError(TouchstoneError):
    """A model's files are missing, damaged or do not fit the history."""


class NothingToDo(TouchstoneError):
    """The command found no work."""


class Partly(TouchstoneError):
    """The command did a part of its work."""
