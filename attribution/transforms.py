"""Path transforms: which touches of a journey are looked at, chosen before anything is weighed.

The names are fractribution's and Snowplow's:

- ``unique``: every touch (each path is one of its own);
- ``exposure``: of repeats in a row, the first;
- ``first``: of each channel, its first touch;
- ``frequency``: the same, and the channel is named with how often it was there, as "Email(3)";
- ``trim_long_path(20)``: the last 20 touches;
- ``remove_if_not_all(Direct)``: no touch of the channel, unless there is no other;
- ``remove_if_last_and_not_all(Direct)``: none of those that end the journey, unless there is no other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from attribution.journeys import FIRST, NONE, Codes, Flags, Ints, Journeys
from attribution.rules import DIRECT
from features.errors import ConfigError

NAMES = ("unique", "exposure", "first", "frequency", "trim_long_path", "remove_if_not_all",
         "remove_if_last_and_not_all")  # fmt: skip
WRITTEN = re.compile(r"(\w+)(?:\((.+)\))?")
MICROSECONDS_A_MINUTE = 60_000_000


def transformed(journeys: Journeys, names: Sequence[str]) -> Journeys:
    """Journeys after some transforms, one after the other.

    Raises:
        ConfigError: naming every transform that is not known, or lacks its number or channel.

    """
    steps = _admitted(names)
    for name, argument in steps:
        if name == "frequency":
            journeys = _with_frequency(journeys)
        elif name != "unique":
            journeys = kept(journeys, _chosen(journeys, name, argument))
    return journeys


def sessions(journeys: Journeys, idle_minutes: float) -> Journeys:
    """Journeys of sessions: of each, the touch that opened it. Journeys must know their moments.

    A session ends when nothing happens for so many minutes, or when the lead comes by another channel. A direct visit
    never opens one inside a live session.
    """
    if journeys.touched_at is None:
        raise ValueError("sessions asks for journeys that know their moments")
    at, first = np.asarray(journeys.touched_at.as_unit("us").asi8, np.int64), _firsts(journeys)
    idle = np.diff(at, prepend=at[:1]) >= idle_minutes * MICROSECONDS_A_MINUTE
    opens, block = first | idle, np.cumsum(first | idle)
    external = np.flatnonzero(opens | ~_directs(journeys)[journeys.channel])
    same = (np.diff(block[external], prepend=-1) == 0) & (np.diff(journeys.channel[external], prepend=-1) == 0)
    chosen = np.zeros(len(at), np.bool_)
    chosen[external[~same]] = True
    return kept(journeys, chosen)


def kept(journeys: Journeys, keep: Flags) -> Journeys:
    """Journeys of some of their touches (n,); a milestone is held by the latest of these at or before it."""
    before = np.append(0, np.cumsum(keep))
    start, journey = before[journeys.start], journeys.journey[keep]
    age = None
    if journeys.age_days is not None:
        age = journeys.age_days[keep]
        age = age - age[start[1:][journey] - 1]
    return replace(
        journeys,
        start=start,
        channel=journeys.channel[keep],
        age_days=age,
        event_id=None if journeys.event_id is None else journeys.event_id[keep],
        contact=None if journeys.contact is None else journeys.contact[keep],
        touched_at=None if journeys.touched_at is None else journeys.touched_at[keep],
        milestone=_held(journeys, before, start),
    )


def _held(journeys: Journeys, before: Ints, start: Ints) -> Codes | None:
    """Return the places of milestones (m, s) among the touches that are left."""
    if journeys.milestone is None:
        return None
    touch = journeys.start[:-1, None] + journeys.milestone
    place = np.where(journeys.milestone == NONE, NONE, before[touch + 1] - start[:-1, None] - 1)
    place[:, journeys.stages.index(FIRST)] = np.where(np.diff(start) > 0, 0, NONE)
    return place.astype(np.int32)


def _admitted(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return transforms with their arguments."""
    read = [(name, WRITTEN.fullmatch(name)) for name in names]
    steps = [(found[1], found[2] or "") for _, found in read if found]
    wrong = [name for name, found in read if not found or not _is_right(found[1], found[2] or "")]
    if wrong:
        raise ConfigError(
            f"attribution.transforms: {', '.join(wrong)} cannot be done. Write {', '.join(NAMES[:4])}, "
            "trim_long_path(20), remove_if_not_all(Direct) or remove_if_last_and_not_all(Direct)."
        )
    return steps


def _is_right(name: str, argument: str) -> bool:
    if name == "trim_long_path":
        return argument.isdecimal() and int(argument) > 0
    return name in NAMES and (argument != "") == name.startswith("remove")


def _chosen(journeys: Journeys, name: str, argument: str) -> Flags:
    channel, journey = journeys.channel, journeys.journey
    if name == "exposure":
        return np.asarray(_firsts(journeys) | (np.diff(channel, prepend=-1) != 0))
    if name == "first":
        return np.asarray(~pd.DataFrame({"journey": journey, "channel": channel}).duplicated().to_numpy())
    if name == "trim_long_path":
        return np.asarray(np.arange(len(channel)) >= journeys.start[1:][journey] - int(argument))
    other = np.array([known != argument for known in journeys.channels], np.bool_)[channel]
    latest = np.full(len(journeys.start) - 1, -1)
    np.maximum.at(latest, journey[other], np.flatnonzero(other))
    if name == "remove_if_not_all":
        return np.asarray(other | (latest[journey] < 0))
    return np.asarray((np.arange(len(channel)) <= latest[journey]) | (latest[journey] < 0))


def _with_frequency(journeys: Journeys) -> Journeys:
    rows = pd.DataFrame({"journey": journeys.journey, "channel": journeys.channel})
    times = rows.groupby(["journey", "channel"])["channel"].transform("size").to_numpy(np.int64)
    first = ~rows.duplicated().to_numpy()
    told = [f"{journeys.channels[code]}({often})" for code, often in zip(rows["channel"], times, strict=True)]
    channel, channels = pd.factorize(np.array(told, dtype=object), sort=True)
    return kept(replace(journeys, channels=tuple(channels), channel=channel.astype(np.int32)), first)


def _firsts(journeys: Journeys) -> Flags:
    """Whether each touch is its journey's first (n,)."""
    first = np.zeros(len(journeys.channel), np.bool_)
    first[journeys.start[:-1][journeys.touched]] = True
    return first


def _directs(journeys: Journeys) -> Flags:
    return np.array([name.casefold() == DIRECT for name in journeys.channels], np.bool_)
