"""A stand-in for Marketo: bulk extracts, activities, changes, opportunities, and writes by call or by file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors.standins.population import Person
from connectors.standins.standin import Standin

Record = dict[str, Any]
TYPES = {
    1: "Visit Webpage", 2: "Fill Out Form", 3: "Click Link", 6: "Send Email", 7: "Email Delivered", 10: "Open Email",
    11: "Click Email", 12: "New Lead", 13: "Change Data Value", 22: "Change Score", 46: "Interesting Moment",
    104: "Change Status in Progression",
}  # fmt: skip
DONE = {"page_view": 1, "pricing_view": 1, "form_fill": 2, "demo_request": 2, "email_sent": 6, "email_open": 10,
        "email_click": 11, "sales_call": 46, "sales_meeting": 46, "webinar_attended": 104}  # fmt: skip
STANDARD = ("id", "email", "createdAt", "updatedAt", "leadSource", "industry", "title", "country", "numberOfEmployees",
            "unsubscribed", "lifecycleStatus")  # fmt: skip
PAGE = 300
CHANGE = 13


@dataclass
class Marketo(Standin):
    """Marketo's state: leads, activities in the order of time, opportunities, jobs."""

    client: tuple[str, str] = ("standin-client", "standin-secret")
    token: str = "standin-token:us"  # noqa: S105  # it opens nothing
    people: dict[int, Record] = field(default_factory=dict)
    done: list[Record] = field(default_factory=list)
    opportunities: dict[str, Record] = field(default_factory=dict)
    roles: list[Record] = field(default_factory=list)
    programs: dict[int, Record] = field(default_factory=dict)
    members: list[Record] = field(default_factory=list)
    fields: dict[str, Record] = field(default_factory=dict)
    jobs: dict[str, Record] = field(default_factory=dict)

    @classmethod
    def of(cls, people: Iterable[Person], began: datetime, **more: Any) -> Marketo:
        """Return Marketo as these people's company would have it."""
        marketo = cls(began, **more)
        for person in people:
            marketo.meet(person)
        marketo.done.sort(key=lambda activity: activity["activityDate"])
        return marketo

    def meet(self, person: Person) -> None:
        """Take in a person with all that is known of them."""
        known, at = person.known, _at(person.created)
        size = str(known.get("company_size") or "").split("-")[0]
        self.people[person.number] = {
            "id": person.number, "email": person.email, "createdAt": at, "updatedAt": at,
            "title": known.get("seniority"),
            "leadSource": known.get("source"), "industry": known.get("industry"), "country": known.get("country"),
            "numberOfEmployees": size or None, "unsubscribed": False, "lifecycleStatus": None,
        }  # fmt: skip
        for stage in person.stages:
            self.change(person.number, stage["occurred_at"], "lifecycleStatus", stage["stage"].title())
            if stage["amount"]:
                key, currency = f"opp-{person.number}", stage["currency"]
                told = {"marketoGUID": key, "externalOpportunityId": key, "amount": float(stage["amount"])}
                self.opportunities[key] = {**told, "seq": 0, "currency": currency}
                role = {"seq": 0, "marketoGUID": f"role-{person.number}", "externalOpportunityId": key}
                self.roles.append({**role, "leadId": person.number, "isPrimary": True})
        for touch in person.touches:
            if touch["kind"] in DONE:
                named = touch.get("page") or touch.get("campaign") or touch["kind"]
                self.happen(person.number, touch["occurred_at"], DONE[touch["kind"]], named)
                if touch["kind"] == "webinar_attended":
                    self.join(person.number, touch["occurred_at"], named, "Webinar")

    def happen(self, lead: int, at: datetime, kind: int, named: str, **more: Any) -> Record:
        """Take in something that a lead did."""
        number = len(self.done) + 1
        about = [{"name": "Webpage URL", "value": f"https://www.example.com{named}"}] if kind in {1, 3} else []
        told = {
            "id": number,
            "marketoGUID": f"{number}",
            "leadId": lead,
            "activityDate": _at(at),
            "activityTypeId": kind,
        }
        self.done.append({**told, "primaryAttributeValue": named, "attributes": about, **more})
        return self.done[-1]

    def join(self, lead: int, at: datetime, name: str, channel: str, *, reached: bool = True) -> None:
        """Make a lead a member of a program, who reached its success, or did not yet."""
        known = [number for number, program in self.programs.items() if program["name"] == name]
        number = known[0] if known else 1000 + len(self.programs)
        self.programs.setdefault(number, {"id": number, "name": name, "type": "Event", "channel": channel})
        told = {"seq": 0, "leadId": lead, "programId": number, "acquiredBy": False, "membershipDate": _at(at)}
        done = {"reachedSuccess": reached, "reachedSuccessDate": _at(at) if reached else None, "updatedAt": _at(at)}
        self.members = [one for one in self.members if (one["leadId"], one["programId"]) != (lead, number)]
        self.members.append({**told, **done})

    def change(self, lead: int, at: datetime, name: str, value: Any) -> None:
        """Change a field of a lead."""
        one = self.people[lead]
        changed = {"id": 1, "name": name, "newValue": value, "oldValue": one.get(name)}
        self.happen(lead, at, CHANGE, name, fields=[changed])
        one |= {name: value, "updatedAt": max(one["updatedAt"], _at(at))}

    def is_known(self, request: Request) -> bool:
        """Say whether a caller bears the token."""
        return request.headers.get("authorization") == f"Bearer {self.token}"

    def too_fast(self) -> Response:
        """Return what Marketo says to those who ask too fast."""
        return _no("606", "Max rate limit '100' exceeded with in '20' secs")

    def day_over(self) -> Response:
        """Return what Marketo says when the day's calls are used up."""
        return _no("607", "Daily quota '50000' exceeded")

    def expired(self) -> Response:
        """Return what Marketo says to those whose token is over."""
        return _no("602", "Access token expired")

    def routes(self) -> list[Route]:
        """Return what can be asked."""
        return [
            Route("/identity/oauth/token", self.give_token, methods=["GET", "POST"]),
            Route("/rest/v1/activities/types.json", self.types),
            Route("/rest/v1/activities/pagingtoken.json", self.paging_token),
            Route("/rest/v1/activities/leadchanges.json", self.activities),
            Route("/rest/v1/activities.json", self.activities),
            Route("/rest/v1/leads/schema/fields.json", self.schema, methods=["GET", "POST"]),
            Route("/rest/v1/leads.json", self.leads, methods=["GET", "POST"]),
            Route("/rest/v1/opportunities/roles.json", self.custom, methods=["GET", "POST"]),
            Route("/rest/v1/opportunities.json", self.custom, methods=["GET", "POST"]),
            Route("/rest/asset/v1/programs.json", self.listed),
            Route("/rest/v1/programs/{program}/members.json", self.membership),
            Route("/bulk/v1/leads/export/create.json", self.create, methods=["POST"]),
            Route("/bulk/v1/leads/export/{job}/enqueue.json", self.status, methods=["POST"]),
            Route("/bulk/v1/leads/export/{job}/status.json", self.status),
            Route("/bulk/v1/leads/export/{job}/file.json", self.file),
            Route("/bulk/v1/leads.json", self.take_file, methods=["POST"]),
            Route("/bulk/v1/leads/batch/{job}.json", self.batch),
            Route("/bulk/v1/leads/batch/{job}/failures.json", self.failures),
        ]

    async def give_token(self, request: Request) -> Response:
        """Give a token to a LaunchPoint service."""
        asked = {**request.query_params} | {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
        if (asked.get("client_id"), asked.get("client_secret")) != self.client:
            told = {"error": "unauthorized", "error_description": "Bad client credentials"}
            return JSONResponse(told, 401)
        told = {"access_token": self.token, "token_type": "bearer", "scope": "api@example.com"}
        return JSONResponse({**told, "expires_in": 3599})

    async def types(self, _: Request) -> Response:
        """List the types of activities."""
        about = {"primaryAttribute": {"name": "Name", "dataType": "string"}, "attributes": []}
        return _yes([{"id": id_, "name": name, "description": name, **about} for id_, name in TYPES.items()])

    async def paging_token(self, request: Request) -> Response:
        """Return a token for all activities since a moment."""
        try:
            since = datetime.fromisoformat(request.query_params.get("sinceDatetime", "").replace(" ", "+"))
        except ValueError:
            return _no("1003", "Invalid sinceDatetime")
        first = next((i for i, one in enumerate(self.done) if one["activityDate"] >= _at(since)), len(self.done))
        return _yes([], nextPageToken=f"{first}")

    async def activities(self, request: Request) -> Response:
        """Return the activities after a token; those of other types are passed over, so pages may be short."""
        asked, changes = request.query_params, request.url.path.endswith("leadchanges.json")
        start, fields = asked.get("nextPageToken", ""), set(asked.get("fields", "").split(","))
        kinds = (
            {CHANGE}
            if changes
            else {int(one) for one in asked.get("activityTypeIds", "").split(",") if one.isdecimal()}
        )
        if not start.isdecimal() or not kinds or len(kinds) > 10 or (changes and fields == {""}):  # noqa: PLR2004
            return _no("1003", "Invalid nextPageToken, activityTypeIds or fields")
        end = int(start) + (PAGE // 3 if self.switches.short_pages else PAGE)
        some = [one for one in self.done[int(start) : end] if one["activityTypeId"] in kinds]
        if changes:
            some = [{**one, "fields": [f for f in one["fields"] if f["name"] in fields]} for one in some]
        else:
            some = [{name: value for name, value in one.items() if name != "fields"} for one in some]
        return _yes(some, nextPageToken=f"{min(end, len(self.done))}", moreResult=end < len(self.done))

    async def schema(self, request: Request) -> Response:
        """List the fields of leads, or define some."""
        if request.method == "GET":
            return _yes([*map(_field, STANDARD), *self.fields.values()], moreResult=False)
        asked, answers = await _json(request), list[Record]()
        if not isinstance(asked, dict) or not isinstance(asked.get("input"), list):
            return _no("609", "Invalid JSON")
        for one in asked["input"]:
            if not isinstance(one, dict) or not isinstance(one.get("name"), str):
                return _no("1003", "A field has no name")
            self.fields[one["name"]] = _field(one["name"], is_custom=True)
            answers.append({"name": one["name"], "status": "created"})
        return _yes(answers)

    async def leads(self, request: Request) -> Response:
        """Return leads by a filter, or update some, each for itself."""
        if request.method == "GET" or request.query_params.get("_method") == "GET":
            values = set(request.query_params.get("filterValues", "").split(","))
            by, names = (
                request.query_params.get("filterType", ""),
                request.query_params.get("fields", "id,email").split(","),
            )
            if by not in STANDARD:
                return _no("1003", "Invalid filterType")
            found = [one for one in self.people.values() if str(one.get(by)) in values]
            return _yes(
                [{"id": one["id"], **{name: one.get(name) for name in names}} for one in found], moreResult=False
            )
        asked = await _json(request)
        if not isinstance(asked, dict) or not isinstance(asked.get("input"), list) or len(asked["input"]) > PAGE:
            return _no("609", "Invalid JSON, or more than 300 leads")
        if not all(isinstance(row, dict) for row in asked["input"]):
            return _no("609", "Invalid JSON")
        return _yes([self._update(row) for row in asked["input"]])

    async def custom(self, request: Request) -> Response:
        """Return opportunities, or the roles of leads in them."""
        form = {key: value[0] for key, value in parse_qs((await request.body()).decode(errors="replace")).items()}
        asked = {**request.query_params, **form}
        by, values = asked.get("filterType", ""), set(asked.get("filterValues", "").split(","))
        rows = self.roles if "roles" in request.url.path else list(self.opportunities.values())
        return _yes([one for one in rows if str(one.get(by)) in values], moreResult=False)

    async def listed(self, request: Request) -> Response:
        """List programs; beyond the last there is a warning, and no result."""
        start = _number(request.query_params.get("offset"))
        some = list(self.programs.values())[
            start : start + min(_number(request.query_params.get("maxReturn"), 20), 200)
        ]
        told = {"success": True, "errors": [], "requestId": "1#1", "warnings": []}
        nothing = {**told, "warnings": ["No assets found for the given search criteria."]}
        return JSONResponse({**told, "result": some} if some else nothing)

    async def membership(self, request: Request) -> Response:
        """Return members of a program who were updated within a window; pages may be short."""
        asked, number = request.query_params, _number(request.path_params["program"])
        if asked.get("filterType") != "updatedAt" or not asked.get("startAt"):
            return _no("1003", "Invalid filterType or startAt")
        start, size = _number(asked.get("nextPageToken")), PAGE // 3 if self.switches.short_pages else PAGE
        window = (asked["startAt"][:19], asked.get("endAt", "9")[:19])
        found = [one for one in self.members if one["programId"] == number
                 and window[0] <= one["updatedAt"][:19] <= window[1]]  # fmt: skip
        token = f"{start + size}" if start + size < len(found) else ""
        return _yes(found[start : start + size], moreResult=bool(token), **({"nextPageToken": token} if token else {}))

    async def create(self, request: Request) -> Response:
        """Create a bulk extract."""
        asked = await _json(request)
        try:
            window, fields = asked["filter"]["createdAt"], [str(name) for name in asked["fields"]]
            start, end = (datetime.fromisoformat(window[name]) for name in ("startAt", "endAt"))
        except (KeyError, TypeError, ValueError):
            return _no("1003", "A filter of createdAt and fields are needed")
        if (end - start).days > 31:  # noqa: PLR2004
            return _no("1003", "The window is longer than 31 days")
        return _yes([self._job(kind="export", fields=fields, start=_at(start), end=_at(end), status="Created")])

    async def status(self, request: Request) -> Response:
        """Enqueue an extract, or say how far it is; it is done the second time somebody asks."""
        job = self.jobs.get(request.path_params["job"])
        if job is None:
            return _no("610", "Requested resource not found")
        following = {"Created": "Created", "Queued": "Processing", "Processing": "Completed"}
        job["status"] = "Queued" if request.method == "POST" else following.get(job["status"], job["status"])
        told = {name: job[name] for name in ("exportId", "status", "format", "createdAt")}
        return _yes([{**told, "numberOfRecords": len(self._rows(job))} if job["status"] == "Completed" else told])

    async def file(self, request: Request) -> Response:
        """Return what an extract found, as CSV."""
        job = self.jobs.get(request.path_params["job"])
        if job is None or job["status"] != "Completed":
            return _no("610", "Requested resource not found")
        text = io.StringIO()
        writer = csv.DictWriter(text, job["fields"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows([{name: "null" if one.get(name) is None else _text(one[name]) for name in job["fields"]}
                          for one in self._rows(job)])  # fmt: skip
        return Response(text.getvalue(), media_type="text/csv")

    async def take_file(self, request: Request) -> Response:
        """Take a file of leads to update."""
        sent = (await request.body()).replace(b"\r\n", b"\n")
        content = sent.partition(b"\n\n")[2].rpartition(b"\n--")[0].decode(errors="replace")
        failed = list[Record]()
        for row in csv.DictReader(io.StringIO(content)):
            answer = self._update({**row, "id": row.get("id")})
            if answer["status"] != "updated":
                failed.append({**row, "Import Failure Reason": answer["reasons"][0]["message"]})
        number = len(self.jobs) + 1
        done = {"batchId": number, "status": "Queued", "numOfLeadsProcessed": 0, "numOfRowsFailed": len(failed)}
        self.jobs[str(number)] = {**done, "failed": failed}
        return _yes(
            [{name: value for name, value in done.items() if name != "numOfRowsFailed"} | {"importId": str(number)}]
        )

    async def batch(self, request: Request) -> Response:
        """Say how far an import is; it is complete the second time somebody asks."""
        job = self.jobs.get(request.path_params["job"])
        if job is None or "failed" not in job:
            return _no("610", "Requested resource not found")
        told = {name: value for name, value in job.items() if name != "failed"}
        job["status"] = "Complete"
        return _yes([told])

    async def failures(self, request: Request) -> Response:
        """Return the rows of an import that failed, as CSV."""
        job = self.jobs.get(request.path_params["job"], {})
        rows = job.get("failed") or [{"id": ""}]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(job.get("failed", []))
        return Response(text.getvalue(), media_type="text/csv")

    def _update(self, row: Record) -> Record:
        number = int(row["id"]) if str(row.get("id")).isdecimal() else 0
        unknown = set(row) - {*STANDARD, *self.fields}
        if unknown:
            return {"status": "skipped", "reasons": [{"code": "1006", "message": f"Field '{min(unknown)}' not found"}]}
        if number not in self.people or str(number) in self.switches.refused:
            return {"status": "skipped", "reasons": [{"code": "1004", "message": "Lead not found"}]}
        self.people[number] |= {name: value for name, value in row.items() if name != "id"}
        self.people[number]["updatedAt"] = _at(self.moment())
        return {"id": number, "status": "updated"}

    def _job(self, **told: Any) -> Record:
        name = f"{len(self.jobs) + 1:08}-0000-0000-0000-000000000000"
        self.jobs[name] = {"exportId": name, "format": "CSV", "createdAt": _at(self.moment()), **told}
        return {key: self.jobs[name][key] for key in ("exportId", "format", "createdAt", "status")}

    def _rows(self, job: Record) -> list[Record]:
        return [one for one in self.people.values() if job["start"] <= one["createdAt"] <= job["end"]]


def _field(name: str, *, is_custom: bool = False) -> Record:
    told = {"name": name, "displayName": name, "description": "", "dataType": "string", "isHidden": False}
    more = {"isHtmlEncodingInEmail": True, "isSensitive": False, "isCustom": is_custom, "isApiCreated": is_custom}
    return {**told, **more}


def _number(text: str | None, otherwise: int = 0) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else otherwise  # noqa: PLR2004


async def _json(request: Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        return None


def _text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _yes(result: list[Record], **more: Any) -> Response:
    return JSONResponse({"requestId": "1#1", "success": True, "errors": [], "warnings": [], "result": result, **more})


def _no(code: str, message: str) -> Response:
    told = {"requestId": "1#1", "success": False, "errors": [{"code": code, "message": message}]}
    return JSONResponse({**told, "warnings": [], "result": []})
