"""Money: what the channels cost, and what a currency is worth."""

from __future__ import annotations

import numpy as np
import pandas as pd

from simulation import names


def counted(touches: pd.DataFrame) -> pd.DataFrame:
    """Return how often each channel and campaign that costs something touched on each day."""
    paid = touches[touches["channel"].isin(list(names.COST))]
    days = paid["occurred_at"].dt.strftime("%Y-%m-%d").rename("day")
    return paid.groupby([days, "channel", "campaign"]).size().rename("touches").reset_index()


def spend(counts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the table of spend for counted touches: what each costs, give or take a tenth, in euros."""
    total = counts.groupby(["day", "channel", "campaign"])["touches"].sum().reset_index()
    total = total.sort_values(["day", "channel", "campaign"], ignore_index=True)
    price = total["channel"].map(names.COST) * np.random.default_rng(seed).uniform(0.9, 1.1, len(total))
    total["cost"] = (total.pop("touches") * price).round(2)
    return total.assign(currency="EUR")


def rates(first_day: pd.Timestamp, days: int, seed: int) -> pd.DataFrame:
    """Return what a unit of each foreign currency was worth in euros on each day."""
    steps = np.random.default_rng(seed).normal(0, 0.003, (days + 1, len(names.RATES)))
    worth = np.array(list(names.RATES.values())) * np.exp(np.cumsum(steps, axis=0))
    day = (first_day + pd.to_timedelta(np.arange(days + 1), unit="D")).strftime("%Y-%m-%d")
    table = pd.DataFrame(worth.round(5), pd.Index(day, name="day"), list(names.RATES))
    return table.reset_index().melt("day", var_name="currency", value_name="rate")
