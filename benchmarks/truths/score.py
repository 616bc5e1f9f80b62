"""The score on simulated companies: regret to the truth, and how often the truth lies within its intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.rivals import rivals
from benchmarks.truths.companies import DAYS, HORIZON, NOW, Size, ingested
from features.history import microseconds
from features.lake import Lake
from features.matrix import feature_matrix
from features.reading import read_history
from features.settings import Settings
from features.templates import learned_features
from features.verbs import Moments
from simulation.company import Company
from simulation.law import WORLDS
from simulation.truth import truth
from training.learning import model_of
from training.snapshots import labelled

Floats = NDArray[np.float64]
RATIO = 0.8  # of our regret to that of the conservative model, at most
COVERED = (0.85, 0.95)  # share of true probabilities in a 90 % interval


def the_score_is_true(size: Size) -> int:
    """Print the regret of the scores, world by world, and return how many bars are missed."""
    regrets, ranks = [], []
    for name, world in WORLDS.items():
        for place, company, lake in ingested(name, world, size.companies):
            regret, rank = judged(lake, company)
            regrets.append(place | regret)
            ranks.append(place | rank)
            print(pd.DataFrame(regrets[-1:]).to_string(index=False, float_format="%.4f"), flush=True)
    return show_scores(pd.DataFrame(regrets), pd.DataFrame(ranks), size)


def judged(lake: Lake, company: Company) -> tuple[dict[str, float], dict[str, float]]:
    """Return each model's regret in nats on the leads open at the last midnight, and its expected ROC AUC.

    Beside the regrets stands the share of leads whose true probability lies in our 90 % interval.
    """
    history, cut = read_history(lake), microseconds(NOW)
    known, features = labelled(history, Settings(), cut), learned_features(history, cut)
    exact = truth(company, NOW, [HORIZON])
    p, lead = exact["probability"].to_numpy(), history.positions(list(exact["lead_id"]), cut)
    open_now = Moments(history, lead, np.full(len(lead), cut))
    now = feature_matrix(features, open_now)
    regret, rank = {}, {"truth": expected_auc(p, p)}
    for name, says in rivals(known, features):
        q = says(now)
        regret[name], rank[name] = divergence(p, q), expected_auc(p, q)
    scorer = model_of(history, Settings(), cut)[0].scorer()
    margins = scorer.margins(feature_matrix(scorer.spec.features, open_now))
    regret["ours"], rank["ours"] = (
        divergence(p, scorer.calibrated(margins)),
        expected_auc(p, scorer.calibrated(margins)),
    )
    low, high = scorer.intervals(margins)
    regret["covered"] = float(np.mean((low <= p) & (p <= high)))
    return regret, rank


def divergence(p: Floats, q: Floats) -> float:
    """Return the mean of KL(truth ‖ prediction) in nats: what is lost for not knowing the truth."""
    q = q.clip(1e-9, 1 - 1e-9)
    return float(np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))))


def expected_auc(p: Floats, q: Floats) -> float:
    """Return the ROC AUC of predictions q over all that may become of leads that close with probability p."""
    outcome = np.repeat([1, 0], len(p))
    return float(roc_auc_score(outcome, np.tile(q, 2), sample_weight=np.concatenate([p, 1 - p])))


def show_scores(regrets: pd.DataFrame, ranks: pd.DataFrame, size: Size) -> int:
    """Print the mean over seeds, and the standard error of the mean where there are several; return the bars missed."""
    by = ["world", "leads"]
    print(
        f"\nScore: regret to the truth in nats on the leads open at the last midnight; {DAYS} days, horizon {HORIZON}."
    )
    print(f"Seeds: {size.companies}.\n")
    groups = regrets.groupby(by, sort=False)
    print(pd.concat([groups.mean(), groups.sem().add_suffix(" ±")], axis=1).to_string(float_format="%.4f"))
    print("\nExpected ROC AUC (over all that may become of these leads)\n")
    print(ranks.groupby(by, sort=False).mean().to_string(float_format="%.3f"))
    missed = 0
    for place, row in groups.mean().iterrows():
        ratio, covered = row["ours"] / row["conservative"], row["covered"]
        failed = ratio > RATIO or not COVERED[0] <= covered <= COVERED[1]
        missed += failed
        print(
            f"{place}: regret {ratio:.2f} times the conservative model's, {covered:.1%} covered "
            f"{'MISSED' if failed else 'MET'}"
        )
    return missed
