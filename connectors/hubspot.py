"""HubSpot: contacts with their companies and stages, deals, e-mail, meetings, calls, forms; if allowed, web events.

| stream    | calls                                                  | lands a line for each                           |
| --------- | ------------------------------------------------------ | ----------------------------------------------- |
| contacts  | objects/contacts with history; search when incremental | change of properties, of a stage, of an address |
| deals     | objects/deals with history, associations, pipelines    | change of a deal's stage, for its first contact |
| meetings  | objects/meetings, associations                         | meeting and contact                             |
| calls     | objects/calls, associations                            | call and contact                                |
| emails    | email/public/v1/events                                 | event of a marketing e-mail                     |
| forms     | forms, form-integrations/v1/submissions                | submission                                      |
| webevents | events/event-occurrences of each contact               | page visited (Enterprise accounts only)         |

Histories tell when each value was known; current values alone would tell the model the future.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import pairwise

import httpx

from connectors import hubspot_lines as lines
from connectors.landing import Page, Reading, Row
from connectors.moments import milliseconds
from connectors.said import HISTORY, Present
from connectors.secret import needed, secret
from connectors.session import Manners, Verdict, by_status
from connectors.system import FIELDS, Score, System
from features.errors import ConfigError
from features.settings import HubSpot as Settings

WITH_HISTORY, EMAIL_EVENTS, SUBMISSIONS, FORMS = "50", "1000", "50", "500"  # at most in one call
BATCH = 100
GROUP = "touchstone"
KINDS = {"number": ("number", "number"), "text": ("string", "textarea"), "time": ("datetime", "date")}
TOO_MANY = 429
# A change of a deal's stage is one, whoever becomes its first contact later, and whatever the stage is called then.
DEALS = Present(lambda line: f"{line['id']} {line['at']} {line['stage']}", once=True)
COMPANIES = Present(lambda line: str(line["id"]) if line["record"] == "company" else "", ("at",))


class HubSpot(System):
    """HubSpot's CRM, under dated paths (/crm/objects/2026-09/…) or those before (/crm/v3/objects/…)."""

    name, prefix = "hubspot", "hubspot:"

    @staticmethod
    def manners(settings: Settings, environment: Mapping[str, str]) -> Manners:
        """Return how HubSpot is asked: with a static token, or one that a refresh token renews every half hour."""
        paces = {"": (settings.calls_in_10_seconds, 10.0), "search": (settings.searches_a_second, 1.0)}
        asked = partial(Manners, "hubspot", settings.base_url, _judge, paces)
        if not secret("HUBSPOT_REFRESH_TOKEN", environment):
            (token,) = needed(environment, "HUBSPOT_TOKEN")
            return asked(lambda _: {"authorization": f"Bearer {token}"}, (token,), renewable=False)
        names = ("client_id", "client_secret", "refresh_token")
        secrets = needed(environment, *(f"HUBSPOT_{name.upper()}" for name in names))
        form = {"grant_type": "refresh_token", **dict(zip(names, secrets, strict=True))}

        return asked(lambda session: session.bearer("/oauth/v1/token", form), secrets)

    def batch(self, changed: int) -> int:  # noqa: ARG002  # it is the same for few and for many
        """Return how many scores are written in one call."""
        return BATCH

    def readings(self) -> list[Reading]:
        """Return the streams that can be read."""
        read: dict[str, Callable[[str, Row], Iterator[Page]]] = {
            "contacts": self.contacts,
            "deals": self.deals,
            "meetings": partial(self.engagements, "meetings"),
            "calls": partial(self.engagements, "calls"),
            "emails": self.emails,
            "forms": self.forms,
        }
        read |= {"webevents": self.webevents} if self.settings.web_events else {}
        present = {"contacts": COMPANIES, "deals": DEALS}
        return [Reading(name, pages, present.get(name, HISTORY)) for name, pages in read.items()]

    def contacts(self, since: str, at: Row) -> Iterator[Page]:
        """Yield contacts with what is known of their companies."""
        for some, then in self._objects("contacts", since, at):
            companies = self._companies({lines.current(one).get("associatedcompanyid", "") for one in some} - {""})
            yield Page([line for one in some for line in lines.of_contact(one, companies)], then)

    def deals(self, since: str, at: Row) -> Iterator[Page]:
        """Yield the stages of deals."""
        pipelines = self.session.ask("GET", self._path("pipelines", "/deals"))["results"]
        stages = {stage["id"]: stage for pipeline in pipelines for stage in pipeline["stages"]}
        for some, then in self._objects("deals", since, at):
            owners = self._contacts_of("deals", some)
            yield Page([line for one in some for line in lines.of_deal(one, owners.get(one["id"], []), stages)], then)

    def engagements(self, kind: str, since: str, at: Row) -> Iterator[Page]:
        """Yield meetings or calls, each once for every contact who was there."""
        for some, then in self._objects(kind, since, at):
            people = self._contacts_of(kind, some)
            pairs = ((one, contact) for one in some for contact in people.get(one["id"], []))
            yield Page([{"id": one["id"], "contact_id": contact, **lines.current(one)} for one, contact in pairs], then)

    def emails(self, since: str, at: Row) -> Iterator[Page]:
        """Yield events of marketing e-mails, the latest first."""
        asked, more = {"limit": EMAIL_EVENTS, **({"startTimestamp": str(milliseconds(since))} if since else {})}, True
        while more:
            found = self.session.ask("GET", "/email/public/v1/events", params={**asked, **at})
            at, more = {"offset": found["offset"]} if found["hasMore"] else {}, found["hasMore"]
            yield Page([lines.of_email_event(event) for event in found["events"]], at)

    def forms(self, since: str, at: Row) -> Iterator[Page]:
        """Yield what was submitted with each form, the latest first, back to ``since``."""
        known = self.session.ask("GET", f"/marketing/forms/{self.settings.version}", params={"limit": FORMS})["results"]
        left = sorted((form for form in known if form["id"] >= at.get("form", "")), key=lambda form: str(form["id"]))
        for form, following in pairwise([*left, None]):
            place, next_form = {**at, "form": form["id"]}, {"form": following["id"]} if following else {}
            while place.get("form") == form["id"]:
                found, more = self._page(f"/form-integrations/v1/submissions/forms/{form['id']}", SUBMISSIONS, place)
                some = [lines.of_submission(form, one) for one in found]
                new = [one for one in some if not (since and _is_before(one["at"], since))]
                place = {"form": form["id"], **more} if more and len(new) == len(some) else next_form
                yield Page(new, place)
            at = {}

    def webevents(self, since: str, at: Row) -> Iterator[Page]:
        """Yield pages that contacts visited, with a call for each contact."""
        for some, then in self._objects("contacts", "", at):
            yield Page([line for contact in some for line in self._visits(contact["id"], since)], then)

    def prepare(self) -> None:
        """Define the properties that hold a score, where they are missing.

        Raises:
            ConfigError: when some are there, and cannot hold it: HubSpot would refuse every call, contact by contact.

        """
        known = self.session.ask("GET", self._path("properties", "/contacts"))["results"]
        there = {one["name"]: one for one in known}
        if unfit := [
            why for name in FIELDS for why in _unfit(there.get(f"ml_{name}", {}), KINDS[FIELDS[name].kind][0])
        ]:
            raise ConfigError(
                f"HubSpot's contact properties cannot hold a score: {'; '.join(unfit)}. Delete them there, and sync "
                "makes them anew."
            )
        missing = [name for name in FIELDS if f"ml_{name}" not in there]
        groups = self._path("properties", "/contacts/groups")
        if missing and GROUP not in {one["name"] for one in self.session.ask("GET", groups)["results"]}:
            self.session.ask("POST", groups, json={"name": GROUP, "label": "Touchstone"})
        for name in missing:
            kind, shown = KINDS[FIELDS[name].kind]
            field = {"name": f"ml_{name}", "label": FIELDS[name].label, "type": kind, "fieldType": shown}
            self.session.ask("POST", self._path("properties", "/contacts"), json={**field, "groupName": GROUP})

    def write(self, scores: Sequence[Score]) -> list[str]:
        """Update contacts by their ids; an upsert by e-mail would bring those back whom HubSpot has deleted."""
        inputs = [{"id": score.record, "properties": lines.properties_of(score)} for score in scores]
        answer = self.session.ask("POST", self._path("objects", "/contacts/batch/update"), json={"inputs": inputs})
        done, errors = {str(one["id"]) for one in answer["results"]}, answer.get("errors", [])
        why = {str(id_): error["message"] for error in errors for id_ in error.get("context", {}).get("ids", [])}
        unsaid = "; ".join(error["message"] for error in errors) or "HubSpot did not say why."
        return ["" if score.record in done else why.get(score.record, unsaid) for score in scores]

    def _path(self, area: str, rest: str) -> str:
        version = self.settings.version
        return f"/crm/{version}/{area}{rest}" if version.startswith("v") else f"/crm/{area}/{version}{rest}"

    def _page(self, path: str, limit: str, at: Row) -> tuple[list[Row], Row]:
        """Return a page of a list, and where the next one begins."""
        after = {"after": at["after"]} if "after" in at else {}
        found = self.session.ask("GET", path, params={"limit": limit, **after})
        return found["results"], _next(found)

    def _objects(self, kind: str, since: str, at: Row) -> Iterator[tuple[list[Row], Row]]:
        """Yield objects with the histories of the properties asked for, and where the next begin."""
        fields, more = self.asked[kind], True
        while more:
            if since:
                some, at = self._changed(kind, fields, since, at)
            else:
                asked = {"limit": WITH_HISTORY, "propertiesWithHistory": ",".join(fields), **at}
                found = self.session.ask("GET", self._path("objects", f"/{kind}"), params=asked)
                some, at = found["results"], _next(found)
            yield some, at
            more = bool(at)

    def _changed(self, kind: str, fields: Sequence[str], since: str, at: Row) -> tuple[list[Row], Row]:
        """Return objects that were modified since; by their ids, since a search shows no more than its first 10,000."""
        modified = "lastmodifieddate" if kind == "contacts" else "hs_lastmodifieddate"
        filters = [{"propertyName": modified, "operator": "GTE", "value": str(milliseconds(since))}]
        filters += [{"propertyName": "hs_object_id", "operator": "GT", "value": at["after"]}] if at else []
        by_id = [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]
        asked = {"filterGroups": [{"filters": filters}], "sorts": by_id, "limit": int(WITH_HISTORY), "properties": []}
        found = self.session.ask("POST", self._path("objects", f"/{kind}/search"), "search", json=asked)
        ids = [{"id": one["id"]} for one in found["results"]]
        then = {"after": ids[-1]["id"]} if ids and _next(found) else {}
        return self._read(kind, ids, {"properties": [], "propertiesWithHistory": list(fields)}), then

    def _read(self, kind: str, ids: Sequence[Row], asked: Row) -> list[Row]:
        if not ids:
            return []
        path = self._path("objects", f"/{kind}/batch/read")
        return list(self.session.ask("POST", path, json={**asked, "inputs": list(ids)})["results"])

    def _companies(self, ids: Iterable[str]) -> dict[str, Row]:
        """Return what some companies are now, and since when."""
        names = self.asked["companies"]
        some = self._read(
            "companies", [{"id": one} for one in sorted(ids)], {"properties": names, "propertiesWithHistory": []}
        )
        return {
            one["id"]: {"at": one["updatedAt"], "properties": {name: one["properties"].get(name) for name in names}}
            for one in some
        }

    def _contacts_of(self, kind: str, some: Sequence[Row]) -> dict[str, list[str]]:
        """Return the contacts of each of some objects, those with the lowest number first."""
        if not some:
            return {}
        asked = {"inputs": [{"id": one["id"]} for one in some]}
        path = self._path("associations", f"/{kind}/contacts/batch/read")
        found = self.session.ask("POST", path, json=asked)["results"]
        return {one["from"]["id"]: sorted({str(to["id"]) for to in one["to"]}, key=int) for one in found}

    def _visits(self, contact: str, since: str) -> Iterator[Row]:
        asked: Row = {"objectType": "contact", "objectId": contact, **({"occurredAfter": since} if since else {})}
        more = True
        while more:
            path = f"/events/event-occurrences/{self.settings.version}"
            found = self.session.ask("GET", path, params=asked)
            yield from (lines.of_web_event(contact, event) for event in found["results"])
            asked, more = {**asked, **_next(found)}, bool(_next(found))


def _judge(response: httpx.Response) -> Verdict:
    if response.status_code == TOO_MANY and response.json().get("policyName") == "DAILY":
        return "day over"
    return by_status(response)


def _unfit(field: Row, kind: str) -> Iterator[str]:
    """Yield why a property cannot hold values of a kind; nothing, if it can or is not there."""
    if field and field["type"] != kind:
        yield f"{field['name']} is of the type {field['type']}, not {kind}"
    if field.get("modificationMetadata", {}).get("readOnlyValue"):
        yield f"{field['name']} is read-only"


def _next(found: Row) -> Row:
    """Return where the next page begins; nothing, if this is the last."""
    return {"after": found["paging"]["next"]["after"]} if "paging" in found else {}


def _is_before(at: str, since: str) -> bool:
    return datetime.fromisoformat(at) < datetime.fromisoformat(since)
