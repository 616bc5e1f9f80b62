"""Real journeys through the product: 196,560 of Criteo and 13,087 of a bank, from files to which channel to fund.

Criteo's converting journeys touch one campaign each, so no model can tell campaigns apart there; the bank's channel is
the activity that touched an application. Both are ingested and credited by the commands that a user would give; credit
and what is unattributed have to add up to all that converted, or the status is 1. ``--quick`` takes a tenth of each.
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
sys.path[0] = str(ROOT)  # not this folder, whose attribution.py is no package

from attribution.runs import Run, attribute  # noqa: E402
from features.ingestion import ingest  # noqa: E402
from features.lake import Lake  # noqa: E402
from features.settings import Settings, read_settings  # noqa: E402

SHARED = ROOT.parent / "shared" / "data"
MODELS = ["last", "first", "linear", "position_based", "time_decay", "shapley", "markov:1"]
BEGINNING = pd.Timestamp("2026-01-01", tz="UTC")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
EVERY_TOUCH = """
[attribution]
lookback_days = inf
"""
BANK = (
    EVERY_TOUCH
    + """[goal]
won = ["A_ACTIVATED"]
lost = ["A_DECLINED", "A_CANCELLED"]

[[sources]]
file = "events.parquet"
table = "leads"
where = "seq = 0"
keep_other_columns = false
[sources.columns]
lead_id = "case_id"
created_at = "timestamp"

[[sources]]
file = "events.parquet"
table = "touches"
where = "activity NOT LIKE 'A_%' AND upper(lifecycle) = 'COMPLETE'"  # states of the application touch nobody
keep_other_columns = false
[sources.columns]
event_id = { sql = "case_id || '-' || seq" }
lead_id = "case_id"
occurred_at = "timestamp"
kind = { sql = "left(activity, 1)" }
channel = "activity"

[[sources]]
file = "events.parquet"
table = "stages"
where = "activity IN ('A_ACTIVATED', 'A_DECLINED', 'A_CANCELLED')"
keep_other_columns = false
[sources.columns]
lead_id = "case_id"
stage = "activity"
occurred_at = "timestamp"
"""
)


def main() -> None:
    """Credit both, print what a marketer would read, and end with status 1 if credit does not add up."""
    share, missed = (0.1 if "--quick" in sys.argv else 1.0), 0
    for name, write in (("criteo", criteo), ("bank", bank)):
        with tempfile.TemporaryDirectory() as folder:
            began = time.process_time()
            workspace = Path(folder)
            converted = write(SHARED, workspace, share)
            run, leads, touches = credited(workspace)
            missed += shown(name, run, converted, leads, touches, time.process_time() - began)
    sys.exit(1 if missed else 0)


def criteo(shared: Path, workspace: Path, share: float = 1.0) -> int:
    """Write the files of Criteo's journeys, one lead each; return how many converted."""
    journeys = pd.read_parquet(shared / "criteo_journeys" / "criteo10_journeys.parquet")
    journeys = journeys.iloc[:: round(1 / share)]
    lead = np.repeat([f"j{i}" for i in range(len(journeys))], journeys["t_sec"].map(len))
    at = BEGINNING + pd.to_timedelta(np.concatenate(journeys["t_sec"].to_numpy()), unit="s")
    touches = pd.DataFrame({"lead_id": lead, "occurred_at": at, "kind": "ad"})
    touches["channel"] = [f"Campaign {campaign}" for campaign in np.concatenate(journeys["campaign"].to_numpy())]
    touches["event_id"] = touches["lead_id"] + "-" + touches.groupby("lead_id").cumcount().astype("str")
    moments = touches.groupby("lead_id", sort=False)["occurred_at"].agg(["min", "max"])
    won = moments[journeys["conversion"].to_numpy() == 1]["max"].rename("occurred_at").reset_index()
    touches.to_parquet(workspace / "touches.parquet")
    moments["min"].rename("created_at").reset_index().to_parquet(workspace / "leads.parquet")
    won.assign(stage="won").to_parquet(workspace / "stages.parquet")
    (workspace / "touchstone.toml").write_text(EVERY_TOUCH)
    return len(won)


def bank(shared: Path, workspace: Path, share: float = 1.0) -> int:
    """Write the bank's events and what they are; return how many applications were activated."""
    events = pd.read_parquet(shared / "bpic2012" / "events.parquet")
    cases = events["case_id"].unique()
    some = events[events["case_id"].isin(cases[:: round(1 / share)])]
    some.to_parquet(workspace / "events.parquet")
    (workspace / "touchstone.toml").write_text(BANK)
    return int(some.loc[some["activity"] == "A_ACTIVATED", "case_id"].nunique())


def credited(workspace: Path) -> tuple[Run, int, int]:
    """Ingest all files of a workspace and credit its channels; return the run, and how many leads and touches."""
    settings: Settings = read_settings(workspace)
    lake = Lake(workspace / "lake")
    ingest(lake, settings, sorted(workspace.glob("*.parquet")), NOW)
    held = lake.query("SELECT (SELECT count(*) FROM leads) AS leads, (SELECT count(*) FROM touches) AS touches")
    counts = held.to_pylist()[0]
    return attribute(lake, settings, NOW, MODELS), counts["leads"], counts["touches"]


def shown(name: str, run: Run, converted: int, leads: int, touches: int, cpu: float) -> bool:
    """Print the run; return whether credit and what is unattributed fail to add up to all that converted."""
    table = run.answer.channels.pivot_table("credit", "channel", "model", sort=False)[MODELS]
    sums = table.sum() + run.answer.unattributed["credit"]
    print(f"\n{name}: {leads:,} leads, {touches:,} touches, {converted:,} converted, {cpu:.1f} CPU s")
    print(table.head(12).to_string(float_format="{:,.1f}".format))
    print(f"unattributed {run.answer.unattributed['credit']:,.0f}")
    print(run.summary()["decision"]["sentence"])
    failed = not np.allclose(sums, converted, rtol=1e-9)
    print("credit adds up to all that converted: " + ("MISSED" if failed else "MET"))
    return failed


if __name__ == "__main__":
    main()
