"""The clock of the command line. It is read here and handed down; nothing below knows what time it is."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the moment, in UTC."""
    return datetime.now(UTC)


def moment(text: str | None) -> datetime:
    """Return the moment that was written, in UTC, which is also what no zone means; nothing written means now.

    Raises:
        ConfigError: it is no date and no time.

    """
    from features.errors import ConfigError

    if text is None:
        return now()
    try:
        written = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f'"{text}" is not a moment. Write it as 2026-02-28 or 2026-02-28T09:00:00Z.') from None
    return written.replace(tzinfo=UTC) if written.tzinfo is None else written.astimezone(UTC)
