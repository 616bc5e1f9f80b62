"""The disk: what it refuses, told in a sentence."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from features.errors import DiskError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
SAYS_FULL = ("No space left on device", "Disk quota exceeded", "max_temp_directory_size")  # of the lake's libraries
SHUT = {errno.EACCES, errno.EPERM, errno.EROFS}


def is_full(error: Exception) -> bool:
    """Say whether an error means that a disk is full."""
    return getattr(error, "errno", None) in FULL or any(words in str(error) for words in SAYS_FULL)


@contextmanager
def told() -> Iterator[None]:
    """Say in one sentence what the disk refuses.

    Raises:
        DiskError: when the disk is full, or a file may not be opened.

    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise DiskError(
                "The disk is full. What was stored before is intact. Make room, then give the command again."
            ) from None
        if error.errno in SHUT:
            why = str(error.strerror).lower()
            raise DiskError(
                f"{error.filename} cannot be opened: {why}. Let this user read and write there, then give the command "
                "again."
            ) from None
        raise
