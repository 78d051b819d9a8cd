"""Faults in what comes after what: waits, flows, cascades, revivals, children, keys and values."""

from __future__ import annotations

from tools.mutants.mutant import Mutant

FLOWS = (
    Mutant(
        name="after-any-end",
        breaks="8: a task runs behind one that has failed",
        file="core/waits.py",
        old='            if completed or task.if_failed == "run":\n',
        new="            if completed is not None:\n",
    ),
    Mutant(
        name="hold-is-run",
        breaks="8: a task that is to hold is made ready behind what had failed before",
        file="core/moves.py",
        old='    "hold": frozenset({"completed", "waived"}),\n',
        new='    "hold": frozenset({"completed", "failed", "waived"}),\n',
    ),
    Mutant(
        name="cascade-stops",
        breaks="14: what comes after a failure waits for good",
        file="core/waits.py",
        old="        return bool(self.doomed or self.reviving)\n",
        new="        return bool(self.reviving)\n",
    ),
    Mutant(
        name="cascade-by-half",
        breaks="14: only what waits at the moment of an end is cancelled, not what is told later",
        file="core/waits.py",
        old='        if wait.failed and task.if_failed == "cancel":\n'
        "            self.doomed.add(number)\n",
        new="",
    ),
    Mutant(
        name="unneeded-kept",
        breaks="18: a finaliser for a failure waits for good when there was none",
        file="core/flows.py",
        old="                self._waits.doom(each)\n",
        new="                continue\n",
    ),
    Mutant(
        name="finally-before-children",
        breaks="18: a finaliser runs before what members have made",
        file="core/flows.py",
        old="            flow.open += made - 1\n            flow.owed += made\n",
        new="            flow.open -= 1\n",
    ),
    Mutant(
        name="finally-beside-failure",
        breaks="18: the last finalisers do not wait for those of a failure",
        file="core/flows.py",
        old="            return sorted(flow.on_failure)\n",
        new="            return sorted(flow.on_failure | flow.last)\n",
    ),
    Mutant(
        name="mended-still-failed",
        breaks="18: a member that was mended before the close counts as failed",
        file="core/flows.py",
        old="                flow.failed -= 1\n",
        new="",
    ),
    Mutant(
        name="revival-not-deep",
        breaks="14: what was cancelled down the line stays so when the first comes back",
        file="core/cascade.py",
        old="            numbers += revived\n",
        new="",
    ),
    Mutant(
        name="revival-too-wide",
        breaks="8: a revival brings back what somebody has called off by hand",
        file="core/cascade.py",
        old="task.recorded_state is not TaskState.CANCELLED or task.cause != cause:",
        new="task.recorded_state is not TaskState.CANCELLED:",
    ),
    Mutant(
        name="revival-forgets-attempts",
        breaks="4: what comes back has forgotten its attempts",
        file="core/cascade.py",
        old="        attempt=task.attempt,\n",
        new="        attempt=0,\n",
    ),
    Mutant(
        name="retry-waives-nothing",
        breaks="a retry by hand does not mind what has failed before",
        file="core/cascade.py",
        old="reopening(task, self._linking.again(task, waives=True), self._now)",
        new="reopening(task, self._linking.again(task, waives=False), self._now)",
    ),
    Mutant(
        name="completed-without-children",
        breaks="19: a completion leaves out what its attempt has made",
        file="core/settle.py",
        old="    return [*made.beside, completed, *made.created]\n",
        new="    return [*made.beside, completed]\n",
    ),
    Mutant(
        name="child-doubled",
        breaks="19: the first child is there twice",
        file="core/settle.py",
        old="    return [*made.beside, completed, *made.created]\n",
        new="    return [*made.beside, completed, *made.created[:1], *made.created]\n",
    ),
    Mutant(
        name="child-outside-its-flow",
        breaks="18: what a member makes is not of its flow",
        file="core/create.py",
        old="            flow = maker.flow\n",
        new="            flow = None\n",
    ),
    Mutant(
        name="key-content-not-compared",
        breaks="10: a key stands for two contents",
        file="core/create.py",
        old='        "tags": (sorted_json(decode(order.tags_json)),'
        " sorted_json(decode(there.tags))),\n",
        new="",
    ),
    Mutant(
        name="key-twice-in-a-commit",
        breaks="10: two calls that share a commit make two tasks of one key",
        file="node/commit_plan.py",
        old="if logged_key(body) in self.keys or self._has_touched(body.after):",
        new="if self._has_touched(body.after):",
    ),
    Mutant(
        name="unique-not-freed",
        breaks="10: a value is never free again",
        file="core/projection.py",
        old="        if task.rarity is not None:\n            self._free(task)\n",
        new="        if task.rarity is None:\n            self._free(task)\n",
    ),
    Mutant(
        name="unique-freed-by-failure",
        breaks="10: a value is free while its task waits for a retry",
        file="core/projection.py",
        old="        self._take_out(old)\n",
        new="        self._take_out(old)\n        self._free(old)\n",
    ),
    Mutant(
        name="unique-twice-in-a-commit",
        breaks="10: two calls that share a commit make two open tasks of one value",
        file="node/commit_plan.py",
        old='                    self._taken.add(("unique", body.unique))\n',
        new="                    self._taken.discard(None)\n",
    ),
    Mutant(
        name="task-touched-twice",
        breaks="4: two decisions about one task share a commit",
        file="node/commit_plan.py",
        old="            elif number in self._touched or self._has_touched(_after(body)):\n",
        new="            elif self._has_touched(_after(body)):\n",
    ),
)
