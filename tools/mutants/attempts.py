"""Faults in leases, attempts, retries and lapses."""

from __future__ import annotations

from tools.mutants.mutant import Mutant

ATTEMPTS = (
    Mutant(
        name="fence-not-asked",
        breaks="6: an outcome counts for whoever holds the lease now",
        file="core/settle.py",
        old="        task = projection.tasks.get(outcome.task)\n"
        "        if task is None or task.fence",
        new="        task = projection.tasks.get(outcome.task)\n"
        "        if task is not None and task.fence:\n"
        "            outcome = replace(outcome, fence=task.fence)\n"
        "        if task is None or task.fence",
    ),
    Mutant(
        name="refused-twice",
        breaks="15: one attempt leaves more than one `refused`",
        file="core/settle.py",
        old="    if any(type(e.body) is Refused and e.body.fence == outcome.fence"
        " for e in history):\n"
        "        return True\n",
        new="",
    ),
    Mutant(
        name="own-outcome-refused",
        breaks="15: an outcome whose reply was lost is taken for a second run",
        file="core/settle.py",
        old="if not void and not is_recorded(outcome, past.history(outcome.task)):",
        new="if not void:",
    ),
    Mutant(
        name="lapse-despite-sign",
        breaks="13: a node that has renewed meanwhile is taken for dead",
        file="core/settle.py",
        old="if holder is None or holder.seen_seq != self.seen_seq:",
        new="if holder is None:",
    ),
    Mutant(
        name="lapse-too-early",
        breaks="13: a node is judged when half of its lease time is over",
        file="runner/lapses.py",
        old="elif monotonic_s - since_s >= ttl_s:",
        new="elif monotonic_s - since_s >= ttl_s / 2:",
    ),
    Mutant(
        name="lapse-never",
        breaks="13, 14: the tasks of a dead node stay leased",
        file="runner/lapses.py",
        old="elif monotonic_s - since_s >= ttl_s:",
        new="elif monotonic_s - since_s >= 1_000 * ttl_s:",
    ),
    Mutant(
        name="lapse-is-retried-late",
        breaks="13: the first lapse waits a backoff, as a failure does",
        file="core/settle.py",
        old="if task.lapses else 0\n",
        new="if task.lapses else None\n",
    ),
    Mutant(
        name="lapses-off-by-one",
        breaks="9: one lapse in a row more than max_lapses",
        file="core/settle.py",
        old="most is not None and task.lapses >= most:",
        new="most is not None and task.lapses > most:",
    ),
    Mutant(
        name="lapses-add-up",
        breaks="9: a failure between two lapses does not end their row",
        file="core/moves.py",
        old="lapses=task.lapses + 1 if body.error.type == LAPSED else 0)",
        new="lapses=task.lapses + (body.error.type == LAPSED))",
    ),
    Mutant(
        name="retries-off-by-one",
        breaks="9: one retry more than max_retries",
        file="core/policy.py",
        old="retry_count >= policy.max_retries:",
        new="retry_count > policy.max_retries:",
    ),
    Mutant(
        name="backoff-off-by-one",
        breaks="8: retry number n comes after n - 1 steps",
        file="core/policy.py",
        old="wait_us(policy, retry=retry_count + 1, draw=draw)",
        new="wait_us(policy, retry=max(1, retry_count), draw=draw)",
    ),
    Mutant(
        name="backoff-without-cap",
        breaks="8: waits grow beyond their cap",
        file="core/policy.py",
        old="    wait = min(wait, cap_us)\n",
        new="    wait = min(wait, LONGEST_US) if cap_us else cap_us\n",
    ),
    Mutant(
        name="backoff-from-creation",
        breaks="8: a backoff counts from when the task was made",
        file="core/settle.py",
        old="        failed_at=now,\n",
        new="        failed_at=task.created_at_us,\n",
    ),
    Mutant(
        name="retry-past-expiry",
        breaks="8: a retry is put behind the end of the task's time",
        file="core/policy.py",
        old="if expires_at is not None and retry_at >= expires_at:",
        new="if expires_at is not None and failed_at >= expires_at:",
    ),
    Mutant(
        name="released-counts",
        breaks="9: an attempt that is given back is counted all the same",
        file="core/moves.py",
        old="        attempt=task.attempt - 1,\n",
        new="        attempt=task.attempt,\n",
    ),
    Mutant(
        name="snooze-forgotten",
        breaks="8: a snoozed task is ready at once",
        file="core/moves.py",
        old='return {"rarity": rarity, "scheduled_at_us": scheduled_at}',
        new='return {"rarity": rarity}',
    ),
    Mutant(
        name="told-by-the-dead",
        breaks="6: an attempt that has lost its lease goes on telling",
        file="core/settle.py",
        old="if task is not None and task.fence == body.fence and len(drafts) < room:",
        new="if task is not None and task.fence and len(drafts) < room:",
    ),
    Mutant(
        name="holder-forgotten",
        breaks="14: with one lease ended, the node's others hang",
        file="core/holders.py",
        old="        if not holder.tasks:\n            del self.by_name[task.worker]\n",
        new="        holder.tasks.clear()\n        del self.by_name[task.worker]\n",
    ),
    Mutant(
        name="orphans-kept",
        breaks="14: a lease whose attempt was never begun is kept alive for good",
        file="runner/attempts.py",
        old="        if len(leases) <= len(self.held):\n            return []\n",
        new="        if self.held is not None:\n            return []\n",
    ),
    Mutant(
        name="outcomes-dropped",
        breaks="15: work that was done is not told when the append fails once",
        file="runner/settling.py",
        old="        committed = self._node.execute(command)\n"
        "        del held.unsettled[: len(outcomes)]\n",
        new="        del held.unsettled[: len(outcomes)]\n"
        "        committed = self._node.execute(command)\n",
    ),
    Mutant(
        name="renewed-too-rarely",
        breaks="13: a node that lives renews after its lease time",
        file="runner/settling.py",
        old="options.lease_ttl_us / SECOND_US / 3\n",
        new="options.lease_ttl_us / SECOND_US * 1.5\n",
    ),
    Mutant(
        name="renewal-stops-at-sigterm",
        breaks="13: a node that finishes what it runs lets its leases lapse",
        file="runner/lookout.py",
        old="        settler.renew_if_due(now_s, unproven_seq=None if newer ",
        new="        if not stopping.asked_count:\n"
        "            settler.renew_if_due(now_s, unproven_seq=None if newer ",
    ),
    Mutant(
        name="leases-after-sigterm",
        breaks="a stop begins nothing more",
        file="runner/runner.py",
        old="settle_and_lease(leases=not self.stopping.asked_count)",
        new="settle_and_lease(leases=True)",
    ),
    Mutant(
        name="deadline-ignored",
        breaks="an attempt runs no longer than its deadline",
        file="runner/runner.py",
        old="            self.attempts.fail_late()\n",
        new="",
    ),
    Mutant(
        name="lease-after-expiry",
        breaks="8: a task is leased up to 200 ms after its expiry",
        file="core/task.py",
        old="task.expires_at_us is not None and task.expires_at_us <= now",
        new="task.expires_at_us is not None and task.expires_at_us <= now - 200_000",
    ),
    Mutant(
        name="expired-too-early",
        breaks="8: tasks expire half a second before their time",
        file="core/projection.py",
        old="            if expires_at > now:\n",
        new="            if expires_at > now + 500_000:\n",
    ),
    Mutant(
        name="ready-too-early",
        breaks="8: tasks are leased up to 50 ms before their instant",
        file="core/dispatch_index.py",
        old="while waiting and waiting[0][0] <= now:",
        new="while waiting and waiting[0][0] <= now + 50_000:",
    ),
    Mutant(
        name="due-not-awaited",
        breaks="14: a run at rest does not wake when a task becomes ready",
        file="runner/lookout.py",
        old="instants = (projection.next_instant(), ticks_at)",
        new="instants = (ticks_at,)",
    ),
)
