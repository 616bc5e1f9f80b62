"""Rejections: which channels bring the leads that sales turns down, week by week, and what a rep's own ones changed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np

from features.history import History
from features.matrix import feature_matrix
from features.settings import Goal
from features.verbs import Moments
from serving.batch import open_leads
from serving.pages.book import Edition
from serving.scorer import Scorer

WEEKS = 12
MOVED = 0.001  # of a probability, below which it is not called changed
EXAMPLES = 5
BY_CHANNEL = f"""
    SELECT channel, CAST(date_trunc('week', judged_at) AS DATE) AS week, count(*) AS judged,
           count(*) FILTER (verdict = 'rejected') AS rejected,
           mode(verdicts.reason) FILTER (verdict = 'rejected') AS reason
    FROM verdicts JOIN book USING (lead_id)
    WHERE judged_at >= $as_of - INTERVAL {7 * WEEKS} DAY GROUP BY ALL ORDER BY channel, week
"""


def by_channel(edition: Edition) -> list[dict[str, Any]]:
    """Return the verdicts of the last weeks by the channel that brought the lead, the most rejections first.

    Each has judged, rejected, the usual reason, and ``weeks``: the rejections of each week that had a verdict.
    """
    of = defaultdict[str, list[dict[str, Any]]](list)
    for row in edition.rows(BY_CHANNEL, {"as_of": edition.as_of}):
        of[row["channel"]].append(row)
    found = [
        {
            "channel": channel,
            "judged": sum(row["judged"] for row in rows),
            "rejected": sum(row["rejected"] for row in rows),
            "reason": max(rows, key=lambda row: (row["rejected"], row["week"]))["reason"],
            "weeks": [{"week": row["week"], "rejected": row["rejected"]} for row in rows],
        }
        for channel, rows in of.items()
    ]
    return sorted(found, key=lambda row: (-row["rejected"], row["channel"]))


def notes(scorer: Scorer, history: History, goal: Goal, as_of: int) -> list[dict[str, Any]]:
    """Return for each rep what his or her rejections changed in the scores of open leads, most rejections first.

    Open leads are scored as of a moment with all that is known, and again without what this rep rejected. The model is
    the same both times: what it has learned from the rep's rejections is in either. ``changed`` leads moved by a tenth
    of a percent or more, ``examples`` are those that moved most.
    """
    said, names = history.feedback, history.feedback.names
    if not len(said.known):
        return []
    rejected = (said.codes["verdict"] == np.array(_place(names["verdict"], "rejected"))) & (said.known < as_of)
    leads, features = said.leads(), scorer.spec.features
    moments, found = open_leads(history, goal, as_of), []
    for code, rep in enumerate(names["by"]):
        own = rejected & (said.codes["by"] == code)
        some = np.isin(moments.lead, leads[own])
        asked = Moments(history, moments.lead[some], moments.as_of[some])
        without = Moments(replace(history, feedback=said.chosen(~own)), asked.lead, asked.as_of)
        now, then = (scorer.probabilities(feature_matrix(features, one)) for one in (asked, without))
        moved = np.abs(now - then)
        order = [i for i in np.argsort(-moved, kind="stable")[:EXAMPLES].tolist() if moved[i] >= MOVED]
        found.append({
            "by": rep,
            "rejections": int(own.sum()),
            "open": len(asked),
            "changed": int((moved >= MOVED).sum()),
            "examples": [
                {"lead_id": history.lead_ids[asked.lead[i]], "without": float(then[i]), "with": float(now[i])}
                for i in order
            ],
        })  # fmt: skip
    return sorted((one for one in found if one["rejections"]), key=lambda one: (-int(one["rejections"]), one["by"]))


def _place(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else -2
