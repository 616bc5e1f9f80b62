"""CPU of a request, beside the no-op's, and how long one waits."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

from benchmarks.service.bars import bar
from benchmarks.service.load import NOW, by_id, each, open_leads, with_history
from benchmarks.service.servers import noop, touchstone

ROUNDS = 25  # short ones, the one after the other, so that what slows the machine slows all


def cost(workspace: Path) -> None:
    """CPU of a request, beside the no-op's."""
    with touchstone(workspace) as ours, noop() as theirs:
        lead_ids = open_leads(ours, 300)
        ids, sent = [by_id([one]) for one in lead_ids], [with_history(300, n) for n in range(20)]
        hundred = [by_id(lead_ids[at : at + 100]) for at in (0, 100, 200)]
        now = [json.dumps({"lead_ids": [one], "as_of": NOW.isoformat()}).encode() for one in lead_ids]
        asked = {
            "no-op": (theirs, "/noop", ids, 500),
            "by id": (ours, "/score", ids, 500),
            "by id, computed": (ours, "/score", now, 60),
            "no-op that parses": (theirs, "/parse", sent, 100),
            "300 touches sent": (ours, "/score", sent, 100),
            "100 by id": (ours, "/score", hundred, 90),
        }
        rounds = [{name: each(*one)[0] for name, one in asked.items()} for _ in range(ROUNDS)]
        told = {name: median(one[name] for one in rounds) for name in rounds[0]}

        def share(ours: str, theirs: str) -> float:
            return median(one[theirs] / one[ours] for one in rounds)

        for name, seconds in told.items():
            print(f"  {name}: {seconds * 1e6:,.0f} µs of CPU a request")
        bar("by id, requests per CPU second as a share of the no-op's", share("by id", "no-op"), least=0.8)
        bar(
            "300 touches sent, as a share of the no-op that parses",
            share("300 touches sent", "no-op that parses"),
            least=0.6,
        )
        bar("100 leads by id, µs of CPU a lead", told["100 by id"] * 1e4, most=40)
        for name, server, path in (("no-op", theirs, "/noop"), ("by id", ours, "/score")):
            took = sorted(each(server, path, ids, 3000)[1])
            print(f"  p99 at one connection, {name}: {took[round(0.99 * len(took))] * 1e3:.2f} ms")
        bar("p99 by id at one connection, ms", took[round(0.99 * len(took))] * 1e3, most=5)
