"""A simulated company: who comes, what they do, how they end.

Every lead has a hidden intent. What one can see of it (source, industry, size, seniority) shifts it; the rest is
luck. Day by day it visits, clicks and asks at rates that follow its intent, and two hazards decide its end:

    moves on to the next stage    ADVANCE[stage] · exp(PULL · intent) · (1 + warmth) · beat
    is lost                       LOSE[stage] · exp(-PUSH · intent) · beat

`warmth` is what the touches before today left behind: each adds its `warms`, and half is gone in HALF_LIFE days.
`beat` is the rhythm of the week times a freshness that fades with age, until something wakes the lead again.
So some touches make deals (a demo, a meeting), and others only tell of intent. Retargeting is the trap: Display
follows whoever looked at the prices, is often the last touch before a deal, and warms nobody.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray

from simulation import names

Integers = NDArray[np.int64]

# How they end.
VISITOR, LEAD, MQL, SQL, OPPORTUNITY, WON, LOST = range(7)  # who is won or lost is a visitor again
STAGES = np.array(["visitor", "lead", "mql", "sql", "opportunity", "won", "lost"])
ADVANCE = np.array([0, 0.20, 0.14, 0.09, 0.007])  # a day, by stage
LOSE = np.array([0, 0.055, 0.05, 0.05, 0.05])
PULL, PUSH = 0.7, 0.3  # how far intent moves the two hazards
HALF_LIFE = 10  # days until half of the warmth is gone, and half of the memory of a price
FRESH = 4  # days until a lead is half as lively
WAKES = 0.001  # chance a day that the lead is fresh again: a new budget, a new need
MEDIAN_DEAL = {"1-10": 2_400, "11-50": 6_500, "51-200": 16_000, "201-1000": 42_000, "1001+": 110_000}  # EUR
NO_AMOUNT = 0.15  # share of opportunities without a figure
REASONS = {  # to lose a lead: share before the opportunity, share from then on
    "unable to reach": (0.28, 0.04),
    "no interest or need": (0.24, 0.12),
    "inaccurate data": (0.12, 0.01),
    "no fit": (0.12, 0.12),
    "not now": (0.10, 0.22),
    "no budget": (0.06, 0.22),
    "duplicate": (0.05, 0.01),
    "competitor": (0.03, 0.26),
}

# When things happen.
WEEK = np.array([20.9, 19.0, 18.0, 17.0, 15.5, 7.9, 1.7]) / 100 * 7  # Monday to Sunday, mean 1
HOURS = np.array([2, 1, 1, 1, 1, 2, 5, 12, 50, 95, 110, 105, 80, 75, 95, 105, 95, 75, 55, 13, 9, 6, 4, 3])
OFFICE_HOURS = np.array([0] * 8 + [1] * 11 + [0] * 5)  # when sales moves a lead
LATE = 0.02  # share of events received one to twelve hours after they happened
PRELUDE = 14  # days a visitor may look around before becoming a lead
LINGER = 5  # days a closed lead still looks in

# Who comes: the share of each value, and what it adds to intent.
TRAITS = {
    "source": {
        "Organic Search": (0.28, 0.35),
        "Paid Search": (0.20, 0.40),
        "Paid Social": (0.17, -0.60),
        "Direct": (0.08, 0.30),
        "Email": (0.06, -0.50),
        "Events": (0.06, 0.10),
        "Sales outreach": (0.06, -0.40),
        "Referral": (0.04, 0.10),
        "AI Assistant": (0.03, 0.40),
        "Display": (0.02, -0.70),
    },
    "industry": {
        "Software": (0.24, 0.40),
        "Manufacturing": (0.16, 0.10),
        "Financial services": (0.14, 0.25),
        "Retail": (0.14, -0.20),
        "Healthcare": (0.10, 0.0),
        "Logistics": (0.09, 0.10),
        "Education": (0.07, -0.60),
        "Hospitality": (0.06, -0.50),
    },
    "company_size": {
        "1-10": (0.22, -0.60),
        "11-50": (0.30, 0.0),
        "51-200": (0.26, 0.30),
        "201-1000": (0.15, 0.30),
        "1001+": (0.07, -0.10),
    },
    "seniority": {
        "Chief officer": (0.12, 0.35),
        "Director": (0.22, 0.40),
        "Manager": (0.36, 0.0),
        "Specialist": (0.24, -0.30),
        "Student": (0.06, -1.20),
    },
}
LUCK = 0.9  # standard deviation of the intent that nothing explains
ENERGY = 1.2  # standard deviation of the logarithm of how much a lead does, whatever its intent
BURST = 0.4  # a day's mood is gamma with this shape and mean 1: the smaller, the more touches come in bursts
OWN_CHANNEL = 4  # how much more a lead uses the channel it came by
MISSING = {"industry": 0.18, "company_size": 0.26, "seniority": 0.22, "country": 0.15}  # share of the leads
ENRICHED = 0.4  # share of the missing sizes that a later version knows
LEAD_COLUMNS = ["lead_id", "created_at", "observed_at", "name", "email", "company", *MISSING, "source"]


# What they do.
class Activity(NamedTuple):
    """One thing leads do, through one channel."""

    kind: str
    channel: str
    per_day: float  # by an average lead, fresh, on an average day
    eager: float  # the rate is multiplied by exp(eager · intent)
    since: int  # the stage from which on it happens
    warms: float  # what one adds to the lead's warmth


ACTIVITIES = (
    Activity("page_view", "Organic Search", 0.075, 0.4, VISITOR, 0.1),
    Activity("page_view", "Direct", 0.06, 0.6, VISITOR, 0.0),
    Activity("page_view", "Referral", 0.015, 0.4, VISITOR, 0.2),
    Activity("page_view", "AI Assistant", 0.015, 0.5, VISITOR, 0.2),
    Activity("pricing_view", "Organic Search", 0.012, 0.9, VISITOR, 0.0),
    Activity("pricing_view", "Direct", 0.018, 0.9, VISITOR, 0.0),
    Activity("ad_click", "Paid Search", 0.035, 0.5, VISITOR, 0.2),
    Activity("ad_click", "Paid Social", 0.035, 0.1, VISITOR, 0.1),
    Activity("ad_click", "Display", 0.6, 0.0, VISITOR, 0.0),  # of those who remember a price: retargeting
    Activity("email_click", "Email", 0.075, 0.4, LEAD, 0.25),
    Activity("content_download", "Email", 0.015, 0.4, LEAD, 0.4),
    Activity("content_download", "Organic Search", 0.01, 0.4, LEAD, 0.4),
    Activity("webinar_attended", "Events", 0.015, 0.4, LEAD, 1.0),
    Activity("demo_request", "Direct", 0.01, 0.9, LEAD, 4.0),
    Activity("demo_request", "Paid Search", 0.005, 0.9, LEAD, 4.0),
    Activity("sales_call", "Sales outreach", 0.06, 0.2, MQL, 0.2),
    Activity("sales_meeting", "Sales outreach", 0.035, 0.5, SQL, 1.5),
)
KIND, CHANNEL, PER_DAY, EAGER, SINCE, WARMS = (np.array(column) for column in zip(*ACTIVITIES, strict=True))
OPENING = {"Events": "webinar_attended", "Sales outreach": "sales_call"}  # from other sources, a form
TOUCH_COLUMNS = ["event_id", "lead_id", "occurred_at", "received_at", "kind", "channel", "campaign"]


def company(leads: int = 4000, days: int = 540, *, until: datetime, seed: int = 7) -> dict[str, pd.DataFrame]:
    """Return the tables `leads`, `touches` and `stages` of a company as known at `until`.

    Leads are created on the `days` whole days before the day of `until`. All times are UTC and before `until`.
    Equal arguments give equal tables.
    """
    if until.tzinfo is None:
        raise ValueError(f"until is {until.isoformat()} without a time zone; pass one, such as tzinfo=UTC.")
    now = pd.Timestamp(until).tz_convert("UTC")
    first_day = now.normalize() - timedelta(days=days)
    rng = np.random.default_rng(seed)
    people = _people(leads, days, first_day, rng)
    deeds, moves = _lives(people, days, first_day.weekday(), rng)
    tables = {
        "leads": _lead_versions(people, rng),
        "touches": _touches(people, deeds, first_day, rng),
        "stages": _stages(people, moves, first_day, rng),
    }
    return {name: _known(table, now) for name, table in tables.items()}


def write(tables: dict[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write leads.csv, touches.parquet and stages.csv, each wholly or not at all; times in CSV end in Z."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "leads.csv", folder / "touches.parquet", folder / "stages.csv"]
    for path in paths:
        part = path.with_name(f".{path.name}.part")
        if path.suffix == ".parquet":
            tables[path.stem].to_parquet(part, index=False)
        else:
            tables[path.stem].to_csv(part, index=False, date_format="%Y-%m-%dT%H:%M:%SZ", float_format="%.2f")
        part.replace(path)
    return paths


def _people(leads: int, days: int, first_day: pd.Timestamp, rng: Generator) -> pd.DataFrame:
    """Return one row a lead: who comes, and what nobody sees of it.

    Hidden are `intent`, `energy`, and two days counted from `first_day`: a visitor `arrives`, a lead is `born`.
    """
    accounts = _accounts(1 + leads // 2, rng)
    people = accounts.iloc[rng.integers(len(accounts), size=leads)].reset_index(drop=True)
    weight = WEEK[(first_day.weekday() + np.arange(days)) % 7]
    people["born"] = np.sort(rng.choice(days, leads, p=weight / weight.sum()))
    people["arrives"] = people["born"] - rng.exponential(3, leads).astype(int).clip(max=PRELUDE)
    people["created_at"] = _moments(first_day, people["born"].to_numpy(), HOURS, rng).sort_values()
    people["lead_id"] = _ids("L-", leads, digits=5)
    people["name"] = _any(names.FIRST_NAMES, leads, rng) + " " + _any(names.LAST_NAMES, leads, rng)
    people["email"] = people["name"].str.lower().str.replace(" ", ".") + "@" + people["domain"]
    people["source"] = _drawn("source", leads, rng)
    people["seniority"] = _drawn("seniority", leads, rng)
    people["energy"] = np.exp(rng.normal(0, ENERGY, leads))
    people["intent"] = rng.normal(0, LUCK, leads)
    for attribute, values in TRAITS.items():
        people["intent"] += people[attribute].map({value: intent for value, (_, intent) in values.items()})
    return people


def _accounts(accounts: int, rng: Generator) -> pd.DataFrame:
    """Return the companies that leads work for, each named after its industry."""
    industry = _drawn("industry", accounts, rng)
    choice = rng.integers(3, size=accounts)
    ending = pd.Series([names.COMPANY_ENDINGS[kind][n] for kind, n in zip(industry, choice, strict=True)])
    stems = [_any(names.COMPANY_STEMS, accounts, rng) for _ in range(2)]
    company = stems[0] + " & " + stems[1] + " " + ending
    return pd.DataFrame(
        {
            "company": company,
            "domain": company.str.lower().str.replace(" & ", "-").str.replace(" ", "-") + ".example",
            "industry": industry,
            "company_size": _drawn("company_size", accounts, rng),
            "country": _any(names.COUNTRIES, accounts, rng),
        }
    )


def _lives(people: pd.DataFrame, days: int, weekday: int, rng: Generator) -> tuple[Integers, Integers]:
    """Return deeds (person, activity, day) and moves (person, left, entered, day): the law.

    Persons, activities, stages and days are positions; day 0 falls on `weekday`.
    """
    arrives, born, intent = people["arrives"].to_numpy(), people["born"].to_numpy(), people["intent"].to_numpy()
    came_by_it = people["source"].to_numpy(dtype=str)[:, None] == CHANNEL
    habits = PER_DAY * np.exp(np.outer(intent, EAGER)) * np.where(came_by_it, OWN_CHANNEL, 1)
    habits *= people["energy"].to_numpy()[:, None]
    stage, leaves, awake = np.full(len(people), VISITOR), np.full(len(people), days), born.copy()
    warmth, price_memory = np.zeros((2, len(people)))
    kept = 0.5 ** (1 / HALF_LIFE)
    deeds, moves = [], []
    for day in range(-PRELUDE, days + 1):
        stage[born == day - 1] = LEAD  # from the day after, so that all that leads do follows their creation
        here = np.flatnonzero((arrives <= day) & (day <= leaves))
        left = stage[here]
        awake[here[rng.random(len(here)) < WAKES]] = day
        beat = WEEK[(weekday + day) % 7] / (1 + np.maximum(day - awake[here], 0) / FRESH)

        advance = ADVANCE[left] * np.exp(PULL * intent[here]) * (1 + warmth[here]) * beat
        lose = LOSE[left] * np.exp(-PUSH * intent[here]) * beat
        moves_on = rng.random(len(here)) < 1 - np.exp(-advance)
        is_lost = ~moves_on & (rng.random(len(here)) < 1 - np.exp(-lose))
        entered = np.where(is_lost, LOST, left + moves_on)
        moved, closed = entered != left, entered >= WON
        moves.append(_rows(here[moved], left[moved], entered[moved], day))
        stage[here] = np.where(closed, VISITOR, entered)
        leaves[here[closed]] = day + LINGER

        mood = rng.gamma(BURST, 1 / BURST, len(here))
        rates = habits[here] * (left[:, None] >= SINCE) * (beat * mood)[:, None]
        rates[:, CHANNEL == "Display"] *= np.minimum(price_memory[here, None], 1)
        done = rng.poisson(rates)
        each = np.arange(done.size).repeat(done.ravel())
        deeds.append(_rows(here[each // len(ACTIVITIES)], each % len(ACTIVITIES), day))
        warmth[here] = kept * warmth[here] + done @ WARMS
        price_memory[here] = kept * price_memory[here] + done @ (KIND == "pricing_view")
    return np.hstack(deeds), np.hstack(moves)


def _lead_versions(people: pd.DataFrame, rng: Generator) -> pd.DataFrame:
    """Return what was known of each lead at first and, for some, since its company's size was found."""
    first = people.assign(observed_at=people["created_at"])
    for attribute, share in MISSING.items():
        first[attribute] = first[attribute].mask(rng.random(len(people)) < share)
    found = first["company_size"].isna() & (rng.random(len(people)) < ENRICHED)
    wait = pd.to_timedelta(rng.integers(1 * 86_400, 15 * 86_400, len(people)), unit="s")
    later = first.assign(company_size=people["company_size"], observed_at=first["created_at"] + wait)
    return pd.concat([first, later[found]]).sort_values(["observed_at", "lead_id"])[LEAD_COLUMNS]


def _touches(people: pd.DataFrame, deeds: Integers, first_day: pd.Timestamp, rng: Generator) -> pd.DataFrame:
    """Return every deed at its hour, and for each lead the touch that made it one."""
    person, activity, day = deeds
    done = pd.DataFrame({"lead_id": people["lead_id"].to_numpy()[person], "kind": KIND[activity]})
    done = done.assign(channel=CHANNEL[activity], occurred_at=_moments(first_day, day, HOURS, rng))
    opening = people.assign(channel=people["source"], occurred_at=people["created_at"])
    opening["kind"] = people["source"].map(OPENING).fillna("form_fill")
    touches = pd.concat([done, opening]).sort_values(["occurred_at", "lead_id"], ignore_index=True)
    touches["event_id"] = _ids("E-", len(touches), digits=7)
    touches["received_at"] = _received(touches["occurred_at"], rng)
    touches["campaign"] = pd.Series(dtype="str")
    for channel, campaigns in names.CAMPAIGNS.items():
        through_it = touches["channel"] == channel
        touches.loc[through_it, "campaign"] = rng.choice(campaigns, through_it.sum())
    return touches[TOUCH_COLUMNS]


def _stages(people: pd.DataFrame, moves: Integers, first_day: pd.Timestamp, rng: Generator) -> pd.DataFrame:
    """Return every change of stage; deals grow with the company, and are signed for less than was hoped."""
    person, left, entered, day = moves
    hoped = people["company_size"].map(MEDIAN_DEAL).to_numpy() * np.exp(rng.normal(0, 0.6, len(people)))
    signed = hoped * rng.uniform(0.75, 1, len(people))
    estimated = (entered == OPPORTUNITY) & (rng.random(len(entered)) >= NO_AMOUNT)
    early, late = (rng.choice(list(REASONS), len(day), p=p) for p in zip(*REASONS.values(), strict=True))
    stages = pd.DataFrame({"lead_id": people["lead_id"].to_numpy()[person], "stage": STAGES[entered]})
    stages["occurred_at"] = _moments(first_day, day, OFFICE_HOURS, rng)
    stages["received_at"] = _received(stages["occurred_at"], rng)
    amount = np.select([estimated, entered == WON], [hoped[person], signed[person]], np.nan)
    stages["amount"] = amount.round(2)
    stages["currency"] = pd.Series("EUR", index=stages.index).where(stages["amount"].notna())
    stages["reason"] = pd.Series(np.where(left < OPPORTUNITY, early, late)).where(entered == LOST)
    return stages.sort_values(["occurred_at", "lead_id"])


def _known(table: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """Return the rows whose every time is before `now`."""
    return table[(table.select_dtypes("datetimetz") < now).all(axis="columns")].reset_index(drop=True)


def _moments(first_day: pd.Timestamp, day: Integers, hours: Integers, rng: Generator) -> pd.DatetimeIndex:
    """Return a moment on each day, to the second."""
    hour = rng.choice(24, len(day), p=hours / hours.sum())
    second = day * 86_400 + hour * 3_600 + rng.integers(3_600, size=len(day))
    return first_day + pd.to_timedelta(second, unit="s")


def _received(occurred_at: pd.Series, rng: Generator) -> pd.Series:
    """Return when each was received: some late, but a stage always before the next day's office hours."""
    delay = rng.integers(3_600, 12 * 3_600, len(occurred_at)) * (rng.random(len(occurred_at)) < LATE)
    return occurred_at + pd.to_timedelta(delay, unit="s")


def _drawn(attribute: str, count: int, rng: Generator) -> pd.Series:
    values = TRAITS[attribute]
    return pd.Series(rng.choice(list(values), count, p=[share for share, _ in values.values()]))


def _any(values: tuple[str, ...], count: int, rng: Generator) -> pd.Series:
    return pd.Series(rng.choice(values, count))


def _ids(prefix: str, count: int, digits: int) -> pd.Series:
    return prefix + pd.Series(range(1, count + 1)).astype(str).str.zfill(digits)


def _rows(*columns: Integers | int) -> Integers:
    return np.stack(np.broadcast_arrays(*columns))
