"""What clients were told, held against the log: invariants 2, 3 and 10, and where tasks came from.

That is what Jepsen asks of a queue: all that came out went in, all that was acknowledged is there,
nothing twice.
"""

from __future__ import annotations

import json
from collections import defaultdict

from tools.history.checker import Checker
from tools.history.facts import Finding
from tools.history.journals import Call
from tools.history.world import Task

Asked = tuple[str | None, str]


def judge_clients(checker: Checker, calls: list[Call]) -> list[Finding]:
    """What does not fit, where these are all calls that were ever made."""
    new = [call for call in calls if call.asked["op"] == "new"]
    return [
        *_judge_told(checker, new),
        *_judge_counts(checker, new),
        *_judge_order(checker, calls),
        *_judge_edits(checker, calls),
        *_judge_reads(checker, calls),
    ]


def _judge_told(checker: Checker, calls: list[Call]) -> list[Finding]:
    """Each acknowledged task is in the log, as it was asked for, and no two calls made it."""
    found: list[Finding] = []
    owners: dict[int, str] = {}
    for call in calls:
        if call.state != "ok":
            continue
        number, asked = call.answer["task"], call.asked
        task = checker.world.tasks.get(number)
        if task is None:
            found.append(Finding(2, None, f"{call.name} was told of task {number}: it is lost"))
            continue
        if asked.get("unique"):
            continue
        if _asked(asked.get("key"), asked.get("tags", {})) != _made(task):
            found.append(Finding(2, number, f"{call.name} asked for another task than {number}"))
        if asked.get("key") is None and owners.setdefault(number, call.name) != call.name:
            text = f"{call.name} and {owners[number]} were told of one task"
            found.append(Finding(2, number, text))
    return found


def _judge_counts(checker: Checker, calls: list[Call]) -> list[Finding]:
    """Of each content there are as many tasks as calls that were, or may have been, carried out."""
    found: list[Finding] = []
    least: dict[Asked, int] = defaultdict(int)
    most: dict[Asked, int] = defaultdict(int)
    for call in calls:
        key, tags = call.asked.get("key"), call.asked.get("tags", {})
        asked = _asked(key, tags)
        least[asked] += call.state == "ok" and not call.asked.get("unique")
        most[asked] += call.state != "failed"
        if key is not None:
            least[asked], most[asked] = min(1, least[asked]), min(1, most[asked])
    made: dict[Asked, list[int]] = defaultdict(list)
    for number, task in checker.world.tasks.items():
        if not task.made.keys() & {"made_by", "schedule", "repeats"}:
            made[_made(task)].append(number)
    for asked in least.keys() | made.keys():
        count = len(made[asked])
        if count > most[asked]:
            text = f"{count} tasks of {asked}, which {most[asked]} calls can have made"
            found.append(Finding(2, made[asked][-1], text))
        elif count < least[asked]:
            text = f"{count} tasks of {asked}, which {least[asked]} calls have made"
            found.append(Finding(2, None, text))
    return found


def _judge_order(checker: Checker, calls: list[Call]) -> list[Finding]:
    """What was acknowledged before a call began stands before what that call has made or read."""
    found: list[Finding] = []
    ends = sorted(
        (call.answer["clock"], call.answer["task"], call.name)
        for call in calls
        if call.state == "ok" and "clock" in call.answer and call.asked["op"] == "new"
    )
    begun = sorted(
        ((call.asked["clock"], call) for call in calls if "clock" in call.asked),
        key=lambda each: each[0],
    )
    known, told, place = 0, "", 0
    seen: set[int] = set()
    for clock, call in begun:
        while place < len(ends) and ends[place][0] < clock:
            seen.add(ends[place][1])
            if ends[place][1] > known:
                _, known, told = ends[place]
            place += 1
        if call.state != "ok" or call.asked["op"] not in {"new", "read"}:
            continue
        if call.asked["op"] == "read" and call.answer["seq"] < known:
            text = f"{call.name} read up to {call.answer['seq']}, after {told} was told of {known}"
            found.append(Finding(3, call.answer["seq"], text))
        number = call.answer.get("task", known)
        is_older = number in seen or call.asked.get("key") is not None or call.asked.get("unique")
        if number < known and not is_older and number in checker.world.tasks:
            text = f"{call.name} began after {told} was told of task {known}, and made {number}"
            found.append(Finding(3, number, text))
    return found


def _judge_edits(checker: Checker, calls: list[Call]) -> list[Finding]:
    """What a call has changed names it, once for each thing, and nothing if it has failed."""
    found: list[Finding] = []
    commits: dict[str, set[tuple[int, str, int]]] = defaultdict(set)
    for event in checker.events:
        by = event.body.get("by")
        if by is not None:
            commits[by].add((event.seq, event.body["kind"], event.task))
    for call in calls:
        if call.asked["op"] in {"new", "read", "wait"}:
            continue
        changes = commits[call.name]
        things = {(kind, task) for _, kind, task in changes}
        if call.state == "ok" and not changes and call.answer.get("changed", True):
            found.append(Finding(2, None, f"{call.name} was acknowledged, and is lost"))
        if call.state == "failed" and changes:
            found.append(Finding(2, min(changes)[0], f"{call.name} has failed, and is there"))
        if len(changes) > len(things):
            found.append(Finding(2, max(changes)[0], f"{call.name} is there twice"))
    return found


def _judge_reads(checker: Checker, calls: list[Call]) -> list[Finding]:
    """What somebody has read is still there: ends of the log, and ends of tasks."""
    found: list[Finding] = []
    ends = {
        (event.task, event.body["kind"])
        for event in checker.events
        if event.body.get("kind") in {"completed", "expired", "cancelled"}
    }
    for call in calls:
        if call.state != "ok":
            continue
        if call.asked["op"] == "read" and call.answer["seq"]:
            seq = call.answer["seq"]
            seal = checker.chain.seals.get(seq)
            if seal is None or seal.hex() != call.answer["seal"]:
                found.append(Finding(3, seq, f"{call.name} has read another history"))
        if call.asked["op"] == "wait":
            end = call.answer["task"], call.answer["ended"]
            if end not in ends:
                found.append(Finding(2, None, f"{call.name} saw an end that is not there: {end}"))
    return found


def _asked(key: str | None, tags: object) -> Asked:
    return key, json.dumps(tags, sort_keys=True)


def _made(task: Task) -> Asked:
    return _asked(task.made.get("key"), task.made.get("tags", {}))
