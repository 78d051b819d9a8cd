"""Small parts of sentences that the tools share; nothing here reads a log or a clock."""

from __future__ import annotations

from msgspec.structs import replace

from eventq.core.commits import Event
from eventq.core.durations import brief_duration, show_duration
from eventq.core.events import Created, Reopening
from eventq.core.policy import wait_us
from eventq.core.queue_events import Planned, Ticked
from eventq.core.sizes import show_size
from eventq.core.task import Task, TaskState, show_instant
from eventq.core.values import Policy, ProcessExit
from eventq.schedules import timing_words

# What became of dues that made no task.
OUTCOMES = {
    "skipped": "made none",
    "missed": "came too long ago to make one",
    "paused": "came while it was paused",
}
# The retry for which an exponential backoff has doubled once.
SECOND = 2


def ordinal(number: int) -> str:
    """A place in an order.

    >>> [ordinal(number) for number in (1, 2, 3, 4, 11, 13, 21, 112)]
    ['1st', '2nd', '3rd', '4th', '11th', '13th', '21st', '112th']
    """
    teens = number % 100 in {11, 12, 13}
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "task"), counted(1_200, "task")
    ('1 task', '1,200 tasks')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def took(duration_us: int) -> str:
    """A measured time, or that there was none."""
    return brief_duration(duration_us) if duration_us else "no time"


def progress_words(done: float, total: float | None) -> str:
    """How far something has come.

    >>> progress_words(3, None), progress_words(1, 3), progress_words(0, 0)
    ('3', '1 of 3 (33 %)', '0 of 0')
    """
    if total is None:
        return f"{done:,}"
    share = f" ({int(100 * done / total)} %)" if total else ""
    return f"{done:,} of {total:,}{share}"


def exit_words(found: ProcessExit) -> str:
    """How the process of an isolated attempt ended, and what memory it had.

    >>> exit_words(ProcessExit(signal="SIGKILL", killed_after_us=10_000_000, peak_bytes=2**20))
    'its process was killed by SIGKILL, 10s after it was told to end; it had 1 MiB'
    >>> exit_words(ProcessExit(code=3)), exit_words(ProcessExit(memory_bytes=2**30))
    ('its process ended with exit code 3', 'its process lived on; its limit was 1 GiB')
    """
    if found.signal is not None:
        words = f"its process was killed by {found.signal}"
    elif found.code is not None:
        words = f"its process ended with exit code {found.code}"
    else:
        words = "its process lived on"
    if found.killed_after_us is not None:
        words += f", {brief_duration(found.killed_after_us)} after it was told to end"
    parts = [words]
    if found.peak_bytes is not None:
        parts.append(f"it had {show_size(found.peak_bytes)}")
    if found.memory_bytes is not None and found.killed_after_us is None:
        parts.append(f"its limit was {show_size(found.memory_bytes)}")
    return "; ".join(parts)


def planned_words(body: Planned) -> str:
    """What a schedule is to do from here on, as its event says."""
    if body.paused:
        words = "is paused"
    else:
        words = f"comes {timing_words(body.timing)}"
        if body.next_at is None:
            words += "; none comes any more"
        else:
            words += f"; next for {show_instant(body.next_at)}"
    return _said_by(words, body.by, body.reason)


def ticked_words(body: Ticked) -> str:
    """What became of a due, or of several, as the event says."""
    what = f"the due of {show_instant(body.due)}"
    if body.count > 1:
        what = f"{body.count:,} dues from {show_instant(body.due)} on"
    words = f"{what} made a task" if body.outcome == "made" else f"{what} {OUTCOMES[body.outcome]}"
    if body.hand is not None:
        words += f", by hand ({body.hand})"
    return _said_by(words, body.by, body.reason)


def wait_words(policy: Policy, retry: int) -> str:
    """How the policy comes to its wait before this retry, before chance takes any of it.

    >>> wait_words(Policy("linear", 10_000_000), 3)
    '3 x 10s'
    >>> wait_words(Policy("exponential", 1_000_000, backoff_cap_us=5_000_000), 4)
    '5s, the cap of 1s doubled 3 times,'
    """
    base = show_duration(policy.backoff_us)
    if policy.backoff == "linear":
        base = f"{retry} x {base}"
    elif policy.backoff == "exponential" and retry > 1:
        base = f"{base} doubled {'once' if retry == SECOND else f'{retry - 1} times'}"
    longest_us = wait_us(policy, retry=retry, draw=0.0)
    capped = longest_us < wait_us(replace(policy, backoff_cap_us=None), retry=retry, draw=0.0)
    return f"{show_duration(longest_us)}, the cap of {base}," if capped else base


def _said_by(words: str, by: str | None, reason: str) -> str:
    words = words if by is None else f"{words} by {by}"
    return f"{words}: {reason}" if reason else words


def sign_words(sign: Event, number: int) -> str:
    """Which event a node's last sign of life was, as seen from one of its tasks."""
    if sign.kind == "renewed":
        return f"at {sign.seq}, when it renewed its leases"
    whose = "this task" if sign.task == number else f"task {sign.task}"
    return f"at {sign.seq}, when it leased {whose}"


def link_parts(body: Created | Reopening) -> list[str]:
    """What a task comes after, and its place in a flow."""
    parts = []
    if body.after:
        numbers = ", ".join(
            f"{each.task} ({each.verdict})" if each.verdict else str(each.task)
            for each in body.after
        )
        rule = "" if body.if_failed == "cancel" else f" ({body.if_failed} if one fails)"
        parts.append(f"after task {numbers}{rule}")
    if body.flow is not None:
        roles = {"member": "in", "on_failure": "for a failure in", "finally": "last in"}
        parts.append(f"{roles[body.role]} flow {body.flow}")
    return parts


def start_parts(task: Task, body: Created, later_us: int) -> list[str]:
    """When it may run, as far as that is known when it is made."""
    later = [f"to run {brief_duration(later_us)} later"] if later_us > 0 else []
    if task.recorded_state is not TaskState.WAITING:
        return later or ["ready at once"]
    if body.role != "member":
        return ["waits for others of its flow", *later]
    numbers = [str(each.task) for each in body.after if each.verdict is None]
    if not numbers:
        return ["held back by what had failed before it", *later]
    return [f"waits for task {', '.join(numbers)}", *later]
