"""Records: what a company's systems write down of what happened, as tables of the contract."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from simulation import names
from simulation.dice import uniform
from simulation.happenings import DAY, FORM, NEVER, SECOND, Happenings
from simulation.law import CHANNELS, KINDS, Floats, Ints
from simulation.lives import LOST, WON
from simulation.people import lead_ids

Bools = NDArray[np.bool_]
Names = NDArray[np.object_]

ENRICHED = 0.4  # share of the missing company sizes that a later version knows
PRICES = 2  # looks at the prices that make a lead marketing-qualified; so does asking for a demo
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
OPENED_BY = {"Events": "webinar_attended", "Sales outreach": "sales_call"}  # from other sources, a form
CAMPAIGN, PAGE, HASTE, SIGNED, FIGURE, REASON, FOUND, WAIT = range(20, 28)  # what is drawn here
LEADS = [
    *("lead_id", "created_at", "observed_at", "account_id", "owner", "name", "email", "company", "industry"),
    *("company_size", "seniority", "country", "source", "landing_page"),
]


def leads_of(leads: pd.DataFrame, happened: Happenings, seed: int) -> pd.DataFrame:
    """Return what was known of each lead at first and, for some, since its company's size was found."""
    people = happened.people[: len(leads)]
    number, born = people["number"].to_numpy(), people["born"].to_numpy()
    first = leads.assign(lead_id=lead_ids(people["number"]), created_at=_times(born), observed_at=_times(born))
    first["owner"] = _owners(number)
    found = first["company_size"].isna() & (uniform(seed, number, FOUND) < ENRICHED)
    wait = DAY + (14 * 86_400 * uniform(seed, number, WAIT)).astype(np.int64) * SECOND
    later = first.assign(company_size=leads["true_size"], observed_at=_times(born + wait))[found]
    return pd.concat([first, later], ignore_index=True)[LEADS]


def touches_of(leads: pd.DataFrame, happened: Happenings, seed: int) -> pd.DataFrame:
    """Return what reached people and what they did, by time; before one is a lead, one is anonymous."""
    everyone = happened.people
    events = happened.events[~_is("rejection", happened)]
    person, process, at = (events[name].to_numpy() for name in ("person", "process", "at"))
    number = everyone["number"].to_numpy()
    source = np.zeros(len(everyone), np.int64)
    source[: len(leads)] = pd.Index(names.CHANNELS).get_indexer(pd.Index(leads["source"]))
    form = process == FORM
    channel = np.append(pd.Index(names.CHANNELS).get_indexer(pd.Index(CHANNELS)), 0)[process]
    channel[form] = source[person[form]]
    opened_by = [OPENED_BY.get(name, "form_fill") for name in names.CHANNELS]
    kinds = sorted({*KINDS, *opened_by})
    kind = np.append(pd.Index(kinds).get_indexer(pd.Index(KINDS)), 0)[process]
    kind[form] = pd.Index(kinds).get_indexer(pd.Index(opened_by))[channel[form]]
    nth = np.arange(len(events)) - np.searchsorted(person, np.arange(len(everyone)))[person]
    page = (len(names.PAGES) * uniform(seed, number[person], nth, PAGE)).astype(np.int64)
    page = np.where(kind == kinds.index("pricing_view"), len(names.PAGES), page)
    is_lead = at >= everyone["born"].to_numpy()[person]
    anonymous_id = pa.array(_visitor_ids(everyone))
    columns = {
        "event_id": pc.binary_join_element_wise(anonymous_id.take(pa.array(person)), pc.cast(nth, pa.string()), "-"),
        "lead_id": _named(person, lead_ids(everyone["number"]), is_lead),
        "anonymous_id": _named(person, anonymous_id, ~is_lead),
        "occurred_at": _times(at),
        "received_at": _times(at),
        "kind": _named(kind, kinds),
        "channel": _named(channel, names.CHANNELS),
        **_campaigns(channel, uniform(seed, number[person], nth, CAMPAIGN)),
        "page": _named(
            page, [*names.PAGES, "/pricing"], np.isin(kind, [kinds.index(k) for k in ("page_view", "pricing_view")])
        ),
    }
    return pd.DataFrame(
        {name: column if name.endswith("_at") else column.to_pandas() for name, column in columns.items()}
    )


def stage_times(happened: Happenings, leads: int, seed: int) -> dict[str, Ints]:
    """Return when each lead entered each stage before the end: what was recorded says so, and nothing hidden.

    Marketing-qualified by a demo request or looks at the prices; sales-qualified by the first call after that; an
    opportunity by the first meeting. A deal that is signed without them is written down as it is signed.
    """
    people = happened.people[:leads]
    haste = 1 + uniform(seed, people["number"].to_numpy(), HASTE)

    def before(later: Ints, minutes: float, own: Ints) -> Ints:
        return np.where(later < NEVER, np.minimum(own, later - (minutes * 60 * haste).astype(np.int64) * SECOND), own)

    opportunity = _first("sales_meeting", happened, leads)
    opportunity = before(np.where(people["end"] == WON, people["closed"], NEVER), 25, opportunity)
    asked = np.minimum(_first("demo_request", happened, leads), _first("pricing_view", happened, leads, PRICES))
    sql = before(opportunity, 10, _first("sales_call", happened, leads, after=asked))
    return {"mql": before(sql, 5, asked), "sql": sql, "opportunity": opportunity}


def stages_of(
    leads: pd.DataFrame, happened: Happenings, entered: dict[str, Ints], seed: int, *, currencies: bool
) -> pd.DataFrame:
    """Return every change of stage; deals grow with the company, and are signed for less than was hoped."""
    people = happened.people[: len(leads)]
    number, closed, end = (people[name].to_numpy() for name in ("number", "closed", "end"))
    ended = {"won": np.where(end == WON, closed, NEVER), "lost": np.where(end == LOST, closed, NEVER)}
    hoped = leads["true_size"].map(MEDIAN_DEAL).to_numpy() * leads["luck"].to_numpy()
    amounts = {
        "opportunity": np.where(uniform(seed, number, FIGURE) < NO_AMOUNT, np.nan, hoped),
        "won": hoped * (0.75 + 0.25 * uniform(seed, number, SIGNED)),
    }
    reason = _reasons(uniform(seed, number, REASON), entered["opportunity"] == NEVER)
    lead_id = lead_ids(people["number"])
    rows = pd.concat(
        pd.DataFrame(
            {
                "lead_id": lead_id,
                "stage": stage,
                "at": at,
                "amount": np.round(amounts.get(stage, np.full(len(leads), np.nan)), 2),
                "currency": leads["country"].map(names.CURRENCIES).fillna("EUR") if currencies else "EUR",
                "reason": reason if stage == "lost" else None,
            }
        )[at < NEVER]
        for stage, at in {**entered, **ended}.items()
    ).reset_index(drop=True)
    at = _times(rows.pop("at").to_numpy())
    rows.insert(2, "occurred_at", at)
    rows.insert(3, "received_at", at)
    return rows.assign(currency=rows["currency"].where(rows["amount"].notna())).astype({"reason": "str"})


def feedback_of(leads: pd.DataFrame, happened: Happenings, entered: dict[str, Ints], seed: int) -> pd.DataFrame:
    """Return what reps said of the leads that marketing passed on: accepted at the first call, or rejected, and why."""
    people = happened.people[: len(leads)]
    number, lead_id = people["number"].to_numpy(), lead_ids(people["number"])
    rejected, by = _first("rejection", happened, len(leads)), _owners(number)
    why = _reasons(uniform(seed, number, REASON), np.ones(len(leads), np.bool_))
    rows = pd.concat(
        pd.DataFrame({"lead_id": lead_id, "at": at, "verdict": verdict, "reason": reason, "by": by})[at < NEVER]
        for verdict, at, reason in (("accepted", entered["sql"], None), ("rejected", rejected, why))
    )
    return rows.assign(at=_times(rows["at"].to_numpy())).astype({"reason": "str"})


def identities_of(leads: pd.DataFrame, happened: Happenings) -> pd.DataFrame:
    """Return which anonymous visitor turned out to be which lead, and when."""
    people = happened.people[: len(leads)]
    person, at = (happened.events[name].to_numpy() for name in ("person", "at"))
    seen = np.unique(person[at < happened.people["born"].to_numpy()[person]])
    who = people.iloc[seen[seen < len(leads)]]
    return pd.DataFrame(
        {
            "anonymous_id": _visitor_ids(who),
            "lead_id": lead_ids(who["number"]),
            "observed_at": _times(who["born"].to_numpy()),
        }
    )


def _first(kind: str, happened: Happenings, leads: int, nth: int = 1, after: Ints | None = None) -> Ints:
    """Return when each lead had its n-th event of a kind (after some moment); NEVER if it had none."""
    events = happened.events[_is(kind, happened) & (happened.events["person"] < leads)]
    if after is not None:
        events = events[events["at"].to_numpy() > after[events["person"]]]
    one = events[events.groupby("person").cumcount() == nth - 1]
    first = np.full(leads, NEVER)
    first[one["person"]] = one["at"]
    return first


def _is(kind: str, happened: Happenings) -> Bools:
    return np.append(kind == KINDS, False)[happened.events["process"]]


def _reasons(u: Floats, early: Bools) -> Names:
    below = np.cumsum(np.array(list(REASONS.values())), axis=0)
    place = [np.searchsorted(column, u, side="right").clip(max=len(REASONS) - 1) for column in below.T]
    return np.array(list(REASONS), dtype=object)[np.where(early, *place)]


def _campaigns(channel: Ints, u: Floats) -> dict[str, pa.Array]:
    """Return what a click on each channel's campaigns carries along: its campaign, UTM fields and referrer."""
    options = [names.CAMPAIGNS.get(name, names.NO_CAMPAIGN) for name in names.CHANNELS]
    start = np.cumsum([0, *map(len, options)])
    which = start[channel] + (u * np.diff(start)[channel]).astype(np.int64)
    rows = [row for rows in options for row in rows]
    columns = zip(names.CAMPAIGN_COLUMNS, zip(*rows, strict=True), strict=True)
    return {name: _named(which, column) for name, column in columns}


def _named(codes: Ints, values: object, where: Bools | None = None) -> pa.Array:
    """Return the texts that codes stand for; null where ``where`` does not hold."""
    coded = pa.array(codes, pa.int32(), mask=None if where is None else ~where)
    return pa.array(values, pa.string()).take(coded)


def _owners(number: Ints) -> Names:
    return np.array(names.OWNERS, dtype=object)[number % len(names.OWNERS)]


def _visitor_ids(people: pd.DataFrame) -> Names:
    digits = people["number"].abs().astype(str).str.zfill(5)
    return ("v-" + digits.where(people["is_lead"], "x" + digits)).to_numpy(dtype=object)


def _times(at: Ints) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(at.astype("datetime64[us]"), tz="UTC")
