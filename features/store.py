"""The store: what a team shares, in an object store, of which the workspace of each machine is a mirror.

It holds the lake as Delta tables that any engine reads, the models of every goal with the pointer to the champion, the
attribution runs and the tokens. A file of data never changes under its name, so it is fetched once, when it is first
read. What is written goes to the store first and to the mirror after: a mirror is behind the store at times, and never
ahead of it.

``store.json`` of a workspace says of which store it is a mirror. Keys come from the environment alone, by the names
that the store's vendor gives them (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, …).
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from features.contract import TABLES
from features.durable import write_durably
from features.errors import ConfigError, DataError

MARK = "store.json"
CHANGED = "changed"  # is written after every change, so that one look tells whether there was one
EDITION = "lake/edition"  # another one: an erasure rewrote the lake, and nothing of it may be left in a mirror
SMALL = ("tokens.json", "lake/erased.json", "lake/erasing.json", EDITION, "models/champion.json")  # rewritten in place
FOLDERS = ("models", "attribution-runs", "goals")  # of files that are written once, but for pointers to champions
OWN = ("lake/**/*", "models/**/*", "attribution-runs/**/*", "goals/*/models/**/*")  # what whoever joins first brings
POINTER = "/models/champion.json"  # of a further goal
EVERY = 60.0  # seconds after which a mirror looks although nobody said that something changed
LOG = "_delta_log"
REMEDY = "Check its address and the keys in the environment; nothing was changed by this."
RETRIES: dict[str, Any] = {"max_retries": 4, "retry_timeout": timedelta(seconds=10)}  # less than a lease lasts


class Store:
    """An object store as the workspace that mirrors it sees it."""

    def __init__(self, workspace: Path, uri: str) -> None:
        self.workspace, self.uri = workspace, uri.rstrip("/")
        self.objects = _opened(self.uri)
        self._seen: bytes | None = None
        self._looked = -EVERY

    def table(self, name: str) -> str:
        """Return where a table is kept."""
        return f"{self.uri}/lake/{name}"

    def put(self, path: str, content: bytes | Path) -> None:
        """Write an object, wholly or not at all."""
        with self._asked():
            _client().put(self.objects, path, content)

    def share(self, file: Path) -> None:
        """Write a file of the workspace to the store."""
        self.put(self._path(file), file)

    def exchange(self, path: str, content: bytes, tag: str | None) -> str | None:
        """Write an object if it still has a tag, or if there is none without one; return its new tag, or None."""
        mode = "create" if tag is None else {"e_tag": tag}
        errors = _client().exceptions
        with self._asked():
            try:
                return str(_client().put(self.objects, path, content, mode=mode)["e_tag"])
            except (errors.AlreadyExistsError, errors.PreconditionError, FileNotFoundError):
                return None

    def tag(self, path: str) -> str | None:
        """Return what tells an object's content from any other; None if there is no such object."""
        with self._asked():
            try:
                return str(_client().head(self.objects, path)["e_tag"])
            except FileNotFoundError:
                return None

    def delete(self, path: str) -> None:
        """Delete an object, if it is there."""
        with self._asked():
            try:
                _client().delete(self.objects, path)
            except FileNotFoundError:
                return

    def tell(self) -> None:
        """Let the other mirrors know that something changed."""
        self.put(CHANGED, secrets.token_hex(8).encode())

    def listed(self, prefix: str, after: str | None = None) -> list[str]:
        """Return the paths below a prefix, in order; those after one of them."""
        with self._asked():
            return sorted(one["path"] for batch in _client().list(self.objects, prefix, offset=after) for one in batch)

    def fetch(self, file: Path) -> None:
        """Put a file that never changes in its place in the mirror, if it is not there yet."""
        if not file.exists():
            found = self.read(self._path(file))
            if found is None:
                raise DataError(f"{self._path(file)} is gone from {self.uri}. Who removed it? Nothing was read.")
            _place(file, found)

    def follow(self) -> None:
        """Bring the mirror up to date, if something changed or a minute has passed since the last look."""
        if time.monotonic() - self._looked >= EVERY or self.read(CHANGED) != self._seen:
            self.pull()

    def pull(self) -> None:
        """Bring the mirror up to date: all but the data, which is fetched when it is read."""
        said = self.read(CHANGED)
        pointers = [path for path in self.listed("goals") if path.endswith(POINTER)]
        small = {path: self.read(path) for path in (*SMALL, *pointers)}  # before what they point at, which was there
        if (small[EDITION] or b"") != _content(self.workspace / EDITION):
            self.forget_mirror()
        for folder in FOLDERS:
            for path in self.listed(folder):
                if path not in small and not path.endswith(POINTER):
                    self.fetch(self.workspace / path)
        for name in TABLES:
            self.pull_table(name)
        for path, content in small.items():
            _mirrored(self.workspace / path, content)
        self._seen, self._looked = said, time.monotonic()

    def pull_table(self, name: str) -> None:
        """Bring the log of a table up to date."""
        log = self.workspace / "lake" / name / LOG
        entries = sorted(file.name for file in log.glob("*.json"))
        after = f"lake/{name}/{LOG}/{entries[-2]}" if len(entries) > 1 else None  # a checkpoint may follow its entry
        found = self.listed(f"lake/{name}/{LOG}", after)
        for path in found:  # in the order of versions: a log without a gap at any moment
            if not path.endswith("_last_checkpoint"):
                self.fetch(self.workspace / path)
        if any(".checkpoint" in path for path in found):
            _mirrored(log / "_last_checkpoint", self.read(f"lake/{name}/{LOG}/_last_checkpoint"))

    def forget_mirror(self) -> None:
        """Remove the lake from the mirror."""
        for name in TABLES:
            shutil.rmtree(self.workspace / "lake" / name, ignore_errors=True)

    def read(self, path: str) -> bytes | None:
        """Return what an object says; None if there is none."""
        with self._asked():
            try:
                return bytes(_client().get(self.objects, path).bytes())
            except FileNotFoundError:
                return None

    def _path(self, file: Path) -> str:
        return file.relative_to(self.workspace).as_posix()

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except _client().exceptions.BaseError as error:
            said = str(error).partition("\n")[0]
            raise DataError(f"The store {self.uri} does not answer as it should: {said}. {REMEDY}") from None


def store_of(workspace: Path) -> Store | None:
    """Return the store that a workspace is a mirror of; None if it is nobody's.

    Raises:
        ConfigError: when its address cannot be used, or the extra for teams is not installed.

    """
    mark = workspace.resolve() / MARK
    return _store(mark.parent, json.loads(mark.read_bytes())["uri"]) if mark.exists() else None


def share(file: Path, text: str) -> None:
    """Write a file durably, and, in a team's workspace, to the store first; ``file`` is in it or in a folder of it."""
    store = next((found for folder in file.parents[:5] if (found := store_of(folder))), None)
    if store:
        store.put(file.resolve().relative_to(store.workspace).as_posix(), text.encode())
    write_durably(file, text)
    if store:
        store.tell()


def unshare(file: Path) -> None:
    """Remove a file that was shared, from the store first."""
    store = store_of(file.parents[1])
    if store:
        store.delete(file.resolve().relative_to(store.workspace).as_posix())
        store.tell()
    file.unlink(missing_ok=True)


def join(workspace: Path, uri: str) -> bool:
    """Make a workspace a mirror of a store; say whether the workspace brought what the store holds now.

    The first brings its lake, models, runs and tokens. Whoever joins later brings nothing, and gets what is there.

    Raises:
        ConfigError: when both hold a lake, or the workspace mirrors another store.

    """
    workspace = workspace.resolve()
    joined, store = store_of(workspace), _store(workspace, uri)
    if joined and joined.uri != store.uri:
        raise ConfigError(f"{workspace} is a mirror of {joined.uri} already. Give another --workspace.")
    own = [file for pattern in OWN for file in workspace.glob(pattern) if _is_shared(file)]
    own += [workspace / path for path in SMALL if "/" not in path and (workspace / path).exists()]
    theirs = bool(store.listed(""))
    if own and theirs and not joined:
        raise ConfigError(
            f"{workspace} and {store.uri} both hold a lake or models. Join with an empty --workspace, or name a store "
            "that is empty. Nothing was changed."
        )
    if not theirs:
        for file in sorted(own, key=lambda file: (LOG in file.parts, file.name in MUTABLE, str(file))):
            store.share(file)  # what others point at comes first
        store.tell()
    workspace.mkdir(parents=True, exist_ok=True)
    write_durably(workspace / MARK, json.dumps({"uri": store.uri}))
    store.pull()
    return bool(own) and not theirs


MUTABLE = {Path(path).name for path in SMALL}


def _is_shared(file: Path) -> bool:
    return file.is_file() and not any(part.startswith(".") for part in file.parts[-4:])


@lru_cache(8)
def _store(workspace: Path, uri: str) -> Store:
    return Store(workspace, uri)


def _client() -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError:
        raise ConfigError(
            "A workspace that mirrors a store needs the extra for teams, which is not installed. "
            "Run pip install -e '.[team]'."
        ) from None
    return obstore


def _opened(uri: str) -> Any:
    try:
        return _client().store.from_url(uri, retry_config=RETRIES)
    except (ValueError, _client().exceptions.BaseError) as error:
        raise ConfigError(f"{uri} is no address of a store: {error}. Give one like s3://bucket/touchstone.") from None


def _mirrored(file: Path, content: bytes | None) -> None:
    """Let a file say what the store says, or be gone."""
    if content is None:
        file.unlink(missing_ok=True)
    elif content != _content(file):
        _place(file, content)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


def _place(file: Path, content: bytes) -> None:
    """Put a file in its place, wholly or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        draft.write_bytes(content)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
