"""A small queue with everything a snapshot can hold, the same in every run: no clock, no chance."""

from __future__ import annotations

from msgspec import Raw

from eventq.core.command import NEW, Draft
from eventq.core.definitions import Definition
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Noted,
    Progressed,
    Refused,
    Released,
    Reopening,
    Retried,
    Revived,
    Saved,
    Updated,
)
from eventq.core.projection import Projection
from eventq.core.queue_events import (
    Bulk,
    BulkEnded,
    Followed,
    Joined,
    Left,
    Limited,
    Paused,
    Planned,
    Renewed,
    Resumed,
    Shared,
    Ticked,
    Unfollowed,
    Unplanned,
)
from eventq.core.timing import DueRules, Timing
from eventq.core.values import Bucket, Call, ErrorInfo, LogLine, Policy, Predecessor, Scope
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import replay
from eventq.snapshot import Snapshot, take
from tests.driver import append_texts, memory_log, record

LINEAR = Policy("linear", 10)
AFTER = ("after",)
CAPPED = Policy("exponential", 5, backoff_cap_us=40, jitter=0.5, max_retries=2, deadline_us=7)
ERROR = ErrorInfo("OSError", "disk", "line 1")
HOURLY = Timing(cron="0 * * * *", zone="Europe/Berlin", jitter_us=9)
LAPSE = ErrorInfo("LeaseLapsed", "node dora stopped renewing")

# One list a commit; they come at 1,000, 1,010, 1,020, ...
COMMITS: list[list[Draft]] = [
    [
        (NEW, Created(LINEAR, key="one", priority=3, tags=Raw(b'{"n":1}'))),
        (NEW, Created(CAPPED, expires_at=9_000)),
        (NEW, Created(LINEAR, scheduled_at=5_000)),
        (NEW, Created(Policy("constant", 1), key="four")),
        (NEW, Created(LINEAR, key="fünf")),
    ],
    [(1, Leased(1, "anna", 30)), (2, Leased(1, "anna", 30)), (4, Leased(1, "bert", 20))],
    [(0, Renewed("bert", 25)), (2, Failed(7, ERROR)), (2, Retried(1_050))],
    [
        (1, Completed(6, Raw(b"[1]"))),
        (5, Cancelled(reason="no", by="me")),
        (5, Refused(6, "x", "failed")),
    ],
    [(5, Retried(1_040, reopens=Reopening("cancelled", LINEAR, 1_000, 0, key="fünf")))],
    [(3, Updated(priority=-1, tags=Raw(b'{"n":3}'))), (2, Leased(2, "cleo", 30))],
    [(5, Leased(1, "bert", 30)), (5, Released(18, "busy")), (NEW, Created(LINEAR, expires_at=2))],
    [(20, Expired("max_age"))],
]
# What goes on behind them: names, lanes, nodes that join, lapses, snoozes.
CODE = Definition("ab", 1, ("cd",))
HOST = Raw(b'{"host":"mx1"}')
LATER: list[list[Draft]] = [
    [
        (0, Joined("dora", 30, 4, "1", ("mail.*",), lanes={"heavy": 2}, signatures={"a": "()"})),
        (0, Joined("emil", 30, 4, "1", unnamed=True)),
        (0, Left("emil")),
        (NEW, Created(LINEAR, name="mail.send", lane="heavy", needs=("limits",))),
        (NEW, Created(LINEAR, name="mail.send", lane="heavy")),
        (NEW, Created(LINEAR, key="gone on")),
    ],
    [(26, Leased(1, "dora", 30)), (26, Failed(28, LAPSE)), (26, Retried(1_090))],
    [(26, Leased(2, "dora", 30)), (26, Released(31, "busy", 1_200))],
    [
        (NEW, Created(LINEAR, unique="sun")),
        (0, Followed("alerts", 32, "dora", 30, ("failed",), ("mail.*",), "a:b", ERROR, 2)),
        (0, Followed("other", 33, "dora", 0)),
        (0, Followed("gone", 33, "dora", 30)),
        (0, Unfollowed("gone", by="me")),
        (4, Progressed(8, done=1, total=4, note="begun")),
        (4, Saved(8, value=Raw(b'{"page":7}'))),
        (4, Noted(8, lines=(LogLine(1_100, "info", "hello"),))),
    ],
    # A flow, a task that is doomed, and one that holds since another has failed.
    [
        (NEW, Created(LINEAR, flow=41, flow_key="night")),
        (NEW, Created(LINEAR, needs=AFTER, after=(Predecessor(41),), if_failed="hold", flow=41)),
        (NEW, Created(LINEAR, needs=AFTER, flow=41, role="on_failure", expires_at=9_000)),
        (NEW, Created(LINEAR, needs=AFTER, flow=41, role="finally")),
        (NEW, Created(LINEAR, needs=AFTER, after=(Predecessor(20, "failed"),), given={"a": 20})),
        (NEW, Created(LINEAR, needs=AFTER, after=(Predecessor(20, "failed"),), if_failed="hold")),
        (5, Revived()),
    ],
    # A flow that has closed without a failure, and a task whose end had cancelled others.
    [
        (NEW, Created(LINEAR, flow=48)),
        (NEW, Created(LINEAR, needs=AFTER, flow=48, role="on_failure")),
        (48, Leased(1, "cleo", 30)),
        (48, Completed(50)),
        (NEW, Created(LINEAR)),
        (52, Cancelled(reason="no")),
        (52, Retried(1_130, reopens=Reopening("cancelled", LINEAR, 1_130, 0), revives=True)),
    ],
    [
        (0, Planned("hourly", HOURLY, Call(LINEAR, Raw(b'{"n":1}')), DueRules(), 1_120)),
        (0, Planned("resting", Timing(every_us=60), Call(CAPPED), DueRules(), 1_170, paused=True)),
        (0, Planned("over", HOURLY, Call(LINEAR), DueRules(5, overlap="allow"))),
        (0, Planned("gone", HOURLY, Call(LINEAR), DueRules(), 1_130)),
        (0, Unplanned("gone", by="me")),
        (0, Ticked("hourly", 1_120, "made", 1_180)),
        (NEW, Created(LINEAR, tags=Raw(b'{"n":1}'), schedule="hourly", due=1_120)),
        (0, Ticked("over", 1_121, "made", hand="trigger", by="me")),
        (NEW, Created(LINEAR, schedule="over", due=1_121)),
    ],
    [
        (0, Limited(limit="smtp", running=2, rate=3, per_us=500, per="host", code=CODE)),
        (0, Limited(limit="ocr", running=1)),
        (0, Paused(scope=Scope(lane="mail"), until=9_000, by="ada", reason="down")),
        (0, Paused(scope=Scope(tags=(("n", "7"),)))),
        (0, Resumed(scope=Scope(tags=(("n", "7"),)))),
        (0, Shared(per="host", weights={"big": 3})),
        (NEW, Created(LINEAR, tags=HOST, needs=("limits",), limits=(Bucket("smtp"),), share="b")),
    ],
    [(70, Leased(1, "bert", 20))],
    [(0, Bulk("cancel", 71, 1_170, 0, "", Raw(b"{}"))), (0, BulkEnded(0, 0, bulk=72))],
]
# About task 27, of a kind that is not known.
NEWER = '{"kind":"frozen","until":7}'


def told(commits: list[list[Draft]] = COMMITS, *, namespace: str = "default") -> EventLog:
    """A log in memory with these commits."""
    log = memory_log(namespace)
    tell(log, commits)
    return log


def tell(log: EventLog, commits: list[list[Draft]] = COMMITS) -> Projection:
    """Appends these commits to an empty log; gives the projection."""
    projection = Projection(log.namespace)
    for place, drafts in enumerate(commits):
        record(log, projection, drafts, now=1_000 + 10 * place)
    return projection


def whole() -> EventLog:
    """A log in memory with all that a snapshot can hold, also a task of a newer eventq."""
    log = told([*COMMITS, *LATER])
    append_texts(log, [27], NEWER)
    append_texts(log, [1, 1], '{"kind":"restored"}', '{"kind":"cancelled"}')
    return log


def ends(log: EventLog) -> list[int]:
    """The positions at which commits end."""
    return [commit.last for commit in log.read(after=0)]


def of(log: EventLog, seq: int) -> Snapshot:
    """The right snapshot of a position."""
    return take(replay(log, until=seq))
