"""The intake: what is posted is on the disk before it is acknowledged, soon in the lake, and then in the lead's score.

Posting writes to the journal and returns, and so does a webhook. One thread takes the journal's files into the lake,
through the same door as ``touchstone ingest``, scores the leads concerned anew, and stores these scores. What a killed
process had acknowledged is taken in by the next.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bentoml.exceptions import BentoMLException, InvalidArgument

from connectors.webhooks import Delivery, forget, take_in_held
from features.contract import ROW_HASH, schema
from features.erasure import complete_interrupted
from features.errors import TouchstoneError
from features.forgotten import SENTENCE, forgotten
from features.identities import merges
from features.ingestion import Ingested, ingest_held
from features.lake import Lake
from features.merges import kin
from features.ordered import Leads
from features.settings import Source
from features.upkeep import keep_up_held
from serving import batch, groups
from serving.doubts import NAMED, still_open
from serving.journal import Event, Journal, events_in
from serving.messages import EventsRequest, FeedbackRequest
from serving.replies import EventsReply
from serving.resident import READ
from serving.scores import scores
from serving.seen import Row, Seen, content

if TYPE_CHECKING:
    from serving.desk import Desk  # which owns the intake

LOG = logging.getLogger("touchstone")
WEBHOOKS = "webhooks"  # what a webhook brought is an event as a whole, of no table
EVERY = 0.25  # seconds between two looks at the journal
WHEN = {"touches": "received_at", "stages": "received_at", "leads": "observed_at", "feedback": "at"}
TOLD = {
    "stages": ("lead_id", "stage", "occurred_at", "amount", "currency", "reason"),
    "leads": ("lead_id", "created_at", "account_id", "owner", "is_change", "attributes"),
}
CLAIMED = """
    SELECT lead_id FROM identities WHERE coalesce(anonymous_id, email_hash) IN (SELECT unnest($1::VARCHAR[]))
    UNION SELECT lead_id FROM touches WHERE anonymous_id IN (SELECT unnest($1::VARCHAR[])) AND lead_id IS NOT NULL
"""


class Conflict(BentoMLException):
    """An event id is taken by another event."""

    error_code = HTTPStatus.CONFLICT


class Intake:
    """Takes events into one desk's lake."""

    def __init__(self, desk: Desk, clock: Callable[[], datetime]) -> None:
        self.desk, self.clock = desk, clock
        self.journal, self.seen = Journal(desk.workspace), Seen(desk.lake)
        self._posting = threading.Lock()
        self._stopped, self._thread = threading.Event(), threading.Thread(target=self._run, name="intake", daemon=True)
        self._unread = False  # something is in the journal's open file

    def start(self) -> None:
        """Take in what others left, and begin."""
        self._take_all()
        self.seen.read()
        self._thread.start()

    def stop(self) -> None:
        """Take in what was posted, and end."""
        self._stopped.set()
        self._thread.join()
        self._take_all()

    # Posting

    def events(self, request: EventsRequest, now: datetime) -> EventsReply:
        """Store events durably.

        Raises:
            InvalidArgument: when there is none, or one is of an erased person.
            Conflict: when an event id is taken by another event; then nothing is stored.

        """
        touches = [_named(touch.model_dump(mode="json", exclude_none=True)) for touch in request.touches]
        others = [("stages", stage.model_dump(mode="json", exclude_none=True)) for stage in request.stages]
        others += [("leads", lead.model_dump(mode="json", exclude_none=True)) for lead in request.leads]
        if not touches and not others:
            raise InvalidArgument("Send at least one event in touches, stages or leads.")
        self._refuse_erased([*touches, *(row for _, row in others)])
        with self._posting:
            fresh, clashes = self.seen.sorted_out(touches)
            if clashes:
                named = f"{', '.join(clashes[:NAMED])} {'is' if len(clashes) == 1 else 'are'}"
                raise Conflict(
                    f"{named} taken by events with other content. Nothing of this request was stored. "
                    "Correct the event, or give it an id of its own."
                )
            events = [("touches", row) for row in fresh] + others
            self._write([Event(table, now.isoformat(), row) for table, row in events])
            self.seen.add(fresh)
        return EventsReply(stored=len(events), known=len(touches) - len(fresh))

    def feedback(self, request: FeedbackRequest, now: datetime) -> EventsReply:
        """Store what sales says of a lead, durably."""
        row = request.model_dump(mode="json", exclude_none=True)
        self._refuse_erased([row])
        with self._posting:
            self._write([Event("feedback", now.isoformat(), row)])
        return EventsReply(stored=1, known=0)

    def delivered(self, delivery: Delivery, now: datetime) -> None:
        """Store what a webhook brought, durably; of an erased person, nothing will be kept of it."""
        with self._posting:
            self._write([Event(WEBHOOKS, now.isoformat(), asdict(delivery))])

    def _write(self, events: Sequence[Event]) -> None:
        if events:
            self.journal.append(events)
            self._unread = True

    def _refuse_erased(self, rows: Iterable[Row]) -> None:
        erased = forgotten(self.desk.lake)
        if not erased.hashes:
            return
        names = {str(row[name]) for row in rows for name in ("lead_id", "anonymous_id") if row.get(name)}
        if any(erased.knows(name) for name in names):
            raise InvalidArgument(SENTENCE)

    # Taking in

    def _run(self) -> None:
        while not self._stopped.wait(EVERY):
            if self._unread:
                self._take_all()

    def _take_all(self) -> None:
        """Take every file of the journal into the lake that nobody writes to; what fails is tried again later."""
        with self._posting:
            self.journal.close()
            self._unread = False
        try:
            for file in self.journal.closed():
                self._take(file)
        except (TouchstoneError, OSError) as error:
            LOG.warning("What was posted is in the journal and not in the lake yet. %s", error)
            self._unread = True
        except Exception:
            LOG.exception("What was posted is in the journal and not in the lake yet.")
            self._unread = True

    def _take(self, file: Path) -> None:
        """Take the events of one file into the lake, each table in one commit, and score the leads concerned."""
        posted = defaultdict[str, list[Event]](list)
        for event in events_in(file):
            posted[event.table].append(event)
        deliveries = [Delivery(**event.row) for event in posted.pop(WEBHOOKS, [])]
        lake, settings, now = self.desk.lake, self.desk.settings, self.clock()
        complete_interrupted(lake)
        with self.desk.residence.changing, lake.writing():
            before = self.desk.residence.versions()
            for table, events in posted.items():
                self._ingest(table, fresh(lake, table, events), now)
            self._ingest_deliveries(deliveries, now)
            concerned = self._concerned(posted, deliveries)
            self.desk.took_in(concerned, before)
        forget(deliveries, lake)  # which holds the lake by itself; what is in memory is read anew after it
        file.unlink()
        self._score(concerned)
        with self.desk.residence.changing, lake.writing():
            before = self.desk.residence.versions()
            for table in {*posted, *(READ if deliveries else ()), "scores"}:
                keep_up_held(lake, table, settings.lake, now)
            self.desk.took_in(set(), before)

    def _ingest(self, table: str, rows: Sequence[Row], now: datetime) -> None:
        if not rows:
            return
        with self.journal.room() as folder:
            posted = folder / f"{table}.jsonl"
            posted.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
            source = Source.model_validate({"file": posted.name, "table": table})  # which bears the table's own names
            _warn(ingest_held(self.desk.lake, self.desk.settings, posted, source, now))

    def _ingest_deliveries(self, deliveries: Sequence[Delivery], now: datetime) -> None:
        desk = self.desk
        with self.journal.room() as files:
            for stored in take_in_held(deliveries, desk.lake, desk.settings, desk.workspace, files, now):
                _warn(stored)

    def _concerned(self, posted: Mapping[str, Sequence[Event]], deliveries: Sequence[Delivery]) -> set[str]:
        """Return the leads of whom more is known now, with those that they were merged with."""
        rows = [event.row for events in posted.values() for event in events]
        named = {str(row["lead_id"]) for row in rows if row.get("lead_id")}
        named |= {lead for delivery in deliveries for lead in delivery.leads}
        strangers = sorted({str(row["anonymous_id"]) for row in rows if row.get("anonymous_id")})
        if strangers:
            named |= set(self.desk.lake.query(CLAIMED, [strangers])["lead_id"].to_pylist())
        return set(kin(sorted(named), merges(self.desk.lake)))

    def _score(self, lead_ids: set[str]) -> None:
        """Store the scores of leads as of now, and put them in their place in the work list."""
        now, scorer = self.clock(), self.desk.champion.scorer
        known = self.desk.with_colleagues(lead_ids)
        for group in groups.stored(self.desk.residence, sorted(known), now, scorer.spec):
            said = scores(scorer, still_open(group.moments, self.desk.settings.goal))
            if said:
                with self.desk.lake.writing():
                    how = self.desk.settings.exploration
                    batch.store(self.desk.lake, batch.score_table(said, exploration=how))
        with self.desk.residence.changing:
            self.desk.put_in_place(known, now)


def _warn(stored: Ingested) -> None:
    if stored.refused:
        told = (stored.refused, stored.table, " ".join(stored.reasons))
        LOG.warning("%d posted rows of %s are in quarantine. %s", *told)


def fresh(lake: Lake, table: str, events: Sequence[Event]) -> list[Row]:
    """Return the rows of events, dated when they were posted, without those that say again what the lake says.

    Stages and versions of leads have no id: one that was posted without a time is known if the lake has it with
    another; of a lead, if that is its latest version.
    """
    when = WHEN[table]
    undated = sorted({str(event.row["lead_id"]) for event in events if table in TOLD and when not in event.row})
    said = _said(lake, table, undated) if undated else set()
    rows = list[Row]()
    for event in events:
        told = _told(table, event.row)
        if when in event.row or told not in said:
            rows.append({when: event.at, **event.row})
            if table in TOLD:
                said = {one for one in said if table == "stages" or one[0] != told[0]} | {told}
    return rows


def _said(lake: Lake, table: str, lead_ids: Sequence[str]) -> set[tuple[object, ...]]:
    """Return what the lake says of some leads: each change of stage, or each one's latest version."""
    columns = [name for name in schema(table).names if name != ROW_HASH]
    rows = lake.read(table, columns, Leads(ids=tuple(lead_ids))).to_pylist() if lead_ids else []
    latest = {row["lead_id"]: row for row in rows} if table == "leads" else dict(enumerate(rows))  # they are in order
    return {_told(table, row) for row in latest.values()}


def _told(table: str, row: Row) -> tuple[object, ...]:
    """Return what a row says but for when it was known, in one form, posted or stored."""
    names = TOLD.get(table, ())
    return tuple(_plain(name, row.get(name)) for name in names)


def _plain(name: str, value: Any) -> object:
    if name == "attributes":
        read = json.loads(value) if isinstance(value, str) else value or {}
        return json.dumps({key: one for key, one in read.items() if one is not None}, sort_keys=True)
    if name.endswith("_at"):
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    if name == "amount":
        return None if value is None else float(value)
    return value or None


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """Return a touch with an id, which follows from its content if it has none."""
    return row if "event_id" in row else {**row, "event_id": f"posted-{content(row)}"}
