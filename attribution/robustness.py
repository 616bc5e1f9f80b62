"""Robustness: how far each model's answer moves when the history is not what it should be.

The window is changed, identities and touches are lost, touches are doubled, and a placebo channel is added, whose
touches are those of other leads: it brought nobody, so what a model gives it tells how much that model gives for being
there. What moves is the share of each channel; ``moved`` is the total variation distance of the shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from math import ceil

import numpy as np
import pandas as pd

from attribution.adjusted import Adjusted
from attribution.credit import credit
from attribution.deals import journeys_of, touches_in, values
from attribution.journeys import Floats, Ints
from attribution.lead_days import LeadDays, Probability, adjusted, kinds_of, lead_days, own_history
from attribution.models import OF_LEAD_DAYS, SCORE_ADJUSTED
from attribution.moments import Touched
from attribution.rules import own_rules
from attribution.runs import Baseline
from features.errors import DataError
from features.history import microseconds
from features.lake import Lake
from features.reading import read_history
from features.settings import Settings

PLACEBO = "(placebo)"
SEED = 0  # of what is lost, doubled and invented
IDENTITIES_LOST, TOUCHES_LOST, DOUBLED, PLACED = 0.2, 0.3, 0.1, 0.1
DEFAULT_WINDOW_DAYS = 90.0  # changed from, where all touches count
Random = np.random.Generator


def robustness(
    lake: Lake, settings: Settings, as_of: datetime, models: Sequence[str], baseline: Baseline | None
) -> pd.DataFrame:
    """Return what each change does to each model: scenario, model, moved, channel, before, after, low, high.

    Channel is the one whose share moved most, in the last scenario the placebo; before and after are its shares; low
    and high bound its closes after the change (90 %). The window does not touch ``score_adjusted``, which has none, and
    ``shapley_counterfactual`` is not tried.

    Raises:
        DataError: when there is no touch, too little closed for ``score_adjusted``, or no model can be tried.

    """
    ruled = [name for name in models if name not in OF_LEAD_DAYS]
    tables = [_compared(_by_journeys(lake, settings, as_of, ruled), ruled)] if ruled else []
    if SCORE_ADJUSTED in models and baseline is not None:
        tables.append(_compared(_by_lead_days(lake, settings, as_of, baseline), [SCORE_ADJUSTED]))
    if not tables:
        raise DataError(f"{', '.join(models)} cannot be tried with other histories. Name another model beside it.")
    found = pd.concat(tables, ignore_index=True)
    order = {scenario: place for place, scenario in enumerate(dict.fromkeys(found["scenario"]))}
    return found.sort_values("scenario", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def changed(touches: pd.DataFrame, seed: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield touches (lead_id, event_id, occurred_at, channel, …) as they might have come, by scenario."""
    changes: dict[str, Callable[[pd.DataFrame, Random], pd.DataFrame]] = {
        f"{IDENTITIES_LOST:.0%} of identities lost": _without_identities,
        f"{TOUCHES_LOST:.0%} of touches lost": lambda rows, random: rows[random.random(len(rows)) >= TOUCHES_LOST],
        f"{DOUBLED:.0%} of touches doubled": _doubled,
        "a placebo channel": with_placebo,
    }
    for scenario, change in changes.items():
        yield scenario, change(touches, np.random.default_rng(seed))


def with_placebo(touches: pd.DataFrame, random: Random) -> pd.DataFrame:
    """Return touches and those of a placebo: moments of a tenth of them, each given to a lead drawn at random.

    Drawn is among leads that were touched by then: who will be touched later has not closed before that.
    """
    drawn = touches.sample(ceil(PLACED * len(touches)), random_state=random)
    first = touches.groupby("lead_id")["occurred_at"].min().sort_values(kind="stable")
    by_then = np.searchsorted(first.to_numpy(), drawn["occurred_at"].to_numpy(), side="right")
    given = pd.Series(first.index[(random.random(len(drawn)) * by_then).astype(np.int64)], drawn.index)
    placebo = drawn.assign(lead_id=given, channel=PLACEBO, event_id="placebo " + drawn["event_id"].astype("str"))
    return pd.concat([touches, placebo], ignore_index=True)


def _without_identities(touches: pd.DataFrame, random: Random) -> pd.DataFrame:
    """Return touches of which some leads' earlier ones are a stranger's: nobody knows whose they were."""
    ordered = touches.sort_values(["lead_id", "occurred_at", "event_id"])
    leads = ordered.groupby("lead_id", sort=False)
    code, of_lead = leads.ngroup().to_numpy(), random.random((leads.ngroups, 2))
    size, place = leads["channel"].transform("size").to_numpy(), leads.cumcount().to_numpy()
    until = np.where(of_lead[code, 0] < IDENTITIES_LOST, of_lead[code, 1], 0.0)
    kept: pd.DataFrame = ordered[place >= until * (size - 1)]
    return kept


def _doubled(touches: pd.DataFrame, random: Random) -> pd.DataFrame:
    again = touches.sample(frac=DOUBLED, random_state=random)
    return pd.concat([touches, again.assign(event_id="again " + again["event_id"].astype("str"))], ignore_index=True)


def _by_journeys(
    lake: Lake, settings: Settings, as_of: datetime, models: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the channels' rows of all models by scenario, first as things are."""
    touches, whose = touches_in(lake, settings, as_of)
    wins, how = values(lake, settings, as_of, whose), settings.attribution

    def channels(rows: pd.DataFrame, asked: Settings) -> pd.DataFrame:
        seen = journeys_of(rows, wins, lake, asked, as_of, whose)
        return credit(seen, models, how.half_life_days, own=own_rules(settings)).channels

    yield "", channels(touches, settings)
    days = how.windows_days.get(how.stage, how.lookback_days)
    window = DEFAULT_WINDOW_DAYS if days is None or np.isinf(days) else days
    for scenario, other in (("half the window", window / 2), ("twice the window", 2 * window)):
        asked = how.model_copy(update={"lookback_days": other, "windows_days": {}})
        yield scenario, channels(touches, settings.model_copy(update={"attribution": asked}))
    for scenario, rows in changed(touches, SEED):
        yield scenario, channels(rows, settings)


def _by_lead_days(
    lake: Lake, settings: Settings, as_of: datetime, baseline: Baseline
) -> Iterator[tuple[str, pd.DataFrame]]:
    history, how = read_history(lake), settings.attribution
    earning = kinds_of(history) - {*how.exclude_kinds, *how.own_kinds}
    days = lead_days(history, settings.goal, microseconds(as_of), earning)
    probability = asked_once(baseline(own_history(history, how.own_kinds)))
    yield "", _rows(adjusted(days, probability), days)
    for scenario, touches in changed(touches_of(days), SEED):
        other = with_touches(days, touches)
        yield scenario, _rows(adjusted(other, probability), other)


def touches_of(days: LeadDays) -> pd.DataFrame:
    """Return the touches of leads' open time: lead_id (a position), event_id, occurred_at (a day), channel."""
    lead = np.repeat(np.arange(len(days.lead_ids)), np.diff(days.touched.start))
    names = np.array(days.channels, dtype=object)[days.touched.channel]
    return pd.DataFrame({"lead_id": lead, "event_id": np.arange(len(lead)), "occurred_at": days.touched.day,
                         "channel": names})  # fmt: skip


def with_touches(days: LeadDays, touches: pd.DataFrame) -> LeadDays:
    """Return the same open time with other touches."""
    ordered = touches.sort_values(["lead_id", "occurred_at"], kind="stable")
    code, names = pd.factorize(ordered["channel"], sort=True)
    start = np.searchsorted(ordered["lead_id"], np.arange(len(days.lead_ids) + 1))
    touched = Touched(start, ordered["occurred_at"].to_numpy(np.float64), code.astype(np.int32))
    return days._replace(touched=touched, channels=tuple(names))


def asked_once(probability: Probability) -> Probability:
    """Return the same score, which remembers: touches change from scenario to scenario, the moments do not."""
    known: dict[bytes, Floats] = {}

    def asked(lead: Ints, moment: Ints) -> Floats:
        key = lead.tobytes() + moment.tobytes()
        if key not in known:
            known[key] = probability(lead, moment)
        return known[key]

    return asked


def _rows(found: Adjusted, days: LeadDays) -> pd.DataFrame:
    low, high = found.low_and_high
    return pd.DataFrame(
        {"model": SCORE_ADJUSTED, "channel": list(days.channels), "credit": found.credit, "low": low, "high": high}
    )


def _compared(scenarios: Iterator[tuple[str, pd.DataFrame]], models: Sequence[str]) -> pd.DataFrame:
    """Return a row a scenario and model, beside the first scenario, which is how things are."""
    _, now = next(scenarios)
    lines = []
    for scenario, rows in scenarios:
        for model in models:
            before, then = (table[table["model"] == model].set_index("channel") for table in (now, rows))
            share = pd.concat([_shares(before), _shares(then)], axis=1, keys=["before", "after"]).fillna(0.0)
            apart = (share["after"] - share["before"]).abs()
            channel = PLACEBO if PLACEBO in share.index else str(apart.idxmax())
            bounds = then[["low", "high"]].reindex([channel], fill_value=0.0).iloc[0]
            lines.append({"scenario": scenario, "model": model, "moved": float(apart.sum() / 2), "channel": channel,
                          **share.loc[channel].to_dict(), "low": bounds["low"], "high": bounds["high"]})  # fmt: skip
    return pd.DataFrame(lines)


def _shares(rows: pd.DataFrame) -> pd.Series:
    positive = rows["credit"].clip(lower=0)
    return positive / positive.sum()
