"""Signatures of handlers: arguments become tags, tags become arguments, the rest is refused."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import msgspec
import pytest

from eventq import ArgumentError, Context
from eventq.handlers.signature import HandlerSignature


@dataclasses.dataclass
class Page:
    """A dataclass as an argument."""

    number: int
    text: str = ""


class Size(msgspec.Struct):
    """A msgspec type as an argument."""

    width: int
    height: int


class Colour(enum.Enum):
    """An enum as an argument."""

    RED = "red"


class Opaque:
    """What JSON cannot hold."""


def everything(  # noqa: PLR0917 - one of each kind
    number: int,
    page: Page,
    size: Size,
    at: datetime,
    wait: timedelta,
    uid: UUID,
    price: Decimal,
    raw: bytes,
    colour: Colour,
    *,
    mode: Literal["a", "b"] = "a",
    pages: list[Page] | None = None,
    by_name: dict[str, float] | None = None,
) -> None:
    """A handler with arguments of all kinds."""


VALUES: dict[str, Any] = {
    "number": 7,
    "page": Page(1, "x"),
    "size": Size(2, 3),
    "at": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "wait": timedelta(seconds=1.5),
    "uid": UUID(int=5),
    "price": Decimal("1.10"),
    "raw": b"\x00\xff",
    "colour": Colour.RED,
    "mode": "b",
    "pages": [Page(2)],
    "by_name": {"a": 1.5},
}


def test_arguments_of_all_kinds_come_back_as_they_were() -> None:
    """By their annotations, out of plain JSON."""
    signature = HandlerSignature(everything)

    text = signature.tags((), VALUES, None)

    assert msgspec.json.decode(text)["price"] == "1.10"
    assert signature.arguments(text) == VALUES


def test_defaults_are_stored_with_the_task() -> None:
    """A history says what the function was called with, whatever its default is later."""

    def handler(path: str, *, dpi: int = 300) -> None: ...

    text = HandlerSignature(handler).tags(("a",), {}, None)

    assert text == b'{"path":"a","dpi":300}'


def test_a_task_made_from_plain_tags_needs_no_defaults() -> None:
    """What its tags leave out the function's own default says; other tags are left out."""

    def handler(path: str, *, dpi: int = 300) -> None: ...

    arguments = HandlerSignature(handler).arguments(b'{"path":"a","tenant":"7"}')

    assert arguments == {"path": "a"}


def test_more_tags_stand_beside_the_arguments() -> None:
    """They are for people and filters, not for the function."""

    def handler(path: str) -> None: ...

    text = HandlerSignature(handler).tags(("a",), {}, {"tenant": "7"})

    assert text == b'{"path":"a","tenant":"7"}'


def target(path: str, count: int = 1, ratio: float = 1.0, extra: Any = None) -> None:  # noqa: ANN401
    """A handler for wrong calls."""


@pytest.mark.parametrize(
    "args, kwargs, words",
    [
        ((), {}, "missing a required argument: 'path'"),
        (("a", 1, 1.0, None, 5), {}, "too many positional arguments"),
        (("a",), {"path": "b"}, "multiple values for argument 'path'"),
        (("a",), {"nope": 1}, "unexpected keyword argument 'nope'"),
    ],
)
def test_a_call_that_python_would_refuse_is_refused_with_its_words(
    args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    """TypeError, as of any function."""
    with pytest.raises(TypeError, match=words):
        HandlerSignature(target).tags(args, kwargs, None)


@pytest.mark.parametrize(
    "kwargs, argument",
    [
        ({"path": 5}, "path"),
        ({"path": "a\0"}, "path"),
        ({"path": "\ud800"}, "path"),
        ({"path": "x" * 70_000}, "path"),
        ({"count": "5"}, "count"),
        ({"count": True}, "count"),
        ({"count": 2**64}, "count"),
        ({"count": None}, "count"),
        ({"ratio": float("nan")}, "ratio"),
        ({"ratio": float("inf")}, "ratio"),
        ({"extra": {1, 2}}, "extra"),
        ({"extra": Opaque()}, "extra"),
        ({"extra": {"deep": [float("nan")]}}, "extra"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(kwargs: dict[str, Any], argument: str) -> None:
    """Before anything is appended."""
    with pytest.raises(ArgumentError) as found:
        HandlerSignature(target).tags((), {"path": "a", **kwargs}, None)

    assert found.value.argument == argument


@pytest.mark.parametrize(
    "tags, argument",
    [(b"{}", "path"), (b'{"path":1}', "path"), (b'{"path":"a","count":"1"}', "count")],
)
def test_tags_that_do_not_fit_name_the_argument(tags: bytes, argument: str) -> None:
    """As at an attempt of a task that was made from plain tags."""
    with pytest.raises(ArgumentError) as found:
        HandlerSignature(target).arguments(tags)

    assert found.value.argument == argument


def by_place(path: str, /) -> None:
    """Its parameter has no name."""


def many(*paths: str) -> None:
    """Takes any number."""


def named(**paths: str) -> None:
    """Takes any names."""


def private(_path: str) -> None:
    """A name that is no tag's."""


def opaque(path: Opaque) -> None:
    """A type that JSON cannot hold."""


def nested(paths: dict[str, list[Opaque] | None]) -> None:
    """The same, further in."""


def unresolved(path: Missing) -> None:  # type: ignore[name-defined]  # noqa: F821 - on purpose
    """An annotation that nobody can look up."""


def misfit(path: int = "x") -> None:  # type: ignore[assignment]
    """A default of another type."""


def sentinel(path: Any = Opaque()) -> None:  # noqa: ANN401, B008
    """A default that cannot be stored."""


@pytest.mark.parametrize(
    "function, parameter",
    [
        (by_place, "path"),
        (many, "paths"),
        (named, "paths"),
        (private, "_path"),
        (opaque, "path"),
        (nested, "paths"),
        (unresolved, "path"),
        (misfit, "path"),
        (sentinel, "path"),
    ],
)
def test_a_signature_that_cannot_be_stored_is_refused(
    function: Callable[..., None], parameter: str
) -> None:
    """When the handler is made, naming the parameter."""
    with pytest.raises(ArgumentError) as found:
        HandlerSignature(function)

    assert found.value.argument == f"parameter {parameter}"


def test_the_context_is_no_argument() -> None:
    """The first parameter, if it is annotated so."""

    def handler(ctx: Context, path: str) -> None: ...

    signature = HandlerSignature(handler)

    assert signature.takes_context
    assert signature.tags(("a",), {}, None) == b'{"path":"a"}'
    assert signature.text == "(path: str)"


def test_results_come_back_by_the_annotation() -> None:
    """A dataclass is one again."""

    def handler() -> Page: ...  # type: ignore[empty-body]

    signature = HandlerSignature(handler)

    kept = msgspec.json.decode(signature.result_json(Page(4)))
    assert kept == {"number": 4, "text": ""}
    assert signature.result(kept) == Page(4)
    with pytest.raises(ArgumentError, match="result"):
        signature.result("nonsense")
    with pytest.raises(ArgumentError, match="result"):
        signature.result_json(Opaque())


def test_a_generator_is_no_type_of_result() -> None:
    """Nobody would run it."""

    def handler() -> Generator[int, None, None]:
        return (number for number in range(3))

    with pytest.raises(ArgumentError, match="returns"):
        HandlerSignature(handler)


@pytest.mark.parametrize(
    "page, words",
    [
        (5, "page: expected `object`, got 5"),
        ({"number": "5"}, "page: expected `int`, got `str` at page.number, got {'number': '5'}"),
        ({"text": "a"}, "page: expected a value for page.number, got {'text': 'a'}"),
    ],
)
def test_what_does_not_fit_within_an_argument_is_named_with_it(page: object, words: str) -> None:
    """The argument comes first, which is what the caller knows."""

    def handler(page: Page) -> None: ...

    with pytest.raises(ArgumentError, match=f"^{re.escape(words)}$") as found:
        HandlerSignature(handler).tags((page,), {}, None)

    assert found.value.argument == "page"


class Scalar(float):
    """A number of another library, as numpy's are."""


def loose(  # noqa: PLR0917 - one of each kind
    text: str = "",
    names: list[str] | None = None,
    items: list | None = None,  # type: ignore[type-arg]
    fields: dict[str, Any] | None = None,
    page: Page | None = None,
    number: float = 0.0,
) -> dict[int, str]:
    """Annotations that leave JSON's types as they are."""
    raise AssertionError(text, names, items, fields, page, number)


@pytest.mark.parametrize(
    "argument, value",
    [
        ("text", b"a"),
        ("text", UUID(int=5)),
        ("text", datetime(2026, 1, 2, tzinfo=UTC)),
        ("names", ["a", b"a"]),
        ("items", [Decimal(1)]),
        ("items", [Page(1)]),
        ("fields", {"at": datetime(2026, 1, 2, tzinfo=UTC)}),
        ("fields", {"deep": [{"colour": Colour.RED}]}),
        ("fields", {1: "a"}),
        ("page", Page(1, b"a")),  # type: ignore[arg-type]
    ],
)
def test_a_value_that_would_come_back_as_another_is_refused(argument: str, value: object) -> None:
    """As JSON it is text, or a dict, and no annotation says what it was."""
    with pytest.raises(ArgumentError, match="comes back") as found:
        HandlerSignature(loose).tags((), {argument: value}, None)

    assert found.value.argument == argument


@pytest.mark.parametrize(
    "argument, value, kept",
    [
        ("items", [1, ("a", None)], [1, ["a", None]]),
        ("fields", {"a": {"b": (1, 2.5)}}, {"a": {"b": [1, 2.5]}}),
        ("number", Scalar(1.5), 1.5),
        ("number", 2, 2.0),
        ("page", {"number": 1}, Page(1)),
    ],
)
def test_a_value_that_json_has_a_like_of_is_taken(
    argument: str, value: object, kept: object
) -> None:
    """A tuple for a list, a whole number for a float, a dict for a dataclass."""
    signature = HandlerSignature(loose)

    text = signature.tags((), {argument: value}, None)

    assert signature.arguments(text)[argument] == kept


def test_keys_of_a_result_come_back_by_the_annotation() -> None:
    """JSON has them as text."""
    signature = HandlerSignature(loose)

    kept = msgspec.json.decode(signature.result_json({1: "a"}))

    assert (kept, signature.result(kept)) == ({"1": "a"}, {1: "a"})


def late_context(path: str, ctx: Context) -> None:
    """Its context is not the first."""


def named_context(*, ctx: Context) -> None:
    """Its context could only be given by name."""


def optional_context(ctx: Context | None, path: str) -> None:
    """Its context may be None, which it never is."""


@pytest.mark.parametrize("function", [late_context, named_context, optional_context])
def test_a_context_in_another_place_is_refused(function: Callable[..., None]) -> None:
    """When the handler is made, not by each attempt."""
    with pytest.raises(ArgumentError, match="the context as the first parameter"):
        HandlerSignature(function)


def test_messages_say_what_is_wrong_with_a_value_and_where() -> None:
    """In the words of the annotation, and with the place in a value of many."""

    def handler(pages: list[Page], at: datetime | None = None) -> None: ...

    signature = HandlerSignature(handler)

    with pytest.raises(ArgumentError, match=r"pages: expected `int`, got `str` at pages\[1\]\.num"):
        signature.tags(([Page(1), {"number": "x"}],), {}, None)
    with pytest.raises(ArgumentError, match=r"at: expected what its annotation says \(Invalid RFC"):
        signature.tags(([], "noon"), {}, None)


def test_a_union_that_json_cannot_tell_apart_is_refused_with_the_reason() -> None:
    """Else a user would look for what is wrong with either of its types."""

    def handler(path: str | bytes) -> None: ...

    with pytest.raises(ArgumentError, match="more than one str-like type"):
        HandlerSignature(handler)


@pytest.mark.parametrize(
    "kind, value",
    [
        (object, [1, {"a": None}]),
        (dict[str, object], {"a": [1, "b"]}),
        (Mapping[str, object], {"a": 1}),
        (list[dict[str, object]] | None, [{"a": 1}]),
        (Annotated[list[object], "any"], [1, "a"]),
        (Optional[list[object]], None),  # noqa: UP045 - as older code has it
    ],
)
def test_object_is_any_json_value(kind: Any, value: object) -> None:  # noqa: ANN401
    """As an argument, and as a result; what JSON would change is refused there, too."""

    def handler(item: Any) -> Any: ...  # noqa: ANN401 - set below

    handler.__annotations__.update({"item": kind, "return": kind})
    signature = HandlerSignature(handler)

    assert signature.arguments(signature.tags((value,), {}, None)) == {"item": value}
    assert signature.result(msgspec.json.decode(signature.result_json(value))) == value
    with pytest.raises(ArgumentError, match="item"):
        signature.tags(({"a": [{"b": UUID(int=1)}]},), {}, None)
