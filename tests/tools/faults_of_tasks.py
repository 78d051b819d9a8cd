"""Histories that are wrong in one thing about tasks: what moves them, and which comes first."""

from __future__ import annotations

from tests.tools.histories import Told
from tests.tools.telling import (
    AFTER,
    AT_9,
    DEADLY,
    FROM_S,
    JOINED,
    LAPSE,
    LIMITED,
    PLANNED,
    POLICY,
    SECOND,
    SMTP,
    TICKED,
    TTL,
    ago,
    completed,
    created,
    failed,
    leased,
    of,
    reopening,
    retried,
    said,
)

FAULTS: dict[str, tuple[int | str, list[Told]]] = {
    "time runs back": (1, [ago(9, created()), ago(8, created())]),
    "not its position": (4, [ago(9, of(7, "created", policy=POLICY))]),
    "a key twice": (10, [ago(9, created(key="k")), ago(9, created(key="k"))]),
    "a unique value twice": (10, [ago(9, created(unique="u"), created(unique="u"))]),
    "unknown task": (4, [ago(9, leased(5))]),
    "completed when ready": (4, [ago(9, created()), ago(9, completed(1, 1))]),
    "completed twice": (
        4,
        [ago(9, created(), leased(1)), ago(9, completed(1, 2)), ago(9, completed(1, 2))],
    ),
    "leased twice": (5, [ago(9, created(), leased(1)), ago(9, leased(1, 2, "m"))]),
    "attempts skip": (5, [ago(9, created(), leased(1, 2))]),
    "a stale fence completes": (
        6,
        [
            ago(9, created(), leased(1)),
            ago(9, failed(1, 2), retried(1, 19 * SECOND)),
            ago(19, leased(1, 2, "m")),
            ago(19, completed(1, 2)),
        ],
    ),
    "a stale fence fails": (
        6,
        [
            ago(9, created(), leased(1), of(1, "released", fence=2)),
            ago(9, leased(1)),
            ago(9, failed(1, 2), retried(1, 19 * SECOND)),
        ],
    ),
    "a stale fence releases": (6, [ago(9, created(), leased(1), of(1, "released", fence=1))]),
    "a stale fence tells": (
        6,
        [ago(9, created(), leased(1), of(1, "progressed", fence=1, skip=True))],
    ),
    "lower priority first": (7, [ago(9, created(), created(priority=1), leased(1))]),
    "later instant first": (
        7,
        [ago(9, created(), created(scheduled_at=8 * SECOND), leased(1))],
    ),
    "higher number first": (7, [ago(9, created(), created(), leased(2))]),
    "an update is overlooked": (
        7,
        [ago(9, created(), created(), of(2, "updated", priority=1)), ago(9, leased(1))],
    ),
    "a retry is overlooked": (
        7,
        [
            ago(9, created(priority=3), leased(1), failed(1, 2), retried(1, 19 * SECOND)),
            ago(19, created(), leased(5)),
        ],
    ),
    "a name nobody said": (7, [ago(9, created(name="a"), leased(1))]),
    "a name not handled": (
        7,
        [ago(9, created(name="a.b"), said("joined", **JOINED, names=["b*"]), leased(1))],
    ),
    "another lane": (
        7,
        [ago(9, created(), said("joined", **JOINED, unnamed=True, lanes={"x": 1}), leased(1))],
    ),
    "a lane that it has left": (
        7,
        [
            ago(9, created(lane="x"), said("joined", **JOINED, unnamed=True, lanes={"x": 1})),
            ago(9, of(1, "updated", lane="default"), leased(1)),
        ],
    ),
    "what has come into its lane is passed over": (
        7,
        [
            ago(9, created(priority=1), created(lane="x")),
            ago(9, said("joined", **JOINED, unnamed=True, lanes={"x": 1})),
            ago(9, of(1, "updated", lane="x"), leased(2)),
        ],
    ),
    "a lane with a free slot is passed over": (
        7,
        [
            ago(
                9,
                created(lane="x", priority=1),
                created(),
                said("joined", **JOINED, unnamed=True, lanes={"x": 1, "default": 1}),
                leased(2),
            )
        ],
    ),
    "a need nobody knows": (7, [ago(9, created(needs=["telepathy"]), leased(1))]),
    "what is said by a newer one": (7, [ago(9, created(), said("frozen")), ago(9, leased(1))]),
    "a paused lane": (
        7,
        [ago(9, created(lane="x"), said("paused", scope={"lane": "x"})), ago(9, leased(1))],
    ),
    "a paused name": (
        7,
        [
            ago(9, created(name="a.b"), said("joined", **JOINED, names=["*"])),
            ago(9, said("paused", scope={"name": "a.*"}, until=11 * SECOND)),
            ago(10, leased(1)),
        ],
    ),
    "paused tags": (
        7,
        [
            ago(9, created(tags={"tenant": 7}), said("paused", scope={"tags": [["tenant", "7"]]})),
            ago(9, leased(1)),
        ],
    ),
    "a paused bucket": (
        7,
        [
            ago(9, created(**SMTP), LIMITED, said("paused", scope={"limit": "smtp"})),
            ago(9, leased(1)),
        ],
    ),
    "resumed, not paused": (7, [ago(9, said("resumed", scope={"lane": "x"}))]),
    "a pause that has ended holds on": (
        7,
        [
            ago(9, created(priority=1, lane="x"), created()),
            ago(9, said("paused", scope={"lane": "x"}, until=11 * SECOND)),
            ago(11, leased(2)),
        ],
    ),
    "another one's turn": (
        7,
        [
            ago(9, said("shared", per="t"), *[created(tags={"t": t}) for t in ("a", "a", "b")]),
            ago(9, leased(2), leased(3)),
        ],
    ),
    "a weight is forgotten": (
        7,
        [
            ago(9, said("shared", per="t", weights={"a": 2})),
            ago(9, *[created(tags={"t": t}) for t in ("a", "a", "a", "b", "b")]),
            ago(9, leased(2), leased(5), leased(6)),
        ],
    ),
    "idling gains a turn": (
        7,
        [
            ago(9, said("shared", per="t"), *[created(tags={"t": "a"}) for _ in range(4)]),
            ago(9, leased(2), leased(3), leased(4)),
            ago(10, *[created(tags={"t": "b"}) for _ in range(2)]),
            ago(10, leased(9), leased(10)),
        ],
    ),
    "too early": (8, [ago(9, created(scheduled_at=10 * SECOND), leased(1))]),
    "past its expiry": (8, [ago(9, created(expires_at=10 * SECOND)), ago(10, leased(1))]),
    "before its retry": (
        8,
        [
            ago(9, created(), leased(1), failed(1, 2), retried(1, 19 * SECOND)),
            ago(18, leased(1, 2)),
        ],
    ),
    "retried too soon": (
        8,
        [ago(9, created(), leased(1), failed(1, 2), retried(1, 18 * SECOND))],
    ),
    "retried into the past": (
        8,
        [ago(9, created(), leased(1), failed(1, 2, rule="x"), retried(1, 8 * SECOND))],
    ),
    "retried past its expiry": (
        8,
        [
            ago(9, created(expires_at=19 * SECOND), leased(1)),
            ago(9, failed(1, 2), retried(1, 19 * SECOND)),
        ],
    ),
    "given up though there is time": (
        8,
        [
            ago(9, created(expires_at=20 * SECOND), leased(1)),
            ago(9, failed(1, 2), of(1, "expired", reason="max_age")),
        ],
    ),
    "expired too early": (
        8,
        [ago(9, created(expires_at=11 * SECOND)), ago(10, of(1, "expired", reason="max_age"))],
    ),
    "put off into the past": (
        8,
        [ago(9, created(), leased(1), of(1, "released", fence=2, scheduled_at=SECOND))],
    ),
    "before what it comes after": (8, [ago(9, created(), created(**AFTER), leased(2))]),
    "a failure that is in the way": (
        8,
        [ago(9, created(), created(**AFTER), of(1, "cancelled")), ago(9, leased(2))],
    ),
    "said to be done": (
        8,
        [ago(9, created(), created(after=[[1, "completed"]], needs=["after"]))],
    ),
    "no cause": (
        8,
        [ago(9, created(), created(**AFTER)), ago(9, of(2, "cancelled", cause=1))],
    ),
    "no cause is named": (
        8,
        [
            ago(9, created(), created(**AFTER), of(1, "cancelled")),
            ago(9, of(2, "cancelled", reason="a task that it comes after ended without success")),
        ],
    ),
    "a finaliser that is needed": (
        18,
        [
            ago(9, created(flow=1), created(flow=1, role="on_failure", needs=["after"])),
            ago(9, of(2, "cancelled", reason="no member of its flow failed")),
        ],
    ),
    "a due cancels what it must not": (
        17,
        [
            ago(9, said("planned", **PLANNED)),
            ago(60, said("ticked", **TICKED), FROM_S),
            ago(120, of(3, "cancelled", reason="the next due of schedule s has come")),
        ],
    ),
    "revived by another": (
        8,
        [
            ago(9, created(), of(1, "cancelled")),
            ago(9, retried(1, AT_9, reopens=reopening(), revived_by=1)),
        ],
    ),
    "retried by hand, and minds what has failed": (
        8,
        [
            ago(9, created(), created(**AFTER), of(1, "cancelled")),
            ago(9, of(2, "cancelled", reason="why not")),
            ago(9, retried(2, AT_9, reopens=reopening(after=[[1, "failed"]], needs=["after"]))),
        ],
    ),
    "completed, and refused": (
        15,
        [
            ago(9, created(), leased(1), completed(1, 2)),
            ago(9, of(1, "refused", fence=2, worker="n", outcome="completed")),
        ],
    ),
    "leased behind what only a newer eventq knows": (
        7,
        [ago(9, created()), ago(9, of(1, "pondered")), ago(9, leased(1))],
    ),
    "a retry too many": (
        9,
        [
            ago(9, created(), leased(1), failed(1, 2), retried(1, 19 * SECOND)),
            ago(19, leased(1, 2), failed(1, 5), retried(1, 39 * SECOND)),
        ],
    ),
    "given up too soon": (
        9,
        [ago(9, created(), leased(1), failed(1, 2), of(1, "expired", reason="max_retries"))],
    ),
    "a lapse too many": (
        9,
        [
            ago(9, created(policy=DEADLY), leased(1)),
            ago(40, failed(1, 2, error=LAPSE), retried(1, 40 * SECOND)),
        ],
    ),
    "lapsed, and given up for lapses too soon": (
        9,
        [
            ago(9, created(policy={**DEADLY, "max_lapses": 1}), leased(1)),
            ago(40, failed(1, 2, error=LAPSE), of(1, "expired", reason="max_lapses")),
        ],
    ),
    "a lapse is not retried at once": (
        8,
        [ago(9, created(), leased(1)), ago(40, failed(1, 2, error=LAPSE), retried(1, 50 * SECOND))],
    ),
    "lapsed before its time": (
        13,
        [ago(9, created(), leased(1)), ago(38, failed(1, 2, error=LAPSE), retried(1, 38 * SECOND))],
    ),
    "lapsed though it has renewed": (
        13,
        [
            ago(9, created(), leased(1)),
            ago(19, said("renewed", worker="n", ttl_us=TTL)),
            ago(40, failed(1, 2, error=LAPSE), retried(1, 40 * SECOND)),
        ],
    ),
    "another node's lapse": (
        13,
        [
            ago(9, created(), leased(1, worker="m")),
            ago(40, failed(1, 2, error=LAPSE), retried(1, 40 * SECOND)),
        ],
    ),
    "a lapse for good": (
        13,
        [
            ago(9, created(), leased(1)),
            ago(40, failed(1, 2, error=LAPSE), of(1, "expired", reason="fatal")),
        ],
    ),
    "nothing follows": (4, [ago(9, created(), leased(1), failed(1, 2))]),
    "brings back other tags": (
        4,
        [
            ago(9, created(tags={"a": 1}), of(1, "cancelled")),
            ago(9, retried(1, AT_9, reopens=reopening(tags={"a": 2}))),
        ],
    ),
    "brings back fewer attempts": (
        4,
        [
            ago(9, created(), leased(1), of(1, "cancelled")),
            ago(9, retried(1, AT_9, reopens=reopening())),
        ],
    ),
    "a completed one is back": (
        4,
        [
            ago(9, created(), leased(1), completed(1, 2)),
            ago(9, retried(1, AT_9, reopens=reopening(attempt=1))),
        ],
    ),
    "back onto a taken value": (
        10,
        [
            ago(9, created(unique="u"), of(1, "cancelled"), created(unique="u")),
            ago(9, retried(1, AT_9, reopens=reopening(unique="u"))),
        ],
    ),
}
