"""The history checker: commits go in one after the other, findings come out."""

from __future__ import annotations

import json

from tools.history.chain import Chain
from tools.history.facts import Finding, RawCommit

__all__ = ["Checker", "Finding", "RawCommit"]

# What is found behind this is most likely a consequence.
MOST_FINDINGS = 100


class Checker:
    """One pass over the commits of a namespace, from the first on."""

    def __init__(self, namespace: str) -> None:
        self.findings: list[Finding] = []
        self._chain = Chain(namespace, self._report)
        self._lost = False

    def add(self, commit: RawCommit) -> None:
        """Judges one commit by those before it."""
        if self._lost or not self._chain.take(commit):
            self._lost = True
            return
        for body in commit.bodies:
            json.loads(body)

    def finish(self) -> list[Finding]:
        """What was found, in the order of positions; at most a hundred."""
        return self.findings

    def _report(self, invariant: int | str, seq: int | None, text: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(invariant, seq, text))
