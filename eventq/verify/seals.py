"""The chain of commits, computed anew from its definition (see explanation/seals.md).

It shares no code with what seals a commit.
"""

from __future__ import annotations

import json
from hashlib import blake2b

from eventq.core.commits import Commit
from eventq.verify.terms import Report

COMMIT_EVENTS = 1_000
SEAL_BYTES = 32

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def first_seal(namespace: str) -> bytes:
    """The seal before the first commit."""
    return blake2b(f"eventq:{namespace}".encode(), digest_size=SEAL_BYTES).digest()


def seal_of(commit: Commit) -> bytes:
    """The seal a commit must have, by its content and the seal before it."""
    # The JSON array [id, first, at, tasks, keys], put together by hand: that is twice as quick.
    tasks = str(commit.tasks).replace(" ", "")
    keys = _encode(commit.keys) if commit.keys else "{}"
    header = f"[{_encode(commit.id)},{commit.first},{commit.at},{tasks},{keys}]"
    text = "\n".join([header, *commit.bodies, ""])
    # A lone half of a pair cannot be stored; should a log give one, its seal is just wrong.
    return blake2b(commit.prev + text.encode(errors="replace"), digest_size=SEAL_BYTES).digest()


class Chain:
    """Where the chain stands; it takes commit after commit and says what does not fit."""

    def __init__(self, seq: int, at: int, seal: bytes, report: Report) -> None:
        self.seq = seq
        self.at = at
        self.seal = seal
        self._report = report

    def take(self, commit: Commit) -> bool:
        """Goes on to the commit; False when it stands at another position, so that all is lost."""
        first, report = self.seq + 1, self._report
        if commit.first != first:
            report(first, "position", f"a commit begins at {commit.first}")
            return False
        count = len(commit.bodies)
        if not count:
            report(first, "position", "a commit is empty")
            return False
        if len(commit.tasks) != count:
            report(first, "position", "tasks and bodies differ in number")
            return False
        if count > COMMIT_EVENTS:
            report(first, "position", "a commit has more than 1,000 events")
        if commit.at < self.at:
            report(first, "time", f"time runs backwards, by {self.at - commit.at} us")
        if commit.prev != self.seal:
            report(first, "seal", "the commit does not follow the seal before")
        if seal_of(commit) != commit.seal:
            where = "this event" if count == 1 else f"an event of {first} to {commit.last}"
            problem = f"the seal does not recompute: {where}, its commit or the seal was changed"
            report(first, "seal", problem)
        self.seq, self.at, self.seal = commit.last, commit.at, commit.seal
        return True
