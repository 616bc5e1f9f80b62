"""Whether retraining mends what a shift of the base rate broke, on a simulated company whose leads close more readily.

From the middle of the company's days on new leads close twice as readily. A champion that learned before, and a model
that is learned a while after, are both asked about the first snapshots of leads that came later still, whose horizon is
past by the end. The calibration error of the new one has to be at most 0.02 on them. The gate, which sees only what was
known when the new one was learned, has to let it through; and it has to refuse one that learned from labels that
were dealt anew. The company is large: of 1,700 later leads a score that keeps every promise would show .023.

Run: .venv/bin/python benchmarks/retraining.py [LEADS]
"""

from __future__ import annotations

# ruff: noqa: E402, I001

import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # not this folder, whose features.py is no package

import numpy as np
import pandas as pd

from features.catalogue import catalogue_of
from features.history import History, microseconds
from features.ingestion import ingest
from features.lake import Lake
from features.reading import read_history
from features.settings import Settings
from features.verbs import columns_of
from serving.scorer import Scorer, save
from simulation.company import Company, tables
from simulation.law import World
from training.backtest import predictions_of
from training.gate import Verdict, verdict
from training.learning import model_of
from training.metrics import Metrics, metrics
from training.snapshots import Labelled, labelled

NOW = datetime(2026, 3, 2, tzinfo=UTC)
LEADS, DAYS = 60_000, 1_300
SHIFTED, RETRAINED = NOW - timedelta(days=DAYS / 2), NOW - timedelta(days=DAYS / 2 - 240)
SETTINGS, LESS = Settings(), 0.02
SEED = 1


def main() -> None:
    """Print how far promises are off before and after, and what the gate says; fail below a bar."""
    history = history_of_company(int(sys.argv[1]) if len(sys.argv) > 1 else LEADS)
    old, new = learned(history, microseconds(SHIFTED)), learned(history, microseconds(RETRAINED))
    later = firsts(labelled(history, SETTINGS, microseconds(NOW)).between(microseconds(RETRAINED)))
    said = {name: metrics(later.labels, predictions_of(one, later)["probability"].to_numpy())
            for name, one in (("champion of before", old), ("retrained", new))}  # fmt: skip
    for name, found in said.items():
        print(f"{name:<24} promises {found['mean_probability']:.3f}, {found['base_rate']:.3f} come true; "
              f"calibration error {found['ece']:.3f}, log loss {found['log_loss']:.4f} of {found['n']}")  # fmt: skip
    good, bad = gated(history, old)
    print(f"the gate on the retrained: {good.why}\nthe gate on a planted bad one: {bad.why}")
    met = [(said["retrained"]["ece"] or 1) <= LESS, good.promoted, not bad.promoted]
    print(f"error at most {LESS}, let through, refused: {', '.join('MET' if one else 'MISSED' for one in met)}")
    sys.exit(0 if all(met) else 1)


def history_of_company(leads: int) -> History:
    """Return the history of a company whose later leads close twice as readily, through the door of the lake."""
    found = tables(Company(NOW, leads=leads, days=DAYS, seed=SEED, world=World(drift=2.0)))
    with tempfile.TemporaryDirectory() as folder:
        for name, table in found.items():
            table.to_parquet(Path(folder) / f"{name}.parquet", index=False)
        lake = Lake(Path(folder) / "lake")
        ingest(lake, SETTINGS, sorted(Path(folder).glob("*.parquet")), NOW)
        return read_history(lake, more=columns_of(catalogue_of(SETTINGS.features)))


def learned(history: History, before: int) -> Scorer:
    """Return the model that is learned from what was known before a moment."""
    model, _ = model_of(history, SETTINGS, before)
    with tempfile.TemporaryDirectory() as folder:
        return save(Path(folder), replace(model.spec, learned_until=before), model.trees)


def firsts(rows: Labelled) -> Labelled:
    """Return the first snapshot of each lead, so that none counts twice."""
    return rows.chosen(np.unique(rows.moments.lead, return_index=True)[1])


def gated(history: History, champion: Scorer) -> tuple[Verdict, Verdict]:
    """Return what the gate says of a model learned for the day of retraining, judged on the latest known outcomes.

    And what it says if its scores are dealt anew among the snapshots, as those of a model that learned nothing are.
    """
    known = labelled(history, SETTINGS, microseconds(RETRAINED))
    start = int(np.quantile(known.moments.as_of, 1 - SETTINGS.training.test_share))
    tested = known.between(start)
    challenger = predictions_of(learned(history, start), tested)
    dealt = np.random.default_rng(SEED).permutation(challenger["probability"].to_numpy())
    rate = known.between(0, start).rate
    base: Metrics = metrics(tested.labels, np.full(len(tested.labels), rate))
    of_champion, slices = predictions_of(champion, tested), pd.DataFrame(index=range(len(tested.labels)))
    good, bad = (verdict(one, base, of_champion, slices) for one in (challenger, challenger.assign(probability=dealt)))
    return good, bad


if __name__ == "__main__":
    main()
