"""Tokens: who may ask the service what. Only a hash of each is kept; a token is shown once, when it is made.

``tokens.json`` of the workspace lists them. The service looks at the file again when it changes, so a token that is
revoked is refused within a second.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from features.errors import ConfigError
from features.store import share

FILE = "tokens.json"
PREFIX = "ts"
SCOPES = ("read", "score", "ingest", "admin")  # admin may do all that the others may


@dataclass(frozen=True)
class Token:
    """One token: its name, what it may do, when it was made (ISO 8601), and the hash of its secret."""

    name: str
    scopes: tuple[str, ...]
    created_at: str
    key: str  # finds the token; the secret proves it
    sha256: str

    def allows(self, scope: str) -> bool:
        """Say whether the token may do what needs a scope."""
        return scope in self.scopes or "admin" in self.scopes


ANYONE = Token("loopback", SCOPES, "", "", "")  # on loopback, where no token is asked for
NOBODY = Token("nobody", (), "", "", "")  # who has shown no token


def tokens(workspace: Path) -> list[Token]:
    """Return the tokens of a workspace.

    Raises:
        ConfigError: when the file is damaged; then nobody is let in.

    """
    file = workspace / FILE
    if not file.exists():
        return []
    try:
        return [Token(**row | {"scopes": tuple(row["scopes"])}) for row in json.loads(file.read_bytes())]
    except (ValueError, TypeError, KeyError):
        raise ConfigError(f"{file} is damaged. Delete it, and make the tokens again.") from None


def create(workspace: Path, name: str, scopes: Sequence[str], now: datetime) -> str:
    """Make a token and return it; it cannot be read again.

    Raises:
        ConfigError: when the name is taken, or a scope is unknown, or none is given.

    """
    known, unknown = tokens(workspace), [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        wrong = f"{', '.join(unknown)} is no scope of a token" if unknown else "A token without a scope may do nothing"
        raise ConfigError(f"{wrong}. Give some of {', '.join(SCOPES)}.")
    if any(token.name == name for token in known):
        raise ConfigError(f"There is a token {name} already. Revoke it first, or choose another name.")
    key, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    made = Token(name, tuple(dict.fromkeys(scopes)), now.isoformat(timespec="seconds"), key, _hashed(secret))
    _write(workspace, [*known, made])
    return f"{PREFIX}_{key}_{secret}"


def revoke(workspace: Path, name: str) -> None:
    """Take a token away.

    Raises:
        ConfigError: when there is none of that name.

    """
    known = tokens(workspace)
    left = [token for token in known if token.name != name]
    if len(left) == len(known):
        raise ConfigError(f"There is no token {name}. `touchstone tokens list` names those there are.")
    _write(workspace, left)


class Keyring:
    """The tokens of a workspace, as the file says now."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._stamp: tuple[int, int] | None = None
        self._tokens: dict[str, Token] = {}

    def holder(self, presented: str) -> Token | None:
        """Return whose token this is; None if it is nobody's. A wrong secret takes as long as a right one."""
        self._look()
        _, _, rest = presented.partition("_")
        key, _, secret = rest.partition("_")
        token = self._tokens.get(key)
        hashed = _hashed(secret)
        return token if hmac.compare_digest(hashed, token.sha256 if token else "0" * len(hashed)) and token else None

    def _look(self) -> None:
        try:
            found = (self._workspace / FILE).stat()
            stamp = (found.st_ino, found.st_mtime_ns)
        except FileNotFoundError:
            stamp = None
        if stamp != self._stamp:
            self._tokens = {token.key: token for token in tokens(self._workspace)}
            self._stamp = stamp


def listed(workspace: Path) -> list[dict[str, object]]:
    """Return the tokens without what proves them."""
    return [
        {name: value for name, value in asdict(t).items() if name not in {"key", "sha256"}} for t in tokens(workspace)
    ]


def _write(workspace: Path, known: Sequence[Token]) -> None:
    workspace.mkdir(parents=True, exist_ok=True)
    share(workspace / FILE, json.dumps([asdict(token) for token in known], indent=1))
    (workspace / FILE).chmod(0o600)


def _hashed(secret: str) -> str:
    """Return the SHA-256 of a secret of 256 random bits, which no guessing finds however quick the hash is."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
