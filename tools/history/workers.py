"""What workers really did, held against the log: invariants 13 and 15, and what followers saw."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise

from tools.history.checker import Checker
from tools.history.facts import Body, Event, Finding
from tools.history.journals import Line
from tools.history.nodes import LAPSE, fits

# What a worker may need from its last look at the lease to its first line, in microseconds.
LATE_US = 2_000_000
ENDS = frozenset({"completed", "failed", "released", "cancelled", "expired"})
# What an attempt fails by that was done, where a task that it made cannot be.
UNMADE = frozenset(
    f"eventq.{name}Error"
    for name in (
        "Argument",
        "DuplicateTask",
        "KeyConflict",
        "LogArchived",
        "LogTooNew",
        "TaskNotFound",
    )
)


def judge_workers(checker: Checker, lines: Iterable[Line]) -> list[Finding]:
    """What does not fit, where these are all lines of all workers that ever ran."""
    return WorkerJudge(checker, lines).findings


class WorkerJudge:
    """The lines of workers beside the events of the log."""

    def __init__(self, checker: Checker, lines: Iterable[Line]) -> None:
        self.findings: list[Finding] = []
        self._checker = checker
        self._starts: dict[int, Line] = {}
        self._ends: dict[int, Line] = {}
        self._appends: list[Line] = []
        self._called: dict[str, set[int]] = defaultdict(set)
        self._lease_ends = _lease_ends(checker.events)
        self._sort(lines)
        self._judge_runs()
        self._judge_overlaps()
        self._judge_appends()
        self._judge_followers()

    def _sort(self, lines: Iterable[Line]) -> None:
        for line in lines:
            what = line["what"]
            if what == "start":
                if line["fence"] in self._starts:
                    self._find(15, line["fence"], "an attempt has begun twice")
                self._starts[line["fence"]] = line
            elif what == "end":
                self._ends[line["fence"]] = line
            elif what == "append":
                self._appends.append(line)
            elif what == "called":
                self._called[line["follower"]].add(line["seq"])
        self._appends.sort(key=lambda line: line["first"])

    def _judge_runs(self) -> None:
        """Each run has a lease, each completion a run that came to its end, each end its event."""
        events = self._checker.events
        # A node may run again once it has left.
        left = {e.body["worker"]: e.seq for e in events if e.body.get("kind") == "left"}
        for fence, line in self._starts.items():
            lease = events[fence - 1] if 0 < fence <= len(events) else None
            if lease is None or not _is_lease(lease, line):
                self._find(15, fence, f"task {line['task']} ran on {line['node']} without a lease")
        for event in events:
            if event.body.get("kind") != "completed":
                continue
            end = self._ends.get(event.body["fence"])
            if event.body["fence"] not in self._starts or end is None:
                self._find(15, event.seq, f"task {event.task} completed without having run")
            elif end["outcome"] != "completed":
                self._find(15, event.seq, f"task {event.task} completed, but {end['outcome']}")
            else:
                self._judge_deadline(event, end)
        refused = {e.body["fence"] for e in events if e.body.get("kind") == "refused"}
        for fence, end in self._ends.items():
            lease_end = self._lease_ends.get(fence)
            is_told = lease_end is not None and _tells_of_done(lease_end.body)
            if end["outcome"] != "completed" or is_told or fence in refused:
                continue
            if left.get(end["node"], 0) > fence:
                self._find(15, fence, f"task {end['task']} was done, and no event says so")

    def _judge_deadline(self, event: Event, end: Line) -> None:
        """What goes on for long behind its deadline fails, whatever its worker says.

        The end of the task's time is one, too; it began once it was leased, or later.
        """
        task, fence = self._checker.world.tasks[event.task], event.body["fence"]
        bounds = [task.policy.get("deadline_us")]
        if task.expires_at is not None:
            bounds.append(task.expires_at - self._checker.events[fence - 1].at)
        most_us = min((each for each in bounds if each is not None), default=None)
        took_us = end["clock"] - self._starts[fence]["clock"]
        if most_us is not None and took_us > most_us + LATE_US:
            text = f"task {event.task} completed after {took_us} us, of {most_us} at the most"
            self._find("deadline", event.seq, text)

    def _judge_overlaps(self) -> None:
        """Two attempts of one task go on at a time only where the first has lost its lease."""
        by_task: dict[int, list[int]] = defaultdict(list)
        for fence, line in self._starts.items():
            by_task[line["task"]].append(fence)
        for task, fences in by_task.items():
            ordered = sorted(fences)
            for earlier, later in pairwise(ordered):
                end = self._ends.get(earlier)
                if end is None or end["clock"] <= self._starts[later]["clock"]:
                    continue
                lease_end = self._lease_ends.get(earlier)
                if lease_end is None or not _was_taken(lease_end.body):
                    self._find(5, later, f"task {task} ran twice at a time, from {earlier} on too")

    def _judge_appends(self) -> None:
        """By the clock that all share: nobody lapses too soon, nobody begins after its lease."""
        signs: dict[str, list[tuple[int, int, int, int]]] = defaultdict(list)
        for append, event in self._appended():
            kind, body = event.body.get("kind"), event.body
            if kind in {"leased", "renewed"}:
                sign = append["clock"], append["began"], event.seq, body["ttl_us"]
                signs[body["worker"]].append(sign)
            elif kind == "failed" and body["error"].get("type") == LAPSE:
                self._judge_lapse(append, event, signs)
        for fence, line in self._starts.items():
            known = sorted(signs[line["node"]])
            place = bisect_right([sign[0] for sign in known], line["clock"])
            if place and line["clock"] > known[place - 1][0] + known[place - 1][3] + LATE_US:
                self._find(13, fence, f"task {line['task']} began after its lease time was over")

    def _judge_lapse(
        self, append: Line, event: Event, signs: dict[str, list[tuple[int, int, int, int]]]
    ) -> None:
        lease = self._checker.events[event.body["fence"] - 1]
        known = signs[lease.body["worker"]]
        if known:
            _, began, _, ttl_us = max(known, key=lambda sign: sign[2])
            if append["clock"] - began < ttl_us:
                silent_us = append["clock"] - began
                self._find(
                    13, event.seq, f"lapsed {silent_us} us after a sign of life, of {ttl_us}"
                )

    def _appended(self) -> Iterator[tuple[Line, Event]]:
        """Each event whose commit a worker has written down, with that line."""
        for append in self._appends:
            for event in self._checker.events[append["first"] - 1 : append["last"]]:
                yield append, event

    def _judge_followers(self) -> None:
        """What a follower has gone past, it has been called for."""
        said: dict[str, list[Body]] = defaultdict(list)
        for event in self._checker.events:
            if event.body.get("kind") == "followed":
                said[event.body["follower"]].append(event.body)
        for name, bodies in said.items():
            # Where it begins, it has not been before.
            for before, after in pairwise(bodies):
                for event in self._checker.events[before["seq"] : after["seq"]]:
                    if event.seq not in self._called[name] and self._is_followed(event, after):
                        self._find("follower", event.seq, f"{name} has skipped it")

    def _is_followed(self, event: Event, body: Body) -> bool:
        kinds, names, kind = body.get("kinds"), body.get("names"), event.body["kind"]
        if kind not in kinds if kinds is not None else kind in {"followed", "unfollowed"}:
            return False
        task = self._checker.world.tasks.get(event.task)
        if names is None:
            return True
        name = None if task is None else task.name
        return name is not None and any(fits(name, each) for each in names)

    def _find(self, invariant: int | str, seq: int, text: str) -> None:
        self.findings.append(Finding(invariant, seq, text))


def _is_lease(event: Event, line: Line) -> bool:
    """Whether an event is the lease of the attempt that a line says has begun."""
    leased = event.task, event.body.get("kind"), event.body.get("worker")
    return leased == (line["task"], "leased", line["node"])


def _lease_ends(events: Iterable[Event]) -> dict[int, Event]:
    """What ended each lease, by its fence."""
    live: dict[int, int] = {}
    found: dict[int, Event] = {}
    for event in events:
        kind = event.body.get("kind")
        if kind == "leased":
            live[event.task] = event.seq
        elif kind in ENDS and event.task in live:
            found[live.pop(event.task)] = event
    return found


def _tells_of_done(body: Body) -> bool:
    """Whether a lease ended since its attempt was done."""
    if body["kind"] == "failed":
        return body["error"].get("type") in UNMADE
    return bool(body["kind"] == "completed")


def _was_taken(body: Body) -> bool:
    """Whether a lease ended without the attempt's own doing, so that it may have gone on."""
    if body["kind"] == "failed":
        kind = str(body["error"].get("type", ""))
        return kind == LAPSE or kind.endswith("DeadlineExceededError")
    return body["kind"] in {"cancelled", "released"}
