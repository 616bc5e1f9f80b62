"""SIGKILL at random moments of ingest, compaction and erasure: nothing is lost, nothing doubled, and all is completed.

Each act runs in a process of its own, over and over on a copy of the same lake, and is killed at a moment drawn evenly
from a little more than the time it takes. After each kill the lake is opened and compared row by row; then the next
command runs, and the lake must be what it is when nobody is killed. Of an erased person nothing may be found in any
file, and every channel must have what it had. The moments follow from a seed, which is printed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # not this folder, whose features.py is no package

from attribution import runs  # noqa: E402
from features import upkeep  # noqa: E402
from features.erasure import NOTE, erase  # noqa: E402
from features.errors import NothingToDo  # noqa: E402
from features.ingestion import ingest  # noqa: E402
from features.lake import Lake  # noqa: E402
from features.settings import Settings  # noqa: E402

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LEADS, STAGES, TOUCHES = 400, 4, 20
RUNS = 6  # that a compaction merges
WHO, MAIL = "lead-0007", "lead-0007@x.org"
TABLES = ("leads", "touches", "stages", "quarantine", "credits")
CONTEXT = multiprocessing.get_context("forkserver")
SETTINGS = Settings.model_validate({"attribution": {"models": ["first", "last", "linear"]}})
TOTALS = """
    SELECT 'touches' AS of, channel, count(*) AS n, NULL AS credit FROM touches GROUP BY ALL
    UNION ALL SELECT model, channel, count(*), round(sum(credit), 9) FROM credits GROUP BY ALL ORDER BY ALL
"""
Contents = dict[str, pa.Table]


def main() -> int:
    """Print what the kills hit, and whether all is well; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="of each act")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    print(f"seed {asked.seed}")
    CONTEXT.set_forkserver_preload(["features.ingestion", "features.erasure", "pandas"])
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        for act in acts(Path(folder)):
            hit, wrong = killed(act, asked.kills, random.Random(f"{asked.seed} {act.name}"), Path(folder))  # noqa: S311
            failures += wrong
            phases = "; ".join(f"{count} {phase}" for phase, count in hit.items())
            print(f"{act.name}: {asked.kills} kills, {len(wrong)} failures. Hit: {phases}", flush=True)
    print("\n".join(failures) or "Every lake opened, no row was lost or doubled, and the next command completed it.")
    return 1 if failures else 0


@dataclass(frozen=True)
class Act:
    """What is killed: the lake it begins with, what it does there, and what a lake must then be."""

    name: str
    begun: Path
    do: Callable[[Lake, Callable[[str], None]], None]
    unlike: Callable[[Lake], str]  # what is wrong with the lake of a killed process, if anything
    unfinished: Callable[[Lake], str]  # what is wrong when the next command has run


def acts(folder: Path) -> Iterator[Act]:
    """Yield the three acts, each with its lake made below a folder."""
    files = written(folder / "files")
    half = folder / "half" / "lake"
    ingest(Lake(half), SETTINGS, files[:1], NOW)
    whole = Lake(shutil.copytree(half, folder / "whole" / "lake"))
    before = contents(Lake(half))
    take_in(whole, files)
    done = contents(whole)
    between = [{name: (done if name in there else before)[name] for name in TABLES} for there in commits()]
    yield Act(
        "ingest",
        half,
        lambda lake, step: take_in(lake, files, step),
        lambda lake: "" if contents(lake) in between else "what is stored is no whole number of commits",
        lambda lake: "" if contents(lake) == done else "the next ingest did not complete it",
    )
    runs_apart = Lake(shutil.copytree(whole.folder, folder / "apart" / "lake"))
    for place in range(RUNS):
        rows = done["touches"].slice(place * len(done["touches"]) // RUNS, len(done["touches"]) // RUNS)
        runs_apart.replace("touches", [] if place else runs_apart.parts("touches"), rows)
    lasting = contents(runs_apart)
    yield Act(
        "compaction",
        runs_apart.folder,
        compact,
        lambda lake: "" if contents(lake) == lasting else "rows were lost or doubled",
        lambda lake: "" if contents(lake) == lasting and tidy(lake) else "the next upkeep did not complete it",
    )
    runs.store(whole, runs.attribute(whole, SETTINGS, NOW))
    others, given = contents(whole, WHO), totals(whole)
    yield Act(
        "erasure",
        whole.folder,
        forget,
        lambda lake: "" if contents(lake, WHO) == others and totals(lake) == given else "others lost or won rows",
        lambda lake: (
            f"still read in {', '.join(found)}"
            if (found := telling(lake.folder))
            else ""
            if contents(lake, WHO) == others and totals(lake) == given
            else "others lost or won rows"
        ),
    )


def killed(act: Act, kills: int, moments: random.Random, folder: Path) -> tuple[Counter[str], list[str]]:
    """Kill an act so many times; return which phases were hit, and what went wrong."""
    seconds = sorted(lasted(act, folder) for _ in range(3))[1] * 1.1
    hit, wrong = Counter[str](), list[str]()
    for number in range(kills):
        with copied(act, folder) as lake:
            process, pipe = started(act, lake)
            moment = moments.uniform(0, seconds)
            pipe.send("go")
            time.sleep(moment)
            process.kill()
            process.join()
            hit[phase(pipe, lake)] += 1
            where = f"{act.name}, kill {number} after {moment:.3f} s: "
            try:
                problems = [act.unlike(lake)]
                with suppress(NothingToDo):
                    act.do(lake, lambda _: None)
                problems.append(act.unfinished(lake))
            except Exception as error:  # noqa: BLE001  # whatever it is, it is a failure to be told
                problems = [repr(error)]
            wrong += [where + problem for problem in problems if problem]
    return hit, wrong


def phase(pipe: Connection, lake: Lake) -> str:
    """Return what the process had last told of itself, and whether it left files that are in no table."""
    told = "before its first step"
    with suppress(EOFError):
        while True:
            told = pipe.recv()
    stray = sum(1 for name in TABLES for _ in strays(lake, name))
    return told + (" (files written, not committed)" if stray else "")


def strays(lake: Lake, name: str) -> Iterator[Path]:
    """Yield the files of a table that no version of it ever named."""
    log = lake.folder / name / "_delta_log"
    named = "".join(entry.read_text() for entry in log.glob("*.json"))
    known = {part.path.name for part in lake.parts(name)}
    yield from (file for file in log.parent.glob("*.parquet") if file.name not in known and file.name not in named)


def lasted(act: Act, folder: Path) -> float:
    """Return the seconds of an act that nobody kills, which must do all there is to do."""
    with copied(act, folder) as lake:
        process, pipe = started(act, lake)
        start = time.monotonic()
        pipe.send("go")
        while pipe.recv() != "after its end":
            pass
        seconds = time.monotonic() - start
        process.join()
        if wrong := act.unfinished(lake):
            sys.exit(f"{act.name}, undisturbed: {wrong}")
        return seconds


@contextmanager
def copied(act: Act, folder: Path) -> Iterator[Lake]:
    """Give a copy of the lake that an act begins with, and remove it."""
    copy = Path(tempfile.mkdtemp(dir=folder)) / "lake"
    try:
        yield Lake(shutil.copytree(act.begun, copy))
    finally:
        shutil.rmtree(copy.parent)


def started(act: Act, lake: Lake) -> tuple[ForkServerProcess, Connection]:
    """Return a process that has imported everything and waits for the word to begin."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=wait_and_do, args=(act.name, lake.folder, theirs))
    process.start()
    theirs.close()
    ours.recv()
    return process, ours


def wait_and_do(name: str, folder: Path, pipe: Connection) -> None:
    """Do an act when told to, telling each step."""
    lake, files = Lake(folder), sorted((folder.parents[1] / "files").iterdir())
    pipe.send("ready")
    pipe.recv()
    if name == "ingest":
        take_in(lake, files, pipe.send)
    else:
        {"compaction": compact, "erasure": forget}[name](lake, pipe.send)
    pipe.send("after its end")


def take_in(lake: Lake, files: list[Path], step: Callable[[str], None] = lambda _: None) -> None:
    """Ingest all files."""
    ingest(lake, SETTINGS, files, NOW, step)


def compact(lake: Lake, step: Callable[[str], None]) -> None:
    """Merge every run of the touches, and remove what is older than now."""
    upkeep.RUNS = upkeep.ROWS = 0
    keeping = SETTINGS.lake.model_copy(update={"keep_versions_days": 0})
    upkeep.keep_up(lake, "touches", keeping, NOW, step)


def forget(lake: Lake, step: Callable[[str], None]) -> None:
    """Erase the person."""
    erase(lake, WHO, step)


def commits() -> list[set[str]]:
    """Return which tables hold the new rows after each commit of an ingest."""
    order = ("leads", "stages", "quarantine", "touches")
    return [set(order[:count]) for count in range(len(order) + 1)]


def written(folder: Path) -> list[Path]:
    """Write the files of leads with stages, every hundredth broken, and touches."""
    folder.mkdir()
    ids = [f"lead-{i:04}" for i in range(LEADS)]
    lines = {
        "leads": ["lead_id,created_at,mail", *(f"{lead},2026-01-01T00:00:00Z,{lead}@x.org" for lead in ids)],
        "stages": ["lead_id,stage,occurred_at", *(
            f"{lead},{('', 'mql', 'sql', 'won')[j] if (i + j) % 25 else ''},2026-01-{j + 20}T00:00:00Z"
            for i, lead in enumerate(ids) for j in range(1, STAGES)
        )],
        "touches": ["event_id,lead_id,occurred_at,kind,channel,page", *(
            f"e-{j}-{lead},{lead},2026-01-{j % 19 + 1:02}T00:00:{i % 60:02}Z,visit,"
            f"{('Email', 'Direct', 'Events')[(i + j) % 3]},/p/{i * j}"
            for i, lead in enumerate(ids) for j in range(TOUCHES)
        )],
    }  # fmt: skip
    for name, table in lines.items():
        (folder / f"{name}.csv").write_text("\n".join(table))
    return [folder / f"{name}.csv" for name in lines]


def contents(lake: Lake, but: str = "") -> Contents:
    """Return the rows of every table, of all but one person."""
    with lake.connection(TABLES) as connection:
        quoted = f"""SELECT * REPLACE (coalesce(lead_id, '') AS lead_id) FROM {{}}
                     WHERE lead_id <> '{but}' AND lead_id NOT LIKE 'erased-%' ORDER BY ALL"""
        everything = "FROM {} ORDER BY ALL"
        return {
            name: connection.sql((quoted if but and name != "quarantine" else everything).format(name)).to_arrow_table()
            for name in TABLES
        }


def totals(lake: Lake) -> pa.Table:
    """Return what each channel has of touches and of credit."""
    return lake.query(TOTALS)


def tidy(lake: Lake) -> bool:
    """Say whether the touches are one run."""
    return len({part.run for part in lake.parts("touches")}) == 1


def telling(folder: Path) -> list[str]:
    """Return the files in which the erased person can be read, packed or not; the note of an erasure is one."""
    found = []
    for file in folder.rglob("*"):
        if file.is_file():
            read = file.read_bytes().decode("latin-1")
            read += json.dumps(pq.read_table(file).to_pylist(), default=str) if file.suffix == ".parquet" else ""
            found += [file.name] if WHO in read or MAIL in read or file.name == NOTE else []
    return found


if __name__ == "__main__":
    sys.exit(main())
