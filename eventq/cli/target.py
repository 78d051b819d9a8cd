"""Imports what ``module:name`` names: a worker, a queue, or handlers; runs nothing else."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from eventq import AsyncQueue, Handler, Handlers, Queue
from eventq.cli.ending import misuse, refuse
from eventq.cli.words import shown_word
from eventq.handlers.work import takes_an_attempt

EXPECTED = "MODULE:FUNCTION, like jobs:work for `def work(ctx, task)` in jobs.py"
EXPECTED_QUEUE = "MODULE:QUEUE, like jobs:queue for `queue = eventq.Queue(...)` in jobs.py"


def load_work(target: str) -> Queue | Handlers | Callable[..., Any]:
    """A queue, handlers, or a function of (ctx, task).

    It is imported with the current directory on the path, as ``python -m`` has it. Ends the command
    with a message: exit code 2 when there is no such thing, 1 when its module cannot be imported.
    """
    found = _load(target, EXPECTED)
    if isinstance(found, AsyncQueue):
        return found.queue
    return found if isinstance(found, (Queue, Handlers)) else _check_worker(target, found)


def load_handlers(target: str) -> list[Handler[..., Any, Any]]:
    """The handlers of a queue, or of a collection, as `load_work` has it."""
    found = _load(target, EXPECTED_QUEUE)
    if isinstance(found, AsyncQueue):
        found = found.queue
    if isinstance(found, Queue):
        return found.handlers
    if not isinstance(found, Handlers):
        misuse(f"{target} is neither a queue nor eventq.Handlers, but a {type(found).__name__}")
    return list(found)


def _load(target: str, expected: str) -> Any:  # noqa: ANN401 - whatever stands there
    module_name, _, function_name = target.partition(":")
    if not (_is_dotted(module_name) and _is_dotted(function_name)):
        misuse(f"expected {expected}, got {shown_word(target)}")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    found: Any = _import(module_name)
    for name in function_name.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            misuse(f"module {module_name} has no {function_name}")
    return found


def _check_worker(target: str, worker: Any) -> Callable[..., Any]:  # noqa: ANN401 - see _load
    if isinstance(worker, Handler):
        misuse(f"{target} is the handler {worker.name}: name its queue instead")
    if not callable(worker):
        misuse(f"{target} is not callable but of type {type(worker).__name__}")
    if not takes_an_attempt(worker):
        takes = inspect.signature(worker, follow_wrapped=False)
        misuse(f"{target} takes {takes}, but a worker is called with (ctx, task)")
    return cast("Callable[..., Any]", worker)


def _import(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Any other name is a module that this one imports: reported below.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            misuse(f"there is no module {name}, neither in {Path.cwd()} nor installed")
        refuse(_import_failure(name, error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a module does when imported
        refuse(_import_failure(name, error))


def _import_failure(name: str, error: BaseException) -> str:
    """One line that names the place in the user's code, if there is one."""
    what = f"{type(error).__name__}: {error}".split("\n", 1)[0]
    if isinstance(error, SyntaxError):
        return f"importing {name} failed with {what}"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if "importlib" not in f.filename and f.filename != __file__]
    place = f" at {theirs[-1].filename}:{theirs[-1].lineno}" if theirs else ""
    return f"importing {name} failed{place} with {what}"


def _is_dotted(name: str) -> bool:
    return bool(name) and all(part.isidentifier() for part in name.split("."))
