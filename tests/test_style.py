"""House rules that ruff and mypy cannot say; each failure names the place and the cure.

No rule here is about taste in lines; those belong to the formatter.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections import deque
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

import pytest

import eventq

ROOT = Path(__file__).parent.parent
PACKAGE = sorted((ROOT / "eventq").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
TOOLS = sorted((ROOT / "tools").rglob("*.py"))
EVERYTHING = [*PACKAGE, *TESTS, *TOOLS]

# At about 400 lines a file should be asked whether it holds two ideas; this is where it must be.
FILE_LINES = 430
# Queue and AsyncQueue have each other, so that one module must hold both; the kinds of events are
# one union; and the projection has all that folds.
LONGER = {
    "eventq/queue.py": 920,
    "eventq/errors.py": 540,
    "eventq/eventlog/file.py": 435,
    "eventq/core/projection.py": 555,
    "eventq/verify/rules.py": 560,
    "eventq/audit/reasons.py": 475,
    "eventq/cli/views/tasks.py": 440,
    "tests/cli/test_commands.py": 450,
    "tests/core/test_events.py": 515,
    "tests/naive.py": 579,
    "tests/queue/test_transaction.py": 450,
    "tests/test_stateful.py": 625,
    "tests/test_style.py": 440,
}
FUNCTION_LINES = 70

# The rooms of the design, in the order of its table; each name is a folder or a module of eventq.
PURE_ROOMS = ("errors", "core")
ROOMS = (
    *PURE_ROOMS,
    "host",
    "eventlog",
    "replay",
    "snapshot",
    "node",
    "schedules",
    "handlers",
    "runner",
    "archive",
    "verify",
    "anchors",
    "catalog",
    "audit",
    "aio",
    "queue",
    "sandbox",
    "testing",
    "metrics",
    "web",
    "contrib",
    "cli",
)

# What a pure room may import from outside: nothing that reads a clock, a file or chance.
PURE_IMPORTS = {
    "__future__",
    "bisect",
    "collections",
    "contextlib",
    "dataclasses",
    "datetime",
    "enum",
    "fnmatch",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "math",
    "msgspec",
    "operator",
    "re",
    "sortedcontainers",
    "types",
    "typing",
}
IMPURE_CALLS = {"breakpoint", "input", "now", "open", "print", "today", "utcnow"}
UNSAFE_MODULES = {"dill", "marshal", "pickle", "shelve"}
UNSAFE_CALLS = {"compile", "eval", "exec"}
# Each makes `import eventq` slower for a program that may not need it.
SLOW_MODULES = {
    *("apsw", "asyncio", "click", "cronsim", "jinja2", "pymongo", "rich", "starlette", "textual"),
    "uvicorn",
    *(f"eventq.{room}" for room in ("anchors", "audit", "cli", "sandbox")),
    *(f"eventq.{room}" for room in ("contrib", "metrics", "testing", "verify", "web")),
}

# Classes that Django looks for by these names.
NAMED_BY_DJANGO = {"Command", "Meta", "Migration"}
PUBLIC = set(eventq.__all__)


def place(path: Path, line: int = 1) -> str:
    """A file and line as an editor opens them."""
    return f"{path.relative_to(ROOT)}:{line}"


def parsed(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of each import anywhere in the tree, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write imports in full, without dots"
            # `from eventq import task` names a module, so each name counts.
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and last name of each call: ``a.b.c(...)`` gives ``c``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.lineno, node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.lineno, node.func.attr


def bare_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of each call of a plain name; ``re.compile`` is another thing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.lineno, node.func.id


def room_of(path: Path) -> str | None:
    """The room a file of the package stands in; None for the package's own names."""
    name = path.relative_to(ROOT / "eventq").parts[0].removesuffix(".py")
    if name == "__init__":
        return None
    return "cli" if name == "__main__" else name


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods in the tree."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def test_every_module_stands_in_a_room() -> None:
    """A new module must be given its place among the rooms before it is used."""
    strays = [place(path) for path in PACKAGE if room_of(path) not in {None, *ROOMS}]

    assert strays == [], "give each a room in the design's table and in ROOMS of this test"


def test_modules_import_only_from_rooms_above() -> None:
    """No module imports from a room below its own, function-level imports included."""
    wrong = []
    for path in PACKAGE:
        room = room_of(path)
        if room is None:
            continue
        for line, name in imports(parsed(path)):
            package, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            if package != "eventq" or target == room:
                continue
            # The command is a user like others: it may take names from the public face.
            above = {*ROOMS[: ROOMS.index(room)], *(PUBLIC if room == "cli" else ())}
            if target not in above:
                wrong.append(f"{place(path, line)}: {room} imports {target or 'eventq'}")

    assert wrong == [], "move the code up to a room both may use, or hand it in as an argument"


def test_no_modules_import_each_other() -> None:
    """No import leads back to its own module, neither within a room nor for types alone."""
    modules = {module_name(path): path for path in PACKAGE}
    imported = {name: imported_modules(path, modules) for name, path in modules.items()}
    circles = [
        f"{place(modules[name])}: {' -> '.join(circle)}"
        for name in sorted(modules)
        if (circle := way_back(name, imported)) and name == min(circle)
    ]

    assert circles == [], "move what both need into a third module, or hand it in as an argument"


def module_name(path: Path) -> str:
    """The dotted name of a file of the package; that of a package's ``__init__`` is its own."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path, modules: Container[str]) -> list[str]:
    """The modules of the package that a file names in its imports."""
    names = (name for _, name in imports(parsed(path)))
    found = (name if name in modules else name.rpartition(".")[0] for name in names)
    return sorted({name for name in found if name in modules})


def way_back(name: str, imported: Mapping[str, list[str]]) -> list[str]:
    """The shortest chain of imports that leads from a module back to it; empty if there is none."""
    came_from: dict[str, str] = {}
    waiting = deque([name])
    while waiting:
        at = waiting.popleft()
        for other in imported[at]:
            if other == name:
                chain = [name, at]
                while at != name:
                    at = came_from[at]
                    chain.append(at)
                return chain[::-1] if len(chain) > 1 else []
            if other not in came_from:
                came_from[other] = at
                waiting.append(other)
    return []


def test_class_names_have_one_owner() -> None:
    """No two classes of the package share a name, so that a name says which one is meant."""
    owners: dict[str, list[str]] = {}
    for path in PACKAGE:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef) and not (
                node.name in NAMED_BY_DJANGO and "django" in path.parts
            ):
                owners.setdefault(node.name, []).append(place(path, node.lineno))
    shared = [f"{name}: {', '.join(places)}" for name, places in owners.items() if len(places) > 1]

    assert shared == [], "keep the name where it fits best, and call the others what they are"


def test_pure_rooms_import_nothing_impure() -> None:
    """The pure rooms know no clock, file, thread, log, socket or chance."""
    wrong = [
        f"{place(path, line)}: {name}"
        for path in PACKAGE
        if room_of(path) in PURE_ROOMS
        for line, name in imports(parsed(path))
        if name.partition(".")[0] not in {"eventq", *PURE_IMPORTS}
    ]

    assert wrong == [], (
        "take the value as an argument; a room below reads the world and hands it in"
    )


def test_pure_rooms_call_nothing_impure() -> None:
    """The pure rooms read no time through datetime, open no file and print nothing."""
    wrong = [
        f"{place(path, line)}: {name}()"
        for path in PACKAGE
        if room_of(path) in PURE_ROOMS
        for line, name in calls(parsed(path))
        if name in IMPURE_CALLS
    ]

    assert wrong == [], "take `now` or the text as an argument instead"


@pytest.mark.parametrize("path", EVERYTHING, ids=place)
def test_files_stay_short(path: Path) -> None:
    """No file is longer than a person holds in mind."""
    lines = len(path.read_text(encoding="utf-8").splitlines())

    limit = LONGER.get(path.relative_to(ROOT).as_posix(), FILE_LINES)
    assert lines <= limit, f"{place(path, lines)}: split it at a seam; limit {limit}"


def test_functions_stay_short() -> None:
    """No function passes 70 lines."""
    long = [
        f"{place(path, function.lineno)}: {function.name} has {lines} lines"
        for path in EVERYTHING
        for function in functions(parsed(path))
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES
    ]

    assert long == [], f"take a named step out of each; limit {FUNCTION_LINES}"


def test_modules_have_docstrings() -> None:
    """Every module that holds anything says in its first lines what lives there."""
    silent = [
        place(path)
        for path in EVERYTHING
        if (tree := parsed(path)).body and ast.get_docstring(tree) is None
    ]

    assert silent == [], "open each with one sentence: what lives here, and what never must"


def test_nothing_is_left_for_later() -> None:
    """Unfinished business lives in issues, not in comments."""
    # Written with brackets, or this line would find itself.
    later = re.compile("T[O]DO|F[I]XME|X[X]X")
    left = [
        place(path, number)
        for path in EVERYTHING
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if later.search(line)
    ]

    assert left == [], "do it, or file an issue and take the mark out"


def test_the_verifier_shares_no_code_with_what_it_verifies() -> None:
    """It knows how events look and how a log is read; all rules it has are its own."""
    room = ROOT / "eventq" / "verify"
    # The bridge from a projection that is trusted, and the names; verifying does without them.
    verifier = set(room.glob("*.py")) - {room / "base.py", room / "__init__.py"}
    own = (f"verify.{path.stem}" for path in verifier)
    facts = ("core.values", "core.events", "core.queue_events", "core.commits", "core.timing")
    allowed = ("errors", "eventlog", *facts, "replay.points", *own)
    shared = [
        f"{place(path, line)}: {name}"
        for path in sorted(verifier)
        for line, name in imports(parsed(path))
        if name.startswith("eventq.")
        and not name.startswith(tuple(f"eventq.{room}." for room in allowed))
    ]

    assert shared == [], "write the rule anew: a mistake in shared code would hide itself"


def test_package_never_loads_code_from_data() -> None:
    """No pickle, marshal, eval or exec: a log may come from a stranger."""
    unsafe = [
        f"{place(path, line)}: {name}"
        for path in PACKAGE
        for found, names in ((imports, UNSAFE_MODULES), (bare_calls, UNSAFE_CALLS))
        for line, name in found(parsed(path))
        if name.partition(".")[0] in names
    ]

    assert unsafe == [], "decode data with msgspec into a type that says what may be there"


@pytest.mark.parametrize(
    "path", [path for path in PACKAGE if path.name == "__init__.py"], ids=place
)
def test_package_files_hold_names_only(path: Path) -> None:
    """An ``__init__`` imports names and lists them in a sorted ``__all__``, nothing more."""
    tree = parsed(path)
    given: list[str] = []
    listed: list[str] = []
    for node in tree.body[1:]:
        if isinstance(node, ast.ImportFrom):
            if node.module != "__future__":
                given += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            assert name in {"__all__", "__version__"}, f"{place(path, node.lineno)}: move it out"
            if name == "__all__":
                listed = ast.literal_eval(node.value)
            else:
                given.append(name)
        else:
            pytest.fail(f"{place(path, node.lineno)}: only imports and __all__ belong here")

    assert set(listed) == set(given), f"{place(path)}: __all__ and the imports must agree"
    assert listed == sorted(listed, key=name_order), f"{place(path)}: sort __all__"


def name_order(name: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then the rest: the order ruff keeps too."""
    return (not name.isupper(), not name[:1].isupper(), name)


def test_every_test_says_and_asserts_something() -> None:
    """A test has a docstring with its behaviour, and something that can fail."""
    weak = []
    for path in TESTS:
        for function in functions(parsed(path)):
            if not function.name.startswith("test_"):
                continue
            if ast.get_docstring(function) is None:
                weak.append(f"{place(path, function.lineno)}: {function.name} has no docstring")
            if not asserts_something(function):
                weak.append(f"{place(path, function.lineno)}: {function.name} asserts nothing")

    assert weak == [], "say in one sentence what holds, and assert it or expect it to raise"


def asserts_something(function: ast.AST) -> bool:
    """Whether the function has an assert, a pytest.raises, or calls a helper that checks."""
    checking = ("assert_", "check", "raises", "warns", "fail", "run_state_machine")
    return any(isinstance(node, ast.Assert) for node in ast.walk(function)) or any(
        name.startswith(checking) for _, name in calls(function)
    )


def test_no_test_sleeps() -> None:
    """A test moves a manual clock or waits for a signal; it never hopes that time was enough."""
    sleepers = []
    for path in TESTS:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                names = {alias.name for alias in node.names}
                sleepers += [place(path, node.lineno)] if "sleep" in names else []
            elif isinstance(node, ast.Attribute) and node.attr == "sleep":
                is_time = isinstance(node.value, ast.Name) and node.value.id == "time"
                sleepers += [place(path, node.lineno)] if is_time else []

    assert sleepers == [], "wait for a threading.Event, or move a manual clock"


def test_import_stays_quick() -> None:
    """``import eventq`` loads no database driver, no tool, and nothing of the command line."""
    code = "import json, sys, eventq; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = SLOW_MODULES.intersection(json.loads(done.stdout))

    assert loaded == set(), "import each where it is first used, inside the function that does"
