"""Each invariant that a log can show is found broken, by histories that are wrong in one thing.

A checker that never finds proves nothing: whatever it accepts here without this is a hole.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.stage import random_stage
from tests.tools import faults_of_changes, faults_of_rules, faults_of_tasks
from tests.tools.good_histories import STORIES
from tests.tools.histories import Told, changed, checked, invariants, raw_commits, sealed
from tests.tools.telling import JOINED, QUEUE, ago, completed, created, leased, of, said
from tools.history.checker import RawCommit

FAULTS = faults_of_tasks.FAULTS | faults_of_rules.FAULTS | faults_of_changes.FAULTS


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str) -> None:
    """It is found as what it is, at the commit in which it stands, and nothing is before it."""
    invariant, told = FAULTS[name]
    commits = sealed(told)

    findings = checked(commits)

    assert invariants(findings)[:1] == [invariant]
    assert findings[0].seq is not None
    assert findings[0].seq >= commits[-1].first


@pytest.mark.parametrize("name", [name for name in FAULTS if len(FAULTS[name][1]) > 1])
def test_what_comes_before_a_fault_is_good(name: str) -> None:
    """So it is the last commit alone that is found."""
    findings = checked(sealed(FAULTS[name][1][:-1]))

    assert [
        each for each in findings if each.invariant != 4 or "nothing follows" not in each.text
    ] == []


CHAIN: dict[str, Callable[[RawCommit], dict[str, object]]] = {
    "a byte of a body": lambda c: {"bodies": [c.bodies[0].replace("created", "Created")]},
    "its instant": lambda c: {"at": c.at + 1},
    "its id": lambda _: {"id": "another"},
    "its seal": lambda _: {"seal": bytes(32)},
    "the seal before": lambda _: {"prev": bytes(32)},
    "its position": lambda c: {"first": c.first + 1},
    "its tasks": lambda c: {"tasks": [*c.tasks, 1]},
    "nothing in it": lambda _: {"bodies": [], "tasks": []},
}


@pytest.mark.parametrize("name", CHAIN)
def test_a_changed_commit_is_found(name: str) -> None:
    """Invariant 1: seals, instants and positions."""
    commits = sealed([ago(9, created()), ago(9, created()), ago(9, created())])
    commits[1] = RawCommit(**{**vars(commits[1]), **CHAIN[name](commits[1])})

    findings = checked(commits)

    assert (findings[0].invariant, findings[0].seq) == (1, 2)


def test_a_commit_left_out_is_found() -> None:
    """Positions have no gaps; commits of another namespace have another beginning."""
    commits = sealed([ago(9, created()), ago(9, created()), ago(9, created())])

    assert invariants(checked([commits[0], commits[2]])) == [1]
    assert invariants(checked([commits[1]])) == [1]


def test_a_key_that_is_not_listed_is_found() -> None:
    """The index of keys goes by what commits list."""
    [commit] = sealed([ago(9, created(key="k"))])
    unlisted = RawCommit(**{**vars(commit), "keys": {}})

    assert invariants(checked([unlisted])) == [1, 10]


def swap_leases(told: list[Told]) -> None:
    """Two leases of one commit change places."""
    for _, events in told:
        leases = [place for place, (_, body) in enumerate(events) if body["kind"] == "leased"]
        if len(leases) > 1:
            one, two = leases[:2]
            events[one], events[two] = events[two], events[one]
            return
    pytest.fail("no two leases stand in one commit")


def drop(kind: str, *, which: int = 0) -> Callable[[list[Told]], None]:
    """One of the events of a kind is something else, which changes nothing."""

    def change(told: list[Told]) -> None:
        places = [
            (events, place)
            for _, events in told
            for place, (_, body) in enumerate(events)
            if body["kind"] == kind
        ]
        events, place = places[which]
        events[place] = QUEUE, {"kind": "nothing", "skip": True}

    return change


TAMPERED: list[tuple[str, str, Callable[[list[Told]], None], int | str]] = [
    ("a limit", "limits", drop("limited"), 16),
    ("turns", "turns", drop("shared"), 7),
    ("a pause's end", "pauses", drop("resumed"), 7),
    ("a failure's end", "retries", drop("retried"), 4),
    ("a lease", "flows", drop("leased"), 4),
    ("a snooze", "outcomes", drop("released"), 5),
    ("a plan", "schedules", drop("planned"), 17),
    ("a tick", "schedules", drop("ticked"), 17),
    ("a child", "outcomes", drop("created", which=-1), 19),
    ("what it waits for", "flows", drop("completed"), 8),
    ("a node's word", "lanes", drop("joined"), 7),
    ("an end", "uniques", drop("completed"), 10),
]


@pytest.mark.parametrize("what, story, change, wanted", TAMPERED, ids=[t[0] for t in TAMPERED])
def test_a_good_history_that_is_tampered_with_is_found(
    what: str, story: str, change: Callable[[list[Told]], None], wanted: int | str
) -> None:
    """One event of a history that eventq has made is gone: it shows."""
    commits = STORIES[story]()

    assert checked(changed(commits, lambda _: None)) == []
    assert wanted in invariants(checked(changed(commits, change))), what


@pytest.mark.parametrize("seed", range(4))
def test_leases_in_another_order_are_found(seed: int) -> None:
    """Invariant 7 in random histories: each lease that is swapped with the next one shows."""
    commits = raw_commits(random_stage(seed).log)

    assert 7 in invariants(checked(changed(commits, swap_leases), lapse_slack=1.0))


def test_a_lost_task_ends_when_a_newer_eventq_says_so() -> None:
    """What an unknown kind has touched is left alone; its end frees its unique value."""
    told = [
        ago(9, created(unique="u"), of(1, "frozen")),
        ago(9, said("joined", **{**JOINED, "unnamed": True})),
        ago(9, leased(1), completed(1, 7)),
        ago(9, created(unique="u"), leased(6)),
    ]

    assert checked(sealed(told), newer=[JOINED["version"]]) == []


def test_findings_are_bounded() -> None:
    """Of what is broken everywhere a hundred findings are enough."""
    told = [ago(9, *[leased(1)] * 300)]

    assert len(checked(sealed(told))) == 100
