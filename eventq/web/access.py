"""Who may do what in the console: rights, persons, and what an application says of its users.

Nothing here serves a page; each route states its right in `routes`, and `app` asks here.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Awaitable, Callable, Iterable

from msgspec import Struct
from starlette.requests import Request

from eventq.core.validation import check_by
from eventq.core.values import Via
from eventq.errors import ArgumentError


class Right(enum.StrEnum):
    """What somebody may do. To see anything at all takes VIEW."""

    VIEW = "view"
    """See pages: names, states, instants, keys."""
    VALUES = "values"
    """See what users wrote: tags, results, errors, log lines."""
    CREATE = "create"
    RETRY = "retry"
    CANCEL = "cancel"
    EDIT = "edit"
    PAUSE = "pause"
    LIMIT = "limit"
    SCHEDULE = "schedule"
    BULK = "bulk"
    VERIFY = "verify"
    UNDO = "undo"


# What changes nothing in the log.
LOOKING = frozenset({Right.VIEW, Right.VALUES, Right.VERIFY})
EVERY_RIGHT = frozenset(Right)


class Person(Struct, frozen=True):
    """Somebody at the console. Only ``authenticated`` names are more than a claim."""

    name: str
    rights: frozenset[Right] = EVERY_RIGHT
    authenticated: bool = True
    lanes: frozenset[str] | None = None
    """The lanes whose tasks they may look into and act on; None: all."""

    @property
    def via(self) -> Via:
        """By what way the log says that they came."""
        return "login" if self.authenticated else "console"

    def may(self, right: Right) -> bool:
        """Whether they have a right."""
        return Right.VIEW in self.rights and right in self.rights

    def may_in(self, lane: str | None) -> bool:
        """Whether they may act on tasks of a lane; None: on tasks of every lane."""
        return self.lanes is None or (lane is not None and lane in self.lanes)

    def only_looking(self) -> Person:
        """The same person without any right to change something."""
        return Person(self.name, self.rights & LOOKING, self.authenticated, self.lanes)

    def seeing_no_values(self) -> Person:
        """Who sees as much of the lanes, but nothing that users wrote, and may do nothing."""
        return Person(self.name, frozenset({Right.VIEW}), self.authenticated, self.lanes)


Said = Person | tuple[str, Iterable[str]] | None
# What an application says of who asks: a name and rights, a Person, or None for nobody.
Access = Callable[[Request], Said | Awaitable[Said]]
FindPerson = Callable[[Request], Awaitable[Person | None]]

EXPECTED = "a function of a request that returns None, a Person, or a name and its rights"


def person_by(access: Access) -> FindPerson:
    """Asks an application's ``access`` who somebody is. Raises ArgumentError for what is none."""
    if not callable(access):
        raise ArgumentError("access", access, EXPECTED)

    async def find(request: Request) -> Person | None:
        said = access(request)
        found = await said if inspect.isawaitable(said) else said
        if found is None or isinstance(found, Person):
            return found
        name, rights = found
        return Person(check_by(name) or "", frozenset(map(Right, rights)))

    return find
