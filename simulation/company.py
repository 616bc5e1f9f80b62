"""A simulated company: its leads, what reached them, what they did, how they ended, and what it cost.

Equal companies have equal tables, to the byte. What is hidden in them is told by ``truth`` and ``effects``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd

from simulation.happenings import happenings
from simulation.law import World, rules
from simulation.lives import Lives, lives
from simulation.money import counted, rates, spend
from simulation.people import CHAPTER, People, births, people
from simulation.records import feedback_of, identities_of, leads_of, stage_times, stages_of, touches_of
from simulation.troubles import Troubles, retold, troubled

Tables = dict[str, pd.DataFrame]
ORDER = {
    "leads": ["observed_at", "lead_id"],
    "touches": ["occurred_at", "event_id"],
    "stages": ["occurred_at", "lead_id"],
    "identities": ["observed_at", "lead_id"],
    "feedback": ["at", "lead_id"],
    "spend": ["day", "channel", "campaign"],
    "rates": ["day", "currency"],
}


@dataclass(frozen=True)
class Company:
    """What a company is made of.

    until: the moment at which it is looked at; every time in its tables is before.
    leads, days: so many leads are created on the whole days before the day of ``until``.
    """

    until: datetime
    leads: int = 4000
    days: int = 540
    seed: int = 7
    currencies: bool = False  # deals in the currencies of their countries; otherwise all in euros
    world: World = field(default_factory=World)
    troubles: Troubles = field(default_factory=Troubles)

    def __post_init__(self) -> None:
        """Refuse a moment that is none."""
        if self.until.tzinfo is None:
            raise ValueError(f"until is {self.until.isoformat()} without a time zone; pass one, such as tzinfo=UTC.")

    @property
    def now(self) -> pd.Timestamp:
        """Return ``until`` in UTC."""
        return pd.Timestamp(self.until).tz_convert("UTC")

    @property
    def first_day(self) -> pd.Timestamp:
        """Return the beginning of day 0."""
        return self.now.normalize() - pd.Timedelta(days=self.days)

    def chapters(self) -> Iterator[People]:
        """Yield the company's people, CHAPTER leads at a time."""
        born = births(self.leads, self.days, self.first_day.weekday(), self.seed)
        for chapter, at in enumerate(range(0, self.leads, CHAPTER)):
            yield people(born[at : at + CHAPTER], chapter, self.days, self.world, self.seed)

    def lives(self, some: People) -> Lives:
        """Return what happens to some people."""
        return lives(some.cohort, rules(self.world), self.first_day.weekday(), self.seed)


def tables(company: Company) -> Tables:
    """Return the company's tables in memory: leads, touches, stages, identities, feedback, spend and rates."""
    found: dict[str, list[pd.DataFrame]] = {}
    for part in parts(company):
        for name, table in part.items():
            found.setdefault(name, []).append(table)
    return {name: pd.concat(rows).sort_values(ORDER[name], ignore_index=True) for name, rows in found.items()}


def parts(company: Company) -> Iterator[Tables]:
    """Yield the company's tables a chapter of leads at a time, and at last what all of them cost."""
    costs = []
    for chapter, some in enumerate(company.chapters()):
        happened = happenings(some, company.lives(some), company.first_day.value // 1000, company.seed)
        entered = stage_times(happened, len(some.leads), company.seed)
        recorded = {
            "leads": leads_of(some.leads, happened, company.seed),
            "touches": touches_of(some.leads, happened, company.seed),
            "stages": stages_of(some.leads, happened, entered, company.seed, currencies=company.currencies),
            "identities": identities_of(some.leads, happened),
            "feedback": feedback_of(some.leads, happened, entered, company.seed),
        }
        recorded = troubled(recorded, company.troubles, np.random.default_rng((company.seed, chapter, 1)))
        known = {name: _known(table, company.now).sort_values(ORDER[name]) for name, table in recorded.items()}
        costs.append(counted(known["touches"]))
        yield retold(known, company.troubles)
    yield {
        "spend": spend(pd.concat(costs), company.seed),
        "rates": rates(company.first_day, company.days, company.seed),
    }


def _known(table: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """Return the rows whose every time is before ``now``."""
    return table[(table.select_dtypes("datetimetz") < now).all(axis="columns")]
