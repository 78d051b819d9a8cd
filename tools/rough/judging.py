"""What log and journals of rough processes show, judged when all is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tools.history.checker import Checker
from tools.history.clients import judge_clients
from tools.history.facts import Finding
from tools.history.journals import Line, calls_of, read_folder
from tools.history.reading import read_log
from tools.history.workers import judge_workers
from tools.rough.processes import Processes, pid_of
from tools.rough.worker import TTL_S

# How much later than it should anything may come here, on a machine that does other things.
SLACK_US = 5_000_000
# Who is told to stop hears of it within this.
STOP_US = 600_000


def judge(
    url: str, workers: Path, calls: Path, processes: Processes, *, is_drained: bool
) -> list[Finding]:
    """All that log and journals show."""
    checker = Checker("default", retries_by_policy=True)
    for commit in read_log(url, "default"):
        checker.add(commit, true_at=commit.at)
    found = checker.finish(drained_at=checker.chain.at if is_drained else None).copy()
    lines = read_folder(workers)
    return [
        *found,
        *judge_clients(checker, calls_of(read_folder(calls))),
        *judge_workers(checker, lines),
        *judge_lapses(checker, processes),
        *judge_stops(lines, processes),
        *(judge_follower(checker) if is_drained else ()),
    ]


def judge_lapses(checker: Checker, processes: Processes) -> Iterator[Finding]:
    """Only what was silenced lapses, and soon."""
    signs: dict[str, int] = {}
    for event in checker.events:
        body = event.body
        if body["kind"] in {"leased", "renewed"}:
            signs[body["worker"]] = event.at
        elif body["kind"] == "failed" and body["error"]["type"] == "LeaseLapsed":
            node = checker.events[body["fence"] - 1].body["worker"]
            if pid_of(node) not in processes.silenced:
                yield Finding(13, event.seq, f"{node} lives, and its lease has lapsed")
            late_us = event.at - signs[node] - int(TTL_S * 1_000_000) - 2_000_000
            if late_us > SLACK_US:
                yield Finding(13, event.seq, f"{node} is judged {late_us} us too late")


def judge_stops(lines: list[Line], processes: Processes) -> Iterator[Finding]:
    """Who was told to stop begins nothing more."""
    for line in lines:
        if line["what"] == "start":
            told_us = processes.told.get(pid_of(line["node"]))
            if told_us is not None and line["clock"] > told_us + STOP_US:
                yield Finding("stop", line["fence"], "it began after its process was told to stop")


def judge_follower(checker: Checker) -> Iterator[Finding]:
    """The follower has come to the end."""
    ends = [e.seq for e in checker.events if e.body["kind"] in {"completed", "expired"}]
    come = [e.body["seq"] for e in checker.events if e.body["kind"] == "followed"]
    if ends and max(come, default=0) < ends[-1]:
        yield Finding("follower", ends[-1], f"it has come to {max(come, default=0)} only")
