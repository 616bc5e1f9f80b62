"""Lead-days: what the models that ask for them see of the lake, as numbers, and the credit of ``score_adjusted``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pandas as pd

from attribution.adjusted import FEWEST_ENDS, Adjusted, score_adjusted
from attribution.credit import Unattributed
from attribution.journeys import Floats, Ints
from attribution.moments import OpenTime, Touched
from attribution.shares import whole
from features.errors import DataError
from features.history import DAY, Events, History
from features.outcomes import outcomes_of
from features.settings import Goal

Probability = Callable[[Ints, Ints], Floats]  # (position in the history, microseconds) -> probability of closing


class LeadDays(NamedTuple):
    """Leads of a history, their open time and the touches that may earn credit."""

    lead_ids: tuple[str, ...]
    time: OpenTime
    touched: Touched
    channels: tuple[str, ...]


def own_history(history: History, kinds: Collection[str]) -> History:
    """Return a history of some kinds of touches alone: what leads do of their own, which tells of their intent."""
    return replace(history, touches=_of_kinds(history.touches, kinds))


def lead_days(history: History, goal: Goal, as_of: int, earning: Collection[str]) -> LeadDays:
    """Return the open time of all leads up to a moment (microseconds), and the touches of kinds that may earn."""
    known = outcomes_of(history, goal, as_of)
    end = np.minimum(np.minimum(known.won, known.closed), as_of)
    here = (history.created < as_of) & history.live(np.arange(len(history.lead_ids)), as_of)
    end = np.where(here, np.maximum(end, history.created), history.created)
    touches = _of_kinds(history.touches, earning)
    seen = (touches.known < as_of) & (touches.occurred < as_of)
    lead = touches.leads()[seen]
    code, names = touches.codes["channel"][seen], touches.names["channel"]
    present = np.unique(code)
    time = OpenTime(
        born=history.created / DAY,
        end=end / DAY,
        won=here & (known.won < as_of) & (known.won <= known.closed),
        lost=here & (known.closed < as_of) & (known.closed < known.won),
    )
    start = np.searchsorted(lead, np.arange(len(history.lead_ids) + 1))
    channel = np.searchsorted(present, code).astype(np.int32)
    touched = Touched(start, touches.occurred[seen] / DAY, channel)
    return LeadDays(history.lead_ids, time, touched, tuple(names[place] for place in present.tolist()))


def adjusted(days: LeadDays, probability: Probability) -> Adjusted:
    """Return the score-adjusted credit.

    Raises:
        DataError: when so little closed that nothing can be told.

    """
    refuse_too_few("score_adjusted", days)

    def score(lead: Ints, day: Floats) -> Floats:
        return probability(lead, (day * DAY).astype(np.int64))

    return score_adjusted(days.time, days.touched, len(days.channels), score)


def refuse_too_few(model: str, days: LeadDays) -> None:
    """Refuse, with a DataError, leads of which so few have closed that a model can tell nothing."""
    closes = int((days.time.won & (days.time.end > days.time.born)).sum())
    if closes < FEWEST_ENDS or not days.channels:
        raise DataError(
            f"{model} needs {FEWEST_ENDS} closed leads and touches that may earn credit; {closes} leads have "
            "closed. Use a rule, such as linear, until more have."
        )


def value_cents(found: Adjusted, days: LeadDays, wins: pd.DataFrame) -> Ints:
    """Return what each channel's parts brought in whole cents (k,), and last what would have come anyway (k + 1,).

    ``wins`` has lead_id and value_cents; all of it is handed out. A loss that a channel owes is worth a mean win.
    """
    worth = wins.groupby("lead_id")["value_cents"].sum()
    ids = np.array(days.lead_ids, dtype=object)[found.lead]
    of_lead = worth.reindex(ids, fill_value=0).to_numpy(np.float64)
    total = int(worth.sum())
    exact = found.part.T @ of_lead - found.owed * (total / max(len(found.lead), 1))
    return whole(np.append(exact, total - exact.sum()), np.array([total]), np.array([0, len(exact) + 1]))


def table(found: Adjusted, days: LeadDays, wins: pd.DataFrame, model: str) -> tuple[pd.DataFrame, Unattributed]:
    """Return the channels' rows as ``credit.Attribution`` has them, and what would have closed anyway."""
    cents = [Decimal(amount).scaleb(-2) for amount in value_cents(found, days, wins).tolist()]
    low, high = found.low_and_high
    rows = pd.DataFrame(
        {"model": model, "channel": list(days.channels), "credit": found.credit, "value": cents[:-1], "low": low,
         "high": high, "harvests": found.harvests}
    ).sort_values("credit", ascending=False, ignore_index=True)  # fmt: skip
    return rows, {"credit": len(wins) - float(found.credit.sum()), "value": cents[-1]}


def _of_kinds(touches: Events, kinds: Collection[str]) -> Events:
    meant = [code for code, name in enumerate(touches.names["kind"]) if name in kinds]
    return touches.chosen(np.isin(touches.codes["kind"], meant))


def kinds_of(history: History) -> set[str]:
    """Return every kind of touch that the history names."""
    return set(history.touches.names["kind"])
