"""What tasks come after, and flows: invariants 8, 18 and 19, looked at anew after each end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tools.history.facts import Body
from tools.history.ready import Ready
from tools.history.world import FINAL, BrokenError, Task, World

FLOW_MARK = "\x1f"
# What eventq says where it cancels what comes after others, and a finaliser.
BEHIND = "a task that it comes after ended without success"
UNNEEDED = "no member of its flow failed"


@dataclass
class Flow:
    """The tasks of one flow. A member that is reopened after the close is none any more."""

    end: int
    """The last position of the commit that made it."""
    members: list[int] = field(default_factory=list)
    finalisers: list[int] = field(default_factory=list)
    owed: int = 0
    """Tasks that a member's completion has announced."""
    is_closed: bool = False
    has_failed: bool = False
    is_over: bool = False
    """The last finalisers have begun, or may."""


class Links:
    """Who waits for whom."""

    def __init__(self, world: World, ready: Ready) -> None:
        self.flows: dict[int, Flow] = {}
        self._world = world
        self._ready = ready
        self._behind: dict[int, list[int]] = {}
        """Who comes after each task."""
        self._maker: tuple[int, int | None, int] | None = None
        """Whose completion announces tasks, their flow, and how many are to come."""

    def create(self, seq: int, task: Task, body: Body) -> bool:
        """Judges what a new task comes after, who made it and its flow; whether it waits."""
        self._judge_maker(seq, task, body)
        after, given = body.get("after", ()), body.get("given") or {}
        self._wait(task, after)
        if "waived" in task.after.values():
            raise BrokenError(8, "it is made with something waived")
        if not set(given.values()) <= task.after.keys():
            raise BrokenError(8, "it is given the result of a task that it does not come after")
        is_linked = bool(after) or role_of(task) != "member"
        if is_linked != ("after" in body.get("needs", ())):
            raise BrokenError(8, "its needs do not say whether it comes after others")
        return self.is_waiting(task)

    def reopen(self, task: Task, body: Body) -> bool:
        """A task is back; whether it waits. Those behind it wait for it again."""
        content, by = body["reopens"], body.get("revived_by")
        numbers = [each[0] for each in content.get("after", ())]
        if numbers != list(task.after):
            raise BrokenError(8, f"it comes back after {numbers}, not after {list(task.after)}")
        if "undoes" in body:
            self._judge_taken_back(task, content.get("after", ()))
        elif by is None and any(each[1:] == ["failed"] for each in content.get("after", ())):
            raise BrokenError(8, "it is retried by hand, and minds what has failed before it")
        if by is not None and task.cause != by:
            raise BrokenError(8, f"it is revived by task {by}, which had not cancelled it")
        self._wait(task, content.get("after", ()))
        if by is not None and "waived" in task.after.values():
            raise BrokenError(8, "what is revived minds all that has failed")
        task.cause = None
        self._await_again(task)
        flow = self.flow_of(task)
        if flow is not None and flow.is_closed:
            if task.number in flow.members:
                flow.members.remove(task.number)
            if role_of(task) == "on_failure":
                return False
        return self.is_waiting(task)

    def waive(self, task: Task) -> None:
        """A waiting task minds no more what has failed."""
        if task.state != "waiting" or not self._is_stuck(task):
            raise BrokenError(8, "it waives nothing")
        for number, how in task.after.items():
            if how == "failed":
                task.after[number] = "waived"
        if self._is_unneeded(task) or not self.is_waiting(task):
            self._start(task)

    def judge_cause(self, task: Task, body: Body) -> None:
        """Judges why the task is said to be cancelled."""
        cause, reason = body.get("cause"), body.get("reason")
        if reason == UNNEEDED and not self._is_unneeded(task):
            raise BrokenError(18, "it is cancelled as unneeded, and is not")
        if cause is None and reason != BEHIND:
            return
        if task.state != "waiting" or cause is None or task.after.get(cause) != "failed":
            raise BrokenError(8, f"task {cause} is no cause of this end")
        if task.made.get("if_failed", "cancel") != "cancel":
            raise BrokenError(8, "it is cancelled, but should run or hold when others fail")

    def end(self, seq: int, task: Task, made: int) -> None:
        """A task is final, and announces so many others."""
        for number in self._behind.get(task.number, ()):
            other = self._world.tasks[number]
            if other.state == "waiting" and other.after.get(task.number) == "open":
                other.after[task.number] = self._stand(other, task)
                if not self.is_waiting(other):
                    self._start(other)
        flow = self.flow_of(task)
        joins = flow is not None and not flow.is_closed and task.number in flow.members
        if made:
            if made < 0 or self._maker is not None:
                self._world.report(19, seq, f"task {task.number} made {made} tasks")
            self._maker = task.number, task.made["flow"] if joins else None, made
        if flow is not None:
            flow.owed += made if joins else 0
            self._settle(flow)

    def pass_by(self, seq: int, kind: str) -> None:
        """What an attempt has made stands right behind its completion."""
        if self._maker is not None and kind != "created":
            self.finish(seq)

    def finish(self, seq: int) -> None:
        """The commit ends here: all that was announced must have come."""
        if self._maker is not None:
            number, _, left = self._maker
            self._world.report(19, seq, f"{left} tasks that task {number} made are missing")
            self._maker = None

    def flow_of(self, task: Task) -> Flow | None:
        """The flow that the task is in."""
        return self.flows.get(task.made.get("flow", 0))

    def is_waiting(self, task: Task) -> bool:
        """Whether anything is in the way of an open task."""
        if role_of(task) == "member":
            return any(how in {"open", "failed"} for how in task.after.values())
        flow = self.flow_of(task)
        return flow is not None and not self._has_turn(flow, task)

    def excuse(self, task: Task) -> bool:
        """Whether a waiting task may wait for good: held, or behind what is open."""
        if role_of(task) != "member":
            flow = self.flow_of(task)
            is_over = flow is None or (flow.is_closed and self._has_turn(flow, task))
            return not (is_over or self._is_unneeded(task))
        hows = task.after.values()
        return "open" in hows or task.made.get("if_failed", "cancel") == "hold"

    def _await_again(self, task: Task) -> None:
        for number in self._behind.get(task.number, ()):
            other = self._world.tasks[number]
            if other.state == "waiting" and other.after.get(task.number) == "failed":
                other.after[task.number] = "open"

    def _judge_taken_back(self, task: Task, after: list[list[Any]]) -> None:
        """An end is taken back: the task minds what it minded, and what has changed since then."""
        opened = task.reopened_seq or task.number
        waived = {each[0] for each in after if each[1:] == ["waived"]}
        for number, how in task.after.items():
            other = self._world.tasks[number]
            was_waived = how == "waived" and other.last_seq <= opened
            if not other.is_lost and was_waived != (number in waived):
                text = "minds task {}, which it did not" if was_waived else "minds task {} no more"
                raise BrokenError(20, f"its end is taken back, and it {text.format(number)}")

    def _judge_maker(self, seq: int, task: Task, body: Body) -> None:
        """Invariant 19, and that what a member makes is in its flow."""
        maker, flow = body.get("made_by"), body.get("flow")
        if self._maker is None:
            if maker is not None:
                self._world.report(19, seq, f"made by task {maker}, which has not said so")
            self._join(task, body)
            return
        number, joined, left = self._maker
        self._maker = (number, joined, left - 1) if left > 1 else None
        if maker != number:
            self._world.report(19, seq, f"made by task {maker}, behind the end of task {number}")
        if flow != joined or role_of(task) != "member" or "flow_key" in body:
            raise BrokenError(18, f"it is in flow {flow}, but its maker is in {joined}")
        if joined is not None:
            self.flows[joined].owed -= 1
            self.flows[joined].members.append(task.number)

    def _join(self, task: Task, body: Body) -> None:
        number, role = body.get("flow"), role_of(task)
        if number is None:
            if role != "member" or "flow_key" in body:
                raise BrokenError(18, "it has a role in no flow")
            return
        flow = self.flows.get(number)
        if flow is None:
            if not task.number <= number <= self._world.last:
                raise BrokenError(18, f"flow {number} does not begin here")
            flow = self.flows[number] = Flow(self._world.last)
        if task.number > flow.end:
            raise BrokenError(18, f"it joins flow {number} from outside")
        if "flow_key" in body and number != task.number:
            raise BrokenError(18, "it has the key of another task's flow")
        (flow.members if role == "member" else flow.finalisers).append(task.number)

    def _wait(self, task: Task, after: list[list[Any]]) -> None:
        """Judges how what it comes after is said to stand, and keeps that."""
        told = {"completed": "met", "failed": "failed", "waived": "waived", None: "open"}
        task.after = {}
        for number, *verdict in after:
            if not 0 < number < task.number or number in task.after:
                raise BrokenError(8, f"it comes after {number}, which is not before it, or twice")
            other = self._world.tasks.get(number)
            if other is None:
                raise BrokenError(8, f"it comes after {number}, which is no task")
            how = told[verdict[0] if verdict else None]
            stands = "open" if other.state not in FINAL else self._end_of(other)
            if not other.is_lost and stands != ("failed" if how == "waived" else how):
                raise BrokenError(8, f"task {number} is {other.state}, not {how}")
            behind = self._behind.setdefault(number, [])
            if task.number not in behind:
                behind.append(task.number)
            task.after[number] = how if how in {"waived", "open"} else self._stand(task, other)

    def _end_of(self, task: Task) -> str:
        return "met" if task.state == "completed" else "failed"

    def _stand(self, task: Task, other: Task) -> str:
        """How the end of another task stands to one that comes after it."""
        return "met" if task.made.get("if_failed") == "run" else self._end_of(other)

    def _start(self, task: Task) -> None:
        task.state = "pending"
        self._ready.add(task, self._world.now)

    def _settle(self, flow: Flow) -> None:
        """Closes a flow whose members are all final, and starts the finalisers whose turn it is."""
        tasks = self._world.tasks
        if not flow.is_closed:
            if flow.owed or any(tasks[each].state not in FINAL for each in flow.members):
                return
            flow.is_closed = True
            flow.has_failed = any(tasks[each].state != "completed" for each in flow.members)
        for_failure = [each for each in flow.finalisers if role_of(tasks[each]) == "on_failure"]
        if not flow.has_failed or all(tasks[each].state in FINAL for each in for_failure):
            flow.is_over = True
        for number in flow.finalisers:
            task = tasks[number]
            if task.state == "waiting" and self._has_turn(flow, task):
                self._start(task)

    def _has_turn(self, flow: Flow, task: Task) -> bool:
        """Whether a finaliser may run."""
        return flow.is_closed and flow.has_failed if role_of(task) == "on_failure" else flow.is_over

    def _is_stuck(self, task: Task) -> bool:
        return "failed" in task.after.values() or self._is_unneeded(task)

    def _is_unneeded(self, task: Task) -> bool:
        """Whether a finaliser is for a failure that there was none of."""
        flow = self.flow_of(task)
        if flow is None or role_of(task) != "on_failure":
            return False
        return flow.is_closed and not flow.has_failed


def role_of(task: Task) -> str:
    """What the task is in its flow; one without a flow is a member of none."""
    role: str = task.made.get("role", "member")
    return role
