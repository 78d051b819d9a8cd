"""Histories that are wrong in one thing about changes to many tasks, or what is taken back."""

from __future__ import annotations

from hashlib import blake2b

from tests.tools.histories import Told
from tests.tools.telling import (
    AFTER,
    AT_9,
    FROM_S,
    PLANNED,
    SECOND,
    TICKED,
    ago,
    created,
    of,
    reopening,
    retried,
    said,
)
from tools.history.facts import Body

LINKED: Body = {"needs": ["after"]}
NEXT_DUE = "the next due of schedule s has come"
OF_S: Body = {"created_at": 60 * SECOND, "schedule": "s", "due": 60 * SECOND}
ENDED_AT_120: Body = {"scheduled_at": 60 * SECOND, "ended_at": 120 * SECOND}
SECOND_DUE = (
    said("ticked", **TICKED | {"due": 120 * SECOND, "next_at": 180 * SECOND}),
    created(schedule="s", due=120 * SECOND),
)


def bulk(*numbers: int, position: int, **body: object) -> tuple[int, Body]:
    """A change begins, to tasks that nothing has happened to since they were made."""
    text = "".join(f"{number}:{number}\n" for number in numbers)
    digest = blake2b(text.encode(), digest_size=16).hexdigest()
    fields: Body = {"action": "cancel", "position": position, "count": len(numbers)}
    return said("bulk", **fields | {"digest": digest, "skip": True} | body)


def ended(number: int, changed: int, **body: object) -> tuple[int, Body]:
    """It is said to be done."""
    return said("bulk_ended", bulk=number, changed=changed, skip=True, **body)


def restoring(**body: object) -> Body:
    """How a task ends again that had ended at the second 9, before it was retried."""
    return {"scheduled_at": AT_9, "ended_at": AT_9, **body}


FAULTS: dict[str, tuple[int | str, list[Told]]] = {
    "a change of what is to come": (20, [ago(9, created()), ago(9, bulk(1, position=2))]),
    "a part of a change that never began": (
        20,
        [ago(9, created()), ago(9, of(1, "cancelled", bulk=7))],
    ),
    "a part of a change that is over": (
        20,
        [
            ago(9, created(), created(), bulk(1, 2, position=2), of(1, "cancelled", bulk=3)),
            ago(9, ended(3, 1, moved_on=1, left=[[2, 2]])),
            ago(9, of(2, "cancelled", bulk=3)),
        ],
    ),
    "a part of another kind": (
        20,
        [ago(9, created(), bulk(1, position=1)), ago(9, of(1, "updated", priority=1, bulk=2))],
    ),
    "a change of what has moved on": (
        20,
        [
            ago(9, created(), bulk(1, position=1), of(1, "updated", priority=1)),
            ago(9, of(1, "cancelled", bulk=2)),
        ],
    ),
    "a change that counts otherwise": (
        20,
        [
            ago(9, created(), created(), bulk(1, 2, position=2), of(1, "cancelled", bulk=3)),
            ago(9, ended(3, 2)),
        ],
    ),
    "a change of other tasks": (
        20,
        [
            ago(9, created(), created(), bulk(1, position=2), of(2, "cancelled", bulk=3)),
            ago(9, ended(3, 1)),
        ],
    ),
    "an older event is taken back": (
        20,
        [
            ago(9, created(), of(1, "updated", priority=1), of(1, "updated", priority=2)),
            ago(9, of(1, "updated", priority=0, undoes=2)),
        ],
    ),
    "an undo makes another priority": (
        20,
        [
            ago(9, created(), of(1, "updated", priority=1)),
            ago(9, of(1, "updated", priority=3, undoes=2)),
        ],
    ),
    "an undo makes another lane": (
        20,
        [
            ago(9, created(lane="mail"), of(1, "updated", lane="heavy")),
            ago(9, of(1, "updated", lane="default", undoes=2)),
        ],
    ),
    "a task comes back in the lane that it was made in": (
        4,
        [
            ago(9, created(lane="mail"), of(1, "updated", lane="heavy"), of(1, "cancelled")),
            ago(9, retried(1, AT_9, reopens=reopening(lane="mail"))),
        ],
    ),
    "an undo makes another instant": (
        20,
        [
            ago(9, created(), of(1, "cancelled")),
            ago(9, retried(1, 8 * SECOND, reopens=reopening(), undoes=2)),
        ],
    ),
    "an undo ends it for another reason": (
        20,
        [
            ago(
                9, created(), of(1, "cancelled", reason="a"), retried(1, AT_9, reopens=reopening())
            ),
            ago(9, of(1, "cancelled", reason="b", restores=restoring(), undoes=3)),
        ],
    ),
    "what a schedule had cancelled ends again without it, and once more": (
        4,
        [
            ago(0, said("planned", **PLANNED | {"rules": {"catch_up": 1, "overlap": "cancel"}})),
            ago(60, said("ticked", **TICKED), FROM_S),
            ago(120, of(3, "cancelled", reason=NEXT_DUE), *SECOND_DUE),
            ago(120, retried(3, 120 * SECOND, reopens=reopening(**OF_S))),
            ago(121, said("unplanned", schedule="s")),
            ago(121, of(3, "cancelled", reason=NEXT_DUE, restores=ENDED_AT_120, undoes=7)),
            ago(122, of(3, "cancelled")),
        ],
    ),
    "an undo minds what was waived": (
        20,
        [
            ago(9, created(), created(**AFTER), of(1, "cancelled"), of(2, "cancelled")),
            ago(9, retried(2, AT_9, reopens=reopening(after=[[1, "waived"]], **LINKED))),
            ago(9, of(2, "cancelled")),
            ago(9, retried(2, AT_9, reopens=reopening(after=[[1, "failed"]], **LINKED), undoes=6)),
        ],
    ),
    "an undo waives what was minded": (
        20,
        [
            ago(9, created(), created(**AFTER), of(1, "cancelled"), of(2, "cancelled")),
            ago(9, retried(2, AT_9, reopens=reopening(after=[[1, "waived"]], **LINKED), undoes=4)),
        ],
    ),
}
