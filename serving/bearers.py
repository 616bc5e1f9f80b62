"""Whose token a request bears, and how many requests of it a second are let in."""

from __future__ import annotations

import logging
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from time import perf_counter

from features.errors import ConfigError
from features.settings import Serve
from serving.asked import Headers, Refused, busy
from serving.port import LOOPBACK
from serving.tokens import ANYONE, Keyring, Token

LOG = logging.getLogger("touchstone")
SESSION = "touchstone_session"  # the cookie of who signed in; its value is the token


class Bearers:
    """Those who may ask, by their tokens; without a keyring anyone on this machine."""

    def __init__(self, keyring: Keyring | None, limits: Serve) -> None:
        self.keyring, self.limits = keyring, limits
        self._spent: dict[str, tuple[float, float]] = {}  # of each token: when it last asked, and what it had left

    def token(self, headers: Headers) -> Token:
        """Return the token that a request bears.

        Raises:
            Refused: when it bears none that is valid, or asks for another host than this.

        """
        host = headers.get(b"host", b"").decode("latin-1")
        if self.keyring is None:
            if host.rpartition(":")[0] not in LOOPBACK and host not in LOOPBACK:  # a page elsewhere that rebinds a name
                raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "This service answers to 127.0.0.1 and localhost.")
            return ANYONE
        said = headers.get(b"authorization", b"").decode("latin-1")
        presented = said.removeprefix("Bearer ") if said.startswith("Bearer ") else _session(headers)
        origin = headers.get(b"origin", b"").decode("latin-1").rpartition("//")[2]
        from_elsewhere = not said and origin not in {"", host}
        try:
            token = self.keyring.holder(presented) if presented and not from_elsewhere else None
        except ConfigError as error:
            LOG.error("Nobody is let in. %s", error)  # noqa: TRY400  # the sentence says all
            token = None
        if token is None:
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                "A token is needed: send it as Authorization: Bearer TOKEN. `touchstone tokens create` makes one.",
                www_authenticate="Bearer",
            )
        return token

    def count(self, token: Token) -> None:
        """Take one request from what the token has left; it gets so many back each second.

        Raises:
            Refused: when nothing is left.

        """
        if not self.keyring:
            return
        now, rate = perf_counter(), self.limits.requests_a_second
        last, left = self._spent.get(token.key, (now, rate))
        left = min(rate, left + (now - last) * rate) - 1
        if left < 0:
            self._spent[token.key] = now, left + 1
            raise busy("This token asks too often.")
        self._spent[token.key] = now, left


def _session(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).get(SESSION)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
