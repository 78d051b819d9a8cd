"""Handlers whose attempts run in a process of their own: their options, and how it finds them.

Only names cross to the other process: of a module, and of what stands in it. Nothing here begins
a process.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from msgspec import Struct

from eventq.core.durations import parse_duration
from eventq.core.sizes import parse_size
from eventq.core.validation import check_count, check_flag
from eventq.errors import ArgumentError

DEFAULT_KILL_AFTER = "10s"
# Less than this Python itself needs.
LEAST_BYTES = 32 * 2**20
MAIN = "__main__"
BELOW = "nothing below `if __name__ == '__main__'` is there"
OWN_OPTIONS = ("memory", "kill_after", "recycle")


class Isolation(Struct, frozen=True):
    """How the attempts of one handler are isolated."""

    kill_after_us: int
    """From when an attempt is told to end until it is killed."""
    memory_bytes: int | None
    recycle: int | None
    """So many attempts run in one process, before another takes its place."""


class CodePlace(Struct, frozen=True):
    """Where a process finds something: the path of attributes in a module."""

    module: str
    path: str

    def __str__(self) -> str:
        """As messages show it."""
        return f"{self.module}:{self.path}"


class IsolatedCall(Struct, frozen=True):
    """What the other process calls for a task, and how it is kept in bounds there."""

    name: str
    handler: CodePlace
    arounds: tuple[CodePlace, ...]
    """Outermost first."""
    isolation: Isolation


def take_isolation(options: dict[str, Any], function: Callable[..., Any]) -> Isolation | None:
    """Takes the options of isolation out of a handler's; None where it is not isolated.

    Raises ArgumentError, also for a function that no other process could find.
    """
    is_isolated = check_flag(options.pop("isolate", False), "isolate")
    given = {name: options.pop(name) for name in OWN_OPTIONS if name in options}
    if not is_isolated:
        for name, value in given.items():
            raise ArgumentError(name, value, "isolate=True beside it")
        return None
    if (path := _path_of(function)) is None or "<" in path:
        expected = "a function that its module has under a name: isolate=True finds it by that"
        raise ArgumentError("handler", path or function, f"{expected} (no lambda, no inner one)")
    memory, recycle = given.get("memory"), given.get("recycle")
    return Isolation(
        kill_after_us=parse_duration(given.get("kill_after", DEFAULT_KILL_AFTER), "kill_after"),
        memory_bytes=None if memory is None else parse_size(memory, "memory", least=LEAST_BYTES),
        recycle=None if recycle is None else check_count(recycle, "recycle", least=1),
    )


def isolated_call(
    name: str,
    target: Callable[..., Any],
    arounds: Sequence[Callable[..., Any]],
    isolation: Isolation,
) -> IsolatedCall:
    """What another process needs to call a handler. Raises ArgumentError for what it cannot find.

    ``target`` is the handler as its module has it.
    """
    places = tuple(_place_of(each, f"an around of {name}") for each in arounds)
    return IsolatedCall(name, _place_of(target, f"handler {name}"), places, isolation)


def find(place: CodePlace, main: ModuleType | None = None) -> Any:  # noqa: ANN401 - whatever is there
    """What stands in a place, importing its module; ``main`` is what stands in for `__main__`.

    Raises what importing it raises, and ArgumentError where the module does not have it.
    """
    is_main = place.module == MAIN and main is not None
    module = main if is_main else importlib.import_module(place.module)
    try:
        return reduce(getattr, place.path.split("."), module)
    except AttributeError as error:
        raise ArgumentError("handler", str(place), f"one that an import finds; {BELOW}") from error


def main_source() -> tuple[str | None, str | None]:
    """The name of the module that `__main__` is, and the file that it was begun from.

    One of the two is None, or both where nothing else could load it.
    """
    module = sys.modules[MAIN]
    spec = getattr(module, "__spec__", None)
    path = getattr(module, "__file__", None)
    if spec is not None:
        return spec.name, None
    if path is None or not Path(path).is_file():
        return None, None
    path = str(Path(path).resolve())
    # Under its own name, where that is it: errors and classes are then called by that.
    stem = Path(path).stem
    with suppress(ImportError, ValueError):
        other = importlib.util.find_spec(stem)
        if other is not None and other.origin and str(Path(other.origin).resolve()) == path:
            return stem, None
    return None, path


def _place_of(target: Callable[..., Any], argument: str) -> CodePlace:
    module_name = getattr(target, "__module__", None)
    module = sys.modules.get(module_name or "")
    if module_name is None or module is None:
        raise ArgumentError(argument, target, "one of a module that can be imported")
    for path in _paths(target, module):
        if _stands(target, module, path):
            if module_name == MAIN:
                _check_main(argument, target)
            return CodePlace(module_name, path)
    expected = f"one that module {module_name} has under a name: another process finds it by that"
    raise ArgumentError(argument, target, expected)


def _paths(target: Callable[..., Any], module: ModuleType) -> Iterable[str]:
    """Where it may stand: under its own name, as a decorator leaves it, or under another."""
    if (own := _path_of(target)) is not None and "<" not in own:
        yield own
    yield from [name for name, value in vars(module).items() if value is target]


def _path_of(function: Callable[..., Any]) -> str | None:
    return getattr(function, "__qualname__", None)


def _stands(target: object, module: ModuleType, path: str) -> bool:
    try:
        return reduce(getattr, path.split("."), module) is target
    except AttributeError:
        return False


def _check_main(argument: str, target: object) -> None:
    """Raises ArgumentError where no other process can load what this one was begun with."""
    if main_source() == (None, None):
        expected = "one in a file: another process cannot load what was typed in, or given by -c"
        raise ArgumentError(argument, target, expected)
