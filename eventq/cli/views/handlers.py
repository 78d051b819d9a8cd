"""Handlers as people and programs see them: arguments, options, retry rules."""

from __future__ import annotations

from typing import Any

import msgspec

from eventq import Backoff, Handler
from eventq.cli.output import Listing
from eventq.cli.views.tasks import backoff_text
from eventq.core.durations import parse_duration, show_duration
from eventq.core.sizes import show_size
from eventq.core.task import DEFAULT_LANE
from eventq.handlers.handler import LEVELS

AnyHandler = Handler[..., Any, Any]
# Options that are durations, or may be.
LENGTHS = frozenset({"delay", "max_age", "deadline", "backoff"})
# What has a place of its own.
SHOWN = frozenset({"name", "lane"})


def handler_json(handler: AnyHandler) -> dict[str, Any]:
    """A handler as ``eventq handlers --json`` prints it."""
    return {
        "name": handler.name,
        "lane": _lane(handler),
        "signature": handler.signature_text,
        "async": handler.is_async,
        "context": handler.signature.takes_context,
        "options": _options(handler),
        "unique": handler.unique,
        "retry": handler.rules.texts,
        "result": "strict" if handler.keeps_strictly else "lenient",
        "keep_logs": _level(handler),
        "isolation": handler.isolation and msgspec.structs.asdict(handler.isolation),
    }


def _lane(handler: AnyHandler) -> str:
    return handler.options.get("lane") or DEFAULT_LANE


def _options(handler: AnyHandler) -> dict[str, Any]:
    """The options of its tasks as text that `Queue.new` and the command line take, or numbers."""
    given = {name: value for name, value in handler.options.items() if name not in SHOWN}
    return {name: _shown(name, value) for name, value in given.items() if value is not None}


def _shown(name: str, value: Any) -> Any:  # noqa: ANN401 - whatever an option takes
    if isinstance(value, Backoff):
        return backoff_text(value.policy())
    return show_duration(parse_duration(value)) if name in LENGTHS else value


def _words(handler: AnyHandler) -> str:
    words = ["async"] if handler.is_async else []
    words += _isolation_words(handler)
    words += [f"{name} {value}" for name, value in _options(handler).items()]
    if handler.unique is not None:
        words.append("unique" if handler.unique is True else f"unique {handler.unique}")
    words += handler.rules.texts
    if (level := _level(handler)) is not None:
        words.append(f"keeps logs from {level}")
    return ", ".join([*words, *(["strict result"] if handler.keeps_strictly else [])]) or "-"


def _isolation_words(handler: AnyHandler) -> list[str]:
    given = handler.isolation
    if given is None:
        return []
    words = [f"isolated, kill_after {show_duration(given.kill_after_us)}"]
    words += [] if given.memory_bytes is None else [f"memory {show_size(given.memory_bytes)}"]
    return words + ([] if given.recycle is None else [f"recycle {given.recycle}"])


def _level(handler: AnyHandler) -> str | None:
    """From which level on what it logs is kept, as it was given."""
    levels = {level: name for name, level in LEVELS.items()}
    return None if handler.keeps_level is None else levels[handler.keeps_level]


HANDLERS = Listing(
    ("NAME", "name"),
    ("LANE", _lane),
    ("ARGUMENTS", "signature.text"),
    ("OPTIONS", _words),
    elastic=2,
)
