"""Credit: what each channel earned under each model; with the unattributed it equals all that converted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from itertools import chain, islice
from types import MappingProxyType
from typing import Any, NamedTuple, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from attribution.counting import Counted, counted, counted_in_parts
from attribution.journeys import Floats, Ints, Journeys, Names
from attribution.models import BEST_ORDER, MARKOV, MODELS, OF_LEAD_DAYS, Earned, counted_alone, counting_for, earned
from attribution.paths import joined
from attribution.rules import HALF_LIFE_DAYS, RULES, Rule, shares, time_decay
from attribution.shares import split_cents, whole
from features.errors import DataError

Column = NDArray[Any]


class Unattributed(TypedDict):
    """What no channel earned: the journeys without any touch, or what would have closed anyway."""

    credit: float
    value: Decimal


@dataclass(frozen=True, eq=False)
class Attribution:
    """Credit in conversions and value in main units of the currency, by model.

    Under every model the channels add up to all that converted with the unattributed or, if the model tells what would
    have closed anyway, with that; the value to the cent.
    """

    models: tuple[str, ...]
    channels: pd.DataFrame  # model, channel, credit, value, low, high; a model's best channel first
    touches: pd.DataFrame  # model, lead_id, event_id, channel, credit, value, touched_at, closed_at; of what earned
    unattributed: Unattributed
    anyway: Mapping[str, Unattributed] = field(default_factory=dict)  # by model that tells what would have closed so
    harvests: tuple[str, ...] = ()  # channels that only collect what was decided, as score_adjusted tells
    experiments: tuple[dict[str, object], ...] = ()  # each with how far it moved score_adjusted, before and after


def credit(
    journeys: Journeys | Iterable[Journeys],
    models: Sequence[str],
    half_life_days: float = HALF_LIFE_DAYS,
    replicates: int = 200,
    seed: int = 0,
    own: Mapping[str, Rule] = MappingProxyType({}),
) -> Attribution:
    """Credit of channels and touches under each model, with 90 % intervals for the channels.

    Args:
        journeys: what happened; or parts of it as of ``paths``, which are joined only if a model asks for it.
        models: names out of MODELS or ``own``, ``markov:2`` and so on; of BY_STAGES where journeys know stages.
        half_life_days: of ``time_decay``, above 0.
        replicates: draws of the bootstrap, at least 1.
        seed: of these draws.
        own: rules of the user's own, by name.

    Low and high are percentiles 5 and 95 of a channel's credit over the draws, widened to hold the credit.
    Markov chains and the rate's Shapley values credit channels, not touches, and journeys of which no touch is known
    by name are credited by channel, too: such rows of ``touches`` have no lead_id and no event_id.

    Raises:
        DataError: naming everything in the request that cannot be done.

    """
    rules = {**RULES, "time_decay": time_decay(half_life_days), **own}
    stages = journeys.stages if isinstance(journeys, Journeys) else ()
    _admit(models, rules, stages, half_life_days, replicates)
    asked = list(dict.fromkeys(models))
    seen, complete = _counted(journeys, asked, rules)
    by_model = list(earned(seen, complete, asked, rules, replicates, seed))
    rows = [_rows(each, rules.get(each.model), seen, complete) for each in by_model]
    return Attribution(
        models=tuple(each.model for each in by_model),
        channels=_by_channel(by_model, rows, seen.channels),
        touches=_touches(by_model, rows, seen.channels),
        unattributed={"credit": seen.untouched, "value": _money(np.array([seen.untouched_cents]))[0]},
    )


def summary(attribution: Attribution) -> dict[str, Any]:
    """Return an attribution for JSON: ``models`` by name and channel, ``unattributed``, and what else it tells.

    Values are floats.
    """
    channels, nobody = attribution.channels, attribution.unattributed
    figures = channels.set_index("channel")[["credit", "value", "low", "high"]].astype("float64")
    of_model = {name: (channels["model"] == name).to_numpy() for name in attribution.models}
    return {
        "models": {name: figures[rows].to_dict("index") for name, rows in of_model.items()},
        "unattributed": _line(nobody),
        **({"anyway": {name: _line(line) for name, line in attribution.anyway.items()}} if attribution.anyway else {}),
        **({"harvests": list(attribution.harvests)} if attribution.anyway else {}),
        **({"experiments": list(attribution.experiments)} if attribution.experiments else {}),
    }


def _line(line: Unattributed) -> dict[str, float]:
    return {"credit": line["credit"], "value": float(line["value"])}


def _counted(
    journeys: Journeys | Iterable[Journeys], models: Sequence[str], rules: Mapping[str, Rule]
) -> tuple[Counted, Journeys | None]:
    """Return what is counted of journeys; and these, if they are few or a model asks for them."""
    names, transitions = counting_for(models, rules)
    named = [rules[name] for name in names]
    if not isinstance(journeys, Journeys):
        parts = iter(journeys)
        first = list(islice(parts, 2))
        if len(first) > 1 and all(counted_alone(name, rules) for name in models):
            once = chain(map(first.pop, (0, 0)), parts)  # no part is kept when it has been counted
            return counted_in_parts(once, named, transitions=transitions), None
        journeys = joined(chain(first, parts))
    return counted(journeys, named, transitions=transitions), journeys


def _admit(
    models: Sequence[str], rules: Mapping[str, Rule], stages: Sequence[str], half_life_days: float, replicates: int
) -> None:
    """Refuse a request that cannot be done, with all its problems."""
    known = (*(name for name in MODELS if name not in rules), *rules, BEST_ORDER, *OF_LEAD_DAYS)
    strange = [name for name in models if name not in known and not MARKOV.fullmatch(name)]
    problems = [_unknown(name, known) for name in strange]
    if not models:
        problems.append("No model is named.")
    if problems:
        problems.append(f"Known models: {', '.join(known)}.")
    stageless = [name for name in models if name in rules and not {*rules[name].stages, "rest"} <= {*stages, "rest"}]
    if stageless:
        problems.append(
            f"{', '.join(stageless)} gives credit to the touches before a stage that nobody here is known to have "
            f"entered (known: {', '.join(stages) or 'none'}). Ask for it of a lake that has leads and such stages."
        )
    problems += [
        f"{name} needs leads and their scores. Ask for it of a lake, not of a file of paths."
        for name in OF_LEAD_DAYS if name in models
    ]  # fmt: skip
    if not half_life_days > 0:
        problems.append(f"half_life_days is {half_life_days}; give a number of days above 0, such as 7.")
    if replicates < 1:
        problems.append(f"replicates is {replicates}; give at least 1, such as 200.")
    if problems:
        raise DataError(" ".join(problems))


def _unknown(name: str, known: Sequence[str]) -> str:
    """One sentence on a model that is not known, with the nearest that is."""
    nearest = get_close_matches(name, known, n=1)
    return f'Model "{name}" is not known' + (f'; did you mean "{nearest[0]}"?' if nearest else ".")


class Rows(NamedTuple):
    """What earned something under a model: touches, or channels where it credits these."""

    channel: Ints  # places in channels
    credit: Floats
    cents: Ints
    lead_id: Names
    event_id: Names
    touched_at: Column  # moments in UTC
    closed_at: Column


def _rows(each: Earned, rule: Rule | None, seen: Counted, journeys: Journeys | None) -> Rows:
    if rule is None or journeys is None or journeys.event_id is None or journeys.lead_id is None:
        total = np.array([seen.value_cents])
        cents = whole(each.cents, total, np.array([0, len(each.cents)]))
        channel = np.flatnonzero((each.credit != 0) | (cents != 0))
        nobody, never = np.full(len(channel), None), _no_moments(len(channel))
        return Rows(channel, each.credit[channel], cents[channel], nobody, nobody, never, never)
    share, journey = shares(journeys, rule), journeys.journey
    credit, cents = share * journeys.conversions[journey], split_cents(journeys.value_cents, share, journeys.start)
    rows = np.flatnonzero((credit > 0) | (cents != 0))
    lead_id = journeys.lead_id[journey[rows]] if journeys.contact is None else journeys.contact[rows]
    touched_at, closed_at = (
        _no_moments(len(rows)) if when is None else when.as_unit("us").tz_convert(None).to_numpy()[of]
        for when, of in ((journeys.touched_at, rows), (journeys.ended_at, journey[rows]))
    )
    return Rows(journeys.channel[rows].astype(np.int64), credit[rows], cents[rows], lead_id, journeys.event_id[rows],
                touched_at, closed_at)  # fmt: skip


def _no_moments(rows: int) -> Column:
    return np.full(rows, "NaT", "datetime64[us]")


def _touches(models: Sequence[Earned], rows: Sequence[Rows], channels: Sequence[str]) -> pd.DataFrame:
    """One row a touch and model."""
    all_of = Rows(*map(np.concatenate, zip(*rows, strict=True)))
    model = np.repeat(np.array([each.model for each in models], object), [len(one.cents) for one in rows])
    texts = {
        "model": model,
        "lead_id": all_of.lead_id,
        "event_id": all_of.event_id,
        "channel": np.array(channels, object)[all_of.channel],
    }
    return pd.DataFrame(
        {name: pd.array(column, dtype="str") for name, column in texts.items()}
        | {
            "credit": all_of.credit,
            "value": _money(all_of.cents),
            "touched_at": pd.DatetimeIndex(all_of.touched_at, tz="UTC"),
            "closed_at": pd.DatetimeIndex(all_of.closed_at, tz="UTC"),
        }
    )


def _by_channel(models: Sequence[Earned], rows: Sequence[Rows], channels: Sequence[str]) -> pd.DataFrame:
    """One row a channel and model, a model's best first."""
    names, k = np.array(channels, object), len(channels)
    best = [np.argsort(-each.credit, kind="stable") for each in models]
    cents = np.zeros((len(models), k), np.int64)
    for total, one in zip(cents, rows, strict=True):
        np.add.at(total, one.channel, one.cents)

    def column(of_models: Iterable[Column]) -> Column:
        return np.concatenate([of_model[order] for of_model, order in zip(of_models, best, strict=True)])

    return pd.DataFrame(
        {
            "model": pd.array(np.repeat(np.array([each.model for each in models], object), k), dtype="str"),
            "channel": pd.array(column([names] * len(models)), dtype="str"),
            "credit": column(each.credit for each in models),
            "value": _money(column(cents)),
            "low": column(np.minimum(each.low, each.credit) for each in models),
            "high": column(np.maximum(each.high, each.credit) for each in models),
        }
    )


def _money(cents: Ints) -> Names:
    """Amounts in main units with two places; one object for each distinct amount."""
    code, distinct = pd.factorize(cents)
    return np.array([Decimal(amount).scaleb(-2) for amount in distinct.tolist()], dtype=object)[code]
