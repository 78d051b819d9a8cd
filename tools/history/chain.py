"""Invariant 1: positions without gaps, commits that tile them, seals that recompute."""

from __future__ import annotations

import json
from hashlib import blake2b

from tools.history.facts import RawCommit, Report

COMMIT_EVENTS = 1_000
COMMIT_BYTES = 1024 * 1024

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class Chain:
    """Where the commits stand that were taken so far."""

    def __init__(self, namespace: str, report: Report) -> None:
        self.seq = 0
        self.at = 0
        self._seal = first_seal(namespace)
        self.seals: dict[int, bytes] = {}
        """The seal at the end of each commit, by its last position."""
        self._ids: set[str] = set()
        self._report = report

    def take(self, commit: RawCommit) -> bool:
        """Goes on to the commit; False when its events cannot be judged."""
        first, count, report = self.seq + 1, len(commit.bodies), self._report
        if commit.first != first or count == 0 or len(commit.tasks) != count:
            report(
                1, first, f"a commit at {commit.first} of {len(commit.tasks)} tasks, {count} bodies"
            )
            return False
        if count > COMMIT_EVENTS or sum(map(len, commit.bodies)) > COMMIT_BYTES:
            report(1, first, f"a commit of {count} events is too large")
        if commit.at < self.at:
            report(1, first, f"time runs back, by {self.at - commit.at} us")
        if commit.id in self._ids:
            report(1, first, f"the commit's id stands twice: {commit.id}")
        if commit.prev != self._seal:
            report(1, first, "the commit does not follow the seal before it")
        if seal_of(commit) != commit.seal:
            report(1, first, "the seal does not recompute")
        self._ids.add(commit.id)
        self.seq, self.at, self._seal = self.seq + count, commit.at, commit.seal
        self.seals[self.seq] = commit.seal
        return True


def first_seal(namespace: str) -> bytes:
    """The seal before the first commit."""
    return blake2b(f"eventq:{namespace}".encode(), digest_size=32).digest()


def seal_of(commit: RawCommit) -> bytes:
    """BLAKE2b over the seal before, the header and the bodies, each with a line feed behind it."""
    header = _encode([commit.id, commit.first, commit.at, commit.tasks, commit.keys])
    text = "\n".join([header, *commit.bodies, ""])
    return blake2b(commit.prev + text.encode(), digest_size=32).digest()
