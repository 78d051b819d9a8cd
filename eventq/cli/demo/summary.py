"""The demo's summary: everything in it is read back from the log, never kept by the run."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from eventq import Queue, Stats, Task
from eventq.audit.lookup import NamedEvent
from eventq.audit.phrases import counted
from eventq.cli.ending import refuse
from eventq.cli.text import short, visible
from eventq.cli.views.tasks import EVENTS, error_text
from eventq.cli.words import STATES
from eventq.core.durations import SECOND_US
from eventq.replay.fold import replay
from eventq.replay.query import take_stats

SLOWEST_COUNT = 5
EXPIRED_COUNT = 5
# Each event of the history fits its line: its text is cut to the terminal, or to this in a pipe.
WHAT_CHARACTERS = 72
WHAT_COLUMN = 49
MEGABYTE = 1_000_000


class Story(Struct, frozen=True):
    """The whole demo as its log has it; tasks stand in the order of their creation."""

    url: str
    namespace: str
    stats: Stats
    tasks: list[Task]
    done_count: int
    """How many tasks this run has finished, in ``elapsed_s`` seconds."""
    elapsed_s: float

    @property
    def numbers(self) -> dict[str, Any]:
        """The demo in numbers, as programs get it."""
        stats = self.stats
        return {
            "tasks": stats.total,
            "completed": stats.completed,
            "expired": stats.expired,
            "cancelled": stats.cancelled,
            "attempts": stats.attempts,
            "failures": stats.failures,
            "events": stats.seq,
            "bytes": self.sum_of("bytes"),
            "compressed_bytes": self.sum_of("compressed"),
            "done_now": self.done_count,
            "elapsed_s": round(self.elapsed_s, 3),
            "slowest": [{"key": task.key, "seconds": _seconds(task)} for task in self.slowest],
            "expired_keys": [task.key for task in self.expired],
            "retried_key": None if self.retried is None else self.retried.key,
            "log_verified": True,
            "url": self.url,
            "namespace": self.namespace,
        }

    @property
    def slowest(self) -> list[Task]:
        """The completed tasks whose last attempt took longest."""
        return heapq.nlargest(SLOWEST_COUNT, self.completed, key=_seconds)

    @property
    def retried(self) -> Task | None:
        """A task that failed most before it was completed."""
        done = [task for task in self.completed if task.attempt > 1]
        return max(done, key=lambda task: task.attempt, default=None)

    @property
    def completed(self) -> list[Task]:
        """The tasks that have a result."""
        return [task for task in self.tasks if task.state == "completed"]

    @property
    def expired(self) -> list[Task]:
        """The tasks that expired."""
        return [task for task in self.tasks if task.state == "expired"]

    def sum_of(self, name: str) -> int:
        """A number of what compressing gave, added up."""
        results = (task.result for task in self.completed)
        return sum(result.get(name, 0) for result in results if isinstance(result, dict))


def read_story(queue: Queue, *, done_count: int, elapsed_s: float) -> Story:
    """Reads the whole log, and replays it with every seal recomputed.

    Raises LogCorruptError where the log contradicts itself.
    """
    stats = queue.stats()
    tasks = sorted(queue.tasks(state=STATES), key=lambda task: task.number)
    projection = replay(queue.log, until=stats.seq)
    again = take_stats(projection, now=projection.at)
    names = ("total", "open", "completed", "expired", "cancelled", "attempts", "failures", "seq")
    for name in names:
        if getattr(again, name) != getattr(stats, name):
            refuse(
                f"the log does not verify: {name} is {getattr(stats, name)} in the queue, "
                f"{getattr(again, name)} in a replay"
            )
    return Story(queue.url, queue.namespace, stats, tasks, done_count, elapsed_s)


def summary_lines(
    queue: Queue, story: Story, *, bold: Callable[[str], str], columns: int | None
) -> list[str]:
    """The summary for people; ``columns`` is the width of their terminal, None for a pipe."""
    stats, size, packed = story.stats, story.sum_of("bytes"), story.sum_of("compressed")
    done, elapsed_s = story.done_count, story.elapsed_s
    rate = done / elapsed_s if elapsed_s else 0.0
    cancelled = f", {stats.cancelled:,} cancelled" if stats.cancelled else ""
    ratio = f" (ratio {packed / size:.2f})" if size else ""
    lines = [
        bold("Summary"),
        f"  {stats.total:,} tasks: {stats.completed:,} completed, {stats.expired:,} expired"
        + cancelled,
        f"  {stats.attempts:,} attempts, {stats.failures:,} of them failed",
        f"  {size / MEGABYTE:,.1f} MB, compressed to {packed / MEGABYTE:,.1f} MB{ratio}",
        f"  this run: {done:,} tasks in {elapsed_s:.1f} s, {rate:,.0f} a second",
    ]
    if story.slowest:
        lines += ["", bold("Slowest")]
        lines += [f"  {_seconds(task):8.3f} s  {described(task)}" for task in story.slowest]
    if story.expired:
        lines += ["", bold("Expired")]
        lines += [_expired_line(task) for task in story.expired[:EXPIRED_COUNT]]
        if len(story.expired) > EXPIRED_COUNT:
            lines.append(f"  and {len(story.expired) - EXPIRED_COUNT:,} more")
    if story.retried is not None:
        room = WHAT_CHARACTERS if columns is None else max(0, columns - WHAT_COLUMN)
        lines += ["", bold(f"The history of one that was retried: {visible(story.retried.key)}")]
        for event in queue.history(story.retried.key):
            seq, at, _, kind, what = EVENTS.row(NamedEvent(event, None))
            lines.append(f"  {seq:>8}  {at}  {kind:<9}  {short(what, room)}".rstrip())
    proof = "every seal recomputed; a replay gives the same counts"
    return [*lines, "", bold(f"log verified: {stats.seq:,} events, {proof}")]


def _seconds(task: Task) -> float:
    """How long its last attempt took, from its lease."""
    return ((task.finished_at_us or 0) - (task.started_at_us or 0)) / SECOND_US


def described(task: Task) -> str:
    """Which handler's task of which file it is."""
    return visible(f"{task.name} {task.tags.get('path')}")


def described_error(task: Task) -> str:
    """The same, with its last error."""
    if task.last_error is None:
        return described(task)
    # An OSError ends with the path, which stands here already.
    why = error_text(task.last_error).removesuffix(f": {task.tags.get('path')!r}")
    return f"{described(task)}: {why}"


def _expired_line(task: Task) -> str:
    chosen = " (the one chosen never to succeed)" if task.tags.get("broken") else ""
    return f"  {described_error(task)}, after {counted(task.attempt, 'attempt')}{chosen}"
