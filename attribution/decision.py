"""The decision: which channel to fund, and whether that stands whatever the model and whatever the chance."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pandas as pd

from attribution.credit import Attribution


class Decision(NamedTuple):
    """Which channel each model would fund: the one that earns most for what is spent on it, or most at all."""

    fund: str  # by the first model
    by_model: dict[str, str]
    unsure: tuple[str, ...]  # models whose intervals let another channel be the best

    @property
    def flips(self) -> bool:
        """Whether models would fund different channels."""
        return len(set(self.by_model.values())) > 1

    @property
    def sentence(self) -> str:
        """Which channel to fund, and how sure that is."""
        if self.flips:
            others = "; ".join(f"{model} says {name}" for model, name in self.by_model.items() if name != self.fund)
            return f"Fund {self.fund}? It depends on the model: {others}. Run an experiment before money moves."
        if self.unsure:
            others = ", ".join(self.unsure)
            return f"Fund {self.fund}: every model says so, but within the intervals of {others} another may be best."
        return f"Fund {self.fund}: every model says so, and no interval lets another channel be the best."


def decision(answer: Attribution, spent: Mapping[str, Decimal] | None = None) -> Decision | None:
    """Return the decision; with what was spent by channel, among these channels and by their credit for it.

    Where no channel earned anything there is none. A model that finds the first model's channel as good as its own best
    does not contradict it.
    """
    if not (answer.channels["credit"] > 0).any():
        return None
    by_model, unsure = dict[str, str](), list[str]()
    for model in answer.models:
        rows = answer.channels[answer.channels["model"] == model].set_index("channel")
        worth = _for_spend(rows[["credit", "low", "high"]], spent or {})
        tied = worth.index[np.isclose(worth["credit"], worth["credit"].max(), rtol=1e-9, atol=0)]
        best = next((name for name in by_model.values() if name in tied), str(tied[0]))
        by_model[model] = best
        if (worth["high"].drop(best) > worth.loc[best, "low"]).any():
            unsure.append(model)
    return Decision(by_model[answer.models[0]], by_model, tuple(unsure))


def _for_spend(rows: pd.DataFrame, spent: Mapping[str, Decimal]) -> pd.DataFrame:
    paid = {channel: float(spent[channel]) for channel in rows.index if spent.get(channel, 0) > 0}
    return rows.loc[list(paid)].div(pd.Series(paid), axis=0) if paid else rows
