"""Journeys: the touches that led to a conversion, or to none, in order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isinf

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
Names = npt.NDArray[np.object_]

SECONDS_A_DAY = 86_400
FIRST, WON = "first", "won"  # milestones of every journey: its first touch, and its end
NONE = -1  # the place of a milestone that no touch led to


@dataclass(frozen=True, eq=False)
class Journeys:
    """Touches side by side, journey after journey, and how each journey ended.

    n touches, ordered by journey and then by time; m journeys; k channels. A journey may hold no touch: then
    nobody earned what it brought. One row may stand for many journeys, so conversions and nulls are counts.
    """

    channels: tuple[str, ...]  # k names
    start: Ints  # (m + 1,) journey j holds the touches start[j] to before start[j + 1]
    channel: Codes  # (n,) places in channels
    age_days: Floats | None  # (n,) days before the journey's last touch; None: touches are one day apart
    conversions: Floats  # (m,) how often the journey ended in a conversion
    nulls: Floats  # (m,) how often it ended without one
    value_cents: Ints  # (m,) what its conversions brought together; negative for refunds
    event_id: Names | None = None  # (n,)
    contact: Names | None = None  # (n,) lead who was touched, where journeys are of accounts
    lead_id: Names | None = None  # (m,)
    stages: tuple[str, ...] = ()  # s milestones
    touched_at: pd.DatetimeIndex | None = None  # (n,)
    ended_at: pd.DatetimeIndex | None = None  # (m,)
    milestone: Codes | None = None  # (m, s) place in the journey of the latest touch at or before each, or NONE

    @cached_property
    def journey(self) -> Ints:
        """Row of each touch's journey (n,), never decreasing."""
        return np.repeat(np.arange(len(self.start) - 1), self.touches)

    @cached_property
    def touches(self) -> Ints:
        """How many touches the journey holds (m,)."""
        return np.diff(self.start)

    @cached_property
    def touched(self) -> Flags:
        """Whether the journey holds a touch (m,)."""
        return self.touches > 0


def journeys(
    touches: pd.DataFrame,
    conversions: pd.DataFrame,
    as_of: pd.Timestamp,
    lookback_days: float | None,
    stages: pd.DataFrame | None = None,
) -> Journeys:
    """Journeys of leads as far as they had come at ``as_of``; what happened later changes nothing.

    Args:
        touches: lead_id, event_id, occurred_at (UTC), channel; and contact, who was touched, where lead_id names
            accounts. Touches without a lead_id are left out.
        conversions: lead_id, occurred_at (UTC), value_cents (integers, signed).
        as_of: moment (UTC) up to which touches and conversions are seen, itself included.
        lookback_days: how long before a journey's end a touch still counts; None or infinite: for ever.
        stages: lead_id, stage, occurred_at (UTC); None: journeys know no milestones.

    Each moment at which a lead converts ends a journey. A touch counts once: for its lead's next conversion,
    at or after it. Touches after the last conversion are in no journey yet. A lead that never converted has
    one journey, which ends at ``as_of`` without conversion. Its milestones are the first touch, the conversion, and
    the first change to each stage up to then.

    """
    known = touches[touches["lead_id"].notna() & (touches["occurred_at"] <= as_of)]
    ends = _ends(known, conversions[conversions["occurred_at"] <= as_of], as_of)
    told = [name for name in ("lead_id", "event_id", "occurred_at", "channel", "contact") if name in known]
    placed = _placed(known[told], ends, lookback_days)
    channel, channels = pd.factorize(placed["channel"], sort=True)
    last_touch = placed.groupby("journey")["occurred_at"].transform("max")
    journey = placed["journey"].to_numpy(np.int64)
    names, milestone = ((), None) if stages is None else _milestones(placed, ends, stages)
    return Journeys(
        channels=tuple(channels),
        start=np.searchsorted(journey, np.arange(len(ends) + 1)),
        channel=channel.astype(np.int32),
        age_days=(last_touch - placed["occurred_at"]).dt.total_seconds().to_numpy(np.float64) / SECONDS_A_DAY,
        conversions=ends["conversions"].to_numpy(np.float64),
        nulls=ends["nulls"].to_numpy(np.float64),
        value_cents=ends["value_cents"].to_numpy(np.int64),
        event_id=placed["event_id"].to_numpy(object),
        contact=placed["contact"].to_numpy(object) if "contact" in told else None,
        lead_id=ends["lead_id"].to_numpy(object),
        stages=names,
        touched_at=pd.DatetimeIndex(placed["occurred_at"]),
        ended_at=pd.DatetimeIndex(ends["ended_at"]),
        milestone=milestone,
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
        tolerance=None if lookback_days is None or isinf(lookback_days) else pd.Timedelta(days=lookback_days),
    )
    return placed.dropna(subset="journey").sort_values(["journey", "occurred_at", "event_id"])


def _milestones(placed: pd.DataFrame, ends: pd.DataFrame, stages: pd.DataFrame) -> tuple[tuple[str, ...], Codes]:
    """Names of milestones, and the place of the touch that holds each in each journey."""
    place = placed[["journey", "occurred_at"]].assign(place=placed.groupby("journey").cumcount())
    place = place.astype({"journey": ends["journey"].dtype})  # leads without a journey made it a float
    first = stages.groupby(["lead_id", "stage"])["occurred_at"].min().reset_index()
    entered = ends[["lead_id", "ended_at", "journey"]].merge(first, on="lead_id")
    entered = entered[entered["occurred_at"] <= entered["ended_at"]].astype(
        {"occurred_at": placed["occurred_at"].dtype}
    )
    held = pd.merge_asof(
        entered.sort_values("occurred_at"),
        place.sort_values("occurred_at", kind="stable"),
        on="occurred_at",
        by="journey",
    ).dropna(subset="place")
    names = (FIRST, WON, *sorted(set(stages["stage"]) - {FIRST, WON}))
    touches = np.bincount(placed["journey"].astype(np.int64), minlength=len(ends))
    milestone = np.full((len(ends), len(names)), NONE, np.int32)
    milestone[:, 0] = np.where(touches > 0, 0, NONE)
    milestone[:, 1] = touches - 1
    column = pd.Index(names).get_indexer(pd.Index(held["stage"]))
    milestone[held["journey"], column] = np.where(column == 1, milestone[held["journey"], 1], held["place"])
    return names, milestone
