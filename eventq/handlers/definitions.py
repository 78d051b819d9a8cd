"""What code defines of limits and turns; a run says it when it begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from eventq.core.govern import DefineLimit, DefineTurns
from eventq.core.queue_events import Limited, Shared
from eventq.core.rule_options import make_limited, make_shared
from eventq.core.validation import check_count
from eventq.errors import ArgumentError

AnyDefinition = DefineLimit | DefineTurns


class RuleDefinitions(Struct):
    """The limits and turns of one collection, as its code defines them."""

    limits: dict[str, DefineLimit]
    turns: DefineTurns | None = None

    def all(self) -> tuple[AnyDefinition, ...]:
        """All of them, limits first."""
        return (*self.limits.values(), *([] if self.turns is None else [self.turns]))

    def limit(self, name: str, *, version: int, **bounds: Any) -> None:  # noqa: ANN401 - checked
        """Defines a limit. Raises ArgumentError, also for one that is defined otherwise."""
        self.add(DefineLimit(make_limited(name, **bounds), _version(version)))

    def fair(self, *, version: int, **turns: Any) -> None:  # noqa: ANN401 - checked
        """Defines turns. Raises ArgumentError, also where they are defined otherwise."""
        self.add(DefineTurns(make_shared(**turns), _version(version)))

    def add(self, definition: AnyDefinition) -> None:
        """Adds one. Raises ArgumentError where the same is defined otherwise."""
        if isinstance(definition, DefineLimit):
            name = definition.wanted.limit
            if self.limits.setdefault(name, definition) != definition:
                raise ArgumentError("limit", name, "one definition of each limit")
        elif self.turns is not None and self.turns != definition:
            raise ArgumentError("per", definition.wanted.per, "one definition of turns")
        else:
            self.turns = definition


def joined_definitions(all_: Iterable[RuleDefinitions]) -> RuleDefinitions:
    """All that several collections define. Raises ArgumentError where two differ."""
    found = RuleDefinitions({})
    for each in all_:
        for definition in each.all():
            found.add(definition)
    return found


def name_of(definition: AnyDefinition) -> str:
    """What it defines, in words."""
    said: Limited | Shared = definition.wanted
    return f"limit {said.limit}" if isinstance(said, Limited) else "turns"


def _version(version: object) -> int:
    return check_count(version, "version", least=0)
