"""Judged against truth: the simulation's own claims first, then the score and the attribution on its companies.

    python benchmarks/truth.py [--quick] [truth channels score attribution experiments]   (default: all)

All questions have bars, and a missed one ends with status 1. ``--quick`` asks of small companies. Each question is a
function in ``benchmarks/truths/``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # not this folder, whose simulation.py is no package

from benchmarks.truths.attribution import the_credit_is_true  # noqa: E402
from benchmarks.truths.companies import FULL, QUICK  # noqa: E402
from benchmarks.truths.experiments import experiments_help  # noqa: E402
from benchmarks.truths.law import the_channels_are_true, the_truth_is_true  # noqa: E402
from benchmarks.truths.score import the_score_is_true  # noqa: E402

QUESTIONS = {
    "truth": the_truth_is_true,
    "channels": the_channels_are_true,
    "score": the_score_is_true,
    "attribution": the_credit_is_true,
    "experiments": experiments_help,
}


def main() -> None:
    """Answer the questions, and end with status 1 when a bar is missed."""
    asked = {word for word in sys.argv[1:] if word != "--quick"} or set(QUESTIONS)
    size = QUICK if "--quick" in sys.argv else FULL
    missed = sum(answer(size) for name, answer in QUESTIONS.items() if name in asked)
    print(f"\n{time.process_time():.0f} CPU s, {missed} bars missed")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
