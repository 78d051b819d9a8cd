"""What running attempts tell, in the fold: what it changes, what ends it, and what it costs."""

from __future__ import annotations

import pytest
from msgspec import Raw

from eventq.core.commits import AnyBody, AnyTold
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Noted,
    Progressed,
    Released,
    Retried,
    Saved,
)
from eventq.core.moves import fold_history
from eventq.core.projection import Projection
from eventq.core.task import Progress, Task
from eventq.core.values import NODE, ErrorInfo, LogLine, Policy
from eventq.replay.fold import replay
from tests.driver import memory_log, record

BEGUN: list[AnyBody] = [
    Created(Policy("linear", 1)),
    Leased(1, "n", 30),
    Progressed(2, done=1, total=3, note="pages"),
    Saved(2, value=Raw(b"[7]")),
    Noted(2, lines=(LogLine(1, "info", "hello"),)),
]
NOTED = Noted(2)
FAILED: list[AnyBody] = [Failed(2, ErrorInfo("OSError")), Retried(20)]


def after(*bodies: AnyBody) -> Task:
    """A task after these events, one a microsecond."""
    task = fold_history("default", [(seq, seq, body) for seq, body in enumerate(bodies, 1)])
    assert task is not None
    return task


def test_the_last_word_counts() -> None:
    """Of progress and of values, each by itself; lines stay in the log alone."""
    task = after(*BEGUN, Progressed(2, done=2))

    assert task.progress == Progress(2, None, "", 6)
    assert (task.saved, task.saved_json) == ([7], b"[7]")
    assert task.state == "leased"


@pytest.mark.parametrize("told", [Progressed(1, done=9), Saved(1, value=Raw(b"9")), Noted(1)])
def test_an_old_fence_changes_nothing(told: AnyTold) -> None:
    """Neither while another attempt runs nor afterwards."""
    for before in (BEGUN, [*BEGUN, *FAILED], [*BEGUN, Completed(2)]):
        assert after(*before, told) == after(*before)


@pytest.mark.parametrize(
    "ends, progress, saved",
    [
        ([*FAILED], 1, [7]),
        ([*FAILED, Leased(2, "n", 30)], None, [7]),
        ([Released(2)], 1, [7]),
        ([Failed(2, ErrorInfo("OSError")), Expired("fatal")], 1, [7]),
        ([Cancelled()], 1, [7]),
        ([Completed(2)], None, None),
    ],
)
def test_a_value_ends_with_the_task_and_progress_with_the_next_attempt(
    ends: list[AnyBody], progress: int | None, saved: object
) -> None:
    """A completion drops both."""
    task = after(*BEGUN, *ends)

    assert (None if task.progress is None else task.progress.done) == progress
    assert task.saved == saved


def test_a_task_without_them_carries_nothing() -> None:
    """Nor does one that has got rid of them."""
    assert after(*BEGUN[:2], Completed(2)).rarity is None
    assert after(*BEGUN, Completed(2)).rarity is None


def test_a_projection_keeps_its_leases_beside_what_is_told() -> None:
    """Who holds what, and when a node last gave a sign of life, stays as it was."""
    log = memory_log()
    projection = Projection("default")
    record(log, projection, [(-1, BEGUN[0])], now=1)
    record(log, projection, [(1, BEGUN[1])], now=2)
    record(log, projection, [(1, body) for body in BEGUN[2:]], now=90)

    projection.check()
    assert projection.tasks[1].saved == [7]
    assert (projection.holders["n"].seen_seq, projection.leases_of("n")) == (2, {1})
    assert projection.counts["progressed"] == projection.counts["noted"] == 1
    assert replay(log).tasks == projection.tasks


@pytest.mark.parametrize("number", [NODE, 1, 7])
def test_a_word_about_nothing_that_runs_is_nothing(number: int) -> None:
    """As to a node that does not know its kind; the verifier reports it."""
    log = memory_log()
    projection = Projection("default")
    record(log, projection, [(-1, BEGUN[0])], now=1)
    record(log, projection, [(1, Cancelled())], now=2)

    record(log, projection, [(number, NOTED)], now=3)

    assert (projection.tasks, projection.unknown, projection.strangers) == ({}, None, {})
