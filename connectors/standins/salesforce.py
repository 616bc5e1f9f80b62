"""A stand-in for Salesforce: SOQL of one object, bulk jobs, composite and bulk updates, descriptions of objects."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors.assertion import GRANT
from connectors.standins.population import Person
from connectors.standins.standin import Standin

Record = dict[str, Any]
SOQL = re.compile(r"SELECT (.+?) FROM (\w+)(?: WHERE (.+?))?(?: ORDER BY (.+?))?(?: LIMIT (\d+))?\s*$", re.IGNORECASE)
CONDITION = re.compile(r"([\w.]+) (>=|=|IN) (\(.*\)|'[^']*'|\S+)", re.IGNORECASE)
STAGES = {"opportunity": "Qualification", "won": "Closed Won", "lost": "Closed Lost"}
MEMBERS = {"webinar_attended": "Webinar", "form_fill": "Advertisement", "ad_click": "Advertisement",
           "demo_request": "Referral Program"}  # fmt: skip
STANDARD = ("Id", "Email")
AUDIENCE, LONGEST = "https://login.salesforce.com", 180  # whom assertions are for, and how many seconds they may hold
TRUE = {"true": True, "false": False}


@dataclass
class Salesforce(Standin):
    """Salesforce's state: records by object, jobs by id, and the fields that were deployed to each object."""

    client: tuple[str, str] = ("standin-client", "standin-secret")
    token: str = "00Dstandin!token"  # noqa: S105  # it opens nothing
    username: str = "touchstone@example.com"
    certificate: str = ""  # the public key, in PEM, that assertions of the connected app are checked with
    objects: dict[str, dict[str, Record]] = field(default_factory=dict)
    jobs: dict[str, Record] = field(default_factory=dict)
    deployed: set[str] = field(default_factory=set)
    page: int = 2000

    @classmethod
    def of(cls, people: Iterable[Person], began: datetime, **more: Any) -> Salesforce:
        """Return Salesforce as these people's company would have it: leads, and the contacts that some became."""
        salesforce = cls(began, **more)
        for kind in ("Qualification", "Closed Won", "Closed Lost"):
            told = {"ApiName": kind, "IsClosed": kind != "Qualification", "IsWon": kind == "Closed Won"}
            salesforce.put("OpportunityStage", f"01J{len(kind):015}", began, **told)
        for person in people:
            salesforce.meet(person)
        return salesforce

    def put(self, kind: str, number: str, moment: datetime, **values: Any) -> Record:
        """Set fields of a record at a moment."""
        one = self.objects.setdefault(kind, {}).setdefault(number, {"Id": number, "CreatedDate": _at(moment)})
        one |= {**values, "SystemModstamp": max(one.get("SystemModstamp", ""), _at(moment))}
        return one

    def meet(self, person: Person) -> None:
        """Take in a person with all that is known of them; with their first deal their lead becomes a contact."""
        known, lead, contact = person.known, f"00Q{person.number:015}", f"003{person.number:015}"
        deals = [stage["occurred_at"] for stage in person.stages if stage["stage"] in {"opportunity", "won"}]
        size = str(known.get("company_size") or "").split("-")[0]
        told = {"Email": person.email, "LeadSource": known.get("source"), "Title": known.get("seniority"),
                "HasOptedOutOfEmail": False}  # fmt: skip
        company = {"Industry": known.get("industry"), "NumberOfEmployees": int(size) if size.isdecimal() else None}
        self.put("Lead", lead, person.created, **told, **company, Country=known.get("country"), IsConverted=False,
                 ConvertedContactId=None, ConvertedDate=None)  # fmt: skip
        if deals:
            account = f"001{known.get('account_id') or '':>015}"
            self.put("Contact", contact, deals[0], **told, MailingCountry=known.get("country"), AccountId=account,
                     **{f"Account.{name}": value for name, value in company.items()})  # fmt: skip
            converted = {"IsConverted": True, "ConvertedContactId": contact, "ConvertedDate": f"{deals[0]:%Y-%m-%d}"}
            self.put("Lead", lead, deals[0], **converted)
        for i, stage in enumerate(person.stages):
            at, history = stage["occurred_at"], f"{person.number:010}{i:05}"
            if deals and at >= deals[0] and stage["stage"] in STAGES:
                opportunity = f"006{person.number:015}"
                self.put("OpportunityHistory", f"008{history}", at, OpportunityId=opportunity,
                         StageName=STAGES[stage["stage"]], Amount=_money(stage["amount"]))  # fmt: skip
                self.put("OpportunityContactRole", f"00K{person.number:015}", at, OpportunityId=opportunity,
                         ContactId=contact, IsPrimary=True)  # fmt: skip
            elif not deals or at < deals[0]:
                status = "Unqualified" if stage["stage"] == "lost" else stage["stage"].upper()
                self.put("LeadHistory", f"017{history}", at, LeadId=lead, Field="Status", NewValue=status)
        for touch in person.touches:
            self.happen(lead, contact if deals else None, person, touch)

    def happen(self, lead: str, contact: str | None, person: Person, touch: Record) -> None:
        """Take in something that a person did; what a lead did is moved to the contact that it becomes."""
        at, kind, number = touch["occurred_at"], touch["kind"], f"{sum(map(len, self.objects.values())):015}"
        if kind in MEMBERS:
            name = {"Campaign.Name": touch.get("campaign") or kind, "Campaign.Type": MEMBERS[kind]}
            responded = {"HasResponded": True, "FirstRespondedDate": f"{at:%Y-%m-%d}"}
            self.put("CampaignMember", f"00v{number}", at, LeadId=lead, ContactId=contact, **name, **responded)
        elif kind == "sales_call":
            called = {"TaskSubtype": "Call", "IsClosed": True, "CompletedDateTime": _at(at)}
            self.put("Task", f"00T{number}", at, WhoId=contact or lead, **called)
        elif kind == "sales_meeting":
            self.put("Event", f"00U{number}", at, WhoId=contact or lead, StartDateTime=_at(at))
        elif kind == "email_sent":
            self.put("EmailMessage", f"02s{number}", at, ToAddress=person.email, Incoming=False, MessageDate=_at(at),
                     FirstOpenedDate=None)  # fmt: skip

    def deploy(self) -> None:
        """Deploy the fields of connectors/sfdx."""
        self.deployed = {"Close_Probability__c", "Close_Score__c", "Score_Grade__c", "Score_Trend__c",
                         "Score_Top_Factors__c", "Score_Model_Version__c", "Scored_At__c"}  # fmt: skip

    def is_known(self, request: Request) -> bool:
        """Say whether a caller bears the token."""
        return request.headers.get("authorization") == f"Bearer {self.token}"

    def too_fast(self) -> Response:
        """Return what Salesforce says when it is overloaded: it has no 429."""
        return _error(503, "SERVER_UNAVAILABLE", "Server too busy")

    def day_over(self) -> Response:
        """Return what Salesforce says when the calls of 24 hours are used up."""
        return _error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")

    def expired(self) -> Response:
        """Return what Salesforce says to those whose session is over."""
        return _error(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def routes(self) -> list[Route]:
        """Return what can be asked."""
        base = "/services/data/{version}"
        return [
            Route("/services/oauth2/token", self.give_token, methods=["POST"]),
            Route(f"{base}/query", self.query), Route(f"{base}/query/{{cursor}}", self.query),
            Route(f"{base}/queryAll", self.query),
            Route(f"{base}/sobjects/{{kind}}/describe", self.describe),
            Route(f"{base}/composite/sobjects", self.composite, methods=["PATCH"]),
            Route(f"{base}/composite/sobjects/{{kind}}/{{key}}", self.composite, methods=["PATCH"]),
            Route(f"{base}/jobs/{{way}}", self.begin, methods=["POST"]),
            Route(f"{base}/jobs/query/{{job}}/results", self.results),
            Route(f"{base}/jobs/ingest/{{job}}/batches", self.upload, methods=["PUT"]),
            Route(f"{base}/jobs/ingest/{{job}}/{{which}}", self.written),
            Route(f"{base}/jobs/ingest/{{job}}/{{which}}/", self.written),
            Route(f"{base}/jobs/{{way}}/{{job}}", self.job, methods=["GET", "PATCH"]),
        ]  # fmt: skip

    async def give_token(self, request: Request) -> Response:
        """Give a token to the connected app."""
        asked = dict(parse_qsl((await request.body()).decode()))
        if asked.get("grant_type") == GRANT:
            why = self._disbelieved(asked.get("assertion", ""))
            if why:
                return JSONResponse({"error": "invalid_grant", "error_description": why}, 400)
        elif (asked.get("grant_type"), asked.get("client_id"), asked.get("client_secret")) != (
            "client_credentials", *self.client,
        ):  # fmt: skip
            return JSONResponse({"error": "invalid_client", "error_description": "invalid client credentials"}, 400)
        base = str(request.base_url).rstrip("/")
        told = {"instance_url": base, "id": f"{base}/id/00Dstandin/005standin", "token_type": "Bearer"}
        return JSONResponse({"access_token": self.token, **told})

    async def query(self, request: Request) -> Response:
        """Answer a query, or the next page of one."""
        version = request.path_params["version"]
        cursor = request.path_params.get("cursor")
        soql, start = (self.jobs[cursor.rpartition("-")[0]]["query"], int(cursor.rpartition("-")[2])) if cursor else (
            request.query_params.get("q", ""), 0)  # fmt: skip
        if not SOQL.match(soql):
            return _error(400, "MALFORMED_QUERY", "unexpected token")
        fields, kind, found = self._found(soql)
        size = max(1, self.page // 3) if self.switches.short_pages else self.page
        page = [_nested(kind, record, fields) for record in found[start : start + size]]
        told: Record = {"totalSize": len(found), "done": start + size >= len(found), "records": page}
        if not told["done"]:
            name = cursor.rpartition("-")[0] if cursor else f"01g{len(self.jobs):012}"
            self.jobs[name] = {"query": soql}
            told["nextRecordsUrl"] = f"/services/data/{version}/query/{name}-{start + size}"
        usage = f"api-usage={len(self.calls)}/{self.switches.calls_a_day or 100_000}"
        return JSONResponse(told, headers={"Sforce-Limit-Info": usage})

    async def describe(self, request: Request) -> Response:
        """Describe an object: its standard fields, and those deployed."""
        names = [*STANDARD, *sorted(self.deployed)]
        return JSONResponse({"name": request.path_params["kind"], "fields": [
            {"name": name, "updateable": name != "Id", "type": "string"} for name in names]})  # fmt: skip

    async def composite(self, request: Request) -> Response:
        """Update up to 200 records, each for itself."""
        asked = await request.json()
        if len(asked["records"]) > 200:  # noqa: PLR2004
            return _error(400, "INVALID_INPUT", "The number of records is limited to 200")
        answers = []
        for record in asked["records"]:
            values = {name: value for name, value in record.items() if name not in {"attributes", "id", "Id"}}
            number = record.get("id") or record.get("Id")
            why = self._update(record["attributes"]["type"], str(number), values)
            errors = [{"statusCode": "INVALID_FIELD", "message": why, "fields": []}] if why else []
            answers.append({"id": number, "success": not why, "errors": errors})
        return JSONResponse(answers)

    async def begin(self, request: Request) -> Response:
        """Begin a job."""
        asked, name = await request.json(), f"750{len(self.jobs):012}"
        if request.path_params["way"] == "query" and not SOQL.match(asked["query"]):
            return _error(400, "MALFORMED_QUERY", "unexpected token")
        waiting = "UploadComplete" if request.path_params["way"] == "query" else "Open"
        self.jobs[name] = {**asked, "id": name, "state": waiting, "seen": 0, "failed": [], "apiVersion": 62.0}
        return JSONResponse(self._shown(name))

    async def job(self, request: Request) -> Response:
        """Say how far a job is, or change its state; it is complete the second time somebody asks."""
        name = request.path_params["job"]
        if name not in self.jobs:
            return _error(404, "NOT_FOUND", "no such job")
        job = self.jobs[name]
        if request.method == "PATCH":
            job["state"] = (await request.json())["state"]
        elif job["state"] in {"UploadComplete", "InProgress"}:
            job["state"] = "JobComplete" if job["seen"] else "InProgress"
            job["seen"] += 1
            if job["state"] == "JobComplete" and "content" in job:
                self._run(job)
        return JSONResponse(self._shown(name))

    async def results(self, request: Request) -> Response:
        """Return a page of what a query job found, as CSV."""
        job = self.jobs[request.path_params["job"]]
        fields, _, found = self._found(job["query"])
        start = int(request.query_params.get("locator", 0))
        size = int(request.query_params.get("maxRecords", 50_000)) // (100 if self.switches.short_pages else 1)
        page = [{name: _text(record.get(name)) for name in fields} for record in found[start : start + size]]
        then = str(start + size) if start + size < len(found) else "null"
        headers = {"Sforce-Locator": then, "Sforce-NumberOfRecords": str(len(page))}
        return Response(_csv(fields, page), media_type="text/csv", headers=headers)

    async def upload(self, request: Request) -> Response:
        """Take the records of a job."""
        self.jobs[request.path_params["job"]]["content"] = (await request.body()).decode()
        return Response(status_code=201)

    async def written(self, request: Request) -> Response:
        """Return what became of the records of a job."""
        job, which = self.jobs[request.path_params["job"]], request.path_params["which"]
        rows = {"failedResults": job["failed"], "successfulResults": job.get("succeeded", [])}.get(which, [])
        return Response(_csv(list(rows[0]) if rows else ["Id"], rows), media_type="text/csv")

    def _disbelieved(self, said: str) -> str:
        """Say why an assertion is not believed; nothing, if it is."""
        read = partial(jwt.decode, key=self.certificate, algorithms=["RS256"], audience=AUDIENCE, issuer=self.client[0])
        try:
            told = read(said, options={"verify_exp": False})  # our clock tells
        except jwt.InvalidAudienceError:
            return "audience is invalid"
        except (jwt.PyJWTError, ValueError):
            return "invalid assertion"
        left = told["exp"] - self.moment().timestamp()
        return "" if 0 < left <= LONGEST and told["sub"] == self.username else "expired authorization code"

    def _run(self, job: Record) -> None:
        job["succeeded"] = []
        for row in csv.DictReader(io.StringIO(job["content"])):
            why = self._update(job["object"], row["Id"], {name: value for name, value in row.items() if name != "Id"})
            told = {"sf__Id": row["Id"], "sf__Error": why, **row} if why else {"sf__Id": row["Id"], **row}
            job["failed" if why else "succeeded"].append(told)

    def _update(self, kind: str, number: str, values: Record) -> str:
        """Update one record, and say why not."""
        unknown = set(values) - self.deployed
        if unknown:
            return f"No such column '{min(unknown)}' on sobject of type {kind}"
        if number in self.switches.refused or number not in self.objects.get(kind, {}):
            return "entity is deleted" if number not in self.objects.get(kind, {}) else "Validation rule: no scores"
        if self.objects[kind][number].get("IsConverted"):
            return "cannot reference converted lead"
        self.put(kind, number, self.moment(), **values)
        return ""

    def _shown(self, name: str) -> Record:
        hidden = {"seen", "content", "failed", "succeeded"}
        return {key: value for key, value in self.jobs[name].items() if key not in hidden} | {
            "numberRecordsProcessed": 0, "numberRecordsFailed": len(self.jobs[name]["failed"])}  # fmt: skip

    def _found(self, soql: str) -> tuple[list[str], str, list[Record]]:
        asked = SOQL.match(soql)
        if asked is None:
            raise ValueError(soql)
        fields, kind, where, order, limit = asked.groups()
        found = [record for record in self.objects.get(kind, {}).values() if all(_hold(record, where))]
        by = [name.strip() for name in (order or "Id").split(",")]
        found.sort(key=lambda record: [str(record.get(name, "")) for name in by])
        return [name.strip() for name in fields.split(",")], kind, found[: int(limit) if limit else None]


def _hold(record: Mapping[str, Any], where: str | None) -> Iterator[bool]:
    """Yield whether each condition holds."""
    for name, compared, text in CONDITION.findall(where or ""):
        value = record.get(name)
        if compared.upper() == "IN":
            yield value in re.findall(r"'([^']*)'", text)
        elif compared == "=":
            yield value == TRUE.get(text.lower(), text.strip("'"))
        else:
            yield str(value)[:19] >= text[:19]


def _nested(kind: str, record: Mapping[str, Any], fields: Iterable[str]) -> Record:
    """Return a record as a query shows it, with parents as objects."""
    shown: Record = {"attributes": {"type": kind, "url": f"/services/data/v62.0/sobjects/{kind}/{record['Id']}"}}
    for name in fields:
        parent, _, own = name.rpartition(".")
        (shown.setdefault(parent, {"attributes": {"type": parent}}) if parent else shown)[own] = record.get(name)
    return shown


def _csv(fields: list[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value).replace("+0000", "Z")


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000+0000"


def _money(amount: Any) -> float | None:
    return float(amount) if amount else None


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse([{"message": message, "errorCode": code}], status)
