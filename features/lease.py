"""The lease: which machine may write to a store. One object, made, renewed and taken over by conditional writes.

Nobody compares clocks: whoever waits takes over once the object has not changed for ``LASTS`` seconds of its own
watch. A holder that was stopped for longer finds out before it commits, and stores nothing.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from features.errors import DataError
from features.store import Store

PATH = "lake/.writer"
LASTS = 15.0  # seconds without renewal, after which a holder counts as dead
RENEWED = 4.0
LOOKS = 0.1  # seconds between two looks of one who waits


class Lease:
    """The right to write to a store, renewed in the background while it is held."""

    def __init__(self, store: Store) -> None:
        self._store, self._tag, self._renewed = store, "", 0.0
        self._ended, self._lost = threading.Event(), False
        self.renewing = threading.Thread(target=self._renew, name="lease", daemon=True)

    def acquire(self) -> None:
        """Wait until it is held."""
        seen, since = None, time.monotonic()
        while not self.take(seen if time.monotonic() - since > LASTS else None):
            now = self._store.tag(PATH)
            if now != seen:
                seen, since = now, time.monotonic()
            time.sleep(LOOKS)
        self.renewing.start()

    def release(self) -> None:
        """Let others write."""
        self._ended.set()
        self.renewing.join()
        if not self._lost and self._store.tag(PATH) == self._tag:
            self._store.delete(PATH)

    def check(self) -> None:
        """Refuse to go on once it was lost.

        Raises:
            DataError: when somebody else may be writing.

        """
        if self._lost or time.monotonic() - self._renewed > LASTS:
            raise DataError(
                f"This machine did not reach the store {self._store.uri} for {LASTS:g} seconds, so another may write "
                "there now. What was being written is not in. Give the command again."
            )

    def take(self, dead: str | None) -> bool:
        """Try to make it, or to take it over from a holder who is dead; say whether it is held."""
        begun = time.monotonic()
        tag = self._store.exchange(PATH, _token(), dead)
        if tag:
            self._tag, self._renewed = tag, begun
        return tag is not None

    def _renew(self) -> None:
        while not self._ended.wait(RENEWED):
            try:
                self._lost = not self.take(self._tag)
            except DataError:
                continue  # the next time it may answer; ``check`` counts the seconds
            if self._lost:
                return


@contextmanager
def leased(store: Store) -> Iterator[Lease]:
    """Hold the lease of a store."""
    lease = Lease(store)
    lease.acquire()
    try:
        yield lease
    finally:
        lease.release()


def _token() -> bytes:
    return secrets.token_hex(8).encode()
