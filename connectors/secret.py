"""Secrets: what opens a system, from the environment or a file that it names, and from nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from features.errors import ConfigError


def secret(name: str, environment: Mapping[str, str]) -> str:
    """Return a secret: the variable of that name, or what is in the file that NAME_FILE names; empty if neither is."""
    if name in environment:
        return environment[name].strip()
    file = environment.get(f"{name}_FILE")
    if file is None:
        return ""
    try:
        return Path(file).read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{name}_FILE names {file}, which cannot be read: {error.strerror}.") from None


def needed(environment: Mapping[str, str], *names: str) -> list[str]:
    """Return secrets.

    Raises:
        ConfigError: naming every one that is missing.

    """
    found = [secret(name, environment) for name in names]
    missing = [name for name, value in zip(names, found, strict=True) if not value]
    if missing:
        raise ConfigError(
            f"Set {' and '.join(missing)} in the environment, or in a file that {missing[0]}_FILE names. "
            "Secrets do not belong in touchstone.toml."
        )
    return found
