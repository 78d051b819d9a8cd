"""The demo's end: everything it tells is read back from the log, never remembered by the run."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from contextlib import closing
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from eventq import Queue, Stats
from eventq.cli.demo.files import path_of
from eventq.cli.options import refuse
from eventq.cli.text import short, visible
from eventq.cli.views.tasks import EVENTS, error_text
from eventq.core.events import Completed, Created, Expired, Failed
from eventq.eventlog import open_log
from eventq.replay.fold import replay
from eventq.replay.query import take_stats

SLOWEST_COUNT = 5
EXPIRED_COUNT = 5
# The history stays a table: what an event says is cut at the end of the line, or here in a pipe.
WHAT_CHARACTERS = 72
WHAT_COLUMN = 49
MEGABYTE = 1_000_000


class Lived(Struct):
    """What the log says about one task."""

    key: str
    path: str
    broken: bool
    failures: int = 0
    error: str = ""
    result: dict[str, Any] | None = None
    expired: bool = False


class Story(Struct, frozen=True):
    """The whole demo by its log."""

    stats: Stats
    tasks: list[Lived]

    @property
    def slowest(self) -> list[Lived]:
        """The completed tasks that took longest to read."""
        done = (task for task in self.tasks if task.result is not None)
        return heapq.nlargest(SLOWEST_COUNT, done, key=_seconds)

    @property
    def retried(self) -> Lived | None:
        """A task that failed most before it was completed."""
        done = [task for task in self.tasks if task.failures and task.result is not None]
        return max(done, key=lambda task: task.failures, default=None)

    @property
    def expired(self) -> list[Lived]:
        """The tasks that were given up."""
        return [task for task in self.tasks if task.expired]

    @property
    def sums(self) -> tuple[int, int]:
        """Bytes read and what they compress to, over all completed tasks."""
        results = [task.result for task in self.tasks if task.result is not None]
        return (
            sum(result.get("bytes", 0) for result in results),
            sum(result.get("compressed", 0) for result in results),
        )


def read_story(queue: Queue) -> Story:
    """Reads the whole log once. Raises LogCorruptError where seals or counts do not agree."""
    stats = queue.stats()
    tasks: dict[int, Lived] = {}
    for event in queue.events():
        body = event.body
        if type(body) is Created:
            tags = msgspec.json.decode(body.tags)
            key = body.key or str(event.seq)
            path = visible(path_of(tags) or key)
            tasks[event.task] = Lived(key, path, bool(tags.get("broken")))
            continue
        task = tasks.get(event.task)
        if task is None:
            continue
        if type(body) is Completed:
            value = None if body.result is UNSET else msgspec.json.decode(body.result)
            task.result = value if isinstance(value, dict) else {}
        elif type(body) is Failed:
            task.failures += 1
            task.error = error_text(body.error)
        task.expired = type(body) is Expired
    verify(queue, stats)
    return Story(stats, list(tasks.values()))


def verify(queue: Queue, stats: Stats) -> None:
    """Replays the log with every seal recomputed, and compares its counts with the queue's.

    Raises LogCorruptError where the log contradicts itself.
    """
    with closing(open_log(queue.url, namespace=queue.namespace, create=False)) as log:
        projection = replay(log, until=stats.seq)
    again = take_stats(projection, now=projection.at)
    names = ("total", "open", "completed", "expired", "cancelled", "attempts", "failures", "seq")
    for name in names:
        if getattr(again, name) != getattr(stats, name):
            refuse(
                f"the log does not verify: {name} is {getattr(stats, name)} in the queue, "
                f"{getattr(again, name)} in a replay"
            )


def summary_form(story: Story, *, done_count: int, elapsed_s: float) -> dict[str, Any]:
    """The summary for programs."""
    read_bytes, compressed_bytes = story.sums
    retried = story.retried
    return {
        "tasks": story.stats.total,
        "completed": story.stats.completed,
        "expired": story.stats.expired,
        "cancelled": story.stats.cancelled,
        "attempts": story.stats.attempts,
        "failures": story.stats.failures,
        "events": story.stats.seq,
        "bytes": read_bytes,
        "compressed_bytes": compressed_bytes,
        "done_now": done_count,
        "elapsed_s": round(elapsed_s, 3),
        "slowest": [{"key": task.key, "seconds": _seconds(task)} for task in story.slowest],
        "expired_keys": [task.key for task in story.expired],
        "retried_key": None if retried is None else retried.key,
        "log_verified": True,
    }


def summary_lines(
    queue: Queue,
    story: Story,
    *,
    done_count: int,
    elapsed_s: float,
    bold: Callable[[str], str],
    columns: int | None,
) -> list[str]:
    """The summary for people; ``columns`` is the width of their terminal, None for a pipe."""
    stats = story.stats
    read_bytes, compressed_bytes = story.sums
    rate = done_count / elapsed_s if elapsed_s else 0.0
    lines = [
        bold("Summary"),
        f"  {stats.total:,} tasks: {stats.completed:,} completed, {stats.expired:,} expired"
        + (f", {stats.cancelled:,} cancelled" if stats.cancelled else ""),
        f"  {stats.attempts:,} attempts, {stats.failures:,} of them failed",
        f"  {read_bytes / MEGABYTE:,.1f} MB, compressed to {compressed_bytes / MEGABYTE:,.1f} MB"
        + (f" (ratio {compressed_bytes / read_bytes:.2f})" if read_bytes else ""),
        f"  this run: {done_count:,} tasks in {elapsed_s:.1f} s, {rate:,.0f} a second",
    ]
    if story.slowest:
        lines += ["", bold("Slowest")]
        lines += [f"  {_seconds(task):8.3f} s  {task.path}" for task in story.slowest]
    if story.expired:
        lines += ["", bold("Expired")]
        lines += [_expired_line(task) for task in story.expired[:EXPIRED_COUNT]]
        if len(story.expired) > EXPIRED_COUNT:
            lines.append(f"  and {len(story.expired) - EXPIRED_COUNT:,} more")
    if story.retried is not None:
        room = WHAT_CHARACTERS if columns is None else max(0, columns - WHAT_COLUMN)
        lines += ["", bold(f"The history of one that was retried: {visible(story.retried.path)}")]
        for event in queue.history(story.retried.key):
            seq, at, _, kind, what = EVENTS.row(event)
            lines.append(f"  {seq:>8}  {at}  {kind:<9}  {short(what, room)}".rstrip())
    verified = (
        f"log verified: {stats.seq:,} events, every seal recomputed; a replay gives the same counts"
    )
    return [*lines, "", bold(verified)]


def _expired_line(task: Lived) -> str:
    chosen = " (the one chosen never to succeed)" if task.broken else ""
    # An OSError ends with the path, which stands here already.
    error = task.error.removesuffix(f": {task.path!r}")
    return f"  {task.path}: {error}, after {task.failures} attempts{chosen}"


def _seconds(task: Lived) -> float:
    value = (task.result or {}).get("seconds", 0.0)
    return float(value) if isinstance(value, (int, float)) else 0.0
