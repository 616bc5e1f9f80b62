"""Write-back: the scores that changed go to where sales works, each once, and each refusal is kept.

Written is a person of the system who is in the lake, was scored, and neither objects to profiling nor opted out; who
was erased is not in the lake. A score is written when the probability moved by the band, or the grade changed, since it
was written last. ``written.jsonl`` is the journal of what the system has taken (of a lead, the last line counts), and
``refused.jsonl`` says what it did not take, and why; that is tried again each time, since the journal does not have it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from connectors.landing import Dock
from connectors.session import BAD, Refused
from connectors.system import Score, System
from features.contract import schema
from features.durable import write_durably
from features.forgotten import forgotten
from features.history import history_of, microseconds
from features.identities import merges
from features.objections import OPT_OUT, objecting
from features.reading import READ

WRITTEN, REFUSED = "written.jsonl", "refused.jsonl"
CHUNK = 10_000  # scores held at once
# The strongest reasons, whether they raise the score or lower it: of a lead that is cold, too, it says why.
TOLD = """array_to_string(list_transform(list_reverse_sort(list_transform(
        from_json(reasons, '[{"effect": "DOUBLE", "text": "VARCHAR"}]'),
        lambda one: {'size': abs(one.effect), 'text': one.text}))[1:3], lambda one: one.text), '; ')"""
LATEST = f"""
    SELECT s.lead_id AS scored, probability, grade, coalesce(trend, '') AS trend, model_version, as_of,
           {TOLD} AS reasons
    FROM scores AS s SEMI JOIN wanted ON s.lead_id = wanted.scored WHERE goal IS NULL
    QUALIFY row_number() OVER (PARTITION BY s.lead_id ORDER BY as_of DESC) = 1 AND NOT coalesce(withheld, false)
"""
DIFFERENCE = """
    SELECT w.lead_id, l.*, known.probability AS probability_before, known.grade AS grade_before
    FROM latest AS l JOIN wanted AS w USING (scored) LEFT JOIN known ON known.lead_id = w.lead_id
    WHERE known.grade IS NULL OR known.grade <> l.grade
       OR abs(known.probability - l.probability) >= $band - 1e-9 AND known.probability <> l.probability
"""


@dataclass(frozen=True)
class Change:
    """A score that is to be written, and what was written before."""

    score: Score
    probability_before: float | None
    grade_before: str | None


@dataclass
class Synced:
    """What became of the scores of a system; ``changes`` only of a dry run."""

    system: str
    written: int = 0
    unchanged: int = 0
    withheld: int = 0  # people who objected or opted out
    refused: int = 0
    reasons: list[str] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)


def sync(system: System, dock: Dock, band: float, say: Callable[[str], None], *, dry: bool = False) -> Synced:
    """Write the scores that changed; of a dry run, say what would change.

    Raises:
        Partly: when the day's quota is used up; what was written until then is in the journal.

    """
    synced, journal = Synced(system.name), Journal(dock.folder)
    with dock.lake.connection(("scores",)) as connection:
        wanted, synced.withheld = _wanted(dock, system)
        connection.register("wanted", wanted)
        connection.register("known", journal.compacted({*wanted["lead_id"].to_pylist()}))
        connection.execute(f"CREATE TEMP TABLE latest AS {LATEST}")
        connection.execute(f"CREATE TEMP TABLE difference AS {DIFFERENCE}", {"band": band})
        ((scored,),) = connection.sql("SELECT count(*) FROM latest JOIN wanted USING (scored)").fetchall()
        ((changed,),) = connection.sql("SELECT count(*) FROM difference").fetchall()
        if dry:
            synced.changes = [_shown(change) for change in _changes(connection, system)]
            synced.unchanged = scored - len(synced.changes)
            return synced
        refused: dict[str, str] = {}
        for batch in _batches(_changes(connection, system), system.batch(changed)):
            if not synced.written and not refused:
                system.prepare()
            erased = forgotten(dock.lake)  # somebody may have been since the beginning
            scores = [change.score for change in batch if not erased.knows(change.score.lead_id)]
            why = _written(system, scores)
            journal.add([score for score, no in zip(scores, why, strict=True) if not no])
            refused |= {score.lead_id: no for score, no in zip(scores, why, strict=True) if no}
            synced.written += why.count("")
            dock.progress.calls = system.session.quota.calls
            dock.progress.save()
            say(f"{system.name}: {synced.written:,} scores written")
        journal.refuse(refused)
    synced.unchanged = scored - synced.written - len(refused)
    synced.refused, synced.reasons = len(refused), sorted(set(refused.values()))[:3]
    return synced


@dataclass(frozen=True)
class Journal:
    """What a system has taken, and what it refused."""

    folder: Path

    def compacted(self, leads: set[str]) -> pa.Table:
        """Return the last line of each of some leads; of others, and of earlier lines, nothing is kept."""
        file = self.folder / WRITTEN
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        last = {line["lead_id"]: line for line in map(_read, lines) if line and line["lead_id"] in leads}
        if len(last) < len(lines):
            write_durably(file, "".join(f"{json.dumps(line)}\n" for line in last.values()))
        columns = [("lead_id", pa.string()), ("probability", pa.float64()), ("grade", pa.string())]
        return pa.Table.from_pylist(list(last.values()), pa.schema(columns))

    def add(self, scores: Sequence[Score]) -> None:
        """Add scores that were taken."""
        with (self.folder / WRITTEN).open("a", encoding="utf-8") as file:
            for score in scores:
                told = {"lead_id": score.lead_id, "probability": score.probability, "grade": score.grade,
                        "model_version": score.model_version, "scored_at": score.scored_at.isoformat()}  # fmt: skip
                file.write(json.dumps(told) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def refuse(self, why: dict[str, str]) -> None:
        """Write down what was refused this time, in place of what was refused before."""
        lines = (json.dumps({"lead_id": lead, "why": sentence}, ensure_ascii=False) for lead, sentence in why.items())
        write_durably(self.folder / REFUSED, "".join(f"{line}\n" for line in lines))


def _read(line: str) -> dict[str, Any] | None:
    """Return a line of the journal; None for one that a killed run wrote half."""
    try:
        return dict(json.loads(line))
    except ValueError:
        return None


def _wanted(dock: Dock, system: System) -> tuple[pa.Table, int]:
    """Return the people of a system who may be scored, and how many may not.

    The table has ``lead_id`` and ``scored``: the lead that this one is known to be, which has its score.
    """
    none = {name: schema(name).empty_table() for name in ("touches", "stages")}
    versions, merged = dock.lake.read("leads", READ["leads"]), merges(dock.lake)
    history, now = history_of(versions, none["touches"], none["stages"], merged), microseconds(dock.as_of) + 1
    theirs = np.array([lead.startswith(system.prefix) for lead in history.lead_ids], bool)
    may = theirs & ~objecting(history, now) & ~objecting(history, now, OPT_OUT)
    heirs = history.turned_out(np.flatnonzero(may), now)
    ids = pa.array(history.lead_ids, pa.string())
    wanted = pa.table({"lead_id": ids.filter(pa.array(may)), "scored": ids.take(pa.array(heirs))})
    pairs = zip(wanted["lead_id"].to_pylist(), wanted["scored"].to_pylist(), strict=True)
    wanted = wanted.filter(pa.array([system.takes(*pair) for pair in pairs], pa.bool_()))
    once = wanted.group_by("lead_id").aggregate([("scored", "max")]).rename_columns(["lead_id", "scored"])
    return once, int((theirs & ~may).sum())


def _changes(connection: duckdb.DuckDBPyConnection, system: System) -> Iterator[Change]:
    for chunk in connection.sql("FROM difference ORDER BY lead_id").to_arrow_reader(CHUNK):
        for row in chunk.to_pylist():
            score = Score(
                row["lead_id"], system.record(row["lead_id"]), row["probability"], row["grade"], row["trend"],
                row["reasons"] or "", row["model_version"], row["as_of"],
            )  # fmt: skip
            yield Change(score, row["probability_before"], row["grade_before"])


def _batches(changes: Iterator[Change], size: int) -> Iterator[list[Change]]:
    return iter(lambda: list(islice(changes, size)), [])


def _written(system: System, scores: Sequence[Score]) -> list[str]:
    """Write scores; a call that is refused for what it says is halved, until the record in question is alone."""
    try:
        return system.write(scores) if scores else []
    except Refused as error:
        if error.status != BAD:
            raise
        if len(scores) == 1:
            return [str(error)]
        half = len(scores) // 2
        return [*_written(system, scores[:half]), *_written(system, scores[half:])]


def _shown(change: Change) -> dict[str, Any]:
    before = {"probability_before": change.probability_before, "grade_before": change.grade_before}
    return {**asdict(change.score), "scored_at": change.score.scored_at.isoformat(), **before}
