"""What code defines of limits and turns; a run says it when it begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from eventq.core.events import Limited, Shared
from eventq.core.govern import DefineLimit, DefineTurns
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
        wanted = DefineLimit(make_limited(name, **bounds), _version(version))
        if self.limits.setdefault(wanted.wanted.limit, wanted) != wanted:
            raise ArgumentError("limit", name, "one definition of each limit")

    def fair(self, *, version: int, **turns: Any) -> None:  # noqa: ANN401 - checked
        """Defines turns. Raises ArgumentError, also where they are defined otherwise."""
        wanted = DefineTurns(make_shared(**turns), _version(version))
        if self.turns is not None and self.turns != wanted:
            raise ArgumentError("per", wanted.wanted.per, "one definition of turns")
        self.turns = wanted


def joined_definitions(all_: Iterable[RuleDefinitions]) -> RuleDefinitions:
    """All that several collections define. Raises ArgumentError where two differ."""
    found = RuleDefinitions({})
    for each in all_:
        for name, wanted in each.limits.items():
            if found.limits.setdefault(name, wanted) != wanted:
                raise ArgumentError("limit", name, "one definition of each limit")
        if each.turns is not None:
            if found.turns is not None and found.turns != each.turns:
                raise ArgumentError("per", each.turns.wanted.per, "one definition of turns")
            found.turns = each.turns
    return found


def name_of(definition: AnyDefinition) -> str:
    """What it defines, in words."""
    said: Limited | Shared = definition.wanted
    return f"limit {said.limit}" if isinstance(said, Limited) else "turns"


def _version(version: object) -> int:
    return check_count(version, "version", least=0)
