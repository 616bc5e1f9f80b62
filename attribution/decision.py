"""The decision: which channel to fund, and whether that stands whatever the model and whatever the chance."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from attribution.credit import Attribution

SPEND_UNIT = 1_000  # closes are compared for so much spend
LEAST_SPEND = 0.05  # of all spend; a channel below it is no place for a budget


class Decision(NamedTuple):
    """Which channel each model would fund: the one that earns most for what is spent on it, or most at all."""

    fund: str  # by the first model
    by_model: dict[str, str]
    unsure: tuple[str, ...]  # models whose intervals let another channel be the best
    compared: pd.DataFrame  # model, channel, credit, low, high: what the models decided on
    for_spend: bool  # whether these are for each SPEND_UNIT of spend
    is_rated: bool  # whether it is known what was spent, in one currency

    @property
    def flips(self) -> bool:
        """Whether models would fund different channels."""
        return len(set(self.by_model.values())) > 1

    @property
    def sentence(self) -> str:
        """Which channel to fund, how sure that is, and what was compared."""
        if not self.is_rated:
            basis = " Spend is left out: a currency has no rate; `touchstone attribute --returns` tells it."
        elif self.for_spend:
            basis = f" Compared are closes for spend, of channels with {LEAST_SPEND:.0%} of it or more."
        else:
            basis = ""
        return self._answer + basis

    @property
    def _answer(self) -> str:
        if self.flips:
            others = "; ".join(f"{model} says {name}" for model, name in self.by_model.items() if name != self.fund)
            return f"Fund {self.fund}? It depends on the model: {others}. Run an experiment before money moves."
        says = "every model says so" if len(self.by_model) > 1 else f"{next(iter(self.by_model))} says so"
        if self.unsure:
            others = ", ".join(self.unsure)
            return f"Fund {self.fund}: {says}, but within the intervals of {others} another may be best."
        return f"Fund {self.fund}: {says}, and no interval lets another channel be the best."


def decision(answer: Attribution, spent: Mapping[str, Decimal] | None = MappingProxyType({})) -> Decision | None:
    """Return the decision; with what was spent by channel, among those that cost enough and by their credit for it.

    Spent is None where a currency has no rate: then credit alone decides, and the sentence says so. Where no channel
    earned anything there is none. A model that finds the first model's channel as good as its own best does not
    contradict it.
    """
    if not (answer.channels["credit"] > 0).any():
        return None
    by_model, unsure, tables = dict[str, str](), list[str](), list[pd.DataFrame]()
    paid = _paid(set(answer.channels["channel"]), spent or {})
    for model in answer.models:
        rows = answer.channels[answer.channels["model"] == model].set_index("channel")
        worth = rows[["credit", "low", "high"]]
        if paid:  # a channel that the model does not know earned nothing
            worth = worth.reindex(pd.Index(paid, name="channel"), fill_value=0.0).div(pd.Series(paid), axis=0)
        tables.append(worth.rename_axis("channel").reset_index().assign(model=model))
        tied = worth.index[np.isclose(worth["credit"], worth["credit"].max(), rtol=1e-9, atol=0)]
        best = next((name for name in by_model.values() if name in tied), str(tied[0]))
        by_model[model] = best
        if (worth["high"].drop(best) > worth.loc[best, "low"]).any():
            unsure.append(model)
    return Decision(by_model[answer.models[0]], by_model, tuple(unsure), pd.concat(tables), bool(paid),
                    spent is not None)  # fmt: skip


def _paid(channels: Collection[str], spent: Mapping[str, Decimal]) -> dict[str, float]:
    least = LEAST_SPEND * float(sum(spent.values()))
    return {
        name: float(cost) / SPEND_UNIT
        for name, cost in spent.items()
        if name in channels and cost > 0 and float(cost) >= least
    }
