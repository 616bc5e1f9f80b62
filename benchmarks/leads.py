"""The score on tables of leads without touches: a bank's calls, a shop's sessions, deals of a company that is made up.

Each goes in by the product's own door, in the order of time, and is judged on the latest fifth. Bars: the bank's drift
is beaten (ROC AUC 0.70) and its ``duration`` named as a leak, as the shop's ``PageValues`` is; where there is no signal
the score says so (log loss 0.659, that of the base rate being 0.658).
"""

from __future__ import annotations

import sys
import tempfile
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)

from features.history import NEVER, History  # noqa: E402
from features.ingestion import ingest  # noqa: E402
from features.lake import Lake  # noqa: E402
from features.reading import read_history  # noqa: E402
from features.settings import Settings  # noqa: E402
from training.backtest import Backtest, backtest  # noqa: E402
from training.snapshots import labelled  # noqa: E402

SHARED = ROOT.parent / "shared" / "data"
FIRST, NOW = pd.Timestamp("2020-01-01", tz="UTC"), datetime(2026, 1, 1, tzinfo=UTC)
HALF_AN_HOUR, DAY = pd.Timedelta("30min"), pd.Timedelta("1D")
HOW = {"snapshots": {"ages_days": [1], "mature_when": "closed"}}


class Leads(NamedTuple):
    """Attributes of leads, when each was created and closed, and whether it was won."""

    attributes: pd.DataFrame
    created: pd.Series
    closed: pd.Series
    won: pd.Series


def bank() -> Leads:
    """Return 41,188 calls in the order of time, of which the file tells no more than the order."""
    with zipfile.ZipFile(SHARED / "bank_marketing" / "bank-additional.zip") as packed:
        calls = pd.read_csv(packed.open("bank-additional/bank-additional-full.csv"), sep=None, engine="python")
    return one_after_the_other(calls.drop(columns="y"), calls["y"] == "yes")


def shop() -> Leads:
    """Return 12,330 sessions in a random order; the file has none."""
    sessions = pd.read_csv(SHARED / "online_shoppers" / "online_shoppers_intention.csv")
    sessions = sessions.sample(frac=1, random_state=0, ignore_index=True)
    return one_after_the_other(sessions.drop(columns="Revenue"), sessions["Revenue"].astype(int) == 1)


def crm() -> Leads:
    """Return 6,711 deals, won or lost without any reason, in a random order, as the bar had them."""
    folder = SHARED / "crm_sales"
    deals = pd.read_csv(folder / "sales_pipeline.csv").dropna(subset=["close_date"])
    deals = deals.merge(pd.read_csv(folder / "accounts.csv"), on="account", how="left")
    deals = deals.merge(pd.read_csv(folder / "sales_teams.csv"), on="sales_agent", how="left")
    known = ["sales_agent", "product", "account", "sector", "revenue", "employees", "manager", "regional_office"]
    deals = deals.sample(frac=1, random_state=0, ignore_index=True)
    return one_after_the_other(deals[known], deals["deal_stage"] == "Won")


def one_after_the_other(attributes: pd.DataFrame, won: pd.Series) -> Leads:
    """Return leads that come every half an hour and are closed two days later."""
    created = FIRST + np.arange(len(won)) * HALF_AN_HOUR
    created = pd.Series(created)
    return Leads(attributes, created, created + 2 * DAY, won)


def read(leads: Leads, settings: Settings) -> History:
    """Return the history of leads that were ingested as files."""
    ids = [f"lead-{i:06}" for i in range(len(leads.won))]
    known = leads.attributes.assign(lead_id=ids, created_at=leads.created)
    stages = pd.DataFrame({"lead_id": ids, "occurred_at": leads.closed, "stage": np.where(leads.won, "won", "lost")})
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / "leads.parquet", Path(folder) / "stages.parquet"]
        for file, table in zip(files, (known, stages), strict=True):
            table.to_parquet(file, index=False)
        lake = Lake(Path(folder) / "lake")
        ingest(lake, settings, files, NOW)
        return read_history(lake)


def judged(leads: Leads) -> Backtest:
    """Return what a score that learned from the first four fifths says of the last."""
    settings = Settings.model_validate(HOW)
    history = read(leads, settings)
    moments = np.sort(labelled(history, settings, NEVER).moments.as_of)
    return backtest(history, settings, NEVER, [int(moments[int(0.8 * len(moments))])])


def main() -> None:
    """Print what the score says of each table, and end with status 1 if it misses a bar."""
    missed = 0
    for name, leads, bars in (
        ("bank", bank, {"roc_auc": 0.70, "leak": "duration"}),
        ("shop", shop, {"leak": "PageValues"}),
        ("crm", crm, {"log_loss": 0.659}),
    ):
        if not SHARED.exists():
            print(f"There is no {SHARED}; nothing was measured.")
            return
        began = time.process_time()
        found = judged(leads())
        got, learned = found.overall, found.folds[0]
        named = [leak["feature"] for leak in learned["leaks"]]
        failed = [
            bar
            for bar, broken in (
                ("ROC AUC", "roc_auc" in bars and got["roc_auc"] < bars["roc_auc"]),
                ("log loss", got["log_loss"] > bars.get("log_loss", np.inf)),
                ("leak", bars.get("leak") is not None and bars["leak"] not in named),
            )
            if broken
        ]
        missed += len(failed)
        print(
            f"{name:5} trained on {learned['trained_on']:,} at {learned['base_rate_learned']:.1%}; tested on "
            f"{got['n']:,} at {got['base_rate']:.1%}, mean score {got['mean_probability']:.1%}; "
            f"ROC AUC {got['roc_auc'] or 0:.3f}, log loss "
            f"{got['log_loss']:.4f} (base rate's {found.base_rate['log_loss']:.4f}), calibration error "
            f"{got['ece']:.3f}; evidence {learned['evidence']}; left out: {', '.join(named) or 'nothing'}; "
            f"{time.process_time() - began:.0f} CPU s{'   MISSED: ' + ', '.join(failed) if failed else ''}"
        )
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
