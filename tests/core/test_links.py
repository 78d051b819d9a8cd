"""Tasks that come after others: what is decided when they are made, cancelled, and come back."""

from __future__ import annotations

import time

import pytest
from msgspec import Raw
from msgspec.structs import replace

from eventq import Queue
from eventq.core.cascade import CANCELLED_BY, cancel_doomed
from eventq.core.command import NEW, Draft
from eventq.core.commits import Event, encode_bodies
from eventq.core.create import NewTask
from eventq.core.create_flow import CreateFlow
from eventq.core.create_tasks import CreateTasks
from eventq.core.events import Cancelled, Created, Retried, Revived
from eventq.core.lease import lease_created
from eventq.core.link import Link, placed
from eventq.core.manage import ManageTask, UpdateTask
from eventq.core.projection import Projection
from eventq.core.task import Task, TaskState
from eventq.core.values import COMMIT_BYTES, Policy, Predecessor
from eventq.errors import (
    ArgumentError,
    KeyConflictError,
    LogArchivedError,
    LogCorruptError,
    LogTooNewError,
    TaskNotFoundError,
)
from tests.checker import check_log
from tests.core.desk import Desk
from tests.driver import append_texts, memory_log, record

POLICY = Policy("linear", 10)


@pytest.fixture
def desk() -> Desk:
    """An empty log."""
    return Desk()


def test_a_task_runs_once_all_before_it_have_completed(desk: Desk) -> None:
    """The fold alone makes it ready: there is no event for that."""
    one, two = desk.make(), desk.make()
    after = desk.make(one, two)
    desk.end(one)
    assert desk.state(after) == "waiting"

    desk.end(two)

    assert desk.state(after) == "scheduled"
    assert [task.number for task in desk.projection.ready(desk.now)] == [after]
    desk.end(after)
    check_log(desk.log)


@pytest.mark.parametrize(
    "if_failed, state", [("cancel", "waiting"), ("hold", "waiting"), ("run", "scheduled")]
)
def test_what_becomes_of_it_when_one_fails(desk: Desk, if_failed: str, state: str) -> None:
    """Doomed tasks are cancelled by a node, naming the cause; held ones wait."""
    first = desk.make()
    after = desk.make(first, if_failed=if_failed)

    desk.append((first, Cancelled()))

    assert desk.state(after) == state
    expected = (
        [(after, Cancelled(reason=CANCELLED_BY, cause=first))] if if_failed == "cancel" else []
    )
    assert desk.tend() == expected
    check_log(desk.log)


@pytest.mark.parametrize("is_completed", [True, False])
def test_what_has_ended_before_is_settled_at_once(desk: Desk, is_completed: bool) -> None:  # noqa: FBT001
    """The event says how it stood, so that no later reader has to ask."""
    first = desk.make()
    if is_completed:
        desk.end(first)
    else:
        desk.append((first, Cancelled()))

    after = desk.make(first)

    completed = Predecessor(first, "completed" if is_completed else "failed")
    assert desk.projection.tasks[after].after == (completed,)
    assert desk.state(after) == ("scheduled" if is_completed else "waiting")
    check_log(desk.log)


def test_a_chain_is_cancelled_in_portions(desk: Desk) -> None:
    """Each commit goes down the chain as far as it has room, and names who came right before."""
    chain = [desk.make()]
    for _ in range(9):
        chain.append(desk.make(chain[-1]))
    desk.append((chain[0], Cancelled()))

    portions = [desk.tend(room=4) for _ in range(4)]

    assert [len(portion) for portion in portions] == [4, 4, 1, 0]
    causes = [body.cause for portion in portions for _, body in portion]  # type: ignore[union-attr]
    assert causes == chain[:-1]
    check_log(desk.log)


def test_a_long_chain_is_cancelled_quickly() -> None:
    """10,000 tasks one behind the other take ten commits, each decided in one pass."""
    projection = Projection("default")
    log = memory_log()
    drafts: list[Draft] = [(NEW, Created(POLICY))]
    drafts += [
        (NEW, Created(POLICY, needs=("after",), after=(Predecessor(number),)))
        for number in range(1, 10_000)
    ]
    for start in range(0, 10_000, 1_000):
        record(log, projection, drafts[start : start + 1_000], now=1)
    record(log, projection, [(1, Cancelled())], now=1)
    begun_s = time.process_time()

    commits = 0
    while portion := cancel_doomed(projection, room=1_000):
        record(log, projection, portion, now=1)
        commits += 1

    assert (commits, len(projection.tasks)) == (10, 0)
    # It takes 0.2 s on an idle machine.
    assert time.process_time() - begun_s < 10


def test_reopening_brings_back_what_it_had_cancelled(desk: Desk) -> None:
    """Transitively, in the same commit, and they wait for it again."""
    first = desk.make()
    second = desk.make(first)
    third = desk.make(second)
    desk.append((first, Cancelled()))
    desk.tend()
    assert {desk.state(each) for each in (first, second, third)} == {"final"}

    drafts = desk.retry(first)

    assert [(number, type(body)) for number, body in drafts] == [
        (first, Retried),
        (second, Retried),
        (third, Retried),
    ]
    assert (desk.state(second), desk.state(third)) == ("waiting", "waiting")
    for each in (first, second, third):
        desk.end(each)
    check_log(desk.log)


def test_what_does_not_fit_comes_back_later(desk: Desk) -> None:
    """The reopened task says so, and any node goes on until it says that all is back."""
    first = desk.make()
    others = [desk.make(first) for _ in range(4)]
    desk.append((first, Cancelled()))
    desk.tend()

    drafts = desk.retry(first, room=3)
    assert [number for number, _ in drafts] == [first, others[0]]
    assert list(desk.projection.waits.reviving) == [first]
    portions = [desk.tend(room=3), desk.tend(room=3)]

    assert [[number for number, _ in portion] for portion in portions] == [
        [others[1], others[2]],
        [others[3], first],
    ]
    assert portions[-1][-1] == (first, Revived())
    assert not desk.projection.waits.has_work()
    check_log(desk.log)


def test_what_comes_after_much_comes_back_in_commits_that_fit(desk: Desk) -> None:
    """All that a reopened task brings back counts for its commit, not only its tags."""
    first = desk.make()
    before = tuple(desk.make_many([NewTask(b"{}", POLICY)] * 999))
    others = desk.make_many([NewTask(b"{}", POLICY, link=Link((first, *before)))] * 80)
    desk.append((first, Cancelled()))
    desk.tend()

    portions = [desk.retry(first)]
    while desk.projection.waits.has_work():
        portions.append(desk.tend())

    sizes = [sum(map(len, encode_bodies(body for _, body in each))) for each in portions]
    assert len(sizes) > 1
    assert max(sizes) <= COMMIT_BYTES
    assert {desk.state(each) for each in others} == {"waiting"}


def test_one_whose_value_is_taken_is_skipped_and_told(desk: Desk) -> None:
    """Somebody else has its unique value meanwhile, so it stays cancelled."""
    first = desk.make()
    order = NewTask(b"{}", POLICY, unique="sun", link=Link((first,)))
    decided = CreateTasks([order], unconditional=False)
    [after] = desk.append(*decided.decide(desk.projection, desk.past, desk.now).events)
    assert after is not None
    desk.append((first, Cancelled()))
    desk.tend()
    desk.append((NEW, Created(POLICY, unique="sun")))

    drafts = desk.retry(first)

    assert drafts[-1] == (first, Revived((after.number,)))
    assert desk.state(after.number) == "final"
    check_log(desk.log)


def test_one_that_comes_after_a_task_of_a_newer_eventq_is_skipped_and_told(desk: Desk) -> None:
    """Nobody here can tell how that stands; no node's commit fails for it, as a person's does."""
    first, other = desk.make(), desk.make()
    after = desk.make(first, other)
    desk.append((first, Cancelled()))
    desk.tend()
    commit = append_texts(desk.log, [other], '{"kind":"frozen"}', at=desk.now)
    desk.projection.apply(commit)

    drafts = desk.retry(first)

    assert drafts[-1] == (first, Revived((after,)))
    assert desk.state(after) == "final"
    with pytest.raises(LogTooNewError, match="frozen"):
        desk.retry(after)


def test_a_finaliser_that_a_newer_eventq_has_touched_is_left_alone() -> None:
    """Its flow closes without it, and nobody's commit fails for it."""
    queue = Queue("memory://")
    with queue.flow() as flow:
        flow.new()
        last = flow.on_failure()
    assert last.task is not None
    append_texts(queue.log, [last.task.number], '{"kind":"frozen"}')

    report = queue.run(lambda *_: None, until="idle")
    queue.new()

    assert report.completed == 1
    assert queue.run(lambda *_: None, until="idle").completed == 1
    assert queue.tasks(state="unknown")[0].number == last.task.number


def test_a_retry_by_hand_waives_what_has_failed(desk: Desk) -> None:
    """Of a task that is held, doomed, or cancelled already; what is open it waits for still."""
    first, other = desk.make(), desk.make()
    held = desk.make(first, if_failed="hold")
    doomed = desk.make(first)
    gone = desk.make(first, other)
    desk.append((first, Cancelled()))
    desk.append((gone, Cancelled(reason=CANCELLED_BY, cause=first)))

    for each in (held, doomed, gone):
        desk.retry(each)

    assert [desk.state(each) for each in (held, doomed, gone)] == [
        "scheduled",
        "scheduled",
        "waiting",
    ]
    assert desk.projection.tasks[gone].after == (
        Predecessor(first, "waived"),
        Predecessor(other),
    )
    # Brought back already, it is not brought back again.
    assert [number for number, _ in desk.retry(first)] == [first]
    check_log(desk.log)


def test_a_held_task_goes_on_once_the_other_completes(desk: Desk) -> None:
    """It waits until the other is reopened and completes."""
    first = desk.make()
    held = desk.make(first, if_failed="hold")
    desk.append((first, Cancelled()))
    desk.retry(first)
    assert desk.state(held) == "waiting"

    desk.end(first)

    assert desk.state(held) == "scheduled"
    check_log(desk.log)


def test_the_same_key_is_the_same_task_only_behind_the_same(desk: Desk) -> None:
    """What a task comes after belongs to what it is."""
    one, two = desk.make(), desk.make()
    desk.make(one, key="k")
    seq = desk.projection.seq
    again = NewTask(b"{}", POLICY, key="k", link=Link((one,)))

    decision = CreateTasks([again], unconditional=False).decide(
        desk.projection, desk.past, desk.now
    )

    assert decision.events == []
    assert desk.projection.seq == seq
    for link in (Link((two,)), Link((one, two)), Link((one,), "run"), None):
        order = replace(again, link=link)
        with pytest.raises(KeyConflictError, match="differs in after"):
            CreateTasks([order], unconditional=False).decide(desk.projection, desk.past, desk.now)


def test_what_nobody_knows_is_refused(desk: Desk) -> None:
    """Unknown keys, and archived tasks of which nothing is kept."""
    with pytest.raises(TaskNotFoundError):
        desk.make("nobody")
    with pytest.raises(TaskNotFoundError):
        desk.make(99)
    desk.past.created_and_task = _archived  # type: ignore[method-assign]
    with pytest.raises(ArgumentError, match="after"):
        desk.make(1)


def _archived(number: int) -> tuple[Event | None, Task | None]:
    raise LogArchivedError(number, 10)


def test_a_waiting_task_is_not_leased_as_it_is_created(desk: Desk) -> None:
    """Neither one that comes after others, nor a finaliser; one that has nothing to wait for is."""
    desk.append((NEW, Created(POLICY, scheduled_at=9_000)))
    bodies = [
        Created(POLICY, after=(Predecessor(1),)),
        Created(POLICY, flow=2, role="finally"),
        Created(POLICY, after=(Predecessor(1, "completed"),)),
    ]

    leases = [
        lease_created(desk.projection, body, worker="n", ttl_us=1, now=desk.now) for body in bodies
    ]

    assert leases[:2] == [None, None]
    assert leases[2] is not None


@pytest.mark.parametrize("is_flow", [False, True])
def test_what_the_same_commit_ends_has_failed(desk: Desk, is_flow: bool) -> None:  # noqa: FBT001
    """A task past its time gives its unique value to a new one, and another comes after it."""
    [late] = desk.make_many([NewTask(b"{}", POLICY, unique="a", expires_at=1_010)])
    desk.now = 1_020
    follows = NewTask(b"{}", POLICY, link=Link((late,), "hold"))
    orders = [follows, NewTask(b"{}", POLICY, unique="a", link=Link() if is_flow else None)]
    if is_flow:
        decision = CreateFlow(orders).decide(desk.projection, desk.past, desk.now)
        desk.append(*placed(decision, desk.projection.seq + 1))
    else:
        desk.make_many(orders)
    [after, holder] = desk.projection.tasks.values()

    assert after.after == (Predecessor(late, "failed"),)
    assert holder.unique == "a"
    check_log(desk.log)


def test_a_wait_that_nothing_could_end_is_damage(desk: Desk) -> None:
    """A task that is said to be open, and is not."""
    body = Created(POLICY, needs=("after",), after=(Predecessor(7),))

    with pytest.raises(LogCorruptError, match="waits for 7"):
        desk.append((NEW, body))


def test_waiting_tasks_expire_and_are_edited(desk: Desk) -> None:
    """Age counts from creation, waiting included; an edit leaves the wait as it is."""
    first = desk.make()
    order = NewTask(b"{}", replace(POLICY, max_age_us=50), link=Link((first,)))
    made = CreateTasks([order], unconditional=False)
    [after] = desk.append(*made.decide(desk.projection, desk.past, desk.now).events)
    assert after is not None
    assert desk.projection.next_instant() == after.expires_at_us
    assert [t.number for t in desk.projection.past_expiry(2_000)] == [after.number]

    drafts = (
        ManageTask(str(after.number), UpdateTask(priority=5))
        .decide(desk.projection, desk.past, desk.now)
        .events
    )
    [edited] = desk.append(*drafts)

    assert edited is not None
    assert (edited.priority, edited.recorded_state) == (5, TaskState.WAITING)
    assert bytes(Raw(edited.tags_json)) == b"{}"
