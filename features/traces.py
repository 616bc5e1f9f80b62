"""Traces: files of the workspace, other than the lake's tables, in which an erased person can still be read.

Every file below the workspace is searched, whatever it is: its bytes, and the values of Parquet, which are packed.
A name of fewer than four characters is not looked for: it would be found everywhere.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.person import Person

SHORTEST = 4  # characters
OURS = {  # what to do with files that other programs of ours wrote, by the folder or the file at the top
    "models": "Retrain, then delete this version's folder.",
    "goals": "Retrain that goal, then delete the version's folder, and the run in its MLflow.",
    "monitor.json": "Run `touchstone monitor` again.",
    "mlflow.db": "Delete the run in MLflow, then run `mlflow gc`.",
    "mlflow-artifacts": "Delete the run in MLflow, then run `mlflow gc`.",
    "connectors": "Give `touchstone ingest` and `touchstone sync` for that system; they forget who is not in the lake.",
    "demo-files": "Delete the folder; the demo writes another company's files into it.",
}
THEIRS = "Take the person's rows out of it, or delete it; Touchstone does not change your files."


def traces(workspace: Path, lake: Path, person: Person) -> list[dict[str, str]]:
    """Return each file, as a path below the workspace, that names the person, and what to do with it."""
    names = {*person.lead_ids, *person.own_ids, *person.emails, *person.values}
    names = {name for name in names if len(name) >= SHORTEST}
    if not names:
        return []
    found = sorted(file for file in _files(workspace.resolve(), lake) if _names(file, names))
    relative = [file.relative_to(workspace.resolve()) for file in found]
    return [{"file": str(file), "what_to_do": OURS.get(file.parts[0], THEIRS)} for file in relative]


def _files(folder: Path, lake: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.is_symlink() or entry == lake:
            continue
        if entry.is_dir():
            yield from _files(entry, lake)
        elif entry.is_file() and entry.stat().st_size:
            yield entry


def _names(file: Path, names: set[str]) -> bool:
    """Say whether a file has one of the names as a word, in capital or small letters, plain or as JSON writes it."""
    forms = sorted({form for name in names for form in (name, json.dumps(name)[1:-1])})
    pattern = rf"(?i)(?:^|[^\w@+-])(?:{'|'.join(map(re.escape, forms))})(?:$|[^\w@-])"
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if re.search(pattern.encode(), content):
                return True
    except PermissionError:
        return False
    return file.suffix == ".parquet" and _packs(file, pattern)


def _packs(file: Path, pattern: str) -> bool:
    try:
        with pq.ParquetFile(file) as opened:
            return any(
                pc.any(pc.match_substring_regex(column.cast(pa.string()), pattern)).as_py()
                for batch in opened.iter_batches()
                for column in batch.columns
                if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
            )
    except pa.ArrowInvalid:  # not Parquet, whatever its name says
        return False
