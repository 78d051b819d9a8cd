"""What callers ask of the queue: everything that a program or a person may, drawn by chance.

Each call is written down before and after, as Jepsen's clients do: ok, failed, or unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from msgspec import Struct

from eventq.core.durations import SECOND_US
from eventq.core.new_task import TaskSpec
from eventq.core.policy import Backoff as AnyBackoff
from eventq.core.task import Task, instant
from eventq.errors import EventqError, LogOutcomeUnknownError, LogUnavailableError
from eventq.queue import Queue
from eventq.schedules.managing import QueueSchedule
from tools.simulate.changes import Changes
from tools.simulate.hosts import Host
from tools.simulate.outboxes import OWN, Outboxes
from tools.simulate.workloads import LANES, NAMES
from tools.simulate.world import NodeDiedError, World

# The newest tasks are what callers mean, as a rule.
NEWEST = 12


class Call(Struct):
    """One call, as its caller saw it."""

    number: int
    what: str
    status: str = "invoked"
    """``ok``, ``refused`` (nothing was done), ``failed`` (the log was away), or ``unknown``."""
    made: list[int] = []
    """The tasks that it returned."""
    marks: list[int] = []
    """What stands in the tags of the tasks that it may have made."""
    asked: list[tuple[str | None, dict[str, Any], bool]] = []
    """Those tasks: key, tags, and whether another one may have been given instead."""


class Clients:
    """All callers of one simulation."""

    def __init__(self, world: World, *, without: Collection[str] = ()) -> None:
        """``without``: kinds of calls that are left out."""
        self.calls: list[Call] = []
        self.keys: list[str] = []
        """The keys of the tasks that calls have returned."""
        self.changes = Changes(world)
        self.outboxes = Outboxes(world)
        self._world = world
        self._marks = 0
        self._call = Call(0, "")
        chance = world.chance
        makers = [self._new, self._new, self._new_governed, self._new_linked, self._new_many]
        self._makers: list[Callable[[Queue], object]] = [
            *makers,
            *chance.some(
                [
                    self._new_keyed,
                    self._new_unique,
                    self._flow,
                    self._new_rough,
                    self._contend,
                    self._write_rows,
                ],
                share=0.7,
            ),
        ]
        managers: list[Callable[[Queue], object]] = [
            self._cancel,
            self._retry,
            self._update,
            self._repeat,
            self._look,
            self._schedule,
            self._rule,
            self._pause,
            self._drop_follower,
            self._bulk,
            self._bulk,
            self._finish_bulk,
            self._undo,
            self._undo,
            self._relay,
            self._relay,
            self._retry_row,
        ]
        self._managers = chance.some(managers, share=0.7) or managers
        for calls in (self._makers, self._managers):
            calls[:] = [call for call in calls if call.__name__[1:] not in without]
        self.names = sorted({call.__name__[1:] for call in self._makers + self._managers})

    def act(self, host: Host, *, is_full: bool) -> None:
        """One call of somebody on this host; ``is_full``: there are tasks enough."""
        world, chance = self._world, self._world.chance
        world.happenings += 1
        does_make = not is_full and chance.random() < 0.6
        asks = self._makers if does_make else self._managers
        if not asks:
            return
        ask = chance.pick(asks)
        # Somebody may act in the middle of another call, which then goes on.
        before, call = self._call, Call(len(self.calls), ask.__name__[1:])
        self._call = call
        self.calls.append(call)
        try:
            made = host.call(ask)
        except NodeDiedError:
            call.status = "unknown"
        except LogOutcomeUnknownError:
            call.status = "unknown"
            world.sometimes["call with an unknown outcome"] += 1
        except LogUnavailableError:
            call.status = "failed"
        except EventqError as error:
            call.status = "refused"
            world.sometimes[f"refused: {type(error).__name__}"] += 1
        else:
            call.status = "ok"
            self._note(call, made)
        finally:
            self._call = before
        if world.is_told:
            world.tell(
                f"  call {call.number} {call.what} on {host.name}: {call.status} {call.made}"
            )

    def _note(self, call: Call, made: object) -> None:
        tasks = made if isinstance(made, list) else [made]
        for task in tasks:
            if isinstance(task, Task):
                call.made.append(task.number)
                self.keys.append(task.key)

    # Making tasks.

    def _tags(self) -> dict[str, Any]:
        chance = self._world.chance
        self._marks += 1
        self._call.marks.append(self._marks)
        tags = {
            "mark": self._marks,
            "host": chance.below(3),
            "tenant": chance.pick(("big", "s", "t")),
        }
        self._call.asked.append((None, dict(tags), False))
        return tags

    def _options(self) -> dict[str, Any]:
        chance = self._world.chance
        options: dict[str, Any] = {"priority": chance.below(4)}
        if chance.one_in(4):
            options["delay"] = chance.pick((0.3, 5, 60))
        if chance.one_in(4):
            options["max_retries"] = chance.below(3)
        if chance.one_in(5):
            options["max_age"] = chance.pick((1, 20, 300))
        if chance.one_in(6):
            options["deadline"] = chance.pick((0.5, 3))
        if chance.one_in(8):
            options["max_lapses"] = chance.below(2)
        if chance.one_in(8):
            options["backoff"] = AnyBackoff.exponential("1s", cap="1m")
        if chance.one_in(6):
            options["name"] = chance.pick(NAMES)
        if chance.one_in(6):
            options["lane"] = chance.pick(LANES)
        return options

    def _new(self, queue: Queue) -> object:
        return queue.new(self._tags(), **self._options())

    def _new_governed(self, queue: Queue) -> object:
        chance, options = self._world.chance, self._options()
        if chance.one_in(2):
            options["limits"] = [chance.pick(("l0", "l1", "l2"))]
        elif chance.one_in(2):
            options["exclusive"] = [f"x{chance.below(2)}"]
        else:
            options["share"] = chance.pick(("big", "s", "t"))
        return queue.new(self._tags(), **options)

    def _new_linked(self, queue: Queue) -> object:
        options, keys = self._options(), self._newest()
        if keys:
            options["after"] = keys
            options["if_failed"] = self._world.chance.pick(("cancel", "cancel", "run", "hold"))
        return queue.new(self._tags(), **options)

    def _new_many(self, queue: Queue) -> object:
        specs = [
            TaskSpec(self._tags(), **self._options())
            for _ in range(1 + self._world.chance.below(4))
        ]
        return queue.new_many(specs)

    def _new_keyed(self, queue: Queue) -> object:
        chance = self._world.chance
        key = f"k{chance.below(25)}"
        self._marks += 1
        self._call.marks.append(self._marks)
        # Twice the same, or something else.
        tags = {"keyed": chance.below(2)}
        self._call.asked.append((key, tags, False))
        return queue.new(tags, key=key)

    def _new_unique(self, queue: Queue) -> object:
        chance, options = self._world.chance, self._options()
        options["unique"] = f"u{chance.below(4)}"
        options["on_duplicate"] = chance.pick(("return", "raise", "replace"))
        tags = self._tags()
        self._call.asked[-1] = None, tags, True
        return queue.new(tags, **options)

    def _flow(self, queue: Queue) -> object:
        chance = self._world.chance
        key = f"f{chance.below(20)}" if chance.one_in(3) else None
        with queue.flow(key) as flow:
            members: list[Any] = []
            for _ in range(1 + chance.below(4)):
                options = self._options()
                if members and chance.one_in(2):
                    options["after"] = [chance.pick(members)]
                    options["if_failed"] = chance.pick(("cancel", "run", "hold"))
                tags = self._tags()
                if members and chance.one_in(3):
                    tags["given"] = chance.pick(members).result
                members.append(flow.new(tags, **options))
            if chance.one_in(2):
                flow.on_failure(self._tags())
            if chance.one_in(2):
                flow.finally_(self._tags())
        self._world.sometimes["flow made"] += 1
        return flow.tasks

    def _new_rough(self, queue: Queue) -> object:
        """A task that takes processes along, and fails in between."""
        chance = self._world.chance
        tags = {**self._tags(), "rough": True}
        self._call.asked[-1] = None, tags, False
        return queue.new(tags, priority=chance.below(6), max_lapses=1, backoff="1s")

    def _contend(self, queue: Queue) -> object:
        """Two want one place; behind the first comes what ranks before the second."""
        chance = self._world.chance
        place = [f"x{chance.below(2)}"]
        with queue.flow() as flow:
            first = flow.new(self._tags(), exclusive=place, priority=3)
            flow.new(self._tags(), exclusive=place, priority=chance.below(3))
            flow.new(self._tags(), after=[first], if_failed="run", priority=3 + chance.below(3))
        self._world.sometimes["contention"] += 1
        return flow.tasks

    def _write_rows(self, queue: Queue) -> object:
        """A transaction of the application: rows that become tasks once they are relayed."""
        chance, rows = self._world.chance, []
        for _ in range(1 + chance.below(3)):
            is_pooled = chance.one_in(6)
            key = f"k{chance.below(25)}" if is_pooled else f"{OWN}{self._marks + 1}"
            tags, options = self._tags(), self._options()
            if is_pooled:
                tags, options = {"keyed": chance.below(2)}, {}
            self._call.asked[-1] = key, tags, False
            rows.append((key, {"tags": tags, **options}))
        self.outboxes.write(queue, rows)
        return None

    # Managing.

    def _by(self) -> str:
        """Whom the log names for what this call does."""
        return f"c{self._call.number}"

    def _newest(self) -> list[str]:
        chance = self._world.chance
        some = self.keys[-NEWEST:]
        return list(dict.fromkeys(chance.pick(some) for _ in range(1 + chance.below(2)) if some))

    def _one(self) -> str:
        chance = self._world.chance
        if not self.keys:
            return "none"
        return chance.pick(self.keys[-NEWEST:] if chance.random() < 0.8 else self.keys)

    def _cancel(self, queue: Queue) -> object:
        queue.cancel(self._one(), reason="why not", by=self._by())
        return None

    def _retry(self, queue: Queue) -> object:
        chance, causes = self._world.chance, self._world.causes
        # Whose end has hurt others is what people see, and mend.
        key = str(chance.pick(causes)) if causes and chance.one_in(2) else self._one()
        queue.retry(key, by=self._by())
        return None

    def _update(self, queue: Queue) -> object:
        chance = self._world.chance
        if chance.one_in(2):
            queue.update(self._one(), priority=chance.below(4), by=self._by())
        elif chance.one_in(2):
            queue.update(self._one(), delay=chance.pick((0, 3, 30)), by=self._by())
        else:
            queue.update(self._one(), lane=chance.pick(LANES), by=self._by())
        return None

    def _repeat(self, queue: Queue) -> object:
        self._call.marks.append(0)
        return queue.repeat(self._one())

    def _look(self, queue: Queue) -> object:
        chance = self._world.chance
        if chance.one_in(3):
            queue.stats()
        elif chance.one_in(2):
            queue.get(self._one())
        else:
            queue.tasks(limit=5)
        return None

    def _schedule(self, queue: Queue) -> object:
        chance = self._world.chance
        schedule = queue.schedules[f"s{chance.below(3)}"]
        ask: list[Callable[[], object]] = [
            lambda: schedule.pause(by=self._by()),
            lambda: schedule.resume(by=self._by()),
            schedule.trigger,
            lambda: schedule.update(every=chance.pick((7, 45)), by=self._by()),
            lambda: self._backfill(schedule, queue),
        ]
        return chance.pick(ask)()

    def _backfill(self, schedule: QueueSchedule, queue: Queue) -> object:
        chance, now = self._world.chance, queue._node.now()  # noqa: SLF001 - its host's time
        length_us = chance.pick((20, 180, 3_600)) * SECOND_US
        made = schedule.backfill(instant(now - length_us), instant(now))
        self._world.sometimes["backfilled by hand"] += bool(made)
        return made

    def _drop_follower(self, queue: Queue) -> object:
        queue.drop_follower(self._world.chance.pick(("alerts", "mirror")))
        self._world.sometimes["follower dropped"] += 1
        return None

    def _rule(self, queue: Queue) -> object:
        chance = self._world.chance
        if chance.one_in(3):
            queue.set_turns(per="tenant", weights={"big": 1 + chance.below(3)}, by=self._by())
            return None
        bounds: list[dict[str, Any]] = [
            {"running": 1 + chance.below(3)},
            {"rate": chance.pick(("2/5s", "10/1m"))},
            {},
        ]
        queue.set_limit(f"l{chance.below(3)}", by=self._by(), **chance.pick(bounds))
        return None

    def _pause(self, queue: Queue) -> object:
        chance = self._world.chance
        scopes: list[dict[str, Any]] = [
            {"lane": "heavy"},
            {"name": "alpha"},
            {"tags": {"tenant": "big"}},
            {"limit": "l0"},
            {},
        ]
        scope = chance.pick(scopes)
        if chance.one_in(2):
            queue.resume(by=self._by(), **scope)
        else:
            until, cancels = chance.pick((3, 30)), chance.one_in(4)
            queue.pause(until=until, cancel_running=cancels, by=self._by(), **scope)
            self._world.sometimes["paused"] += 1
        return None

    # Many at once, what is taken back, and rows of an application.

    def _bulk(self, queue: Queue) -> object:
        self.changes.bulk(queue, self._by())
        return None

    def _finish_bulk(self, queue: Queue) -> object:
        self.changes.finish(queue)
        return None

    def _undo(self, queue: Queue) -> object:
        self.changes.undo(queue, self._by())
        return None

    def _relay(self, queue: Queue) -> object:
        self.outboxes.relay(queue)
        return None

    def _retry_row(self, queue: Queue) -> object:
        self.outboxes.retry(queue)
        return None
