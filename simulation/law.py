"""The law of the simulated company: what touches leave behind, what leads do, and how they end.

Every lead has a hidden intensity Z, gamma with shape K and mean 1. What one can see of the lead multiplies it. Day
by day, with A what earlier touches left behind (``STATES``: each fades with its own half-life) and the rhythm of
the week b:

    what a lead does    Poisson(Z · engages · b · (base + gain · A))     page views, demo requests, meetings …
    what reaches it     Poisson(affinity · b · (base + gain · A))        e-mails, clicks on ads, calls …
    wins                with hazard Z · closes · b · (BASE + effect · A)
    is lost             on Fridays, with hazard leaves · (LOSS + weight · A)

What reaches a lead knows nothing of Z but what the lead showed: retargeting follows a look at the prices, calls
follow a demo request. So exposure is confounded with intent, and yet the truth is exact (``truth``): all rates are
linear in A, which makes the future's Laplace transform a recursion, and Z given the past stays gamma.
How often and how long things happen is as measured of real companies; what a touch does is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

K = 1.0  # shape of the hidden intensity: visits per lead are then as over-dispersed as measured
WEEK = np.array([20.9, 19.0, 18.0, 17.0, 15.5, 7.9, 1.7]) / 100 * 7  # the rhythm, Monday to Sunday, mean 1
FRIDAY = 4  # the weekday on which sales reviews its pipeline and gives leads up
OWN_CHANNEL = 3.0  # how much more often a lead is reached through the channel it came by

STATES = {  # what is left behind, and days until half of it is gone
    "fresh": 4.0,  # a lead has just asked
    "settled": 90.0,  # and still has its need
    "price": 8.0,  # it looked at the prices
    "inbox": 2.0,  # an e-mail lies there unread
    "demo": 10.0,
    "meeting": 21.0,
    "refused": 30.0,  # a rep turned it down
    "Email": 6.0,  # and the touches of each channel that can move a lead
    "Display": 5.0,
    "Events": 14.0,
    "Organic Search": 10.0,
    "Paid Search": 7.0,
    "Paid Social": 5.0,
    "Referral": 14.0,
    "AI Assistant": 10.0,
    "Sales outreach": 7.0,
}
EFFECTS = {  # what one touch adds to the daily hazard of winning, at first; calls lead to meetings and rejections, too
    "Email": 0.00018,
    "Display": 0.00080,
    "Events": 0.00070,
    "Organic Search": 0.00022,
    "Paid Search": 0.00060,
    "Paid Social": 0.00020,
    "Referral": 0.00070,
    "AI Assistant": 0.00070,
    "Sales outreach": 0.00040,
}
OPENS = {"fresh": 1.0, "settled": 1.0}  # what becoming a lead leaves behind
WINS = {"fresh": 0.0105, "settled": 0.00012, "demo": 0.002, "meeting": 0.004}  # the hazard's other parts
BASE = 0.00002
LOSS, LOSES = 0.035, {"fresh": 0.45, "refused": 0.12}


class Process(NamedTuple):
    """Something that happens to leads again and again: what is recorded of it, how often, and what it leaves."""

    kind: str
    channel: str
    base: float  # a day, of an average lead on an average day
    gain: Mapping[str, float]  # more of it for what was left behind
    jump: Mapping[str, float]  # what one of it leaves behind
    by_lead: bool = False  # the lead does it, so that it tells of Z; else it reaches the lead
    visitors: bool = False  # it happens before one is a lead, too


PROCESSES = (
    Process("organic_visit", "Organic Search", 0.030, {"Organic Search": 0.010}, {"Organic Search": 1}, visitors=True),
    Process("referral_visit", "Referral", 0.006, {}, {"Referral": 1}, visitors=True),
    Process("assistant_visit", "AI Assistant", 0.006, {"AI Assistant": 0.01}, {"AI Assistant": 1}, visitors=True),
    Process("ad_click", "Paid Search", 0.014, {"Paid Search": 0.015}, {"Paid Search": 1}, visitors=True),
    Process("ad_click", "Paid Social", 0.012, {"Paid Social": 0.020}, {"Paid Social": 1}, visitors=True),
    Process("ad_click", "Display", 0.010, {}, {"Display": 1}),
    Process("email_sent", "Email", 0.020, {"settled": 0.08}, {"Email": 1, "inbox": 1}),
    Process("webinar_attended", "Events", 0.008, {}, {"Events": 1}),
    Process("sales_call", "Sales outreach", 0.012, {"demo": 0.08, "price": 0.008}, {"Sales outreach": 1}),
    Process("rejection", "", 0.0, {"Sales outreach": 0.035}, {"refused": 1}),
    Process("page_view", "Direct", 0.010, {"fresh": 0.26, "settled": 0.02}, {}, by_lead=True, visitors=True),
    Process("pricing_view", "Direct", 0.002, {"fresh": 0.15, "settled": 0.012}, {"price": 1}, True, visitors=True),
    Process("demo_request", "Direct", 0.0, {"fresh": 0.016, "settled": 0.002}, {"demo": 1}, by_lead=True),
    Process("email_open", "Email", 0.0, {"inbox": 0.12}, {}, by_lead=True),
    Process("email_click", "Email", 0.0, {"inbox": 0.03}, {}, by_lead=True),
    Process("sales_meeting", "Sales outreach", 0.0, {"Sales outreach": 0.014}, {"meeting": 1}, by_lead=True),
    Process("ad_click", "Brand Search", 0.002, {"fresh": 0.01}, {}, by_lead=True),
)
KINDS = np.array([process.kind for process in PROCESSES])
CHANNELS = np.array([process.channel for process in PROCESSES])
MOVING = tuple(EFFECTS)  # the channels whose touches can win a lead
BRAND = next(j for j, process in enumerate(PROCESSES) if process.channel == "Brand Search")


@dataclass(frozen=True)
class World:
    """One state of the world: which channels work, and what misleads those who only count.

    The default has hardly any confounding: of what reaches a lead, only calls follow what it does. ``effects`` stand
    in the place of EFFECTS; what calls lead to, meetings and rejections, goes with the effect of Sales outreach.
    """

    effects: Mapping[str, float] = field(default_factory=lambda: EFFECTS)
    retargeting: float = 0.0  # clicks on Display a day for a fresh look at the prices
    harvest: float = 0.0  # share of wins with a click on a brand ad on the way to signing
    fatigue: float = 0.0  # what an e-mail adds to the weekly hazard of being lost, at first
    drift: float = 1.0  # what the hazard of winning is multiplied by for leads created in the later half
    new_routing: bool = False  # leads created in the later half are called only when they ask for a demo

    def __post_init__(self) -> None:
        """Refuse what the law cannot have."""
        unknown = sorted(set(self.effects) - set(EFFECTS))
        negative = sorted(channel for channel, effect in self.effects.items() if effect < 0)
        problems = [f"no touch of {name} can move a lead; use {', '.join(EFFECTS)}" for name in unknown]
        problems += [f"the effect of {name} is negative; a hazard cannot be" for name in negative]
        problems += ["harvest is a share between 0 and 1"] * (not 0 <= self.harvest <= 1)
        problems += [
            f"{name} is negative"
            for name in ("retargeting", "fatigue", "drift")
            if getattr(self, name) < 0
        ]  # fmt: skip
        if problems:
            raise ValueError(f"This world cannot be: {'; '.join(problems)}.")


WITHOUT_DISPLAY = {**EFFECTS, "Display": 0.0}
WORLDS = {
    "no confounding": World(),
    "confounded retargeting": World(effects=WITHOUT_DISPLAY, retargeting=0.8),
    "harvesting brand search": World(effects=WITHOUT_DISPLAY, harvest=0.6),
    "drift": World(effects=WITHOUT_DISPLAY, retargeting=0.8, drift=0.5),
}


class Entries(NamedTuple):
    """The entries other than 0 of a matrix over states, row by row."""

    start: Ints  # (rows + 1,) where each row's entries begin
    state: Ints
    value: Floats


class Rules(NamedTuple):
    """A world in numbers: J processes, S states, two routings (before the change, after it)."""

    base: Floats  # (2, J)
    gain: Entries  # rows 0 to J − 1 before the change of routing, J to 2J − 1 after it
    jump: Entries  # rows 0 to J − 1
    by_lead: Bools  # (J,)
    visitors: Bools  # (J,)
    kept: Floats  # (S,) share of a state that is left a day later
    opens: Floats  # (S,)
    win: float
    wins: Floats  # (S,)
    loss: float
    loses: Floats  # (S,)
    harvest: float
    own: float
    week: Floats  # (7,)
    review: int  # the weekday on which leads are given up
    brand: int  # the process that harvests


def rules(world: World, without: frozenset[str] = frozenset()) -> Rules:
    """Return a world in numbers, with some channels switched off: none of their touches happens."""
    base = np.tile([process.base for process in PROCESSES], (2, 1))
    gain = np.tile(np.stack([_over_states(process.gain) for process in PROCESSES]), (2, 1, 1))
    jump = np.stack([_over_states(process.jump) for process in PROCESSES])
    retargeting = CHANNELS == "Display"
    if world.retargeting:
        base[:, retargeting] = 0
        gain[:, retargeting] = _over_states({"price": world.retargeting})
    if world.new_routing:
        calls = KINDS == "sales_call"
        base[1, calls] = 0
        gain[1, calls] *= np.array(list(STATES)) == "demo"
    calls_work = world.effects.get("Sales outreach", 0.0) / EFFECTS["Sales outreach"]
    gain *= np.where(np.array(list(STATES)) == "Sales outreach", calls_work, 1.0)
    off = np.isin(CHANNELS, list(without))
    base[:, off], gain[:, off], jump[off] = 0, 0, 0
    return Rules(
        base=base,
        gain=_entries(gain.reshape(-1, len(STATES))),
        jump=_entries(jump),
        by_lead=np.array([process.by_lead for process in PROCESSES]),
        visitors=np.array([process.visitors for process in PROCESSES]),
        kept=0.5 ** (1 / np.array(list(STATES.values()))),
        opens=_over_states(OPENS),
        win=BASE,
        wins=_over_states({**WINS, **world.effects}),
        loss=LOSS,
        loses=_over_states({**LOSES, "Email": world.fatigue}),
        harvest=0.0 if "Brand Search" in without else world.harvest,
        own=OWN_CHANNEL,
        week=WEEK,
        review=FRIDAY,
        brand=BRAND,
    )


def _over_states(values: Mapping[str, float]) -> Floats:
    return np.array([values.get(state, 0.0) for state in STATES])


def _entries(matrix: Floats) -> Entries:
    row, state = np.nonzero(matrix)
    return Entries(np.searchsorted(row, np.arange(len(matrix) + 1)), state, matrix[row, state])
