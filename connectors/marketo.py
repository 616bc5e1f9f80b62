"""Marketo: leads, changes of their fields and of their lifecycle, and what they did.

| stream     | calls                                                     | lands a line for each             |
| ---------- | --------------------------------------------------------- | --------------------------------- |
| leads      | bulk extract, by windows of 31 days in which they came    | lead, as it was modified last     |
| changes    | activities/leadchanges, opportunities and their roles     | change of a field, with old value |
| activities | activities/types, activities/pagingtoken, activities      | activity, with its type's name    |
| members    | asset/programs, programs/…/members                        | member of a program               |

Marketo answers 200 and says in the reply whether it means that. Which activities there are is read, never assumed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import zip_longest
from operator import itemgetter
from typing import Any

import httpx

from connectors import marketo_lines as lines
from connectors.landing import Page, Reading, Row
from connectors.said import Present
from connectors.secret import needed
from connectors.session import Manners, Verdict, by_status
from connectors.system import FIELDS, Score, System
from features.errors import ConfigError
from features.settings import Marketo as Settings

AT_ONCE, IN_A_FILE, TYPES_AT_ONCE = 300, 10_000, 10
PROGRAMS = "200"  # at most in one call
WINDOW = timedelta(days=31)  # of a bulk extract
EXPIRED, DAY_OVER = {"601", "602"}, {"607", "1029"}
BUSY = {"502", "604", "606", "608", "611", "615", "713", "1016"}
SUCCESSES = Present(  # which happened, whatever the program is called later
    lambda line: f"{line['program']} {line['leadId']}" if line.get("reachedSuccess") == "true" else "", once=True
)
KINDS = {"number": "float", "text": "text", "time": "datetime"}


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
            Reading("members", self.members, SUCCESSES),
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
            rows = [
                {"id": str(change["leadId"]), "guid": change.get("marketoGUID") or str(change["id"]),
                 "at": change["activityDate"], "field": field["name"], "value": field["newValue"]}
                for change in some for field in change.get("fields", [])
            ]  # fmt: skip
            won = {line["id"] for line in rows if line["value"] in self.asked["won"]}
            worth = self._worth(sorted(won, key=int))
            yield Page([{**line, **worth.get(line["id"], {"amount": None, "currency": None})} for line in rows], then)

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
                rows = [lines.of_activity(activity, names[activity["activityTypeId"]]) for activity in some]
                yield Page(rows, following if following.get("group", 0) < len(groups) else {})

    def members(self, since: str, at: Row) -> Iterator[Page]:
        """Yield who became a member of a program, or had more success in it, program by program."""
        programs = sorted(self._programs(), key=itemgetter("id"))
        left = [program for program in programs if program["id"] >= at.get("program", 0)]
        end = (self.session.time or self.session.moment()).isoformat()
        window = {"filterType": "updatedAt", "startAt": since or self.asked["history_from"], "endAt": end}
        asked = {**window, "fields": ",".join(self.asked["members"])}
        for program, following in zip_longest(left, left[1:]):
            path, place = self._path(f"/programs/{program['id']}/members.json"), at if at.get("token") else {}
            for some, token in self._by_token(path, asked, place.get("token", "")):
                then = {"program": following["id"]} if following else {}
                rows = [lines.of_member(program, member) for member in some]
                yield Page(rows, {"program": program["id"], "token": token} if token else then)
            at = {}

    def prepare(self) -> None:
        """Define the fields that hold a score, where they are missing."""
        fields = self._by_token(self._path("/leads/schema/fields.json"), {"batchSize": str(AT_ONCE)}, "")
        there = {field["name"] for some, _ in fields for field in some}
        missing = [
            {"name": lines.NAMES[name], "displayName": field.label, "dataType": KINDS[field.kind]}
            for name, field in FIELDS.items()
            if lines.NAMES[name] not in there
        ]
        if missing:
            self.session.ask("POST", self._path("/leads/schema/fields.json"), json={"input": missing})

    def write(self, scores: Sequence[Score]) -> list[str]:
        """Update leads by their ids: a few in one call, many by a file."""
        rows = [{"id": int(score.record), **lines.fields_of(score)} for score in scores]
        if len(rows) > AT_ONCE:
            return self._write_by_file(rows)
        asked = {"action": "updateOnly", "lookupField": "id", "input": rows}
        answers = self.session.ask("POST", self._path("/leads.json"), json=asked)["result"]
        return ["" if one["status"] == "updated" else lines.why_of(one) for one in answers]

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

    def _by_token(self, path: str, asked: Row, token: str) -> Iterator[tuple[list[Row], str]]:
        """Yield pages of a list, and the token of the next; of the last, none."""
        more = True
        while more:
            found = self.session.ask("GET", path, params={**asked, **({"nextPageToken": token} if token else {})})
            token, more = found.get("nextPageToken", ""), found.get("moreResult", False)
            yield found.get("result", []), token if more else ""

    def _programs(self) -> list[Row]:
        """Return all programs; beyond the last, Marketo answers with a warning and no result."""
        path, found = f"/rest/asset/{self.settings.version}/programs.json", list[Row]()
        while some := self.session.ask("GET", path, params={"maxReturn": PROGRAMS, "offset": str(len(found))}).get(
            "result"
        ):
            found += some
        return found

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
