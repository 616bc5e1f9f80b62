"""Landing: what a system says is landed page by page, and taken into the lake through the door that files take.

A page is added to a spool file and flushed, and then the place where the next one begins is written down; so a run
that is killed goes on at that page, and what was written of a page half is cut off. A spool that is long enough, and
the last one of a stream, is ingested: the lake knows its rows by their content, so one that is ingested twice changes
nothing, and a row that is refused is in quarantine with its sentence.

A line bears ``landed_at``, when we came to know it. What a system tells only as it is now, a mapping makes known from
then on, and not from its last change: that lies late for whom a deal keeps changing, so whose fields were known early
would be whose deal never came.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import Any

from connectors.moments import iso_of, milliseconds
from connectors.progress import Progress, Stream
from connectors.said import HISTORY, Present, Said
from connectors.session import Refused, Session
from features.errors import TouchstoneError
from features.ingestion import Ingested, ingest
from features.lake import Lake
from features.settings import Settings

OVERLAP = timedelta(minutes=5)  # what a system's index may lag behind, and its clocks may differ among themselves
SPOOL_BYTES = 32_000_000
FORGOTTEN = {200, 400, 404}  # how systems refuse a place that they gave out long ago; Marketo does with 200
OF_A_STREAM = {200, 400, 403, 404}  # how they refuse what others may read, or what is not there
SAID = "said.db"
ALL = {"all": "landed"}  # the place after the last page

Row = dict[str, Any]


@dataclass(frozen=True)
class Page:
    """Some lines to land, and where the next page begins; where nothing is said, this is the last."""

    rows: list[Row]
    then: dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """One stream of a system: its name, and its pages since a moment (all, if it is empty), from a place on.

    Some of its lines may tell a record only as it is ``present``.
    """

    name: str
    pages: Callable[[str, dict[str, Any]], Iterable[Page]]
    present: Present = HISTORY


@dataclass(frozen=True)
class Dock:
    """Where what is read of a system is landed, and the lake that it is for."""

    system: str
    lake: Lake
    settings: Settings  # which know how lines of this system are read
    folder: Path
    progress: Progress
    as_of: datetime

    def said(self, reading: Reading) -> Said:
        """Return what is known to have been said in a stream."""
        return Said(self.folder / SAID, reading.name, reading.present)

    def spool(self, stream: str) -> Path:
        """Return the file of a stream's pages that wait."""
        return self.folder / f"{self.system}-{stream}.jsonl"


def land(dock: Dock, session: Session, readings: Iterable[Reading], say: Callable[[str], None]) -> Iterator[Ingested]:
    """Read what is new of each stream into the lake, and yield what became of it.

    A stream that we may not read, or that is asked for what is not there, keeps no other waiting.

    Raises:
        Partly, Refused: what was landed until then is kept, and the next run goes on there.

    """
    refusals = dict[str, Refused]()
    for reading in readings:
        stream, said = _resumed(dock, reading.name), dock.said(reading)
        if not stream.since and not stream.at:
            said.forget()
        try:
            for page in _pages(reading, stream):
                stream.began = stream.began or (session.time or dock.as_of).isoformat()
                _add(dock, reading.name, said.news(page.rows), stream)
                stream.at = page.then or ALL
                dock.progress.calls = session.quota.calls
                dock.progress.save()
                say(f"{dock.system}: {reading.name}, {stream.rows:,} landed")
                if stream.bytes > SPOOL_BYTES:
                    yield from _unload(dock, said, stream)
        except TouchstoneError as error:
            yield from _unload(dock, said, stream)
            if not isinstance(error, Refused) or error.status not in OF_A_STREAM:
                raise
            refusals[reading.name] = error
            continue
        yield from _unload(dock, said, stream)
        dock.progress.streams[reading.name] = Stream(since=stream.began or stream.since)
        dock.progress.save()
    if refusals:
        names = ", ".join(refusals)
        raise Refused(
            f"{' '.join(map(str, refusals.values()))} So {names} could not be read, and all else was. Have that "
            f"allowed or mended there, mend what the mapping asks for, or name {names} in "
            f"connectors.{dock.system}.leave_out."
        )


def _pages(reading: Reading, stream: Stream) -> Iterator[Page]:
    """Yield pages from where a stream is; where the system no longer knows that place, from the run's beginning."""
    if stream.at == ALL:
        return
    since, resumed = _overlapped(stream.since), bool(stream.at)
    pages = iter(reading.pages(since, stream.at))
    try:
        first = list(islice(pages, 1))
    except Refused as refused:
        if not resumed or refused.status not in FORGOTTEN:
            raise
        pages, first = iter(reading.pages(since, {})), []
    yield from chain(first, pages)


def _overlapped(since: str) -> str:
    return (datetime.fromisoformat(since) - OVERLAP).isoformat() if since else ""


def _resumed(dock: Dock, name: str) -> Stream:
    """Return how far a stream was read; what was written after the last page that was written down is cut off."""
    stream, spool = dock.progress.of(name), dock.spool(name)
    length = spool.stat().st_size if spool.exists() else 0
    if length < stream.bytes:  # somebody deleted pages that wait
        stream = dock.progress.streams[name] = Stream(since=stream.since)
    if length:
        os.truncate(spool, stream.bytes)
    return stream


def _add(dock: Dock, name: str, rows: Iterable[Row], stream: Stream) -> None:
    landed = {"landed_at": iso_of(milliseconds(dock.as_of))}
    with dock.spool(name).open("a", encoding="utf-8") as lines:
        for row in rows:
            lines.write(json.dumps(row | landed, ensure_ascii=False) + "\n")
            stream.rows += 1
        lines.flush()
        os.fsync(lines.fileno())
        stream.bytes = lines.tell()


def _unload(dock: Dock, said: Said, stream: Stream) -> list[Ingested]:
    """Ingest a spool and remove it."""
    spool, results = dock.spool(said.stream), list[Ingested]()
    if stream.bytes:
        results = ingest(dock.lake, dock.settings, [spool], dock.as_of)
        with spool.open(encoding="utf-8") as lines:
            said.learn(map(json.loads, lines))
    stream.bytes = stream.rows = 0
    dock.progress.save()
    spool.unlink(missing_ok=True)
    return results
