"""The facts about nodes and the queue as a whole: a body for each kind of event.

They gain fields as those about tasks do; see `events`.
"""

from __future__ import annotations

from typing import Literal, final

from msgspec import UNSET, Raw, UnsetType, field

from eventq.core.definitions import Definition
from eventq.core.events import Asked, Body, ByHand
from eventq.core.timing import DueRules, Timing
from eventq.core.values import BulkAction, Call, ErrorInfo, Scope, TickOutcome


@final
class Renewed(Body, frozen=True, tag="renewed"):
    """The node is alive: all its leases hold for another ``ttl_us``."""

    worker: str
    ttl_us: int


@final
class Joined(Body, frozen=True, tag="joined"):
    """What a node can run from here on, said before its first lease and each minute.

    ``names`` are names or patterns with ``*``; ``unnamed``: also what has no name. ``lanes`` are
    the lanes it takes from with its slots in each; None: all, with ``slots`` for them together.
    ``signatures`` say what arguments the handlers of its names take.
    """

    worker: str
    ttl_us: int
    slots: int
    version: str
    names: tuple[str, ...] = ()
    unnamed: bool = False
    lanes: dict[str, int] | None = None
    signatures: dict[str, str] = {}  # noqa: RUF012 - each Struct has its own


@final
class Left(Body, frozen=True, tag="left"):
    """The node runs nothing more."""

    worker: str


@final
class Followed(Body, frozen=True, tag="followed"):
    """How far a follower has come, and which node does its work, for another ``ttl_us``.

    All events up to ``seq`` that it follows have been dealt with. ``ttl_us`` 0 gives it back.
    ``kinds`` and ``names`` are those of its events (None: all), ``code`` is the function that is
    called. ``error`` is why the last call failed, after ``failures`` of them in a row.
    """

    follower: str
    seq: int
    worker: str
    ttl_us: int
    kinds: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    code: str = ""
    error: ErrorInfo | None = None
    failures: int = 0


@final
class Unfollowed(Asked, frozen=True, tag="unfollowed"):
    """The follower is forgotten."""

    follower: str


@final
class Planned(Asked, frozen=True, tag="planned"):
    """A schedule is to make tasks as this says from here on, whatever was said of it before.

    ``next_at`` is its first due; None: none comes any more. Each is ticked ``shift_us`` later,
    which was drawn when it was planned. ``code`` is the definition in code that it is of.
    """

    schedule: str
    timing: Timing
    call: Call
    rules: DueRules
    next_at: int | None = None
    shift_us: int = 0
    paused: bool = False
    code: Definition | None = None


@final
class Unplanned(Asked, frozen=True, tag="unplanned"):
    """The schedule is forgotten."""

    schedule: str


@final
class Ticked(Asked, frozen=True, tag="ticked"):
    """A due of a schedule has come; the task that was made for it is created right behind.

    What is missed or paused stands for ``count`` dues (10,000: or more), from ``due`` on. The next
    one behind them is ``next_at``. One by ``hand`` is no due of the clock's, and moves nothing.
    """

    schedule: str
    due: int
    outcome: TickOutcome
    next_at: int | None = None
    count: int = 1
    hand: Literal["trigger", "backfill"] | None = None


@final
class Paused(Asked, frozen=True, tag="paused"):
    """No task in the scope is leased from here on, until it is resumed or the instant comes.

    One scope has one pause at a time: a later one takes the place of an earlier one.
    """

    scope: Scope
    until: int | None = None


@final
class Resumed(Asked, frozen=True, tag="resumed"):
    """The pause of just this scope is over."""

    scope: Scope


@final
class Limited(Asked, frozen=True, tag="limited"):
    """What each bucket of a limit bears from here on; without bounds, the limit is lifted.

    ``running`` leases may be live at a time, and ``rate`` leases may begin in any ``per_us``
    microseconds. ``per`` is the tag whose values have a bucket each. ``code`` is the definition in
    code that stands.
    """

    limit: str
    running: int | None = None
    rate: int | None = None
    per_us: int | None = None
    per: str | None = None
    code: Definition | None = None


@final
class Shared(Asked, frozen=True, tag="shared"):
    """From here on, shares take turns among tasks of equal priority, by their weights.

    ``per`` is the tag whose value is the share of a task that has none of its own. A share without
    a weight has 1. ``lifted``: no turns are taken any more.
    """

    per: str | None = None
    weights: dict[str, int] = {}  # noqa: RUF012 - each Struct has its own
    lifted: bool = False
    code: Definition | None = None


@final
class Bulk(Asked, frozen=True, tag="bulk"):
    """A change to many tasks begins; the events about them name this one's position.

    It is about the ``count`` tasks that the ``selector`` meant behind ``position``, seen at
    ``seen_at``, whose last events were those that the ``digest`` is of; one that ``undoes`` another
    is about the tasks which that one changed. The n-th of retried tasks runs no earlier than
    ``start_at`` and n times ``interval_us``. An update is to what ``priority``, ``tags``,
    ``scheduled_at`` and ``lane`` say.
    """

    action: BulkAction
    position: int
    seen_at: int
    count: int
    digest: str
    selector: Raw | UnsetType = UNSET
    start_at: int | None = None
    interval_us: int = 0
    priority: int | None = None
    tags: Raw | UnsetType = UNSET
    scheduled_at: int | None = None
    lane: str | None = None
    # From a factory, so that it is stored: who does not know the kind has to read it.
    skip: bool = field(default_factory=lambda: True)


@final
class BulkEnded(ByHand, frozen=True, tag="bulk_ended"):
    """The change that ``bulk`` names is done: so many were ``changed``, all others had moved on.

    ``left`` are the first of these, with the last events that they had when they were selected.
    """

    changed: int
    moved_on: int = 0
    left: tuple[tuple[int, int], ...] = ()
    skip: bool = field(default_factory=lambda: True)
