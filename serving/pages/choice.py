"""The choice: which part of the book a page counts, by period, segment and campaign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from serving.pages.book import Edition
from serving.pages.site import Refusal
from serving.pages.words import day
from serving.words import plain

PERIODS = (("30", "last 30 days"), ("90", "last 90 days"), ("180", "last 180 days"), ("all", "all time"))
USUAL = 365  # days
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
SEGMENT = "($name = '' OR lead_id IN (SELECT lead_id FROM traits WHERE name = $name AND value = $value))"
CAMPAIGN = "($campaign = '' OR campaign = $campaign)"


@dataclass(frozen=True)
class Choice:
    """A part of the book; empty texts leave nothing out."""

    since: datetime
    name: str = ""  # of an attribute
    value: str = ""
    campaign: str = ""

    def values(self, **more: object) -> Mapping[str, object]:
        """Return the values that the conditions above, and a query's own, ask for."""
        return {"since": self.since, "name": self.name, "value": self.value, "campaign": self.campaign, **more}

    def said(self, now: datetime) -> str:
        """Return the choice in words."""
        period = "All time" if self.since == ALWAYS else f"From {day(self.since)} to {day(now)}"
        segment = f" · {plain(self.name)}: {self.value}" if self.name else ""
        return f"{period}{segment}{f' · campaign {self.campaign}' if self.campaign else ''}"


def chosen(query: Mapping[str, str], edition: Edition) -> Choice:
    """Return what a query chooses.

    Raises:
        Refusal: when it names a period, a segment or a campaign that there is not.

    """
    period, segment, campaign = query.get("period", str(USUAL)), query.get("segment", ""), query.get("campaign", "")
    name, _, value = segment.partition("=")
    wrong = [
        what
        for what, known in (
            (f"period {period}", period in {str(USUAL), *(days for days, _ in PERIODS)}),
            (f"segment {segment}", not segment or (name, value) in edition.segments),
            (f"campaign {campaign}", not campaign or campaign in edition.campaigns),
        )
        if not known
    ]
    if wrong:
        raise Refusal(
            HTTPStatus.BAD_REQUEST, f"There is no {' and no '.join(wrong)}. Choose from the lists of the page."
        )
    since = ALWAYS if period == "all" else edition.as_of - timedelta(days=int(period))
    return Choice(since, name, value, campaign)
