"""All code in README and docs runs, and what it prints is what the pages show.

A page's blocks run in their order in one directory: Python in one namespace, commands in one
shell. `pip`, the making of a virtual environment and a whole run of the tests are stood in for
(see STAND_INS), since they need a network and a quarter of an hour; all else is real.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import stat
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

import eventq
from tests import mongosh

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
TUTORIAL = DOCS / "tutorial" / "first-queue.md"
TUTORIAL_DATABASE = "tutorial.db"

# What a fence may say. The first five are run or compared by `PageRun`; diagrams and tables of
# other tests are compared with the code in test_docs_reference.py; `text` is no code.
RUN = {"python", "output", "console", "sql", "mongosh"}
FENCES = RUN | {"ini", "mermaid", "text"}

# They need servers, and are run by the tests of those.
ELSEWHERE = {"shop.md": "tests/contrib/test_shop.py"}

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The MongoDB of the pages; a server of the tests stands in for it.
MONGODB = "localhost:27017"
DATABASE = re.compile(rf"mongodb://{MONGODB}/(\w+)")

FILE_NAME = re.compile(r"# (\w+\.py)\n")
INLINE_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")

# What differs from run to run, in the order in which it is looked for.
VARIES = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(\.\d+)?"), "<time>"),
    (re.compile(r"\b\d{16}\b"), "<time>"),
    (re.compile(r"\b[\w-]+-\d+-[0-9a-f]{8}\b"), "<node>"),
    (re.compile(r"\b([0-9a-f]{64}|[0-9a-f]{32})\b", re.IGNORECASE), "<hash>"),
    (re.compile(r"\b\d+(\.\d+)? ?(us|ms)\b|\b\d+\.\d+ ?s\b|(?<=\+)\d+s\b"), "<duration>"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r"^ | $", re.MULTILINE), ""),
)

# Commands found before all others. `python3 -m venv` and `pip` check what they are asked and do
# no more; `python -m pytest` shows that pytest is there, since a test cannot run all tests; the
# demo takes the first 60 files of its thousands.
STAND_INS = {
    "python": """
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "{bin}"/* "$3/bin" ;;
    "-m pytest") exec "{python}" -m pytest --version >/dev/null ;;
    *) exec "{python}" "$@" ;;
esac
""",
    "pip": """
[ "$1" = install ] || exit 1
[ "$2" = -q ] && shift
case "$2" in
    . | eventq) exit 0 ;;
    *"[step]" | *"[test]") grep -q "^${2: -5:4} = \\[" "{root}/pyproject.toml" ;;
    *"[django,web]") grep -q "^django = \\[" "{root}/pyproject.toml" ;;
    *"[web]") grep -q "^web = \\[" "{root}/pyproject.toml" ;;
    *) exit 1 ;;
esac
""",
    "eventq": """
[ "$*" = demo ] && set -- demo --limit-files 60
exec "{python}" -c 'from eventq.cli import main; main(prog_name="eventq")' "$@"
""",
}


class Block(NamedTuple):
    """One fenced block of a page, and the line its content begins at."""

    kind: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The page's fenced blocks in order. Raises AssertionError for a fence of no known kind."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(match[1], match[2], text[: match.start(2)].count("\n") + 1)
        for match in FENCE.finditer(text)
    ]
    lines = [line for line in text.splitlines() if line.lstrip().startswith("```")]
    assert len(lines) == 2 * len(found), f"{name(page)}: a fence is indented or never closed"
    for block in found:
        assert block.kind in FENCES, f"{name(page)}:{block.line}: no fence may say {block.kind!r}"
    return found


def name(page: Path) -> str:
    """The page as a reader names it."""
    return str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name


def normal(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, replacement in VARIES:
        text = pattern.sub(replacement, text)
    return text.strip()


def matches(shown: str, real: str) -> bool:
    """Whether real output is what a page shows; `...` stands for anything.

    A line that is nothing but `...` stands for any lines, or for none.
    """
    stands_for = {"...": ".*?", "...\n": "(?:.*?\n)?"}
    parts = re.split(r"((?m:^)\.\.\.\n|\.\.\.)", normal(shown) + "\n")
    pattern = "".join(stands_for.get(part) or re.escape(part) for part in parts)
    return re.fullmatch(pattern, normal(real) + "\n", re.DOTALL) is not None


def commands(block: Block) -> list[tuple[str, str]]:
    """The block's commands, each with the output shown for it."""
    found: list[tuple[str, str]] = []
    for line in block.text.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:], ""))
            continue
        assert found, f"line {block.line}: a console block begins with a command"
        command, shown = found[-1]
        found[-1] = (command + line[2:], "") if line.startswith("> ") else (command, shown + line)
    return found


class Shell:
    """One bash for all commands of a page, so that variables and background processes stay."""

    def __init__(self, directory: Path, stand_ins: Path) -> None:
        path = f"{stand_ins}{os.pathsep}{os.environ['PATH']}"
        plain = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=directory,
            env={**os.environ, **plain, "PATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> tuple[str, int]:
        """The command's output and exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # The braces keep the command from reading the lines after it.
        end = "--- the command has ended:"
        self._process.stdin.write(
            f'{{ {command}\n}} </dev/null\ncode=$?; echo; echo "{end} $code"; (exit $code)\n'
        )
        self._process.stdin.flush()
        output = ""
        for line in self._process.stdout:
            if line.startswith(end):
                return output.removesuffix("\n"), int(line.removeprefix(end))
            output += line
        raise AssertionError(f"the shell ended at {command!r}: {output}")

    def close(self) -> None:
        """Ends the shell, and does not wait for what a page left running."""
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise


class PageRun:
    """A page's blocks, run one after the other."""

    def __init__(
        self,
        page: Path,
        directory: Path,
        stand_ins: Path,
        database: Path | None,
        mongodb: str = MONGODB,
    ) -> None:
        self._page = page
        self._mongodb = mongodb
        self._directory = directory
        self._database = None
        if database is not None:
            self._database = Path(shutil.copy(database, directory))
        self._shell = Shell(directory, stand_ins)
        # A module of its own, so that dataclasses and annotations find their names.
        self._module = types.ModuleType("page")
        self._printed: str | None = None
        # Modules that no command has used so far, with their text.
        self._files: dict[str, str] = {}

    def run(self) -> None:
        """Runs them all. Raises AssertionError at the first that is not as shown."""
        before = sys.modules.get("page")
        sys.modules["page"] = self._module
        try:
            for block in blocks(self._page):
                if block.kind != "output":
                    self._check_silent(block.line)
                if block.kind in RUN:
                    real = block._replace(text=block.text.replace(MONGODB, self._mongodb))
                    getattr(self, f"_{block.kind}")(real)
            self._check_silent(0)
            assert not self._files, f"{name(self._page)}: no command uses {sorted(self._files)}"
        finally:
            self._shell.close()
            for value in vars(self._module).values():
                if isinstance(value, eventq.Queue):
                    value.close()
            sys.modules.pop("page")
            if before is not None:
                sys.modules["page"] = before

    def _check_silent(self, line: int) -> None:
        """What a block printed must be shown right behind it."""
        assert not self._printed, f"{self._place(line)}: above it, not shown: {self._printed!r}"
        self._printed = None

    def _place(self, line: int) -> str:
        return f"{name(self._page)}:{line}"

    def _python(self, block: Block) -> None:
        named = FILE_NAME.match(block.text)
        if named:
            (self._directory / named[1]).write_text(block.text, encoding="utf-8")
            self._files[named[1].removesuffix(".py")] = block.text
            return
        # The line feeds make a traceback name the page's own lines.
        code = compile("\n" * (block.line - 1) + block.text, str(self._page), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, vars(self._module))  # noqa: S102 - our own pages
        self._printed = printed.getvalue()

    def _output(self, block: Block) -> None:
        assert self._printed is not None, f"{self._place(block.line)}: follows no block that prints"
        self._compare(block.line, block.text, self._printed)
        self._printed = None

    def _console(self, block: Block) -> None:
        found = commands(block)
        for index, (command, shown) in enumerate(found):
            output, code = self._shell.run(command)
            self._compare(block.line, shown, output, command)
            asked = index + 1 < len(found) and "$?" in found[index + 1][0]
            assert code == 0 or asked, f"{self._place(block.line)}: {command!r} gives {code}"
            self._use(command)

    def _use(self, text: str) -> None:
        """Takes note that a command, or a module that a command uses, names other modules."""
        for used in [file for file in self._files if re.search(rf"\b{file}\b", text)]:
            self._use(self._files.pop(used, ""))

    def _sql(self, block: Block) -> None:
        database = self._database or self._directory / f"{self._page.stem}.db"
        assert database.exists(), f"{self._place(block.line)}: no {database.name} of its own log"
        connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            rows = connection.execute(block.text).fetchall()
        finally:
            connection.close()
        assert rows, f"{self._place(block.line)}: finds nothing"
        self._printed = "".join(
            "|".join("" if cell is None else str(cell) for cell in row) + "\n" for row in rows
        )

    def _mongosh(self, block: Block) -> None:
        named = DATABASE.search(self._page.read_text(encoding="utf-8"))
        assert named, f"{self._place(block.line)}: no URL above names a database"
        self._printed = mongosh.run(self._mongodb, named[1], block.text)

    def _compare(self, line: int, shown: str, real: str, command: str = "") -> None:
        assert matches(shown, real), (
            f"{self._place(line)}: {command}\n--- the page shows\n{shown}\n--- but it is\n{real}"
        )


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the commands that pages use."""
    directory = tmp_path_factory.mktemp("bin")
    for command, script in STAND_INS.items():
        path = directory / command
        filled = script.replace("{bin}", str(directory)).replace("{root}", str(ROOT))
        path.write_text("#!/usr/bin/env bash" + filled.replace("{python}", sys.executable))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (directory / "python3").write_bytes((directory / "python").read_bytes())
    (directory / "python3").chmod(0o700)
    return directory


@pytest.fixture(scope="session")
def tutorial_database(tmp_path_factory: pytest.TempPathFactory, stand_ins: Path) -> Path:
    """The database a reader has made at the end of the first tutorial."""
    directory = tmp_path_factory.mktemp("tutorial")
    with contextlib.chdir(directory):
        PageRun(TUTORIAL, directory, stand_ins, None).run()
    return directory / TUTORIAL_DATABASE


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """An empty directory that is the current one during the test."""
    with contextlib.chdir(tmp_path):
        yield tmp_path


def runnable() -> list[Path]:
    """The pages with something to run here."""
    pages = [page for page in PAGES if page.name not in ELSEWHERE]
    return [page for page in pages if any(block.kind in RUN for block in blocks(page))]


# Some pages begin a dozen processes, one after the other.
@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", runnable(), ids=name)
def test_page_runs_as_shown(
    page: Path, scratch: Path, stand_ins: Path, request: pytest.FixtureRequest
) -> None:
    """Every block of the page runs, and prints what the page shows."""
    own_log = page.with_suffix(".jsonl")
    if own_log.exists():
        shutil.copy(own_log, scratch)
    asks = any(block.kind == "sql" for block in blocks(page)) and not own_log.exists()
    database = request.getfixturevalue("tutorial_database") if asks else None
    databases = set(DATABASE.findall(page.read_text(encoding="utf-8")))
    if databases:
        mongodb = mongosh.emptied(request.getfixturevalue("mongod"), databases)
    run = PageRun(page, scratch, stand_ins, database, mongodb if databases else MONGODB)

    run.run()

    assert runnable(), "there are pages"


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(1)\n```\n",
        "```python\nprint(1)\n```\n```output\n2\n```\n",
        "```python\n1 / 0\n```\n",
        "```python\n# unused.py\n```\n```console\n$ echo used\nused\n```\n",
        "```console\n$ false\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
        "```sql\nSELECT * FROM history\n```\n",
        "```output\nof nothing\n```\n",
        "```py\nprint(1)\n```\n",
        "```\nprint(1)\n```\n",
        "  ```python\n  print(1)\n  ```\n",
    ],
)
def test_wrong_page_fails(text: str, scratch: Path, stand_ins: Path) -> None:
    """A page whose code fails, prints something else, or would be skipped is found out."""
    page = scratch / "page.md"
    page.write_text(text, encoding="utf-8")

    with pytest.raises((AssertionError, ZeroDivisionError)):
        PageRun(page, scratch, stand_ins, None).run()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_resolve(page: Path) -> None:
    """Every link of a page leads to a page, and to a heading in it, that is there."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    links = [link for link in INLINE_LINK.findall(text) if "://" not in link]

    for link in links:
        target, _, heading = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.is_file(), f"{name(page)}: {link} leads nowhere"
        assert not heading or heading in headings(path), f"{name(page)}: no heading for {link}"


def test_modules_are_there() -> None:
    """A page names no module by a path that it no longer has; decisions tell of their own time."""
    gone = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in PAGES
        if page.parent.name != "decisions"
        for path in re.findall(r"`((?:eventq|tests|tools)/[a-z_/]+\.py)`", page.read_text())
        if not (ROOT / path).is_file()
    ]

    assert gone == []


def test_every_page_is_linked_from_the_index() -> None:
    """The index leads to each page of the docs."""
    index = DOCS / "index.md"
    linked = {
        (DOCS / link.partition("#")[0]).resolve()
        for link in INLINE_LINK.findall(index.read_text(encoding="utf-8"))
    }

    assert {page.resolve() for page in DOCS.rglob("*.md")} - {index.resolve()} <= linked


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, made as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
