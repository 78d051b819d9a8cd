"""What may happen to a task: invariants 4 to 6, 8 to 10 and 15, one method a kind of event."""

from __future__ import annotations

from typing import Any

from tools.history.bounds import Bounds
from tools.history.bulks import Bulks
from tools.history.dispatch import Dispatch
from tools.history.facts import Body
from tools.history.links import Links
from tools.history.nodes import Nodes
from tools.history.ready import Ready
from tools.history.retries import Retries, is_lapse
from tools.history.world import FINAL, NO_LANE, OPEN, WORDS, BrokenError, Task, World

# What a reopened task brings back just as it was created; absent is absent.
CREATED_WITH = (
    "policy",
    "key",
    "name",
    "needs",
    "unique",
    "schedule",
    "due",
    "if_failed",
    "given",
    "flow",
    "role",
    "secret",
    "limits",
    "share",
    "trace",
)
# What else it brings back where it says nothing of it.
UNSAID: Body = {"priority": 0, "tags": {}, "snoozes": 0}


class Moves:
    """The tasks as events move them, and what each move has to keep."""

    def __init__(
        self,
        world: World,
        *,
        ready: Ready,
        nodes: Nodes,
        bounds: Bounds,
        links: Links,
        dispatch: Dispatch,
        retries: Retries,
        bulks: Bulks,
    ) -> None:
        self.failed: dict[int, Task] = {}
        """The tasks that have failed in the commit at hand, until it says what follows."""
        self.keys: dict[str, int] = {}
        """The tasks by their callers' keys."""
        self._world = world
        self._ready = ready
        self._nodes = nodes
        self._bounds = bounds
        self._links = links
        self._dispatch = dispatch
        self._retries = retries
        self._bulks = bulks
        self._uniques: dict[str, int] = {}
        self._policies: dict[str, Body] = {}

    def created(self, seq: int, number: int, body: Body) -> None:
        """A task exists: its number is its position."""
        if number != seq:
            raise BrokenError(4, f"a task of number {number}, which is not its position")
        now, made_at = self._world.now, body.get("scheduled_at")
        scheduled_at = now if made_at is None else made_at
        expires_at = body.get("expires_at")
        if expires_at is not None and expires_at <= max(now, scheduled_at):
            self._world.report(8, seq, "created at or past its expiry")
        needs = body.get("needs")
        task = self._world.tasks[seq] = Task(
            seq,
            body,
            now,
            scheduled_at,
            expires_at,
            body.get("priority", 0),
            body["policy"],
            body.get("tags", {}),
            body.get("name"),
            body.get("lane") or NO_LANE,
            is_foreign=needs is not None and not WORDS.issuperset(needs),
            last_seq=seq,
        )
        key = body.get("key")
        if key is not None:
            if key in self.keys:
                self._world.report(10, seq, f"key {key!r} is that of task {self.keys[key]}, too")
            self.keys[key] = seq
        self._take_unique(task)
        self._bounds.place(task)
        if self._links.create(seq, task, body):
            task.state = "waiting"
        else:
            self._ready.add(task, now)

    def leased(self, seq: int, number: int, body: Body) -> None:
        """An attempt begins: on a pending task whose instant has come, that ranks first."""
        task = self._in_state(number, "leased", ("pending",))
        now, worker = self._world.now, body["worker"]
        report = self._world.report
        if task.scheduled_at > now and task.scheduled_at != task.created_at:
            report(8, seq, f"task {number} is leased {task.scheduled_at - now} us too early")
        elif task.expires_at is not None and now >= task.expires_at:
            report(8, seq, f"task {number} is leased at or past its expiry")
        else:
            self._dispatch.judge(seq, task, worker)
        if body["attempt"] != task.attempt + 1:
            report(5, seq, f"attempt {body['attempt']} follows attempt {task.attempt}")
        task.leases += 1
        most = task.policy.get("max_retries")
        if most is not None and task.leases > most + 1 + task.given_back:
            report(9, seq, f"leased {task.leases} times with {most} retries")
        node = self._nodes.sign(worker, body["ttl_us"])
        node.held[task.lane] += 1
        self._ready.remove(task)
        if self._bounds.is_used:
            self._bounds.lease(task)
        task.state, task.worker, task.fence = "leased", worker, seq
        task.attempt = body["attempt"]
        task.fences.append(seq)
        task.last_seq = seq

    def completed(self, seq: int, number: int, body: Body) -> None:
        """The attempt has done its work."""
        task = self._end_lease(number, "completed", body)
        task.last_seq = seq
        self._finish(seq, task, "completed", body.get("made", 0))

    def failed_attempt(self, seq: int, number: int, body: Body) -> None:
        """The attempt is over; what follows stands in the same commit."""
        task = self._in_state(number, "failed", ("leased",))
        error = body["error"]
        if is_lapse(error):
            self._nodes.judge_lapse(seq, task, error)
        self._end_lease(number, "failed", body)
        task.last_seq = seq
        task.state, task.failure, task.last_error = "failed", body, error
        task.lapses = task.lapses + 1 if is_lapse(error) else 0
        self.failed[number] = task

    def released(self, seq: int, number: int, body: Body) -> None:
        """The lease is given back, and the attempt does not count."""
        task = self._end_lease(number, "released", body)
        task.last_seq = seq
        now, put_off = self._world.now, body.get("scheduled_at")
        task.attempt -= 1
        task.given_back += 1
        task.lapses = 0
        if put_off is not None:
            if put_off < now:
                self._world.report(8, seq, "put off into the past")
            task.scheduled_at = put_off
            task.snoozes += 1
        task.state = "pending"
        self._ready.add(task, now)

    def retried(self, seq: int, number: int, body: Body) -> None:
        """The task is to run again: after a failure, or since somebody brings it back."""
        task = self._in_state(number, "retried", ("failed", "expired", "cancelled"))
        self._bulks.judge(seq, task, body)
        now, at = self._world.now, body["scheduled_at"]
        if at < now and "undoes" not in body:
            self._world.report(8, seq, "retried into the past")
        waits = False
        if task.state == "failed":
            if "reopens" in body:
                raise BrokenError(4, "a failed task has nothing to reopen")
            del self.failed[number]
            task.retries += 1
            self._retries.judge_retry(task, now, at)
        else:
            waits = self._reopen(seq, task, body)
        task.scheduled_at, task.failure = at, None
        task.state = "waiting" if waits else "pending"
        if not waits:
            self._ready.add(task, now)

    def expired(self, seq: int, number: int, body: Body) -> None:
        """The task is given up."""
        task = self._in_state(number, "expired", ("waiting", "pending", "failed"))
        self._bulks.judge(seq, task, body)
        if "restores" in body:
            self._restore(task, body)
        else:
            self._retries.judge_end(task, self._world.now, body["reason"])
        self._finish(seq, task, "expired")

    def cancelled(self, seq: int, number: int, body: Body) -> None:
        """The task is called off."""
        task = self._in_state(number, "cancelled", ("waiting", "pending", "leased", "failed"))
        self._bulks.judge(seq, task, body)
        if "restores" in body:
            self._restore(task, body)
        else:
            self._links.judge_cause(task, body)
        if task.state == "leased":
            self._let_go(task)
        task.cause = body.get("cause")
        self._finish(seq, task, "cancelled")

    def updated(self, seq: int, number: int, body: Body) -> None:
        """Somebody edits a pending task, or has it mind no more what has failed."""
        task = self._in_state(number, "updated", ("waiting", "pending"))
        self._bulks.judge(seq, task, body)
        at = body.get("scheduled_at")
        if not body.keys() & {"priority", "tags", "scheduled_at", "lane", "waives"}:
            raise BrokenError(4, "updated nothing")
        secret = task.made.get("secret", []) if "tags" in body else []
        if body.get("secret", []) != secret:
            raise BrokenError(4, "calls other tags secret than its task does")
        self._ready.remove(task)
        task.priority = body.get("priority", task.priority)
        task.lane = body.get("lane", task.lane)
        if "tags" in body:
            task.tags = body["tags"]
            self._bounds.read_again(task)
        if at is not None:
            if task.expires_at is not None and task.expires_at <= at > self._world.now:
                self._world.report(8, seq, "moved to or past its expiry")
            task.scheduled_at = at
        if task.state == "pending":
            self._ready.add(task, self._world.now)
        if body.get("waives"):
            self._links.waive(task)

    def refused(self, seq: int, number: int, body: Body) -> None:
        """An outcome came too late: of a lease of the task that is over, once."""
        task, fence = self._world.tasks.get(number), body["fence"]
        if task is None:
            raise BrokenError(15, f"refused of task {number}, which there is not")
        if task.state == "leased" and task.fence == fence:
            raise BrokenError(15, "the outcome of a live lease is refused")
        if not task.is_lost and fence not in task.fences:
            raise BrokenError(15, f"fence {fence} was no lease of task {number}")
        if (task.state, task.fence, body["outcome"]) == ("completed", fence, "completed"):
            self._world.report(15, seq, f"attempt {fence} has completed, and is refused as well")
        if fence in task.refused:
            self._world.report(15, seq, f"attempt {fence} is refused twice")
        task.refused.add(fence)

    def told(self, _seq: int, number: int, body: Body) -> None:
        """What a running attempt says of itself."""
        task = self._in_state(number, body["kind"], ("leased",))
        if body["fence"] != task.fence or body.get("skip") is not True:
            raise BrokenError(6, f"fence {body['fence']} tells, but {task.fence} is the live one")
        if body["kind"] == "saved":
            task.saved = [body.get("value")]

    def revived(self, _seq: int, number: int, body: Body) -> None:
        """All is back that the end of a reopened task had cancelled, but for what was skipped."""
        task = self._world.tasks.get(number)
        if task is None:
            raise BrokenError(4, f"revived of task {number}, which there is not")
        task.skipped.update(body.get("skipped", ()))

    def lose(self, number: int) -> None:
        """Nothing more can be said of the task."""
        task = self._world.tasks.get(number)
        if task is None:
            return
        self.failed.pop(number, None)
        self._ready.remove(task)
        if task.state == "leased":
            self._let_go(task)
        if task.state in OPEN:
            task.state = "lost"
        task.is_lost = True

    def meet_lost(self, number: int) -> None:
        """A newer eventq says something of a task; perhaps it has made it."""
        if number > 0 and number not in self._world.tasks:
            stub: Body = {"policy": {}}
            self._world.tasks[number] = Task(
                number, stub, 0, 0, None, 0, {}, {}, None, NO_LANE, is_foreign=True
            )
        self.lose(number)
        if number in self._world.tasks:
            self._world.tasks[number].is_foreign = True

    def move_lost(self, seq: int, number: int, body: Body) -> None:
        """Of a lost task its end is believed, and that it comes back.

        Only a node of the eventq that has touched it knows whether it may run.
        """
        task, kind = self._world.tasks[number], body["kind"]
        if kind == "leased" and task.is_foreign:
            self._judge_lost_lease(seq, number, body["worker"])
        if kind == "retried" and task.state in FINAL:
            task.state = "lost"
        elif kind in FINAL and task.state == "lost":
            task.state = kind
            self._free_unique(task)
            self._links.end(seq, task, body.get("made", 0))

    def finish(self, seq: int) -> None:
        """The commit ends here: what follows a failure stands in it."""
        for number in list(self.failed):
            self._world.report(4, seq, f"nothing follows the failure of task {number}")
            self.lose(number)

    def _in_state(self, number: int, kind: str, states: tuple[str, ...]) -> Task:
        task = self._world.tasks.get(number)
        if task is None:
            raise BrokenError(4, f"{kind} of task {number}, which there is not")
        if task.state not in states:
            invariant = 5 if kind == task.state == "leased" else 4
            if kind == "leased" and task.state == "waiting":
                invariant = 8
            raise BrokenError(invariant, f"{kind} of task {number}, which is {task.state}")
        return task

    def _judge_lost_lease(self, seq: int, number: int, worker: str) -> None:
        if not self._nodes.is_newer(self._nodes.get(worker)):
            text = f"node {worker} leases task {number}, which a newer eventq has touched"
            self._world.report(7, seq, text)

    def _end_lease(self, number: int, kind: str, body: Body) -> Task:
        task = self._in_state(number, kind, ("leased",))
        if body["fence"] != task.fence:
            raise BrokenError(6, f"{kind} by fence {body['fence']}, but {task.fence} is live")
        self._let_go(task)
        return task

    def _let_go(self, task: Task) -> None:
        assert task.worker is not None
        self._nodes.get(task.worker).held[task.lane] -= 1
        if task.buckets:
            self._bounds.let_go(task)

    def _finish(self, seq: int, task: Task, state: str, made: int = 0) -> None:
        self._ready.remove(task)
        self.failed.pop(task.number, None)
        task.state, task.ended_seq = state, seq
        self._free_unique(task)
        self._links.end(seq, task, made)

    def _reopen(self, seq: int, task: Task, body: Body) -> bool:
        content = body.get("reopens")
        if content is None or content["was"] != task.state:
            raise BrokenError(4, f"reopens what was {task.state}, and does not say so")
        for name, was in self._brought_back(task).items():
            brought = content.get(name, UNSAID.get(name))
            if brought != was:
                text = f"brings back {name} {brought!r:.80}, but it was {was!r:.80}"
                raise BrokenError(4, text)
        if "undoes" not in body:
            self._judge_anew(seq, task, content)
        task.expires_at = content.get("expires_at")
        task.leases = task.given_back = 0
        task.retries, task.lapses = content.get("retries", 0), content.get("lapses", 0)
        self._take_unique(task)
        self._bounds.place(task)
        is_waiting = self._links.reopen(task, body)
        # What it minded goes by when it was opened before.
        task.reopened_seq = seq
        return is_waiting

    def _judge_anew(self, seq: int, task: Task, content: Body) -> None:
        """What is reopened begins anew."""
        age_us = task.policy.get("max_age_us")
        if content.get("expires_at") != (None if age_us is None else self._world.now + age_us):
            self._world.report(8, seq, "reopened with another expiry than its max_age makes")
        if content.keys() & {"retries", "lapses", "started_at"}:
            self._world.report(9, seq, "reopened with retries that do not begin anew")

    def _restore(self, task: Task, body: Body) -> None:
        """The task ends again as it had."""
        if "undoes" not in body or task.state not in {"waiting", "pending"}:
            raise BrokenError(20, f"ends again while it is {task.state}, or takes nothing back")
        again = body["restores"]
        # It leaves its place before its instant is another one.
        self._ready.remove(task)
        task.retries, task.lapses = again.get("retries", 0), again.get("lapses", 0)
        task.scheduled_at, task.expires_at = again["scheduled_at"], again.get("expires_at")

    def _brought_back(self, task: Task) -> dict[str, Any]:
        """What a reopening has to say, by its fields."""
        return {
            **{name: task.made.get(name) for name in CREATED_WITH},
            "created_at": task.created_at,
            "attempt": task.attempt,
            "lane": None if task.lane == NO_LANE else task.lane,
            "priority": task.priority,
            "tags": task.tags,
            "last_error": task.last_error,
            "snoozes": task.snoozes,
            "saved": task.saved[0] if task.saved else None,
        }

    def _take_unique(self, task: Task) -> None:
        unique = task.made.get("unique")
        if unique is None:
            return
        other = self._world.tasks.get(self._uniques.get(unique, 0))
        if other is not None and other is not task and other.state in OPEN:
            raise BrokenError(10, f"task {other.number} is open and has {unique!r}, too")
        self._uniques[unique] = task.number

    def _free_unique(self, task: Task) -> None:
        unique = task.made.get("unique")
        if unique is not None and self._uniques.get(unique) == task.number:
            del self._uniques[unique]
