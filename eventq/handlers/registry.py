"""All that one queue handles: its own handlers and those of collections that it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from eventq.core.audience import matches
from eventq.errors import ArgumentError
from eventq.handlers.around import Call
from eventq.handlers.collection import Handlers
from eventq.handlers.definitions import RuleDefinitions, joined_definitions
from eventq.handlers.follow import Follow
from eventq.handlers.handler import MakesTasks
from eventq.handlers.work import AnyHandler, Work, placed_work, work_of_handler
from eventq.schedules.plans import CodedSchedule


class Registry:
    """The handlers of one queue, by name, and what is wrapped around each."""

    def __init__(self, queue: MakesTasks, given: Iterable[Handlers]) -> None:
        """Raises ArgumentError for what is no collection, and for a name that two have."""
        self.own = Handlers()
        self._queue = queue
        self._collections = [self.own]
        for collection in _listed(given):
            self._include(collection)

    def bind(self) -> None:
        """Has the queue make the tasks of all handlers, also of those to come."""
        for collection in self._collections:
            collection.binding.add(self._queue)

    @property
    def collections(self) -> list[Handlers]:
        """Its own handlers, and the collections that it was given."""
        return self._collections

    def release(self) -> None:
        """The queue makes no more tasks for the handlers."""
        self.take_back(self._queue)

    def __iter__(self) -> Iterator[AnyHandler]:
        """All handlers."""
        return (handler for collection in self._collections for handler in collection)

    def follows(self) -> list[Follow]:
        """All follows. Raises ArgumentError for two of one name."""
        found: dict[str, Follow] = {}
        for collection in self._collections:
            for name, follow in collection.follows.items():
                if found.setdefault(name, follow) is not follow:
                    raise ArgumentError("name", name, "a name that no other follower has")
        return list(found.values())

    def schedules(self) -> list[CodedSchedule]:
        """All schedules that code defines. Raises ArgumentError for two of one name."""
        return all_schedules([self])

    def rules(self) -> RuleDefinitions:
        """All limits, and turns. Raises ArgumentError where two collections differ."""
        return all_rules([self])

    def limit_tags(self) -> dict[str, str | None]:
        """The limits that this process defines, each with the tag that it is counted by."""
        return {name: each.wanted.per for name, each in self.rules().limits.items()}

    def lend(self, queue: MakesTasks) -> None:
        """Has another queue make the tasks of all handlers, until it is given back."""
        for collection in self._collections:
            collection.binding.add(queue, over=True)

    def take_back(self, queue: MakesTasks) -> None:
        """Ends `lend`."""
        for collection in self._collections:
            collection.binding.remove(queue)

    def works(
        self,
        names: Iterable[str] | None,
        call_of: Callable[[AnyHandler], Call] | None = None,
    ) -> dict[str, Work]:
        """What is called for each name that one of ``names`` matches (None: for all).

        ``call_of`` makes of a handler what the arounds are wrapped around, and then it is called in
        this process; None: its function, in a process of its own where it is isolated. Raises
        ArgumentError for a name or pattern that no handler has, and for two handlers of one name.
        """
        wanted = None if names is None else tuple(names)
        found: dict[str, Work] = {}
        for collection in self._collections:
            outer = [] if collection is self.own else self.own.arounds
            for handler in collection:
                if handler.name in found:
                    raise ArgumentError("name", handler.name, "a name that no other handler has")
                if wanted is None or any(matches(handler.name, each) for each in wanted):
                    arounds = [*outer, *collection.arounds]
                    found[handler.name] = (
                        placed_work(handler, arounds)
                        if call_of is None
                        else work_of_handler(handler, arounds, call=call_of(handler))
                    )
        for each in wanted or ():
            if not any(matches(name, each) for name in found):
                raise ArgumentError("names", each, "the name of a handler of this queue")
        return found

    def _include(self, collection: object) -> None:
        if not isinstance(collection, Handlers):
            raise ArgumentError("handlers", collection, "eventq.Handlers")
        taken = {handler.name for handler in self}
        for handler in collection:
            if handler.name in taken:
                raise ArgumentError("handlers", handler.name, "a name that no other handler has")
        self._collections.append(collection)


def all_schedules(registries: Iterable[Registry]) -> list[CodedSchedule]:
    """The schedules that code defines, of all these. Raises ArgumentError for two of one name."""
    found: dict[str, CodedSchedule] = {}
    for registry in registries:
        for collection in registry.collections:
            for name, coded in collection.schedules.items():
                if found.setdefault(name, coded) is not coded:
                    raise ArgumentError("schedule", name, "a name that no other schedule has")
    return list(found.values())


def all_rules(registries: Iterable[Registry]) -> RuleDefinitions:
    """The limits and turns that code defines, of all these. Raises ArgumentError for two of one."""
    return joined_definitions(
        collection.rules for registry in registries for collection in registry.collections
    )


def _listed(given: object) -> list[object]:
    if isinstance(given, Handlers) or not isinstance(given, Iterable):
        raise ArgumentError("handlers", given, "a list of eventq.Handlers")
    return list(given)
