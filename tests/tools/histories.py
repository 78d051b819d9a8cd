"""Histories for the history checker: those that eventq makes, and some that are made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from eventq.eventlog.contract import EventLog
from tools.history.chain import first_seal, seal_of
from tools.history.checker import Checker, Finding, RawCommit
from tools.history.facts import Body

NAMESPACE = "default"
# What stands in one commit: its instant, and the task and the body of each event.
Told = tuple[int, list[tuple[int, Body]]]


def raw_commits(log: EventLog) -> list[RawCommit]:
    """All commits of a log of eventq."""
    return [
        RawCommit(
            each.id, each.first, each.at, each.prev, each.seal, each.tasks, each.keys, each.bodies
        )
        for each in log.read(after=0, limit=10**9)
    ]


def sealed(told: Iterable[Told]) -> list[RawCommit]:
    """Commits that say this, well sealed; a task of -1 is the event's own position."""
    commits: list[RawCommit] = []
    first, prev = 1, first_seal(NAMESPACE)
    for at, events in told:
        numbered = list(enumerate(events, first))
        tasks = [seq if task < 0 else task for seq, (task, _) in numbered]
        bodies = [json.dumps(body, separators=(",", ":")) for _, (_, body) in numbered]
        keys: dict[str, int] = {}
        for seq, (_, body) in numbered:
            if "key" in body and body["kind"] == "created":
                keys[body["key"]] = seq
            elif "flow_key" in body:
                keys["\x1f" + body["flow_key"]] = seq
        commits.append(resealed(RawCommit(f"c{first}", first, at, prev, b"", tasks, keys, bodies)))
        prev = commits[-1].seal
        first += len(bodies)
    return commits


def resealed(commit: RawCommit) -> RawCommit:
    """The commit with the seal that it has to have."""
    return RawCommit(**{**vars(commit), "seal": seal_of(commit)})


def told_of(commits: Iterable[RawCommit]) -> list[Told]:
    """What commits say, to be changed."""
    return [
        (commit.at, list(zip(commit.tasks, map(json.loads, commit.bodies), strict=True)))
        for commit in commits
    ]


def checked(commits: Iterable[RawCommit], **options: Any) -> list[Finding]:  # noqa: ANN401
    """What the checker finds; the stamps are those of a clock that is right."""
    drained_at = options.pop("drained_at", None)
    namespace = options.pop("namespace", NAMESPACE)
    checker = Checker(namespace, **{"retries_by_policy": True, **options})
    for commit in commits:
        checker.add(commit, true_at=commit.at)
    return checker.finish(drained_at=drained_at)


def changed(commits: list[RawCommit], change: Callable[[list[Told]], None]) -> list[RawCommit]:
    """The same history, but for what is changed, with keys and seals that fit."""
    told = told_of(commits)
    change(told)
    return sealed(told)


def invariants(findings: Iterable[Finding]) -> list[int | str]:
    """Which invariants findings are about, in order."""
    return [finding.invariant for finding in findings]
