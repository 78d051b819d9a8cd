"""A log with its projection, and commands on tasks that come after others, for the core's tests."""

from __future__ import annotations

from eventq.core.cascade import tend
from eventq.core.command import NEW, Draft
from eventq.core.create import NewTask
from eventq.core.create_flow import CreateFlow
from eventq.core.create_tasks import CreateTasks
from eventq.core.events import Completed, Created, Leased
from eventq.core.link import Link, placed
from eventq.core.manage import ManageTask, RetryTask
from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.core.values import Policy
from eventq.node.logged_past import LoggedPast
from tests.driver import memory_log, record

POLICY = Policy("linear", 10)


class Desk:
    """A log with its projection, and the commands of these tests."""

    def __init__(self) -> None:
        self.log = memory_log()
        self.projection = Projection("default")
        self.past = LoggedPast(self.log)
        self.now = 1_000

    def append(self, *drafts: Draft) -> list[Task | None]:
        """Appends and applies the drafts."""
        after = record(self.log, self.projection, list(drafts), now=self.now)
        self.projection.check()
        return after

    def make(self, *after: int | str, key: str | None = None, **link: object) -> int:
        """Creates a task that comes after these; gives its number."""
        order = NewTask(b"{}", POLICY, key=key, link=Link(after, **link) if after else None)  # type: ignore[arg-type]
        [number] = self.make_many([order])
        return number

    def make_many(self, orders: list[NewTask]) -> list[int]:
        """Creates tasks in one commit; gives their numbers."""
        command = CreateTasks(orders, unconditional=False)
        decision = command.decide(self.projection, self.past, self.now)
        return [task.number for task in self.append(*decision.events) if task is not None]

    def flow(self, *links: Link, key: str | None = None) -> int:
        """Creates a flow; gives the number of its first task."""
        orders = [NewTask(b"{}", POLICY, link=link) for link in links]
        decision = CreateFlow(orders, key).decide(self.projection, self.past, self.now)
        first = self.projection.seq + 1
        self.append(*placed(decision, first))
        return first

    def end(self, number: int, *, made: tuple[Created, ...] = ()) -> None:
        """The task completes, and makes others."""
        self.append((number, Leased(1, "n", 30)))
        completed = Completed(self.projection.seq, made=len(made))
        self.append((number, completed), *((NEW, body) for body in made))

    def tend(self, room: int = 1_000) -> list[Draft]:
        """What a node does by the way."""
        self.now += 1
        drafts = tend(self.projection, self.past, but=(), room=room, now=self.now)
        self.append(*drafts)
        return drafts

    def retry(self, number: int, room: int = 1_000) -> list[Draft]:
        """Somebody retries the task."""
        self.now += 1
        command = ManageTask(str(number), RetryTask(room=room))
        drafts = command.decide(self.projection, self.past, self.now).events
        self.append(*drafts)
        return drafts

    def state(self, number: int) -> str:
        """Where an open task stands; "final" for another."""
        task = self.projection.tasks.get(number)
        return "final" if task is None else str(task.recorded_state)
