"""A stand-in for HubSpot: contacts, companies, deals, meetings, calls and their histories; e-mail; forms; writes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors.moments import iso_of, milliseconds
from connectors.standins.population import Person
from connectors.standins.standin import Standin

Record = dict[str, Any]
EMAIL = {"email_sent": "SENT", "email_open": "OPEN", "email_click": "CLICK"}
CALLS, MEETINGS = {"sales_call"}, {"sales_meeting"}
FORMS = {"form_fill": "Newsletter", "demo_request": "Ask for a demo"}
LIFECYCLE = {"mql": "marketingqualifiedlead", "sql": "salesqualifiedlead"}
PIPELINE = (("appointmentscheduled", "Opportunity", "false", "0.4"), ("closedwon", "Closed won", "true", "1.0"),
            ("closedlost", "Closed lost", "true", "0.0"))  # fmt: skip
DEAL = {"opportunity": "appointmentscheduled", "won": "closedwon", "lost": "closedlost"}
SEARCHABLE = 10_000


@dataclass
class HubSpot(Standin):
    """HubSpot's state; ``token`` is what it takes, ``client`` what it gives one for."""

    token: str = "pat-standin"  # noqa: S105  # it opens nothing
    refresh_token: str = "refresh-standin"  # noqa: S105
    objects: dict[str, dict[str, Record]] = field(default_factory=dict)
    links: dict[tuple[str, str], dict[str, list[str]]] = field(default_factory=dict)
    emails: list[Record] = field(default_factory=list)
    submissions: dict[str, list[Record]] = field(default_factory=dict)
    visits: dict[str, list[Record]] = field(default_factory=dict)
    properties: dict[str, Record] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    ordered: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, people: Iterable[Person], began: datetime, **more: Any) -> HubSpot:
        """Return HubSpot as these people's company would have it."""
        hubspot = cls(began, **more)
        for person in people:
            hubspot.meet(person)
        hubspot.emails.sort(key=lambda event: event["created"], reverse=True)
        for some in hubspot.submissions.values():
            some.sort(key=lambda one: one["submittedAt"], reverse=True)
        return hubspot

    def put(self, kind: str, number: str, moment: datetime, **values: Any) -> None:
        """Set properties of an object at a moment, and keep what they were."""
        at = iso_of(milliseconds(moment))
        made = {"id": number, "createdAt": at, "updatedAt": at, "properties": {}, "history": {}}
        one = self.objects.setdefault(kind, {}).setdefault(number, made)
        one["updatedAt"] = max(one["updatedAt"], at)
        for name, value in values.items():
            if value is not None:
                one["properties"][name] = str(value)
                told = {"value": str(value), "timestamp": at, "sourceType": "CRM_UI", "sourceId": "standin"}
                one["history"].setdefault(name, []).insert(0, told)

    def link(self, kind: str, one: str, to: str, other: str) -> None:
        """Associate two objects."""
        self.links.setdefault((kind, to), {}).setdefault(one, []).append(other)

    def meet(self, person: Person) -> None:
        """Take in a person with all that is known of them."""
        contact, known = str(person.number), person.known
        company = "9" + "".join(filter(str.isdigit, known["account_id"])) if known.get("account_id") else None
        if company and company not in self.objects.get("companies", {}):
            size = str(known.get("company_size") or "").split("-")[0] or None
            self.put("companies", company, person.created, industry=known.get("industry"), numberofemployees=size)
        self.put(
            "contacts", contact, person.created, email=person.email, lifecyclestage="lead",
            hs_analytics_source=known.get("source"), jobtitle=known.get("seniority"), country=known.get("country"),
            associatedcompanyid=company, industry=known.get("industry"),
        )  # fmt: skip
        for touch in person.touches:
            self.happen(contact, person, touch)
        for stage in person.stages:
            if stage["stage"] in LIFECYCLE:
                self.put("contacts", contact, stage["occurred_at"], lifecyclestage=LIFECYCLE[stage["stage"]])
            if stage["stage"] in DEAL:
                amount = stage["amount"] or None
                currency = stage["currency"] if amount else None
                self.put("deals", f"7{contact}", stage["occurred_at"], dealstage=DEAL[stage["stage"]],
                         amount=amount, deal_currency_code=currency)  # fmt: skip
                if contact not in self.links.get(("deals", "contacts"), {}).get(f"7{contact}", []):
                    self.link("deals", f"7{contact}", "contacts", contact)

    def happen(self, contact: str, person: Person, touch: Record) -> None:
        """Take in something that a person did."""
        at, kind = touch["occurred_at"], touch["kind"]
        if kind in EMAIL:
            self.emails.append({"id": touch["event_id"], "created": milliseconds(at), "type": EMAIL[kind],
                                "recipient": person.email, "emailCampaignId": 77, "portalId": 1})  # fmt: skip
        elif kind in FORMS:
            said = [{"name": "email", "value": person.email}]
            url = f"https://www.example.com{touch.get('page') or '/form'}"
            one = {"submittedAt": milliseconds(at), "values": said, "pageUrl": url}
            self.submissions.setdefault(kind, []).append(one)
        elif kind in CALLS | MEETINGS:
            named = "calls" if kind in CALLS else "meetings"
            number = str(len(self.objects.get(named, {})) + 1)
            start = iso_of(milliseconds(at))
            moment = {"hs_timestamp": start} if kind in CALLS else {"hs_meeting_start_time": start}
            self.put(named, number, at, **moment, hs_createdate=start)
            self.link(named, number, "contacts", contact)
        elif touch.get("page"):
            url = f"https://www.example.com{touch['page']}"
            event = {"id": touch["event_id"], "eventType": "e_visited_page", "occurredAt": iso_of(milliseconds(at)),
                     "objectId": contact, "objectType": "CONTACT", "properties": {"hs_url": url}}  # fmt: skip
            self.visits.setdefault(contact, []).append(event)

    def is_known(self, request: Request) -> bool:
        """Say whether a caller bears the token."""
        return request.headers.get("authorization") == f"Bearer {self.token}"

    def too_fast(self) -> Response:
        """Return what HubSpot says to those who ask too fast."""
        return _error(429, "RATE_LIMITS", "You have reached your ten_secondly_rolling limit.", "TEN_SECONDLY_ROLLING")

    def day_over(self) -> Response:
        """Return what HubSpot says when the day's calls are used up."""
        return _error(429, "RATE_LIMITS", "You have reached your daily limit.", "DAILY")

    def expired(self) -> Response:
        """Return what HubSpot says to those whose token is over."""
        return _error(401, "EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired.")

    def routes(self) -> list[Route]:
        """Return what can be asked, under dated paths and under those before."""
        crm = {
            "objects/{kind}": (self.listed, ["GET"]), "objects/{kind}/search": (self.search, ["POST"]),
            "objects/{kind}/batch/read": (self.read, ["POST"]), "objects/{kind}/batch/update": (self.update, ["POST"]),
            "objects/{kind}/batch/upsert": (self.update, ["POST"]),
            "associations/{kind}/{to}/batch/read": (self.associated, ["POST"]),
            "pipelines/{kind}": (self.pipelines, ["GET"]), "properties/{kind}": (self.defined, ["GET", "POST"]),
            "properties/{kind}/groups": (self.grouped, ["GET", "POST"]),
        }  # fmt: skip
        routes = []
        for path, (endpoint, methods) in crm.items():
            area, rest = path.split("/", 1)
            routes += [Route(f"/crm/{area}/{{dated:str}}/{rest}", endpoint, methods=methods)]
            routes += [Route(f"/crm/v3/{path}", endpoint, methods=methods)]
        return [
            *sorted(routes, key=lambda route: "/v3/" not in route.path),
            Route("/oauth/v1/token", self.give_token, methods=["POST"]),
            Route("/email/public/v1/events", self.email_events),
            Route("/marketing/forms/{version}", self.forms),
            Route("/form-integrations/v1/submissions/forms/{form}", self.submitted),
            Route("/events/event-occurrences/{version}", self.occurrences),
        ]

    async def give_token(self, request: Request) -> Response:
        """Give a new token for a refresh token."""
        if f"refresh_token={self.refresh_token}" not in (await request.body()).decode():
            return _error(400, "BAD_REFRESH_TOKEN", "missing or unknown refresh token")
        return JSONResponse({"access_token": self.token, "refresh_token": self.refresh_token, "expires_in": 1800})

    async def listed(self, request: Request) -> Response:
        """List objects, by id."""
        history = request.query_params.get("propertiesWithHistory", "").split(",")
        most = 50 if any(history) else 100
        limit = int(request.query_params.get("limit", 10))
        if limit > most:
            return _error(400, "VALIDATION_ERROR", f"limit may be {most} at most")
        objects = self.objects.get(request.path_params["kind"], {})
        ids = self._ids(request.path_params["kind"])
        start = bisect_right(ids, int(request.query_params.get("after", 0)))
        page = [str(number) for number in ids[start : start + self._size(limit)]]
        shown = [_shown(objects[number], [], history) for number in page]
        more = start + len(page) < len(ids)
        return JSONResponse(
            {"results": shown} | ({"paging": {"next": {"after": page[-1], "link": "…"}}} if more else {})
        )

    async def search(self, request: Request) -> Response:
        """Search objects by filters that must all hold; no more than the first 10,000 are shown."""
        asked = await request.json()
        ((filters),) = [group["filters"] for group in asked["filterGroups"]]
        objects = self.objects.get(request.path_params["kind"], {})
        numbers = map(str, self._ids(request.path_params["kind"]))
        held = [objects[number] for number in numbers if all(_holds(objects[number], one) for one in filters)]
        size, start = self._size(asked.get("limit", 10)), int(asked.get("after", 0))
        shown = [_shown(one, asked.get("properties", []), []) for one in held[:SEARCHABLE][start : start + size]]
        more = {"paging": {"next": {"after": str(start + size)}}} if start + size < len(held) else {}
        return JSONResponse({"total": len(held), "results": shown} | more)

    async def read(self, request: Request) -> Response:
        """Read objects by their ids."""
        asked = await request.json()
        objects, history = self.objects.get(request.path_params["kind"], {}), asked.get("propertiesWithHistory", [])
        if len(asked["inputs"]) > (50 if history else 100):
            return _error(400, "VALIDATION_ERROR", "too many inputs")
        found = [objects[one["id"]] for one in asked["inputs"] if one["id"] in objects]
        return JSONResponse(self._batch([_shown(one, asked.get("properties", []), history) for one in found]))

    async def associated(self, request: Request) -> Response:
        """Say what some objects are associated with."""
        asked = await request.json()
        links = self.links.get((request.path_params["kind"], request.path_params["to"]), {})
        found = [{"from": {"id": one["id"]}, "to": [{"id": to, "type": "contact"} for to in links[one["id"]]]}
                 for one in asked["inputs"] if one["id"] in links]  # fmt: skip
        return JSONResponse(self._batch(found))

    async def update(self, request: Request) -> Response:
        """Update objects by id; those that cannot be are errors beside the others, with status 207."""
        inputs = (await request.json())["inputs"]
        if len(inputs) > 100:  # noqa: PLR2004
            return _error(400, "VALIDATION_ERROR", "too many inputs")
        unknown = {name for one in inputs for name in one["properties"] if name not in self.properties}
        if unknown:
            return _error(400, "VALIDATION_ERROR", f"Property {min(unknown)} does not exist")
        objects, done, errors = self.objects.get(request.path_params["kind"], {}), [], []
        for one in inputs:
            if one["id"] in self.switches.refused or one["id"] not in objects:
                why = {"category": "VALIDATION_ERROR", "message": "Validation rule: no scores"}
                errors.append({"status": "error", **why, "context": {"ids": [one["id"]]}})
                continue
            self.put(request.path_params["kind"], one["id"], self.moment(), **one["properties"])
            done.append(_shown(objects[one["id"]], one["properties"], []))
        told = self._batch(done) | ({"numErrors": len(errors), "errors": errors} if errors else {})
        return JSONResponse(told, 207 if errors else 200)

    async def pipelines(self, _: Request) -> Response:
        """List the pipelines of deals."""
        at = {"createdAt": iso_of(0), "updatedAt": iso_of(0), "archived": False, "displayOrder": 0}
        may = {"writePermissions": "CRM_PERMISSIONS_ENFORCEMENT"}
        stages = [{"id": id_, "label": label, "metadata": {"isClosed": closed, "probability": p}, **at, **may}
                  for id_, label, closed, p in PIPELINE]  # fmt: skip
        return JSONResponse({"results": [{"id": "default", "label": "Sales", "stages": stages, **at}]})

    async def defined(self, request: Request) -> Response:
        """List properties, or define one."""
        if request.method == "GET":
            return JSONResponse({"results": list(self.properties.values())})
        asked = await request.json()
        if asked["name"] in self.properties:
            return _error(409, "OBJECT_ALREADY_EXISTS", "A property of this name exists")
        if asked["groupName"] not in self.groups:
            return _error(400, "VALIDATION_ERROR", "There is no such group")
        self.properties[asked["name"]] = {**asked, "description": "", "options": []}
        return JSONResponse(self.properties[asked["name"]], 201)

    async def grouped(self, request: Request) -> Response:
        """List groups of properties, or define one."""
        if request.method == "POST":
            self.groups.add((await request.json())["name"])
        shown = [{"name": name, "label": name, "displayOrder": 0, "archived": False} for name in sorted(self.groups)]
        return JSONResponse(
            {"results": shown} if request.method == "GET" else shown[0], 200 if request.method == "GET" else 201
        )

    async def email_events(self, request: Request) -> Response:
        """List e-mail events, the latest first."""
        since = int(request.query_params.get("startTimestamp", 0))
        held = [event for event in self.emails if event["created"] >= since] if since else self.emails
        start = int(request.query_params.get("offset", 0))
        size = self._size(int(request.query_params.get("limit", 10)))
        more = start + size < len(held)
        return JSONResponse({"hasMore": more, "offset": str(start + size), "events": held[start : start + size]})

    async def forms(self, _: Request) -> Response:
        """List forms."""
        return JSONResponse({"results": [{"id": kind, "name": name} for kind, name in FORMS.items()]})

    async def submitted(self, request: Request) -> Response:
        """List what was submitted with a form, the latest first."""
        held, start = self.submissions.get(request.path_params["form"], []), int(request.query_params.get("after", 0))
        size = self._size(int(request.query_params.get("limit", 10)))
        more = {"paging": {"next": {"after": str(start + size)}}} if start + size < len(held) else {}
        return JSONResponse({"results": held[start : start + size]} | more)

    async def occurrences(self, request: Request) -> Response:
        """List what a contact did on the web."""
        asked = request.query_params
        since = asked.get("occurredAfter", "")
        held = [one for one in self.visits.get(asked["objectId"], [])
                if not since or datetime.fromisoformat(one["occurredAt"]) > datetime.fromisoformat(since)]  # fmt: skip
        return JSONResponse({"results": held})

    def _ids(self, kind: str) -> list[int]:
        """Return the ids of objects in their order; it is found anew when there are more."""
        known, objects = self.ordered.get(kind, []), self.objects.get(kind, {})
        if len(known) != len(objects):
            known = self.ordered[kind] = sorted(map(int, objects))
        return known

    def _size(self, asked: int) -> int:
        return max(1, asked // 3) if self.switches.short_pages else asked

    def _batch(self, results: list[Record]) -> Record:
        at = iso_of(milliseconds(self.moment()))
        return {"status": "COMPLETE", "results": results, "startedAt": at, "completedAt": at}


def _shown(one: Record, properties: Iterable[str], history: Iterable[str]) -> Record:
    told = {name: one["history"][name] for name in history if name in one["history"]}
    shown = {"hs_object_id": one["id"]} | {name: one["properties"].get(name) for name in properties}
    at = {name: one[name] for name in ("id", "createdAt", "updatedAt")}
    return {**at, "archived": False, "properties": shown, **({"propertiesWithHistory": told} if told else {})}


def _holds(one: Record, asked: Record) -> bool:
    if asked["propertyName"] == "hs_object_id":
        return int(one["id"]) > int(asked["value"])
    return milliseconds(one["updatedAt"]) >= int(asked["value"])


def _error(status: int, category: str, message: str, policy: str | None = None) -> Response:
    told = {"status": "error", "message": message, "category": category, "correlationId": "0"}
    return JSONResponse(told | ({"policyName": policy} if policy else {}), status)
