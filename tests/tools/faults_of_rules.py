"""Histories that are wrong in one thing beside tasks: limits, schedules, flows, followers."""

from __future__ import annotations

from tests.tools.histories import Told
from tests.tools.telling import (
    DAY,
    FOLLOWED,
    FROM_S,
    LIMITED,
    PLANNED,
    RATED,
    SECOND,
    SMTP,
    TICKED,
    ago,
    completed,
    created,
    failed,
    leased,
    of,
    retried,
    said,
)

EVERY_7 = {
    **{name: value for name, value in PLANNED.items() if name != "next_at"},
    "timing": {"every_us": 7 * SECOND},
}

HOURLY = {"timing": {"every_us": 3_600 * SECOND}}
MISSED = {**TICKED, "outcome": "missed"}

FAULTS: dict[str, tuple[int | str, list[Told]]] = {
    "refused, though live": (
        15,
        [ago(9, created(), leased(1), of(1, "refused", fence=2, worker="n", outcome="failed"))],
    ),
    "refused, never leased": (
        15,
        [ago(9, created(), of(1, "refused", fence=1, worker="n", outcome="failed"))],
    ),
    "refused twice": (
        15,
        [
            ago(9, created(), leased(1), of(1, "cancelled")),
            *[ago(9, of(1, "refused", fence=2, worker="n", outcome="failed"))] * 2,
        ],
    ),
    "a bucket overflows": (
        16,
        [ago(9, LIMITED, created(**SMTP), created(**SMTP), leased(2)), ago(9, leased(3))],
    ),
    "a rate overflows": (
        16,
        [
            ago(9, RATED, created(**SMTP), created(**SMTP), leased(2)),
            ago(18, completed(2, 4), leased(3)),
        ],
    ),
    "a limit nobody has defined": (16, [ago(9, created(**SMTP), leased(1))]),
    "an exclusive value twice": (
        16,
        [
            ago(9, *[created(limits=[["exclusive", "r"]], needs=["limits"])] * 2, leased(1)),
            ago(9, leased(2)),
        ],
    ),
    "a bucket of a tag overflows": (
        16,
        [
            ago(9, said("limited", limit="smtp", running=1, per="h")),
            ago(9, created(**SMTP, tags={"h": "x"}), created(limits=[["smtp", "x"]])),
            ago(9, leased(2), leased(3)),
        ],
    ),
    "room is not used": (
        7,
        [
            ago(9, LIMITED, created(**SMTP, priority=1), leased(2)),
            ago(9, created(**SMTP, priority=1), created()),
            ago(9, completed(2, 3)),
            ago(9, leased(5)),
        ],
    ),
    "a bound below 1": (16, [ago(9, said("limited", limit="smtp", running=0))]),
    "ticked twice": (
        17,
        [
            ago(9, said("planned", **PLANNED)),
            ago(60, said("ticked", **TICKED), FROM_S),
            ago(61, said("ticked", **TICKED), FROM_S),
        ],
    ),
    "ticked too early": (
        17,
        [ago(9, said("planned", **PLANNED)), ago(59, said("ticked", **TICKED), FROM_S)],
    ),
    "a due is left out": (
        17,
        [
            ago(9, said("planned", **PLANNED)),
            ago(60, said("ticked", **{**TICKED, "next_at": 180 * SECOND}), FROM_S),
        ],
    ),
    "it begins too late": (
        17,
        [ago(9, said("planned", **{**PLANNED, "next_at": 70 * SECOND}))],
    ),
    "a night is left out": (
        17,
        [
            ago(9, said("planned", **{**PLANNED, "timing": {"cron": "0 2 * * *"}, "next_at": DAY})),
        ],
    ),
    "a plan moves a due": (
        17,
        [
            ago(9, said("planned", **PLANNED)),
            ago(50, said("planned", **{**PLANNED, "next_at": 110 * SECOND})),
        ],
    ),
    "a new timing drops a due that has come": (
        17,
        [
            ago(9, said("planned", **PLANNED)),
            ago(61, said("planned", **EVERY_7, next_at=68 * SECOND)),
        ],
    ),
    "a tick without its task": (
        17,
        [ago(9, said("planned", **PLANNED)), ago(60, said("ticked", **TICKED))],
    ),
    "a task without its tick": (17, [ago(9, said("planned", **PLANNED)), ago(60, FROM_S)]),
    "a paused schedule ticks": (
        17,
        [
            ago(9, said("planned", **PLANNED, paused=True)),
            ago(60, said("ticked", **TICKED), FROM_S),
        ],
    ),
    "a due is missed, though in time": (
        17,
        [ago(9, said("planned", **PLANNED)), ago(61, said("ticked", **MISSED))],
    ),
    "a due is missed, though only one of two is too many": (
        17,
        [
            ago(9, said("planned", **{**PLANNED, "rules": {"catch_up": 2, "overlap": "allow"}})),
            ago(130, said("ticked", **MISSED)),
        ],
    ),
    "too many dues are caught up": (
        17,
        [ago(9, said("planned", **PLANNED)), ago(181, said("ticked", **TICKED), FROM_S)],
    ),
    "a due is made too late": (
        17,
        [
            ago(9, said("planned", **{**PLANNED, "rules": {"within_us": 5 * SECOND}})),
            ago(71, said("ticked", **TICKED), FROM_S),
        ],
    ),
    "a due is caught up, though none is": (
        17,
        [
            ago(9, said("planned", **{**PLANNED, **HOURLY, "rules": {"catch_up": 0}})),
            ago(181, said("ticked", **{**TICKED, "next_at": 3_660 * SECOND}), FROM_S),
        ],
    ),
    "an overlap": (
        17,
        [
            ago(9, said("planned", **PLANNED)),
            ago(60, said("ticked", **TICKED), FROM_S),
            ago(
                120,
                said("ticked", **{**TICKED, "due": 120 * SECOND, "next_at": 180 * SECOND}),
                created(schedule="s", due=120 * SECOND),
            ),
        ],
    ),
    "nothing was planned": (17, [ago(60, said("ticked", **TICKED), FROM_S)]),
    "a flow's end comes early": (
        8,
        [
            ago(9, created(flow=1), created(flow=1, role="finally", needs=["after"])),
            ago(9, leased(2)),
        ],
    ),
    "for a failure, without one": (
        8,
        [
            ago(9, created(flow=1), created(flow=1, role="on_failure", needs=["after"])),
            ago(9, leased(1), completed(1, 3), leased(2)),
        ],
    ),
    "the end before what is for a failure": (
        8,
        [
            ago(
                9,
                created(flow=1),
                created(flow=1, role="on_failure", needs=["after"]),
                created(flow=1, role="finally", needs=["after"]),
            ),
            ago(9, of(1, "cancelled"), leased(3)),
        ],
    ),
    "a flow is joined later": (18, [ago(9, created(flow=1)), ago(9, created(flow=1))]),
    "a child is in no flow": (
        18,
        [ago(9, created(flow=1), leased(1), completed(1, 2, made=1), created(made_by=1))],
    ),
    "children are missing": (
        19,
        [ago(9, created(), leased(1), completed(1, 2, made=2), created(made_by=1))],
    ),
    "children of a failure": (
        19,
        [ago(9, created(), leased(1), failed(1, 2), retried(1, 19 * SECOND), created(made_by=1))],
    ),
    "children behind something": (
        19,
        [
            ago(
                9,
                created(),
                leased(1),
                completed(1, 2, made=1),
                said("left", worker="n"),
                created(made_by=1),
            )
        ],
    ),
    "a follower goes back": (
        "follower",
        [
            ago(9, created(), created(), said("followed", **{**FOLLOWED, "seq": 2})),
            ago(9, said("followed", **FOLLOWED)),
        ],
    ),
    "a follower runs ahead": ("follower", [ago(9, said("followed", **FOLLOWED))]),
    "a follower has two nodes": (
        "follower",
        [
            ago(9, created(), said("followed", **FOLLOWED)),
            ago(38, said("followed", **{**FOLLOWED, "worker": "m"})),
        ],
    ),
    "no follower to drop": ("follower", [ago(9, said("unfollowed", follower="f"))]),
    "two instants in a commit": (
        "clock",
        [ago(99, created()), ago(99, created(decided_at=SECOND), created())],
    ),
    "not so far ahead": ("clock", [ago(99, created()), ago(99, created(decided_at=98 * SECOND))]),
    "no such body": (4, [ago(9, (1, {"kind": "leased"}))]),
}
