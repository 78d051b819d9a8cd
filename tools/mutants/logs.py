"""Faults in commits, seals, folding, snapshots and archives, and in what follows the log."""

from __future__ import annotations

from tools.mutants.mutant import Mutant

LOGS = (
    Mutant(
        name="append-retried-blindly",
        breaks="2: an append of unknown outcome is made again",
        file="node/committer.py",
        old="                if not isinstance(error, LogConflictError):\n",
        new="                if not isinstance(error, (LogConflictError,"
        " LogOutcomeUnknownError)):\n",
    ),
    Mutant(
        name="conflict-taken-for-success",
        breaks="2: a refused append is acknowledged",
        file="eventlog/memory.py",
        old="            check_commit(commit, self.head())\n",
        new="            try:\n"
        "                check_commit(commit, self.head())\n"
        "            except LogConflictError:\n"
        "                return\n",
    ),
    Mutant(
        name="decided-by-an-old-fold",
        breaks="5, 7: who comes while the log is read is decided by what was known before",
        file="node/folded_log.py",
        old="return known if known is not None and known.seal == head.seal else None",
        new="return known",
    ),
    Mutant(
        name="seal-without-keys",
        breaks="1: a seal does not cover the keys",
        file="core/seal.py",
        old="_encoder.encode((commit_id, first, at, tasks, keys))",
        new="_encoder.encode((commit_id, first, at, tasks, {}))",
    ),
    Mutant(
        name="seal-without-past",
        breaks="1: a seal does not cover the one before",
        file="core/seal.py",
        old="blake2b(prev + header + text, digest_size=SEAL_BYTES)",
        new="blake2b(header + text, digest_size=SEAL_BYTES)",
    ),
    Mutant(
        name="time-runs-back",
        breaks="1: a commit is stamped by a clock that is behind",
        file="node/commit_plan.py",
        old="        self.at = max(now, head.at)\n",
        new="        self.at = now\n",
    ),
    Mutant(
        name="snapshot-without-turns",
        breaks="11: a snapshot does not know whose turn it is",
        file="snapshot/content.py",
        old="        turns=snapshot.turns,\n",
        new="        turns={},\n",
    ),
    Mutant(
        name="snapshot-without-instants",
        breaks="11, 16: a snapshot does not know when leases began",
        file="snapshot/content.py",
        old="        instants=projection.governing.limits.instants(projection.decided_at),\n",
        new="        instants={},\n",
    ),
    Mutant(
        name="snapshot-without-flows",
        breaks="11: a snapshot does not know which flows go on",
        file="snapshot/content.py",
        old="    projection.flows.restore(snapshot.flows)\n",
        new="",
    ),
    Mutant(
        name="doorbell-silent",
        breaks="14: other processes do not hear of an append",
        file="eventlog/sqlite/log.py",
        old="            self.doorbell.ring()\n",
        new="            self.doorbell.after_fork\n",
    ),
    Mutant(
        name="cut-before-followers",
        breaks="an archive takes what a follower has yet to read",
        file="archive/retention.py",
        old="    if follower is None or follower.said.seq >= until.seq:\n",
        new="    if follower is not None or until.seq >= 0:\n",
    ),
    Mutant(
        name="follower-skips",
        breaks="a follower goes past what it has failed at",
        file="runner/follower.py",
        old="            if stopping():\n                return None\n",
        new="            if stopping():\n                return None\n"
        "            self.done = event.seq\n",
    ),
    Mutant(
        name="follower-loses-a-batch",
        breaks="a follower says that it is done with what it has only read",
        file="runner/follower.py",
        old="        if not events:\n            was, self.done = self.done, end\n",
        new="        if len(events) < 2:\n            was, self.done = self.done, end\n",
    ),
    Mutant(
        name="follower-on-two-nodes",
        breaks="a follower's work is taken from the node that has it",
        file="core/follow.py",
        old="        if left_us:\n",
        new="        if left_us < 0:\n",
    ),
    Mutant(
        name="follower-a-step-ahead",
        breaks="a follower says that it is done with the event that comes next",
        file="runner/follower.py",
        old="now_s, done = self._clock.monotonic(), max(self.done, 0)\n",
        new="now_s, done = self._clock.monotonic(), max(self.done + 1, 0)\n",
    ),
)
