"""What training costs beside the bare LightGBM calls that it makes, in CPU seconds; bar 1.2 times.

``training.py ROWS`` takes another number of snapshots than 1,000,000; each has 60 features.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import lightgbm as lgb

ROOT = Path(__file__).parents[1]
sys.path[:1] = [str(ROOT), str(ROOT / "benchmarks")]

from wide import COLUMNS, FEATURES, wide  # noqa: E402

from features.settings import Training  # noqa: E402
from training import ensemble  # noqa: E402

BAR = 1.2


def main() -> None:
    """Fit twice, print what it cost and whether the two are alike, and end with status 1 if a bar is missed."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    matrix, learned = wide(rows)
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
    model = ensemble.fit(learned, FEATURES, 90, Training.model_validate({}))
    whole, bare_once = time.process_time() - began, bare
    again = ensemble.fit(learned, FEATURES, 90, Training.model_validate({})) if rows <= 200_000 else model
    ratio = whole / bare_once
    failed = ratio > BAR or again != model
    print(
        f"{rows:,} × {COLUMNS}: {whole:.1f} CPU s, of which bare LightGBM {bare_once:.1f}: {ratio:.2f} times "
        f"(bar {BAR}); the same again: {again == model}  {'MISSED' if failed else 'MET'}"
    )
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
