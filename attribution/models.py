"""The attribution models by name, each as shares of a ledger and as an estimator for the bootstrap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import sparse

from attribution.bootstrap import Estimator
from attribution.journeys import Floats, Journeys
from attribution.markov import removal_effects, transitions
from attribution.rules import RULES, Rule, time_decay
from attribution.shares import shares

MARKOV = "markov:1"
MODELS = (*RULES, MARKOV)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model that has seen the journeys."""

    ledger: Journeys  # whose conversions and value are handed out
    share: Floats  # (n,) of the ledger's touches in their journey
    estimator: Estimator


def fitted(name: str, journeys: Journeys, half_life_days: float) -> Fitted:
    """Model of that name, one of MODELS, fitted to the journeys."""
    rules: Mapping[str, Rule] = {**RULES, "time_decay": partial(time_decay, half_life_days=half_life_days)}
    return by_removal(journeys) if name == MARKOV else by_rule(journeys, rules[name])


def by_rule(journeys: Journeys, rule: Rule) -> Fitted:
    """Rule as a model: it hands out each journey by itself."""
    share = shares(rule(journeys), journeys.journey)
    shape = (2 * len(journeys.conversions), len(journeys.channels))
    statistics = sparse.csr_array((share, (journeys.journey, journeys.channel)), shape=shape)
    return Fitted(journeys, share, Estimator(statistics, credit=lambda sums: sums))


def by_removal(journeys: Journeys) -> Fitted:
    """Markov chain as a model: it hands out all journeys together, as one that touched each channel once."""
    estimator = Estimator(transitions(journeys), partial(removal_credit, channels=len(journeys.channels)))
    ledger = pooled(journeys)
    sums = journeys.outcomes @ estimator.statistics
    return Fitted(ledger, shares(estimator.credit(sums)[0], ledger.journey), estimator)


def removal_credit(sums: Floats, channels: int) -> Floats:
    """Credit by removal effects (draws, k) from sums of ``transitions`` (draws, (k + 1)(k + 2))."""
    counts = sums.reshape(-1, channels + 1, channels + 2)
    effects = removal_effects(counts)
    draw = np.repeat(np.arange(len(counts)), channels)
    conversions = counts[:, :, channels].sum(axis=1, keepdims=True)
    credit: Floats = conversions * shares(effects.ravel(), draw).reshape(effects.shape)
    return credit


def pooled(journeys: Journeys) -> Journeys:
    """All journeys with touches as one, in which each channel has one touch."""
    k, touched = len(journeys.channels), journeys.touched
    return Journeys(
        channels=journeys.channels,
        journey=np.zeros(k, np.int64),
        channel=np.arange(k),
        age_days=np.zeros(k),
        event_id=None,
        conversions=journeys.conversions[touched].sum(keepdims=True),
        nulls=journeys.nulls[touched].sum(keepdims=True),
        value_cents=journeys.value_cents[touched].sum(keepdims=True),
        lead_id=None,
    )
