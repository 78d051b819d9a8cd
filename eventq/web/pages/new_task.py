"""The page for a new task: a form made from the signatures that nodes said when they joined."""

from __future__ import annotations

import ast
from datetime import datetime

from msgspec import Struct

from eventq.core.task import instant
from eventq.web.showing import Veil
from eventq.web.sight import Sight

TEXT_KINDS = frozenset({"str", "str | None", "None | str"})


class NewTaskQuestion(Struct, frozen=True):
    """For which handler; nothing: for none, or one that is yet to be chosen."""

    name: str = ""


class Argument(Struct, frozen=True):
    """An argument of a handler, as a field of the form."""

    name: str
    kind: str
    """Its annotation, as it is written."""
    default: str | None
    """As it is written; None: it must be given."""
    is_text: bool
    """Whether what is typed is the text itself; else it is JSON."""


class NewTaskModel(Struct, frozen=True):
    """What tasks can be made."""

    seq: int
    at: datetime
    names: list[str]
    """Of handlers on nodes that run."""
    name: str
    signature: str | None
    arguments: list[Argument]
    secret: list[str]
    """Names of tags that are secret of tasks of this name that are open."""
    problem: str | None


def new_task_model(sight: Sight, question: NewTaskQuestion, veil: Veil) -> NewTaskModel:
    """The names that nodes handle, and the arguments of the chosen one."""
    del veil
    with sight.seen() as projection:
        members = projection.alive_members(sight.at)
        tasks = [task for task in projection.tasks.values() if task.rarity is not None]
    name = question.name or None
    texts: dict[str, str] = {}
    for member in members:
        texts.update(member.joined.signatures)
    signature = texts.get(question.name)
    arguments = None if signature is None else arguments_of(signature)
    problem = None
    if question.name and signature is None:
        problem = f"No node that runs handles {question.name}: the task waits until one does."
    elif signature is not None and arguments is None:
        problem = "The arguments cannot be told apart here; give them as JSON."
    return NewTaskModel(
        seq=sight.seq,
        at=instant(sight.at),
        names=sorted(texts),
        name=question.name,
        signature=signature,
        arguments=arguments or [],
        secret=sorted({tag for task in tasks if task.name == name for tag in task.secret}),
        problem=problem,
    )


def arguments_of(signature: str) -> list[Argument] | None:
    """The arguments of a signature as it is written; None where it cannot be understood.

    >>> [(a.name, a.kind, a.default) for a in arguments_of("(path: str, *, dpi: int = 300)") or ()]
    [('path', 'str', None), ('dpi', 'int', '300')]
    """
    try:
        [found] = ast.parse(f"def f{signature}: pass").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(found, ast.FunctionDef):
        return None
    given = found.args
    places = [*given.posonlyargs, *given.args]
    missing: list[ast.expr | None] = [None] * (len(places) - len(given.defaults))
    pairs = [*zip(places, [*missing, *given.defaults], strict=True)]
    pairs += zip(given.kwonlyargs, given.kw_defaults, strict=True)
    return [_argument(argument, default) for argument, default in pairs]


def _argument(argument: ast.arg, default: ast.expr | None) -> Argument:
    kind = "" if argument.annotation is None else ast.unparse(argument.annotation)
    written = None if default is None else ast.unparse(default)
    return Argument(argument.arg, kind, written, is_text=kind in TEXT_KINDS)
