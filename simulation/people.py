"""The people: who comes, what one can see of them, and what that does to their lives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray

from simulation import names
from simulation.law import CHANNELS, PROCESSES, WEEK, Ints, K, World
from simulation.lives import NOT_BORN, Cohort

PRELUDE = 21  # days that a visitor may look around before becoming a lead
VISITORS = 0.6  # visitors who never become a lead, per lead
CONTACTS = 2.0  # leads per account, on average


class Trait(NamedTuple):
    """A value of an attribute: its share, and what it adds to the logarithm of three rates."""

    share: float
    closes: float
    engages: float = 0.0
    leaves: float = 0.0


# Shares and close rates by source as measured of a marketplace's sellers (Olist), its unknown sources renamed.
SOURCES = {
    "Organic Search": Trait(0.27, 0.15, 0.1),
    "Paid Search": Trait(0.20, 0.20, 0.0),
    "Paid Social": Trait(0.16, -0.60, -0.2, 0.2),
    "Direct": Trait(0.08, 0.15, 0.2),
    "Email": Trait(0.06, -1.10, 0.1, 0.2),
    "Events": Trait(0.07, 0.25, 0.1),
    "Sales outreach": Trait(0.06, 0.30, -0.3),
    "Referral": Trait(0.04, 0.10, 0.1, -0.2),
    "AI Assistant": Trait(0.04, 0.35, 0.2),
    "Display": Trait(0.02, -0.60, -0.3, 0.3),
}
LANDING_PAGES = {
    "/": Trait(0.22, 0.0),
    "/product": Trait(0.20, 0.10, 0.1),
    "/pricing": Trait(0.10, 0.55, 0.2, -0.1),
    "/demo": Trait(0.08, 0.70, 0.1, -0.2),
    "/blog/what-is-a-good-lead": Trait(0.16, -0.60, 0.1, 0.1),
    "/report/benchmark": Trait(0.14, -0.70, 0.0, 0.2),
    "/customers": Trait(0.10, 0.25, 0.1),
}
# What is known of the account, and how often it is not: a field left empty tells something, too.
EMPTY = Trait(0.0, -0.25, -0.15, 0.1)
INDUSTRIES = {
    "Software": Trait(0.24, 0.40, 0.2),
    "Manufacturing": Trait(0.16, 0.10),
    "Financial services": Trait(0.14, 0.25, 0.0, -0.1),
    "Retail": Trait(0.14, -0.20),
    "Healthcare": Trait(0.10, 0.0, -0.1),
    "Logistics": Trait(0.09, 0.10),
    "Education": Trait(0.07, -0.60, 0.2, 0.2),
    "Hospitality": Trait(0.06, -0.50, -0.2, 0.2),
}
SIZES = {
    "1-10": Trait(0.22, -0.60, 0.0, 0.3),
    "11-50": Trait(0.30, 0.0),
    "51-200": Trait(0.26, 0.35, 0.1, -0.1),
    "201-1000": Trait(0.15, 0.30, 0.1, -0.2),
    "1001+": Trait(0.07, -0.20, 0.2, -0.2),
}
SENIORITIES = {
    "Chief officer": Trait(0.12, 0.30, -0.3),
    "Director": Trait(0.22, 0.40, -0.1),
    "Manager": Trait(0.36, 0.0),
    "Specialist": Trait(0.24, -0.30, 0.3),
    "Student": Trait(0.06, -2.00, 0.4, 0.6),
}
COUNTRIES = {country: Trait(1 / len(names.COUNTRIES), 0.0) for country in names.COUNTRIES}
ATTRIBUTES = {
    "source": SOURCES,
    "landing_page": LANDING_PAGES,
    "industry": INDUSTRIES,
    "company_size": SIZES,
    "seniority": SENIORITIES,
    "country": COUNTRIES,
}
MISSING = {"landing_page": 0.10, "industry": 0.18, "company_size": 0.26, "seniority": 0.22, "country": 0.15}
CHAPTER = 5_000  # leads that are simulated at once: memory does not grow with their number


class People(NamedTuple):
    """Some leads, one row each, and how they live: first the leads, then visitors who never become one."""

    leads: pd.DataFrame
    cohort: Cohort


def births(leads: int, days: int, weekday: int, seed: int) -> Ints:
    """Return the day on which each lead is created, in order; as many on each weekday as the rhythm has it."""
    weight = WEEK[(weekday + np.arange(days)) % 7]
    return np.sort(np.random.default_rng(seed).choice(days, leads, p=weight / weight.sum()))


def people(born: Ints, chapter: int, days: int, world: World, seed: int) -> People:
    """Return the leads of a chapter, and the visitors beside them.

    Args:
        born: day on which each of the chapter's leads is created.
        chapter: its number; leads are numbered on from the chapters before it.
        days: of the company; the world's drift and its new routing begin halfway.
        world: which of them there are.
        seed: of the company.

    """
    rng = np.random.default_rng((seed, chapter))
    accounts = _accounts(1 + int(len(born) / CONTACTS), rng)
    leads = accounts.iloc[rng.integers(len(accounts), size=len(born))].reset_index(drop=True)
    leads["number"] = chapter * CHAPTER + 1 + np.arange(len(born))
    leads["account_id"] = f"A-{chapter}-" + leads["account_id"].astype(str)
    leads["name"] = _any(names.FIRST_NAMES, len(born), rng) + " " + _any(names.LAST_NAMES, len(born), rng)
    leads["email"] = leads["name"].str.lower().str.replace(" ", ".") + "@" + leads["domain"]
    leads["true_size"] = leads["company_size"]
    leads["luck"] = np.exp(rng.normal(0, 0.6, len(born)))  # of its deal, should there be one
    for attribute in ("source", "landing_page", "seniority"):
        leads[attribute] = _drawn(ATTRIBUTES[attribute], len(born), rng)
    for attribute, share in MISSING.items():
        leads[attribute] = leads[attribute].mask(rng.random(len(born)) < share)
    cohort = _cohort(leads, born, days, world, rng)
    return People(leads, _with_visitors(cohort, days, rng))


def lead_ids(number: Ints | pd.Series[int]) -> NDArray[np.object_]:
    """Return the lead_id of each number."""
    return ("L-" + pd.Series(number).astype(str).str.zfill(5)).to_numpy(dtype=object)


def _accounts(count: int, rng: Generator) -> pd.DataFrame:
    """Return the companies that leads work for, each named after its industry."""
    industry = _drawn(INDUSTRIES, count, rng)
    choice = rng.integers(3, size=count)
    ending = pd.Series([names.COMPANY_ENDINGS[kind][n] for kind, n in zip(industry, choice, strict=True)])
    stems = [_any(names.COMPANY_STEMS, count, rng) for _ in range(2)]
    company = stems[0] + " & " + stems[1] + " " + ending
    return pd.DataFrame(
        {
            "account_id": range(1, count + 1),
            "company": company,
            "domain": company.str.lower().str.replace(" & ", "-").str.replace(" ", "-") + ".example",
            "industry": industry,
            "company_size": _drawn(SIZES, count, rng),
            "country": _drawn(COUNTRIES, count, rng),
        }
    )


def _cohort(leads: pd.DataFrame, born: Ints, days: int, world: World, rng: Generator) -> Cohort:
    """Return how leads live: what one can see of them, and a hidden intensity."""
    logs = np.zeros((3, len(born)))
    for attribute, values in ATTRIBUTES.items():
        effects = np.array([trait[1:] for trait in (*values.values(), EMPTY)])
        code = pd.Categorical(leads[attribute], list(values)).codes
        logs += effects[code].T  # −1, which is missing, is the last
    closes, engages, leaves = np.exp(logs)
    later = born >= days / 2
    by_lead = np.array([process.by_lead for process in PROCESSES])
    return Cohort(
        number=leads["number"].to_numpy(np.int64),
        arrives=born - rng.exponential(5, len(born)).astype(np.int64).clip(max=PRELUDE),
        born=born,
        ends=np.full(len(born), days + 1),
        intensity=rng.gamma(K, 1 / K, len(born)),
        engages=engages,
        closes=closes * np.where(later, world.drift, 1.0),
        leaves=leaves,
        came_by=(leads["source"].to_numpy(dtype=str)[:, None] == CHANNELS) & ~by_lead,
        routing=(later & world.new_routing).astype(np.int64),
    )


def _with_visitors(leads: Cohort, days: int, rng: Generator) -> Cohort:
    """Return a cohort with visitors added, who look around for some days and never become a lead."""
    count = int(VISITORS * len(leads.number))
    arrives = rng.integers(leads.born.min() - PRELUDE, leads.born.max() + 1, count)
    ones = np.ones(count)
    visitors = Cohort(
        number=-leads.number[:count],
        arrives=arrives,
        born=np.full(count, NOT_BORN),
        ends=np.minimum(arrives + 1 + rng.exponential(3, count).astype(np.int64), days + 1),
        intensity=rng.gamma(K, 1 / K, count),
        engages=ones,
        closes=ones,
        leaves=ones,
        came_by=leads.came_by[rng.integers(len(leads.number), size=count)],
        routing=np.zeros(count, np.int64),
    )
    return Cohort._make(np.concatenate(both) for both in zip(leads, visitors, strict=True))


def _drawn(values: dict[str, Trait], count: int, rng: Generator) -> pd.Series[str]:
    shares: NDArray[np.float64] = np.array([trait.share for trait in values.values()])
    return pd.Series(rng.choice(list(values), count, p=shares / shares.sum()))


def _any(values: tuple[str, ...], count: int, rng: Generator) -> pd.Series[str]:
    return pd.Series(rng.choice(values, count))
