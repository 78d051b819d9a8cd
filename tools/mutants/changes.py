"""Faults in changes to many tasks, in what takes them back, and in relays of outboxes."""

from __future__ import annotations

from tools.mutants.mutant import Mutant

CHANGES = (
    Mutant(
        name="bulk-takes-what-moved-on",
        breaks="20: a change to many is made of what has moved on since it was seen",
        file="core/bulk.py",
        old="        if last is None or last.seq != last_seq:\n",
        new="        if last is None:\n",
    ),
    Mutant(
        name="bulk-never-over",
        breaks="20: a change to many goes on behind its end",
        file="core/bulk.py",
        old="        if self._is_over:\n",
        new="        if self._is_over is None:\n",
    ),
    Mutant(
        name="undo-renews-age",
        breaks="20: whose end is taken back has its age anew",
        file="core/cascade.py",
        old="            expires_at=before.expires_at_us,\n",
        new="",
    ),
    Mutant(
        name="undo-minds-all",
        breaks="20: whose end is taken back minds what it did not mind",
        file="core/cascade.py",
        old="        waived = {each.task for each in before.after"
        ' if each.verdict == "waived"}\n        after',
        new="        waived: set[int] = set()\n        after",
    ),
    Mutant(
        name="undo-edits-nothing",
        breaks="20: an edit that is taken back leaves the priority that it has made",
        file="core/undoing.py",
        old="        None if body.priority is None else before.priority,\n",
        new="        body.priority,\n",
    ),
    Mutant(
        name="due-forgotten-by-undo",
        breaks="17: an undo of a schedule's timing drops a due that has come",
        file="catalog/undo_rules.py",
        old="replace(replanned(known, said, now), paused=said.paused)",
        new="said",
    ),
    Mutant(
        name="row-deleted-first",
        breaks="2: a relay deletes rows before the log has taken them",
        file="contrib/outbox/sql.py",
        old="                settled = append(rows)\n",
        new="                ids = self._array([row.id for row in rows])\n"
        "                self._run(DELETE[self._dialect], ids)\n"
        "                self._link.commit()\n"
        "                settled = append(rows)\n",
    ),
    Mutant(
        name="row-without-key",
        breaks="10: a row that is relayed twice is two tasks",
        file="contrib/outbox/row.py",
        old="    return order\n",
        new="    return replace(order, key=None)\n",
    ),
    Mutant(
        name="row-kept",
        breaks="2: a relay leaves the rows of a block where one of them is set aside",
        file="contrib/outbox/sql.py",
        old="                if settled.done:\n",
        new="                if settled.done and not settled.aside:\n",
    ),
)
