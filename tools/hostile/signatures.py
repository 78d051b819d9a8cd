"""What can be called and with what, read from the signatures of eventq itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, get_overloads

from msgspec import Struct

from eventq.catalog.selector import SelectorOptions
from eventq.core.options import TaskOptions
from eventq.core.rule_options import ScopeOptions
from eventq.handlers.handler import HandlerOptions
from eventq.handlers.scheduled import ScheduleOptions

OPTIONS = {
    each.__name__: each
    for each in (HandlerOptions, ScheduleOptions, ScopeOptions, SelectorOptions, TaskOptions)
}
UNPACKED = re.compile(r"Unpack\[(\w+)\]")


class Target(Struct, frozen=True):
    """Something to call: ``positional`` and ``named`` arguments, of which some must be given."""

    name: str
    call: Callable[..., Any]
    positional: tuple[str, ...]
    named: tuple[str, ...]
    required: tuple[str, ...]

    def with_value(self, argument: str, value: object, good: Callable[[str], object]) -> Any:  # noqa: ANN401
        """What the call gives with this value for the argument, and good ones where it must."""
        given = {name: good(name) for name in self.required} | {argument: value}
        # All in front of the last one given must be there, too.
        last = max(
            (self.positional.index(name) for name in given if name in self.positional), default=-1
        )
        front = [
            given[name] if name in given else good(name) for name in self.positional[: last + 1]
        ]
        return self.call(*front, **{name: given[name] for name in given if name in self.named})


def target_of(name: str, call: Callable[..., Any], shape: Callable[..., Any]) -> Target:
    """The target of a callable whose arguments are those of ``shape``, without its ``self``."""
    shapes = [
        each for each in get_overloads(shape) if UNPACKED.search(str(inspect.signature(each)))
    ]
    parameters = inspect.signature(shapes[0] if shapes else shape).parameters.values()
    positional: list[str] = []
    named: list[str] = []
    required: list[str] = []
    for each in parameters:
        if each.name in {"self", "cls"} or each.kind is each.VAR_POSITIONAL:
            continue
        if each.kind is each.VAR_KEYWORD:
            unpacked = UNPACKED.search(str(each.annotation))
            named += list(OPTIONS[unpacked[1]].__annotations__) if unpacked else []
            continue
        (positional if each.kind is each.POSITIONAL_ONLY else named).append(each.name)
        if each.default is each.empty:
            required.append(each.name)
    return Target(name, call, tuple(positional), tuple(named), tuple(required))


def methods_of(name: str, owner: object, shape: type) -> list[Target]:
    """A target for each public method of an object, with the arguments that its class gives it."""
    found = []
    for method, function in inspect.getmembers(shape, callable):
        if method.startswith("_"):
            continue
        found.append(target_of(f"{name}.{method}", getattr(owner, method), function))
    return found
