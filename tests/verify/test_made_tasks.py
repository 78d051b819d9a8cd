"""Tasks that attempts make: behind the completion that announces them, each naming its maker."""

from __future__ import annotations

import pytest

from eventq.core.command import NEW, Draft
from eventq.core.events import Completed, Created, Leased
from eventq.core.projection import Projection
from eventq.core.queue_events import Joined
from eventq.core.values import Policy
from eventq.verify import verify
from tests.driver import memory_log, record

PLAIN = Policy("linear", 10)
CHILD = Created(PLAIN, made_by=1)
# The positions of a log: its task, who runs it, the lease, and the completion.
BEGIN: list[Draft] = [(NEW, Created(PLAIN)), (1, Leased(1, "n", 30))]
END = 3


def found(*commits: list[Draft]) -> list[tuple[int, str]]:
    """What the verifier finds in a log of these commits, behind those that begin it."""
    log, projection = memory_log(), Projection("default")
    for now, drafts in enumerate([BEGIN, *commits], 10):
        record(log, projection, drafts, now=now)
    return [(each.seq, each.problem) for each in verify(log, limit=10).findings]


def end(made: int) -> Draft:
    """The completion of the task, which announces so many others."""
    return 1, Completed(2, made=made)


def test_tasks_behind_the_completion_that_announces_them_are_right() -> None:
    """One or several."""
    assert found([end(1), (NEW, CHILD)]) == []
    assert found([end(2), (NEW, CHILD), (NEW, CHILD), (NEW, Created(PLAIN))]) == []


@pytest.mark.parametrize(
    "commits, problem",
    [
        ([[end(1), (NEW, Created(PLAIN))]], (END + 1, "made by task None, behind what task 1")),
        ([[end(1), (NEW, Created(PLAIN, made_by=2))]], (END + 1, "made by task 2, behind what")),
        ([[end(1), (NEW, CHILD), (NEW, CHILD)]], (END + 2, "made by task 1, which has not said")),
        ([[end(0)], [(NEW, CHILD)]], (END + 1, "made by task 1, which has not said so")),
        ([[end(2), (NEW, CHILD)]], (END + 1, "1 tasks that an attempt made are missing")),
        ([[end(1)], [(NEW, CHILD)]], (END, "1 tasks that an attempt made are missing")),
        ([[end(1), (0, Joined("m", 30, 1, "1"))]], (END + 1, "joined where a task stands")),
        ([[end(-1)]], (END, "made -1 tasks")),
    ],
)
def test_others_are_found_out(commits: list[list[Draft]], problem: tuple[int, str]) -> None:
    """Too few, too many, of nobody, or of another."""
    seq, words = found(*commits)[0]

    assert seq == problem[0]
    assert words.startswith(problem[1])
