"""What clients and workers wrote down, held against a log: each kind of lie is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tools.histories import NAMESPACE, checked, sealed
from tests.tools.telling import (
    AT_9,
    LAPSE,
    POLICY,
    ago,
    completed,
    created,
    failed,
    leased,
    of,
    retried,
    said,
)
from tools.history.checker import Checker, Finding
from tools.history.clients import judge_clients
from tools.history.facts import Body
from tools.history.journals import Line, calls_of, lines_of, read_folder
from tools.history.workers import judge_workers

# Task 1 is done by its second attempt, since its first node fell silent; task 2 at once, twice over
# in deed; task 3 was called off by hand; task 4 is still to do.
HISTORY = [
    ago(9, created(tags={"n": 1}), created(tags={"n": 2}, key="k"), created(tags={"n": 3})),
    ago(9, leased(1), leased(2, worker="m")),
    ago(10, completed(2, 5), of(3, "cancelled", by="c4")),
    ago(39, failed(1, 4, error=LAPSE), retried(1, 39_000_000)),
    ago(39, leased(1, 2, "m")),
    ago(40, completed(1, 10), created(tags={"n": 4})),
    ago(41, of(1, "refused", fence=4, worker="n", outcome="completed")),
    ago(42, said("followed", follower="f", seq=5, worker="m", ttl_us=1)),
    ago(43, said("followed", follower="f", seq=11, worker="m", ttl_us=0, kinds=["completed"])),
    ago(44, said("left", worker="m"), said("left", worker="n")),
]


def checker() -> Checker:
    """Has read the history."""
    found = Checker(NAMESPACE)
    commits = sealed(HISTORY)
    assert checked(commits) == []
    for commit in commits:
        found.add(commit)
    return found


SEAL = checker().chain.seals[5].hex()


def call(name: str, op: str, state: str = "ok", clock: int = 0, **lines: object) -> list[Line]:
    """A call and its answer; ``lines`` are what was asked and what was told."""
    told = {"task", "seq", "seal", "ended", "changed"}
    asked = {key: value for key, value in lines.items() if key not in told}
    found: list[Line] = [{"call": name, "state": "invoked", "op": op, "clock": clock, **asked}]
    if state:
        answer = {key: value for key, value in lines.items() if key in told}
        found.append({"call": name, "state": state, "clock": clock + 1, **answer})
    return found


CALLS: dict[str, list[Line]] = {
    "c1": call("c1", "new", tags={"n": 1}, task=1, clock=10),
    "c2": call("c2", "new", tags={"n": 2}, key="k", task=2, clock=20),
    "c2 again": call("c2b", "new", "unknown", tags={"n": 2}, key="k", clock=30),
    "c3": call("c3", "new", "", tags={"n": 3}, clock=40),
    "c4": call("c4", "cancel", clock=50),
    "c5": call("c5", "new", tags={"n": 4}, task=12, clock=60),
    "c6": call("c6", "new", "failed", tags={"n": 6}, clock=70),
    "c7": call("c7", "read", seq=5, seal=SEAL, clock=55),
    "c8": call("c8", "wait", task=1, ended="completed", clock=80),
    "c9": call("c9", "cancel", changed=False, clock=80),
}


def found_of_clients(**changes: list[Line] | None) -> list[Finding]:
    """What is found when some calls are other ones, or none."""
    calls = {**CALLS, **changes}
    return judge_clients(
        checker(), calls_of(line for each in calls.values() for line in each or ())
    )


def test_what_clients_saw_is_good() -> None:
    """Calls that were acknowledged, refused, given again, and such as nobody heard of again."""
    assert found_of_clients() == []


LIES: dict[str, tuple[int, dict[str, list[Line] | None]]] = {
    "a lost task": (2, {"c5": call("c5", "new", tags={"n": 4}, task=99, clock=60)}),
    "another task": (2, {"c5": call("c5", "new", tags={"n": 5}, task=12, clock=60)}),
    "from nowhere": (2, {"c3": None}),
    "refused, but there": (2, {"c3": call("c3", "new", "failed", tags={"n": 3}, clock=40)}),
    "two for one": (2, {"more": call("cx", "new", tags={"n": 4}, task=12, clock=61)}),
    "acknowledged twice, there once": (
        2,
        {
            "more": call("cx", "new", tags={"n": 3}, task=3),
            "c3": CALLS["c3"] + [{"call": "c3", "state": "ok", "task": 3}],
        },
    ),
    "an edit is lost": (2, {"c9": call("c9", "cancel", clock=80)}),
    "an edit that was refused": (2, {"c4": call("c4", "cancel", "failed", clock=50)}),
    "another history": (3, {"c7": call("c7", "read", seq=5, seal="00", clock=55)}),
    "a stale read": (3, {"c7": call("c7", "read", seq=5, seal=SEAL, clock=90)}),
    "an older position": (3, {"c1": call("c1", "new", tags={"n": 1}, task=1, clock=65)}),
    "an end that never was": (2, {"c8": call("c8", "wait", task=1, ended="expired", clock=80)}),
}


@pytest.mark.parametrize("name", LIES)
def test_what_clients_cannot_have_seen_is_found(name: str) -> None:
    """Lost, doubled, made up, out of order: each by its invariant."""
    invariant, changes = LIES[name]

    assert invariant in [finding.invariant for finding in found_of_clients(**changes)]


def test_an_edit_that_is_there_twice_is_found() -> None:
    """One call changes a thing once."""
    told = [ago(9, created()), *[ago(9, of(1, "updated", priority=p, by="c1")) for p in (1, 2)]]
    found = Checker(NAMESPACE)
    for commit in sealed(told):
        found.add(commit)
    calls = calls_of([*call("c0", "new", "unknown"), *call("c1", "update")])

    assert ["is there twice" in each.text for each in judge_clients(found, calls)] == [True]


def start(task: int, fence: int, node: str, clock: int) -> Line:
    """An attempt begins."""
    return {"what": "start", "task": task, "fence": fence, "node": node, "clock": clock}


def end(task: int, fence: int, node: str, clock: int, outcome: str = "completed") -> Line:
    """An attempt ends."""
    return {**start(task, fence, node, clock), "what": "end", "outcome": outcome}


def append(first: int, last: int, node: str, began: int) -> Line:
    """A commit of a node."""
    line: Line = {"what": "append", "first": first, "last": last, "node": node}
    return {**line, "began": began, "clock": began + 1_000}


WORK: dict[str, Line] = {
    "lease n": append(4, 4, "n", 9_000_000),
    "lease m": append(5, 5, "m", 9_000_000),
    "start 1": start(1, 4, "n", 9_100_000),
    "start 2": start(2, 5, "m", 9_100_000),
    "end 2": end(2, 5, "m", 9_900_000),
    "lapse": append(8, 9, "m", 39_000_000),
    "lease m again": append(10, 10, "m", 39_500_000),
    "start 1 again": start(1, 10, "m", 39_600_000),
    "end 1 again": end(1, 10, "m", 39_900_000),
    "end 1": end(1, 4, "n", 40_500_000),
    "called": {"what": "called", "follower": "f", "seq": 6, "node": "m", "clock": 1},
    "called again": {"what": "called", "follower": "f", "seq": 11, "node": "m", "clock": 2},
}


def found_of_workers(**changes: Line | None) -> list[Finding]:
    """What is found when some lines are other ones, or none."""
    lines = {**WORK, **changes}
    return judge_workers(checker(), [line for line in lines.values() if line is not None])


def test_what_workers_did_is_good() -> None:
    """One attempt went on after its lease was lost, beside the next one; the log says so."""
    assert found_of_workers() == []


DEEDS: dict[str, tuple[int | str, dict[str, Line | None]]] = {
    "a run without a lease": (15, {"more": start(3, 7, "n", 1)}),
    "a run on another node": (15, {"start 2": start(2, 5, "n", 9_100_000)}),
    "a run of another task": (15, {"start 2": start(3, 5, "m", 9_100_000)}),
    "an attempt twice": (15, {"more": start(2, 5, "m", 9_200_000)}),
    "completed, never run": (15, {"start 2": None, "end 2": None}),
    "completed, not at its end": (15, {"end 2": None}),
    "completed, but failed": (15, {"end 2": end(2, 5, "m", 9_900_000, "failed")}),
    "lapsed too soon": (13, {"lapse": append(8, 9, "m", 38_000_000)}),
    "begun too late": (13, {"start 1": start(1, 4, "n", 41_100_000), "end 1": None}),
    "skipped by a follower": ("follower", {"called again": None}),
}


@pytest.mark.parametrize(
    "bound", [{"policy": {**POLICY, "deadline_us": 1_000_000}}, {"expires_at": 10_000_000}]
)
def test_what_goes_on_behind_its_deadline_must_not_complete(bound: Body) -> None:
    """Two seconds are borne; the end of a task's time is a deadline, too."""
    found = Checker(NAMESPACE)
    for commit in sealed([ago(9, created(**bound), leased(1)), ago(19, completed(1, 2))]):
        found.add(commit)

    def judged(us: int) -> list[int | str]:
        lines = [start(1, 2, "n", 9_000_000), end(1, 2, "n", 9_000_000 + us)]
        return [each.invariant for each in judge_workers(found, lines)]

    assert judged(3_000_000) == []
    assert judged(3_000_001) == ["deadline"]


@pytest.mark.parametrize("name", DEEDS)
def test_what_workers_cannot_have_done_is_found(name: str) -> None:
    """Work from nowhere, work that was lost, and work at a time when it must not be done."""
    invariant, changes = DEEDS[name]

    assert invariant in [finding.invariant for finding in found_of_workers(**changes)]


def test_work_that_no_event_tells_of_is_found() -> None:
    """Effects twice are visible: who has done it and lost its lease says so, or has died."""
    told = [each for each in HISTORY if each[1][0][1]["kind"] != "refused"]
    found = Checker(NAMESPACE)
    for commit in sealed(told):
        found.add(commit)

    lines = [line for line in WORK.values() if line["what"] != "called"]
    texts = [each.text for each in judge_workers(found, lines) if each.invariant == 15]
    assert texts == ["task 1 was done, and no event says so"]


@pytest.mark.parametrize("error, texts", [("eventq.KeyConflictError", 0), ("ValueError", 1)])
def test_what_was_done_may_fail_by_a_task_that_cannot_be_made(error: str, texts: int) -> None:
    """By nothing else: the worker has raised no error."""
    found = Checker(NAMESPACE)
    for commit in sealed(
        [
            ago(9, created(), leased(1)),
            ago(10, failed(1, 2, error={"type": error})),
            ago(11, said("left", worker="n")),
        ]
    ):
        found.add(commit)

    assert len(judge_workers(found, [start(1, 2, "n", 1), end(1, 2, "n", 2)])) == texts


def test_a_node_that_has_left_may_run_again_and_die() -> None:
    """What it has done since, and nobody has settled, is no lie."""
    found = Checker(NAMESPACE)
    for commit in sealed([ago(9, created(), said("left", worker="n")), ago(9, leased(1))]):
        found.add(commit)

    assert judge_workers(found, [start(1, 3, "n", 1), end(1, 3, "n", 2)]) == []


def test_two_attempts_at_a_time_are_found() -> None:
    """The second began before the first had ended, which by its own word had failed before."""
    told = [
        ago(9, created(), leased(1), failed(1, 2, rule="x"), retried(1, AT_9)),
        ago(10, leased(1, 2)),
    ]
    found = Checker(NAMESPACE)
    for commit in sealed(told):
        found.add(commit)
    lines = [start(1, 2, "n", 1), end(1, 2, "n", 9, "failed"), start(1, 5, "n", 5)]

    assert [each.invariant for each in judge_workers(found, lines)] == [5]


def test_journals_are_read_from_folders(tmp_path: Path) -> None:
    """File by file; a line that a killed process has torn is left out."""
    (tmp_path / "b.jsonl").write_text('{"call":"2"}\n{"call":"3', encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('{"call":"1"}\n', encoding="utf-8")
    (tmp_path / "notes.txt").write_text("else", encoding="utf-8")

    assert read_folder(tmp_path) == [{"call": "1"}, {"call": "2"}]
    assert lines_of(["7", json.dumps({"a": 1}), ""]) == [{"a": 1}]
