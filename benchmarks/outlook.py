"""Two models of one history: trees that tell the probability directly, and competing risks, period by period.

On simulated companies, whose truth is known, the regret at 30, 60, 90 and 180 days; on a bank's loan applications
under the fixed protocol (where the data are) ROC AUC, log loss and calibration error. The default must not be surely
worse: its regret at the score's own horizon not higher than the other's by two standard errors over the companies.

``outlook.py LEADS SEEDS`` takes other companies than 3 of 2,000 leads in each of three worlds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path[:1] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]  # not this folder alone

from bpic2012 import CONFIGURATION, EVENTS  # noqa: E402

from benchmarks.truths.companies import DAYS, HORIZON, NOW, ingested  # noqa: E402
from benchmarks.truths.score import divergence  # noqa: E402
from features.history import NEVER, microseconds  # noqa: E402
from features.ingestion import ingest  # noqa: E402
from features.lake import Lake  # noqa: E402
from features.matrix import feature_matrix  # noqa: E402
from features.reading import read_history  # noqa: E402
from features.settings import Settings, read_settings  # noqa: E402
from features.verbs import Moments  # noqa: E402
from serving.outlook import outlook  # noqa: E402
from serving.scorer import Scorer  # noqa: E402
from simulation.company import Company  # noqa: E402
from simulation.law import WORLDS  # noqa: E402
from simulation.truth import truth  # noqa: E402
from training.backtest import backtest  # noqa: E402
from training.learning import model_of  # noqa: E402
from training.prospects import prospects  # noqa: E402
from training.snapshots import labelled  # noqa: E402

SURE = 2.0  # standard errors
MODELS, HORIZONS = ("direct", "competing_risks"), (30, 60, 90, 180)


def using(model: str, settings: Settings) -> Settings:
    """Return the settings with another form of the model."""
    return settings.model_copy(update={"training": settings.training.model_copy(update={"model": model})})


def regrets(company: Company, lake: Lake) -> list[dict[str, object]]:
    """Return each model's regret in nats at each horizon on the leads open at the last midnight, and what it cost."""
    history, cut = read_history(lake), microseconds(NOW)
    exact = truth(company, NOW, list(HORIZONS))
    lead = history.positions(list(exact["lead_id"].unique()), cut)
    found = []
    for model in MODELS:
        settings, began = using(model, Settings()), time.process_time()
        learned, _ = model_of(history, settings, cut)
        spec = learned.spec
        if not spec.periods:
            spec = type(spec)(**vars(spec) | {"prospects": prospects(history, settings, cut, spec.features)})
        scorer = Scorer(spec, learned.scorer().forest, "judged")
        trained, began = time.process_time() - began, time.process_time()
        ahead = outlook(scorer, feature_matrix(spec.features, Moments(history, lead, np.full(len(lead), cut))))
        row: dict[str, object] = {"model": model}
        for days in HORIZONS:
            p = exact.loc[exact["horizon_days"] == days, "probability"].to_numpy()
            row[f"regret {days}"] = divergence(p, ahead.won[ahead.days.index(days)])
        found.append(row | {"training CPU s": trained, "asking CPU s": time.process_time() - began})
    return found


def bank() -> None:
    """Print how the two do on the bank's loan applications."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        (workspace / "touchstone.toml").write_text(CONFIGURATION)
        settings, lake = read_settings(workspace), Lake(workspace / "lake")
        ingest(lake, settings, [EVENTS], datetime(2012, 4, 1, tzinfo=UTC))
        history = read_history(lake)
    for day in (1, 7, 14):
        at_age = settings.snapshots.model_copy(update={"ages_days": [day]})
        aged = settings.model_copy(update={"snapshots": at_age})
        moments = np.sort(labelled(history, aged, NEVER).moments.as_of)
        start = int(moments[int(0.8 * len(moments))])
        for model in MODELS:
            got = backtest(history, using(model, aged), NEVER, [start]).overall
            said = f"{got['roc_auc']:.4f} / {got['log_loss']:.4f}, calibration error {got['ece']:.3f}"
            print(f"BPI 2012, day {day:2}  {model:16} {said}", flush=True)


def main() -> None:
    """Print both beside each other, and end with status 1 if the default is the worse one at its own horizon."""
    leads, seeds = (int(word) for word in sys.argv[1:3]) if len(sys.argv) > 2 else (2_000, 3)
    rows = []
    for name, world in WORLDS.items():
        if name != "harvesting brand search":
            for place, company, lake in ingested(name, world, {leads: seeds}):
                rows += [place | row for row in regrets(company, lake)]
                print(
                    pd.DataFrame(rows[-2:]).to_string(index=False, header=len(rows) == 2, float_format="%.4f"),
                    flush=True,
                )
    print(f"\nMeans over {seeds} seeds; {DAYS} days of history\n")
    table = pd.DataFrame(rows).drop(columns=["seed"]).groupby(["world", "leads", "model"], sort=False).mean()
    print(table.to_string(float_format="%.4f"))
    if EVENTS.exists():
        bank()
    by_company = pd.DataFrame(rows).pivot_table(f"regret {HORIZON}", ["world", "seed"], "model")
    default = Settings().training.model
    worse = by_company[default] - by_company.drop(columns=default).min(axis=1)
    missed = worse.mean() > SURE * worse.sem()
    print(
        f"The default, {default}, loses {worse.mean():+.4f} ± {worse.sem():.4f} more than the other at {HORIZON} days: "
        + ("MISSED" if missed else "MET")
    )
    sys.exit(int(missed))


if __name__ == "__main__":
    main()
