"""Markov chains of order 1: what would no longer convert if a channel were not there.

A chain with the states start, k channels, conversion and null is fitted to the journeys. The removal effect
of a channel is the share of the chain's conversions that is lost when all that enters the channel goes to
null. Source: Anderl, Becker, von Wangenheim, Schumann (2016), Mapping the customer journey, IJRM 33(3).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from attribution.journeys import Floats, Ints, Journeys


def transitions(journeys: Journeys) -> sparse.csr_array:
    """How often a journey makes each transition (2m, (k + 1)(k + 2)).

    Row j is journey j when it converts, row m + j when it does not. Columns are the transitions from the k
    channels and start, in this order, to the k channels, conversion and null. A journey without touches makes
    none.
    """
    k = len(journeys.channels)
    start, conversion, null = k, k, k + 1
    source = np.where(journeys.since_first == 0, start, np.roll(journeys.channel, 1))
    walk = _counted(journeys, journeys.journey, source, journeys.channel)
    is_last = journeys.until_last == 0
    ending, end = journeys.journey[is_last], journeys.channel[is_last]
    converted = walk + _counted(journeys, ending, end, np.full_like(end, conversion))
    lost = walk + _counted(journeys, ending, end, np.full_like(end, null))
    return sparse.vstack([converted, lost], format="csr")


def removal_effects(counts: Floats) -> Floats:
    """Share of conversions lost without each channel (..., k), in [0, 1], from counts (..., k + 1, k + 2).

    Counts are laid out as in ``transitions``. A conversion is lost when its way leads through the channel.
    Let Q be the probabilities of moves between channels (k, k), a of those from start (k), r of those to
    conversion (k), and N = (I - Q)^-1. The chain ever visits channel c with probability (a N)_c / N_cc,
    converts from there with (N r)_c, and converts at all with a N r: one inverse answers every removal. If
    nothing converts, all are 0.
    """
    k = counts.shape[-2] - 1
    outflow = counts.sum(axis=-1, keepdims=True)
    moves = np.divide(counts, outflow, out=np.zeros(counts.shape), where=outflow > 0)
    a, r = moves[..., k:, :k], moves[..., :k, k : k + 1]
    N = np.linalg.inv(np.eye(k) - moves[..., :k, :k])  # noqa: N806  the literature's letter
    visits, converts = (a @ N)[..., 0, :], (N @ r)[..., 0]
    through = visits * converts / np.diagonal(N, axis1=-2, axis2=-1)
    every = (a @ N @ r)[..., 0]
    effects: Floats = np.divide(through, every, out=np.zeros(through.shape), where=every > 0)
    return effects.clip(0, 1)


def _counted(journeys: Journeys, journey: Ints, source: Ints, target: Ints) -> sparse.csr_array:
    """Transitions from source to target, counted by journey (m, (k + 1)(k + 2))."""
    k = len(journeys.channels)
    shape = (len(journeys.conversions), (k + 1) * (k + 2))
    return sparse.csr_array((np.ones(len(journey)), (journey, source * (k + 2) + target)), shape=shape)
