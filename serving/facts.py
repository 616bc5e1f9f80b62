"""Facts: of the leads that a model learned from, how many with such a value were won."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fact:
    """Shares of wins by value of one feature: ``rates[k]`` from the edge k − 1 on and below the edge k.

    ``missing`` is that of the leads of whom the value is not known.
    """

    edges: tuple[float, ...]
    rates: tuple[float, ...]
    missing: float

    def rate(self, value: float) -> float:
        """Return the share of wins among leads with such a value."""
        return self.missing if math.isnan(value) else self.rates[bisect_right(self.edges, value)]


def read_fact(read: dict[str, Any]) -> Fact:
    """Return the fact that ``dataclasses.asdict`` made this JSON of."""
    return Fact(tuple(read["edges"]), tuple(read["rates"]), read["missing"])
