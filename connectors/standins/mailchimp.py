"""A stand-in for Mailchimp: one audience, its campaigns and their reports, merge fields, tags, and batches."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from connectors.standins.population import Person
from connectors.standins.standin import Standin

Record = dict[str, Any]
ACTIONS = {"email_open": "open", "email_click": "click"}

NOT_FOUND = {"title": "Resource Not Found", "status": 404, "detail": "The requested resource could not be found."}
INVALID = {"title": "Invalid Resource", "status": 400, "detail": "Your merge fields were invalid.",
           "errors": [{"field": "SCOREGRADE", "message": "Value must be one of: Hot, Cold"}]}  # fmt: skip


@dataclass
class Mailchimp(Standin):
    """Mailchimp's state."""

    key: str = "standinkey-us1"
    audience: str = "a1b2c3"
    people: dict[str, Record] = field(default_factory=dict)
    campaigns: dict[str, Record] = field(default_factory=dict)
    sent: dict[str, list[str]] = field(default_factory=dict)
    activity: dict[str, dict[str, list[Record]]] = field(default_factory=dict)
    merge_fields: list[Record] = field(default_factory=list)
    tags: dict[str, set[str]] = field(default_factory=dict)
    jobs: dict[str, Record] = field(default_factory=dict)

    @classmethod
    def of(cls, people: Iterable[Person], began: datetime, **more: Any) -> Mailchimp:
        """Return Mailchimp as these people's company would have it: a campaign a day on which mail was sent."""
        mailchimp = cls(began, **more)
        for person in people:
            mailchimp.meet(person)
        return mailchimp

    def join(self, email: str, moment: datetime, **fields: Any) -> str:
        """Take in a member."""
        number = hashlib.md5(email.lower().encode(), usedforsecurity=False).hexdigest()
        self.people[number] = {
            "id": number, "email_address": email, "status": "subscribed", "merge_fields": fields, "source": "Web",
            "timestamp_opt": _at(moment), "timestamp_signup": "", "last_changed": _at(moment), "list_id": self.audience,
        }  # fmt: skip
        return number

    def send(self, moment: datetime, member: str, title: str) -> str:
        """Send the campaign of a day to a member."""
        number = f"c{moment:%y%m%d}"
        told = {
            "id": number,
            "status": "sent",
            "type": "regular",
            "send_time": _at(moment.replace(hour=0, minute=0, second=0)),
        }
        self.campaigns.setdefault(number, {**told, "settings": {"title": title, "subject_line": title}})
        if member not in self.sent.setdefault(number, []):
            self.sent[number].append(member)
        return number

    def act(self, moment: datetime, member: str, action: str, title: str = "Mail") -> None:
        """Let a member do something with the campaign of that day."""
        number = self.send(moment, member, title)
        done = {"action": action, "timestamp": _at(moment), "ip": "192.0.2.1"}
        self.activity.setdefault(number, {}).setdefault(member, []).append(done)

    def meet(self, person: Person) -> None:
        """Take in a person with all that is known of them."""
        told = {"INDUSTRY": person.known.get("industry") or "", "COUNTRY": person.known.get("country") or ""}
        member = self.join(person.email, person.created, **told)
        for touch in person.touches:
            if touch["kind"] == "email_sent":
                self.send(touch["occurred_at"], member, touch.get("campaign") or "Mail")
            elif touch["kind"] in ACTIONS:
                self.act(touch["occurred_at"], member, ACTIONS[touch["kind"]], touch.get("campaign") or "Mail")

    def is_known(self, request: Request) -> bool:
        """Say whether a caller bears the key, under whatever name."""
        scheme, _, told = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return told == self.key
        try:
            return base64.b64decode(told).decode().rpartition(":")[2] == self.key
        except ValueError:
            return False

    def too_fast(self) -> Response:
        """Return what Mailchimp says to those who open too many connections: sometimes a bare 403."""
        return PlainTextResponse("Forbidden", 403) if len(self.calls) % 2 else _error(429, "Too Many Requests")

    def day_over(self) -> Response:
        """Return what Mailchimp would say, had it a daily quota."""
        return _error(429, "Too Many Requests")

    def expired(self) -> Response:
        """Return what Mailchimp says to those whose key is wrong."""
        return _error(401, "API Key Invalid")

    def routes(self) -> list[Route]:
        """Return what can be asked."""
        audience = "/3.0/lists/{audience}"
        return [
            Route("/3.0/ping", self.ping),
            Route(f"{audience}/members", self.listed),
            Route(f"{audience}/members/{{member}}", self.member, methods=["GET", "PATCH", "PUT"]),
            Route(f"{audience}/members/{{member}}/tags", self.tagged, methods=["POST"]),
            Route(f"{audience}/merge-fields", self.fields, methods=["GET", "POST"]),
            Route("/3.0/campaigns", self.list_campaigns),
            Route("/3.0/reports/{campaign}/sent-to", self.sent_to),
            Route("/3.0/reports/{campaign}/email-activity", self.email_activity),
            Route("/3.0/batches", self.begin, methods=["POST"]),
            Route("/3.0/batches/{job}", self.batch),
            Route("/results/{job}", self.result),
        ]

    async def ping(self, _: Request) -> Response:
        """Say that all is well."""
        return JSONResponse({"health_status": "Everything's Chimpy!"})

    async def listed(self, request: Request) -> Response:
        """List members, by when they joined."""
        since = request.query_params.get("since_last_changed", "")
        rows = [one for one in self.people.values() if not since or _moment(one["last_changed"]) >= _moment(since)]
        return self._page(request, "members", sorted(rows, key=lambda one: (one["timestamp_opt"], one["id"])))

    async def member(self, request: Request) -> Response:
        """Return a member, or update one."""
        sent = {} if request.method == "GET" else await request.json()
        status, told = self._patch(request.path_params["member"], sent)
        return JSONResponse(told, status)

    async def tagged(self, request: Request) -> Response:
        """Give tags to a member, and take them."""
        status, told = self._tag(request.path_params["member"], await request.json())
        return JSONResponse(told, status) if told else Response(status_code=status)

    async def fields(self, request: Request) -> Response:
        """List merge fields, or define one."""
        if request.method == "GET":
            return self._page(request, "merge_fields", self.merge_fields)
        asked = await request.json()
        if len(asked.get("tag", "")) > 10 or asked["tag"] in {one["tag"] for one in self.merge_fields}:  # noqa: PLR2004
            return _error(400, "Invalid Resource")
        self.merge_fields.append({**asked, "merge_id": len(self.merge_fields) + 1, "list_id": self.audience})
        return JSONResponse(self.merge_fields[-1])

    async def list_campaigns(self, request: Request) -> Response:
        """List campaigns that were sent."""
        since = request.query_params.get("since_send_time", "")
        rows = [one for one in self.campaigns.values() if not since or _moment(one["send_time"]) > _moment(since)]
        return self._page(request, "campaigns", sorted(rows, key=lambda one: one["send_time"]))

    async def sent_to(self, request: Request) -> Response:
        """List to whom a campaign was sent."""
        number = request.path_params["campaign"]
        rows = [{"email_id": one, "email_address": self.people[one]["email_address"], "status": "sent",
                 "campaign_id": number} for one in self.sent.get(number, [])]  # fmt: skip
        return self._page(request, "sent_to", rows)

    async def email_activity(self, request: Request) -> Response:
        """List what was done with a campaign."""
        number, since = request.path_params["campaign"], request.query_params.get("since", "")
        rows = []
        for member in self.sent.get(number, []):
            done = self.activity.get(number, {}).get(member, [])
            done = [one for one in done if not since or _moment(one["timestamp"]) > _moment(since)]
            if done or not since:
                told = {"email_id": member, "email_address": self.people[member]["email_address"]}
                rows.append({**told, "campaign_id": number, "list_id": self.audience, "activity": done})
        return self._page(request, "emails", rows)

    async def begin(self, request: Request) -> Response:
        """Begin a batch."""
        number = f"b{len(self.jobs) + 1}"
        operations = (await request.json())["operations"]
        told = {"id": number, "status": "pending", "total_operations": len(operations), "errored_operations": 0}
        url = f"{request.url.scheme}://{request.url.netloc}/results/{number}"
        self.jobs[number] = {**told, "finished_operations": 0, "response_body_url": url, "answers": operations}
        return JSONResponse({**told, "response_body_url": "", "submitted_at": _at(self.moment())})

    async def batch(self, request: Request) -> Response:
        """Say how far a batch is; it is finished the second time somebody asks."""
        job = self.jobs[request.path_params["job"]]
        if job["status"] == "started":
            job["answers"] = [self._answer(operation) for operation in job["answers"]]
            job["errored_operations"] = sum(one["status_code"] >= 400 for one in job["answers"])  # noqa: PLR2004
            job["finished_operations"] = len(job["answers"])
        job["status"] = {"pending": "started"}.get(job["status"], "finished")
        return JSONResponse({name: value for name, value in job.items() if name != "answers"})

    async def result(self, request: Request) -> Response:
        """Return the answers of a batch as an archive."""
        if "authorization" in request.headers:
            return _error(400, "Only one auth mechanism allowed")  # as the store of such archives says
        text, packed = json.dumps(self.jobs[request.path_params["job"]]["answers"]).encode(), io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            entry = tarfile.TarInfo("answers.json")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
        return Response(packed.getvalue(), media_type="application/gzip")

    async def trouble(self, request: Request) -> Response | None:
        """Return what goes wrong with a call; archives are kept elsewhere, and their addresses are their secrets."""
        return None if request.url.path.startswith("/results/") else await super().trouble(request)

    def _answer(self, operation: Record) -> Record:
        body, parts = json.loads(operation["body"]), operation["path"].split("/")
        status, told = self._tag(parts[4], body) if parts[-1] == "tags" else self._patch(parts[4], body)
        return {"operation_id": operation["operation_id"], "status_code": status, "response": json.dumps(told)}

    def _patch(self, member: str, sent: Record) -> tuple[int, Record]:
        if member not in self.people:
            return 404, NOT_FOUND
        if member in self.switches.refused and sent:
            return 400, INVALID
        one = self.people[member]
        if sent:
            one["merge_fields"] |= sent.get("merge_fields", {})
            one["last_changed"] = _at(self.moment())
        return 200, one

    def _tag(self, member: str, sent: Record) -> tuple[int, Record]:
        if member not in self.people:
            return 404, NOT_FOUND
        if member in self.switches.refused:
            return 400, INVALID
        for tag in sent["tags"]:
            held = self.tags.setdefault(member, set())
            (held.add if tag["status"] == "active" else held.discard)(tag["name"])
        return 204, {}

    def _page(self, request: Request, key: str, rows: list[Record]) -> Response:
        count, offset = (int(request.query_params.get(name, least)) for name, least in (("count", 10), ("offset", 0)))
        if count > 1000:  # noqa: PLR2004
            return _error(400, "Invalid Resource")
        size = max(1, count // 100) if self.switches.short_pages else count
        return JSONResponse({key: rows[offset : offset + size], "total_items": len(rows)})


def _at(moment: datetime) -> str:
    return moment.replace(microsecond=0).isoformat()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace(" ", "+"))


def _error(status: int, title: str) -> Response:
    return JSONResponse(
        {"type": "about:blank", "title": title, "status": status, "detail": f"{title}.", "instance": "0"}, status
    )
