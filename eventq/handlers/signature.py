"""A handler's signature: its arguments as the tags of a task, and back by their annotations.

Nothing here makes tasks or calls handlers. What cannot be stored is refused when the handler is
made, naming the parameter.
"""

from __future__ import annotations

import enum
import functools
import inspect
import operator
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from eventq.core.plain import plain
from eventq.core.reference import FlowTask, ResultOf
from eventq.core.task import Task
from eventq.core.validation import check_integer, check_json, check_tag_name, encode_tags
from eventq.core.values import RESULT_BYTES, TAGS_BYTES
from eventq.errors import ArgumentError, shown
from eventq.handlers.children import NewTaskRef
from eventq.handlers.comparing import has_changed
from eventq.handlers.context import Context

# No value of these is too deep, or becomes another one as JSON.
FLAT = frozenset(
    {bool, int, str, bytes, UUID, Decimal, datetime, date, time, timedelta, types.NoneType}
)
NAMED = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
PLACED = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
MISPLACED = "the context as the first parameter, given by its place and annotated with it alone"
# What callers pass where they mean its result.
TASKS = (Task, FlowTask, NewTaskRef)
RESULT = (
    "a value, or for the whole of it a result: `queue.result(task)`, or `.result` of what "
    "`flow.new` returned"
)
STORED = "a type that JSON can hold: plain values, lists, dicts, dataclasses, msgspec types, enums"

_MISSING = re.compile(r"missing required field `(\w+)`")
# The argument, and the place within it.
_AT = re.compile(r"(.*) - at `\$\.(\w+)(.*)`")


class _Untold:
    """A default that is not told."""

    def __repr__(self) -> str:
        """As in a stub."""
        return "..."


UNTOLD = _Untold()


class HandlerSignature:
    """What a function takes and returns, as far as a log has to know."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Raises ArgumentError, naming the parameter, for what cannot be stored."""
        self._called = getattr(function, "__name__", "handler")
        own = inspect.signature(function)
        parameters = list(own.parameters.values())
        kinds = {p.name: _annotation(function, p.name, p.annotation) for p in parameters}
        self.takes_context = bool(parameters) and (
            is_context(kinds[parameters[0].name]) and parameters[0].kind in PLACED
        )
        if self.takes_context:
            parameters = parameters[1:]
        self._kinds = {parameter.name: kinds[parameter.name] for parameter in parameters}
        # Their annotations as they are meant, where a module has them as text.
        known = [
            p if p.annotation is p.empty else p.replace(annotation=kinds[p.name])
            for p in parameters
        ]
        self._own = own.replace(parameters=known, return_annotation=own.empty)
        positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
        self._places = [p.name for p in parameters if p.kind is positional]
        self._defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        for parameter in parameters:
            _check_parameter(parameter, self._kinds[parameter.name])
        self._arguments = _as_struct(parameters, self._kinds)
        self._decoder = msgspec.json.Decoder(self._arguments)
        self._looked_into = {name for name, kind in self._kinds.items() if not _is_flat(kind)}
        self._returns = _annotation(function, "return", own.return_annotation)
        _check_storable("the annotation of what it returns", self._returns)

    @property
    def text(self) -> str:
        """The arguments as they are written in the code, such as ``(path: str, *, dpi=300)``."""
        return str(self._own)

    def text_without(self, secret: Iterable[str]) -> str:
        """The same with ``...`` for what these arguments are where they are not given."""
        names = set(secret)
        told = [
            p.replace(default=UNTOLD) if p.name in names and p.default is not p.empty else p
            for p in self._own.parameters.values()
        ]
        return str(self._own.replace(parameters=told))

    @property
    def names(self) -> typing.KeysView[str]:
        """The names of the arguments."""
        return self._kinds.keys()

    def tags(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], more: Mapping[str, Any] | None
    ) -> bytes:
        """The tags of a task for this call, as JSON text; ``more`` are other tags of it.

        Raises TypeError for a call that Python would refuse, with its words, and ArgumentError
        naming an argument that does not fit its annotation.
        """
        arguments = self._bound(args, kwargs)
        try:
            return self._tags(arguments, more)
        except ArgumentError:
            _check_no_tasks(arguments)
            raise

    def _tags(self, arguments: dict[str, Any], more: Mapping[str, Any] | None) -> bytes:
        is_exact = True
        for name, kind in self._kinds.items():
            value = arguments[name]
            if type(value) is not kind:
                arguments[name] = value = plain(value)
                is_exact = False
            if type(value) is int:
                check_integer(value, name)
        for name in self._looked_into:
            _look_into(name, arguments[name], self._kinds[name])
        text = self._encoded(arguments)
        if self._looked_into or not is_exact:
            for name, kept in self.arguments(text).items():
                _check_kept(name, arguments[name], kept)
        return encode_tags({**msgspec.json.decode(text), **more}) if more else text

    def tags_given(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], more: Mapping[str, Any] | None
    ) -> tuple[bytes, dict[str, ResultOf]]:
        """As `tags`, where some arguments are results of other tasks: these are told apart."""
        arguments = self._bound(args, kwargs)
        given = {name: each for name, each in arguments.items() if type(each) is ResultOf}
        known = {name: each for name, each in arguments.items() if name not in given}
        _check_no_tasks(known)
        for name, value in known.items():
            if type(value) is int:
                check_integer(value, name)
            _look_into(name, value, self._kinds[name])
        text = self._encoded({**known, **dict.fromkeys(given, UNSET)})
        for name, raw in msgspec.json.decode(text, type=dict[str, msgspec.Raw]).items():
            try:
                msgspec.json.decode(raw, type=self._kinds[name])
            except msgspec.ValidationError as error:
                expected = str(error).removeprefix("Expected ")
                raise ArgumentError(name, known[name], expected) from error
        return encode_tags({**msgspec.json.decode(text), **(more or {})}), given

    def arguments(self, tags_json: bytes) -> dict[str, Any]:
        """The arguments that tags hold, as their annotations say; other tags are left out.

        Raises ArgumentError naming the argument that is missing or does not fit.
        """
        try:
            found = self._decoder.decode(tags_json)
        except msgspec.ValidationError as error:
            raise _unfit(error, tags_json) from error
        arguments = asdict(found)
        for name in self._defaults:
            if arguments[name] is UNSET:
                del arguments[name]
        return arguments

    def result_json(self, value: object) -> bytes:
        """A result as JSON text. Raises ArgumentError for what cannot be kept."""
        if self._returns is not Any:
            try:
                value = msgspec.to_builtins(value, str_keys=True)
            except (TypeError, ValueError, RecursionError) as error:
                raise ArgumentError("result", value, "a value that JSON can hold") from error
        return check_json(value, "result", RESULT_BYTES)

    def strict_result_json(self, value: object) -> bytes:
        """The same for a result that must come back by the annotation as what it is."""
        text = self.result_json(value)
        _check_kept("result", value, self.result(msgspec.json.decode(text)))
        return text

    def result(self, value: object) -> Any:  # noqa: ANN401 - as the annotation says
        """A kept result as the annotation says. Raises ArgumentError for one that does not fit."""
        if self._returns is Any:
            return value
        try:
            return msgspec.convert(value, self._returns, str_keys=True)
        except msgspec.ValidationError as error:
            raise ArgumentError("result", value, f"{self._returns} ({error})") from error

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name, with defaults; as `inspect` does, but ten times as fast."""
        found = {**self._defaults, **dict(zip(self._places, args, strict=False)), **kwargs}
        fits = len(args) <= len(self._places) and kwargs.keys().isdisjoint(
            self._places[: len(args)]
        )
        if not fits or found.keys() != self._kinds.keys():
            try:
                self._own.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{self._called}() {error}") from None
            raise AssertionError("a call that fits has all arguments and no others")
        return found

    def _encoded(self, arguments: dict[str, Any]) -> bytes:
        try:
            return encode_tags(self._arguments(**arguments))
        except ArgumentError:
            # Which one is it? If none is wrong by itself, they are too long together.
            for name, value in arguments.items():
                encode_tags(value, name)
            raise


def _check_no_tasks(arguments: Mapping[str, object]) -> None:
    """Raises ArgumentError for a task as an argument, or for a task or a result inside of one."""
    for name, value in arguments.items():
        inside: Iterable[object] = value if isinstance(value, list | tuple | set) else ()
        if isinstance(value, dict):
            inside = value.values()
        is_inside = any(isinstance(each, (*TASKS, ResultOf)) for each in inside)
        if isinstance(value, TASKS) or is_inside:
            raise ArgumentError(name, value, RESULT) from None


def is_context(kind: object) -> bool:
    """Whether an annotation says that a parameter is given the context."""
    return isinstance(kind, type) and issubclass(kind, Context)


def _annotation(function: Callable[..., Any], name: str, annotation: object) -> Any:  # noqa: ANN401
    """What an annotation means; Any where there is none. Raises ArgumentError if it has none."""
    if annotation is inspect.Parameter.empty:
        return Any
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    names = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        found = typing.get_type_hints(holder, globalns=names, include_extras=True)[name]
    except (NameError, TypeError, SyntaxError, AttributeError) as error:
        expected = f"an annotation that can be looked up when the program runs ({error})"
        raise ArgumentError(f"parameter {name}", annotation, expected) from error
    return _with_any(found)


def _with_any(kind: Any) -> Any:  # noqa: ANN401 - an annotation
    """The annotation with Any for `object`, which is how careful code says the same of JSON."""
    if kind is object:
        return Any
    arguments = typing.get_args(kind)
    replaced = tuple(map(_with_any, arguments))
    if all(map(operator.is_, replaced, arguments)):
        return kind
    if isinstance(kind, types.UnionType):
        return functools.reduce(operator.or_, replaced)
    if typing.get_origin(kind) is typing.Annotated:
        return typing.Annotated[(replaced[0], *kind.__metadata__)]
    return kind.copy_with(replaced) if hasattr(kind, "copy_with") else kind.__origin__[replaced]


def _check_parameter(parameter: inspect.Parameter, kind: object) -> None:
    """Raises ArgumentError for a parameter that no tag can stand for."""
    name = parameter.name
    label = f"parameter {name}"
    if parameter.kind not in NAMED:
        raise ArgumentError(label, str(parameter), "a parameter with a name of its own")
    try:
        check_tag_name(name)
    except ArgumentError as error:
        raise ArgumentError(label, name, error.expected) from error
    if is_context(kind) or any(map(is_context, typing.get_args(kind))):
        raise ArgumentError(label, kind, MISPLACED)
    _check_storable(label, kind)
    if parameter.default is parameter.empty:
        return
    try:
        _look_into(name, parameter.default, kind)
        text = encode_tags(parameter.default, name)
        if kind is not Any:
            _check_kept(name, plain(parameter.default), msgspec.json.decode(text, type=kind))
    except (ArgumentError, msgspec.ValidationError) as error:
        expected = f"a default that can be stored and fits its annotation ({error})"
        raise ArgumentError(label, parameter.default, expected) from error


def _as_struct(
    parameters: list[inspect.Parameter], kinds: Mapping[str, Any]
) -> type[msgspec.Struct]:
    """The arguments as one type, which msgspec reads and writes at once."""
    fields: list[Any] = [
        (p.name, kinds[p.name])
        if p.default is p.empty
        else (p.name, kinds[p.name] | UnsetType if kinds[p.name] is not Any else Any, UNSET)
        for p in parameters
    ]
    return msgspec.defstruct("Arguments", fields, kw_only=True, gc=False)


def _check_storable(label: str, kind: object) -> None:
    """Raises ArgumentError for a type whose values, or what is in them, msgspec cannot keep."""
    try:
        found = msgspec.inspect.type_info(kind)
        msgspec.json.Decoder(kind)
    except (TypeError, ValueError, AttributeError) as error:
        reason = str(error).partition(" - type")[0]
        raise ArgumentError(label, kind, f"{STORED} ({reason})") from error
    if "CustomType" in repr(found) or "ExtType" in repr(found):
        raise ArgumentError(label, kind, STORED)


def _is_flat(kind: object) -> bool:
    """Whether all values of a type are scalars that stay what they are as JSON."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _is_flat(typing.get_args(kind)[0])
    if origin is typing.Literal:
        return True
    if origin is typing.Union or origin is types.UnionType:
        return all(map(_is_flat, typing.get_args(kind)))
    return kind in FLAT or (isinstance(kind, type) and issubclass(kind, enum.Enum))


def _look_into(name: str, value: object, kind: object) -> None:
    """Raises ArgumentError for a value that would be too deep, or another one as JSON."""
    if kind is not Any:
        try:
            value = msgspec.to_builtins(value, str_keys=True)
        except (TypeError, ValueError, RecursionError) as error:
            raise ArgumentError(name, value, f"{kind} ({error})") from error
    check_json(value, name, TAGS_BYTES)


def _check_kept(name: str, value: object, kept: object) -> None:
    """Raises ArgumentError for a value that would come back as another one."""
    if has_changed(value, kept):
        expected = f"a value that comes back by its annotation; this one would be {shown(kept)}"
        raise ArgumentError(name, value, expected)


def _unfit(error: msgspec.ValidationError, tags_json: bytes) -> ArgumentError:
    """The error that names the argument which is missing or does not fit."""
    text = str(error)
    missing = _MISSING.search(text)
    if found := _AT.match(text):
        problem, name, place = found.groups()
        value = msgspec.json.decode(tags_json).get(name)
        at = f" at {name}{place}" if place else ""
        if missing:
            expected = f"a value for {name}{place}.{missing[1]}"
        elif not problem.startswith("Expected "):
            expected = f"what its annotation says ({problem}{at})"
        else:
            expected = problem.removeprefix("Expected ")
            # What came in place of a whole argument is said behind it anyway.
            expected = expected + at if at else expected.partition(", got ")[0]
        return ArgumentError(name, value, expected)
    if missing:
        return ArgumentError(missing[1], None, "a value: the argument is missing")
    return ArgumentError("arguments", tags_json.decode(), text)
