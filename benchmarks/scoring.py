"""What the champion's forest costs beside LightGBM, in CPU seconds of one run, one thread each.

Probabilities of 1,000,000 rows × 60 features beside bare ``Booster.predict`` (bar: the same rate, aim 3 times), the
effects of each feature of 100,000 rows beside ``pred_contrib`` (bar 8 times the rate, aim 30; equal to 1e-5), and one
row at a time. The model is what ``training.ensemble`` makes of 20,000 rows: five cross-fitted members of 150 trees with
their lines. LightGBM is asked the five boosters that the model consists of, and neither for lines nor calibration.
``scoring.py ROWS REASONS`` takes other numbers of rows. LightGBM's effects are timed on 2,000 rows, which it takes as
long for each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:1] = [str(ROOT), str(ROOT / "benchmarks")]

from wide import COLUMNS, FEATURES, wide  # noqa: E402

from features.settings import Training  # noqa: E402
from serving.forest import forest_of  # noqa: E402
from training import ensemble  # noqa: E402

LEARNED, SLOW, ALONE = 20_000, 2_000, 1_000  # rows that are learned from; that LightGBM explains; asked one by one
RATE, REASONS, EQUAL = 1.0, 8.0, 1e-5  # bars


def main() -> None:
    """Print what each costs, and end with status 1 if a bar is missed."""
    rows, reasons = (int(word) for word in (*sys.argv[1:], 1_000_000, 100_000)[:2])
    model, boosters = champion()
    scorer, forest = model.scorer(), forest_of(model.trees, model.spec.trees, COLUMNS) or sys.exit("No trees grew.")
    matrix, _ = wide(rows, seed=1, missing=0.1)
    few = matrix[:SLOW]
    forest.margins(few), forest.effects(few)  # compiled before; a process of its own reads what was compiled

    scored, _ = timed(lambda: scorer.probabilities(matrix))
    ours, margins = timed(lambda: forest.margins(matrix))
    theirs, bare = timed(lambda: [one.predict(matrix, raw_score=True, num_threads=1) for one in boosters])
    same, rate = np.array_equal(margins, bare), theirs / scored
    print(f"{rows:,} × {COLUMNS}: probabilities {scored:.2f} CPU s, of which trees {ours:.2f}; LightGBM {theirs:.2f}")
    print(f"  rate {rate:.1f} times with lines and calibration (bar {RATE:g}, aim 3), trees alone "
          f"{theirs / ours:.1f} times; equal to the last bit: {same}")  # fmt: skip

    asked = matrix[:reasons]
    ours, effects = timed(lambda: forest.effects(asked))
    theirs, each = timed(lambda: [one.predict(few, pred_contrib=True, num_threads=1) for one in boosters])
    off = float(np.abs(effects[: len(few)] - np.mean(each, axis=0)[:, :-1]).max())
    whole, _ = timed(lambda: scorer.effects(asked, scorer.margins(asked)))
    a_row = theirs / len(few)
    explained = a_row * len(asked) / whole
    print(f"{len(asked):,} × {COLUMNS}: effects {whole:.2f} CPU s, of which trees {ours:.2f}; "
          f"LightGBM {a_row * len(asked):.1f}")  # fmt: skip
    print(f"  rate {explained:.0f} times (bar {REASONS:g}, aim 30), trees alone {a_row * len(asked) / ours:.0f} times; "
          f"largest difference {off:.0e} (bar {EQUAL:g})")  # fmt: skip

    ours, _ = timed(lambda: [scorer.probabilities(matrix[i : i + 1]) for i in range(ALONE)])
    theirs, _ = timed(
        lambda: [[one.predict(matrix[i : i + 1], num_threads=1) for one in boosters] for i in range(ALONE)]
    )
    print(f"one row: {ours / ALONE * 1e6:.0f} µs with lines and calibration, LightGBM {theirs / ALONE * 1e6:.0f}")
    failed = not same or rate < RATE or explained < REASONS or off > EQUAL
    print("MISSED" if failed else "MET")
    sys.exit(int(failed))


def champion() -> tuple[ensemble.Model, list[lgb.Booster]]:
    """Return a model, and the boosters that it consists of."""
    matrix, learned = wide(LEARNED, missing=0.1)
    ensemble.feature_matrix = lambda *_: matrix  # type: ignore[assignment]
    grow, grown = lgb.train, []

    def kept(*arguments: Any, **named: Any) -> lgb.Booster:
        grown.append(grow(*arguments, **named))
        return grown[-1]

    lgb.train = kept
    return ensemble.fit(learned, FEATURES, 90, Training.model_validate({})), grown


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds that it took, and what came of it."""
    began = time.process_time()
    done = work()
    return time.process_time() - began, done


if __name__ == "__main__":
    main()
