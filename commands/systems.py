"""Connected systems, one after the other: one that fails keeps no other waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from features.errors import TouchstoneError


def each(systems: Iterable[str], work: Callable[[str], None]) -> list[TouchstoneError]:
    """Do the same with each system, and return what went wrong."""
    from features.errors import TouchstoneError

    failed = list[TouchstoneError]()
    for system in systems:
        try:
            work(system)
        except TouchstoneError as error:
            failed.append(error)
    return failed


def fail(failed: Sequence[TouchstoneError]) -> None:
    """Raise what went wrong, if anything did: several sentences as one error, of their kind if they are of one."""
    from features.errors import TouchstoneError

    kinds = {type(error) for error in failed}
    if failed:
        raise (kinds.pop() if len(kinds) == 1 else TouchstoneError)(" ".join(map(str, failed)))
