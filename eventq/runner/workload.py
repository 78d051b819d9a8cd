"""What one run takes and calls: which names and lanes, by which functions, with how many slots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from eventq.core.audience import EVERY_NAME, Audience
from eventq.core.queue_events import Joined
from eventq.core.task import Task
from eventq.core.validation import check_count, check_name, check_patterns
from eventq.core.values import Policy
from eventq.core.version import __version__
from eventq.errors import ArgumentError
from eventq.handlers.around import Call
from eventq.handlers.definitions import AnyDefinition
from eventq.handlers.follow import Follow
from eventq.handlers.registry import Registry
from eventq.handlers.tracing import Tracing
from eventq.handlers.work import Work, work_of_worker
from eventq.schedules.plans import CodedSchedule

MOST_SLOTS = 10_000


class Workload(Struct, frozen=True):
    """What one run takes, and what it calls for it."""

    audience: Audience
    slots: dict[str | None, int]
    """How many tasks at a time, by lane; under None: of all lanes together."""
    named: dict[str, Work]
    """What is called for tasks of these names."""
    worker: Work | None
    """What is called for all others."""
    signatures: dict[str, str]
    policy: Policy
    """The queue's, for the tasks that attempts make."""
    is_plain: bool
    """It takes what has no name, in any lane; so does a node that says nothing."""
    follows: tuple[Follow, ...] = ()
    """What is called for events."""
    schedules: tuple[CodedSchedule, ...] = ()
    """What is planned when the run begins."""
    rules: tuple[AnyDefinition, ...] = ()
    """Limits and turns, to be set when it begins."""
    tracing: Tracing | None = None
    """What follows its attempts."""

    def work_of(self, task: Task) -> Work:
        """What is called for a task that the audience accepts."""
        work = self.worker if task.name is None else self.named.get(task.name, self.worker)
        assert work is not None, "only tasks of the audience are leased"
        return work

    def works(self) -> list[Work]:
        """All that may be called."""
        return [*self.named.values(), *([] if self.worker is None else [self.worker])]

    def joined(self, worker: str, *, ttl_us: int, taken: Mapping[str, int]) -> Joined:
        """What the node ``worker`` says of itself.

        ``taken`` are slots of lanes that are kept by what has lost its lease.
        """
        shared = self.slots.get(None)
        lanes = self.audience.lanes
        return Joined(
            worker=worker,
            ttl_us=ttl_us,
            slots=sum(self.slots.values()),
            version=__version__,
            names=self.audience.names,
            unnamed=self.audience.unnamed,
            lanes=None
            if lanes is None
            else {lane: shared or max(0, self.slots[lane] - taken.get(lane, 0)) for lane in lanes},
            signatures=self.signatures,
        )


def make_workload(
    registry: Registry,
    worker: Call | None,
    *,
    names: Iterable[str] | None,
    lanes: Iterable[str] | Mapping[str, int] | None,
    workers: int,
    policy: Policy,
    tracing: Tracing | None = None,
) -> Workload:
    """The workload of ``Queue.run``; see there. Raises ArgumentError."""
    patterns = None if names is None else check_patterns(names, "names")
    slots = _slots(lanes, workers)
    own_lanes = None if lanes is None else tuple(sorted(_names_of(lanes)))
    follows, schedules = tuple(registry.follows()), tuple(registry.schedules())
    rules = registry.rules().all()
    named: dict[str, Work] = {}
    signatures: dict[str, str] = {}
    if worker is None:
        named = registry.works(patterns)
        if not (named or follows):
            raise ArgumentError("worker", None, "a worker, since this queue has no handlers")
        work = None
        audience = Audience(tuple(sorted(named)), unnamed=False, lanes=own_lanes)
        texts = {handler.name: handler.signature_text for handler in registry}
        signatures = {name: texts[name] for name in sorted(named)}
    else:
        work = work_of_worker(worker, registry.own.arounds)
        is_unnamed = patterns is None or EVERY_NAME in patterns
        audience = Audience(patterns or (), unnamed=is_unnamed, lanes=own_lanes)
    return Workload(
        audience,
        slots,
        named,
        work,
        signatures,
        policy,
        is_plain=worker is not None and patterns is None and lanes is None,
        follows=follows,
        schedules=schedules,
        rules=rules,
        tracing=tracing,
    )


def _names_of(lanes: object) -> list[str]:
    if isinstance(lanes, (str, bytes)) or not isinstance(lanes, Iterable):
        raise ArgumentError("lanes", lanes, "a list of lanes, or a number of slots for each")
    found = [check_name(lane, "lanes") for lane in lanes]
    if not found or len(set(found)) != len(found):
        raise ArgumentError("lanes", lanes, "at least one lane, each once")
    return found


def _slots(lanes: object, workers: int) -> dict[str | None, int]:
    if not isinstance(lanes, Mapping):
        return {None: workers}
    names = _names_of(lanes)
    return {
        name: check_count(lanes[name], f"lanes[{name!r}]", least=1, most=MOST_SLOTS)
        for name in names
    }
