"""Sessions of a console without a login of its own: a start code of one use becomes a cookie.

Nothing is written down: all of them end with the process.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from hashlib import sha256

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from eventq.web.access import Person

CODE_S = 60.0
SESSION_S = 12 * 3600.0
# Far more than one person has browsers.
MOST_SESSIONS = 100
FORM_S = 24 * 3600


class Session(Struct):
    """Somebody who has come in, until when (seconds of the clock that is handed in)."""

    person: Person
    ends_s: float


class Sessions:
    """Start codes, and the sessions that they became. May be used from any thread."""

    def __init__(self, person: Person, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._person = person
        self._clock = clock
        self._lock = threading.Lock()
        self._codes: dict[str, float] = {}
        self._sessions: dict[str, Session] = {}

    def new_code(self) -> str:
        """A code for one use within 60 s; earlier ones are void."""
        code = secrets.token_urlsafe(24)
        with self._lock:
            self._codes = {_hashed(code): self._clock() + CODE_S}
        return code

    def redeem(self, code: str) -> str | None:
        """The token of a new session for a code; None for one that is unknown, used or too old."""
        with self._lock:
            ends_s = self._codes.pop(_hashed(code), None)
            if ends_s is None or ends_s < self._clock():
                return None
            token = secrets.token_urlsafe(32)
            while len(self._sessions) >= MOST_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[_hashed(token)] = Session(self._person, self._clock() + SESSION_S)
            return token

    def person_of(self, token: str) -> Person | None:
        """Whose session a token is of, while it lasts."""
        with self._lock:
            found = self._sessions.get(_hashed(token))
            if found is None or found.ends_s < self._clock():
                self._sessions.pop(_hashed(token), None)
                return None
            return found.person

    def end(self, token: str) -> None:
        """Ends a session; it may have ended before."""
        with self._lock:
            self._sessions.pop(_hashed(token), None)

    async def find(self, request: Request) -> Person | None:
        """Who asks, by the cookie."""
        token = request.cookies.get(cookie_name(request, "session"))
        return None if token is None else self.person_of(token)


class FormKeys:
    """What a form must carry to be believed: made of a cookie and of who it was made for."""

    def __init__(self, secret: bytes | None = None) -> None:
        """``secret`` is that of all processes that serve one console; None: drawn."""
        self._secret = secret or secrets.token_bytes(32)

    def key_of(self, cookie: str, person: Person | None) -> str:
        """The key that forms of this person in this browser carry."""
        name = "" if person is None else person.name
        return hmac.new(self._secret, f"{cookie}\0{name}".encode(), sha256).hexdigest()

    def fits(self, given: str, cookie: str | None, person: Person | None) -> bool:
        """Whether a form has the key it must have."""
        if not cookie:
            return False
        return hmac.compare_digest(self.key_of(cookie, person).encode(), given.encode())


def cookie_name(request: Request, what: str) -> str:
    """The name of a cookie: each port has its own, since cookies do not tell ports apart."""
    return f"eventq_{what}_{request.url.port or request.url.scheme}"


def set_cookie(response: Response, request: Request, what: str, value: str, age_s: float) -> None:
    """Gives a cookie that no script sees and no other site sends."""
    response.set_cookie(
        cookie_name(request, what),
        value,
        max_age=int(age_s),
        path=request.scope.get("root_path") or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def drop_cookie(response: Response, request: Request, what: str) -> None:
    """Has the browser forget a cookie."""
    path = request.scope.get("root_path") or "/"
    response.delete_cookie(cookie_name(request, what), path=path)


def _hashed(token: str) -> str:
    """What is kept of a token: a lookup by it tells nothing by its time."""
    return sha256(token.encode(errors="replace")).hexdigest()
