"""What training costs beside the bare LightGBM calls that it makes, in CPU seconds; bar 1.2 times.

``training.py ROWS`` takes another number of snapshots than 1,000,000; each has 60 features.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)

from features.history import Events, Heirs, History  # noqa: E402
from features.settings import Training  # noqa: E402
from features.verbs import Feature, Moments  # noqa: E402
from training import ensemble  # noqa: E402
from training.snapshots import Labelled  # noqa: E402

COLUMNS, BAR = 60, 1.2
NOTHING = np.empty(0, np.int64)
EVENTS = Events(NOTHING, NOTHING, NOTHING, {}, {})
HISTORY = History((), NOTHING, NOTHING, NOTHING, EVENTS, EVENTS, EVENTS, Heirs(NOTHING, NOTHING, NOTHING, NOTHING))


def main() -> None:
    """Fit twice, print what it cost and whether the two are alike, and end with status 1 if a bar is missed."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(rows, COLUMNS)).round(2)
    labels = (rng.random(rows) < 1 / (1 + np.exp(3 - matrix[:, :5].sum(axis=1)))).astype(np.float64)
    place = np.arange(rows)
    learned = Labelled(Moments(HISTORY, place // 4, place), labels, np.ones(rows))
    features = tuple(Feature(f"feature_{i}", "count", "") for i in range(COLUMNS))
    ensemble.feature_matrix = lambda *_: matrix  # type: ignore[assignment]  # what features cost is measured elsewhere
    bare, grow = 0.0, lgb.train

    def timed(*arguments: Any, **named: Any) -> lgb.Booster:
        nonlocal bare
        began = time.process_time()
        grown = grow(*arguments, **named)
        bare += time.process_time() - began
        return grown

    lgb.train = timed
    began = time.process_time()
    model = ensemble.fit(learned, features, 90, Training.model_validate({}))
    whole, bare_once = time.process_time() - began, bare
    again = ensemble.fit(learned, features, 90, Training.model_validate({})) if rows <= 200_000 else model
    ratio = whole / bare_once
    failed = ratio > BAR or again != model
    print(
        f"{rows:,} × {COLUMNS}: {whole:.1f} CPU s, of which bare LightGBM {bare_once:.1f}: {ratio:.2f} times "
        f"(bar {BAR}); the same again: {again == model}  {'MISSED' if failed else 'MET'}"
    )
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
