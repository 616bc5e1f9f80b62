"""Salesforce: leads and contacts, stages of leads and opportunities, campaign members, tasks, events and e-mail.

| stream        | object, and what is asked beside it                     | lands a line for each           |
| ------------- | ------------------------------------------------------- | ------------------------------- |
| leads         | Lead                                                    | lead, as it was modified last   |
| contacts      | Contact, with fields of its Account                     | contact, as it was modified last |
| leadstages    | LeadHistory of Status                                   | change of a lead's status       |
| opportunities | OpportunityHistory, OpportunityContactRole, …Stage      | stage, for the primary contact  |
| members       | CampaignMember that responded, with its Campaign        | response                        |
| tasks, events | Task that is completed, Event                           | call, e-mail or meeting         |
| emails        | EmailMessage                                            | message, with its first opening |

What is read first comes by bulk jobs, what changed since by queries; both give the same lines. Current values of
opportunities are never read: they know how the deal ends. Updates are by id, so that nobody who was deleted comes back.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

import httpx

from connectors.assertion import GRANT, assertion
from connectors.landing import Page, Reading, Row
from connectors.said import HISTORY, Present
from connectors.secret import needed, secret
from connectors.session import Headers, Manners, Session, Verdict, by_status
from connectors.system import FIELDS, Score, System
from features.errors import ConfigError
from features.settings import Salesforce as Settings

FORBIDDEN = 403
TOKEN = "/services/oauth2/token"  # noqa: S105  # a path
AT_ONCE, IN_A_JOB, ROWS_OF_A_JOB = 200, 50_000, "10000"  # records in one call, in one bulk job, in one page of one
OBJECTS = {"00Q": "Lead", "003": "Contact"}  # by how their ids begin
STREAMS = {  # object, the moment by which it is read, a condition
    "leads": ("Lead", "SystemModstamp", ""),
    "contacts": ("Contact", "SystemModstamp", ""),
    "leadstages": ("LeadHistory", "CreatedDate", "Field = 'Status'"),
    "opportunities": ("OpportunityHistory", "CreatedDate", ""),
    "members": ("CampaignMember", "SystemModstamp", "HasResponded = true"),
    "tasks": ("Task", "SystemModstamp", "IsClosed = true"),
    "events": ("Event", "SystemModstamp", ""),
    "emails": ("EmailMessage", "SystemModstamp", ""),
}


def _happened(moment: str, *whose: str) -> Present:
    """Return how records are compared that tell what happened at a moment to somebody, or nothing while either lacks.

    When a lead is converted or merged its tasks are another's, and campaigns are renamed: they happened all the same.
    """

    def record(line: Row) -> str:
        return f"{line['Id']} {line.get(moment)}" if line.get(moment) and any(map(line.get, whose)) else ""

    return Present(record, once=True)


PRESENT = {
    **dict.fromkeys(("leads", "contacts"), Present(itemgetter("Id"), ("SystemModstamp",))),
    "members": _happened("FirstRespondedDate", "LeadId", "ContactId"),
    "tasks": _happened("CompletedDateTime", "WhoId"),
    "events": _happened("StartDateTime", "WhoId"),
}
NAMES = {name: f"{'_'.join(map(str.title, name.split('_')))}__c" for name in FIELDS}
PERCENT = "Close_Score__c"
UTC = re.compile(r"\+0000$")  # which queries write, and bulk jobs write as Z


class Salesforce(System):
    """Salesforce's REST and Bulk 2.0 interfaces, with the client-credentials or JWT bearer flow of a connected app."""

    name, prefix = "salesforce", "salesforce:"

    @staticmethod
    def manners(settings: Settings, environment: Mapping[str, str]) -> Manners:
        """Return how Salesforce is asked; a user's name and password are not taken."""
        if not settings.base_url:
            raise ConfigError("Set connectors.salesforce.base_url to your My Domain address in touchstone.toml.")
        paces = {"": (settings.calls_in_20_seconds, 20.0)}
        asked = partial(Manners, "salesforce", settings.base_url, _judge, paces, limit_of=_limit_of)
        key = secret("SALESFORCE_PRIVATE_KEY", environment)
        if not key:
            client_id, client_secret = needed(environment, "SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET")
            form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
            return asked(lambda session: session.bearer(TOKEN, form), (client_id, client_secret))
        client_id, username = needed(environment, "SALESFORCE_CLIENT_ID", "SALESFORCE_USERNAME")

        def authorize(session: Session) -> Headers:
            signed = assertion(client_id, username, settings.login_url, key, session.moment())
            return session.bearer(TOKEN, {"grant_type": GRANT, "assertion": signed})

        return asked(authorize, (client_id, key))

    def batch(self, changed: int) -> int:
        """Return how many scores are written in one call."""
        return AT_ONCE if changed < self.settings.bulk_from else IN_A_JOB

    def readings(self) -> list[Reading]:
        """Return the streams that can be read."""
        return [Reading(name, partial(self._pages, name), PRESENT.get(name, HISTORY)) for name in STREAMS]

    def takes(self, lead_id: str, scored: str) -> bool:
        """Leave out a lead that was converted: its contact takes the score, and the lead can no longer be edited."""
        return not (lead_id.startswith("salesforce:00Q") and scored.startswith("salesforce:003"))

    def prepare(self) -> None:
        """See that the fields were deployed, and that we may write them."""
        for kind in OBJECTS.values():
            fields = self.session.ask("GET", self._path(f"/sobjects/{kind}/describe"))["fields"]
            may = {field["name"] for field in fields if field["updateable"]}
            missing = sorted({*NAMES.values(), PERCENT} - may)
            if missing:
                raise ConfigError(
                    f"Salesforce does not let us write {', '.join(missing)} of {kind}. Deploy connectors/sfdx (see "
                    "docs/connect-salesforce.md) and assign its permission set to the integration's user."
                )

    def write(self, scores: Sequence[Score]) -> list[str]:
        """Update leads and contacts: a few in one call, many by bulk jobs."""
        if len(scores) > AT_ONCE:
            return self._write_by_jobs(scores)
        records = [
            {"attributes": {"type": OBJECTS[score.record[:3]]}, "id": score.record, **_fields(score)}
            for score in scores
        ]
        asked = {"allOrNone": False, "records": records}
        answers = self.session.ask("PATCH", self._path("/composite/sobjects"), json=asked)
        return [
            ""
            if one["success"]
            else "; ".join(error["message"] for error in one["errors"]) or "Salesforce did not say why."
            for one in answers
        ]

    def _pages(self, name: str, since: str, at: Row) -> Iterator[Page]:
        """Yield what a stream asks for, by a bulk job at first and by queries later."""
        kind, moment, condition = STREAMS[name]
        conditions = [*filter(None, [condition]), *([f"{moment} >= {_soql(since)}"] if since else [])]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        soql = f"SELECT {', '.join(self.asked[name])} FROM {kind}{where} ORDER BY {moment}, Id"  # no SQL
        for found, then in (self._query if since else self._job)(soql, at):
            rows = [{field: row.get(field) for field in self.asked[name]} for row in found]  # a parent may be missing
            yield Page(self._with_roles(rows) if name == "opportunities" else rows, then)

    def _query(self, soql: str, at: Row) -> Iterator[tuple[list[Row], Row]]:
        path, asked = at.get("next", self._path("/query")), {} if at else {"q": soql}
        while path:
            found = self.session.ask("GET", path, params=asked)
            path, asked = found.get("nextRecordsUrl", ""), {}
            yield [_flat(record) for record in found["records"]], {"next": path} if path else {}

    def _job(self, soql: str, at: Row) -> Iterator[tuple[list[Row], Row]]:
        jobs = self._path("/jobs/query")
        job = at.get("job") or self.session.ask("POST", jobs, json={"operation": "query", "query": soql})["id"]
        self._done(f"{jobs}/{job}")
        locator, more = at.get("locator", ""), True
        while more:
            asked = {"maxRecords": ROWS_OF_A_JOB, **({"locator": locator} if locator else {})}
            found = self.session.call("GET", f"{jobs}/{job}/results", params=asked)
            locator = found.headers.get("sforce-locator", "null")
            more = locator != "null"
            rows = [
                {name: value or None for name, value in row.items()} for row in csv.DictReader(io.StringIO(found.text))
            ]
            yield rows, {"job": job, "locator": locator} if more else {}

    def _done(self, job: str) -> None:
        self.session.completed(lambda: self.session.ask("GET", job), "state", "JobComplete")

    def _with_roles(self, rows: Sequence[Row]) -> list[Row]:
        """Return stages of opportunities with their primary contact, or their first, and what each stage means."""
        asked = "SELECT ApiName, IsClosed, IsWon FROM OpportunityStage"
        meaning = {row["ApiName"]: row for some, _ in self._query(asked, {}) for row in some}
        ids, contact = sorted({row["OpportunityId"] for row in rows}), dict[str, str]()
        for start in range(0, len(ids), AT_ONCE):
            listed = ", ".join(f"'{one}'" for one in ids[start : start + AT_ONCE])
            asked = "SELECT OpportunityId, ContactId, IsPrimary FROM OpportunityContactRole"
            roles = (row for some, _ in self._query(f"{asked} WHERE OpportunityId IN ({listed})", {}) for row in some)
            for role in sorted(roles, key=lambda role: (role["IsPrimary"] != "true", role["ContactId"])):
                contact.setdefault(role["OpportunityId"], role["ContactId"])
        return [
            {**row, "ContactId": contact[row["OpportunityId"]], **meaning.get(row["StageName"], {})}
            for row in rows
            if row["OpportunityId"] in contact
        ]

    def _write_by_jobs(self, scores: Sequence[Score]) -> list[str]:
        """Write each kind of record by a bulk job, and return what the failed and unprocessed records say."""
        why: dict[str, str] = {}
        for kind, some in groupby(sorted(scores, key=lambda score: score.record[:3]), lambda score: score.record[:3]):
            rows = [{"Id": score.record, **_fields(score)} for score in some]
            asked = {"object": OBJECTS[kind], "operation": "update", "contentType": "CSV", "lineEnding": "LF"}
            job = self._path(f"/jobs/ingest/{self.session.ask('POST', self._path('/jobs/ingest'), json=asked)['id']}")
            self.session.call("PUT", f"{job}/batches", content=_csv(rows), headers={"content-type": "text/csv"})
            self.session.ask("PATCH", job, json={"state": "UploadComplete"})
            self._done(job)
            for results in ("failedResults", "unprocessedrecords"):
                for row in csv.DictReader(io.StringIO(self.session.call("GET", f"{job}/{results}/").text)):
                    why[row["Id"]] = row.get("sf__Error") or "Salesforce did not come to this record."
        return [why.get(score.record, "") for score in scores]

    def _path(self, rest: str) -> str:
        return f"/services/data/v{self.settings.version}{rest}"


def _judge(response: httpx.Response) -> Verdict:
    if response.status_code == FORBIDDEN and "REQUEST_LIMIT_EXCEEDED" in response.text:
        return "day over"
    return by_status(response)


def _limit_of(response: httpx.Response) -> int | None:
    """Return the calls a day that Salesforce says are allowed: ``api-usage=18/100000``."""
    told = response.headers.get("sforce-limit-info", "")
    limit = told.partition("api-usage=")[2].split(";")[0].partition("/")[2]
    return int(limit) if limit.isdecimal() else None


def _flat(record: Row, before: str = "") -> Row:
    """Return a record as bulk jobs write it: fields of a parent under Parent.Field, all values as texts."""
    flat: Row = {}
    for name, value in record.items():
        if isinstance(value, dict):
            flat |= {} if name == "attributes" else _flat(value, f"{before}{name}.")
        elif isinstance(value, bool):
            flat[f"{before}{name}"] = str(value).lower()
        else:
            flat[f"{before}{name}"] = None if value is None else UTC.sub("Z", str(value))
    return flat


def _soql(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%dT%H:%M:%SZ}"


def _fields(score: Score) -> dict[str, Any]:
    """Return a score in the fields of connectors/sfdx."""
    values = {NAMES[name]: field.value(score) for name, field in FIELDS.items()}
    told = {name: f"{v:%Y-%m-%dT%H:%M:%S.000Z}" if isinstance(v, datetime) else v for name, v in values.items()}
    return {**told, PERCENT: round(score.probability * 100, 2)}


def _csv(rows: Iterable[Mapping[str, Any]]) -> bytes:
    told = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(told[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(told)
    return text.getvalue().encode()
