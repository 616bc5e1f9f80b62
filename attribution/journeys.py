"""Journeys: the touches that led to a conversion, or to none, in order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Names = npt.NDArray[np.object_]

SECONDS_A_DAY = 86_400


@dataclass(frozen=True, eq=False)
class Journeys:
    """Touches side by side, journey after journey, and how each journey ended.

    n touches, ordered by journey and then by time; m journeys; k channels. A journey may hold no touch: then
    nobody earned what it brought. One row may stand for many journeys, so conversions and nulls are counts.
    """

    channels: tuple[str, ...]  # k names
    journey: Ints  # (n,) row of the touch's journey, never decreasing
    channel: Ints  # (n,) code into channels
    age_days: Floats  # (n,) days before the journey's last touch
    event_id: Names | None  # (n,)
    conversions: Floats  # (m,) how often the journey ended in a conversion
    nulls: Floats  # (m,) how often it ended without one
    value_cents: Ints  # (m,) what its conversions brought together; negative for refunds
    lead_id: Names | None  # (m,)

    @cached_property
    def outcomes(self) -> Floats:
        """How often each journey converted, then how often each did not (2m,)."""
        return np.concatenate([self.conversions, self.nulls])

    @cached_property
    def touched(self) -> Flags:
        """Whether the journey holds a touch (m,)."""
        return np.bincount(self.journey, minlength=len(self.conversions)) > 0

    @cached_property
    def since_first(self) -> Ints:
        """Steps from the journey's first touch to this one (n,)."""
        touches = np.bincount(self.journey)
        return np.arange(len(self.journey)) - (np.cumsum(touches) - touches)[self.journey]

    @cached_property
    def until_last(self) -> Ints:
        """Steps from this touch to the journey's last one (n,)."""
        return np.cumsum(np.bincount(self.journey))[self.journey] - 1 - np.arange(len(self.journey))


def journeys(
    touches: pd.DataFrame, conversions: pd.DataFrame, as_of: pd.Timestamp, lookback_days: float | None
) -> Journeys:
    """Journeys of leads as far as they had come at ``as_of``; what happened later changes nothing.

    Args:
        touches: lead_id, event_id, occurred_at (UTC), channel. Touches without a lead_id are left out.
        conversions: lead_id, occurred_at (UTC), value_cents (integers, signed).
        as_of: moment up to which touches and conversions are seen, itself included.
        lookback_days: how long before a journey's end a touch still counts, or None for ever.

    Each moment at which a lead converts ends a journey. A touch counts once: for its lead's next conversion,
    at or after it. Touches after the last conversion are in no journey yet. A lead that never converted has
    one journey, which ends at ``as_of`` without conversion.

    """
    known = touches[touches["lead_id"].notna() & (touches["occurred_at"] <= as_of)]
    ends = _ends(known, conversions[conversions["occurred_at"] <= as_of], as_of)
    placed = _placed(known[["lead_id", "event_id", "occurred_at", "channel"]], ends, lookback_days)
    channel, channels = pd.factorize(placed["channel"], sort=True)
    last_touch = placed.groupby("journey")["occurred_at"].transform("max")
    return Journeys(
        channels=tuple(channels),
        journey=placed["journey"].to_numpy(np.int64),
        channel=channel,
        age_days=(last_touch - placed["occurred_at"]).dt.total_seconds().to_numpy(np.float64) / SECONDS_A_DAY,
        event_id=placed["event_id"].to_numpy(object),
        conversions=ends["conversions"].to_numpy(np.float64),
        nulls=ends["nulls"].to_numpy(np.float64),
        value_cents=ends["value_cents"].to_numpy(np.int64),
        lead_id=ends["lead_id"].to_numpy(object),
    )


def _ends(touches: pd.DataFrame, conversions: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """One row a journey, by lead and time: lead_id, ended_at, conversions, nulls, value_cents, journey."""
    by_moment = conversions.groupby(["lead_id", "occurred_at"])["value_cents"]
    won = by_moment.agg(conversions="size", value_cents="sum").reset_index()
    open_leads = touches.loc[~touches["lead_id"].isin(conversions["lead_id"]), "lead_id"].unique()
    never = pd.DataFrame({"lead_id": open_leads, "occurred_at": as_of, "conversions": 0, "value_cents": 0})
    ends = pd.concat([won.assign(nulls=0), never.assign(nulls=1)]).sort_values(["lead_id", "occurred_at"])
    ends = ends.rename(columns={"occurred_at": "ended_at"}).assign(journey=range(len(ends)))
    return ends.astype({"lead_id": touches["lead_id"].dtype, "ended_at": touches["occurred_at"].dtype})


def _placed(touches: pd.DataFrame, ends: pd.DataFrame, lookback_days: float | None) -> pd.DataFrame:
    """Touches that belong to a journey, in order, with the journey's row."""
    placed = pd.merge_asof(
        touches.sort_values("occurred_at"),
        ends.sort_values("ended_at")[["lead_id", "ended_at", "journey"]],
        left_on="occurred_at",
        right_on="ended_at",
        by="lead_id",
        direction="forward",
        tolerance=None if lookback_days is None else pd.Timedelta(days=lookback_days),
    )
    return placed.dropna(subset="journey").sort_values(["journey", "occurred_at", "event_id"])
