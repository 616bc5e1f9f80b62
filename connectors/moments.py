"""Moments, as systems write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def milliseconds(moment: str | datetime) -> int:
    """Return a moment as milliseconds since 1970.

    >>> milliseconds("1970-01-01T00:00:01.5Z")
    1500
    """
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return (at - EPOCH) // timedelta(milliseconds=1)


def iso_of(millis: float) -> str:
    """Return milliseconds since 1970 as ISO 8601.

    >>> iso_of(1500)
    '1970-01-01T00:00:01.500Z'
    """
    return f"{(EPOCH + timedelta(milliseconds=millis)).isoformat(timespec='milliseconds')[:-6]}Z"
