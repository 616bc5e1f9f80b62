"""Volume: whether as much arrives as usual, by source, and how sure that is.

A source is a table, one kind or channel of touches, or one stage. Days are whole days in UTC, counted back from the day
of ``as_of``: 1 is yesterday. The last 7 days are compared with up to 8 weeks before, so each side has every weekday
equally often and the rhythm of the week cancels.

A week's rows are taken as Poisson with a dispersion: its variance is ``dispersion`` times its mean. The dispersion of a
source is estimated from its own earlier weeks and drawn towards that of all sources, as few weeks tell little. A move
counts when chance alone would show one as large, in any source, in fewer than 1 of 100 checks (Bonferroni). Times that
arrive late look like a fall until they have come; a slow trend counts as rhythm until it is fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import TypeVar

from scipy import stats

WEEKS = 8  # compared with, at most
FEWEST_WEEKS = 4  # below this, nothing is said
ALARM = 0.01  # share of checks that cry wolf
PRIOR_WEEKS = 4  # how many weeks the dispersion of all sources weighs
MANY = 10  # rows of a usual day; a day without any is then no chance
Days = Mapping[int, int]  # days ago → rows
Key = TypeVar("Key")


@dataclass(frozen=True)
class Move:
    """A source's last 7 days beside a usual week; ``chance`` is the share of quiet checks that show as much."""

    last_7_days: int
    weekly_before: float
    weeks: int
    chance: float

    @property
    def times(self) -> float:
        """How many times a usual week the last 7 days are."""
        return self.last_7_days / max(self.weekly_before, 1 / self.weeks)

    @property
    def is_alarm(self) -> bool:
        """Whether chance alone is no explanation."""
        return self.chance < ALARM


def weeks_of(days: Days, first: int) -> list[int]:
    """Return the rows of the last 7 days, and of each whole week before, since the day ``first`` (days ago)."""
    whole = min(first // 7, 1 + WEEKS)
    return [sum(days.get(7 * week + day, 0) for day in range(1, 8)) for week in range(whole)]


def moves(sources: Mapping[Key, Days], first: Mapping[Key, int]) -> dict[Key, Move]:
    """Return the move of every source that has rows in the weeks compared, and weeks enough to compare with.

    ``first`` is how many days ago the history of a source's table begins.
    """
    weeks = {name: _since_silent(weeks_of(days, first[name])) for name, days in sources.items()}
    weeks = {name: rows for name, rows in weeks.items() if any(rows) and len(rows) > FEWEST_WEEKS}
    own = {name: _dispersion(earlier) for name, (_, *earlier) in weeks.items() if mean(earlier) >= 1}
    usual = median(own.values()) if own else 1.0
    found = {}
    for name, (recent, *earlier) in weeks.items():
        before = len(earlier)
        freedom = PRIOR_WEEKS + before - 1
        dispersion = max(1.0, (PRIOR_WEEKS * usual + (before - 1) * own.get(name, usual)) / freedom)
        level = (recent + sum(earlier)) / (1 + before)
        spread = dispersion * (1 + 1 / before)  # of the last week around the mean of those before
        by_weeks = 2 * float(stats.t.sf(abs(recent - mean(earlier)) / (spread * level) ** 0.5, freedom))
        by_counts = float(stats.binomtest(recent, recent + sum(earlier), 1 / (1 + before)).pvalue)
        chance = min(1.0, len(weeks) * max(by_weeks, by_counts, _in_bursts(recent, level, spread)))
        found[name] = Move(recent, mean(earlier), before, chance)
    return found


def gaps(days: Days, first: int) -> list[tuple[int, int, float]]:
    """Return (from, to, usual rows a day) for runs of days without a row whose weekday usually has many.

    From and to are days ago, the earlier day first. A weekday's usual is the median of the others of its kind.
    """
    empty = {day: usual for day in range(1, min(first, 7 * (1 + WEEKS)) + 1) if (usual := _missed(days, day, first))}
    runs: list[list[int]] = []
    for day in sorted(empty, reverse=True):
        if runs and runs[-1][-1] == day + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return [(run[0], run[-1], mean(empty[day] for day in run)) for run in runs]


def _since_silent(weeks: list[int]) -> list[int]:
    """Return the weeks as if a source that came every week, and then for weeks no more, had just fallen silent.

    Its silence would soon look like its rhythm. Of a source that paused before, it may be that. The week in which the
    silence began is left out.
    """
    silent = next((week for week, rows in enumerate(weeks) if rows), 0)
    return [0, *weeks[silent + 1 :]] if silent > 1 and all(weeks[silent:]) else weeks


def _missed(days: Days, day: int, first: int) -> float:
    """Return how many rows a day without any should have had; 0 when none is no surprise."""
    same_weekday = range((day - 1) % 7 + 1, min(first, 7 * (1 + WEEKS)) + 1, 7)
    others = [days.get(other, 0) for other in same_weekday if other != day]
    surprising = not days.get(day, 0) and len(others) >= FEWEST_WEEKS and others.count(0) <= 1
    return median(others) if surprising and median(others) >= MANY else 0.0


def _in_bursts(rows: int, level: float, spread: float) -> float:
    """Return how often so few or so many rows come in a week of a mean ``level``, as a negative binomial has it.

    Rows in bursts are skewed: many weeks with hardly any, and a few with very many.
    """
    if spread <= 1 + 1 / FEWEST_WEEKS:
        return 0.0  # none: the counts themselves are judged
    share = 1 / spread
    size = level * share / (1 - share)
    tails = stats.nbinom.cdf(rows, size, share), stats.nbinom.sf(rows - 1, size, share)
    return 2 * float(min(tails))


def _dispersion(earlier: Sequence[int]) -> float:
    middle = mean(earlier)
    return sum((week - middle) ** 2 for week in earlier) / (len(earlier) - 1) / middle
