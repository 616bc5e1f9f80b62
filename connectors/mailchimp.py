"""Mailchimp: members of an audience, which campaigns were sent to them, and what they opened and clicked.

| stream   | calls                                                       | lands a line for each       |
| -------- | ----------------------------------------------------------- | --------------------------- |
| members  | lists/…/members, by the time at which they joined           | member, as it changed last  |
| sent     | campaigns, reports/…/sent-to of those sent since            | mail and member             |
| activity | campaigns, reports/…/email-activity since, of the last ones | opening, click or bounce    |

Mailchimp knows no deals: stages come from elsewhere. Members are updated by the hash of their address, which nobody can
be made of; so nobody who left comes back.
"""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from operator import itemgetter
from typing import Any

import httpx

from connectors.landing import Page, Reading, Row
from connectors.said import Present
from connectors.secret import needed
from connectors.session import Manners, Verdict, by_status
from connectors.system import FIELDS, Score, System
from features.errors import ConfigError
from features.settings import Mailchimp as Settings

FORBIDDEN, BAD = 403, 400
PAGE, BATCH = 1000, 500
WATCHED = timedelta(days=90)  # after a campaign was sent, hardly anybody opens it
LONGEST = 255  # characters of a merge field
GRADES = ("A", "B", "C", "D")
TAGS = {"close_probability": "CLOSEPROB", "score_grade": "SCOREGRADE", "score_trend": "SCORETREND",
        "score_top_factors": "SCOREWHY", "score_model_version": "SCOREMODEL", "scored_at": "SCOREDAT"}  # fmt: skip


class Mailchimp(System):
    """Mailchimp's Marketing interface, of one audience."""

    name, prefix = "mailchimp", "mailchimp:"

    @staticmethod
    def manners(settings: Settings, environment: Mapping[str, str]) -> Manners:
        """Return how Mailchimp is asked. It says 429, or a bare 403, to those who open too many connections."""
        if not settings.audience:
            raise ConfigError("Set connectors.mailchimp.audience to the id of an audience in touchstone.toml.")
        (key,) = needed(environment, "MAILCHIMP_API_KEY")
        base_url = settings.base_url or f"https://{key.rpartition('-')[2]}.api.mailchimp.com"
        told = f"Basic {base64.b64encode(f'touchstone:{key}'.encode()).decode()}"
        paces = {"": (settings.calls_a_second, 1.0)}
        return Manners(
            "mailchimp", base_url, _judge, paces, lambda _: {"authorization": told}, (key, told), renewable=False
        )

    def batch(self, changed: int) -> int:  # noqa: ARG002  # it is the same for few and for many
        """Return how many scores are written in one call."""
        return BATCH

    def readings(self) -> list[Reading]:
        """Return the streams that can be read."""
        return [
            Reading("members", self.members, Present(itemgetter("email"), ("at",))),
            Reading("sent", self.sent),
            Reading("activity", self.activity),
        ]

    def members(self, since: str, at: Row) -> Iterator[Page]:
        """Yield members that changed since; in an order that no change disturbs while it is read."""
        asked = {"sort_field": "timestamp_opt", "sort_dir": "ASC", **({"since_last_changed": since} if since else {})}
        for some, then in self._listed(f"{self._audience()}/members", "members", asked, at):
            yield Page([_member(one, self.asked["members"]) for one in some], then)

    def sent(self, since: str, at: Row) -> Iterator[Page]:
        """Yield to whom the campaigns were sent that were sent since."""
        yield from self._reports("sent-to", "sent_to", since, "", at, _sent)

    def activity(self, since: str, at: Row) -> Iterator[Page]:
        """Yield what was done since with the campaigns of the last 90 days; at first, with all."""
        watched = (datetime.fromisoformat(since) - WATCHED).isoformat() if since else ""
        yield from self._reports("email-activity", "emails", watched, since, at, _activity)

    def prepare(self) -> None:
        """Define the merge fields that hold a score, where they are missing."""
        path = f"{self._audience()}/merge-fields"
        there = {one["tag"] for one in self.session.ask("GET", path, params={"count": str(PAGE)})["merge_fields"]}
        for name, field in FIELDS.items():
            if TAGS[name] not in there:
                kind = "number" if field.kind == "number" else "text"
                self.session.ask(
                    "POST", path, json={"tag": TAGS[name], "name": field.label, "type": kind, "public": False}
                )

    def write(self, scores: Sequence[Score]) -> list[str]:
        """Update members, and their tag of the grade, by one batch; its result tells each refusal."""
        operations = [operation for score in scores for operation in self._operations(score)]
        job = self.session.ask("POST", self._path("/batches"), json={"operations": operations})["id"]
        told = self.session.completed(
            lambda: self.session.ask("GET", self._path(f"/batches/{job}")), "status", "finished"
        )
        if not told["errored_operations"]:
            return [""] * len(scores)
        answers = _unpacked(self.session.call("GET", told["response_body_url"]).content)
        why = {one["operation_id"]: _detail(one) for one in answers if one["status_code"] >= BAD}
        return [why.get(score.record, "") for score in scores]

    def _operations(self, score: Score) -> Iterator[Row]:
        member = f"{self._audience()}/members/{score.record}".removeprefix(f"/{self.settings.version}")
        values = {TAGS[name]: _short(field.value(score)) for name, field in FIELDS.items()}
        told = {"operation_id": score.record, "method": "PATCH", "path": member}
        yield {**told, "body": json.dumps({"merge_fields": values})}
        tags = [{"name": f"grade-{g}", "status": "active" if g == score.grade else "inactive"} for g in GRADES]
        yield {**told, "method": "POST", "path": f"{member}/tags", "body": json.dumps({"tags": tags})}

    def _reports(
        self, report: str, key: str, sent_since: str, since: str, at: Row, lines: Callable[[Row, Row], Iterator[Row]]
    ) -> Iterator[Page]:
        """Yield the lines of a report on each campaign sent since a moment."""
        asked = {"status": "sent", "list_id": self.settings.audience, "sort_field": "send_time", "sort_dir": "ASC"}
        asked |= {"since_send_time": sent_since} if sent_since else {}
        campaigns = [one for some, _ in self._listed(self._path("/campaigns"), "campaigns", asked, {}) for one in some]
        ids = [one["id"] for one in campaigns]
        start = ids.index(at["campaign"]) if at.get("campaign") in ids else 0
        for campaign, following in zip_longest(campaigns[start:], ids[start + 1 :]):
            path = self._path(f"/reports/{campaign['id']}/{report}")
            for some, then in self._listed(path, key, {"since": since} if since else {}, at):
                place = {"campaign": campaign["id"], **then} if then else {"campaign": following} if following else {}
                yield Page([line for one in some for line in lines(campaign, one)], place)
            at = {}

    def _listed(self, path: str, key: str, asked: Row, at: Row) -> Iterator[tuple[list[Row], Row]]:
        offset, more = at.get("offset", 0), True
        while more:
            found = self.session.ask("GET", path, params={**asked, "count": str(PAGE), "offset": str(offset)})
            offset += len(found[key])
            more = bool(found[key]) and offset < found["total_items"]
            yield found[key], {"offset": offset} if more else {}

    def _audience(self) -> str:
        return self._path(f"/lists/{self.settings.audience}")

    def _path(self, rest: str) -> str:
        return f"/{self.settings.version}{rest}"


def _judge(response: httpx.Response) -> Verdict:
    if response.status_code == FORBIDDEN and "json" not in response.headers.get("content-type", ""):
        return "busy"
    return by_status(response)


def _member(one: Row, fields: Sequence[str]) -> Row:
    told = {name: value for name, value in one["merge_fields"].items() if name in fields and value not in {"", None}}
    joined = one.get("timestamp_opt") or one.get("timestamp_signup") or one["last_changed"]
    about = {"email": one["email_address"], "status": one["status"], "source": one.get("source")}
    return {**about, "created": joined, "at": one["last_changed"], "fields": told}


def _sent(campaign: Row, one: Row) -> Iterator[Row]:
    if one["status"] == "sent":
        yield {"campaign": campaign["id"], "title": campaign["settings"]["title"], "member": one["email_id"],
               "at": campaign["send_time"], "action": "sent", "url": None}  # fmt: skip


def _activity(campaign: Row, one: Row) -> Iterator[Row]:
    for done in one["activity"]:
        yield {"campaign": campaign["id"], "title": campaign["settings"]["title"], "member": one["email_id"],
               "at": done["timestamp"], "action": done["action"], "url": done.get("url")}  # fmt: skip


def _short(value: Any) -> Any:
    """Return a value as a merge field can hold it."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, str) and len(value) > LONGEST:  # reasons, of which as much as fits is told to the end
        return value[:LONGEST].rpartition("; ")[0] or value[:LONGEST]
    return value


def _unpacked(content: bytes) -> Iterator[Row]:
    """Yield the answers in the archive that tells the result of a batch."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for entry in archive:
            file = archive.extractfile(entry) if entry.isfile() else None
            yield from json.load(file) if file else []


def _detail(one: Row) -> str:
    told = json.loads(one["response"])
    which = (f"{wrong.get('field') or 'member'}: {wrong.get('message')}" for wrong in told.get("errors", []))
    return " ".join([told.get("detail") or told.get("title") or f"Mailchimp said {one['status_code']}.", *which])
