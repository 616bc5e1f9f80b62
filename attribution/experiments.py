"""Experiments: what a lift test or a hold-out showed of a channel, and how far it moves data-driven credit.

A lift of 0.08 says: with the channel, 8 % more closed than would have without, so that the channel brought about
lift / (1 + lift) of all closes. Some of these would else have come later, which a test sees and credit does not ask: so
what the test says is divided by the chance that they would not. Credit and experiment are then two measurements of one
number, each with an error: the credit moves towards the experiment by the experiment's share of the precision. What is
wrong with a channel's credit tends to be wrong with others', too, so these follow as far as their errors go together.
As an experiment ages, its precision halves with every half-life since its last day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pandas as pd

from attribution.adjusted import NORMAL_90
from attribution.credit import Unattributed
from attribution.journeys import Ints
from attribution.shares import whole
from features.errors import ConfigError
from features.settings import Experiment


class Shrunk(NamedTuple):
    """Credit that has heard the experiments."""

    rows: pd.DataFrame  # of the model's channels, as they came but for credit, value, low and high
    anyway: Unattributed
    told: list[dict[str, object]]  # an experiment each: what it says, its weight, and the credit before and after


def refuse_untouched(experiments: Sequence[Experiment], channels: Sequence[str], as_of: datetime) -> None:
    """Refuse experiments that have ended, of channels that no touch is of: most likely these are called otherwise.

    Raises:
        ConfigError: naming them all.

    """
    ended = [one.channel for one in experiments if one.until <= as_of.date()]
    unknown = [name for name in dict.fromkeys(ended) if name not in channels]
    if unknown and channels:  # without any, nothing can be told of experiments or of anything else
        raise ConfigError(
            f"attribution.experiments names {', '.join(unknown)}, of which no touch can earn credit. "
            f"Name one of the channels: {', '.join(channels)}."
        )


def shrunk(
    rows: pd.DataFrame, anyway: Unattributed, covariance: pd.DataFrame, experiments: Sequence[Experiment],
    as_of: datetime, half_life_days: float, later: float,
) -> Shrunk:  # fmt: skip
    """Return a model's credit moved towards what experiments showed; all of it adds up to as much as before.

    Args:
        rows: channel, credit, value, low and high (90 %), a row a channel.
        anyway: what would have closed without any channel; it gives and takes what the channels gain and lose.
        covariance: of the credit, by channel and channel.
        experiments: whichever have ended before ``as_of`` are heard; told the earliest first.
        as_of: moment of the attribution.
        half_life_days: after which an experiment counts half.
        later: chance that a close that touches brought about would else have come later.

    """
    closes = float(rows["credit"].sum()) + anyway["credit"]
    names, credit = list(rows["channel"]), rows["credit"].to_numpy(np.float64)
    unsure, told = covariance.loc[names, names].to_numpy(np.float64), []
    for experiment in sorted(experiments, key=lambda one: (one.until, one.since)):
        days = (as_of.date() - experiment.until).days
        if days < 0 or experiment.channel not in names:
            continue
        at = names.index(experiment.channel)
        says, low, high = (
            closes * lift / (1 + lift) / (1 - later) for lift in (experiment.lift, experiment.low, experiment.high)
        )
        precision = 0.5 ** (days / half_life_days) / ((high - low) / 2 / NORMAL_90) ** 2
        before, pull = float(credit[at]), unsure[:, at] * precision / (1 + unsure[at, at] * precision)
        credit, unsure = credit + pull * (says - before), unsure - np.outer(pull, unsure[at])
        period = {"since": experiment.since.isoformat(), "until": experiment.until.isoformat()}
        told.append({"channel": experiment.channel, **period, "says": says, "weight": float(pull[at]),
                     "before": before, "after": float(credit[at])})  # fmt: skip
    if not told:
        return Shrunk(rows, anyway, told)
    half = NORMAL_90 * np.sqrt(np.diag(unsure).clip(0))
    moved = rows.assign(credit=credit, low=credit - half, high=credit + half)
    cents = _cents(rows, moved, anyway)
    value = pd.Series([Decimal(amount).scaleb(-2) for amount in cents[:-1].tolist()], dtype=object)
    rest = closes - float(moved["credit"].sum())
    ordered = moved.assign(value=value).sort_values("credit", ascending=False, kind="stable", ignore_index=True)
    return Shrunk(ordered, {"credit": rest, "value": Decimal(int(cents[-1])).scaleb(-2)}, told)


def _cents(rows: pd.DataFrame, moved: pd.DataFrame, anyway: Unattributed) -> Ints:
    """Return the worth of channels (k,) and of what would have closed anyway (k + 1,): a close more is a mean close."""
    total = int(100 * (sum(rows["value"], Decimal(0)) + anyway["value"]))
    a_close = total / max(float(rows["credit"].sum()) + anyway["credit"], 1e-9)
    change = (moved["credit"] - rows["credit"]).to_numpy(np.float64)
    exact = 100 * rows["value"].astype("float64").to_numpy() + a_close * change
    return whole(np.append(exact, total - exact.sum()), np.array([total]), np.array([0, len(exact) + 1]))
