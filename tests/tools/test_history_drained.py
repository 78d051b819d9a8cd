"""Once all is drained, what the history checker still finds open needs a good reason."""

from __future__ import annotations

import pytest

from tests.tools.histories import Told, checked, invariants, sealed
from tests.tools.telling import (
    AFTER,
    AT_9,
    PLANNED,
    SECOND,
    SMTP,
    ago,
    completed,
    created,
    leased,
    of,
    reopening,
    retried,
    said,
)

# What is told, and the invariant by which it is found, if it must be.
DRAINED: dict[str, tuple[list[Told], int | None]] = {
    "ready": ([ago(9, created())], 14),
    "leased": ([ago(9, created(), leased(1))], 14),
    "doomed": ([ago(9, created(), created(**AFTER), of(1, "cancelled"))], 14),
    "not back": (
        [
            ago(9, created(), created(**AFTER), of(1, "cancelled"), of(2, "cancelled", cause=1)),
            ago(9, retried(1, AT_9, reopens=reopening()), leased(1), completed(1, 6)),
        ],
        14,
    ),
    "ended again": (
        [
            ago(9, created(), created(**AFTER), of(1, "cancelled"), of(2, "cancelled", cause=1)),
            ago(9, retried(1, AT_9, reopens=reopening(), revives=True), of(1, "cancelled")),
        ],
        None,
    ),
    "skipped": (
        [
            ago(9, created(), created(**AFTER), of(1, "cancelled"), of(2, "cancelled", cause=1)),
            ago(9, retried(1, AT_9, reopens=reopening()), of(1, "revived", skipped=[2])),
            ago(9, leased(1), completed(1, 7)),
        ],
        None,
    ),
    "a flow's end": (
        [
            ago(9, created(flow=1), created(flow=1, role="finally", needs=["after"])),
            ago(9, leased(1), completed(1, 3)),
        ],
        14,
    ),
    "before a flow's end": (
        [
            ago(
                9,
                created(flow=1, scheduled_at=500 * SECOND),
                created(flow=1, role="finally", needs=["after"]),
            )
        ],
        None,
    ),
    "a due": ([ago(9, said("planned", **PLANNED))], 17),
    "scheduled": ([ago(9, created(scheduled_at=500 * SECOND))], None),
    "paused": ([ago(9, created(), said("paused", scope={}))], None),
    "held": (
        [ago(9, created(), created(**AFTER, if_failed="hold"), of(1, "cancelled"))],
        None,
    ),
    "held beyond its time": (
        [
            ago(9, created(), created(**AFTER, if_failed="hold", expires_at=99 * SECOND)),
            ago(9, of(1, "cancelled")),
        ],
        14,
    ),
    "paused beyond its time": (
        [ago(9, created(expires_at=99 * SECOND), said("paused", scope={}))],
        14,
    ),
    "no limit": ([ago(9, created(**SMTP))], None),
    "done": ([ago(9, created(), leased(1), completed(1, 2))], None),
}


@pytest.mark.parametrize("name", DRAINED)
def test_what_is_left_needs_a_reason(name: str) -> None:
    """Once all is drained, what is open waits for what cannot come by itself: 14, of dues 17."""
    told, invariant = DRAINED[name]

    findings = checked(sealed(told), drained_at=400 * SECOND)

    assert invariants(findings) == ([] if invariant is None else [invariant])
