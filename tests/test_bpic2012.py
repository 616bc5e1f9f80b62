"""A bank's 13,087 loan applications, from file to score by configuration alone, under the fixed protocol.

Protocol: one snapshot of each open case k days after its first event; ordered by creation, the last 20 % are
the test; training knows only outcomes known when the first test snapshot is taken. Its counts are the
reference: 5,901 / 4,997 / 3,078 snapshots at day 1 / 7 / 14, of which the test has 1,181 / 1,000 / 616.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pandas as pd
import pytest

pytestmark = pytest.mark.shared_data

CONFIGURATION = """
[goal]
won = ["A_ACTIVATED"]
lost = ["A_DECLINED", "A_CANCELLED"]

[snapshots]
ages_days = [7]
mature_when = "closed"

[[sources]]
file = "events.parquet"
table = "leads"
where = "seq = 0"
keep_other_columns = false
[sources.columns]
lead_id = "case_id"
created_at = "timestamp"
amount_req = "amount_req"

[[sources]]
file = "events.parquet"
table = "touches"
keep_other_columns = false
[sources.columns]
event_id = { sql = "case_id || '-' || seq" }
lead_id = "case_id"
occurred_at = "timestamp"
kind = { sql = "activity || ' ' || lower(lifecycle)" }
channel = { sql = "left(activity, 1)" }
resource = "resource"

[[sources]]
file = "events.parquet"
table = "stages"
where = "activity IN ('A_ACTIVATED', 'A_DECLINED', 'A_CANCELLED')"
[sources.columns]
lead_id = "case_id"
stage = "activity"
occurred_at = "timestamp"
"""
Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def workspace(bpic2012: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace that holds the bank's history."""
    from touchstone import ingest

    folder = tmp_path_factory.mktemp("bank")
    (folder / "touchstone.toml").write_text(CONFIGURATION)
    ingest([bpic2012 / "events.parquet"], workspace=folder, quiet=True)
    return folder


@pytest.fixture(scope="module")
def first_test_moment(bpic2012: Path) -> Callable[[int], str]:
    """Return, for an age in days, the moment of the first test snapshot, worked out from the file with pandas."""
    events = pd.read_parquet(bpic2012 / "events.parquet")
    created = events.groupby("case_id")["timestamp"].min().rename("created")
    ends = events[events["activity"].isin(["A_ACTIVATED", "A_DECLINED", "A_CANCELLED"])]
    cases = pd.concat([created, ends.groupby("case_id")["timestamp"].min().rename("closed")], axis=1).dropna()

    def moment(days: int) -> str:
        taken = cases["created"] + pd.Timedelta(days=days)
        taken = taken[cases["closed"] > taken].sort_values()
        return taken.iloc[int(0.8 * len(taken))].isoformat()

    return moment


@pytest.mark.parametrize(
    ("days", "test", "learned", "roc_auc", "log_loss"),
    [(1, 1181, 3917, 0.703, 0.610), (7, 1000, 3431, 0.727, 0.590), (14, 616, 2111, 0.828, 0.481)],
)
def test_the_backtest_beats_the_bar(
    workspace: Path,
    first_test_moment: Callable[[int], str],
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    days: int,
    test: int,
    learned: int,
    roc_auc: float,
    log_loss: float,
) -> None:
    monkeypatch.setenv("TOUCHSTONE_SNAPSHOTS__AGES_DAYS", f"[{days}]")
    asked = ("--test-from", first_test_moment(days), "--plots", str(tmp_path / "plots"))
    status, printed = command("backtest", *asked, "--json", workspace=workspace)
    judged = json.loads(printed)
    assert sorted(file.name for file in (tmp_path / "plots").iterdir()) == ["folds.png", "lift.png", "reliability.png"]
    assert (status, judged["overall"]["n"], judged["folds"][0]["trained_on"]) == (0, test, learned)
    assert judged["overall"]["roc_auc"] >= roc_auc
    assert judged["overall"]["log_loss"] <= log_loss


def test_the_bank_goes_through_train_score_and_serve(workspace: Path, command: Command, tmp_path: Path) -> None:
    from features.settings import read_settings
    from serving.running import running

    assert command("train", "--as-of", "2012-02-20", workspace=workspace)[0] == 0
    scored = tmp_path / "scores.csv"
    assert command("score", "--as-of", "2012-02-20", "--output", str(scored), workspace=workspace)[0] == 0
    scores = pd.read_csv(scored, dtype={"lead_id": str})
    asked = {"lead_ids": scores["lead_id"].tolist()[:1000], "as_of": "2012-02-20T00:00:00Z"}
    with running(workspace, read_settings(workspace), 0) as url:
        reply = httpx.post(f"{url}/score", json=asked, timeout=60, trust_env=False).json()["scores"]
    assert [(row["lead_id"], row["probability"]) for row in reply] == list(
        scores[["lead_id", "probability"]].itertuples(index=False, name=None)
    )[:1000]


def test_the_bank_s_activities_are_credited(workspace: Path, command: Command) -> None:
    status, printed = command("attribute", "--as-of", "2012-03-20", "--json", workspace=workspace)
    answer = json.loads(printed)
    for channels in answer["models"].values():
        total = sum(channel["credit"] for channel in channels.values()) + answer["unattributed"]["credit"]
        assert total == pytest.approx(2246)
    assert status == 0
