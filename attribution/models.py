"""The attribution models by name: what each gives the channels, and how much that may vary."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attribution.bootstrap import draws, interval, replicated
from attribution.chains import best_order, chain
from attribution.chains import removal_credit as removal_credit_of_chain
from attribution.coalitions import coalitions, rate_values
from attribution.counting import Counted, Counts, Spread
from attribution.journeys import Floats, Journeys
from attribution.markov import removal_credit, varied_credit
from attribution.rules import MILESTONES, RULES, Rule

MARKOV = re.compile(r"markov:(auto|[1-9])")
BEST_ORDER = "markov:auto"  # the order that foresees unseen journeys best
SHAPLEY_RATE = "shapley_rate"
SCORE_ADJUSTED = "score_adjusted"  # made of lead-days, not of journeys: see ``adjusted``
COUNTERFACTUAL = "shapley_counterfactual"  # see ``counterfactual``
OF_LEAD_DAYS = (SCORE_ADJUSTED, COUNTERFACTUAL)  # they need leads and their scores
BY_STAGES = tuple(name for name, rule in RULES.items() if rule.form == MILESTONES)  # they need to know stages
MODELS = (*(name for name in RULES if name not in BY_STAGES), "markov:1", SHAPLEY_RATE)  # journeys are enough


class Earned(NamedTuple):
    """What a model gives each of k channels."""

    model: str
    credit: Floats  # (k,) conversions
    cents: Floats  # (k,) value
    low: Floats  # (k,) between low and high lie 90 % of the replicates
    high: Floats


def credits_touches(name: str) -> bool:
    """Say whether a model credits touches, so that a part of the closes can be looked at alone; others channels."""
    return not MARKOV.fullmatch(name) and name not in (SHAPLEY_RATE, *OF_LEAD_DAYS)


def counted_alone(name: str, rules: Mapping[str, Rule]) -> bool:
    """Say whether a model asks for no more than ``counting`` counts."""
    return name in rules or name == "markov:1"


def counting_for(models: Sequence[str], rules: Mapping[str, Rule]) -> tuple[list[str], bool]:
    """Return the rules among models, those by place first, and whether transitions are asked for."""
    return sorted((name for name in models if name in rules), key=lambda name: rules[name].form), "markov:1" in models


def earned(
    seen: Counted, journeys: Journeys | None, models: Sequence[str], rules: Mapping[str, Rule], replicates: int,
    seed: int,
) -> Iterator[Earned]:  # fmt: skip
    """Yield what each model gives; names are those of rules, ``markov:K``, ``markov:auto`` or ``shapley_rate``.

    What was counted is ``counting_for`` these models; without journeys, all of them have to be ``counted_alone``.
    """
    asked, _ = counting_for(models, rules)
    drawn = draws(seen.where, replicates, seed)
    for name in models:
        if name in rules:
            yield _by_rule(name, asked.index(name), seen.counts, seen.where, drawn)
        else:
            yield _together(name, journeys, seen, drawn)


def _by_rule(name: str, row: int, found: Counts, where: Spread, drawn: Floats) -> Earned:
    now, by_bucket = found.converted[:, row], found.converted_by_bucket[:, :, row]
    return Earned(name, now, found.cents[:, row], *interval(replicated(now, by_bucket, where, drawn)))


def _together(name: str, journeys: Journeys | None, seen: Counted, drawn: Floats) -> Earned:
    """Return what a model gives that looks at all journeys together; value goes as conversions do."""
    if name == "markov:1":
        now, varied = removal_credit(seen.counts.moves), varied_credit(seen.counts, seen.where, drawn)
    elif journeys is None:
        raise ValueError(f"{name} asks for the journeys themselves")
    elif name == SHAPLEY_RATE:
        now, varied = _by_rate(journeys, seen.where, drawn)
    else:
        order = best_order(journeys)[0] if name == BEST_ORDER else int(name.removeprefix("markov:"))
        now, varied = removal_credit_of_chain(chain(journeys, order), seen.where, drawn)
    total = now.sum()
    share = now / total if total else np.full(len(now), 1 / max(len(now), 1))
    return Earned(name, now, seen.value_cents * share, *interval(varied))


def _by_rate(journeys: Journeys, where: Spread, drawn: Floats) -> tuple[Floats, Floats]:
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
