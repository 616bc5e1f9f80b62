"""Marketo: leads, changes of their fields and of their lifecycle, and what they did.

| stream     | calls                                                     | lands a line for each             |
| ---------- | --------------------------------------------------------- | --------------------------------- |
| leads      | bulk extract, by windows of 31 days in which they came    | lead, as it was modified last     |
| changes    | activities/leadchanges, opportunities and their roles     | change of a field, with old value |
| activities | activities/types, activities/pagingtoken, activities      | activity, with its type's name    |

Marketo answers 200 and says in the reply whether it means that. Which activities there are is read, never assumed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import httpx

from connectors.landing import Page, Reading, Row
from connectors.secret import needed
from connectors.session import Manners, Verdict, by_status
from connectors.system import FIELDS, Score, System
from features.errors import ConfigError
from features.settings import Marketo as Settings

AT_ONCE, IN_A_FILE, TYPES_AT_ONCE = 300, 10_000, 10
WINDOW = timedelta(days=31)  # of a bulk extract
EXPIRED, DAY_OVER = {"601", "602"}, {"607", "1029"}
BUSY = {"502", "604", "606", "608", "611", "615", "713", "1016"}
KINDS = {"number": "float", "text": "text", "time": "datetime"}
NAMES = {name: "ml" + name.title().replace("_", "") for name in FIELDS}


class Marketo(System):
    """Marketo's REST and bulk interfaces, with the credentials of a LaunchPoint service."""

    name, prefix = "marketo", "marketo:"

    @staticmethod
    def manners(settings: Settings, environment: Mapping[str, str]) -> Manners:
        """Return how Marketo is asked. The secret goes in a body, since addresses are written to logs."""
        if not settings.base_url:
            raise ConfigError("Set connectors.marketo.base_url to your instance's address in touchstone.toml.")
        client_id, client_secret = needed(environment, "MARKETO_CLIENT_ID", "MARKETO_CLIENT_SECRET")
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}

        paces, secrets = {"": (settings.calls_in_20_seconds, 20.0)}, (client_id, client_secret)
        asked = partial(Manners, "marketo", settings.base_url, _judge, paces)
        return asked(lambda session: session.bearer("/identity/oauth/token", form), secrets)

    def batch(self, changed: int) -> int:
        """Return how many scores are written in one call."""
        return AT_ONCE if changed < self.settings.bulk_from else IN_A_FILE

    def readings(self) -> list[Reading]:
        """Return the streams that can be read."""
        return [
            Reading("leads", self.leads),
            Reading("changes", self.changes),
            Reading("activities", self.activities),
        ]

    def leads(self, since: str, at: Row) -> Iterator[Page]:
        """Yield leads by when they came; what changed later is in ``changes``."""
        self._types()  # tells what time it is there
        start = datetime.fromisoformat(at.get("from") or since or self.asked["history_from"])
        now = self.session.time or start
        while start < now:
            end = min(start + WINDOW, now)
            then = {"from": end.isoformat()} if end < now else {}
            yield Page(self._extract(start, end), then)
            start = end

    def changes(self, since: str, at: Row) -> Iterator[Page]:
        """Yield changes of fields, and of what a deal was worth when it was won."""
        fields = ",".join(self.asked["changes"])
        for some, then in self._activities("leadchanges", {"fields": fields}, since, at):
            lines = [
                {"id": str(change["leadId"]), "guid": change.get("marketoGUID") or str(change["id"]),
                 "at": change["activityDate"], "field": field["name"], "value": field["newValue"]}
                for change in some for field in change.get("fields", [])
            ]  # fmt: skip
            won = {line["id"] for line in lines if line["value"] in self.asked["won"]}
            worth = self._worth(sorted(won, key=int))
            yield Page([{**line, **worth.get(line["id"], {"amount": None, "currency": None})} for line in lines], then)

    def activities(self, since: str, at: Row) -> Iterator[Page]:
        """Yield what leads did, by at most ten types at once."""
        names = {id_: name for id_, name in self._types().items() if name in self.asked["activities"]}
        ids = sorted(names)
        groups = [ids[start : start + TYPES_AT_ONCE] for start in range(0, len(ids), TYPES_AT_ONCE)]
        for number in range(at.get("group", 0), len(groups)):
            asked = {"activityTypeIds": ",".join(map(str, groups[number]))}
            place = {"token": at["token"]} if at.get("group") == number and "token" in at else {}
            for some, then in self._activities("", asked, since, place):
                following = {"group": number, **then} if then else {"group": number + 1}
                rows = [_line(activity, names[activity["activityTypeId"]]) for activity in some]
                yield Page(rows, following if following.get("group", 0) < len(groups) else {})

    def prepare(self) -> None:
        """Define the fields that hold a score, where they are missing."""
        there, asked, more = set[str](), {"batchSize": "300"}, True
        while more:
            found = self.session.ask("GET", self._path("/leads/schema/fields.json"), params=asked)
            there |= {field["name"] for field in found["result"]}
            asked, more = {**asked, "nextPageToken": found.get("nextPageToken", "")}, found.get("moreResult", False)
        missing = [
            {"name": NAMES[name], "displayName": field.label, "dataType": KINDS[field.kind]}
            for name, field in FIELDS.items()
            if NAMES[name] not in there
        ]
        if missing:
            self.session.ask("POST", self._path("/leads/schema/fields.json"), json={"input": missing})

    def write(self, scores: Sequence[Score]) -> list[str]:
        """Update leads by their ids: a few in one call, many by a file."""
        rows = [{"id": int(score.record), **_fields(score)} for score in scores]
        if len(rows) > AT_ONCE:
            return self._write_by_file(rows)
        asked = {"action": "updateOnly", "lookupField": "id", "input": rows}
        answers = self.session.ask("POST", self._path("/leads.json"), json=asked)["result"]
        return ["" if one["status"] == "updated" else _reasons(one) for one in answers]

    def _write_by_file(self, rows: Sequence[Row]) -> list[str]:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        asked = {"format": "csv", "lookupField": "id"}
        sent = {"file": ("scores.csv", text.getvalue().encode(), "text/csv")}
        job = self.session.ask("POST", "/bulk/v1/leads.json", params=asked, files=sent)["result"][0]["batchId"]
        path = f"/bulk/v1/leads/batch/{job}"
        told = self._until(f"{path}.json", "Complete")
        if not told["numOfRowsFailed"]:
            return [""] * len(rows)
        failed = csv.DictReader(io.StringIO(self.session.call("GET", f"{path}/failures.json").text))
        why = {row["id"]: row.get("Import Failure Reason") or "Marketo did not say why." for row in failed}
        return [why.get(str(row["id"]), "") for row in rows]

    def _extract(self, start: datetime, end: datetime) -> list[Row]:
        """Return the leads that came within a window; those of its end are in the next one, too."""
        window = {"startAt": f"{start:%Y-%m-%dT%H:%M:%SZ}", "endAt": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
        asked = {"fields": self.asked["leads"], "format": "CSV", "filter": {"createdAt": window}}
        job = self.session.ask("POST", "/bulk/v1/leads/export/create.json", json=asked)["result"][0]["exportId"]
        path = f"/bulk/v1/leads/export/{job}"
        self.session.ask("POST", f"{path}/enqueue.json")
        if not self._until(f"{path}/status.json", "Completed").get("numberOfRecords"):
            return []
        found = csv.DictReader(io.StringIO(self.session.call("GET", f"{path}/file.json").text))
        return [{name: None if value in {"", "null"} else value for name, value in row.items()} for row in found]

    def _until(self, path: str, done: str) -> Mapping[str, Any]:
        return self.session.completed(lambda: dict(self.session.ask("GET", path)["result"][0]), "status", done)

    def _activities(self, kind: str, asked: Row, since: str, at: Row) -> Iterator[tuple[list[Row], Row]]:
        """Yield activities, page by page; pages may be short, and only ``moreResult`` tells which is the last."""
        begin = {"sinceDatetime": since or self.asked["history_from"]}
        token = (
            at.get("token")
            or self.session.ask("GET", self._path("/activities/pagingtoken.json"), params=begin)["nextPageToken"]
        )
        path, more = self._path(f"/activities{'/' + kind if kind else ''}.json"), True
        while more:
            found = self.session.ask("GET", path, params={**asked, "nextPageToken": token})
            token, more = found["nextPageToken"], found["moreResult"]
            yield found.get("result", []), {"token": token} if more else {}

    def _types(self) -> dict[int, str]:
        found = self.session.ask("GET", self._path("/activities/types.json"))["result"]
        return {one["id"]: one["name"] for one in found}

    def _worth(self, leads: Sequence[str]) -> dict[str, Row]:
        """Return what the primary opportunity of each of some leads is worth."""
        worth: dict[str, Row] = {}
        for start in range(0, len(leads), AT_ONCE):
            roles = self._objects("/opportunities/roles.json", "leadId", leads[start : start + AT_ONCE])
            whose = {role["externalOpportunityId"]: str(role["leadId"]) for role in roles if role.get("isPrimary")}
            for one in self._objects("/opportunities.json", "externalOpportunityId", sorted(whose)):
                told = {"amount": one.get("amount"), "currency": one.get("currency")}
                worth[whose[one["externalOpportunityId"]]] = told
        return worth

    def _objects(self, path: str, by: str, values: Sequence[str]) -> list[Row]:
        if not values:
            return []
        asked = {"filterType": by, "filterValues": ",".join(values)}  # too long for an address
        found = self.session.ask("POST", self._path(path), data=asked, params={"_method": "GET"})
        return list(found.get("result", []))

    def _path(self, rest: str) -> str:
        return f"/rest/{self.settings.version}{rest}"


def _judge(response: httpx.Response) -> Verdict:
    verdict = by_status(response)
    if verdict != "fine" or "json" not in response.headers.get("content-type", ""):
        return verdict
    told = response.json()
    codes = {str(error["code"]) for error in told.get("errors") or []} if not told.get("success", True) else set()
    if codes & DAY_OVER:
        return "day over"
    if codes & EXPIRED:
        return "expired"
    return "busy" if codes & BUSY else "refused" if codes else "fine"


def _line(activity: Row, kind: str) -> Row:
    told = {attribute["name"]: attribute["value"] for attribute in activity.get("attributes", [])}
    return {"id": activity.get("marketoGUID") or str(activity["id"]), "lead": str(activity["leadId"]), "type": kind,
            "at": activity["activityDate"], "of": activity.get("primaryAttributeValue"), "told": told}  # fmt: skip


def _fields(score: Score) -> dict[str, Any]:
    values = {NAMES[name]: field.value(score) for name, field in FIELDS.items()}
    return {name: f"{v:%Y-%m-%dT%H:%M:%SZ}" if isinstance(v, datetime) else v for name, v in values.items()}


def _reasons(one: Row) -> str:
    return "; ".join(reason["message"] for reason in one.get("reasons", [])) or f"Marketo {one['status']} it."
