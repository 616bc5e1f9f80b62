"""A session: one system's interface over HTTP, asked politely.

Each call keeps the system's pace and our share of its day's quota, bears a token that is renewed when it is over, and
is repeated with growing, jittered pauses while the system is busy or away. What a reply means is for each to judge.
No secret gets out: what a system says of an error is quoted without them, and a call is named without its query.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx

from connectors.pace import Clock, Pace, Quota
from features.errors import DataError, Partly, TouchstoneError

ATTEMPTS = 7
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds
TIMEOUT = 60.0  # seconds
WHO = " See that what identifies us in the environment is right."
QUOTED = 300  # characters of what a system says of an error
TOO_MANY, UNAUTHORIZED, BROKEN, BAD = 429, 401, 500, 400

Verdict = Literal["fine", "busy", "expired", "day over", "refused"]
Headers = Mapping[str, str]


class Refused(TouchstoneError):
    """A system refused a call, and would refuse it again; 0 is the status of one that never answered."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Manners:
    """How one system wants to be asked."""

    name: str
    base_url: str
    judge: Callable[[httpx.Response], Verdict]
    paces: Mapping[str, tuple[int, float]]  # calls and seconds, of everything ("") and of single lanes
    authorize: Callable[[Session], Headers]  # returns headers; may call the system for a token
    secrets: Sequence[str] = ()
    renewable: bool = True
    limit_of: Callable[[httpx.Response], int | None] = lambda _: None  # calls a day, where a reply tells them


@dataclass
class Session:
    """Calls to one system."""

    manners: Manners
    http: httpx.Client
    quota: Quota
    as_of: datetime  # when it began
    clock: Clock = field(default_factory=Clock)
    dice: random.Random = field(default_factory=random.Random)
    time: datetime | None = None  # as the system's own clock had it in its latest reply
    _token: Headers | None = None

    def __post_init__(self) -> None:
        """Begin to keep the system's paces, and to count time."""
        self._zero = self.clock.seconds()
        self._paces = {lane: Pace(*pace, self.clock) for lane, pace in self.manners.paces.items()}

    def ask(self, method: str, path: str, lane: str = "", **content: Any) -> Any:
        """Return what a call answers, read as JSON; None if it answers nothing."""
        response = self.call(method, path, lane, **content)
        try:
            return json.loads(response.content) if response.content else None
        except ValueError:
            raise self._refused(method, path, response, "answered something that is not JSON") from None

    def call(self, method: str, path: str, lane: str = "", **content: Any) -> httpx.Response:
        """Return the reply to a call, once it is a good one.

        Raises:
            Refused: when the system says no, or was busy or away for all attempts.
            Partly: when the day's quota is used up.

        """
        renewed, last = False, None
        for attempt in range(ATTEMPTS):
            response = self._once(method, path, lane, content)
            verdict = "busy" if response is None else self.manners.judge(response)
            last = response if response is not None else last
            if response is not None and verdict == "fine":
                return response
            if response is not None and verdict == "day over":
                raise Partly(
                    f"{self.manners.name} says that its calls for today are used up ({self._said(response)}). What was "
                    "done is kept; give the command again tomorrow, and it goes on from here."
                )
            if response is not None and verdict == "expired" and self.manners.renewable and not renewed:
                self._token, renewed = None, True
            elif response is not None and verdict in {"refused", "expired"}:
                remedy = WHO if verdict == "expired" else ""
                raise self._refused(method, path, response, f"refused with {response.status_code}", remedy)
            elif attempt < ATTEMPTS - 1:
                self.clock.wait(self._pause(attempt, response))
        what = f"was busy or away {ATTEMPTS} times in a row"
        raise self._refused(method, path, last, what, " What was done is kept; give the command again, and it goes on.")

    def moment(self) -> datetime:
        """Return what time it is by our clock."""
        return self.as_of + timedelta(seconds=self.clock.seconds() - self._zero)

    def bearer(self, path: str, form: Mapping[str, str]) -> Headers:
        """Return the header with the access token that an OAuth endpoint gives for a form.

        Raises:
            httpx.TransportError: when the system does not answer now.
            DataError: when it does not believe who we are.

        """
        response = self._send("POST", path, data=dict(form))
        if response.status_code == TOO_MANY or response.status_code >= BROKEN:
            raise httpx.ConnectError("the system is busy")
        if response.status_code >= BAD:
            raise DataError(
                f"{self.manners.name} gave no access token ({response.status_code}: {self._said(response)}). See that "
                "what identifies us in the environment is right and may be used for this, and that our clock is right."
            )
        told = response.json()
        if "access_token" not in told:
            raise httpx.ConnectError("the system gave no token")
        return {"authorization": f"Bearer {told['access_token']}"}

    def completed(self, asking: Callable[[], Mapping[str, Any]], key: str, done: str) -> Mapping[str, Any]:
        """Ask about a job, less and less often, until it is done, and return what is said of it then.

        Raises:
            Refused: when the system gave the job up.

        """
        pause = FIRST_PAUSE
        while (told := asking())[key] != done:
            if told[key].lower() in {"failed", "aborted", "cancelled", "canceled"}:
                why = told.get("errorMessage") or told.get("errorMsg") or told[key]
                raise Refused(f"{self.manners.name} gave up a job ({why}). Give the command again.")
            self.clock.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return told

    def _once(self, method: str, path: str, lane: str, content: Mapping[str, Any]) -> httpx.Response | None:
        """Send a call once; None stands for a connection that failed."""
        try:
            if not path.startswith("/"):  # an address elsewhere, which a reply named, opens by itself
                return self._send(method, path, lane, **content)
            token = self._token = self._token if self._token is not None else self.manners.authorize(self)
            return self._send(method, path, lane, **{**content, "headers": {**token, **content.get("headers", {})}})
        except httpx.TransportError:
            return None

    def _send(self, method: str, path: str, lane: str = "", **content: Any) -> httpx.Response:
        for name in dict.fromkeys(("", lane)):
            self._paces[name].keep()
        self.quota.spend(self.manners.name)
        address = f"{self.manners.base_url}{path}" if path.startswith("/") else path
        response = self.http.request(method, address, timeout=TIMEOUT, **content)
        self.quota.calls_a_day = self.manners.limit_of(response) or self.quota.calls_a_day
        if "date" in response.headers:
            self.time = parsedate_to_datetime(response.headers["date"]).astimezone(UTC)
        return response

    def _pause(self, attempt: int, response: httpx.Response | None) -> float:
        """Return how many seconds to wait: as long as the system asks, or longer each time, a random part less."""
        asked = response.headers.get("retry-after", "") if response is not None else ""
        growing = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)
        return float(asked) if asked.isdecimal() else growing * self.dice.uniform(0.5, 1)

    def _refused(self, method: str, path: str, response: httpx.Response | None, what: str, remedy: str = "") -> Refused:
        said = "" if response is None else f": {self._said(response)}"
        sentence = f"{self.manners.name} {what}, when asked to {method} {path.split('?', maxsplit=1)[0]}{said}.{remedy}"
        return Refused(sentence, 0 if response is None else response.status_code)

    def _said(self, response: httpx.Response) -> str:
        said = " ".join(response.text.split())
        for secret in filter(None, (*self.manners.secrets, *(self._token or {}).values())):
            said = said.replace(secret, "…").replace(secret.split(" ")[-1], "…")
        return said[:QUOTED].rstrip(".") or "without a reason"


def by_status(response: httpx.Response) -> Verdict:
    """Judge a reply by its status, as most systems mean it."""
    if response.status_code == UNAUTHORIZED:
        return "expired"
    if response.status_code == TOO_MANY or response.status_code >= BROKEN:
        return "busy"
    return "refused" if response.status_code >= BAD else "fine"
