"""The attribution models by name: what each gives the channels, and how much that may vary."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attribution.bootstrap import draws, interval, replicated
from attribution.chains import best_order, chain
from attribution.chains import removal_credit as removal_credit_of_chain
from attribution.coalitions import coalitions, rate_values
from attribution.counting import Counts, Spread, counts, spread
from attribution.journeys import Floats, Journeys
from attribution.markov import removal_credit
from attribution.rules import MILESTONES, RULES, Rule

MARKOV = re.compile(r"markov:(auto|[1-9])")
BEST_ORDER = "markov:auto"  # the order that foresees unseen journeys best
SHAPLEY_RATE = "shapley_rate"
SCORE_ADJUSTED = "score_adjusted"  # made of lead-periods, not of journeys: see ``adjusted``
BY_STAGES = tuple(name for name, rule in RULES.items() if rule.form == MILESTONES)  # they need to know stages
MODELS = (*(name for name in RULES if name not in BY_STAGES), "markov:1", SHAPLEY_RATE)  # journeys are enough


class Earned(NamedTuple):
    """What a model gives each of k channels."""

    model: str
    credit: Floats  # (k,) conversions
    cents: Floats  # (k,) value
    low: Floats  # (k,) between low and high lie 90 % of the replicates
    high: Floats


def earned(
    journeys: Journeys, models: Sequence[str], rules: Mapping[str, Rule], replicates: int, seed: int
) -> Iterator[Earned]:
    """Yield what each model gives; names are those of rules, ``markov:K``, ``markov:auto`` or ``shapley_rate``."""
    asked = [name for name in models if name in rules]
    k, transitions = len(journeys.channels), "markov:1" in models
    where = spread(journeys, max(1, k * len(asked) + transitions * (k + 1) * (k + 2)))
    found = counts(journeys, [rules[name] for name in asked], where, transitions=transitions)
    drawn = draws(where, replicates, seed)
    for name in models:
        if name in rules:
            yield _by_rule(name, asked.index(name), found, where, drawn)
        else:
            yield _together(name, journeys, found, where, drawn)


def _by_rule(name: str, row: int, found: Counts, where: Spread, drawn: Floats) -> Earned:
    now, by_bucket = found.converted[:, row], found.converted_by_bucket[:, :, row]
    return Earned(name, now, found.cents[:, row], *interval(replicated(now, by_bucket, where, drawn)))


def _together(name: str, journeys: Journeys, found: Counts, where: Spread, drawn: Floats) -> Earned:
    """Return what a model gives that looks at all journeys together; value goes as conversions do."""
    give = {"markov:1": _by_chain_of_one, SHAPLEY_RATE: _by_rate}.get(name, _by_chain)
    now, varied = give(name, journeys, found, where, drawn)
    total = now.sum()
    value = int(journeys.value_cents[journeys.touched].sum())
    share = now / total if total else np.full(len(now), 1 / max(len(now), 1))
    return Earned(name, now, value * share, *interval(varied))


Give = Callable[[str, Journeys, Counts, Spread, Floats], tuple[Floats, Floats]]


def _by_chain_of_one(
    _name: str, _journeys: Journeys, found: Counts, where: Spread, drawn: Floats
) -> tuple[Floats, Floats]:
    return removal_credit(found.moves), removal_credit(replicated(found.moves, found.moves_by_bucket, where, drawn))


def _by_chain(name: str, journeys: Journeys, _found: Counts, where: Spread, drawn: Floats) -> tuple[Floats, Floats]:
    order = best_order(journeys)[0] if name == BEST_ORDER else int(name.removeprefix("markov:"))
    return removal_credit_of_chain(chain(journeys, order), where, drawn)


def _by_rate(_name: str, journeys: Journeys, _found: Counts, where: Spread, drawn: Floats) -> tuple[Floats, Floats]:
    """Return Shapley values of the rate as conversions: times all journeys with touches."""
    sets = coalitions(journeys)
    touched, s, m = np.flatnonzero(journeys.touched), len(sets.member), len(journeys.conversions)
    now: list[Floats] = []
    varied: list[Floats] = []
    for ending in (0, m):
        times, bucket = where.outcomes[touched + ending], where.bucket[touched + ending]
        weight = (times > 0).astype(np.float64) if where.exact else np.sqrt(times)
        sums = np.bincount(bucket * s + sets.of_journey, weight, where.buckets * s)[: where.buckets * s]
        now.append(np.asarray(np.bincount(sets.of_journey, times, s), dtype=np.float64))
        varied.append(replicated(now[-1], sums.reshape(where.buckets, s).astype(np.float64), where, drawn))
    credit = rate_values(sets.member, now[0], now[1])[0] * (now[0].sum() + now[1].sum())
    ended = (varied[0] + varied[1]).sum(axis=1, keepdims=True)
    return credit, rate_values(sets.member, varied[0], varied[1])[0] * ended
