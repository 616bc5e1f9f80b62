"""How often monitoring cries wolf, and how soon it sees what is wrong, on simulated companies.

Quiet companies are checked for drift on 1,000 days (the leads of neighbouring days are largely the same, so that the
alarms come in runs); at most the stated share of the days may have one. Then three things go wrong on a day: a CRM
field is renamed, a source breaks, and sales calls nobody any more. Each has to be found, and named, within the days
stated. Last, the promises of a model are held against companies that go on as they were, and companies whose leads
close twice as readily (one and a half times as often) from the day on which the model had learned. Four of five of
these have to be found by the day on which all promises judged are younger than the change.

Run: .venv/bin/python benchmarks/monitoring.py [QUIET COMPANIES]
"""

from __future__ import annotations

# ruff: noqa: E402, I001

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # not this folder, whose features.py is no package

import numpy as np
import pandas as pd

from features.catalogue import catalogue_of
from features.history import DAY, History, microseconds
from features.ingestion import ingest
from features.lake import Lake
from features.matrix import feature_matrix
from features.outcomes import outcomes_of
from features.reading import read_history
from features.settings import Settings
from features.verbs import Moments, columns_of
from serving.scorer import Scorer, save
from simulation.company import Company, Tables, tables
from simulation.law import World
from training.drift import Shift, drifted
from training.learning import model_of
from training.prospects import prospects
from training.promises import EARLY_MATTERS, Floats, Kept, broken, doubts, early, early_days, kept
from training.snapshots import snapshots

NOW = datetime(2026, 3, 2, tzinfo=UTC)
LEADS, DAYS, CHECKED = 6_000, 720, 100  # of each company; the checked days are the last
COMPANIES, CHANGED = 10, 5
POWER = 0.8  # the share of changed companies that have to be found in time
BROKE = NOW - timedelta(days=60)  # when something goes wrong
SETTINGS = Settings()
STEADY = World()
WITHIN = SETTINGS.monitor.recent_days  # after which all leads of late are of the new kind
PROMISES_WITHIN = SETTINGS.goal.horizon_days + SETTINGS.monitor.matured_days  # after which all promises judged are


def main() -> None:
    """Print how many quiet days have an alarm, and after how many days each trouble is found; fail below a bar."""
    companies = int(sys.argv[1]) if len(sys.argv) > 1 else COMPANIES
    stated = SETTINGS.monitor.false_alarms
    alarms = [bool(found) for seed in range(companies) for _, found in drifts(history_of_company(seed))]
    share = float(np.mean(alarms))
    met = [share <= stated]
    counted = f"{sum(alarms)} of {len(alarms)} ({share:.2%}; bar {stated:.0%})"
    print(f"quiet days with an alarm of drift    {counted}  {said(met[-1])}", flush=True)
    for name, within, named, trouble in TROUBLES:
        day, shift = first_found(history_of_company(100, trouble), named)
        met.append(day is not None and day <= within)
        told = f"after {day} days, {shift.feature}: {shift.now}, {shift.before} before" if shift else "never"
        print(f"{name:<36} {told} (bar {within:g} days)  {said(met[-1])}", flush=True)
    quiet = [bool(found) for seed in range(companies) for _, found in broken_promises(history_of_company(seed))]
    share = float(np.mean(quiet))
    met.append(share <= stated)
    counted = f"{sum(quiet)} of {len(quiet)} ({share:.2%}; bar {stated:.0%})"
    print(f"quiet days with a broken promise     {counted}  {said(met[-1])}", flush=True)
    found_after = [first_broken(history_of_company(seed, world=World(drift=2.0))) for seed in range(100, 100 + CHANGED)]
    soon = sum(day is not None and day <= PROMISES_WITHIN for day in found_after)
    met.append(soon >= POWER * CHANGED)
    told = ", ".join("never" if day is None else str(day) for day in found_after)
    print(
        f"leads close twice as readily         after {told} days "
        f"(bar {POWER:.0%} within {PROMISES_WITHIN:g} days)  {said(met[-1])}"
    )
    sys.exit(0 if all(met) else 1)


def first_broken(history: History) -> int | None:
    """Return after how many days a promise is found broken."""
    return next((day for day, found in broken_promises(history) if found), None)


def first_found(history: History, named: str) -> tuple[int | None, Shift | None]:
    """Return after how many days a feature of that name is found to have moved, and how."""
    start = microseconds(BROKE)
    late = ((at, moved) for at, moved in drifts(history) if at > start)
    return next(
        (((at - start) // DAY, one) for at, moved in late for one in moved if named in one.feature), (None, None)
    )


def broken_promises(history: History) -> list[tuple[int, list[Kept]]]:
    """Return the broken promises a week each, by days since the model learned, in the middle of the company's days."""
    cut, horizon = microseconds(NOW - timedelta(days=DAYS // 2)), int(SETTINGS.goal.horizon_days * DAY)
    scorer = learned(history, cut)
    days = early_days(scorer)
    moments = snapshots(history, SETTINGS.goal, SETTINGS.snapshots, microseconds(NOW))
    served = Moments(history, moments.lead[moments.as_of > cut], moments.as_of[moments.as_of > cut])
    won = outcomes_of(history, SETTINGS.goal).won[history.turned_out(served.lead, microseconds(NOW))]
    matrix = feature_matrix(scorer.spec.features, served)
    promised = scorer.probabilities(matrix)
    rows = pd.DataFrame({"lead": served.lead, "as_of": served.as_of, "won": won, "probability": promised})
    rows["soon"] = early(scorer, promised, matrix, days) if days else 0.0
    order, share, found = np.argsort(rows["as_of"], kind="stable"), SETTINGS.monitor.false_alarms / 2, []
    rows, matrix = rows.iloc[order].reset_index(drop=True), matrix[order]
    unsure, unsure_early = doubts(scorer, matrix), doubts(scorer, matrix, early=True)
    for today in range(cut + 7 * DAY, microseconds(NOW), 7 * DAY):
        groups = broken(judged(rows, "probability", today, horizon, unsure), share)
        if days:
            groups += broken(judged(rows, "soon", today, int(days * DAY), unsure_early), share, EARLY_MATTERS)
        found.append(((today - cut) // DAY, groups))
    return found


def judged(rows: pd.DataFrame, promise: str, today: int, within: int, unsure: Floats) -> list[Kept]:
    """Return how promises were kept that were due within so long, of the scores of the days that monitoring judges."""
    window = rows[rows["as_of"].between(today - within - int(SETTINGS.monitor.matured_days * DAY), today - within)]
    first = window.drop_duplicates("lead")
    said = pd.DataFrame({"probability": first[promise], "label": (first["won"] <= first["as_of"] + within).astype(int)})
    return kept(said, pd.DataFrame(index=range(0)), unsure[:, first.index])


def said(met: bool) -> str:
    """Say whether a bar is met."""
    return "MET" if met else "MISSED"


def history_of_company(seed: int, trouble: Callable[[Tables], Tables] | None = None, world: World = STEADY) -> History:
    """Return the history of a company, through the door of the lake."""
    found = tables(Company(NOW, leads=LEADS, days=DAYS, seed=seed, world=world))
    with tempfile.TemporaryDirectory() as folder:
        for name, table in (trouble(found) if trouble else found).items():
            table.to_parquet(Path(folder) / f"{name}.parquet", index=False)
        lake = Lake(Path(folder) / "lake")
        ingest(lake, SETTINGS, sorted(Path(folder).glob("*.parquet")), NOW)
        return read_history(lake, more=columns_of(catalogue_of(SETTINGS.features)))


def drifts(history: History) -> Iterator[tuple[int, list[Shift]]]:
    """Yield what has drifted on each of the checked days, for the model of the first of them."""
    first = microseconds(NOW - timedelta(days=CHECKED))
    scorer = learned(history, first)
    for at in range(first, first + CHECKED * DAY, DAY):
        yield at, drifted(scorer, history, SETTINGS, at)[0]


def learned(history: History, before: int) -> Scorer:
    """Return the model that is learned from what was known before a moment."""
    model, _ = model_of(history, SETTINGS, before)
    further = prospects(history, SETTINGS, before, model.spec.features)
    with tempfile.TemporaryDirectory() as folder:
        return save(Path(folder), replace(model.spec, learned_until=before, prospects=further), model.trees)


def renamed(company: Tables) -> Tables:
    """Return a company whose CRM calls the industry its sector from a day on."""
    leads = company["leads"]
    late = leads["created_at"] >= BROKE
    return {
        **company,
        "leads": leads.assign(sector=leads["industry"].where(late), industry=leads["industry"].where(~late)),
    }


def silenced(company: Tables) -> Tables:
    """Return a company whose e-mail tool sends nothing from a day on."""
    touches = company["touches"]
    return {**company, "touches": touches[(touches["channel"] != "Email") | (touches["occurred_at"] < BROKE)]}


def uncalled(company: Tables) -> Tables:
    """Return a company that calls nobody from a day on."""
    touches = company["touches"]
    return {**company, "touches": touches[(touches["kind"] != "sales_call") | (touches["occurred_at"] < BROKE)]}


TROUBLES: tuple[tuple[str, int, str, Callable[[Tables], Tables]], ...] = (
    ("a field is renamed", WITHIN, "industry", renamed),
    ("the e-mail tool is silent", WITHIN, "email", silenced),
    ("sales calls nobody any more", WITHIN, "sales_call", uncalled),
)

if __name__ == "__main__":
    main()
