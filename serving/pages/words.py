"""Numbers, times and names as people say them; words before numbers, units with every number."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from typing import Any

from serving.words import about, kind, plain

NOTHING = "–"
SIGNS = {"EUR": "€", "USD": "$", "GBP": "£"}
DAY = timedelta(days=1)
USUAL = re.compile(r" \(usually [^)]*\)$")
HOUR_SECONDS = 3600
ARROWS = {"improving": "↗", "steady": "→", "declining": "↘"}


def percent(share: float | None) -> str:
    """Return a share in percent, with one digit where it is small.

    >>> percent(0.314), percent(0.0123), percent(0.0002), percent(12.5), percent(None)
    ('31 %', '1.2 %', '<0.1 %', '1,250 %', '–')
    """
    if share is None or math.isnan(share):
        return NOTHING
    if 0 < share < 0.0005:
        return "<0.1 %"
    return (f"{share:.1%}" if 0 < share < 0.0995 else f"{share:,.0%}").replace("%", " %")


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with thousands parted.

    >>> number(12345.6), number(0.25, 2), number(None)
    ('12,346', '0.25', '–')
    """
    return NOTHING if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def money(value: float | None, currency: str | None = "EUR") -> str:
    """Return an amount with its currency.

    >>> money(26478.97), money(1_234_567), money(12, "CHF"), money(None)
    ('€26,479', '€1.23 M', 'CHF 12', '–')
    """
    if value is None or math.isnan(value):
        return NOTHING
    code = currency or "EUR"
    sign = SIGNS.get(code, f"{code} ")
    minus = "−" if value < 0 else ""
    size = abs(value)
    return f"{minus}{sign}{size / 1e6:,.2f} M" if size >= 1e6 else f"{minus}{sign}{size:,.0f}"


def day(moment: datetime | None) -> str:
    """Return a day as people write it.

    >>> day(datetime(2026, 3, 2))
    '2 Mar 2026'
    """
    return NOTHING if moment is None else f"{moment.day} {moment:%b %Y}"


def ago(moment: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was.

    >>> ago(datetime(2026, 3, 2), datetime(2026, 3, 5, 1))
    '3 days ago'
    """
    if moment is None:
        return "never"
    gone = now - moment
    if gone < timedelta(hours=1):
        return "within the last hour"
    if gone < DAY:
        return f"{counted(gone.total_seconds() // HOUR_SECONDS, 'hour')} ago"
    if gone < 2 * DAY:
        return "yesterday"
    return f"{counted(gone // DAY, 'day')} ago" if gone < 60 * DAY else f"on {day(moment)}"


def span(days: float | None) -> str:
    """Return a time between two moments.

    >>> span(0.02), span(0.5), span(12.3), span(None)
    ('29 minutes', '12 hours', '12 days', '–')
    """
    if days is None or math.isnan(days):
        return NOTHING
    if days < 1 / 24:
        return counted(round(days * 1440), "minute")
    return counted(round(days * 24), "hour") if days < 2 else counted(round(days), "day")


def counted(count: float, what: str) -> str:
    """Return a count with its noun.

    >>> counted(1, "lead"), counted(1200, "lead")
    ('1 lead', '1,200 leads')
    """
    return f"{count:,.0f} {what}{'' if count == 1 else 's'}"


def arrow(trend: str | None) -> str:
    """Return the arrow of a trend."""
    return ARROWS.get(trend or "", "·")


def fact(text: str) -> tuple[str, str]:
    """Return of a reason what is the case, and of how many such leads close.

    >>> fact("seniority of the lead, as known then: Manager, raises the odds 1.35 times; of such leads 12% close")
    ('Seniority: Manager', 'of such leads 12% close')
    """
    for direction in ("raises", "lowers"):
        what, found, rest = text.partition(f", {direction} the odds")
        if found:
            return about(what), rest.partition("; ")[2]
    return text, ""


def brief(text: str) -> str:
    """Return of a reason only what is the case.

    >>> brief("Mean days between two touches: 0.1 (usually 1.5), raises the odds 1.35 times; of such leads 12% close")
    'Mean days between two touches: 0.1'
    """
    return USUAL.sub("", fact(text)[0])


def trend(name: str | None) -> str:
    """Return a trend as it is said on a page.

    >>> trend("not enough information"), trend("improving"), trend(None)
    ('new', 'improving', 'no trend yet')
    """
    return "new" if name == "not enough information" else name or "no trend yet"


def called(attributes: dict[str, Any], lead_id: str) -> str:
    """Return what a person is called: the name, else the e-mail address, else the lead's id."""
    return str(attributes.get("name") or attributes.get("email") or lead_id)


FILTERS = {
    "percent": percent, "number": number, "money": money, "day": day, "ago": ago, "span": span, "kind": kind,
    "plain": plain, "arrow": arrow, "fact": fact, "trend": trend, "about": about, "counted": counted,
}  # fmt: skip
