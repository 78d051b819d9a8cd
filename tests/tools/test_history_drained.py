"""Once all is drained, what the history checker still finds open needs a good reason."""

from __future__ import annotations

import pytest

from tests.tools.histories import Told, checked, sealed
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

DRAINED: dict[str, tuple[list[Told], bool]] = {
    "ready": ([ago(9, created())], True),
    "leased": ([ago(9, created(), leased(1))], True),
    "doomed": ([ago(9, created(), created(**AFTER), of(1, "cancelled"))], True),
    "not back": (
        [
            ago(9, created(), created(**AFTER), of(1, "cancelled"), of(2, "cancelled", cause=1)),
            ago(9, retried(1, AT_9, reopens=reopening()), leased(1), completed(1, 6)),
        ],
        True,
    ),
    "skipped": (
        [
            ago(9, created(), created(**AFTER), of(1, "cancelled"), of(2, "cancelled", cause=1)),
            ago(9, retried(1, AT_9, reopens=reopening()), of(1, "revived", skipped=[2])),
            ago(9, leased(1), completed(1, 7)),
        ],
        False,
    ),
    "a flow's end": (
        [
            ago(9, created(flow=1), created(flow=1, role="finally", needs=["after"])),
            ago(9, leased(1), completed(1, 3)),
        ],
        True,
    ),
    "before a flow's end": (
        [
            ago(
                9,
                created(flow=1, scheduled_at=200 * SECOND),
                created(flow=1, role="finally", needs=["after"]),
            )
        ],
        False,
    ),
    "a due": ([ago(9, said("planned", **PLANNED))], True),
    "scheduled": ([ago(9, created(scheduled_at=200 * SECOND))], False),
    "paused": ([ago(9, created(), said("paused", scope={}))], False),
    "held": (
        [ago(9, created(), created(**AFTER, if_failed="hold"), of(1, "cancelled"))],
        False,
    ),
    "no limit": ([ago(9, created(**SMTP))], False),
    "done": ([ago(9, created(), leased(1), completed(1, 2))], False),
}


@pytest.mark.parametrize("name", DRAINED)
def test_what_is_left_needs_a_reason(name: str) -> None:
    """Invariant 14: once all is drained, what is open waits for what cannot come by itself."""
    told, is_found = DRAINED[name]

    findings = checked(sealed(told), drained_at=100 * SECOND)

    assert bool(findings) == is_found
