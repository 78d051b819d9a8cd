"""What changed between two points of one log, or of two; nothing here changes a log.

Open tasks are compared by their projections, final ones by the events in between, which are
streamed: memory is for the open tasks, and for what was reopened, however long the log is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Iterator

from msgspec import Struct

from eventq.audit.lookup import read_history
from eventq.core.commits import decode_at
from eventq.core.events import Retried
from eventq.core.moves import fold_events
from eventq.core.task import FINAL, Task, TaskState
from eventq.errors import ArgumentError, TaskNotFoundError
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import catch_up, commits_of, stored_kind, stored_of, task_history
from eventq.replay.points import Point
from eventq.snapshot import Difference, TaskDifference, compare, projection_at, restore, take
from eventq.snapshot.comparing import task_difference


class LogDifference(Struct, frozen=True):
    """What changed from one point to another."""

    before: Point
    after: Point
    same_until: int
    """The last position up to which both are the same history."""
    open: Difference
    """The open tasks that differ, all counts, and the nodes."""
    elsewhere: dict[str, Task]
    """By key, of tasks that are open at one of the points only: the final task at the other."""
    passed: dict[str, int]
    """Of one log: how many tasks are final after, by their state, and were not open before."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return self.open.is_empty and self.before.seq == self.same_until == self.after.seq


def diff_points(log: EventLog, before: Point, after: Point) -> LogDifference:
    """What changed between two points of a log.

    Raises ArgumentError when the second lies before the first, LogCorruptError where a seal, an
    order or a move is wrong.
    """
    if (after.seq, after.at) < (before.seq, before.at):
        raise ArgumentError("B", after.seq, f"a point after A, position {before.seq}")
    old = projection_at(log, before)
    new = restore(take(old))
    catch_up(new, log, until=after.seq)
    new.advance_to(after.at)
    found = compare(old, new)
    elsewhere = {}
    for task in found.tasks:
        # What is new since then was nothing before; the others have ended, or were reopened.
        if task.vanished or (task.appeared and task.number <= before.seq):
            seq = before.seq if task.appeared else after.seq
            elsewhere[task.key] = _ended(log, task.number, seq)
    passed = _count_passed(log, before.seq, after.seq, old.tasks)
    return LogDifference(before, after, before.seq, found, elsewhere, passed)


def passed_tasks(log: EventLog, before: Point, after: Point) -> Iterator[Task]:
    """The tasks of `LogDifference.passed`, in the order of their ends.

    They are read while they are asked for. Most were made and worked off in between; some were
    final before, were reopened, and are final again.
    """
    old = projection_at(log, before).tasks
    for number in _finished(log, before.seq, after.seq, old):
        yield _ended(log, number, after.seq)


def diff_logs(log: EventLog, before: Point, other: EventLog, after: Point) -> LogDifference:
    """What is different at a point of another log; tasks are the same if their keys are.

    Raises LogCorruptError where a seal, an order or a move is wrong.
    """
    old, new = projection_at(log, before), projection_at(other, after)
    same_until = common_position(log, other, min(before.seq, after.seq))
    found = compare(old, new, by_key=True)
    elsewhere = {}
    for task in found.tasks:
        ended = None
        if task.vanished:
            ended = find_until(other, task.key, after.seq)
        elif task.appeared:
            ended = find_until(log, task.key, before.seq)
        if ended is not None:
            elsewhere[task.key] = ended
    return LogDifference(before, after, same_until, found, elsewhere, {})


def ended_otherwise(
    log: EventLog, other: EventLog, difference: LogDifference, *, one_sided: bool
) -> Iterator[TaskDifference]:
    """Tasks that are final in both logs, but not the same; read while they are asked for.

    With ``one_sided`` also those that are final in one and do not exist in the other. One look by
    index for each task that has ended since the logs parted.
    """
    since, before, after = difference.same_until, difference.before.seq, difference.after.seq

    def pairs() -> Iterator[tuple[Task | None, Task | None]]:
        for number in _finished(log, since, before, frozenset()):
            mine = _ended(log, number, before)
            yield mine, find_until(other, mine.key, after)
        for number in _finished(other, since, after, frozenset()):
            theirs = _ended(other, number, after)
            found = find_until(log, theirs.key, before)
            # Those that have ended in the first log since the parting were compared above.
            if found is None or _last_position(log, found.number, before) <= since:
                yield found, theirs

    for one, two in pairs():
        final = [task.recorded_state in FINAL for task in (one, two) if task is not None]
        # An open task is told with the projections.
        if all(final) and (one_sided or (one and two)):
            found = task_difference(one, two, (difference.before.at, difference.after.at))
            if found is not None:
                yield found


def common_position(log: EventLog, other: EventLog, limit: int) -> int:
    """The last position, up to ``limit``, until which two logs are the same; O(log n) reads.

    A seal covers all before it, so equal seals are equal histories.
    """

    def part(seq: int) -> bool:
        mine, theirs = (each.read(after=seq - 1, limit=1)[0] for each in (log, other))
        return (mine.first, mine.seal) != (theirs.first, theirs.seal)

    # False sorts before True: the first position that differs.
    return bisect_left(range(1, limit + 1), True, key=part)  # noqa: FBT003 - what is looked for


def find_until(log: EventLog, key: str, seq: int) -> Task | None:
    """The task with this key as it stood at a position; None where there was none. By index."""
    try:
        return fold_events(log.namespace, read_history(log, key), until=seq)
    except TaskNotFoundError:
        return None


def _ended(log: EventLog, number: int, seq: int) -> Task:
    task = fold_events(log.namespace, task_history(log, number), until=seq)
    assert task is not None, "what has ended has a history"
    return task


def _last_position(log: EventLog, number: int, seq: int) -> int:
    return max(event.seq for event in task_history(log, number) if event.seq <= seq)


def _turns(log: EventLog, after: int, until: int) -> Iterator[tuple[int, str, str | None]]:
    """The task, its final state, and None; or of a reopening the state it comes from, twice."""
    for commit in commits_of(log, after=after, until=until):
        for event in stored_of(commit):
            kind = stored_kind(event.body)
            if not after < event.seq <= until:
                continue
            if kind in FINAL:
                yield event.task, kind, None
            elif kind == "retried":
                [body] = decode_at(event.seq, [event.body])
                if type(body) is Retried and body.reopens is not None:
                    yield event.task, body.reopens.was, body.reopens.was


def _count_passed(
    log: EventLog, after: int, until: int, open_before: Container[int]
) -> dict[str, int]:
    passed = Counter({str(state): 0 for state in TaskState if state in FINAL})
    reopened: set[int] = set()
    for number, state, was in _turns(log, after, until):
        if number in open_before:
            continue
        if was is None:
            passed[state] += 1
        elif number > after or number in reopened:
            passed[state] -= 1
        else:
            # It had ended before the first point, and was not counted.
            reopened.add(number)
    return dict(passed)


def _finished(log: EventLog, after: int, until: int, open_before: Container[int]) -> Iterator[int]:
    """The tasks that have ended in between and are final at the end, each once, at its last end."""
    reopenings = Counter(number for number, _, was in _turns(log, after, until) if was is not None)
    for number, _, was in _turns(log, after, until):
        if was is not None:
            reopenings[number] -= 1
        elif number not in open_before and not reopenings[number]:
            yield number
