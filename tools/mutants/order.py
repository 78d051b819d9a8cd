"""Faults in who may run when: the order of dispatch, limits, pauses and turns."""

from __future__ import annotations

from tools.mutants.mutant import Mutant

ORDER = (
    Mutant(
        name="lists-not-merged",
        breaks="7: tasks of different routes run list by list",
        file="core/dispatch_index.py",
        old="return iter(lists[0]) if len(lists) == 1 else merged(lists)",
        new="return iter([rank for ranks in lists for rank in ranks])",
    ),
    Mutant(
        name="tie-reversed",
        breaks="7: of two lists that are level, the later one runs first",
        file="core/ranks.py",
        old="    heads = [(ranks[0], place) for place, ranks in enumerate(lists)]\n"
        "    heapify(heads)\n",
        new="    heads = [(ranks[0], place) for place, ranks in enumerate(lists)]\n"
        "    heapify(heads)\n"
        "    if len(heads) > 1 and heads[0][0][0] == heads[1][0][0]:\n"
        "        heads[0], heads[1] = heads[1], heads[0]\n",
    ),
    Mutant(
        name="update-keeps-rank",
        breaks="7: an edited priority is not gone by",
        file="core/moves.py",
        old="priority=task.priority if body.priority is None else body.priority,",
        new="priority=task.priority,",
    ),
    Mutant(
        name="turn-ignored",
        breaks="7: shares take no turns",
        file="core/heads.py",
        old="return priority, self._turns.ahead_of(-priority, row.share), at, number",
        new="return priority, 0, at, number",
    ),
    Mutant(
        name="weight-ignored",
        breaks="7: all shares weigh the same",
        file="core/turns.py",
        old='return self._costs.get(share or "", LEASE_COST)',
        new="return LEASE_COST",
    ),
    Mutant(
        name="idling-gains",
        breaks="7: a share that was idle catches up",
        file="core/turns.py",
        old="        start = level if before is None else before\n",
        new="        start = 0 if before is None else before\n",
    ),
    Mutant(
        name="needs-ignored",
        breaks="7: a task that needs what this version lacks is leased",
        file="core/audience.py",
        old="if not KNOWN_NEEDS.issuperset(route.needs):",
        new="if len(route.needs) > len(KNOWN_NEEDS):",
    ),
    Mutant(
        name="name-ignored",
        breaks="7: a node leases tasks of names that it does not handle",
        file="core/audience.py",
        old="return any(matches(route.name, pattern) for pattern in audience.names)",
        new="return bool(audience.names) or not audience.unnamed",
    ),
    Mutant(
        name="newer-taken-as-nothing",
        breaks="what only a newer eventq knows about a task keeps others from it",
        file="core/moves.py",
        old="if body.skip or task.newer is not None:",
        new="if body.kind or task.newer is not None:",
    ),
    Mutant(
        name="limit-off-by-one",
        breaks="16: one lease more than a limit bears",
        file="core/limits.py",
        old="if said.running is not None and use.running >= said.running:\n"
        "            return False",
        new="if said.running is not None and use.running > said.running:\n            return False",
    ),
    Mutant(
        name="exclusive-for-two",
        breaks="16: two hold what is for one",
        file="core/limits.py",
        old="_EXCLUSIVE = Limited(EXCLUSIVE, running=1)",
        new="_EXCLUSIVE = Limited(EXCLUSIVE, running=2)",
    ),
    Mutant(
        name="rate-off-by-one",
        breaks="16: one lease more in a window",
        file="core/limits.py",
        old="return len(instants) < rate or instants[-rate] <= since",
        new="return len(instants) <= rate or instants[-rate] <= since",
    ),
    Mutant(
        name="window-too-short",
        breaks="16: a window ends a tenth early",
        file="core/limits.py",
        old="    since = now - per_us\n",
        new="    since = now - per_us * 9 // 10\n",
    ),
    Mutant(
        name="limit-freed-twice",
        breaks="16: an end gives its place back twice",
        file="core/governing.py",
        old="        self.limits.let_go(task.route.buckets)\n",
        new="        self.limits.let_go(task.route.buckets)\n"
        "        self.limits.let_go(task.route.buckets)\n",
    ),
    Mutant(
        name="limit-never-freed",
        breaks="14: what fails or lapses keeps its place in a limit",
        file="core/projection.py",
        old="        elif task.recorded_state is LEASED:\n            self._let_go(task)\n",
        new="        elif task.recorded_state is LEASED:\n            self._leases.let_go(task)\n",
    ),
    Mutant(
        name="undefined-limit-is-none",
        breaks="16: a limit that nobody has defined does not block",
        file="core/limits.py",
        old="        said = self.said(bucket.limit)\n"
        "        if said is None or (bucket.value is None and said.per is not None):\n"
        "            return False\n",
        new="        said = self.said(bucket.limit)\n"
        "        if said is None:\n"
        "            return True\n"
        "        if bucket.value is None and said.per is not None:\n"
        "            return False\n",
    ),
    Mutant(
        name="freed-list-forgotten",
        breaks="14: a list that a limit has blocked is never looked at again",
        file="core/governing.py",
        old="            for bucket in task.route.buckets:\n                heads.free(bucket)\n",
        new="            for bucket in task.route.buckets:\n                heads.check\n",
    ),
    Mutant(
        name="late-lease-too-bold",
        breaks="7: a lease behind an outcome passes over what that made ready",
        file="core/lease.py",
        old="choice, self._now, before=ready), room)",
        new="choice, self._now), room)",
    ),
    Mutant(
        name="tags-edited-aside",
        breaks="7: edited tags change no share and no bucket",
        file="core/governing.py",
        old="        if self.is_on:\n            task = self.routed(task)\n",
        new="        if not self.is_on:\n            task = self.routed(task)\n",
    ),
    Mutant(
        name="pause-of-limits-ignored",
        breaks="7: a pause of a limit holds nothing",
        file="core/pauses.py",
        old="        self._bucketed = [s for s in scopes if not s.tags and s.limit is not None]\n",
        new="        self._bucketed = []\n",
    ),
    Mutant(
        name="pause-of-tags-ignored",
        breaks="7: a pause of a tag's value holds nothing",
        file="core/dispatch_index.py",
        old="            scope = self._pauses.of_tags(task, now)\n",
        new="            scope = None\n",
    ),
    Mutant(
        name="pause-of-lanes-ignored",
        breaks="7: a pause of a lane holds nothing",
        file="core/pauses.py",
        old="if scope.lane is not None and scope.lane != (route.lane or DEFAULT_LANE):",
        new="if scope.lane is not None:",
    ),
    Mutant(
        name="standby-minds-no-pause",
        breaks="7: what is made while a run rests is leased though it is paused",
        file="core/governing.py",
        old="        return self.pauses.of_task(replace(task, route=route), now) is None\n",
        new="        return True\n",
    ),
    Mutant(
        name="standby-minds-no-limit",
        breaks="16: what is made while a run rests is leased though its limit is full",
        file="core/governing.py",
        old="        if self.limits.full(route.buckets, now) is not None:\n"
        "            return False\n",
        new="",
    ),
    Mutant(
        name="standby-minds-no-rank",
        breaks="7: what is made while a run rests is leased before what ranks higher",
        file="core/lease.py",
        old="    if next_eligible(projection, now, audience) is not None:\n        return None\n",
        new="",
    ),
    Mutant(
        name="pause-ends-early",
        breaks="7: a pause ends a second before its time",
        file="core/pauses.py",
        old="self.said.until is None or now < self.said.until\n",
        new="self.said.until is None or now < self.said.until - 1_000_000\n",
    ),
)
