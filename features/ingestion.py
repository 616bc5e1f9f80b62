"""Ingestion: files in, good rows to the lake, refused rows to quarantine, nothing twice and nothing lost.

Each file and table is one Delta commit, so a killed ingest leaves whole commits behind, and a second run
adds only what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from features.admission import MACROS
from features.contract import ROW_HASH
from features.erasure import complete_interrupted
from features.errors import ConfigError, DataError
from features.files import ENDINGS, damage, open_file
from features.forgotten import forgotten
from features.lake import WRITERS_SPILL, Lake
from features.ordered import ROW_GROUP
from features.settings import Settings, Source
from features.sieve import sieve
from features.sources import sources_of
from features.upkeep import keep_up

REFUSED_NEW = f"SELECT DISTINCT ON ({ROW_HASH}) * FROM refused ANTI JOIN quarantine USING ({ROW_HASH})"


@dataclass(frozen=True)
class Ingested:
    """What became of one file for one table: rows stored, already there, refused, and why (a few examples)."""

    file: str
    table: str
    stored: int
    already_there: int
    refused: int
    reasons: tuple[str, ...]


def files_in(paths: Iterable[Path]) -> list[Path]:
    """Return the files to read: those named, and those of a known format directly in the folders named.

    Raises:
        DataError: naming every path that does not exist.

    """
    listed = list(paths)
    absent = [str(path) for path in listed if not path.exists()]
    if absent:
        raise DataError(f"There is no file or folder {', '.join(absent)}. Nothing was stored.")
    return [
        file
        for path in listed
        for file in (sorted(path.iterdir()) if path.is_dir() else [path])
        if not path.is_dir() or (file.is_file() and file.suffix.lower() in ENDINGS)
    ]


def passed_over(paths: Iterable[Path]) -> list[Path]:
    """Return what ``files_in`` leaves out of the folders named: files of other formats, those that are hidden aside."""
    inside = (file for path in paths if path.is_dir() for file in sorted(path.iterdir()))
    return [
        file for file in inside if file.is_file() and file.suffix.lower() not in ENDINGS and file.name[0] not in "._"
    ]


def ingest(
    lake: Lake,
    settings: Settings,
    files: Iterable[Path],
    as_of: datetime,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Ingested]:
    """Store the rows of ``files`` that are good and new, and quarantine those that are refused.

    An erasure that was killed is completed before.

    Raises:
        ConfigError, DataError: for a file that cannot be read or mapped; files before it are stored.

    """
    results = []
    complete_interrupted(lake, progress)
    for file, source in sources_of(files, settings):
        progress(f"{file.name} → {source.table}")
        with lake.writing():
            results.append(ingest_held(lake, settings, file.resolve(), source, as_of))
    for table in dict.fromkeys(result.table for result in results if result.stored):
        keep_up(lake, table, settings.lake, as_of, progress)
    return results


def ingest_held(lake: Lake, settings: Settings, file: Path, source: Source, as_of: datetime) -> Ingested:
    """Store the rows of one file for one table, as ``ingest`` does; the caller holds ``lake.writing()``."""
    with lake.connection((source.table, "quarantine"), [file], WRITERS_SPILL) as connection:
        connection.execute(MACROS)
        open_file(connection, file, source.encoding)
        try:
            sieved = sieve(connection, settings, source, file, as_of, forgotten(lake))
            if sieved.fresh:
                lake.append(source.table, connection.sql("FROM fresh").to_arrow_reader(ROW_GROUP))
        except (duckdb.Error, ConfigError):
            wrong = damage(connection, file)
            if wrong is None:
                raise
            raise DataError(f"{file} is damaged: {wrong}. Export it again. None of its rows were stored.") from None
        refused_new = connection.sql(REFUSED_NEW).to_arrow_table()
        if len(refused_new):
            lake.append("quarantine", refused_new)
    return Ingested(file.name, source.table, sieved.fresh, sieved.known, sieved.refused, sieved.reasons)
