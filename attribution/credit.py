"""Credit: what each channel earned under each model; with the unattributed it equals all that converted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from attribution.bootstrap import intervals
from attribution.journeys import Floats, Ints, Journeys, Names
from attribution.models import MODELS, Fitted, fitted
from attribution.rules import HALF_LIFE_DAYS
from attribution.shares import split_cents
from features.errors import DataError


class Unattributed(TypedDict):
    """What journeys without any touch brought."""

    credit: float
    value: Decimal


@dataclass(frozen=True, eq=False)
class Attribution:
    """Credit in conversions and value in main units of the currency, by model.

    Under every model the channels and the unattributed add up to all that converted; the value to the cent.
    """

    models: tuple[str, ...]
    channels: pd.DataFrame  # model, channel, credit, value, low, high; a model's best channel first
    touches: pd.DataFrame  # model, lead_id, event_id, channel, credit, value; touches that earned something
    unattributed: Unattributed


def credit(
    journeys: Journeys,
    models: Sequence[str],
    half_life_days: float = HALF_LIFE_DAYS,
    replicates: int = 200,
    seed: int = 0,
) -> Attribution:
    """Credit of channels and touches under each model, with 90 % intervals for the channels.

    Args:
        journeys: what happened.
        models: names out of MODELS.
        half_life_days: of ``time_decay``, above 0.
        replicates: draws of the bootstrap, at least 1.
        seed: of these draws.

    Low and high are percentiles 5 and 95 of a channel's credit over the draws, widened to hold the credit.
    A Markov chain credits channels, not touches: its rows of ``touches`` have no lead_id and no event_id.

    Raises DataError, which names everything in the request that cannot be done.

    """
    _admit(models, half_life_days, replicates)
    fits = {name: fitted(name, journeys, half_life_days) for name in models}
    estimators = {name: fit.estimator for name, fit in fits.items()}
    bounds = intervals(journeys.outcomes, estimators, replicates, seed)
    earned = pd.concat([_earned(name, fit) for name, fit in fits.items()], ignore_index=True)
    untouched = ~journeys.touched
    return Attribution(
        models=tuple(fits),
        channels=_by_channel(earned, journeys.channels, bounds),
        touches=earned.drop(columns="cents").assign(value=_money(earned["cents"].to_numpy())),
        unattributed={
            "credit": float(journeys.conversions[untouched].sum()),
            "value": _money(journeys.value_cents[untouched].sum(keepdims=True))[0],
        },
    )


def summary(attribution: Attribution) -> dict[str, Any]:
    """Attribution for JSON: ``models`` by name and channel, and ``unattributed``; values as floats."""
    channels, nobody = attribution.channels, attribution.unattributed
    figures = channels.set_index("channel")[["credit", "value", "low", "high"]].astype("float64")
    of_model = {name: (channels["model"] == name).to_numpy() for name in attribution.models}
    return {
        "models": {name: figures[rows].to_dict("index") for name, rows in of_model.items()},
        "unattributed": {"credit": nobody["credit"], "value": float(nobody["value"])},
    }


def _admit(models: Sequence[str], half_life_days: float, replicates: int) -> None:
    """Refuse a request that cannot be done, with all its problems."""
    problems = [_unknown(name) for name in models if name not in MODELS]
    if not models:
        problems.append("No model is named.")
    if problems:
        problems.append(f"Known models: {', '.join(MODELS)}.")
    if not half_life_days > 0:
        problems.append(f"half_life_days is {half_life_days}; give a number of days above 0, such as 7.")
    if replicates < 1:
        problems.append(f"replicates is {replicates}; give at least 1, such as 200.")
    if problems:
        raise DataError(" ".join(problems))


def _unknown(name: str) -> str:
    """One sentence on a model that is not known, with the nearest that is."""
    nearest = get_close_matches(name, MODELS, n=1)
    return f'Model "{name}" is not known' + (f'; did you mean "{nearest[0]}"?' if nearest else ".")


def _earned(name: str, fit: Fitted) -> pd.DataFrame:
    """Touches of the ledger that earned something: model, lead_id, event_id, channel, credit, cents."""
    ledger, nobody = fit.ledger, np.full(len(fit.share), None)
    credit = fit.share * ledger.conversions[ledger.journey]
    cents = split_cents(ledger.value_cents, fit.share, ledger.journey)
    rows = np.flatnonzero((credit > 0) | (cents != 0))
    lead_id = nobody if ledger.lead_id is None else ledger.lead_id[ledger.journey]
    event_id = nobody if ledger.event_id is None else ledger.event_id
    channel = np.array(ledger.channels, dtype=object)[ledger.channel]
    texts = {"lead_id": lead_id[rows], "event_id": event_id[rows], "channel": channel[rows]}
    return pd.DataFrame({"model": name, **texts}, dtype="str").assign(credit=credit[rows], cents=cents[rows])


def _by_channel(earned: pd.DataFrame, channels: Sequence[str], bounds: Mapping[str, Floats]) -> pd.DataFrame:
    """One row for every model and channel, a model's best channel first."""
    every = pd.MultiIndex.from_product([bounds, channels], names=["model", "channel"])
    totals = earned.groupby(["model", "channel"])[["credit", "cents"]].sum().reindex(every, fill_value=0)
    low, high = np.concatenate(list(bounds.values()), axis=1)
    table = pd.DataFrame(
        {
            "credit": totals["credit"],
            "value": _money(totals["cents"].to_numpy()),
            "low": np.minimum(low, totals["credit"]),
            "high": np.maximum(high, totals["credit"]),
        }
    )
    model = np.repeat(np.arange(len(bounds)), len(channels))
    return table.iloc[np.lexsort((-table["credit"], model))].reset_index()


def _money(cents: Ints) -> Names:
    """Amounts in main units with two places; one object for each distinct amount."""
    code, distinct = pd.factorize(cents)
    return np.array([Decimal(amount).scaleb(-2) for amount in distinct.tolist()], dtype=object)[code]
