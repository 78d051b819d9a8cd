"""The checker itself: it accepts what is right, and each of its rules can say no.

A checker that never fails proves nothing, so every wrong log here must be refused by its rule.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import Raw
from msgspec.structs import replace

from eventq.core.command import NEW, Draft
from eventq.core.commits import AnyBody, Commit, Event
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
    Saved,
    Updated,
)
from eventq.core.queue_events import Joined, Renewed
from eventq.core.values import NODE, ErrorInfo, Policy
from eventq.eventlog.memory import MemoryLog
from tests.checker import check_commits, check_events, check_log
from tests.driver import memory_log, sealed

PLAIN = Policy("linear", 10)
ONCE = Policy("linear", 10, max_retries=0)
FAILED = ErrorInfo("OSError")
LEASED = Leased(1, "n", 30)
Step = tuple[int, int, AnyBody]


def told(*steps: Step) -> list[Event]:
    """Events from (at, task, body); task NEW is the event's own position."""
    return [
        Event(seq, at, seq if task == NEW else task, body)
        for seq, (at, task, body) in enumerate(steps, 1)
    ]


def chain(*commits: list[Draft], at: int = 10) -> list[Commit]:
    """Sealed commits that follow each other."""
    made: list[Commit] = []
    for drafts in commits:
        first = made[-1].last + 1 if made else 1
        made.append(sealed(drafts, first=first, at=at, prev=made[-1].seal if made else None))
    return made


NEW_TASK: Step = (10, NEW, Created(PLAIN))
MADE = Created(PLAIN, made_by=1)
EARLY: Step = (9, NEW, Created(PLAIN))
SIGN: Step = (9, NODE, Renewed("n", 30))
# Of a node that takes from one lane, and of tasks in that or another.
IN_MAIL: list[Step] = [
    (10, NEW, Created(PLAIN, lane="mail")),
    (10, NEW, Created(PLAIN, priority=1)),
    (10, NEW, Created(PLAIN, lane="mail")),
    (10, NODE, Joined("n", 30, 1, "1", unnamed=True, lanes={"mail": 1})),
]
LEFT: list[Step] = [*IN_MAIL, (10, 1, Updated(lane="heavy"))]
GOOD: list[list[Step]] = [
    [],
    [*LEFT, (10, 3, LEASED)],
    [*IN_MAIL, (10, 2, Updated(lane="mail")), (10, 2, LEASED)],
    [*LEFT, (10, 1, Updated(lane="mail", undoes=5)), (10, 1, LEASED)],
    [NEW_TASK, (10, 1, LEASED), (11, 1, Completed(2)), (12, 1, Refused(2, "m", "completed"))],
    [
        (10, NEW, Created(ONCE)),
        (10, 1, LEASED),
        (11, 1, Released(2)),
        (11, 1, LEASED),
        (12, 1, Failed(4, FAILED)),
        (12, 1, Expired("max_retries")),
        (20, 1, Retried(20, Reopening("expired", ONCE, 10, 1, last_error=FAILED))),
        (20, 1, Leased(2, "n", 30)),
        (20, NODE, Renewed("n", 30)),
        (21, 1, Cancelled()),
    ],
    [
        (10, NEW, Created(PLAIN, expires_at=30)),
        (10, NEW, Created(PLAIN, scheduled_at=20)),
        (10, NEW, Created(PLAIN, priority=1)),
        (10, 1, Updated(priority=2)),
        (29, 1, LEASED),
        (29, 3, LEASED),
        (29, 2, LEASED),
        (29, 1, Failed(5, FAILED)),
        (29, 1, Expired("max_age")),
        (29, 3, Failed(6, FAILED)),
        (29, 3, Retried(29)),
        (40, 3, Leased(2, "m", 30)),
    ],
    [(10, NEW, Created(PLAIN, expires_at=30)), (30, 1, Expired("max_age"))],
    [NEW_TASK, (10, 1, LEASED), (11, 1, Completed(2, made=2)), (11, NEW, MADE), (11, NEW, MADE)],
    [
        (10, NEW, Created(ONCE)),
        (10, 1, LEASED),
        (11, 1, Progressed(2, done=1)),
        (11, 1, Saved(2, value=Raw(b"7"))),
        (11, 1, Noted(2)),
        (12, 1, Failed(2, FAILED)),
        (12, 1, Expired("max_retries")),
        (
            20,
            1,
            Retried(20, Reopening("expired", ONCE, 10, 1, last_error=FAILED, saved=Raw(b"7"))),
        ),
    ],
    [
        # A task past its expiry stands in nobody's way, even where nobody has expired it yet.
        (10, NEW, Created(PLAIN, priority=9, expires_at=30)),
        NEW_TASK,
        (30, 2, LEASED),
        (31, 1, Expired("max_age")),
    ],
]


@pytest.mark.parametrize("steps", GOOD)
def test_good_histories_are_accepted(steps: list[Step]) -> None:
    """What is right passes, and the report counts it."""
    report = check_events(told(*steps))

    assert report.events == len(steps)
    assert sum(report.kinds.values()) == len(steps)
    assert sum(report.states.values()) == report.kinds["created"]


BAD: list[tuple[str, list[Step]]] = [
    ("task's number", [(10, 5, Created(PLAIN))]),
    ("key is taken by task 1", [(10, NEW, Created(PLAIN, "k")), (10, NEW, Created(PLAIN, "k"))]),
    ("created past its expiry", [(10, NEW, Created(PLAIN, expires_at=10))]),
    ("scheduled past", [(10, NEW, Created(PLAIN, scheduled_at=20, expires_at=20))]),
    ("before created", [(10, 1, Cancelled())]),
    ("runs backwards", [NEW_TASK, (9, 1, Cancelled())]),
    ("renewed names", [NEW_TASK, (10, 1, Renewed("n", 30))]),
    ("for no time", [(10, NODE, Renewed("n", 0))]),
    ("for no time", [NEW_TASK, (10, 1, Leased(1, "n", 0))]),
    ("leased of task 1: leased", [NEW_TASK, (10, 1, LEASED), (10, 1, Leased(2, "m", 30))]),
    ("too early", [(10, NEW, Created(PLAIN, scheduled_at=20)), (19, 1, LEASED)]),
    ("past its expiry", [(10, NEW, Created(PLAIN, expires_at=20)), (20, 1, LEASED)]),
    ("attempt 2 skips", [NEW_TASK, (10, 1, Leased(2, "n", 30))]),
    ("task 2 ranks", [NEW_TASK, (10, NEW, Created(PLAIN, priority=1)), (10, 1, LEASED)]),
    ("task 1 ranks", [NEW_TASK, NEW_TASK, (10, 2, LEASED)]),
    ("task 2 ranks", [NEW_TASK, (10, NEW, Created(PLAIN, scheduled_at=5)), (10, 1, LEASED)]),
    ("task 2 ranks", [NEW_TASK, NEW_TASK, (10, 2, Updated(1)), (10, 1, LEASED)]),
    ("is not the live|the live one is", [NEW_TASK, (10, 1, LEASED), (10, 1, Completed(1))]),
    ("the live one is", [NEW_TASK, (10, 1, LEASED), (10, 1, Failed(3, FAILED))]),
    ("the live one is", [NEW_TASK, (10, 1, LEASED), (10, 1, Released(1))]),
    ("completed of task 1: pending", [NEW_TASK, (10, 1, Completed(1))]),
    (
        "completed of task 1",
        [NEW_TASK, (10, 1, LEASED), (10, 1, Completed(2)), (10, 1, Completed(2))],
    ),
    ("nothing follows", [NEW_TASK, (10, 1, LEASED), (10, 1, Failed(2, FAILED))]),
    (
        "into the past",
        [NEW_TASK, (10, 1, LEASED), (10, 1, Failed(2, FAILED)), (10, 1, Retried(9))],
    ),
    (
        "more retries",
        [
            (10, NEW, Created(ONCE)),
            (10, 1, LEASED),
            (10, 1, Failed(2, FAILED)),
            (10, 1, Retried(10)),
        ],
    ),
    (
        "retried at or past",
        [
            (10, NEW, Created(PLAIN, expires_at=20)),
            (10, 1, LEASED),
            (10, 1, Failed(2, FAILED)),
            (10, 1, Retried(20)),
        ],
    ),
    (
        "too early",
        [
            NEW_TASK,
            (10, 1, LEASED),
            (10, 1, Failed(2, FAILED)),
            (10, 1, Retried(20)),
            (19, 1, Leased(2, "n", 30)),
        ],
    ),
    ("nothing says what", [NEW_TASK, (10, 1, Cancelled()), (10, 1, Retried(10))]),
    (
        "reopens what was",
        [
            NEW_TASK,
            (10, 1, Cancelled()),
            (10, 1, Retried(10, Reopening("expired", PLAIN, 10, 0))),
        ],
    ),
    (
        "brings back",
        [
            NEW_TASK,
            (10, 1, Cancelled()),
            (10, 1, Retried(10, Reopening("cancelled", PLAIN, 10, 0, tags=Raw(b'{"a":1}')))),
        ],
    ),
    (
        "retried of task 1: completed",
        [
            NEW_TASK,
            (10, 1, LEASED),
            (10, 1, Completed(2)),
            (10, 1, Retried(10, Reopening("cancelled", PLAIN, 10, 0))),
        ],
    ),
    ("without a failure", [(10, NEW, Created(ONCE)), (10, 1, Expired("max_retries"))]),
    (
        "retries are left",
        [
            NEW_TASK,
            (10, 1, LEASED),
            (10, 1, Failed(2, FAILED)),
            (10, 1, Expired("max_retries")),
        ],
    ),
    ("without an expiry", [NEW_TASK, (10, 1, Expired("max_age"))]),
    (
        "expired too early",
        [(10, NEW, Created(PLAIN, expires_at=20)), (19, 1, Expired("max_age"))],
    ),
    ("cancelled of task 1", [NEW_TASK, (10, 1, Cancelled()), (10, 1, Cancelled())]),
    ("released of task 1", [NEW_TASK, (10, 1, Released(0))]),
    ("updated of task 1", [NEW_TASK, (10, 1, LEASED), (10, 1, Updated(1))]),
    ("updated nothing", [NEW_TASK, (10, 1, Updated(by="me"))]),
    ("is no name", [NEW_TASK, (10, 1, Updated(lane="a b"))]),
    ("comes back with another lane", [*LEFT, (10, 1, Updated(lane="default", undoes=5))]),
    ("lane default", [*IN_MAIL, (10, 1, Updated(lane="default")), (10, 1, LEASED)]),
    ("task 2 ranks", [*IN_MAIL, (10, 2, Updated(lane="mail")), (10, 3, LEASED)]),
    (
        "moved past its expiry",
        [(10, NEW, Created(PLAIN, expires_at=20)), (10, 1, Updated(scheduled_at=20))],
    ),
    ("no lease of the task", [NEW_TASK, (10, 1, Refused(1, "n", "failed"))]),
    (
        "no lease of the task",
        [
            NEW_TASK,
            NEW_TASK,
            (10, 1, LEASED),
            (10, 2, LEASED),
            (10, 1, Completed(3)),
            (10, 1, Refused(4, "n", "failed")),
        ],
    ),
    ("where a task stands", [EARLY, (9, 1, LEASED), (9, 1, Completed(2, made=1)), SIGN]),
    ("1 tasks .* missing", [EARLY, (9, 1, LEASED), (9, 1, Completed(2, made=2)), (9, NEW, MADE)]),
    ("made by task None", [EARLY, (9, 1, LEASED), (9, 1, Completed(2, made=1)), EARLY]),
    ("which has not said so", [EARLY, (9, NEW, MADE)]),
    ("made -1", [EARLY, (9, 1, LEASED), (9, 1, Completed(2, made=-1))]),
    ("the live one is", [EARLY, (9, 1, LEASED), (9, 1, Progressed(1))]),
    ("saved of task 1: pending", [EARLY, (9, 1, Saved(0))]),
    ("names no task", [(9, NODE, Noted(0))]),
    ("not to be skipped", [EARLY, (9, 1, LEASED), (9, 1, Progressed(2, skip=False))]),
    (
        "another saved",
        [
            (9, NEW, Created(ONCE)),
            (9, 1, LEASED),
            (9, 1, Saved(2, value=Raw(b"7"))),
            (9, 1, Cancelled()),
            (9, 1, Retried(9, Reopening("cancelled", ONCE, 9, 1, saved=Raw(b"8")))),
        ],
    ),
    ("of a live lease", [NEW_TASK, (10, 1, LEASED), (10, 1, Refused(2, "n", "failed"))]),
]


@pytest.mark.parametrize(
    "problem, steps", BAD, ids=[f"{index} {problem}" for index, (problem, _) in enumerate(BAD)]
)
def test_bad_histories_are_refused(problem: str, steps: list[Step]) -> None:
    """Each rule finds its fault, at the last event."""
    with pytest.raises(AssertionError, match=rf"^{len(steps)}: .*({problem})"):
        check_events(told(*steps))


def test_a_released_attempt_does_not_count() -> None:
    """A task that may run once can be given back and leased again."""
    events = told(
        (10, NEW, Created(ONCE)),
        (10, 1, LEASED),
        (10, 1, Released(2)),
        (10, 1, LEASED),
        (10, 1, Released(4)),
        (10, 1, LEASED),
    )

    assert check_events(events).tasks[1].attempt == 1


def test_positions_must_not_skip() -> None:
    """A hole in the positions is found without any commit."""
    first, second = told(NEW_TASK, NEW_TASK)

    with pytest.raises(AssertionError, match=r"^3: follows 1"):
        check_events([first, replace(second, seq=3, task=3)])


def test_a_good_chain_is_accepted() -> None:
    """Commits that tile and seal pass, and keys are reported."""
    commits = chain([(NEW, Created(PLAIN, "k")), (1, LEASED)], [(1, Completed(2))])

    report = check_commits("default", commits)

    assert (report.events, report.commits, report.keys) == (3, 2, {"k": 1})
    assert report.all_final


FAULTS: list[tuple[str, Callable[[list[Commit]], list[Commit]]]] = [
    ("1: a commit begins at 3", lambda commits: commits[1:]),
    ("1: .*seal before", lambda commits: [replace(commits[0], prev=bytes(32))]),
    ("3: .*seal before", lambda commits: [commits[0], replace(commits[1], prev=bytes(32))]),
    ("1: the seal does not", lambda commits: [replace(commits[0], seal=bytes(32))]),
    ("1: the seal does not", lambda commits: [replace(commits[0], at=11)]),
    ("1: the seal does not", lambda commits: [replace(commits[0], id="other")]),
    ("3: time runs", lambda commits: [commits[0], replace(commits[1], at=9)]),
    ("3: a commit begins at 4", lambda commits: [commits[0], replace(commits[1], first=4)]),
    ("1: tasks and bodies", lambda commits: [replace(commits[0], tasks=[1])]),
    ("3: a commit is empty", lambda commits: [commits[0], replace(commits[1], bodies=[])]),
]


@pytest.mark.parametrize(
    "problem, spoil", FAULTS, ids=[f"{n} {problem}" for n, (problem, _) in enumerate(FAULTS)]
)
def test_a_broken_chain_is_refused(
    problem: str, spoil: Callable[[list[Commit]], list[Commit]]
) -> None:
    """A hole, a changed byte, a foreign seal: each is told with its position."""
    commits = chain([(NEW, Created(PLAIN)), (1, LEASED)], [(1, Completed(2))])

    with pytest.raises(AssertionError, match=f"^{problem}"):
        check_commits("default", spoil(commits))


def test_a_commit_has_a_most() -> None:
    """1,000 events pass, one more is told."""
    assert check_commits("default", chain([(NEW, Created(PLAIN))] * 1_000)).events == 1_000
    with pytest.raises(AssertionError, match=r"^1: a commit has more than 1,000 events"):
        check_commits("default", chain([(NEW, Created(PLAIN))] * 1_001))


def test_a_chain_belongs_to_its_namespace() -> None:
    """The same commits under another name are refused."""
    with pytest.raises(AssertionError, match="seal before"):
        check_commits("other", chain([(NEW, Created(PLAIN))]))


def test_a_failure_may_not_wait_for_the_next_commit() -> None:
    """What follows a failure stands in the same commit."""
    commits = chain(
        [(NEW, Created(PLAIN)), (1, LEASED)], [(1, Failed(2, FAILED))], [(1, Retried(10))]
    )

    with pytest.raises(AssertionError, match=r"^3: nothing follows the failure of"):
        check_commits("default", commits)


def test_a_key_not_listed_is_found() -> None:
    """The keys of a commit are those of its created events."""
    [commit] = chain([(NEW, Created(PLAIN, "k"))])

    with pytest.raises(AssertionError, match=r"^1: .*keys|^1: the seal"):
        check_commits("default", [replace(commit, keys={})])


@pytest.fixture
def log() -> MemoryLog:
    """A log of two commits."""
    log = memory_log()
    for commit in chain([(NEW, Created(PLAIN, "k")), (1, LEASED)], [(1, Completed(2))]):
        log.append(commit)
    return log


@pytest.mark.parametrize("batch", [1, 2, 1_000])
def test_a_log_is_read_to_its_end(log: MemoryLog, batch: int) -> None:
    """Whatever the batches, all of it is checked."""
    report = check_log(log, batch=batch)
    assert (report.events, report.commits) == (3, 2)
    assert dict(report.states) == {"completed": 1}


def test_an_empty_log_is_good() -> None:
    """Nothing happened, nothing is wrong."""
    assert check_log(memory_log()).events == 0


def test_a_lying_index_of_tasks_is_found(log: MemoryLog) -> None:
    """A history that leaves an event out is no history."""
    log.storage.positions["default"][1].pop()

    with pytest.raises(AssertionError, match=r"^1: the index has another history"):
        check_log(log)


def test_a_lying_index_of_keys_is_found(log: MemoryLog) -> None:
    """A key that leads nowhere would be given twice."""
    log.storage.keys["default"].clear()

    with pytest.raises(AssertionError, match="the index of keys"):
        check_log(log)
