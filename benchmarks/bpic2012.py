"""The score on a bank's loan applications (BPI Challenge 2012), under the fixed protocol, beside the bars.

On so few rows even a score whose every promise is kept shows a calibration error, which is printed beside ours: its
mean, its 95 % quantile, and how often it is within the bar. And the log ends: of the latest cases only those are
judged that were decided soon, which are won more often. So both errors are printed, too, for the cases looked at so
long before the end that nearly every one was decided.

Run with the real data in ``../shared/data/bpic2012``; says so and stops where it is absent.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]  # not this folder, whose features.py is no package

from test_bpic2012 import CONFIGURATION  # noqa: E402

from features.history import NEVER  # noqa: E402
from features.ingestion import ingest  # noqa: E402
from features.lake import Lake  # noqa: E402
from features.reading import read_history  # noqa: E402
from features.settings import read_settings  # noqa: E402
from training.backtest import backtest  # noqa: E402
from training.metrics import calibration_error  # noqa: E402
from training.snapshots import labelled  # noqa: E402

EVENTS = ROOT.parent / "shared" / "data" / "bpic2012" / "events.parquet"
BARS = {1: (0.703, 0.610), 7: (0.727, 0.590), 14: (0.828, 0.481)}  # ROC AUC at least, log loss at most
HAND_MADE = {1: (0.704, 0.609), 7: (0.7275, 0.589), 14: (0.829, 0.480)}  # the same trees on hand-made features
ECE = 0.05
LOG_ENDS = datetime(2012, 3, 14, 15, 4, tzinfo=UTC)
DECIDED = timedelta(days=30)  # the bank closes by itself what nobody answered for so long
DRAWN = 500  # times that outcomes are drawn from the promised probabilities


def kept_promises(probabilities: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the calibration error of these very promises if kept: mean, 95 % quantile, share within the bar."""
    rng = np.random.default_rng(0)
    outcomes = (rng.random((DRAWN, len(probabilities))) < probabilities).astype(np.float64)
    errors = [calibration_error(labels, probabilities) for labels in outcomes]
    return float(np.mean(errors)), float(np.quantile(errors, 0.95)), float(np.mean(np.array(errors) <= ECE))


def errors_of(told: pd.DataFrame) -> str:
    """Return the mean promise and outcome, and the calibration error beside that of kept promises."""
    promised = told["probability"].to_numpy()
    error = calibration_error(told["label"].to_numpy(np.float64), promised)
    return (
        f"promised {promised.mean():.3f}, won {told['label'].mean():.3f}, "
        f"calibration error {error:.4f} (kept: {kept_promises(promised)[0]:.3f})"
    )


def main() -> None:
    """Print the figures, and end with status 1 if one misses its bar."""
    if not EVENTS.exists():
        print(f"There is no {EVENTS}; nothing was measured.")
        return
    missed, all_within = 0, 1.0
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        (workspace / "touchstone.toml").write_text(CONFIGURATION)
        settings, lake = read_settings(workspace), Lake(workspace / "lake")
        ingest(lake, settings, [EVENTS], datetime(2012, 4, 1, tzinfo=UTC))
        history = read_history(lake)
        print(
            "day   test  trained  ROC AUC (bar, hand-made)  log loss (bar, hand-made)  base rate's  calibration error"
        )
        for day, (least, most) in BARS.items():
            at_age = settings.snapshots.model_copy(update={"ages_days": [day]})
            aged = settings.model_copy(update={"snapshots": at_age})
            moments = np.sort(labelled(history, aged, NEVER).moments.as_of)
            judged = backtest(history, aged, NEVER, [int(moments[int(0.8 * len(moments))])])
            got, plain = judged.overall, judged.base_rate["log_loss"]
            auc, loss, error = (float(got[name] or 0) for name in ("roc_auc", "log_loss", "ece"))
            failed = [
                name
                for name, broken in (("ROC AUC", auc < least), ("log loss", loss > most), ("calibration", error > ECE))
                if broken
            ]
            missed += len(failed)
            told = judged.predictions
            kept = kept_promises(told["probability"].to_numpy())
            early = told[told["as_of"] < LOG_ENDS - DECIDED]
            all_within *= kept[2]
            print(
                f"{day:3}  {got['n']:5}   {judged.folds[0]['trained_on']:7}   {auc:.4f} ({least}, {HAND_MADE[day][0]})"
                f"          {loss:.4f} ({most}, {HAND_MADE[day][1]})           {plain:.4f}        {error:.4f} "
                f"(kept: {kept[0]:.3f}, up to {kept[1]:.3f}, "
                f"within the bar {kept[2]:.0%})"
                f"{'   MISSED: ' + ', '.join(failed) if failed else ''}"
            )
            print(f"     {len(early):4}   of them 30 days and more before the log ends: {errors_of(early)}")
        print(
            f"A score that keeps every promise is within all three bars of calibration {all_within:.0%} of the times."
        )
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
